"""What a network costs as channels are removed, and which to remove first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.channels.network import Affine, Depthwise, Each, Floats, Mix, Network, Ties

MEASURES = ("parameters", "bytes", "macs")
"""What a network's size is counted in; bytes are those of int8 weights and int32 biases."""


class Limits:
    """How many classes each tensor may still lose; one always stays."""

    def __init__(self, ties: Ties, share: float = 1.0) -> None:
        self._left: list[int] = []
        self._of: dict[int, list[int]] = {}
        sets = {c.tobytes(): c for c in map(np.unique, ties.classes.values())}
        for classes in sets.values():
            self._left.append(min(len(classes) - 1, math.ceil(len(classes) * share)))
            for c in classes.tolist():
                self._of.setdefault(c, []).append(len(self._left) - 1)

    def take(self, c: int) -> bool:
        """Whether class `c` may go; counts it as gone then."""
        tensors = self._of.get(c, [])
        if any(self._left[t] < 1 for t in tensors):
            return False
        for t in tensors:
            self._left[t] -= 1
        return True


@dataclass(frozen=True)
class _Term:
    """A cost of factor * (kept channels of `reads`) * (kept channels of `writes`)."""

    factor: float
    reads: NDArray[np.int64] | None
    writes: NDArray[np.int64]


class Costs:
    """What `network` costs in `measure` (one of MEASURES) as classes of channels are removed."""

    def __init__(self, network: Network, ties: Ties, measure: str) -> None:
        self._base = float(network.others) if measure != "macs" else 0.0
        self._terms = list(_terms(network, ties, measure))
        count = ties.count
        self._reads = [
            None if t.reads is None else np.bincount(t.reads, minlength=count) for t in self._terms
        ]
        self._writes = [np.bincount(t.writes, minlength=count) for t in self._terms]
        self._factor = np.array([t.factor for t in self._terms])
        self._in = np.array([1.0 if r is None else r.sum() for r in self._reads])
        self._out = np.array([float(w.sum()) for w in self._writes])
        self._of: dict[int, list[int]] = {}
        for i, term in enumerate(self._terms):
            parts = [term.writes] if term.reads is None else [term.reads, term.writes]
            for c in np.unique(np.concatenate(parts)).tolist():
                self._of.setdefault(c, []).append(i)

    @property
    def total(self) -> float:
        return self._base + float((self._factor * self._in * self._out).sum())

    def remove(self, c: int) -> None:
        """Count class `c` as gone."""
        for i in self._of.get(c, []):
            reads = self._reads[i]
            if reads is not None:
                self._in[i] -= reads[c]
            self._out[i] -= self._writes[i][c]

    def savings(self) -> Floats:
        """What removing each class alone would save now."""
        saved = np.zeros(len(self._writes[0]) if self._writes else 0)
        for i, factor in enumerate(self._factor):
            writes, reads = self._writes[i], self._reads[i]
            saved += factor * self._in[i] * writes
            if reads is not None:
                saved += factor * self._out[i] * reads - factor * reads * writes
        return saved


def _terms(network: Network, ties: Ties, measure: str) -> Iterable[_Term]:
    seen: set[str] = set()
    for step in network.steps:
        first = f"{type(step).__name__} {step.layer}" not in seen
        seen.add(f"{type(step).__name__} {step.layer}")
        if measure != "macs" and not first:
            continue  # A layer that is called twice has its weights once.
        match step:
            case Mix() | Depthwise():
                positions = step.kernel.shape[0]
                reads = ties.classes[step.source] if isinstance(step, Mix) else None
                writes = ties.classes[step.target]
                times = step.places if measure == "macs" else 1
                yield _Term(positions * times, reads, writes)
                if measure == "bytes" or (measure == "parameters" and step.bias is not None):
                    yield _Term(4 if measure == "bytes" else 1, None, writes)
            case Affine() | Each() if step.parameters and measure == "parameters":
                yield _Term(step.parameters, None, ties.classes[step.target])
            case _:
                pass


def smallest(network: Network, ties: Ties, measure: str) -> float:
    """What is left in `measure` when all classes go that may."""
    costs, limits = Costs(network, ties, measure), Limits(ties)
    order = np.argsort(-costs.savings(), kind="stable")
    for c in order.tolist():
        if not ties.stays[c] and limits.take(c):
            costs.remove(c)
    return costs.total


def choose(
    network: Network, ties: Ties, importance: Floats, measure: str, goal: float
) -> frozenset[int]:
    """Classes to remove until the cost in `measure` is at most `goal`.

    Those go first that have the least importance for what they save. No tensor loses more than
    half of its channels before all others have lost as much.
    """
    costs = Costs(network, ties, measure)
    saved = costs.savings()
    worth = np.where(saved > 0, importance / np.maximum(saved, 1e-300), np.inf)
    order = [c for c in np.argsort(worth, kind="stable").tolist() if not ties.stays[c]]
    gone: list[int] = []
    for share in (0.5, 1.0):
        limits = Limits(ties, share)
        for c in gone:
            limits.take(c)
        for c in order:
            if costs.total <= goal:
                return frozenset(gone)
            if c not in gone and np.isfinite(worth[c]) and limits.take(c):
                costs.remove(c)
                gone.append(c)
    return frozenset(gone)
