"""Operators that move values and compute none: eq_shape.h."""

from __future__ import annotations

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
    quantization,
    refuse,
    row,
)
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_PAD_RANK = 5
"""EQ_PAD_RANK."""


def reshape(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The same bytes under another shape: free, but for a constant, which must get into RAM."""
    input = input_tensor(op, subgraph, 0)
    if not input.is_constant:
        return LayerCode(is_alias=True)
    return LayerCode(calls=(Call("memcpy", (Output(), Input(0), str(input.bytes))),))


def pad_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    name = label(op)
    value = quantization(op, output_tensor(op, subgraph)).zero_point
    sides = pad_sides(op, subgraph)
    fields = (
        ("rank", len(sides)),
        ("size", row(size for size, _, _ in sides)),
        ("before", row(before for _, before, _ in sides)),
        ("after", row(after for _, _, after in sides)),
        ("value", value),
    )
    return LayerCode(
        calls=(Call("eq_pad_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_pad_t", fields),),
        sources=("eq_pad_s8.c",),
        headers=("eq_shape.h",),
    )


def pad_sides(op: Op, subgraph: Subgraph) -> list[tuple[int, int, int]]:
    """(size, elements before, elements after) of each side, those without padding joined."""
    shape = input_tensor(op, subgraph, 0).shape
    paddings = constant(op, subgraph, 1, "int32").reshape(-1, 2)
    if len(paddings) != len(shape) or (paddings < 0).any():
        raise refuse(op, f"its paddings {paddings.tolist()} do not fit {list(shape)}")
    sides = [
        (size, int(before), int(after))
        for size, (before, after) in zip(shape, paddings, strict=True)
    ] or [(1, 0, 0)]
    joined = [sides.pop(0)]
    for size, before, after in sides:
        outer = joined[-1]
        if before == after == 0:
            joined[-1] = (outer[0] * size, outer[1] * size, outer[2] * size)
        elif outer == (1, 0, 0):
            joined[-1] = (size, before, after)
        else:
            joined.append((size, before, after))
    if len(joined) > _PAD_RANK:
        raise refuse(op, f"it pads more than {_PAD_RANK} sides")
    return joined


_RESHAPED_TYPES = ("int8", "int16", "int32", "int64", "uint8", "bool", "float32")

EMITTERS: dict[tuple[str, str], Emitter] = {
    ("PAD", "int8"): pad_s8,
    **{
        (name, dtype): reshape
        for name in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
        for dtype in _RESHAPED_TYPES
    },
}
