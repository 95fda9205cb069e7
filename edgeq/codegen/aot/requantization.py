"""From a sum to an output byte in few instructions, where TensorFlow Lite Micro rounds twice.

The kernels of eq_blocks.h have 256 times a sum x. An output is a step function of x with at most
255 steps, so whatever steps at the same sums gives the same bytes. With SMMULR and SSAT of
Armv7E-M that is

    saturate(round(multiplier * (256 x + bias) / 2^32) >> shift)

where `bias` holds the zero point and all roundings. `solve` finds multiplier and bias of each
channel from the sums at which TFLM's output steps: for a multiplier, each step bounds the bias from
both sides. What it returns was compared with TFLM's formula on both sides of each step that a
channel can reach, and at both ends; both rise with x, so it is exact.

TFLM's second rounding, halves away from zero, sets the steps of negative numbers one unit of its
first product lower. Where both signs matter there is mostly no such line, and `exactly` gives the
constants of TFLM's own formula instead:

    y = round(multiplier * 2x / 2^32), y -= (y < 0), saturate(round(y * scale / 2^32) + zero_point)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_SCALE = 8
"""Sums are multiplied by 2^8."""

_LARGEST_EXPONENT = 18
"""Of two, of what a scale is divided by; beyond it 64 bits would not do here."""

_LARGEST_SHIFT = 22
"""Of the same reason."""

_TRIALS = (
    *((offset, 0) for offset in sorted(range(-200, 200), key=lambda offset: (abs(offset), offset))),
    *((offset, double) for double in range(1, 13) for offset in (0, -1, 1)),
)
"""What is tried for a channel: multipliers ever farther from TFLM's, in small strides, then its
doubles, which serve channels that reach a step or two and would need too large a bias."""

_PATIENCE = 20
"""After how many at least half of all channels have one, or never will."""

_STEPS = np.arange(-127, 128)
"""The outputs that are a step up from the one below."""


@dataclass(frozen=True, eq=False)
class Requantization:
    """`multipliers` and `biases` (of sums times 256) of each channel.

    `shift` is that of all channels; with `scales`, one for each channel, the form is TFLM's own,
    and `biases` are 0.
    """

    multipliers: NDArray[np.int32]
    biases: NDArray[np.int32]
    shift: int = 0
    scales: NDArray[np.int32] | None = None

    @property
    def size(self) -> int:
        """Bytes of multipliers and scales."""
        return self.multipliers.nbytes * (1 if self.scales is None else 2)


@dataclass(frozen=True, eq=False)
class Scales:
    """What TFLM does with the sums of each channel: (multiplier, -exponent) as in
    multipliers.quantize_multiplier, exponents of at least 1; then `zero_point`, limits of int8.

    `low` and `high` are the least and the greatest sum that a channel can reach.
    """

    multipliers: Integers
    exponents: Integers
    zero_point: int
    low: Integers
    high: Integers


def exactly(scales: Scales) -> Requantization | None:
    """TFLM's formula; None where sums or scales are beyond it."""
    exponents = scales.exponents
    if (exponents < 2).any() or (exponents > 31).any() or not _is_within(scales.low, scales.high):
        return None
    return Requantization(
        scales.multipliers.astype(np.int32),
        np.zeros(len(exponents), np.int32),
        scales=(1 << (32 - exponents)).astype(np.int32),
    )


def _is_within(low: Integers, high: Integers) -> bool:
    return bool(((low << _SCALE) >= -(1 << 31)).all() and ((high << _SCALE) < 1 << 31).all())


def solve(scales: Scales, largest_shift: int = _LARGEST_SHIFT) -> Requantization | None:
    """A line that gives TFLM's bytes for all channels, or None; `largest_shift` limits it."""
    exponents = scales.exponents
    if (exponents < 1).any() or (exponents > _LARGEST_EXPONENT).any():
        return None
    if (scales.multipliers < 1 << 30).any() or not _is_within(scales.low, scales.high):
        return None
    shift = min(int(exponents.min()) + _SCALE - 1, largest_shift)
    sums = _first_sums(scales)
    down = exponents + _SCALE - 1 - shift
    multipliers = np.minimum((scales.multipliers + ((1 << down) >> 1)) >> down, (1 << 31) - 1)
    biases = np.zeros_like(multipliers)
    left = np.arange(len(multipliers))
    stride = np.maximum(1, multipliers >> (19 + exponents))
    for candidate, (offset, double) in enumerate(_TRIALS):
        tried = (multipliers[left] + offset * stride[left]) << double
        bias, is_solved = _bias(scales, sums, shift, tried, left)
        solved = left[is_solved]
        multipliers[solved], biases[solved] = tried[is_solved], bias[is_solved]
        left = left[~is_solved]
        if not len(left):
            break
        if candidate == _PATIENCE and 2 * len(left) > len(multipliers):
            return None
    else:
        return None
    found = Requantization(multipliers.astype(np.int32), biases.astype(np.int32), shift)
    return found if _is_exact(scales, found, sums) else None


