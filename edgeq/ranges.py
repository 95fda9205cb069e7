"""From the distribution of an activation to the range that its integers shall cover.

Min-max clips nothing, so one outlier makes every step coarse. The others give up the rare large
values for finer steps; which of them is best depends on the network, so edgeq.choice measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeq.documents import nearest
from edgeq.errors import UsageError

AUTO = "auto"
METHODS = {
    "minmax": "all that was seen",
    "percentile": "all but 0.01 % of the values on each side",
    "percentile-99.9": "all but 0.1 % on each side",
    "mse": "least mean squared error of rounding and clipping together",
    "entropy": "least Kullback-Leibler divergence of the rounded values' distribution",
}
"""How a range is made of what was seen. AUTO tries them all."""

BINS = 4096
"""Of a histogram over [-2^e, 2^e); at least a quarter of them lie within the values' range."""

LEVELS = {"int8": 255, "int16x8": 65535}
"""Steps of the activations' type, by scheme."""

_SHARES = {"percentile": 0.9999, "percentile-99.9": 0.999}
_FACTORS = np.linspace(1, 0.02, 50)
"""What mse and entropy try to shrink a range by, the widest first: it wins a tie."""

_PER_BIN = 8
"""Values that entropy needs for each bin: in a sparser histogram, few bins look like few levels."""

_NEVER = 1e-12
"""Stands for a probability of 0 where its logarithm is needed."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Histogram:
    """`counts` of the values in BINS equal bins over [-2^exponent, 2^exponent)."""

    counts: NDArray[np.int64] = field(repr=False)
    exponent: int

    @property
    def width(self) -> float:
        """Of a bin."""
        return float(2.0 ** (self.exponent + 1) / BINS)

    @property
    def rounded(self) -> NDArray[np.float64]:
        """The counts without the bin of zero: a half of many activations, and always exact."""
        counts = self.counts.astype(np.float64)
        counts[BINS // 2] = 0
        return counts

    @property
    def centres(self) -> NDArray[np.float64]:
        places: NDArray[np.float64] = np.arange(BINS, dtype=np.float64) - (BINS / 2 - 0.5)
        return places * self.width


def method_named(name: str) -> str:
    """AUTO or the key of METHODS that `name` is. Raises UsageError."""
    if name not in (AUTO, *METHODS):
        guess = nearest(name, [AUTO, *METHODS])
        raise UsageError(
            f"unknown calibration method {name!r}",
            hint=f"did you mean {guess}?" if guess else f"one of: {AUTO}, {', '.join(METHODS)}",
        )
    return name


def ranges_by(
    method: str,
    extremes: Mapping[int, Range],
    histograms: Mapping[int, Histogram],
    scheme: str,
) -> dict[int, Range]:
    """The range of each tensor in `extremes` by `method`, one of METHODS, within its extremes.

    A tensor without values in its histogram keeps its extremes.
    """
    made = {}
    for index, (low, high) in extremes.items():
        histogram = histograms.get(index)
        if method == "minmax" or histogram is None or not histogram.counts.any():
            made[index] = low, high
            continue
        least, most = _BY_METHOD[method](histogram, (min(low, 0.0), max(high, 0.0)), scheme)
        made[index] = max(low, least), min(high, most)
    return made


def _by_share(share: float) -> Callable[[Histogram, Range, str], Range]:
    def cut(histogram: Histogram, extremes: Range, scheme: str) -> Range:
        below = np.cumsum(histogram.counts)
        outside = (1 - share) * below[-1]
        first = int(np.searchsorted(below, outside, "right"))
        last = int(np.searchsorted(below, below[-1] - outside, "left"))
        low, high = ((i - BINS // 2) * histogram.width for i in (first, last + 1))
        return min(low, 0.0), max(high, 0.0)

    return cut


def _by_error(histogram: Histogram, extremes: Range, scheme: str) -> Range:
    """Rounding costs step^2 / 12 a value on average, clipping its squared distance."""
    n = histogram.rounded
    x = histogram.centres
    lows, highs = (np.unique(side * _FACTORS)[:: -1 if side > 0 else 1] for side in extremes)
    above = _tail(n, x, highs)
    below = _tail(n[::-1], -x[::-1], -lows)
    steps = (highs[None, :] - lows[:, None]) / LEVELS[scheme]
    error = n.sum() * steps**2 / 12 + above[None, :] + below[:, None]
    i, j = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows[i]), float(highs[j])


def _tail(
    n: NDArray[np.float64], x: NDArray[np.float64], bounds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each of `bounds` the sum of n (x - bound)^2 over all x above it; `x` is sorted."""
    sums = [np.append(np.cumsum((n * x**power)[::-1])[::-1], 0.0) for power in range(3)]
    first = np.searchsorted(x, bounds, "right")
    count, total, squares = (s[first] for s in sums)
    error: NDArray[np.float64] = np.maximum(squares - 2 * bounds * total + bounds**2 * count, 0)
    return error


def _by_entropy(histogram: Histogram, extremes: Range, scheme: str) -> Range:
    """Migacz, "8-bit Inference with TensorRT", GTC 2017, for ranges of two sides.

    A histogram too sparse for it keeps its extremes, and so does one of 16-bit levels.
    """
    counts = histogram.rounded
    best, kept = np.inf, extremes
    for factor in _FACTORS[::2]:
        low, high = extremes[0] * factor, extremes[1] * factor
        first, last = (int(np.floor(b / histogram.width)) + BINS // 2 for b in (low, high))
        inside = counts[max(0, first) : last + 1]
        if inside.size <= LEVELS[scheme] or inside.sum() < _PER_BIN * inside.size:
            break
        clipped = inside.copy()
        clipped[0] += counts[: max(0, first)].sum()
        clipped[-1] += counts[last + 1 :].sum()
        divergence = _divergence(clipped, _rounded(inside, LEVELS[scheme]))
        if divergence < best:
            best, kept = divergence, (low, high)
    return kept


def _rounded(counts: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Each of `levels` groups of bins spread evenly over those of its bins that had values."""
    group = np.arange(counts.size) * levels // counts.size
    filled = counts > 0
    total = np.bincount(group, counts, levels)
    among = np.bincount(group, filled, levels)
    spread: NDArray[np.float64] = np.where(filled, (total / np.maximum(among, 1))[group], 0.0)
    return spread


def _divergence(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    there = wanted > 0
    p = wanted[there] / wanted.sum()
    q = np.maximum(found[there] / found.sum(), _NEVER)
    return float(np.sum(p * np.log(p / q)))


_BY_METHOD: dict[str, Callable[[Histogram, Range, str], Range]] = {
    **{method: _by_share(share) for method, share in _SHARES.items()},
    "mse": _by_error,
    "entropy": _by_entropy,
}
