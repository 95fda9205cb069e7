"""Real factors as pairs of integers, and output limits, as TensorFlow Lite Micro computes them.

Factors are float64, and limits float32, as they are there: the last bit counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import quantization, refuse
from edgeq.graph import Op, Tensor

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}
"""The least and the greatest value of a stored activation."""

_LARGEST_SHIFT = 30

_LARGEST_WIDE_SHIFT = 7
"""Of eq_multiply_s64."""

_SUM_LIMIT = 1 << 47
"""Of what eq_multiply_s64 takes."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real = multiplier * 2^(shift - 31), multiplier in 2^30 .. 2^31 - 1.

    0 and what is below 2^-32 become (0, 0). TFLM's QuantizeMultiplier.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_half_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def round_half_away(value: float) -> int:
    """The nearest integer, halves away from zero: C's round()."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def float32_round(value: np.float32) -> int:
    """C's roundf()."""
    return round_half_away(float(value))


def requantize_pairs(op: Op, scales: Sequence[float]) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """`scales` as arrays of multipliers and shifts, for eq_multiply of eq_requantize.h."""
    pairs = [quantize_multiplier(scale) for scale in scales]
    if any(shift > _LARGEST_SHIFT for _, shift in pairs):
        raise refuse(op, f"it scales its output up by {max(scales):g}", "quantize the model again")
    return (
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int8),
    )


def wide_pairs(
    op: Op, scales: Sequence[float], largest_sum: int
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """`requantize_pairs` for eq_multiply_s64, of sums up to `largest_sum`: multipliers of 15 bits.

    TFLM's MultiplyByQuantizedMultiplier for int64.
    """
    if largest_sum >= _SUM_LIMIT:
        raise refuse(op, "its sums can exceed 47 bits", "quantize the model again")
    multipliers, shifts = requantize_pairs(op, scales)
    if (shifts > _LARGEST_WIDE_SHIFT).any():
        raise refuse(op, f"it scales its output up by {max(scales):g}", "quantize the model again")
    reduced = np.minimum((multipliers.astype(np.int64) + (1 << 15)) >> 16, (1 << 15) - 1)
    return reduced.astype(np.int32), shifts


def largest_sum(rows: NDArray[Any], bias: NDArray[Any]) -> int:
    """What a sum of int16 values by int8 `rows` of weights, and its bias, can reach."""
    return int((np.abs(rows.astype(np.int64)).sum(axis=1) * (1 << 15) + np.abs(bias)).max())


def channel_scales(op: Op, input: Tensor, weights: Tensor, output: Tensor) -> list[float]:
    """What the accumulator of each channel is multiplied by; one value for weights of one scale.

    TFLM's PopulateConvolutionQuantizationParams. Its FULLY_CONNECTED multiplied in float32 until
    the autumn of 2026; the reference is the tflite-micro wheel, which no longer does.
    """
    if weights.quantization is None:
        raise refuse(op, "its weights have no scale", "quantize the model again")
    before, after = quantization(op, input).scale, quantization(op, output).scale
    return [before * scale / after for scale in weights.quantization.scales]


def activation_range(op: Op, output: Tensor, activation: str) -> tuple[int, int]:
    """The least and the greatest output value under a fused activation."""
    low, high = LIMITS[output.dtype]
    if activation == "NONE":
        return low, high
    bounds = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
    if activation not in bounds:
        raise refuse(op, f"the fused activation {activation} has no integer form")
    least, greatest = bounds[activation]
    low = max(low, _quantized(op, output, least))
    if greatest is not None:
        high = min(high, _quantized(op, output, greatest))
    return low, high


def _quantized(op: Op, tensor: Tensor, value: float) -> int:
    facts = quantization(op, tensor)
    return facts.zero_point + float32_round(np.float32(value) / np.float32(facts.scale))
