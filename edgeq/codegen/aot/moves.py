"""Operators that copy values to other places, of any type: eq_move.h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeq.codegen.aot.layer import (
    Argument,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    constant,
    input_tensor,
    label,
    optional_input,
    output_tensor,
    quantization,
    refuse,
    row,
)
from edgeq.codegen.aot.shapes import pad_s8
from edgeq.graph import BITS, Op, Subgraph, Tensor
from edgeq.memory import Overlap
from edgeq.targets import Core

_RANK = 6
"""EQ_BROADCAST_RANK."""


@dataclass(frozen=True)
class Move:
    """One copy: `sides` are (length, step of the input, step of the output), the outermost first.

    Steps and starts are in elements.
    """

    sides: tuple[tuple[int, int, int], ...]
    input_start: int = 0
    output_start: int = 0

    def joined(self) -> list[tuple[int, int, int]]:
        """The sides without those of length 1, neighbours that are walked on alike made one."""
        sides: list[tuple[int, int, int]] = []
        for size, a, b in self.sides:
            if size == 1:
                continue
            if sides and sides[-1][1:] == (size * a, size * b):
                sides[-1] = (sides[-1][0] * size, a, b)
            else:
                sides.append((size, a, b))
        return sides


@dataclass(frozen=True)
class Part:
    """A move between two tensors of the operator."""

    move: Move
    source: Argument
    target: Argument


def move_code(
    op: Op,
    element: int,
    parts: Sequence[Part],
    *,
    first: Sequence[Call] = (),
    overlaps: tuple[Overlap, ...] = (),
) -> LayerCode:
    """The code of `parts`, of values of `element` bytes, after the calls `first`."""
    calls, constants, sources = list(first), [], {"eq_slabs.c"}
    for i, part in enumerate(parts):
        name = label(op) if len(parts) == 1 else f"{label(op)}_part_{i}"
        sides = part.move.joined()
        size = element
        if sides and sides[-1][1:] == (1, 1):
            size *= sides.pop()[0]
        count, a, b = sides.pop() if sides else (1, 0, 0)
        slabs = (
            ("count", count),
            ("size", size),
            ("input_step", a * element),
            ("output_step", b * element),
            ("input_start", part.move.input_start * element),
            ("output_start", part.move.output_start * element),
        )
        if not sides:
            kernel, struct = "eq_slabs", Struct(name, "eq_slabs_t", slabs)
        elif len(sides) >= _RANK:
            raise refuse(op, "it moves values along too many sides")
        else:
            sources.add("eq_move.c")
            outer = (
                ("rank", len(sides) + 1),
                ("size", row([n for n, _, _ in sides] + [count])),
                ("step_a", row([s * element for _, s, _ in sides] + [a * element])),
                ("step_b", row([s * element for _, _, s in sides] + [b * element])),
            )
            kernel = "eq_move"
            struct = Struct(name, "eq_move_t", (("outer", outer), ("slabs", slabs)))
        constants.append(struct)
        calls.append(Call(kernel, (f"&{name}", part.source, part.target)))
    return LayerCode(
        calls=tuple(calls),
        constants=tuple(constants),
        sources=tuple(sorted(sources)),
        headers=("eq_broadcast.h", "eq_move.h"),
        overlaps=overlaps,
    )


def element_bytes(tensor: Tensor) -> int:
    return BITS[tensor.dtype] // 8


def steps(shape: Sequence[int]) -> list[int]:
    """How many elements apart neighbours along each side are."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def one_axis(op: Op, axis: int, rank: int) -> int:
    """`axis`, counted from the first."""
    if not -rank <= axis < rank:
        raise refuse(op, f"it has the axis {axis} of {rank}", "export the model again")
    return axis % rank


def integers(op: Op, subgraph: Subgraph, position: int) -> list[int]:
    """The values of a constant input of int32 or int64."""
    dtype = input_tensor(op, subgraph, position).dtype
    values = constant(op, subgraph, position, dtype if dtype == "int64" else "int32")
    return [int(v) for v in values.reshape(-1)]


def _same_type(op: Op, whole: Tensor, *others: Tensor) -> None:
    """Refuses what does not fit together; parts may be empty, `whole` not."""
    if whole.elements == 0:
        raise refuse(op, f"tensor {whole.name} has no elements", "export the model again")
    if any(t.dtype != whole.dtype for t in others):
        raise refuse(op, "its tensors are of several types", "export the model again")