def solve_together(scales: Scales) -> Requantization | None:
    """The same with one multiplier, where TFLM has one scale for all channels."""
    multiplier, exponent = int(scales.multipliers[0]), int(scales.exponents[0])
    is_one = (scales.multipliers == multiplier).all() and (scales.exponents == exponent).all()
    if not is_one or not 1 <= exponent <= _LARGEST_EXPONENT or multiplier < 1 << 30:
        return None
    if not _is_within(scales.low, scales.high):
        return None
    shift, sums = exponent + _SCALE - 1, _first_sums(scales)
    everyone = np.arange(len(sums))
    for offset, _ in _TRIALS[: _PATIENCE * 2]:
        tried = np.full(len(sums), multiplier + offset * (multiplier >> (21 + exponent)))
        bias, is_solved = _bias(scales, sums, shift, tried, everyone)
        if is_solved.all():
            found = Requantization(tried.astype(np.int32), bias.astype(np.int32), shift)
            return found if _is_exact(scales, found, sums) else None
    return None


def _first_sums(scales: Scales) -> Integers:
    """[channel][step]: the first sum with that output, one beyond the range where there is none."""
    steps = _STEPS - scales.zero_point
    exponents = scales.exponents[:, None]
    products = (steps << exponents) - (1 << exponents >> 1) + (steps <= 0)
    sums = _divide_up((products << 31) - (1 << 30), scales.multipliers[:, None])
    return np.asarray(np.clip(sums, scales.low[:, None], scales.high[:, None] + 1))


def _divide_up(a: Integers, b: Integers) -> Integers:
    return np.asarray(-(-a // b))


def _bias(
    scales: Scales, sums: Integers, shift: int, tried: Integers, left: Integers
) -> tuple[Integers, NDArray[np.bool_]]:
    """For the channels `left` a bias that suits the multipliers `tried`, and whether it does."""
    products = ((_STEPS << shift) << 32) - (1 << 31)
    first = (sums[left] << _SCALE) - _divide_up(products, np.maximum(tried, 1)[:, None])
    low, high = scales.low[left], scales.high[left]
    is_reached, is_left = sums[left] <= high[:, None], sums[left] > low[:, None]
    far = 1 << 62
    least = np.where(is_reached, -first, -far).max(axis=1)
    greatest = np.where(is_left, -first + (1 << _SCALE) - 1, far).min(axis=1)
    is_one_sided = np.where(least == -far, greatest, least)
    middle = np.where(
        (least == -far) | (greatest == far), is_one_sided, least + (greatest - least) // 2
    )
    ends = [(end << _SCALE) + middle for end in (low, high)]
    is_within = (ends[0] >= -(1 << 31)) & (ends[1] < 1 << 31) & (abs(middle) < 1 << 31)
    is_multiplier = (tried > 0) & (tried < 1 << 31)
    return middle, np.asarray((least <= greatest) & is_within & is_multiplier)


# --- The proof ----------------------------------------------------------------------------------


def _is_exact(scales: Scales, found: Requantization, sums: Integers) -> bool:
    ends = np.stack([scales.low, scales.high], axis=1)
    tested = np.concatenate([sums, sums - 1, ends], axis=1)
    tested = np.clip(tested, scales.low[:, None], scales.high[:, None])
    return bool((requantize(found, tested) == reference(scales, tested)).all())


def reference(scales: Scales, sums: Integers) -> Integers:
    """TFLM's outputs of `sums` [channel][any]: MultiplyByQuantizedMultiplier, limited to int8."""
    scaled = multiply_down(sums, scales.multipliers[:, None], scales.exponents[:, None])
    return np.clip(scaled + scales.zero_point, -128, 127)


def multiply_down(x: Any, multiplier: Any, exponent: Any) -> Integers:
    """eq_multiply of eq_requantize.h, of a shift of -exponent, on int64 arrays."""
    product = (x * multiplier + (1 << 30)) >> 31
    mask = (1 << exponent) - 1
    is_up = (product & mask) > (mask >> 1) + (product < 0)
    return np.asarray((product >> exponent) + is_up)


def requantize(found: Requantization, sums: Integers) -> Integers:
    """What the line makes of `sums` [channel][any]."""
    wide = (sums << _SCALE) + found.biases.astype(np.int64)[:, None]
    high = (wide * found.multipliers.astype(np.int64)[:, None] + (1 << 31)) >> 32
    return np.asarray(np.clip(high >> found.shift, -128, 127))


def reach(rows: NDArray[Any], bias: NDArray[Any], zero_point: int) -> tuple[Integers, Integers]:
    """The least and the greatest sum of each of `rows` of weights and int8 values."""
    wide = rows.astype(np.int64)
    positive, negative = np.maximum(wide, 0).sum(axis=1), np.minimum(wide, 0).sum(axis=1)
    low, high = -128 - zero_point, 127 - zero_point
    middle = bias.astype(np.int64)
    return middle + low * positive + high * negative, middle + high * positive + low * negative
