"""PAD, PADV2, MIRROR_PAD: eq_shape.h for int8, else eq_move.h."""

from __future__ import annotations

from dataclasses import replace

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
    optional_input,
    output_tensor,
    quantization,
    refuse,
    row,
)
from edgeq.codegen.aot.moves import (
    Move,
    Part,
    element_bytes,
    integers,
    move_code,
    same_quantization,
    same_type,
    steps,
    wrong_shapes,
)
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core

_PAD_RANK = 5
"""EQ_PAD_RANK."""


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


def padv2_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    value = input_tensor(op, subgraph, 2)
    if not same_quantization(op, value, output_tensor(op, subgraph)):
        raise refuse(op, "its value has not its output's scale and zero point")
    stored = constant(op, subgraph, 2, "int8").reshape(-1)
    if len(stored) != 1:
        raise refuse(op, f"it pads with {len(stored)} values", "export the model again")
    code = pad_s8(op, subgraph, core)
    (struct,) = (c for c in code.constants if isinstance(c, Struct))
    fields = {**dict(struct.fields), "value": int(stored[0])}
    return replace(code, constants=(replace(struct, fields=tuple(fields.items())),))


def pad(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """PAD and PADV2 of any type: the output full of the value, then the input into its middle."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    value = optional_input(op, subgraph, 2)
    far = steps(output.shape)
    edges = _edges(op, subgraph, input, output)
    inside = sum(a * s for (_, a, _), s in zip(edges, far, strict=True))
    middle = Move(tuple(zip(input.shape, steps(input.shape), far, strict=True)), 0, inside)
    parts = [Part(middle, Input(0), Output())]
    if value is None:
        # TFLM looks at no zero point here.
        blank = [Call("memset", (Output(), "0", str(output.bytes)))]
        return move_code(op, element_bytes(input), parts, first=blank)
    same_type(op, input, value)
    if value.elements != 1:
        raise refuse(op, f"it pads with {value.elements} values", "export the model again")
    fill = Part(Move(((output.elements, 0, 1),)), Input(2), Output())
    return move_code(op, element_bytes(input), [fill, *parts])


def _edges(op: Op, subgraph: Subgraph, input: Tensor, output: Tensor) -> list[tuple[int, int, int]]:
    """(length, elements before, elements after) of each side of the input."""
    same_type(op, input, output)
    paddings = integers(op, subgraph, 1)
    if len(paddings) != 2 * len(input.shape) or min(paddings, default=0) < 0:
        raise wrong_shapes(op)
    edges = list(zip(input.shape, paddings[::2], paddings[1::2], strict=True))
    if tuple(size + a + b for size, a, b in edges) != output.shape:
        raise wrong_shapes(op)
    return edges


def mirror_pad(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The input into the middle of the output, and then, side by side, the output's own values
    out to its edges: what mirrors the corners as well."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    edges = _edges(op, subgraph, input, output)
    offset = 1 if op.options.get("mirror_mode") == "REFLECT" else 0
    if any(max(a, b) > size - offset for size, a, b in edges if a or b):
        raise refuse(op, "its paddings are longer than what they mirror")
    far = steps(output.shape)
    inside = sum(a * s for (_, a, _), s in zip(edges, far, strict=True))
    middle = tuple(zip(input.shape, steps(input.shape), far, strict=True))
    parts = [Part(Move(middle, 0, inside), Input(0), Output())]
    done = list(input.shape)  # Of the output, along each side, from `inside` on.
    for axis in reversed(range(len(edges))):
        size, before, after = edges[axis]
        for count, first, mirror in (
            (before, before - 1, before + offset),
            (after, before + size, before + size - 1 - offset),
        ):
            if count == 0:
                continue
            step = -far[axis] if mirror > first else far[axis]
            sides = [
                (count, -step, step) if i == axis else (done[i], far[i], far[i])
                for i in range(len(edges))
            ]
            base = inside - before * far[axis]
            move = Move(tuple(sides), base + mirror * far[axis], base + first * far[axis])
            parts.append(Part(move, Output(), Output()))
        inside -= before * far[axis]
        done[axis] = before + size + after
    return move_code(op, element_bytes(input), parts)


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("PAD", "int16"): pad,
    ("PAD", "int8"): pad_s8,
    ("PADV2", "int8"): padv2_s8,
    **{("PADV2", dtype): pad for dtype in ("int16", "int32", "float32")},
    **{("MIRROR_PAD", dtype): mirror_pad for dtype in ("int8", "float32")},
}
