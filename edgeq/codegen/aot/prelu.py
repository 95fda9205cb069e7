"""PRELU: eq_prelu.h."""

from __future__ import annotations

from edgeq.codegen.aot.broadcast import broadcast
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
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import requantize_pairs
from edgeq.graph import Op, Subgraph
from edgeq.memory import Overlap
from edgeq.targets import Core


def prelu(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, slopes = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    if slopes.dtype != "int8":
        raise refuse(op, f"its slopes are {slopes.dtype}, and only int8 is supported")
    if input.elements != output.elements:
        raise refuse(op, f"its slopes {list(slopes.shape)} stretch its input {list(input.shape)}")
    before, after = quantization(op, input), quantization(op, output)
    slope = quantization(op, slopes)
    scales = (before.scale / after.scale, before.scale * slope.scale / after.scale)
    multipliers, shifts = requantize_pairs(op, scales)
    name = label(op)
    fields = (
        ("shape", broadcast(op, input, slopes, output)),
        ("input_zero_point", before.zero_point),
        ("slope_zero_point", slope.zero_point),
        ("output_zero_point", after.zero_point),
        ("multiplier", int(multipliers[0])),
        ("shift", int(shifts[0])),
        ("below_multiplier", int(multipliers[1])),
        ("below_shift", int(shifts[1])),
    )
    function = f"eq_prelu_{'s8' if input.dtype == 'int8' else 's16'}"
    return LayerCode(
        calls=(Call(function, (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, "eq_prelu_t", fields),),
        sources=(f"{function}.c",),
        headers=("eq_prelu.h",),
        overlaps=(Overlap(0, 0),),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("PRELU", "int16"): prelu,
    ("PRELU", "int8"): prelu,
}
