"""GATHER: eq_move.h."""

from __future__ import annotations

import math

from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    input_tensor,
    label,
    output_tensor,
    refuse,
)
from edgeq.codegen.aot.moves import (
    element_bytes,
    one_axis,
    same_type,
    wrong_shapes,
)
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core


def gather(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, indices = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    same_type(op, input, output)
    if indices.dtype != "int32":
        raise refuse(op, f"its indices are {indices.dtype}, and only int32 is supported")
    axis = one_axis(op, int(op.options.get("axis", 0)), len(input.shape))
    shared = int(op.options.get("batch_dims", 0))
    shared += len(indices.shape) if shared < 0 else 0
    if not 0 <= shared <= min(axis, len(indices.shape)):
        raise wrong_shapes(op)
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
        raise wrong_shapes(op)
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
        headers=("eq_move.h",),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("GATHER", dtype): gather for dtype in ("int8", "float32")
}
