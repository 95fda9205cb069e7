"""Which layers to try in int16, and in what order: those that lose most come first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from edgeq.graph import Graph
from edgeq.tuning.points import Candidate, Outcome

INT8, INT16 = Candidate("int8"), Candidate("int16x8")

MAX_SINGLES = 16
"""Blocks that are tried alone; of a deeper network, those that are blamed most."""

MAX_COMBINED = 5
"""Of so many blocks, the best, every combination is tried at last."""

_WEIGHTED = frozenset(
    """CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV FULLY_CONNECTED BATCH_MATMUL SVDF
    UNIDIRECTIONAL_SEQUENCE_LSTM""".split()
)

Block = tuple[str, ...]
"""Operators that change their precision together, by the names of their outputs."""


def blocks(graph: Graph) -> list[Block]:
    """Each operator with weights and those behind it, up to the next one with weights."""
    found: list[list[str]] = []
    has_weights = False
    for op in graph.main.ops:
        if not op.outputs:
            continue
        weighted = op.name in _WEIGHTED
        if not found or (weighted and has_weights):
            found.append([])
            has_weights = False
        has_weights |= weighted
        found[-1] += [graph.main.tensors[i].name for i in op.outputs]
    return [tuple(block) for block in found]


def proposals(network: Sequence[Block], done: Mapping[Candidate, Outcome]) -> list[Candidate]:
    """What to try, given what is known, the most promising first; those `done` are among them.

    All of int8 and of int16x8; then each block alone, the most blamed first; then, from the front
    and from the end of the network, ever more blocks in a row, since a row has seams at its ends
    only; then the blocks that gained most, added up; then all combinations of the best.
    """
    found = [INT8, INT16]
    base = done.get(INT8)
    if base is None or base.failed is not None:
        return found
    ranked = sorted(network, key=lambda block: -_blame(block, base))[:MAX_SINGLES]
    found += [_of(network, [block]) for block in ranked]
    works = [b for b in ranked if _works(done.get(_of(network, [b])))]
    usable = {b for b in network if b not in ranked} | set(works)
    for row in range(2, len(network)):
        for blocks_in_row in (network[:row], network[-row:]):
            if usable.issuperset(blocks_in_row):
                found.append(_of(network, blocks_in_row))
    gained = sorted(works, key=lambda block: -_gain(done[_of(network, [block])], base))
    found += [_of(network, gained[:count]) for count in range(2, len(gained) + 1)]
    best = gained[:MAX_COMBINED]
    for count in range(2, len(best) + 1):
        found += [_of(network, chosen) for chosen in itertools.combinations(best, count)]
    return list(dict.fromkeys(found))


def _of(network: Sequence[Block], chosen: Sequence[Block]) -> Candidate:
    return Candidate("int8", tuple(name for b in network if b in chosen for name in b))


def _blame(block: Block, base: Outcome) -> float:
    lost = dict(base.blame)
    return max((lost[name] for name in block if name in lost), default=0.0)


def _gain(outcome: Outcome, base: Outcome) -> float:
    return outcome.level - base.level if outcome.level != base.level else 0.0


def _works(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.failed is None
