"""Outputs against those that are expected: how far apart, and where first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.golden import Golden

Arrays = tuple[NDArray[Any], ...]

_OTHER_BYTES = float(np.finfo(np.float64).tiny)
"""How far apart two values are that are equal, in other bytes."""


@dataclass(frozen=True)
class Distance:
    """`worst` in steps of an integer output, else in its own values; 0 when all bytes are equal.

    `beyond` says where an output is first further away than it may be, None if none is.
    """

    worst: float = 0.0
    beyond: str | None = None


def limits_of(golden: Golden) -> tuple[float, ...]:
    """How far each output of a device may be from the golden one: not at all, where those are
    exact."""
    return (0.0,) * len(golden.tolerance) if golden.exact else tolerances_of(golden)


def tolerances_of(golden: Golden) -> tuple[float, ...]:
    """How far each output of other kernels may be from the golden one, in its own values.

    A float's step is 1/256 of its largest golden value.
    """
    limits = []
    for position, steps in enumerate(golden.tolerance):
        values = [sample[position] for sample in golden.outputs]
        step = 1.0
        if values[0].dtype.kind == "f":
            step = max(float(np.abs(v).max(initial=0)) for v in values) / 256
        limits.append(max(steps * step, _OTHER_BYTES))
    return tuple(limits)


def compare_outputs(
    wanted: Arrays, got: Arrays, names: Sequence[str], limits: Sequence[float]
) -> Distance:
    """The outputs `got` of one sample against those `wanted`, `names` of them.

    `limits` has how far each may be away, in the unit of Distance.worst. Two NaNs of other bytes
    are as near as two zeros of other signs: equal for any limit but 0.
    """
    if not len(wanted) == len(got) == len(names) == len(limits):
        return Distance(np.inf, f"{len(got)} outputs, {len(wanted)} expected")
    worst, beyond = 0.0, None
    for name, a, b, limit in zip(names, wanted, got, limits, strict=True):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            text = f"output {name}: {b.dtype} {list(b.shape)}, expected {a.dtype} {list(a.shape)}"
            return Distance(np.inf, text)
        apart = _apart(a, b)
        if apart.size == 0:
            continue
        worst = max(worst, float(apart.max()))
        places = np.flatnonzero(apart > limit)
        if places.size and beyond is None:
            place = int(places[0])
            index = [int(i) for i in np.unravel_index(place, a.shape)]
            beyond = f"output {name}, index {index}: expected {a.flat[place]}, got {b.flat[place]}"
            if limit:
                beyond += f", tolerance {limit:g}"
    return Distance(worst, beyond)


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """How far apart each element is. Other bytes are never 0 apart: -0.0 is not 0.0 here."""
    left, right = (np.frombuffer(v.tobytes(), np.uint8).reshape(a.size, -1) for v in (a, b))
    differs = (left != right).any(axis=1)
    if not differs.any():
        return np.zeros(a.size)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a.astype(wide) - b.astype(wide)).reshape(-1)
    both = (np.isnan(a) & np.isnan(b)).reshape(-1)
    apart = np.where(both, 0.0, np.where(np.isnan(apart), np.inf, apart))
    return np.where(differs, np.maximum(apart, _OTHER_BYTES), 0.0)
