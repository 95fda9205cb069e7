"""Arithmetic of two activations with broadcasting: eq_elementwise.h."""

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
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
    row,
)
from edgeq.codegen.aot.multipliers import activation_range, quantize_multiplier
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.memory import Overlap
from edgeq.targets import Core

Fields = tuple[tuple[str, Value], ...]

_RANK = 6
"""EQ_BROADCAST_RANK."""

_ADD_LEFT_SHIFT = {"int8": 20, "int16": 15}


def add_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    a, b = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    left_shift = _ADD_LEFT_SHIFT[output.dtype]
    # TFLM takes twice the larger scale, so that both factors are at most a half.
    scales = quantization(op, a).scale, quantization(op, b).scale
    common = 2.0 * max(scales)
    after = common / ((1 << left_shift) * quantization(op, output).scale)
    if after >= 1.0:
        raise refuse(op, "its output's scale is too small beside its inputs'", "quantize it again")
    multiplier, shift = quantize_multiplier(after)
    low, high = activation_range(op, output, str(op.options["activation"]))
    name = label(op)
    fields: Fields = (
        ("shape", broadcast(op, a, b, output)),
        ("left_shift", left_shift),
        ("a", _addend(op, a, common)),
        ("b", _addend(op, b, common)),
        ("output_multiplier", multiplier),
        ("output_shift", shift),
        ("output_zero_point", quantization(op, output).zero_point),
        ("output_min", low),
        ("output_max", high),
    )
    return LayerCode(
        calls=(Call("eq_add_s8", (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, "eq_add_t", fields),),
        sources=("eq_add_s8.c",),
        headers=("eq_elementwise.h", "eq_broadcast.h", "eq_requantize.h"),
        overlaps=in_place(a, b, output),
    )


def _addend(op: Op, tensor: Tensor, common: float) -> Fields:
    facts = quantization(op, tensor)
    multiplier, shift = quantize_multiplier(facts.scale / common)
    return (("zero_point", facts.zero_point), ("multiplier", multiplier), ("shift", shift))


def in_place(a: Tensor, b: Tensor, output: Tensor) -> tuple[Overlap, ...]:
    """Over which inputs the output may lie: those of its shape and element size."""
    return tuple(
        Overlap(0, position)
        for position, tensor in enumerate((a, b))
        if (tensor.elements, tensor.bytes) == (output.elements, output.bytes)
    )


def broadcast(op: Op, a: Tensor, b: Tensor, output: Tensor) -> Fields:
    """The fields of eq_broadcast_t: the output's sides, neighbours that are walked alike joined."""
    rank = max(len(a.shape), len(b.shape), 1)
    padded = [(1,) * (rank - len(t.shape)) + t.shape for t in (a, b)]
    sides: list[tuple[int, bool, bool]] = []  # size, whether a and b go along
    for x, y in zip(*padded, strict=True):
        size = max(x, y)
        if size == 1:
            continue
        along = (x == size, y == size)
        if sides and sides[-1][1:] == along:
            sides[-1] = (sides[-1][0] * size, *along)
        else:
            sides.append((size, *along))
    sides = sides or [(1, True, True)]
    if len(sides) > _RANK or math.prod(s[0] for s in sides) != output.elements:
        raise refuse(op, f"its shapes {list(a.shape)} and {list(b.shape)} are too varied")
    return (
        ("rank", len(sides)),
        ("size", row([size for size, _, _ in sides])),
        ("step_a", row(_steps([(size, along) for size, along, _ in sides]))),
        ("step_b", row(_steps([(size, along) for size, _, along in sides]))),
    )


def _steps(sides: list[tuple[int, bool]]) -> list[int]:
    """How far an input goes on along each side: not at all where it is stretched."""
    steps, distance = [], 1
    for size, along in reversed(sides):
        steps.append(distance if along else 0)
        distance *= size if along else 1
    return steps[::-1]


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("ADD", "int8"): add_s8,
}
