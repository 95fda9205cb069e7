"""SUM, MEAN of int16, REDUCE_MAX and REDUCE_MIN: eq_reduce.h and eq_reductions.h."""

from __future__ import annotations

from edgeq.codegen.aot import fixed_point
from edgeq.codegen.aot.arithmetic import SUFFIXES
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
from edgeq.codegen.aot.reductions import Fields, reduce_shape, reduced_elements
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core


def mean_or_sum(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    before, after = quantization(op, input), quantization(op, output)
    if input.dtype != output.dtype:
        raise refuse(op, f"it makes {output.dtype} of {input.dtype}")
    count = reduced_elements(op, subgraph)
    multipliers, shifts = requantize_pairs(op, [before.scale / after.scale])
    multiplier, shift = int(multipliers[0]), int(shifts[0])
    if op.name == "MEAN":
        # TFLM puts 1 / count into the multiplier, shifted up first as far as it goes.
        up = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << up) // count, shift - up
    name, kernel = label(op), f"eq_mean_{SUFFIXES[input.dtype]}"
    fields: Fields = (
        ("shape", reduce_shape(op, subgraph)),
        ("start", fixed_point.wrap(-before.zero_point * count)),
        ("multiplier", multiplier),
        ("shift", shift),
        ("output_zero_point", after.zero_point),
    )
    more = ("eq_reductions.h",) if input.dtype == "int16" else ()
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_mean_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_reduce.h", *more),
    )


def extreme(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """REDUCE_MAX and REDUCE_MIN."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    facts = [quantization(op, t) for t in (input, output)]
    if len({(f.scale, f.zero_point) for f in facts}) > 1 or input.dtype != output.dtype:
        raise refuse(op, "its input and output differ in scale, zero point or type")
    name = label(op)
    fields: Fields = (
        ("shape", reduce_shape(op, subgraph)),
        ("flip", 0 if op.name == "REDUCE_MAX" else -1),
    )
    return LayerCode(
        calls=(Call("eq_reduce_max_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_reduce_max_t", fields),),
        sources=("eq_reduce_max_s8.c",),
        headers=("eq_reductions.h", "eq_reduce.h"),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("MEAN", "int16"): mean_or_sum,
    ("REDUCE_MAX", "int8"): extreme,
    ("REDUCE_MIN", "int8"): extreme,
    ("SUM", "int16"): mean_or_sum,
    ("SUM", "int8"): mean_or_sum,
}
