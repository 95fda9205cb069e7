"""SPACE_TO_DEPTH, DEPTH_TO_SPACE, SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker
from moving import Shape, numbers, value


@pytest.mark.parametrize("name", ["SPACE_TO_DEPTH", "DEPTH_TO_SPACE"])
def test_space_and_depth(tmp_path: Path, name: str) -> None:
    batch = Batch()

    def case(dtype: Any, shape: Shape, block: int) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            batches, rows, columns, depth = shape
            image = (batches, rows * block, columns * block, depth)
            deep = (batches, rows, columns, depth * block * block)
            x, y = (image, deep) if name == "SPACE_TO_DEPTH" else (deep, image)
            made = value(m, "x", x, dtype), value(m, "y", y, dtype)
            kind = "SpaceToDepth" if name == "SPACE_TO_DEPTH" else "DepthToSpace"
            m.op(name, [made[0]], [made[1]], options(kind, blockSize=block))
            return [made[0]], [made[1]]

        batch.add(f"{dtype.__name__} {shape} {block}", make)

    for dtype in (np.int8, np.float32):
        for shape in (
            (1, 3, 4, 2), (2, 2, 3, 1), (1, 1, 5, 3), (3, 2, 1, 4), (1, 1, 1, 1), (2, 4, 4, 16),
        ):  # fmt: skip
            for block in (1, 2, 3, 4, 5):
                case(dtype, shape, block)
    batch.check(tmp_path)


def blocks(
    batch: Batch, name: str, dtype: Any, shape: Shape, block: Shape, edges: Sequence[Shape],
    zero_point: int,
) -> None:  # fmt: skip
    """`shape` is the image's, which `edges` bring to a multiple of the block."""

    def make(m: Maker) -> tuple[list[int], list[int]]:
        sides = [(s + a + b) // n for s, (a, b), n in zip(shape[1:-1], edges, block, strict=True)]
        pair = [shape, (shape[0] * int(np.prod(block)), *sides, shape[-1])]
        x, y = pair if name == "SPACE_TO_BATCH_ND" else pair[::-1]
        made = value(m, "x", x, dtype, zero_point), value(m, "y", y, dtype, zero_point)
        m.op(name, [made[0], numbers(m, block), numbers(m, edges)], [made[1]])
        return [made[0]], [made[1]]

    batch.add(f"{name} {dtype.__name__} {shape} {block} {edges} {zero_point}", make)


NONE = (0, 0)

BLOCKS = [
    ((1, 4, 6, 3), (2, 2), (NONE, NONE)),
    ((1, 4, 6, 3), (2, 3), (NONE, NONE)),
    ((2, 3, 5, 2), (2, 2), ((1, 0), (0, 1))),
    ((2, 3, 5, 2), (2, 4), ((1, 2), (2, 1))),
    ((1, 5, 4, 1), (3, 2), ((2, 2), (4, 2))),
    ((3, 1, 4, 2), (1, 1), (NONE, NONE)),
    ((1, 7, 7, 4), (4, 4), ((0, 1), (1, 0))),
    ((1, 6, 3), (2,), (NONE,)),
    ((2, 5, 3), (3,), ((1, 0),)),
    ((2, 5, 1), (4,), ((4, 3),)),
]


@pytest.mark.parametrize("name", ["SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"])
def test_space_and_batch(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for shape, block, edges in BLOCKS:
        padded = name == "SPACE_TO_BATCH_ND" and np.any(edges)
        for zero_point in (0,) if padded else (0, -128, 127):
            blocks(batch, name, np.int8, shape, block, edges, zero_point)
        blocks(batch, name, np.float32, shape, block, edges, 0)
    batch.check(tmp_path)


def test_space_to_batch_pads_with_the_zero_point(tmp_path: Path) -> None:
    """As LiteRT does. TFLM pads with a byte that it never sets, which is 0 in the wheel."""
    batch = Batch()
    for shape, block, edges in BLOCKS:
        for zero_point in (-128, 3, 127):
            blocks(batch, "SPACE_TO_BATCH_ND", np.int8, shape, block, edges, zero_point)
    batch.check(tmp_path, kernels="litert")
