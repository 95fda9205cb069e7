"""Operators that copy values to other places against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

Shape = Sequence[int]

TYPES = (np.int8, np.int16, np.int32, np.float32)


def value(m: Maker, name: str, shape: Shape, dtype: Any, zero_point: int = 7, **more: Any) -> int:
    """An activation; int16 has no zero point, and what is not quantized no scale."""
    if dtype is np.int8:
        return m.tensor(name, shape, dtype, 0.1, zero_point, **more)
    return m.tensor(name, shape, dtype, 0.1 if dtype is np.int16 else None, 0, **more)


def numbers(m: Maker, values: Any, dtype: Any = np.int32) -> int:
    data = np.array(values, dtype)
    return m.tensor("numbers", data.shape, dtype, data=data)


# --- Parts along one axis -----------------------------------------------------------------------

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


# --- Sides in another order, or parts of them ---------------------------------------------------


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


# --- Padding ------------------------------------------------------------------------------------

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


# --- Pixels and channels ------------------------------------------------------------------------


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


# --- By index -----------------------------------------------------------------------------------


def test_gather(tmp_path: Path) -> None:
    batch = Batch()
    random = np.random.default_rng(8)

    def case(
        dtype: Any, shape: Shape, axis: int, form: Shape, shared: int = 0, constant: bool = False
    ) -> None:
        at = axis % len(shape)
        indices = random.integers(0, shape[at], form)
        data = random.integers(-100, 100, shape)

        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype, **({"data": data} if constant else {}))
            after = (*shape[:at], *form[shared:], *shape[at + 1 :])
            y = value(m, "y", after, dtype)
            chosen = options("Gather", axis=axis, batchDims=shared)
            m.op("GATHER", [x, numbers(m, indices)], [y], chosen, version=2)
            return [] if constant else [x], [y]

        batch.add(f"{dtype.__name__} {shape} {axis} {form} {shared} {constant}", make)

    for dtype in (np.int8, np.float32):
        for shape in ((6,), (4, 5), (2, 3, 4), (2, 3, 4, 2)):
            for axis in range(-1, len(shape)):
                for form in ((), (3,), (2, 3)):
                    case(dtype, shape, axis, form)
        case(dtype, (2, 5, 3), 1, (2, 4), 1)
        case(dtype, (2, 5, 3), 2, (2, 4), 1)
        case(dtype, (2, 3, 5), 2, (2, 3, 4), 2)
        case(dtype, (2, 3, 5, 2), 2, (2, 3), 2)
        case(dtype, (20, 3), 0, (4,), constant=True)
    batch.check(tmp_path)


# --- What it refuses ----------------------------------------------------------------------------


def refused(make: Any) -> str:
    batch = Batch()
    batch.add("refused", make)
    with pytest.raises(DoesNotFit) as error:
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
    return str(error.value)


def test_inputs_of_another_scale() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", (1, 3), np.int8, 0.1, 7)
        z = m.tensor("z", (1, 3), np.int8, 0.2, 7)
        y = m.tensor("y", (1, 6), np.int8, 0.1, 7)
        m.op("CONCATENATION", [x, z], [y], options("Concatenation", axis=1))
        return [x, z], [y]

    assert "scale and zero point" in refused(make)


def test_an_index_that_is_not_there() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (1, 3), np.int8), value(m, "y", (1, 2), np.int8)
        m.op("GATHER", [x, numbers(m, (0, 3))], [y], options("Gather", axis=1))
        return [x], [y]

    assert "beyond the 3" in refused(make)


def test_masks_that_tflm_ignores() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (4,), np.int8), value(m, "y", (1, 4), np.int8)
        inputs = [x, numbers(m, (0, 0)), numbers(m, (0, 4)), numbers(m, (1, 1))]
        m.op("STRIDED_SLICE", inputs, [y], options("StridedSlice", newAxisMask=1, endMask=2))
        return [x], [y]

    assert "new_axis_mask" in refused(make)


def test_a_mirror_longer_than_the_picture() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (3,), np.int8), value(m, "y", (6,), np.int8)
        m.op("MIRROR_PAD", [x, numbers(m, ((3, 0),))], [y], options("MirrorPad", mode=0))
        return [x], [y]

    assert "longer than what they mirror" in refused(make)


@pytest.mark.parametrize("name", ["TRANSPOSE", "SPACE_TO_DEPTH", "CAST", "QUANTIZE", "PACK"])
@pytest.mark.parametrize("shapes", [((2, 0), (0, 2)), ((2, 3), (3, 3))])
def test_shapes_that_do_not_fit_are_no_crash(name: str, shapes: Sequence[Shape]) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = (value(m, "xy"[i], shape, np.int8) for i, shape in enumerate(shapes))
        m.op(name, [x, numbers(m, (1, 0))] if name == "TRANSPOSE" else [x], [y])
        z, w = value(m, "z", (2,), np.int8), value(m, "w", (2,), np.int8)
        m.op("RELU", [z], [w])
        return [z] if 0 in shapes[0] else [x, z], [w]

    assert "do not fit together" in (text := refused(make)) or "no elements" in text
