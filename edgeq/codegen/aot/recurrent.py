"""Operators that keep a state between calls: SVDF (eq_svdf.h), LSTM (eq_lstm.h)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.activations_s16 import sigmoid_table
from edgeq.codegen.aot.channels import folded_bias
from edgeq.codegen.aot.layer import (
    Array,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    Value,
    constant,
    input_tensor,
    label,
    optional_input,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import largest_sum, requantize_pairs, wide_pairs
from edgeq.graph import Op, Quantization, Subgraph, Tensor
from edgeq.targets import Core

Fields = tuple[tuple[str, Value], ...]

# --- SVDF ---------------------------------------------------------------------------------------


def svdf_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    features, times = constant(op, subgraph, 1, "int8"), constant(op, subgraph, 2, "int16")
    bias = constant(op, subgraph, 3, "int32").reshape(-1)
    state = _state(op, subgraph, 4, "int16")
    rank = int(op.options["rank"])
    if rank < 1 or len(features) % rank or output.dtype != "int8":
        raise refuse(op, f"it makes {output.dtype} of {len(features)} filters of rank {rank}")
    before, kept, after = (quantization(op, t) for t in (input, state, output))
    if kept.zero_point:
        raise refuse(op, "its state has a zero point", "quantize the model again")
    feature, time = (_weight_scale(op, subgraph, position) for position in (1, 2))
    scales = (before.scale * feature / kept.scale, kept.scale * time / after.scale)
    multipliers, shifts = requantize_pairs(op, scales)
    name = label(op)
    arrays = (
        Array(f"{name}_features", features, _about(subgraph, op, 1)),
        Array(
            f"{name}_feature_bias",
            _zero_point_bias(features, before),
            "what the input's zero point amounts to",
        ),
        Array(f"{name}_times", times, _about(subgraph, op, 2)),
        Array(f"{name}_bias", bias, "bias"),
    )
    fields = (
        ("batches", input.shape[0]),
        ("input_size", input.shape[1]),
        ("units", len(features) // rank),
        ("rank", rank),
        ("memory", times.shape[1]),
        ("feature_weights", arrays[0].name),
        ("feature_bias", arrays[1].name),
        ("time_weights", arrays[2].name),
        ("bias", arrays[3].name),
        ("feature_multiplier", int(multipliers[0])),
        ("feature_shift", int(shifts[0])),
        ("output_multiplier", int(multipliers[1])),
        ("output_shift", int(shifts[1])),
        ("output_zero_point", after.zero_point),
    )
    return LayerCode(
        calls=(Call("eq_svdf_s8", (f"&{name}", Input(0), Input(4), Output())),),
        constants=(*arrays, Struct(name, "eq_svdf_s8_t", fields)),
        sources=("eq_svdf_s8.c", "eq_dot_s8.c"),
        headers=("eq_svdf.h",),
        states=((4, 0),),
    )


# --- UNIDIRECTIONAL_SEQUENCE_LSTM ---------------------------------------------------------------

_GATES = ("input", "forget", "cell", "output")
"""In the order of their weights and biases."""

_INPUT_WEIGHTS, _HIDDEN_WEIGHTS, _BIASES = 1, 5, 12
_HIDDEN, _CELL = 18, 19
_ABSENT = {"peephole weights": (9, 12), "a projection": (16, 18), "layer norms": (20, 24)}

_GATE_SCALE, _OPEN_SCALE = 2.0**-12, 2.0**-15
"""Of a gate before its function, and after."""

_LARGEST_CELL_POWER = 1
"""Of the cell's scale: what is 3 * 2^(12 + power) is within int16."""


