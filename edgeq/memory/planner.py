"""Makes a memory plan.

A tensor lives from the operator that writes it (inputs: from before the first) to the last one
that reads it (outputs: to the end); scratch lives while its operator runs; state lives always.
Tensors that are the same bytes under another shape are one buffer. An output may lie over an
input that dies with the operator, as far as its code allows (`Overlap`).

Buffers are placed one after the other, each at the lowest offset that is free, in the order that
turns out best of several and of a bounded search for better ones. The search counts its work, not
seconds: the same graph gives the same plan everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from edgeq.graph import Subgraph
from edgeq.memory.plan import ALIGNMENT, Buffer, MemoryPlan, Needs

_WORK = 500_000
"""Comparisons of two buffers that the search may spend: half a second, here and now."""


def plan_memory(
    subgraph: Subgraph, needs: Sequence[Needs], *, alignment: int = ALIGNMENT, work: int = _WORK
) -> MemoryPlan:
    """The best plan found for the activations of `subgraph`; `needs` has one entry an operator."""
    buffers = _buffers(subgraph, needs)
    leads = _leads(subgraph, needs, buffers)
    steps = tuple(op.name for op in subgraph.ops)
    demands = [_demand(buffers, leads, step) for step in range(-1, len(subgraph.ops) + 1)]
    bound = max(demands)
    conflicts = _conflicts(buffers, leads)
    order, offsets = _search(buffers, conflicts, bound, alignment, work)
    peak_step, peak_bytes = _peak(buffers, offsets, len(steps))
    return MemoryPlan(
        buffers=tuple(buffers),
        offsets=tuple(offsets),
        size=_aligned(_height(buffers, offsets), alignment),
        lower_bound=bound,
        peak_step=peak_step,
        peak_bytes=peak_bytes,
        order=order,
        alignment=alignment,
        steps=steps,
        _places={t: i for i, b in enumerate(buffers) for t in b.tensors},
    )


def _peak(buffers: Sequence[Buffer], offsets: Sequence[int], step_count: int) -> tuple[int, int]:
    """The operator that needs the arena's last byte, and of several the one that covers most."""
    best = (0, 0, 0)
    for step in range(step_count):
        extents = sorted(
            (offset, offset + buffer.size)
            for buffer, offset in zip(buffers, offsets, strict=True)
            if buffer.first <= step <= buffer.last
        )
        covered = end = 0
        for low, high in extents:
            covered += max(0, high - max(end, low))
            end = max(end, high)
        best = max(best, (end, covered, -step))
    return -best[2], best[1]


# --- Buffers and their lives --------------------------------------------------------------------


def _buffers(subgraph: Subgraph, needs: Sequence[Needs]) -> list[Buffer]:
    end = len(subgraph.ops)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    root: dict[int, int] = {}

    def use(index: int, step: int) -> None:
        tensor = subgraph.tensors[index]
        if not tensor.is_constant and tensor.bytes > 0:
            base = root.setdefault(index, index)
            first.setdefault(base, step)
            last[base] = max(last.get(base, step), step)

    for index in subgraph.inputs:
        use(index, -1)
    for step, (op, need) in enumerate(zip(subgraph.ops, needs, strict=True)):
        for index in op.inputs:
            if index >= 0:
                use(index, step)
                if subgraph.tensors[index].is_variable:
                    first[index], last[index] = -1, end
        if need.is_alias and op.inputs[0] in root:
            root[op.outputs[0]] = root[op.inputs[0]]
        for index in op.outputs:
            use(index, step)
    for index in subgraph.outputs:
        use(index, end)

    members: dict[int, list[int]] = {}
    for index, base in root.items():
        members.setdefault(base, []).append(index)
    buffers = [
        Buffer(
            name=subgraph.tensors[base].name,
            size=max(subgraph.tensors[i].bytes for i in indexes),
            first=first[base],
            last=last[base],
            tensors=tuple(indexes),
        )
        for base, indexes in members.items()
    ]
    buffers += [
        Buffer(f"scratch of {op.name}", need.scratch, step, step, (), step)
        for step, (op, need) in enumerate(zip(subgraph.ops, needs, strict=True))
        if need.scratch > 0
    ]
    return buffers


def _leads(
    subgraph: Subgraph, needs: Sequence[Needs], buffers: Sequence[Buffer]
) -> dict[tuple[int, int], int]:
    """(buffer written, buffer read) -> lead, where the one may lie over the other."""
    holder = {t: i for i, b in enumerate(buffers) for t in b.tensors}
    leads: dict[tuple[int, int], int] = {}
    for step, (op, need) in enumerate(zip(subgraph.ops, needs, strict=True)):
        for overlap in need.overlaps:
            written = holder.get(op.outputs[overlap.output])
            read = holder.get(op.inputs[overlap.input])
            if written is None or read is None or written == read:
                continue
            # The step must be the only one at which both are in use, and the operator must not
            # read the same buffer through another input that does not allow it.
            if buffers[read].last != step or buffers[written].first != step:
                continue
            through = [p for p, i in enumerate(op.inputs) if holder.get(i) == read]
            allowed = {o.input: o.lead for o in need.overlaps if o.output == overlap.output}
            if all(p in allowed for p in through):
                leads[written, read] = max(allowed[p] for p in through)
    return leads


