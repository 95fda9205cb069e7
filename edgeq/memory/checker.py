"""Proves a memory plan, without knowing how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgeq.graph import Subgraph
from edgeq.memory.plan import MemoryPlan, Needs


def check_plan(plan: MemoryPlan, subgraph: Subgraph, needs: Sequence[Needs]) -> None:
    """Raise ValueError when a value would be overwritten before its last reader has read it.

    Walks through the operators and keeps, for every byte of the arena, whose it is.
    """
    owners = np.full(plan.size, -1, np.int32)
    kept = [t.index for t in subgraph.tensors if t.is_variable and plan.has(t.index)]

    def extent(index: int) -> slice:
        start = plan.offset(index)
        return slice(start, start + subgraph.tensors[index].bytes)

    def claim(indexes: Iterable[int]) -> None:
        for index in indexes:
            place = extent(index)
            if place.start < 0 or place.start % plan.alignment or place.stop > plan.size:
                raise ValueError(f"tensor {index} lies at {place.start} of {plan.size} bytes")
            owners[place] = plan.group(index)

    def expect(indexes: Iterable[int], what: str) -> None:
        for index in indexes:
            if (owners[extent(index)] != plan.group(index)).any():
                raise ValueError(f"tensor {index} was overwritten before {what}")

    claim([*kept, *subgraph.inputs])
    expect([*kept, *subgraph.inputs], "the first operator")
    for step, (op, need) in enumerate(zip(subgraph.ops, needs, strict=True)):
        what = f"operator {step} {op.name}"
        read = [i for i in op.inputs if plan.has(i)]
        written = [i for i in op.outputs if plan.has(i)]
        expect([*read, *kept], f"{what} reads it")
        scratch = slice(0, 0)
        if need.scratch:
            start = plan.scratch_offset(step)
            scratch = slice(start, start + need.scratch)
            owners[scratch] = -2
            expect([*read, *kept], f"{what} reads it: its scratch is there")
        claim(written)
        expect([*written, *kept], f"{what} is done")
        if (owners[scratch] != -2).any() or scratch.stop > plan.size:
            raise ValueError(f"{what} writes an output over its scratch")
        for position, output in enumerate(op.outputs):
            for source, index in enumerate(op.inputs):
                if output not in written or index not in read:
                    continue
                if plan.group(output) == plan.group(index) and need.is_alias:
                    continue
                over, under = extent(output), extent(index)
                leads = [o.lead for o in need.overlaps if (o.output, o.input) == (position, source)]
                if max(over.start, under.start) < min(over.stop, under.stop) and not any(
                    over.start + lead <= under.start for lead in leads
                ):
                    raise ValueError(f"{what} writes tensor {output} over tensor {index}")
    expect([*kept, *subgraph.outputs], "its user reads it")
