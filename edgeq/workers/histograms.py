"""Histograms and channel means of activations, gathered while the samples stream by."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from edgeq.ranges import BINS

MAX_VALUES = 4096
"""Of a tensor, from one sample, evenly spread: 200 samples give 800,000 for its distribution."""

MAX_ROWS = 256
"""Positions of a tensor, from one sample, that its channels' means are taken over."""

_SMALLEST = -100
"""Exponent of the range that a histogram begins with: next to nothing."""


class Histograms:
    """One for each of `count` tensors, BINS wide over [-2^e, 2^e), for several threads at once.

    The range doubles when a value is beyond it, and pairs of bins become one. Both are exact, so
    the result is that of the final range, in whatever order the values came.
    """

    def __init__(self, count: int) -> None:
        self.counts = np.zeros((count, BINS), np.int64)
        self.exponents = np.full(count, _SMALLEST, np.int64)
        self._lock = threading.Lock()

    def add(self, number: int, values: NDArray[np.float32]) -> None:
        """A part of `values` (one or more), all of tensor `number` in one sample."""
        chosen = np.ascontiguousarray(thinned(values))
        largest = float(max(-chosen.min(), chosen.max()))
        if not math.isfinite(largest):
            return  # An error by the end of the batch.
        with self._lock:
            exponent = max(int(np.frexp(largest)[1]) if largest else _SMALLEST, _SMALLEST)
            if exponent > self.exponents[number]:
                self._widen(number, exponent)
            scale = BINS / 2.0 ** (int(self.exponents[number]) + 1)
            bins = np.floor(chosen * scale).astype(np.intp) + BINS // 2
            self.counts[number] += np.bincount(bins, minlength=BINS)

    def _widen(self, number: int, exponent: int) -> None:
        counts = self.counts[number]
        doublings = exponent - int(self.exponents[number])
        self.exponents[number] = exponent
        factor = 2 ** min(doublings, int(math.log2(BINS // 2)))
        merged = counts.reshape(-1, factor).sum(1)
        counts[:] = 0
        start = (BINS - merged.size) // 2
        counts[start : start + merged.size] = merged


def thinned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most MAX_VALUES of `values`, flat, from every channel."""
    step = -(-values.size // MAX_VALUES)
    channels = values.shape[-1] if values.ndim else 1
    while step > 1 and math.gcd(step, channels) > 1:
        step += 1
    return values.reshape(-1)[::step]


def channel_means(values: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    """Of each of the last dimension's `channels`, over at most MAX_ROWS positions."""
    rows = values.reshape(-1, channels)
    step = -(-rows.shape[0] // MAX_ROWS)
    mean: NDArray[np.float64] = rows[::step].mean(0, dtype=np.float64)
    return mean
