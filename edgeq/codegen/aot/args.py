"""ARG_MAX and ARG_MIN: eq_arg.h."""

from __future__ import annotations

import math

from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    constant,
    input_tensor,
    label,
    output_tensor,
    refuse,
)
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core


def arg_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    if output.dtype != "int32":
        raise refuse(op, f"its output is {output.dtype}, and only int32 is supported")
    axes = constant(op, subgraph, 1, "int32").reshape(-1)
    rank = len(input.shape)
    if len(axes) != 1 or not -rank <= axes[0] < rank:
        raise refuse(op, f"it has the axes {axes.tolist()} of {rank}", "export the model again")
    axis = int(axes[0]) % rank
    outer, inner = math.prod(input.shape[:axis]), math.prod(input.shape[axis + 1 :])
    if outer * inner != output.elements or input.elements == 0:
        raise refuse(op, "the shapes of its tensors do not fit together", "export the model again")
    name = label(op)
    fields = (
        ("outer", outer),
        ("size", input.shape[axis]),
        ("inner", inner),
        ("flip", -1 if op.name == "ARG_MIN" else 0),
    )
    return LayerCode(
        calls=(Call("eq_arg_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_arg_t", fields),),
        sources=("eq_arg_s8.c",),
        headers=("eq_arg.h",),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("ARG_MAX", "int8"): arg_s8,
    ("ARG_MIN", "int8"): arg_s8,
}