def lstm(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """For int8 and int16 activations."""
    _check_lstm(op, subgraph)
    input = input_tensor(op, subgraph, 0)
    types = "s8" if input.dtype == "int8" else "s16"
    hidden, cell = _state(op, subgraph, _HIDDEN, input.dtype), _state(op, subgraph, _CELL, "int16")
    kept, cell_facts = quantization(op, hidden), quantization(op, cell)
    units = input_tensor(op, subgraph, _INPUT_WEIGHTS).shape[0]
    name = label(op)
    table = Array(f"{name}_table", sigmoid_table(), "1 / (1 + exp(-i / 24)) - 1/2")
    arrays: list[Array] = [table]
    gates: Fields = tuple(
        (f"{gate}_gate", _gate(op, subgraph, i, arrays)) for i, gate in enumerate(_GATES)
    )
    first, second = input.shape[:2]
    is_time_major = bool(op.options["time_major"])
    batches, times = (second, first) if is_time_major else (first, second)
    shape: Fields = (
        ("batches", batches),
        ("times", times),
        ("batch_step", 1 if is_time_major else times),
        ("time_step", batches if is_time_major else 1),
        ("input_size", input.shape[2]),
        ("units", units),
    )
    clip = float(op.options["cell_clip"])
    power = _cell_power(op, cell_facts)
    cells: Fields = (
        ("gate", _function(0, table)),
        ("cell", _function(12 + power, table)),
        ("cell_limit", int(min(max(clip / cell_facts.scale, 0), 32767))),
        ("cell_is_limited", int(clip > 0)),
        ("forgotten", _scale(op, _OPEN_SCALE)),
        ("added", _scale(op, _OPEN_SCALE * _OPEN_SCALE / cell_facts.scale)),
        ("shown", _scale(op, _OPEN_SCALE * _OPEN_SCALE / kept.scale)),
        ("hidden_zero_point", kept.zero_point),
    )
    kernel = f"eq_lstm_{types}"
    fields: Fields = (("shape", shape), *gates, ("cell", cells))
    call = Call(kernel, (f"&{name}", Input(0), Input(_HIDDEN), Input(_CELL), Output()))
    functions = ("eq_lstm_cell.c", "eq_logistic_s16.c", "eq_tanh_s16.c")
    return LayerCode(
        calls=(call,),
        constants=(*arrays, Struct(name, f"{kernel}_t", fields)),
        sources=(f"{kernel}.c", f"eq_dot_{types}.c", *functions),
        headers=("eq_lstm.h",),
        states=((_HIDDEN, kept.zero_point), (_CELL, 0)),
    )


def _check_lstm(op: Op, subgraph: Subgraph) -> None:
    for what, (first, end) in _ABSENT.items():
        if any(optional_input(op, subgraph, i) is not None for i in range(first, end)):
            raise refuse(op, f"it has {what}", "export a plain LSTM")
    activation = op.options["activation"]
    if activation != "TANH":
        raise refuse(op, f"its activation is {activation}, and only TANH is supported")
    if op.options.get("diagonal_recurrent_tensors"):
        raise refuse(op, "its recurrent weights are diagonals", "export a plain LSTM")
    if len(input_tensor(op, subgraph, 0).shape) != 3:
        raise refuse(op, f"its input {list(input_tensor(op, subgraph, 0).shape)} has not 3 sides")
    output = output_tensor(op, subgraph)
    if output.dtype != input_tensor(op, subgraph, 0).dtype:
        raise refuse(op, f"it makes {output.dtype} of {input_tensor(op, subgraph, 0).dtype}")


def _gate(op: Op, subgraph: Subgraph, index: int, arrays: list[Array]) -> Fields:
    """The fields of an eq_lstm_gate_…_t; what they point to goes to `arrays`."""
    input = input_tensor(op, subgraph, 0)
    product, bias_type = (
        (_product_s8, "int32") if input.dtype == "int8" else (_product_s16, "int64")
    )
    bias = constant(op, subgraph, _BIASES + index, bias_type).reshape(-1)
    hidden = input_tensor(op, subgraph, _HIDDEN)
    return (
        ("input", product(op, subgraph, input, _INPUT_WEIGHTS + index, bias, arrays)),
        ("hidden", product(op, subgraph, hidden, _HIDDEN_WEIGHTS + index, None, arrays)),
    )


def _product_s8(
    op: Op,
    subgraph: Subgraph,
    values: Tensor,
    position: int,
    bias: NDArray[Any] | None,
    arrays: list[Array],
) -> Fields:
    weights, name = constant(op, subgraph, position, "int8"), f"{label(op)}_{position}"
    zero_point = quantization(op, values).zero_point
    known = np.zeros(len(weights), np.int32) if bias is None else bias
    arrays += [
        Array(f"{name}_weights", weights, _about(subgraph, op, position)),
        Array(
            f"{name}_bias",
            folded_bias(weights, known, zero_point),
            "bias, zero point folded in",
        ),
    ]
    return (
        ("weights", arrays[-2].name),
        ("bias", arrays[-1].name),
        *_scale(op, _gate_scale(op, subgraph, values, position)),
    )


def _product_s16(
    op: Op,
    subgraph: Subgraph,
    values: Tensor,
    position: int,
    bias: NDArray[Any] | None,
    arrays: list[Array],
) -> Fields:
    weights, name = constant(op, subgraph, position, "int8"), f"{label(op)}_{position}"
    if quantization(op, values).zero_point:
        raise refuse(op, f"tensor {values.name} has a zero point", "quantize the model again")
    largest = largest_sum(weights, np.zeros(1, np.int64) if bias is None else bias)
    scale = _gate_scale(op, subgraph, values, position)
    multipliers, shifts = wide_pairs(op, [scale], largest)
    arrays.append(Array(f"{name}_weights", weights, _about(subgraph, op, position)))
    if bias is not None:
        arrays.append(Array(f"{name}_bias", bias, "bias"))
    return (
        ("weights", f"{name}_weights"),
        ("bias", "NULL" if bias is None else f"{name}_bias"),
        ("multiplier", int(multipliers[0])),
        ("shift", int(shifts[0])),
    )


def _gate_scale(op: Op, subgraph: Subgraph, values: Tensor, position: int) -> float:
    scale = quantization(op, values).scale
    return scale * _weight_scale(op, subgraph, position) / _GATE_SCALE


def _scale(op: Op, real: float) -> Fields:
    multipliers, shifts = requantize_pairs(op, [real])
    return (("multiplier", int(multipliers[0])), ("shift", int(shifts[0])))


def _cell_power(op: Op, facts: Quantization) -> int:
    fraction, exponent = math.frexp(facts.scale)
    if fraction != 0.5 or facts.zero_point:
        raise refuse(op, "its cell's scale is no power of two, or it has a zero point")
    if not -42 <= exponent - 1 <= _LARGEST_CELL_POWER:
        raise refuse(op, f"its cell's scale {facts.scale:g} is out of range")
    return exponent - 1


def _function(power: int, table: Array) -> Fields:
    """The fields of eq_sigmoid_s16_t for values of scale 2^(power - 12)."""
    left, right = max(power, 0), max(-power, 0)
    return (
        ("count", 0),
        ("multiplier", 3 << left),
        ("round", (1 << right) >> 1),
        ("shift", right),
        ("table", table.name),
    )


# --- States and weights -------------------------------------------------------------------------


def _state(op: Op, subgraph: Subgraph, position: int, dtype: str) -> Tensor:
    tensor = input_tensor(op, subgraph, position)
    if not tensor.is_variable:
        raise refuse(op, f"its state, input {position}, is no variable tensor")
    if tensor.dtype != dtype:
        raise refuse(op, f"its state is {tensor.dtype}, and only {dtype} is supported")
    return tensor


def _weight_scale(op: Op, subgraph: Subgraph, position: int) -> float:
    """The scale of weights, which are symmetric."""
    facts = quantization(op, input_tensor(op, subgraph, position))
    if facts.zero_point:
        raise refuse(op, "its weights have a zero point", "quantize the model again")
    return facts.scale


def _zero_point_bias(weights: NDArray[Any], facts: Quantization) -> NDArray[np.int32]:
    return folded_bias(weights, np.zeros(len(weights), np.int32), facts.zero_point)


def _about(subgraph: Subgraph, op: Op, position: int) -> str:
    tensor = input_tensor(op, subgraph, position)
    return f"{tensor.name}, {tensor.dtype} {list(tensor.shape)}"


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("SVDF", "int8"): svdf_s8,
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "int16"): lstm,
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "int8"): lstm,
}
