"""SOFTMAX and functions of one value of int16: eq_activation_s16.h."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import (
    Array,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    Value,
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import LIMITS, float32_round, requantize_pairs
from edgeq.codegen.aot.overlaps import IN_PLACE
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core

Fields = tuple[tuple[str, Value], ...]

_LOW, _HIGH = LIMITS["int16"]


def _tensors(op: Op, subgraph: Subgraph) -> tuple[Tensor, Tensor]:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    if output.dtype != input.dtype:
        raise refuse(op, f"it makes {output.dtype} of {input.dtype}")
    return input, output


def relu_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's ReluQuantized: a change of scale, then the limit."""
    before, after = (quantization(op, t) for t in _tensors(op, subgraph))
    if before.zero_point or after.zero_point:
        raise refuse(op, "a tensor of it has a zero point", "quantize the model again")
    return _relu(op, subgraph, before.scale / after.scale, 0, _HIGH)


def relu6_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's Relu6Quantized: limits of the input's quantization, and no change of scale."""
    facts = quantization(op, _tensors(op, subgraph)[0])
    steps = float32_round(np.float32(6.0) / np.float32(facts.scale))
    return _relu(op, subgraph, 1.0, facts.zero_point, min(_HIGH, steps + facts.zero_point))


def _relu(op: Op, subgraph: Subgraph, factor: float, low: int, high: int) -> LayerCode:
    multipliers, shifts = requantize_pairs(op, [factor])
    fields: Fields = (
        ("count", input_tensor(op, subgraph, 0).elements),
        ("input_zero_point", 0),
        ("multiplier", int(multipliers[0])),
        ("shift", int(shifts[0])),
        ("output_zero_point", 0),
        ("output_min", low),
        ("output_max", high),
    )
    return _unary(op, "relu", "eq_relu_s16_t", fields)


def _unary(
    op: Op,
    operator: str,
    ctype: str,
    fields: Fields,
    tables: tuple[Array, ...] = (),
) -> LayerCode:
    name, kernel = label(op), f"eq_{operator}_s16"
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(*tables, Struct(name, ctype, fields)),
        sources=(f"{kernel}.c",),
        headers=("eq_activation_s16.h",),
        overlaps=IN_PLACE,
    )


# --- LOGISTIC and TANH --------------------------------------------------------------------------


def sigmoid_s16(
    powers: tuple[int, ...], op: Op, subgraph: Subgraph, core: Core | None
) -> LayerCode:
    """LOGISTIC, or TANH. Of an input of scale 2^-12 times 2 to one of `powers`, TFLM takes the
    logarithm alone, and of others a factor of 15 bits.
    """
    input, output = _tensors(op, subgraph)
    _check_unit_output(op, input, output)
    exponent = _power_of_two(quantization(op, input).scale)
    if exponent is not None and exponent + 12 in powers:
        multiplier, shift = 3 << (exponent + 12), 0
    else:
        multiplier, shift = _fifteen_bits(quantization(op, input).scale * 3 * 4096)
    if not 1 <= multiplier <= _HIGH:
        raise refuse(op, f"its input's scale {quantization(op, input).scale:g} is out of range")
    table = Array(f"{label(op)}_table", sigmoid_table(), "1 / (1 + exp(-i / 24)) - 1/2")
    fields: Fields = (
        ("count", input.elements),
        ("multiplier", multiplier),
        ("round", (1 << shift) >> 1),
        ("shift", shift),
        ("table", table.name),
    )
    return _unary(op, op.name.lower(), "eq_sigmoid_s16_t", fields, (table,))


def _check_unit_output(op: Op, input: Tensor, output: Tensor) -> None:
    if quantization(op, input).zero_point or quantization(op, output).zero_point:
        raise refuse(op, "a tensor of it has a zero point", "quantize the model again")
    if quantization(op, output).scale != 2.0**-15:
        raise refuse(op, "its output has not the scale 1/32768", "quantize the model again")


def _fifteen_bits(factor: float) -> tuple[int, int]:
    """(multiplier, shift) with factor = multiplier / 2^shift, rounded down."""
    shift = 0
    while factor <= _HIGH / 2.0 and shift <= 30:
        factor *= 2.0
        shift += 1
    return int(factor), shift


def _power_of_two(scale: float) -> int | None:
    """The logarithm of a scale that TFLM takes for a power of two: its CheckedLog2."""
    logarithm = np.log(np.float32(scale)) * (np.float32(1) / np.log(np.float32(2)))
    exponent = float32_round(logarithm)
    return exponent if abs(logarithm - np.float32(exponent)) < 1e-3 else None


def sigmoid_table() -> NDArray[np.int16]:
    """TFLM's table: each entry is moved by half of what a straight line from it to the next one is
    off in the middle, and the last one is the largest number.
    """
    i = np.arange(256)
    middle_error = (_sigmoid(i) + _sigmoid(i + 1)) / 2 - _sigmoid(i + 0.5)
    values = np.floor(65536 * (_sigmoid(i) - middle_error / 2) + 0.5)
    values[-1] = 65535
    return (values - 32768).astype(np.int16)


def _sigmoid(steps: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-steps / 24)), np.float64)


# --- SOFTMAX ------------------------------------------------------------------------------------


def softmax_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = _tensors(op, subgraph)
    _check_unit_output(op, input, output)
    factor = quantization(op, input).scale * float(op.options["beta"]) / (10.0 / 65535.0)
    multipliers, shifts = requantize_pairs(op, [factor])
    name, step = label(op), np.float32(1) / np.float32(65535)
    exp = Array(
        f"{name}_exp",
        interpolation_table(np.exp, np.float32(10) / np.float32(65535), _HIGH),
        "exp(x), x in -10 .. 0",
    )
    reciprocal = Array(
        f"{name}_reciprocal",
        interpolation_table(lambda x: 1 / (1 + x), step, _LOW),
        "1 / (1 + x), x in 0 .. 1",
    )
    fields: Fields = (
        ("rows", input.elements // input.shape[-1]),
        ("depth", input.shape[-1]),
        ("multiplier", int(multipliers[0])),
        ("shift", int(shifts[0])),
        ("exp", exp.name),
        ("reciprocal", reciprocal.name),
    )
    return _unary(op, "softmax", "eq_softmax_s16_t", fields, (exp, reciprocal))


def interpolation_table(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    scale: np.float32,
    zero_point: int,
) -> NDArray[np.int16]:
    """A function of int16 values as 513 points with straight lines between, results with 15 bits
    below the point: each point is moved by half of what the line to the next is off in the middle.

    TFLM's LUTPopulate for int16, in float32 as there.
    """
    f32 = np.float32
    low, high = scale * f32(_LOW - zero_point), scale * f32(_HIGH - zero_point)
    unit = f32(2) / f32(65535)
    per_unit = f32(65536) / (unit * f32(_HIGH) - unit * f32(_LOW))
    step = (high - low) / f32(512)
    i = np.arange(513).astype(f32)

    def scaled(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(function(x.astype(np.float64)).astype(f32) * per_unit)

    at = low + i * step
    here, middle = _rounded(scaled(at)), _rounded(scaled(at + step / f32(2)))
    following = scaled(low + (i + f32(1)) * step)
    error = _rounded((following + here) / f32(2)) - middle
    points = here - _rounded(error / f32(2))
    points[-1] = _rounded(scaled(np.array([high])))[0]
    return np.array(np.clip(points, _LOW, _HIGH), np.int16)


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """C's roundf()."""
    wide = values.astype(np.float64)
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide).astype(np.float32)


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("LOGISTIC", "int16"): partial(sigmoid_s16, (0,)),
    ("RELU", "int16"): relu_s16,
    ("RELU6", "int16"): relu6_s16,
    ("SOFTMAX", "int16"): softmax_s16,
    ("TANH", "int16"): partial(sigmoid_s16, (0, 1)),
}
