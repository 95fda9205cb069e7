"""Copies of values of any type to other places, of which operators are made: eq_move.h."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.codegen.aot.layer import (
    Argument,
    Call,
    Input,
    LayerCode,
    Output,
    Struct,
    constant,
    input_tensor,
    label,
    quantization,
    refuse,
    row,
)
from edgeq.graph import BITS, Op, Subgraph, Tensor
from edgeq.memory import Overlap

_RANK = 6
"""EQ_BROADCAST_RANK."""

MOVED_TYPES = ("int8", "int16", "int32", "float32")
"""Those of TFLM: a type more would cost nothing, but there would be nothing to compare it with."""


@dataclass(frozen=True)
class Move:
    """One copy: `sides` are (length, step of the input, step of the output), the outermost first.

    Steps and starts are in elements.
    """

    sides: tuple[tuple[int, int, int], ...]
    input_start: int = 0
    output_start: int = 0

    def joined(self) -> list[tuple[int, int, int]]:
        """The sides without those of length 1, neighbours that are walked on alike made one."""
        sides: list[tuple[int, int, int]] = []
        for size, a, b in self.sides:
            if size == 1:
                continue
            if sides and sides[-1][1:] == (size * a, size * b):
                sides[-1] = (sides[-1][0] * size, a, b)
            else:
                sides.append((size, a, b))
        return sides


@dataclass(frozen=True)
class Part:
    """A move between two tensors of the operator."""

    move: Move
    source: Argument
    target: Argument


def move_code(
    op: Op,
    element: int,
    parts: Sequence[Part],
    *,
    first: Sequence[Call] = (),
    overlaps: tuple[Overlap, ...] = (),
) -> LayerCode:
    """The code of `parts`, of values of `element` bytes, after the calls `first`."""
    calls, constants, sources = list(first), [], {"eq_slabs.c"}
    for i, part in enumerate(parts):
        name = label(op) if len(parts) == 1 else f"{label(op)}_part_{i}"
        sides = part.move.joined()
        size = element
        if sides and sides[-1][1:] == (1, 1):
            size *= sides.pop()[0]
        count, a, b = sides.pop() if sides else (1, 0, 0)
        slabs = (
            ("count", count),
            ("size", size),
            ("input_step", a * element),
            ("output_step", b * element),
            ("input_start", part.move.input_start * element),
            ("output_start", part.move.output_start * element),
        )
        if not sides:
            kernel, struct = "eq_slabs", Struct(name, "eq_slabs_t", slabs)
        elif len(sides) >= _RANK:
            raise refuse(op, "it moves values along too many sides")
        else:
            sources.add("eq_move.c")
            outer = (
                ("rank", len(sides) + 1),
                ("size", row([n for n, _, _ in sides] + [count])),
                ("step_a", row([s * element for _, s, _ in sides] + [a * element])),
                ("step_b", row([s * element for _, _, s in sides] + [b * element])),
            )
            kernel = "eq_move"
            struct = Struct(name, "eq_move_t", (("outer", outer), ("slabs", slabs)))
        constants.append(struct)
        calls.append(Call(kernel, (f"&{name}", part.source, part.target)))
    return LayerCode(
        calls=tuple(calls),
        constants=tuple(constants),
        sources=tuple(sorted(sources)),
        headers=("eq_move.h",),
        overlaps=overlaps,
    )


def element_bytes(tensor: Tensor) -> int:
    return BITS[tensor.dtype] // 8


def steps(shape: Sequence[int]) -> list[int]:
    """How many elements apart neighbours along each side are."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def one_axis(op: Op, axis: int, rank: int) -> int:
    """`axis`, counted from the first."""
    if not -rank <= axis < rank:
        raise refuse(op, f"it has the axis {axis} of {rank}", "export the model again")
    return axis % rank


def integers(op: Op, subgraph: Subgraph, position: int) -> list[int]:
    """The values of a constant input of int32 or int64."""
    dtype = input_tensor(op, subgraph, position).dtype
    values = constant(op, subgraph, position, dtype if dtype == "int64" else "int32")
    return [int(v) for v in values.reshape(-1)]


def same_type(op: Op, whole: Tensor, *others: Tensor) -> None:
    """Refuses what does not fit together; parts may be empty, `whole` not."""
    if whole.elements == 0:
        raise refuse(op, f"tensor {whole.name} has no elements", "export the model again")
    if any(t.dtype != whole.dtype for t in others):
        raise refuse(op, "its tensors are of several types", "export the model again")


def wrong_shapes(op: Op) -> Exception:
    return refuse(op, "the shapes of its tensors do not fit together", "export the model again")


def one_move(op: Op, input: Tensor, move: Move, overlaps: tuple[Overlap, ...] = ()) -> LayerCode:
    if move.joined() in ([], [(input.elements, 1, 1)]) and not input.is_constant:
        if math.prod(n for n, _, _ in move.sides) == input.elements:
            return LayerCode(is_alias=True)
    return move_code(op, element_bytes(input), [Part(move, Input(0), Output())], overlaps=overlaps)


def same_quantization(op: Op, a: Tensor, b: Tensor) -> bool:
    facts, others = quantization(op, a), quantization(op, b)
    return (facts.scale, facts.zero_point) == (others.scale, others.zero_point)
