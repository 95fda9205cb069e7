"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

SIZES = [
    ((1, 4, 5, 3), (8, 10)),
    ((1, 4, 5, 3), (12, 5)),
    ((1, 4, 5, 3), (7, 3)),
    ((1, 4, 5, 3), (4, 5)),
    ((2, 3, 3, 1), (10, 11)),
    ((2, 7, 6, 2), (3, 4)),
    ((1, 1, 1, 4), (3, 2)),
    ((1, 5, 7, 1), (1, 1)),
    ((1, 1, 9, 2), (2, 30)),
    ((3, 2, 2, 8), (5, 5)),
    ((1, 13, 10, 1), (29, 31)),
    ((1, 30, 31, 1), (7, 11)),
    ((1, 6, 6, 5), (100, 2)),
]


def resize(
    batch: Batch, name: str, dtype: Any, shape: Sequence[int], size: Sequence[int],
    corners: bool, centers: bool, zero_point: int = 0,
) -> None:  # fmt: skip
    def make(m: Maker) -> tuple[list[int], list[int]]:
        scale = None if dtype is np.float32 else 0.1
        x = m.tensor("x", shape, dtype, scale, zero_point)
        y = m.tensor("y", (shape[0], *size, shape[3]), dtype, scale, zero_point)
        how = m.tensor("size", (2,), np.int32, data=np.array(size))
        kind = "ResizeBilinear" if name == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
        chosen = options(kind, alignCorners=corners, halfPixelCenters=centers)
        m.op(name, [x, how], [y], chosen, version=3)
        return [x], [y]

    batch.add(f"{dtype.__name__} {shape} {size} corners {corners} centers {centers}", make)


def test_nearest(tmp_path: Path) -> None:
    batch = Batch()
    for shape, size in SIZES:
        for corners in (False, True):
            for centers in (False, True):
                for dtype in (np.int8, np.int16, np.float32):
                    resize(batch, "RESIZE_NEAREST_NEIGHBOR", dtype, shape, size, corners, centers)
    batch.check(tmp_path)


def test_bilinear(tmp_path: Path) -> None:
    batch = Batch()
    for shape, size in SIZES:
        for corners, centers in ((False, False), (True, False), (False, True)):
            for zero_point in (-128, 9):
                resize(batch, "RESIZE_BILINEAR", np.int8, shape, size, corners, centers, zero_point)
    random = np.random.default_rng(1)
    for _ in range(40):
        before, after = random.integers(1, 40, 2), random.integers(1, 40, 2)
        corners, centers = [(False, False), (True, False), (False, True)][random.integers(3)]
        shape = (1, *before.tolist(), 1)
        resize(batch, "RESIZE_BILINEAR", np.int8, shape, after.tolist(), corners, centers)
    batch.check(tmp_path, samples=8)


@pytest.mark.parametrize(
    ("shape", "size", "corners", "centers", "why"),
    [
        ((1, 2, 2, 1), (4, 4), True, True, "aligns corners"),
        # 682.55 / 1024 of a step become 683, and 9,000 of them are four steps too many.
        ((1, 6000, 1, 1), (9001, 1), True, False, "leave the image"),
    ],
)
def test_what_bilinear_refuses(
    shape: Sequence[int], size: Sequence[int], corners: bool, centers: bool, why: str
) -> None:
    batch = Batch()
    resize(batch, "RESIZE_BILINEAR", np.int8, shape, size, corners, centers)
    with pytest.raises(DoesNotFit, match=why):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
