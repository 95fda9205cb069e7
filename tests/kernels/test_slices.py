"""TRANSPOSE, SLICE and STRIDED_SLICE against TFLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from host_program import Batch, export_of, options
from make_model import Maker
from moving import TYPES, Shape, numbers, refused, value

from edgeq.codegen.aot import compile_graph


def transpose(batch: Batch, dtype: Any, shape: Shape, order: Shape) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = value(m, "x", shape, dtype)
        y = value(m, "y", [shape[a] for a in order], dtype)
        m.op("TRANSPOSE", [x, numbers(m, order)], [y], options("Transpose"), version=2)
        return [x], [y]

    batch.add(f"{dtype.__name__} {shape} {order}", make)


def test_transpose(tmp_path: Path) -> None:
    batch = Batch()
    random = np.random.default_rng(5)
    for dtype in (np.int8, np.int16, np.float32):
        transpose(batch, dtype, (6,), (0,))
        for shape in ((3, 5), (1, 5), (2, 3, 4), (4, 1, 3), (2, 3, 1, 5), (2, 2, 3, 2, 3)):
            orders = {tuple(random.permutation(len(shape)).tolist()) for _ in range(7)}
            for order in sorted({tuple(range(len(shape))), *orders}):
                transpose(batch, dtype, shape, order)
        transpose(batch, dtype, (1, 4, 6, 3), (0, 3, 1, 2))
        transpose(batch, dtype, (1, 3, 4, 6), (0, 2, 3, 1))
    batch.check(tmp_path)


def taken(batch: Batch, dtype: Any, shape: Shape, begin: Shape, size: Shape, index: Any) -> None:
    """A SLICE; what it makes is used again, so that it may run in place."""

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = value(m, "x", shape, dtype)
        real = [s - b if n == -1 else n for s, b, n in zip(shape, begin, size, strict=True)]
        y = value(m, "y", real, dtype)
        m.op("SLICE", [x, numbers(m, begin, index), numbers(m, size, index)], [y], version=2)
        return [x], [y]

    batch.add(f"{dtype.__name__} {shape} {begin} {size}", make)


def test_slice(tmp_path: Path) -> None:
    batch = Batch()
    random = np.random.default_rng(6)
    for dtype in (*TYPES, np.bool_):
        for shape in ((7,), (4, 5), (3, 4, 5), (1, 6, 5, 3), (2, 3, 4, 2, 3)):
            for _ in range(6):
                begin = [int(random.integers(0, s)) for s in shape]
                size = [
                    int(random.integers(1, s - b + 1)) for s, b in zip(shape, begin, strict=True)
                ]
                if random.random() < 0.4:
                    size[-1] = -1
                taken(batch, dtype, shape, begin, size, random.choice([np.int32, np.int64]))
        taken(batch, dtype, (2, 3, 4), (0, 0, 0), (2, 3, 4), np.int32)
    batch.check(tmp_path)


def strided(
    batch: Batch, dtype: Any, shape: Shape, begin: Shape, end: Shape, strides: Shape,
    begin_mask: int = 0, end_mask: int = 0, shrink: int = 0,
) -> bool:  # fmt: skip
    """A STRIDED_SLICE, unless it takes nothing."""
    where = []
    for axis in range(len(shape)):
        bit = 1 << axis
        start = None if begin_mask & bit else begin[axis]
        if shrink & bit:
            where.append(range(shape[axis])[0 if start is None else start])
        else:
            where.append(slice(start, None if end_mask & bit else end[axis], strides[axis]))
    after = np.empty(shape)[tuple(where)].shape
    if 0 in after:
        return False

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = value(m, "x", shape, dtype)
        y = value(m, "y", after, dtype)
        chosen = options(
            "StridedSlice", beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink
        )
        m.op("STRIDED_SLICE", [x, *(numbers(m, v) for v in (begin, end, strides))], [y], chosen)
        return [x], [y]

    batch.add(
        f"{dtype.__name__} {shape} {begin} {end} {strides} {begin_mask} {end_mask} {shrink}", make
    )
    return True


def test_strided_slice(tmp_path: Path) -> None:
    batch = Batch()
    random = np.random.default_rng(7)
    for dtype in (*TYPES, np.bool_):
        made = 0
        while made < 30:
            shape = random.integers(1, 7, random.integers(1, 5)).tolist()
            begin = [int(random.integers(-s, s)) for s in shape]
            end = [int(random.integers(-s - 2, s + 3)) for s in shape]
            strides = [int(random.choice([1, 1, 2, 3, -1, -2])) for _ in shape]
            masks = [int(random.integers(0, 16)) & int(random.integers(0, 16)) for _ in range(2)]
            shrink = int(random.integers(0, 16)) if random.random() < 0.3 else 0
            shrink &= sum(1 << i for i, s in enumerate(strides) if s > 0)
            made += strided(batch, dtype, shape, begin, end, strides, *masks, shrink)
    batch.check(tmp_path)


def test_slices_of_what_is_not_needed_any_more_run_in_place(tmp_path: Path) -> None:
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = value(m, "x", (3, 40, 6), np.int8)
        y = value(m, "y", (3, 35, 5), np.int8)
        z = value(m, "z", (2, 12, 5), np.int8)
        m.op("SLICE", [x, numbers(m, (0, 5, 1)), numbers(m, (3, 35, 5))], [y])
        edges = [numbers(m, v) for v in ((1, 1, 0), (3, 35, 5), (1, 3, 1))]
        m.op("STRIDED_SLICE", [y, *edges], [z], options("StridedSlice"))
        return [x], [z]

    batch.add("slices", make)
    tflite = batch.maker.bytes(batch.inputs, batch.outputs)
    assert compile_graph(export_of(tflite)).plan.size == 720
    batch.check(tmp_path, samples=20)


def test_masks_that_tflm_ignores() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (4,), np.int8), value(m, "y", (1, 4), np.int8)
        inputs = [x, numbers(m, (0, 0)), numbers(m, (0, 4)), numbers(m, (1, 1))]
        m.op("STRIDED_SLICE", inputs, [y], options("StridedSlice", newAxisMask=1, endMask=2))
        return [x], [y]

    assert "new_axis_mask" in refused(make)
