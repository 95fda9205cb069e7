"""ADD of int8 as two multiplications, for eq_add_flat_s8_dsp: constants found and proven.

TFLM brings both inputs to a common scale, adds, and scales the sum, each time with rounding. The
kernel computes

    saturate((a * (x << 8) >> 16) + (b * (y << 8) >> 16) + start >> SHIFT)

For given a and b each of the 65,536 pairs of inputs bounds `start` from both sides, so that what is
found is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.requantization import multiply_down

SHIFT = 20
"""Of eq_saturate_upper_s8 of eq_dsp.h."""

_VALUES = np.arange(-128, 128, dtype=np.int64)

_TRIALS = sorted(
    ((i, j) for i in range(-6, 7) for j in range(-6, 7)),
    key=lambda p: (p[0] ** 2 + p[1] ** 2, p),
)
"""Steps from the nearest constants."""

_STRIDE = 24


@dataclass(frozen=True)
class Addend:
    """(multiplier, -exponent) of an input, after `zero_point` and a left shift of 20."""

    zero_point: int
    multiplier: int
    exponent: int

    def values(self) -> NDArray[np.int64]:
        shifted = (_VALUES - self.zero_point) << 20
        return multiply_down(shifted, np.int64(self.multiplier), np.int64(self.exponent))


@dataclass(frozen=True)
class Constants:
    a: int
    b: int
    start: int


def solve(
    x: Addend,
    y: Addend,
    multiplier: int,
    exponent: int,
    zero_point: int,
    factors: tuple[float, float],
) -> Constants | None:
    """The constants that give TFLM's byte for every pair of inputs, or None.

    The sum of both is scaled by (multiplier, -exponent); `factors` are the inputs' scales beside
    the output's.
    """
    sums = x.values()[:, None] + y.values()[None, :]
    wide = multiply_down(sums, np.int64(multiplier), np.int64(exponent)) + zero_point
    outputs = np.clip(wide, -128, 127)
    nearest = [round(factor * (1 << (SHIFT + 8))) for factor in factors]
    if max(nearest) >= 1 << 30:
        return None
    for i, j in _TRIALS:
        a, b = nearest[0] + i * _STRIDE, nearest[1] + j * _STRIDE
        parts = [(factor * (_VALUES << 8)) >> 16 for factor in (a, b)]
        found = _start(parts[0][:, None] + parts[1][None, :], outputs)
        if found is not None:
            return Constants(a, b, found)
    return None


def _start(sums: NDArray[Any], outputs: NDArray[Any]) -> int | None:
    far = 1 << 62
    least = int(np.where(outputs > -128, (outputs << SHIFT) - sums, -far).max())
    most = int(np.where(outputs < 127, ((outputs + 1) << SHIFT) - 1 - sums, far).min())
    start = least + (most - least) // 2 if -far < least and most < far else max(least, -far // 2)
    if least > most or not -(1 << 31) <= start < 1 << 31:
        return None
    total = sums + start
    is_within = total.min() >= -(1 << 31) and total.max() < 1 << 31
    is_equal = bool((np.clip(total >> SHIFT, -128, 127) == outputs).all())
    return start if is_within and is_equal else None
