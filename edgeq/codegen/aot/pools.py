"""AVERAGE_POOL_2D and MAX_POOL_2D: eq_pool.h."""

from __future__ import annotations

from functools import partial

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
from edgeq.codegen.aot.multipliers import activation_range
from edgeq.codegen.aot.windows import window
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_MOST_TAPS = 65535
"""More values of int16 can have a sum beyond int32."""


def pool(kernel: str, op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    taps = int(op.options["filter_h"]) * int(op.options["filter_w"])
    if input.dtype == "int16" and taps > _MOST_TAPS:
        raise refuse(op, f"its kernel has more than {_MOST_TAPS} taps")
    shape = window(op, input, output, int(op.options["filter_h"]), int(op.options["filter_w"]))
    low, high = activation_range(op, output, str(op.options["activation"]))
    name = label(op)
    fields = (
        ("batches", input.shape[0]),
        ("channels", input.shape[3]),
        ("input_height", input.shape[1]),
        ("input_width", input.shape[2]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("kernel_height", shape.kernel[0]),
        ("kernel_width", shape.kernel[1]),
        ("stride_height", shape.stride[0]),
        ("stride_width", shape.stride[1]),
        ("pad_top", shape.padding[0]),
        ("pad_left", shape.padding[1]),
        ("output_min", low),
        ("output_max", high),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_pool_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_pool.h",),
        overlaps=(shape.overlap(input, output),),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("AVERAGE_POOL_2D", "int16"): partial(pool, "eq_average_pool_s16"),
    ("AVERAGE_POOL_2D", "int8"): partial(pool, "eq_average_pool_s8"),
    ("MAX_POOL_2D", "int16"): partial(pool, "eq_max_pool_s16"),
    ("MAX_POOL_2D", "int8"): partial(pool, "eq_max_pool_s8"),
}
