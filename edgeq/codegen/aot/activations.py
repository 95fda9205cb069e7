"""SOFTMAX (eq_softmax.h) and the functions of one value (eq_activation.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot import fixed_point
from edgeq.codegen.aot.layer import (
    Array,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import float32_round, quantize_multiplier
from edgeq.codegen.aot.overlaps import IN_PLACE, front_to_back
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_VALUES = range(-128, 128)
_INT8 = np.array(_VALUES)

_SOFTMAX_KERNELS = {"int8": ("eq_softmax_s8", 8), "int16": ("eq_softmax_s8_s16", 16)}
"""By type of the output: the kernel, and the bits of a probability."""

_SOFTMAX_INTEGER_BITS = 5
"""Of the scaled differences that the exponential is taken of."""


def softmax_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    kernel, bits = _SOFTMAX_KERNELS.get(output.dtype, ("", 0))
    if not kernel:
        raise refuse(op, f"its output is {output.dtype}, and only int8 and int16 are supported")
    facts = quantization(op, output)
    if (facts.scale, facts.zero_point) != (2.0**-bits, -(1 << (bits - 1))):
        raise refuse(
            op, f"its {output.dtype} output has not the scale 2^-{bits} and the least zero point",
            "quantize the model again",
        )  # fmt: skip
    scale = float(op.options["beta"]) * quantization(op, input).scale
    table = exponentials(scale)
    name = label(op)
    values = Array(f"{name}_exp", table, "exp(-i * scale * beta), 31 bits below the point")
    fields = (
        ("rows", input.elements // input.shape[-1]),
        ("depth", input.shape[-1]),
        ("exp_count", len(table)),
        ("exp_q31", values.name),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(values, Struct(name, "eq_softmax_s8_t", fields)),
        sources=(f"{kernel}.c", "eq_softmax_row.c"),
        headers=("eq_softmax.h",),
        overlaps=front_to_back(input, output),
    )


def exponentials(scale: float) -> NDArray[np.int32]:
    """exp(-i * scale) in Q0 for the differences i that TFLM does not take for endless.

    Its PreprocessSoftmaxScaling and CalculateInputRadius.
    """
    fraction_bits = 31 - _SOFTMAX_INTEGER_BITS
    real = min(scale * (1 << fraction_bits), (1 << 31) - 1.0)
    multiplier, shift = quantize_multiplier(real)
    radius = ((1 << _SOFTMAX_INTEGER_BITS) - 1) * (1 << fraction_bits) / (1 << shift)
    count = min(int(radius), 255) + 1
    return np.array(
        [
            fixed_point.exp_on_negative(
                fixed_point.multiply(-i, multiplier, shift), _SOFTMAX_INTEGER_BITS
            )
            for i in range(count)
        ],
        np.int32,
    )


# --- Functions of one value ---------------------------------------------------------------------


def relu_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's ReluQuantized: a change of scale, then the limit."""
    before = quantization(op, input_tensor(op, subgraph, 0))
    after = quantization(op, output_tensor(op, subgraph))
    multiplier, shift = quantize_multiplier(before.scale / after.scale)
    scaled = [
        after.zero_point + fixed_point.multiply(q - before.zero_point, multiplier, shift)
        for q in _VALUES
    ]
    return unary_s8(op, subgraph, np.clip(scaled, max(-128, after.zero_point), 127))


def relu6_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's Relu6Quantized: limits of the input's quantization, and no change of scale."""
    facts = quantization(op, input_tensor(op, subgraph, 0))
    steps = float32_round(np.float32(6.0) / np.float32(facts.scale))
    six = min(127, steps + facts.zero_point)
    return unary_s8(op, subgraph, np.clip(_INT8, facts.zero_point, six))


def logistic_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    if quantization(op, output_tensor(op, subgraph)).zero_point != -128:
        raise refuse(op, "its output's zero point is not -128", "quantize the model again")
    values = [
        min(fixed_point.divide_by_pot(fixed_point.logistic(x, 4), 23) - 128, 127)
        for x in _q4(op, subgraph)
    ]
    return unary_s8(op, subgraph, _saturated(op, subgraph, values))


def tanh_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    values = [
        min(max(fixed_point.divide_by_pot(fixed_point.tanh(x, 4), 24), -128), 127)
        for x in _q4(op, subgraph)
    ]
    return unary_s8(op, subgraph, _saturated(op, subgraph, values))


def unary_s8(op: Op, subgraph: Subgraph, values: Sequence[int] | NDArray[Any]) -> LayerCode:
    """The function with these 256 results, for -128 to 127: a table, or what is simpler."""
    table = np.asarray(values)
    low, high = int(table.min()), int(table.max())
    name, count = label(op), input_tensor(op, subgraph, 0).elements
    if (table == _INT8).all() and not input_tensor(op, subgraph, 0).is_constant:
        return LayerCode(is_alias=True)
    if (table == np.clip(_INT8, low, high)).all():
        fields = (("count", count), ("low", low), ("high", high))
        return LayerCode(
            calls=(Call("eq_clamp_s8", (f"&{name}", Input(0), Output())),),
            constants=(Struct(name, "eq_clamp_s8_t", fields),),
            sources=("eq_clamp_s8.c",),
            headers=("eq_activation.h",),
            overlaps=IN_PLACE,
        )
    array = Array(f"{name}_table", table.astype(np.int8), "the result for -128, -127, .. 127")
    return LayerCode(
        calls=(Call("eq_lookup_s8", (f"&{name}", Input(0), Output())),),
        constants=(
            array,
            Struct(name, "eq_lookup_s8_t", (("count", count), ("table", array.name))),
        ),
        sources=("eq_lookup_s8.c",),
        headers=("eq_activation.h",),
        overlaps=IN_PLACE,
    )


def _q4(op: Op, subgraph: Subgraph) -> list[int]:
    """The 256 inputs in Q4, for the functions that saturate beyond 16 (see _saturated)."""
    facts = quantization(op, input_tensor(op, subgraph, 0))
    multiplier, shift = quantize_multiplier(facts.scale * (1 << 27))
    return [fixed_point.multiply(q - facts.zero_point, multiplier, shift) for q in _VALUES]


def _saturated(op: Op, subgraph: Subgraph, values: Sequence[int]) -> NDArray[Any]:
    """`values`, but the limits where the input is beyond what Q4 holds."""
    facts = quantization(op, input_tensor(op, subgraph, 0))
    _, shift = quantize_multiplier(facts.scale * (1 << 27))
    radius = math.floor(15.0 * (1 << 27) / 2.0**shift)
    steps = _INT8 - facts.zero_point
    return np.where(steps <= -radius, -128, np.where(steps >= radius, 127, values))


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("LOGISTIC", "int8"): logistic_s8,
    ("RELU", "int8"): relu_s8,
    ("RELU6", "int8"): relu6_s8,
    ("SOFTMAX", "int8"): softmax_s8,
    ("TANH", "int8"): tanh_s8,
}
