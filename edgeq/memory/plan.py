"""What operators ask of the arena, and where everything is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ALIGNMENT = 16
"""Bytes that every offset is a multiple of, and the arena's own alignment."""


@dataclass(frozen=True)
class Overlap:
    """Output `output` may lie over input `input` when it begins at least `lead` bytes before it.

    With a lead of 0 it may begin at the same address or before: right for code that reads each
    element before it writes the one at the same place, from front to back.
    """

    output: int
    input: int
    lead: int = 0


@dataclass(frozen=True)
class Needs:
    """What the code of one operator asks of the arena, beside its inputs and outputs."""

    scratch: int = 0
    overlaps: tuple[Overlap, ...] = ()
    is_alias: bool = False


@dataclass(frozen=True)
class Buffer:
    """A range of the arena, in use from step `first` to step `last`, both included.

    Step -1 is before the first operator, the number of operators is after the last. `tensors` are
    those that it holds; a scratch buffer has none and belongs to the operator `scratch_of`.
    """

    name: str
    size: int
    first: int
    last: int
    tensors: tuple[int, ...] = ()
    scratch_of: int | None = None

    def meets(self, other: Buffer) -> bool:
        """Whether both are in use at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets from the arena's start, in bytes.

    `size` is the arena's, `lower_bound` what no plan for these buffers can be below. `peak_step` is
    the operator that needs all of it, `peak_bytes` what is in use then; `order` names the strategy
    that found the plan, `steps` the operators.
    """

    buffers: tuple[Buffer, ...]
    offsets: tuple[int, ...]
    size: int
    lower_bound: int
    peak_step: int
    peak_bytes: int
    order: str
    alignment: int
    steps: tuple[str, ...] = ()
    _places: Mapping[int, int] = field(default_factory=dict, repr=False)

    def offset(self, tensor: int) -> int:
        """Of the tensor with this index, which must be in the arena."""
        return self.offsets[self._places[tensor]]

    def has(self, tensor: int) -> bool:
        return tensor in self._places

    def scratch_offset(self, step: int) -> int:
        """Of the scratch buffer of operator `step`, which must have asked for one."""
        for buffer, offset in zip(self.buffers, self.offsets, strict=True):
            if buffer.scratch_of == step:
                return offset
        raise KeyError(step)

    def group(self, tensor: int) -> int:
        """Which buffer holds the tensor; the same for those that share their bytes."""
        return self._places[tensor]

    def live(self, step: int) -> list[tuple[Buffer, int]]:
        """The buffers that are in use at `step`, with their offsets, in order of these."""
        pairs = zip(self.buffers, self.offsets, strict=True)
        used = [(b, o) for b, o in pairs if b.first <= step <= b.last]
        return sorted(used, key=lambda pair: (pair[1], pair[0].name))