def _demand(buffers: Sequence[Buffer], leads: Mapping[tuple[int, int], int], step: int) -> int:
    """Bytes that any plan needs at `step`: all buffers in use, less what outputs may share."""
    total = sum(b.size for b in buffers if b.first <= step <= b.last)
    written: dict[int, int] = {}
    read: dict[int, int] = {}
    for (output, input), lead in leads.items():
        if buffers[output].first == step:
            room = max(0, min(buffers[input].size, buffers[output].size - lead))
            written[output] = written.get(output, 0) + room
            read[input] = max(read.get(input, 0), room)
    shared = sum(min(buffers[output].size, room) for output, room in written.items())
    return total - min(shared, sum(read.values()))


# --- Placing ------------------------------------------------------------------------------------

Conflicts = Sequence[Sequence[tuple[int, int, int]]]
"""For each buffer i, (j, below, above): i may not begin between j's offset - below and + above."""


def _conflicts(buffers: Sequence[Buffer], leads: Mapping[tuple[int, int], int]) -> Conflicts:
    table: list[list[tuple[int, int, int]]] = []
    for i, a in enumerate(buffers):
        row = []
        for j, b in enumerate(buffers):
            if i == j or not a.meets(b):
                continue
            below, above = a.size, b.size
            if (i, j) in leads:
                below = min(below, leads[i, j])
            if (j, i) in leads:
                above = min(above, leads[j, i])
            row.append((j, below, above))
        table.append(row)
    return table


def _place(
    buffers: Sequence[Buffer], conflicts: Conflicts, order: Sequence[int], alignment: int
) -> list[int]:
    """Each buffer, in `order`, at the lowest offset that its conflicts leave free."""
    offsets = [-1] * len(buffers)
    for i in order:
        taken = sorted(
            (offsets[j] - below, offsets[j] + above)
            for j, below, above in conflicts[i]
            if offsets[j] >= 0
        )
        at = 0
        for low, high in taken:
            if low < at < high:
                at = _aligned(high, alignment)
        offsets[i] = at
    return offsets


def _search(
    buffers: Sequence[Buffer], conflicts: Conflicts, bound: int, alignment: int, work: int
) -> tuple[str, list[int]]:
    """The lowest placement found, and the name of the order that gave it."""
    best: tuple[int, str, list[int], list[int]] | None = None
    for name, order in _orders(buffers, conflicts).items():
        offsets = _place(buffers, conflicts, order, alignment)
        height = _height(buffers, offsets)
        if best is None or height < best[0]:
            best = (height, name, order, offsets)
    assert best is not None
    height, name, order, offsets = best
    goal = _aligned(bound, alignment)
    chance = random.Random(0)
    tries = work // max(1, sum(len(row) for row in conflicts))
    for _ in range(tries if len(order) > 1 else 0):
        if _aligned(height, alignment) <= goal:
            break
        trial = list(order)
        # Moving one buffer forward lets it choose its place before others.
        trial.insert(chance.randrange(len(trial)), trial.pop(chance.randrange(len(trial))))
        candidate = _place(buffers, conflicts, trial, alignment)
        reached = _height(buffers, candidate)
        if reached <= height:
            name = name if reached == height else f"{name.removesuffix(', improved')}, improved"
            height, order, offsets = reached, trial, candidate
    return name, offsets


def _orders(buffers: Sequence[Buffer], conflicts: Conflicts) -> dict[str, list[int]]:
    indexes = range(len(buffers))
    crowd = [sum(buffers[j].size for j, _, _ in conflicts[i]) for i in indexes]
    return {
        "by size": sorted(indexes, key=lambda i: (-buffers[i].size, buffers[i].first, i)),
        "by breadth": sorted(indexes, key=lambda i: (-(crowd[i] + buffers[i].size), i)),
        "by lifetime": sorted(
            indexes, key=lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size, i)
        ),
        "by first use": sorted(indexes, key=lambda i: (buffers[i].first, -buffers[i].size, i)),
        "by last use": sorted(indexes, key=lambda i: (-buffers[i].last, -buffers[i].size, i)),
    }


def _height(buffers: Sequence[Buffer], offsets: Iterable[int]) -> int:
    return max((o + b.size for b, o in zip(buffers, offsets, strict=True)), default=0)


def _aligned(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment
