"""CONCATENATION, SPLIT, SPLIT_V, PACK and UNPACK against TFLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker
from moving import TYPES, Shape, numbers, refused, value

PARTS = [
    ((1, 4, 5, 3), 3, (3, 1, 4)),
    ((1, 4, 5, 3), -1, (2, 2)),
    ((1, 4, 5, 3), 1, (4, 1, 2)),
    ((2, 4, 5, 3), 2, (1, 6)),
    ((2, 4, 5, 3), 0, (1, 2)),
    ((2, 4, 5, 1), 3, (1, 1, 1)),
    ((3, 7), 1, (5, 2)),
    ((3, 7), 0, (1, 2)),
    ((9,), 0, (4, 5)),
    ((2, 3, 2, 3, 2), 2, (1, 2, 3)),
    ((2, 6), -1, (6,)),
    ((4, 1, 2), 1, (1,) * 10),
]


def concatenation(
    batch: Batch, dtype: Any, shape: Shape, axis: int, parts: Shape, constant: int | None = None
) -> None:
    random = np.random.default_rng(len(batch.cases))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        ports, inputs = [], []
        for i, part in enumerate(parts):
            side = list(shape)
            side[axis] = part
            data = random.integers(0, 2 if dtype is np.bool_ else 100, side)
            more = {"data": data} if i == constant else {}
            inputs.append(value(m, "x", side, dtype, **more))
            ports += [] if i == constant else [inputs[-1]]
        side = list(shape)
        side[axis] = sum(parts)
        y = value(m, "y", side, dtype)
        m.op("CONCATENATION", inputs, [y], options("Concatenation", axis=axis), version=2)
        return ports, [y]

    batch.add(f"{dtype.__name__} {shape} {axis} {parts} constant {constant}", make)


def test_concatenation(tmp_path: Path) -> None:
    batch = Batch()
    for shape, axis, parts in PARTS:
        for dtype in (*TYPES, np.int64, np.bool_):
            concatenation(batch, dtype, shape, axis, parts)
        if len(parts) > 1:
            concatenation(batch, np.int8, shape, axis, parts, constant=1)
    batch.check(tmp_path)


def test_concatenation_of_one_tensor_with_itself(tmp_path: Path) -> None:
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = value(m, "x", (2, 3, 2), np.int8)
        y = value(m, "y", (2, 9, 2), np.int8)
        m.op("CONCATENATION", [x, x, x], [y], options("Concatenation", axis=1), version=2)
        return [x], [y]

    batch.add("itself", make)
    batch.check(tmp_path)


def split(batch: Batch, name: str, dtype: Any, shape: Shape, axis: int, parts: Shape) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        side = list(shape)
        side[axis] = sum(parts)
        x = value(m, "x", side, dtype)
        outputs = []
        for part in parts:
            side[axis] = part
            outputs.append(value(m, "y", side, dtype))
        if name == "SPLIT":
            chosen = options("Split", numSplits=len(parts))
            m.op(name, [numbers(m, axis), x], outputs, chosen, version=2)
        else:
            chosen = options("SplitV", numSplits=len(parts))
            m.op(name, [x, numbers(m, parts), numbers(m, axis)], outputs, chosen, version=2)
        return [x], outputs

    batch.add(f"{name} {dtype.__name__} {shape} {axis} {parts}", make)


def test_split(tmp_path: Path) -> None:
    batch = Batch()
    for shape, axis, parts in PARTS:
        for dtype in TYPES:
            split(batch, "SPLIT_V", dtype, shape, axis, parts)
            split(batch, "SPLIT", dtype, shape, axis, (parts[-1],) * len(parts))
    batch.check(tmp_path)


def stack(batch: Batch, name: str, dtype: Any, shape: Shape, axis: int, count: int) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        at = axis % (len(shape) + 1)
        whole = value(m, "whole", (*shape[:at], count, *shape[at:]), dtype)
        parts = [value(m, "part", shape, dtype) for _ in range(count)]
        if name == "PACK":
            m.op(name, parts, [whole], options("Pack", valuesCount=count, axis=axis), version=2)
            return parts, [whole]
        m.op(name, [whole], parts, options("Unpack", num=count, axis=axis), version=2)
        return [whole], parts

    batch.add(f"{name} {dtype.__name__} {shape} {axis} {count}", make)


@pytest.mark.parametrize("name", ["PACK", "UNPACK"])
def test_pack_and_unpack(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for dtype in (*TYPES, np.int64) if name == "PACK" else TYPES:
        for shape in ((4, 5), (2, 3, 4), (3,)):
            for axis in (0, 1, -1):
                for count in (1, 2, 5):
                    stack(batch, name, dtype, shape, axis, count)
    batch.check(tmp_path)


def test_inputs_of_another_scale() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", (1, 3), np.int8, 0.1, 7)
        z = m.tensor("z", (1, 3), np.int8, 0.2, 7)
        y = m.tensor("y", (1, 6), np.int8, 0.1, 7)
        m.op("CONCATENATION", [x, z], [y], options("Concatenation", axis=1))
        return [x, z], [y]

    assert "scale and zero point" in refused(make)