def _wrong_shapes(op: Op) -> Exception:
    return refuse(op, "the shapes of its tensors do not fit together", "export the model again")


# --- Parts along one axis -----------------------------------------------------------------------


def concatenation(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    if op.options.get("activation", "NONE") != "NONE":
        raise refuse(op, "it has a fused activation, which TFLM does not support either")
    axis = one_axis(op, int(op.options.get("axis", 0)), len(output.shape))
    inputs = [input_tensor(op, subgraph, i) for i in range(len(op.inputs))]
    for tensor in inputs:
        if output.dtype == "int8" and _facts(op, tensor) != _facts(op, output):
            raise refuse(op, "its inputs have not its output's scale and zero point")
        if output.dtype == "int16" and quantization(op, tensor).zero_point != 0:
            raise refuse(op, "an int16 input has a zero point")
    return _join(op, output, inputs, axis)


def pack(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    axis = one_axis(op, int(op.options.get("axis", 0)), len(output.shape))
    inputs = [input_tensor(op, subgraph, i) for i in range(len(op.inputs))]
    return _join(op, output, inputs, axis)


def _facts(op: Op, tensor: Tensor) -> tuple[float, int]:
    facts = quantization(op, tensor)
    return facts.scale, facts.zero_point


def _join(op: Op, whole: Tensor, parts: Sequence[Tensor], axis: int) -> LayerCode:
    _same_type(op, whole, *parts)
    moves = _slabs(op, whole, parts, axis, into=True)
    calls = [Part(move, Input(i), Output()) for i, move in moves]
    return move_code(op, element_bytes(whole), calls)


def split(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    return _divide(op, subgraph, value=1, axes=integers(op, subgraph, 0))


def split_v(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    return _divide(op, subgraph, value=0, axes=integers(op, subgraph, 2))


def unpack(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    return _divide(op, subgraph, value=0, axes=[int(op.options.get("axis", 0))])


def _divide(op: Op, subgraph: Subgraph, value: int, axes: Sequence[int]) -> LayerCode:
    whole = input_tensor(op, subgraph, value)
    if len(axes) != 1:
        raise refuse(op, f"it has the axes {axes}", "export the model again")
    parts = [output_tensor(op, subgraph, i) for i in range(len(op.outputs))]
    _same_type(op, whole, *parts)
    axis = one_axis(op, axes[0], len(whole.shape))
    moves = _slabs(op, whole, parts, axis, into=False)
    return move_code(
        op, element_bytes(whole), [Part(move, Input(value), Output(i)) for i, move in moves]
    )


def _slabs(
    op: Op, whole: Tensor, parts: Sequence[Tensor], axis: int, into: bool
) -> list[tuple[int, Move]]:
    """(position of a part, its copy into `whole` or out of it); parts without elements left out.

    The sides outside the axis are whole and part alike, and the rest of a part lies side by side.
    """
    outer = math.prod(whole.shape[:axis])
    total = whole.elements // max(1, outer)
    moves, at = [], 0
    for i, part in enumerate(parts):
        if part.elements % max(1, outer):
            raise _wrong_shapes(op)
        size = part.elements // max(1, outer)
        if size:
            pair = (size, total) if into else (total, size)
            starts = (0, at) if into else (at, 0)
            moves.append((i, Move(((outer, *pair), (size, 1, 1)), *starts)))
        at += size
    if at != total or not moves:
        raise _wrong_shapes(op)
    return moves


# --- Sides in another order, or parts of them ---------------------------------------------------


def transpose(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    _same_type(op, input, output)
    rank = len(input.shape)
    order = integers(op, subgraph, 1)
    if sorted(order) != list(range(rank)):
        raise refuse(op, f"its order {order} is none of {rank} sides", "export the model again")
    shape = tuple(input.shape[axis] for axis in order)
    if shape != output.shape:
        raise _wrong_shapes(op)
    far = steps(input.shape)
    sides = zip(shape, [far[axis] for axis in order], steps(shape), strict=True)
    return _one_move(op, input, Move(tuple(sides)))


def _one_move(op: Op, input: Tensor, move: Move, overlaps: tuple[Overlap, ...] = ()) -> LayerCode:
    if move.joined() in ([], [(input.elements, 1, 1)]) and not input.is_constant:
        if math.prod(n for n, _, _ in move.sides) == input.elements:
            return LayerCode(is_alias=True)
    return move_code(op, element_bytes(input), [Part(move, Input(0), Output())], overlaps=overlaps)


def slice_(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    begins, sizes = integers(op, subgraph, 1), integers(op, subgraph, 2)
    if not len(begins) == len(sizes) == len(input.shape):
        raise _wrong_shapes(op)
    sizes = [
        side - begin if size == -1 else size
        for side, begin, size in zip(input.shape, begins, sizes, strict=True)
    ]
    return _part(op, input, output, begins, sizes, [1] * len(sizes))


_STRIDED_SLICE_OPTIONS = (
    "begin_mask",
    "end_mask",
    "ellipsis_mask",
    "new_axis_mask",
    "shrink_axis_mask",
    "offset",
)


def strided_slice(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    options = {name: int(op.options.get(name, 0)) for name in _STRIDED_SLICE_OPTIONS}
    for name in ("ellipsis_mask", "new_axis_mask", "offset"):
        if options[name]:
            raise refuse(op, f"it uses {name}, which TFLM ignores", "write the slice out in full")
    begins, ends, strides = (integers(op, subgraph, i) for i in (1, 2, 3))
    if not len(begins) == len(ends) == len(strides) == len(input.shape) or 0 in strides:
        raise _wrong_shapes(op)
    starts, sizes = [], []
    for axis, side in enumerate(input.shape):
        bit, stride = 1 << axis, strides[axis]
        begin = None if options["begin_mask"] & bit else begins[axis]
        if options["shrink_axis_mask"] & bit:
            # TFLM limits the place to the side, and then takes one value.
            start, size = slice(begin, None, stride).indices(side)[0], 1
        else:
            end = None if options["end_mask"] & bit else ends[axis]
            taken = range(side)[begin:end:stride]
            start, size = taken.start, len(taken)
        starts.append(start)
        sizes.append(size)
    return _part(op, input, output, starts, sizes, strides)


def _part(
    op: Op,
    input: Tensor,
    output: Tensor,
    begins: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
) -> LayerCode:
    _same_type(op, input, output)
    if math.prod(sizes) != output.elements or output.elements == 0:
        raise _wrong_shapes(op)
    for side, begin, size, stride in zip(input.shape, begins, sizes, strides, strict=True):
        if not (0 <= begin < side and 0 <= begin + (size - 1) * stride < side):
            raise _wrong_shapes(op)
    far = steps(input.shape)
    start = sum(b * s for b, s in zip(begins, far, strict=True))
    along = [stride * s for stride, s in zip(strides, far, strict=True)]
    move = Move(tuple(zip(sizes, along, steps(sizes), strict=True)), start)
    # Going forward, no value gets to behind where it was.
    is_forward = all(n == 1 or stride > 0 for n, stride in zip(sizes, strides, strict=True))
    return _one_move(op, input, move, (Overlap(0, 0),) if is_forward else ())


# --- Pixels and channels ------------------------------------------------------------------------


def space_to_depth(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return _one_move(op, input, Move(_block_sides(op, input, output, output, far_first=True)))


def depth_to_space(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return _one_move(op, input, Move(_block_sides(op, output, input, output, far_first=False)))


def _block_sides(
    op: Op, image: Tensor, deep: Tensor, output: Tensor, far_first: bool
) -> tuple[tuple[int, int, int], ...]:
    """The sides of a copy between an image and the one whose channels are blocks of it."""
    _same_type(op, image, deep)
    block = int(op.options.get("block_size", 0))
    if len(image.shape) != 4 or block < 1:
        raise _wrong_shapes(op)
    batches, height, width, depth = image.shape
    rows, columns = height // block, width // block
    if deep.shape != (batches, rows, columns, depth * block * block) or (
        (rows * block, columns * block) != (height, width)
    ):
        raise _wrong_shapes(op)
    line = width * depth
    names = {  # side: length, step in the image, step in the deep one
        "batch": (batches, height * line, height * line),
        "row": (rows, block * line, block * line),
        "column": (columns, block * depth, block * block * depth),
        "block row": (block, line, block * depth),
        "block column": (block, depth, depth),
        "channel": (depth, 1, 1),
    }
    if far_first:  # The order of the deep one, which is written.
        order = ["batch", "row", "column", "block row", "block column", "channel"]
        return tuple(names[n] for n in order)
    order = ["batch", "row", "block row", "column", "block column", "channel"]
    return tuple((n, b, a) for n, a, b in (names[name] for name in order))


def space_to_batch(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    code = _blocks(op, subgraph, input, output, "eq_space_to_batch")
    if input.elements == output.elements:
        return code
    # LiteRT's. TFLM never sets the value, and pads with what its arena held.
    fill = quantization(op, output).zero_point if output.dtype == "int8" else 0
    blank = Call("memset", (Output(), str(fill), str(output.bytes)))
    return LayerCode((blank, *code.calls), code.constants, code.sources, code.headers)


def batch_to_space(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    return _blocks(op, subgraph, output, input, "eq_batch_to_space")


def _blocks(op: Op, subgraph: Subgraph, image: Tensor, blocks: Tensor, kernel: str) -> LayerCode:
    """The call of `kernel`; the paddings or crops are what the blocks have beyond the image."""
    _same_type(op, image, blocks)
    rank = len(image.shape)
    if rank not in (3, 4) or len(blocks.shape) != rank:
        raise refuse(op, f"it has {rank} sides, and only 3 or 4 are supported")
    block = integers(op, subgraph, 1)
    edges = integers(op, subgraph, 2)
    if len(block) != rank - 2 or len(edges) != 2 * len(block) or min(block) < 1 or min(edges) < 0:
        raise _wrong_shapes(op)
    covered = [
        (b * size, edges[2 * i] + image.shape[1 + i] + edges[2 * i + 1])
        for i, (b, size) in enumerate(zip(block, blocks.shape[1:], strict=False))
    ]
    if (
        any(a != b for a, b in covered)
        or blocks.shape[0] != image.shape[0] * math.prod(block)
        or blocks.shape[-1] != image.shape[-1]
    ):
        raise _wrong_shapes(op)
    # Without a width, the image is one pixel wide.
    pairs = [*zip(image.shape[1:-1], block, blocks.shape[1:-1], edges[::2], strict=True)]
    pairs += [(1, 1, 1, 0)] * (4 - rank)
    (height, block_height, rows, top), (width, block_width, columns, left) = pairs
    name = label(op)
    fields = (
        ("batches", image.shape[0]),
        ("height", height),
        ("width", width),
        ("pixel", image.shape[-1] * element_bytes(image)),
        ("block_height", block_height),
        ("block_width", block_width),
        ("blocks_height", rows),
        ("blocks_width", columns),
        ("top", top),
        ("left", left),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_blocks_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_broadcast.h", "eq_move.h"),
    )


# --- Padding ------------------------------------------------------------------------------------


def padv2_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    value = input_tensor(op, subgraph, 2)
    if _facts(op, value) != _facts(op, output_tensor(op, subgraph)):
        raise refuse(op, "its value has not its output's scale and zero point")
    stored = constant(op, subgraph, 2, "int8").reshape(-1)
    if len(stored) != 1:
        raise refuse(op, f"it pads with {len(stored)} values", "export the model again")
    code = pad_s8(op, subgraph, core)
    (struct,) = (c for c in code.constants if isinstance(c, Struct))
    fields = {**dict(struct.fields), "value": int(stored[0])}
    return replace(code, constants=(replace(struct, fields=tuple(fields.items())),))


def pad(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """PAD and PADV2 of any type: the output full of the value, then the input into its middle."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    value = optional_input(op, subgraph, 2)
    far = steps(output.shape)
    edges = _edges(op, subgraph, input, output)
    inside = sum(a * s for (_, a, _), s in zip(edges, far, strict=True))
    middle = Move(tuple(zip(input.shape, steps(input.shape), far, strict=True)), 0, inside)
    parts = [Part(middle, Input(0), Output())]
    if value is None:
        # TFLM looks at no zero point here.
        blank = [Call("memset", (Output(), "0", str(output.bytes)))]
        return move_code(op, element_bytes(input), parts, first=blank)
    _same_type(op, input, value)
    if value.elements != 1:
        raise refuse(op, f"it pads with {value.elements} values", "export the model again")
    fill = Part(Move(((output.elements, 0, 1),)), Input(2), Output())
    return move_code(op, element_bytes(input), [fill, *parts])


def _edges(op: Op, subgraph: Subgraph, input: Tensor, output: Tensor) -> list[tuple[int, int, int]]:
    """(length, elements before, elements after) of each side of the input."""
    _same_type(op, input, output)
    paddings = integers(op, subgraph, 1)
    if len(paddings) != 2 * len(input.shape) or min(paddings, default=0) < 0:
        raise _wrong_shapes(op)
    edges = list(zip(input.shape, paddings[::2], paddings[1::2], strict=True))
    if tuple(size + a + b for size, a, b in edges) != output.shape:
        raise _wrong_shapes(op)
    return edges


def mirror_pad(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The input into the middle of the output, and then, side by side, the output's own values
    out to its edges: what mirrors the corners as well."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    edges = _edges(op, subgraph, input, output)
    offset = 1 if op.options.get("mirror_mode") == "REFLECT" else 0
    if any(max(a, b) > size - offset for size, a, b in edges if a or b):
        raise refuse(op, "its paddings are longer than what they mirror")
    far = steps(output.shape)
    inside = sum(a * s for (_, a, _), s in zip(edges, far, strict=True))
    middle = tuple(zip(input.shape, steps(input.shape), far, strict=True))
    parts = [Part(Move(middle, 0, inside), Input(0), Output())]
    done = list(input.shape)  # Of the output, along each side, from `inside` on.
    for axis in reversed(range(len(edges))):
        size, before, after = edges[axis]
        for count, first, mirror in (
            (before, before - 1, before + offset),
            (after, before + size, before + size - 1 - offset),
        ):
            if count == 0:
                continue
            step = -far[axis] if mirror > first else far[axis]
            sides = [
                (count, -step, step) if i == axis else (done[i], far[i], far[i])
                for i in range(len(edges))
            ]
            base = inside - before * far[axis]
            move = Move(tuple(sides), base + mirror * far[axis], base + first * far[axis])
            parts.append(Part(move, Output(), Output()))
        inside -= before * far[axis]
        done[axis] = before + size + after
    return move_code(op, element_bytes(input), parts)


# --- By index -----------------------------------------------------------------------------------


def gather(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, indices = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    _same_type(op, input, output)
    if indices.dtype != "int32":
        raise refuse(op, f"its indices are {indices.dtype}, and only int32 is supported")
    axis = one_axis(op, int(op.options.get("axis", 0)), len(input.shape))
    shared = int(op.options.get("batch_dims", 0))
    shared += len(indices.shape) if shared < 0 else 0
    if not 0 <= shared <= min(axis, len(indices.shape)):
        raise _wrong_shapes(op)
    size = input.shape[axis]
    if indices.data is not None and not ((0 <= indices.data) & (indices.data < size)).all():
        raise refuse(op, f"it takes values beyond the {size} that are there")
    batches = math.prod(input.shape[:shared])
    outer = math.prod(input.shape[shared:axis])
    count = math.prod(indices.shape[shared:])
    inner = math.prod(input.shape[axis + 1 :])
    if indices.shape[:shared] != input.shape[:shared] or (
        batches * outer * count * inner != output.elements or output.elements == 0
    ):
        raise _wrong_shapes(op)
    name = label(op)
    fields = (
        ("batches", batches),
        ("outer", outer),
        ("axis_size", size),
        ("count", count),
        ("size", inner * element_bytes(input)),
    )
    return LayerCode(
        calls=(Call("eq_gather", (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, "eq_gather_t", fields),),
        sources=("eq_gather.c",),
        headers=("eq_broadcast.h", "eq_move.h", "eq_requantize.h"),
    )


_ALL = ("int8", "int16", "int32", "float32")

_TYPES: dict[str, tuple[Emitter, tuple[str, ...]]] = {
    "BATCH_TO_SPACE_ND": (batch_to_space, ("int8", "float32")),
    "CONCATENATION": (concatenation, (*_ALL, "int64", "bool")),
    "DEPTH_TO_SPACE": (depth_to_space, ("int8", "float32")),
    "GATHER": (gather, ("int8", "float32")),
    "MIRROR_PAD": (mirror_pad, ("int8", "float32")),
    "PACK": (pack, (*_ALL, "int64")),
    "PADV2": (pad, ("int16", "int32", "float32")),
    "SLICE": (slice_, (*_ALL, "bool")),
    "SPACE_TO_BATCH_ND": (space_to_batch, ("int8", "float32")),
    "SPACE_TO_DEPTH": (space_to_depth, ("int8", "float32")),
    "SPLIT": (split, _ALL),
    "SPLIT_V": (split_v, _ALL),
    "STRIDED_SLICE": (strided_slice, (*_ALL, "bool")),
    "TRANSPOSE": (transpose, ("int8", "int16", "float32")),
    "UNPACK": (unpack, _ALL),
}
"""Those of TFLM: a type more would cost nothing, but there would be nothing to compare it with."""

EMITTERS: dict[tuple[str, str], Emitter] = {
    ("PADV2", "int8"): padv2_s8,
    **{(name, dtype): emitter for name, (emitter, types) in _TYPES.items() for dtype in types},
}
