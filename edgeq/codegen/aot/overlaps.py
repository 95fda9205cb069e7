"""How the output of a kernel that takes values one after another may lie over its input."""

from __future__ import annotations

from edgeq.graph import BITS, Tensor
from edgeq.memory import Overlap

IN_PLACE = (Overlap(0, 0),)
"""Both have values of one size."""


def front_to_back(input: Tensor, output: Tensor) -> tuple[Overlap, ...]:
    """Values are read and written from the first to the last, as bytes or of one type."""
    wider = (output.bytes - input.bytes) // output.elements
    return (Overlap(0, 0, max(0, wider * (output.elements - 1))),)


def typed_front_to_back(input: Tensor, output: Tensor) -> tuple[Overlap, ...]:
    """`front_to_back` for a kernel whose pointers have the types of the tensors.

    C lets only bytes lie over values of another type.
    """
    is_safe = input.dtype == output.dtype or 8 in (BITS[input.dtype], BITS[output.dtype])
    return front_to_back(input, output) if is_safe else ()
