"""Reductions against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker

SHAPES_AND_AXES = [
    ((1, 4, 5, 3), (1, 2)),
    ((1, 4, 5, 3), (2, 1)),
    ((1, 7, 7, 16), (1, 2)),
    ((2, 4, 5, 3), (1,)),
    ((2, 4, 5, 3), (0,)),
    ((2, 4, 5, 3), (3,)),
    ((2, 4, 5, 3), (-1,)),
    ((2, 4, 5, 3), (0, 2)),
    ((2, 4, 5, 3), (1, 3)),
    ((2, 4, 5, 3), (0, 1, 2, 3)),
    ((2, 4, 5, 3), (2, 2)),
    ((2, 4, 5, 3), (0, 3)),
    ((6, 5), (0,)),
    ((6, 5), (1,)),
    ((9,), (0,)),
    ((2, 3, 2, 3, 2), (1, 3)),
    ((2, 3, 2, 3, 2), (0, 2)),
    ((1, 1, 1, 8), (1, 2)),
]


def reduction(
    batch: Batch,
    name: str,
    shape: Sequence[int],
    axes: Sequence[int],
    *,
    keep: bool = False,
    scales: Sequence[float] = (0.05, 0.03),
    zero_points: Sequence[int] = (3, -7),
) -> None:
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")

    def make(m: Maker) -> tuple[list[int], list[int]]:
        reduced = {a % len(shape) for a in axes}
        left = [1 if a in reduced else s for a, s in enumerate(shape) if keep or a not in reduced]
        x = m.tensor("x", shape, np.int8, scales[0], zero_points[0])
        which = m.tensor("axes", (len(axes),), np.int32, data=np.array(axes))
        y = m.tensor("y", left, np.int8, scales[1], zero_points[1])
        m.op(name, [x, which], [y], options("Reducer", keepDims=keep), version=2)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("name", ["MEAN"])
def test_reduction(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for shape, axes in SHAPES_AND_AXES:
        for keep in (False, True):
            reduction(batch, name, shape, axes, keep=keep)
    for scales in ((0.1, 0.1), (1.0, 1e-3), (1e-3, 1.0), (1.0, 0.25), (1e-9, 1.0), (1.0, 1e-6)):
        for zero_points in ((-128, 127), (127, -128), (0, 0), (-128, -128)):
            reduction(batch, name, (1, 5, 5, 4), (1, 2), scales=scales, zero_points=zero_points)
    reduction(batch, name, (1, 64, 64, 2), (1, 2))
    batch.check(tmp_path, samples=10)
