"""How two inputs are walked to one output: eq_broadcast.h."""

from __future__ import annotations

import math

from edgeq.codegen.aot.layer import Value, refuse, row
from edgeq.graph import Op, Tensor
from edgeq.memory import Overlap

Fields = tuple[tuple[str, Value], ...]

_RANK = 6
"""EQ_BROADCAST_RANK."""


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
