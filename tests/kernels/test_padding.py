"""PAD, PADV2 and MIRROR_PAD against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker
from moving import TYPES, Shape, numbers, refused, value

NONE, ONE = (0, 0), (1, 1)
PADDINGS = [
    ((5,), ((2, 3),)),
    ((2, 3), ((0, 1), (1, 0))),
    ((2, 3), ((1, 0), NONE)),
    ((2, 3, 4), (NONE, ONE, (0, 2))),
    ((1, 4, 5, 3), (NONE, ONE, ONE, NONE)),
    ((1, 4, 5, 3), (NONE, (2, 1), NONE, NONE)),
    ((1, 4, 5, 3), (NONE, NONE, (1, 3), NONE)),
    ((1, 4, 5, 3), (NONE, NONE, NONE, (1, 2))),
    ((2, 4, 5, 3), (ONE, (1, 2), (3, 1), (2, 1))),
    ((2, 4, 5, 3), (ONE, NONE, (0, 4), NONE)),
    ((2, 4, 5, 3), (NONE, NONE, NONE, NONE)),
]


FILLS = {
    np.int8: (-128, 3, 127), np.int16: (-30000, 0, None), np.int32: (-30000, 0),
    np.float32: (-30000, 0),
}  # fmt: skip
"""What PADV2 pads with; None stands for PAD."""


def test_pad(tmp_path: Path) -> None:
    batch = Batch()

    def case(dtype: Any, shape: Shape, paddings: Sequence[Shape], fill: int | None) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype)
            after = [s + a + b for s, (a, b) in zip(shape, paddings, strict=True)]
            y = value(m, "y", after, dtype)
            if fill is None:
                m.op("PAD", [x, numbers(m, paddings)], [y], options("Pad"), version=2)
                return [x], [y]
            v = value(m, "v", (1,), dtype, data=np.array([fill]))
            m.op("PADV2", [x, numbers(m, paddings), v], [y], options("PadV2"), version=2)
            return [x], [y]

        batch.add(f"{dtype.__name__} {shape} {paddings} {fill}", make)

    for dtype in TYPES:
        for shape, paddings in PADDINGS:
            for fill in FILLS[dtype]:
                case(dtype, shape, paddings, fill)
    batch.check(tmp_path)


def test_a_pad_value_that_is_computed(tmp_path: Path) -> None:
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, v = value(m, "x", (3, 2), np.int16), value(m, "v", (), np.int16)
        y = value(m, "y", (5, 3), np.int16)
        m.op("PADV2", [x, numbers(m, (ONE, (1, 0))), v], [y], options("PadV2"), version=2)
        return [x, v], [y]

    batch.add("computed", make)
    batch.check(tmp_path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_pad_with_the_zero_point(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()

    def case(shape: Shape, paddings: Sequence[Shape], zero_point: int = 9) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype, zero_point)
            how = numbers(m, paddings)
            after = [s + a + b for s, (a, b) in zip(shape, paddings, strict=True)]
            y = value(m, "y", after, dtype, zero_point)
            m.op("PAD", [x, how], [y], options("Pad"), version=2)
            return [x], [y]

        batch.add(f"{shape} {paddings} {zero_point}", make)

    for shape in ((1, 4, 5, 3), (2, 3, 1, 2), (1, 1, 1, 1), (3, 2, 2, 5), (1, 7, 2, 1)):
        for paddings in (
            (NONE, ONE, ONE, NONE),
            (NONE, (0, 1), (2, 0), NONE),
            (NONE, NONE, (1, 3), NONE),
            (NONE, (2, 1), NONE, NONE),
            (NONE, NONE, NONE, (1, 2)),
            (NONE, ONE, NONE, ONE),
            (NONE, (4, 0), (0, 3), ONE),
            (NONE, (0, 3), NONE, NONE),
            (ONE, NONE, ONE, NONE),
            (ONE, (1, 2), (3, 1), (2, 5)),
            (NONE, NONE, NONE, NONE),
        ):
            for zero_point in (-128, 0, 127) if dtype is np.int8 else (0,):
                case(shape, paddings, zero_point)
    case((5,), ((2, 3),))
    case((2, 3), ((0, 1), (1, 0)))
    case((2, 3), ((1, 0), NONE))
    case((2, 3, 4), (NONE, (1, 1), (0, 2)))
    case((2, 1, 3, 2, 2), (ONE, (0, 1), NONE, (2, 2), (1, 0)))
    case((2, 1, 3, 2, 2), (ONE, ONE, ONE, ONE, ONE))
    batch.check(tmp_path)


def test_mirror_pad(tmp_path: Path) -> None:
    batch = Batch()

    def case(dtype: Any, shape: Shape, paddings: Sequence[Shape], mode: int, index: Any) -> None:
        limit = [s - (mode == schema.MirrorPadMode.REFLECT) for s in shape]
        fitting = [(min(a, n), min(b, n)) for (a, b), n in zip(paddings, limit, strict=True)]

        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype)
            y = value(m, "y", [s + sum(p) for s, p in zip(shape, fitting, strict=True)], dtype)
            chosen = options("MirrorPad", mode=mode)
            m.op("MIRROR_PAD", [x, numbers(m, fitting, index)], [y], chosen, version=2)
            return [x], [y]

        batch.add(f"{dtype.__name__} {shape} {paddings} {mode}", make)

    for mode in (schema.MirrorPadMode.REFLECT, schema.MirrorPadMode.SYMMETRIC):
        for shape, paddings in PADDINGS:
            case(np.int8, shape, paddings, mode, np.int32)
            case(np.float32, shape, paddings, mode, np.int64)
        for shape in ((1, 3, 2, 1), (2, 1, 4, 3), (4, 3)):
            everything = [(9, 9)] * len(shape)
            case(np.int8, shape, everything, mode, np.int32)
    batch.check(tmp_path)


def test_a_mirror_longer_than_the_picture() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (3,), np.int8), value(m, "y", (6,), np.int8)
        m.op("MIRROR_PAD", [x, numbers(m, ((3, 0),))], [y], options("MirrorPad", mode=0))
        return [x], [y]

    assert "longer than what they mirror" in refused(make)
