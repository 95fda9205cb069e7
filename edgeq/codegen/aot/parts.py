"""CONCATENATION, PACK, SPLIT, SPLIT_V, UNPACK: parts along one axis, eq_move.h."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.codegen.aot.layer import (
    Emitter,
    Input,
    LayerCode,
    Output,
    input_tensor,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.moves import (
    MOVED_TYPES,
    Move,
    Part,
    element_bytes,
    integers,
    move_code,
    one_axis,
    same_quantization,
    same_type,
    wrong_shapes,
)
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core


def concatenation(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    if op.options.get("activation", "NONE") != "NONE":
        raise refuse(op, "it has a fused activation, which TFLM does not support either")
    axis = one_axis(op, int(op.options.get("axis", 0)), len(output.shape))
    inputs = [input_tensor(op, subgraph, i) for i in range(len(op.inputs))]
    for tensor in inputs:
        if output.dtype == "int8" and not same_quantization(op, tensor, output):
            raise refuse(op, "its inputs have not its output's scale and zero point")
        if output.dtype == "int16" and quantization(op, tensor).zero_point != 0:
            raise refuse(op, "an int16 input has a zero point")
    return _join(op, output, inputs, axis)


def pack(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    axis = one_axis(op, int(op.options.get("axis", 0)), len(output.shape))
    inputs = [input_tensor(op, subgraph, i) for i in range(len(op.inputs))]
    return _join(op, output, inputs, axis)


def _join(op: Op, whole: Tensor, parts: Sequence[Tensor], axis: int) -> LayerCode:
    same_type(op, whole, *parts)
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
    same_type(op, whole, *parts)
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
            raise wrong_shapes(op)
        size = part.elements // max(1, outer)
        if size:
            pair = (size, total) if into else (total, size)
            starts = (0, at) if into else (at, 0)
            moves.append((i, Move(((outer, *pair), (size, 1, 1)), *starts)))
        at += size
    if at != total or not moves:
        raise wrong_shapes(op)
    return moves


EMITTERS: dict[tuple[str, str], Emitter] = {
    **{("CONCATENATION", dtype): concatenation for dtype in (*MOVED_TYPES, "int64", "bool")},
    **{("PACK", dtype): pack for dtype in (*MOVED_TYPES, "int64")},
    **{("SPLIT", dtype): split for dtype in MOVED_TYPES},
    **{("SPLIT_V", dtype): split_v for dtype in MOVED_TYPES},
    **{("UNPACK", dtype): unpack for dtype in MOVED_TYPES},
}
