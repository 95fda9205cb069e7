"""TRANSPOSE, SLICE, STRIDED_SLICE: sides in another order, or parts of them, eq_move.h."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.codegen.aot.layer import (
    Emitter,
    LayerCode,
    input_tensor,
    output_tensor,
    refuse,
)
from edgeq.codegen.aot.moves import (
    MOVED_TYPES,
    Move,
    integers,
    one_move,
    same_type,
    steps,
    wrong_shapes,
)
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.memory import Overlap
from edgeq.targets import Core


def transpose(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    same_type(op, input, output)
    rank = len(input.shape)
    order = integers(op, subgraph, 1)
    if sorted(order) != list(range(rank)):
        raise refuse(op, f"its order {order} is none of {rank} sides", "export the model again")
    shape = tuple(input.shape[axis] for axis in order)
    if shape != output.shape:
        raise wrong_shapes(op)
    far = steps(input.shape)
    sides = zip(shape, [far[axis] for axis in order], steps(shape), strict=True)
    return one_move(op, input, Move(tuple(sides)))


def slice_(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    begins, sizes = integers(op, subgraph, 1), integers(op, subgraph, 2)
    if not len(begins) == len(sizes) == len(input.shape):
        raise wrong_shapes(op)
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
        raise wrong_shapes(op)
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
    same_type(op, input, output)
    if math.prod(sizes) != output.elements or output.elements == 0:
        raise wrong_shapes(op)
    for side, begin, size, stride in zip(input.shape, begins, sizes, strides, strict=True):
        if not (0 <= begin < side and 0 <= begin + (size - 1) * stride < side):
            raise wrong_shapes(op)
    far = steps(input.shape)
    start = sum(b * s for b, s in zip(begins, far, strict=True))
    along = [stride * s for stride, s in zip(strides, far, strict=True)]
    move = Move(tuple(zip(sizes, along, steps(sizes), strict=True)), start)
    # Going forward, no value gets to behind where it was.
    is_forward = all(n == 1 or stride > 0 for n, stride in zip(sizes, strides, strict=True))
    return one_move(op, input, move, (Overlap(0, 0),) if is_forward else ())


EMITTERS: dict[tuple[str, str], Emitter] = {
    **{("SLICE", dtype): slice_ for dtype in (*MOVED_TYPES, "bool")},
    **{("STRIDED_SLICE", dtype): strided_slice for dtype in (*MOVED_TYPES, "bool")},
    **{("TRANSPOSE", dtype): transpose for dtype in ("int8", "int16", "float32")},
}
