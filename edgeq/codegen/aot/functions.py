"""ABS, ELU, HARD_SWISH, LEAKY_RELU, NEG, RSQRT: tables of int8 values, eq_function.h for int16."""

from __future__ import annotations

import math

import numpy as np

from edgeq.codegen.aot import fixed_point
from edgeq.codegen.aot.activations import unary_s8
from edgeq.codegen.aot.layer import (
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
from edgeq.codegen.aot.multipliers import float32_round, quantize_multiplier
from edgeq.codegen.aot.overlaps import IN_PLACE
from edgeq.graph import Op, Quantization, Subgraph
from edgeq.targets import Core

_VALUES = range(-128, 128)

_LARGEST_SHIFT = 30

_ROOT_SHIFT = 20
"""Bits that RSQRT shifts a root up by, so that it has digits."""


def abs_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's AbsEvalQuantized."""
    before, after = _scales(op, subgraph)
    multiplier, shift = _pair(op, _ratio(before, after))
    values = [
        after.zero_point + fixed_point.multiply(abs(q - before.zero_point), multiplier, shift)
        for q in _VALUES
    ]
    return unary_s8(op, subgraph, np.clip(values, -128, 127))


def abs_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    before, after = _scales(op, subgraph)
    return _scaled_s16(op, subgraph, "abs", *_pair(op, _ratio(before, after)))


def neg_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """LiteRT's reference_ops::Negate, of the stored value: -128 stays -128."""
    _check_negation(op, subgraph)
    return unary_s8(op, subgraph, [-128, *(-q for q in _VALUES[1:])])


def neg_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    _check_negation(op, subgraph)
    fields = (("count", input_tensor(op, subgraph, 0).elements),)
    return _function_s16(op, "eq_neg_s16", "eq_neg_t", fields)


def _check_negation(op: Op, subgraph: Subgraph) -> None:
    """LiteRT looks at no scales. Refuse those that make the negated number another one."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    if input.quantization is None and output.quantization is None and input.dtype == output.dtype:
        return
    before, after = _scales(op, subgraph)
    if before.scale != after.scale or before.zero_point != -after.zero_point:
        raise refuse(
            op, "its output has another scale than its input, or not the negated zero point",
            "quantize the model again",
        )  # fmt: skip


def elu_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The table of TFLM's elu.cc, in its float32."""
    before, after = _scales(op, subgraph)
    inverse = np.float32(1.0) / np.float32(after.scale)
    values = []
    for q in _VALUES:
        x = np.float32(before.scale) * np.float32(q - before.zero_point)
        # C's expf is the rounded result of a computation in float64; NumPy's float32 is not.
        y = x if x >= 0 else np.float32(math.exp(float(x))) - np.float32(1.0)
        values.append(float32_round(np.float32(y * inverse)) + after.zero_point)
    return unary_s8(op, subgraph, np.clip(values, -128, 127))


def leaky_relu_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    before, after = _scales(op, subgraph)
    multiplier, shift, below, below_shift, sign = _slopes(op, before, after)
    values = []
    for q in _VALUES:
        x = q - before.zero_point
        if x >= 0:
            y = fixed_point.multiply(x, multiplier, shift)
        else:
            y = sign * fixed_point.multiply(x, below, below_shift)
        values.append(y + after.zero_point)
    return unary_s8(op, subgraph, np.clip(values, -128, 127))


def leaky_relu_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    before, after = _scales(op, subgraph)
    multiplier, shift, below, below_shift, sign = _slopes(op, before, after)
    fields = (
        ("count", input_tensor(op, subgraph, 0).elements),
        ("input_zero_point", before.zero_point),
        ("output_zero_point", after.zero_point),
        ("multiplier", multiplier),
        ("shift", shift),
        ("below_multiplier", below),
        ("below_shift", below_shift),
        ("below_sign", sign),
    )
    return _function_s16(op, "eq_leaky_relu_s16", "eq_leaky_relu_t", fields)


def _slopes(op: Op, before: Quantization, after: Quantization) -> tuple[int, int, int, int, int]:
    """Multiplier and shift for both sides, and the sign of the negative one."""
    alpha = before.scale * float(np.float32(op.options["alpha"])) / after.scale
    below, below_shift = _pair(op, abs(alpha))
    return *_pair(op, _ratio(before, after)), below, below_shift, -1 if alpha < 0 else 1


def rsqrt_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's RsqrtEvalQuantized. What has no root, where TFLM fails, becomes 127 as 0 does."""
    before, after = _scales(op, subgraph)
    multiplier, shift = _root_pair(op, before, after)
    values = []
    for q in _VALUES:
        x = q - before.zero_point
        if x > 0:
            root, root_shift = inverse_sqrt(x)
            shifted = fixed_point.multiply(1, root, root_shift + _ROOT_SHIFT)
            y = fixed_point.multiply(shifted, multiplier, shift) + after.zero_point
            values.append(min(max(y, -128), 127))
        else:
            values.append(127)
    return unary_s8(op, subgraph, values)


def rsqrt_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    before, after = _scales(op, subgraph)
    return _scaled_s16(op, subgraph, "rsqrt", *_root_pair(op, before, after))


def _root_pair(op: Op, before: Quantization, after: Quantization) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(1.0 / (math.sqrt(before.scale) * after.scale))
    shift -= _ROOT_SHIFT
    if not -31 <= shift <= _LARGEST_SHIFT:
        raise refuse(op, "its scales are too far apart", "quantize the model again")
    return multiplier, shift


def inverse_sqrt(x: int) -> tuple[int, int]:
    """1 / sqrt(x) as a multiplier and a shift: what eq_inverse_sqrt.h computes."""
    if x <= 1:
        return fixed_point.INT32_MAX, 0
    right = 11
    while x >= 1 << 29:
        x //= 4
        right += 1
    pairs = (31 - x.bit_length()) // 2 - 1
    right -= pairs
    x = (x << (2 * pairs)) >> 1
    half = fixed_point.divide_by_pot(x, 1)
    y = 1 << 28
    for _ in range(5):
        cube = fixed_point.high_mul(fixed_point.high_mul(y, y), y)
        step = fixed_point.high_mul(half, fixed_point.saturating_shift(cube, 6))
        y = fixed_point.saturating_shift(fixed_point.high_mul((1 << 28) + (1 << 27), y) - step, 3)
    y = fixed_point.high_mul(y, 1518500250)  # sqrt(1/2) in Q0
    return (y, -right) if right >= 0 else (fixed_point.wrap(y << -right), 0)


def hard_swish_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's reference_ops::HardSwish, in 16-bit fixed point.

    x * (clamp(x, -3, 3) + 3) / 6, with both factors scaled up to 16 bits.
    """
    before, after = _scales(op, subgraph)
    fine = before.scale / 128.0
    factor, exponent = quantize_multiplier(fine / after.scale)
    if exponent > 0:
        raise refuse(op, "it scales up by more than 128", "quantize the model again")
    slope, slope_exponent = quantize_multiplier(fine / (3.0 / 32768.0))
    if min(exponent, slope_exponent) < -15:
        raise refuse(op, "its scales are too far apart", "quantize the model again")
    values = []
    for q in _VALUES:
        x = (q - before.zero_point) << 7
        scaled = _high_mul_16(x, _to_16(factor))
        gate = x
        if slope_exponent > 0:
            gate = _limit_16(gate << (slope_exponent - 1))
        gate = _high_mul_16(gate, _to_16(slope))
        if slope_exponent > 0:
            gate = _limit_16(gate << 1)
        elif slope_exponent < 0:
            gate = fixed_point.divide_by_pot(gate, -slope_exponent)
        gate = (gate + (1 << 15)) >> 1
        product = int(math.trunc(gate * scaled / (1 << 15)))
        values.append(fixed_point.divide_by_pot(product, -exponent) + after.zero_point)
    return unary_s8(op, subgraph, np.clip(values, -128, 127))


def _to_16(multiplier: int) -> int:
    """TFLM's DownScaleInt32ToInt16Multiplier."""
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


def _high_mul_16(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul of int16, for b >= 0."""
    return (a * b + (1 << 14)) >> 15


def _limit_16(value: int) -> int:
    return min(max(value, -(1 << 15)), (1 << 15) - 1)


# --- Scales and calls ---------------------------------------------------------------------------


def _scales(op: Op, subgraph: Subgraph) -> tuple[Quantization, Quantization]:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    if input.dtype != output.dtype:
        raise refuse(op, f"its input is {input.dtype} and its output {output.dtype}")
    return quantization(op, input), quantization(op, output)


def _ratio(before: Quantization, after: Quantization) -> float:
    """Divided in float64: the tflite-micro wheel of autumn 2026 no longer does it in float32."""
    return before.scale / after.scale


def _pair(op: Op, real: float) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(real)
    if shift > _LARGEST_SHIFT:
        raise refuse(op, f"it scales its output up by {real:g}", "quantize the model again")
    return multiplier, shift


def _scaled_s16(
    op: Op,
    subgraph: Subgraph,
    function: str,
    multiplier: int,
    shift: int,
) -> LayerCode:
    if any(facts.zero_point for facts in _scales(op, subgraph)):
        raise refuse(op, "an int16 tensor has a zero point", "quantize the model again")
    fields = (
        ("count", input_tensor(op, subgraph, 0).elements),
        ("multiplier", multiplier),
        ("shift", shift),
    )
    return _function_s16(op, f"eq_{function}_s16", "eq_scaled_t", fields)


def _function_s16(
    op: Op,
    function: str,
    ctype: str,
    fields: tuple[tuple[str, Value], ...],
) -> LayerCode:
    name = label(op)
    return LayerCode(
        calls=(Call(function, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, ctype, fields),),
        sources=(f"{function}.c",),
        headers=("eq_function.h",),
        overlaps=IN_PLACE,
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("ABS", "int16"): abs_s16,
    ("ABS", "int8"): abs_s8,
    ("ELU", "int8"): elu_s8,
    ("HARD_SWISH", "int8"): hard_swish_s8,
    ("LEAKY_RELU", "int16"): leaky_relu_s16,
    ("LEAKY_RELU", "int8"): leaky_relu_s8,
    ("NEG", "int16"): neg_s16,
    ("NEG", "int8"): neg_s8,
    ("RSQRT", "int16"): rsqrt_s16,
    ("RSQRT", "int8"): rsqrt_s8,
}
