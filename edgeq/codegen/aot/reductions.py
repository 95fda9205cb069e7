"""Reductions over any sides: eq_reduce.h."""

from __future__ import annotations

import math

from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    Value,
    constant,
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
    row,
)
from edgeq.codegen.aot.multipliers import quantize_multiplier
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

Fields = tuple[tuple[str, Value], ...]


def mean_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    before = quantization(op, input_tensor(op, subgraph, 0))
    after = quantization(op, output_tensor(op, subgraph))
    count = reduced_elements(op, subgraph)
    multiplier, shift = quantize_multiplier(before.scale / after.scale)
    # TFLM puts 1 / count into the multiplier, shifted up first as far as it goes.
    up = min(count.bit_length() - 1, 32, 31 + shift)
    return _mean_or_sum(op, subgraph, (multiplier << up) // count, shift - up, count)


def _mean_or_sum(op: Op, subgraph: Subgraph, multiplier: int, shift: int, count: int) -> LayerCode:
    before = quantization(op, input_tensor(op, subgraph, 0))
    after = quantization(op, output_tensor(op, subgraph))
    name = label(op)
    fields: Fields = (
        ("shape", reduce_shape(op, subgraph)),
        ("start", -before.zero_point * count),
        ("multiplier", multiplier),
        ("shift", shift),
        ("output_zero_point", after.zero_point),
    )
    return LayerCode(
        calls=(Call("eq_mean_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_mean_t", fields),),
        sources=("eq_mean_s8.c",),
        headers=("eq_reduce.h",),
    )


def axes(op: Op, subgraph: Subgraph) -> set[int]:
    """The sides that are reduced, counted from the first."""
    rank = len(input_tensor(op, subgraph, 0).shape)
    named = [int(a) for a in constant(op, subgraph, 1, "int32").reshape(-1)]
    if any(not -rank <= a < rank for a in named):
        raise refuse(op, f"it reduces axes {named} of {rank}", "export the model again")
    return {a % rank for a in named}


def reduced_elements(op: Op, subgraph: Subgraph) -> int:
    """How many values make one output."""
    shape = input_tensor(op, subgraph, 0).shape
    return math.prod(shape[a] for a in axes(op, subgraph))


def reduce_shape(op: Op, subgraph: Subgraph) -> Fields:
    """The fields of eq_reduce_shape_t."""
    shape, reduced = input_tensor(op, subgraph, 0).shape, axes(op, subgraph)
    runs: list[tuple[bool, int]] = []  # whether reduced, elements
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if runs and runs[-1][0] == (axis in reduced):
            runs[-1] = (runs[-1][0], runs[-1][1] * size)
        else:
            runs.append((axis in reduced, size))
    if runs and runs[0][0]:
        runs.insert(0, (False, 1))
    sides = [size for _, size in runs]
    if len(sides) > 5:
        raise refuse(op, f"it reduces axes {sorted(reduced)} of {list(shape)}: too many turns")
    sides += [1] * (5 - len(sides))
    return (("kept", row(sides[0::2])), ("reduced", row(sides[1::2])))


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("MEAN", "int8"): mean_s8,
}
