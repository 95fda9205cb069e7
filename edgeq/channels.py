"""The channels of a network: which belong together, what each can be, which can go.

A network is a list of steps between numbered tensors whose last axis is the channels. Steps that
work on each channel by itself, or join channel i of one tensor with channel i of another, tie
channels together: such a class of channels is removed as a whole or not at all. What reads a
channel is a Mix: a convolution's or dense layer's sum over its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[Floats, Floats]

MEASURES = ("parameters", "bytes", "macs")
"""What a network's size is counted in; bytes are those of int8 weights and int32 biases."""


@dataclass(frozen=True)
class Entry:
    """New channels that stay: an input, or an output of something that is not understood."""

    layer: str
    target: int


@dataclass(frozen=True)
class Mix:
    """Every channel of `target` is a sum over all channels of `source`, weighted by `kernel`.

    `kernel` is [positions, in, out], `bias` [out]. `places` is how often the kernel is applied for
    one inference. `padded`: where the kernel hangs over an edge, it reads zeros.
    """

    layer: str
    source: int
    target: int
    kernel: NDArray[Any] = field(repr=False)
    bias: NDArray[Any] | None = field(repr=False)
    places: int
    padded: bool


@dataclass(frozen=True)
class Depthwise:
    """Each channel of `source` becomes `kernel.shape[2]` of `target`; `kernel` [positions, in, m]."""

    layer: str
    source: int
    target: int
    kernel: NDArray[Any] = field(repr=False)
    bias: NDArray[Any] | None = field(repr=False)
    places: int
    padded: bool


@dataclass(frozen=True)
class Affine:
    """scale * x + offset, each [channels], as batch normalization at inference."""

    layer: str
    source: int
    target: int
    scale: NDArray[Any] = field(repr=False)
    offset: NDArray[Any] = field(repr=False)
    parameters: int = 4
    """Trained and learnt numbers for each channel."""


@dataclass(frozen=True)
class Each:
    """`function` of each number; or, without one, numbers between those of the same channel.

    Pooling and up-sampling have no function. `opaque`: nothing is known of the values.
    `parameters` counts those for each channel, `padded` says that zeros are added.
    """

    layer: str
    source: int
    target: int
    function: Callable[[Floats], Floats] | None = None
    monotone: bool = True
    opaque: bool = False
    padded: bool = False
    parameters: int = 0


@dataclass(frozen=True)
class Tile:
    """Channels one after the other, `times` over, as flattening does."""

    layer: str
    source: int
    target: int
    times: int


@dataclass(frozen=True)
class Join:
    """Channel i of all `sources` becomes channel i: add, subtract, multiply, average, maximum or
    minimum."""

    layer: str
    sources: tuple[int, ...]
    target: int
    how: str


@dataclass(frozen=True)
class Concat:
    layer: str
    sources: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Keep:
    """Something reads `source` in a way that is not understood, or it is an output."""

    layer: str
    source: int


Step = Entry | Mix | Depthwise | Affine | Each | Tile | Join | Concat | Keep


@dataclass(frozen=True)
class Network:
    """`steps` in an order in which they can run; `widths` is the channels of each tensor.

    `others` are parameters that no step counts.
    """

    steps: tuple[Step, ...]
    widths: Mapping[int, int]
    others: int = 0


@dataclass(frozen=True)
class Ties:
    """The class of each channel, by tensor; classes are numbered from 0 to `count` - 1.

    `stays[c]` says that class c cannot be removed.
    """

    classes: Mapping[int, NDArray[np.int64]]
    stays: NDArray[np.bool_]

    @property
    def count(self) -> int:
        return len(self.stays)


@dataclass(frozen=True)
class Dead:
    """Classes of channels that can go with no effect, once `biases` are added.

    `biases` holds what each Mix, by its index among the steps, gets added to its bias.
    """

    classes: frozenset[int]
    biases: Mapping[int, Floats]


def ties_of(network: Network) -> Ties:
    """Which channels of `network` can only be removed together."""
    parent: list[int] = []
    stays: list[bool] = []
    ids: dict[int, NDArray[np.int64]] = {}

    def fresh(count: int, pinned: bool) -> NDArray[np.int64]:
        start = len(parent)
        parent.extend(range(start, start + count))
        stays.extend([pinned] * count)
        return np.arange(start, start + count)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def tie(left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        for a, b in zip(left, right, strict=True):
            ra, rb = root(int(a)), root(int(b))
            low, high = min(ra, rb), max(ra, rb)
            parent[high] = low
            stays[low] = stays[low] or stays[high]

    def put(tensor: int, channels: NDArray[np.int64]) -> None:
        if tensor in ids:  # A layer that is called twice has one set of output channels.
            tie(ids[tensor], channels)
        else:
            ids[tensor] = channels

    outputs: dict[str, NDArray[np.int64]] = {}
    inputs: dict[str, NDArray[np.int64]] = {}
    for step in network.steps:
        match step:
            case Entry():
                put(step.target, fresh(network.widths[step.target], True))
            case Mix():
                key = f"{step.layer}/mix"
                if key in outputs:
                    tie(inputs[key], ids[step.source])
                else:
                    outputs[key] = fresh(network.widths[step.target], False)
                    inputs[key] = ids[step.source]
                put(step.target, outputs[key])
            case Depthwise():
                _share(inputs, f"{step.layer}/depthwise", ids[step.source], tie)
                put(step.target, np.repeat(ids[step.source], step.kernel.shape[2]))
            case Affine() | Each():
                if step.parameters:
                    _share(inputs, f"{step.layer}/each", ids[step.source], tie)
                put(step.target, ids[step.source])
            case Tile():
                put(step.target, np.tile(ids[step.source], step.times))
            case Join():
                for other in step.sources[1:]:
                    tie(ids[step.sources[0]], ids[other])
                put(step.target, ids[step.sources[0]])
            case Concat():
                put(step.target, np.concatenate([ids[s] for s in step.sources]))
            case Keep():
                for i in ids[step.source]:
                    stays[root(int(i))] = True
    roots = np.array([root(i) for i in range(len(parent))], np.int64)
    named, numbers = np.unique(roots, return_inverse=True)
    return Ties(
        {tensor: numbers[channels] for tensor, channels in ids.items()},
        np.array([stays[r] for r in named], bool),
    )


def _share(
    inputs: dict[str, NDArray[np.int64]],
    key: str,
    channels: NDArray[np.int64],
    tie: Callable[[NDArray[np.int64], NDArray[np.int64]], None],
) -> None:
    if key in inputs:
        tie(inputs[key], channels)
    inputs[key] = channels


# --- What channels can be ------------------------------------------------------------------------


def intervals_of(network: Network) -> dict[int, Interval]:
    """The lowest and highest value that each channel can have, whatever the input, by tensor.

    Interval arithmetic in float64, so equal ends are a constant up to float32's rounding.
    """
    found: dict[int, Interval] = {}
    for step in network.steps:
        match step:
            case Entry():
                width = network.widths[step.target]
                found[step.target] = np.full(width, -np.inf), np.full(width, np.inf)
            case Mix():
                kernel = _with_edges(step.kernel, found[step.source], step.padded)
                terms = [_times(k, interval) for k, interval in kernel]
                found[step.target] = _plus_bias(
                    sum(low.sum(0) for low, _ in terms),
                    sum(high.sum(0) for _, high in terms),
                    step.bias,
                )
            case Depthwise():
                kernel = _with_edges(step.kernel, found[step.source], step.padded)
                terms = [_times(k, interval) for k, interval in kernel]
                found[step.target] = _plus_bias(
                    sum(low.reshape(-1) for low, _ in terms),
                    sum(high.reshape(-1) for _, high in terms),
                    step.bias,
                )
            case Affine():
                scaled = _times(np.asarray(step.scale)[:, None], found[step.source])
                found[step.target] = _plus_bias(scaled[0][:, 0], scaled[1][:, 0], step.offset)
            case Each():
                found[step.target] = _each(step, found[step.source])
            case Tile():
                low, high = found[step.source]
                found[step.target] = np.tile(low, step.times), np.tile(high, step.times)
            case Join():
                found[step.target] = _JOINS[step.how]([found[s] for s in step.sources])
            case Concat():
                parts = [found[s] for s in step.sources]
                found[step.target] = (
                    np.concatenate([p[0] for p in parts]),
                    np.concatenate([p[1] for p in parts]),
                )
            case Keep():
                pass
    return found


def _with_edges(
    kernel: NDArray[Any], interval: Interval, padded: bool
) -> list[tuple[Floats, Interval]]:
    """The kernel's positions, each with what it reads: zeros, too, where it is `padded`."""
    low, high = interval
    if padded:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return [(k.astype(np.float64), (low, high)) for k in kernel]


def _times(factor: Floats, interval: Interval) -> Interval:
    """factor [in, out] times each channel's interval [in]; 0 times infinity is 0."""
    low, high = interval[0][:, None], interval[1][:, None]
    with np.errstate(invalid="ignore"):
        first = np.where(factor == 0, 0.0, factor * low)
        second = np.where(factor == 0, 0.0, factor * high)
    return np.minimum(first, second), np.maximum(first, second)


def _plus_bias(low: Any, high: Any, bias: NDArray[Any] | None) -> Interval:
    added = 0.0 if bias is None else bias.astype(np.float64)
    return _ordered(low + added, high + added)


def _ordered(low: Floats, high: Floats) -> Interval:
    """The same, where it makes sense; else anything."""
    sense = ~(np.isnan(low) | np.isnan(high)) & (low <= high)
    return np.where(sense, low, -np.inf), np.where(sense, high, np.inf)


def _each(step: Each, interval: Interval) -> Interval:
    low, high = interval
    if step.opaque:
        return np.full_like(low, -np.inf), np.full_like(high, np.inf)
    if step.function is not None:
        if step.monotone:
            low, high = step.function(low), step.function(high)
        else:
            constant = (low == high) & np.isfinite(low)
            value = step.function(np.where(constant, low, 0.0))
            low, high = np.where(constant, value, -np.inf), np.where(constant, value, np.inf)
    if step.padded:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return _ordered(low, high)


def _added(parts: list[Interval]) -> Interval:
    return _ordered(sum(p[0] for p in parts), sum(p[1] for p in parts))  # type: ignore[arg-type]


def _subtracted(parts: list[Interval]) -> Interval:
    (low, high), (other_low, other_high) = parts
    return _ordered(low - other_high, high - other_low)


def _multiplied(parts: list[Interval]) -> Interval:
    low, high = parts[0]
    for other in parts[1:]:
        with np.errstate(invalid="ignore"):
            ends = [np.where((a == 0) | (b == 0), 0.0, a * b) for a in (low, high) for b in other]
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
    return _ordered(low, high)


def _averaged(parts: list[Interval]) -> Interval:
    low, high = _added(parts)
    return low / len(parts), high / len(parts)


_JOINS: dict[str, Callable[[list[Interval]], Interval]] = {
    "add": _added,
    "subtract": _subtracted,
    "multiply": _multiplied,
    "average": _averaged,
    "maximum": lambda p: (
        np.maximum.reduce([low for low, _ in p]),
        np.maximum.reduce([high for _, high in p]),
    ),
    "minimum": lambda p: (
        np.minimum.reduce([low for low, _ in p]),
        np.minimum.reduce([high for _, high in p]),
    ),
}


def dead_of(network: Network, ties: Ties) -> Dead:
    """The channels that nobody reads, or that are a constant which a bias can hold.

    A constant other than 0 that is read beyond an edge, where zeros stand, cannot go. One channel
    of each tensor stays, for a layer needs one.
    """
    intervals = intervals_of(network)
    can_go = ~ties.stays
    for step in network.steps:
        if isinstance(step, Mix):
            low, high = intervals[step.source]
            constant = (low == high) & np.isfinite(low)
            held = constant & ((low == 0) | (not step.padded))
            unread = ~np.any(step.kernel != 0, axis=(0, 2))
            can_go[ties.classes[step.source][~(held | unread)]] = False
    limits = _Limits(ties)
    gone = frozenset(c for c in np.flatnonzero(can_go).tolist() if limits.take(c))
    biases: dict[int, Floats] = {}
    for index, step in enumerate(network.steps):
        if isinstance(step, Mix) and gone:
            low, _ = intervals[step.source]
            goes = np.isin(ties.classes[step.source], list(gone))
            weights = step.kernel.astype(np.float64).sum(0)
            values = np.where(goes & np.isfinite(low), low, 0.0)
            # A channel that nobody reads has weights of 0 here, whatever its value.
            added = values @ np.where(goes[:, None], weights, 0.0)
            if np.any(added != 0):
                biases[index] = added
    return Dead(gone, biases)


class _Limits:
    """How many classes each tensor may still lose; one always stays."""

    def __init__(self, ties: Ties, share: float = 1.0) -> None:
        self._left: list[int] = []
        self._of: dict[int, list[int]] = {}
        for classes in {
            np.unique(c).tobytes(): np.unique(c) for c in ties.classes.values()
        }.values():
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


# --- What a network costs, and what to remove first ----------------------------------------------


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
    costs, limits = Costs(network, ties, measure), _Limits(ties)
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
        limits = _Limits(ties, share)
        for c in gone:
            limits.take(c)
        for c in order:
            if costs.total <= goal:
                return frozenset(gone)
            if c not in gone and np.isfinite(worth[c]) and limits.take(c):
                costs.remove(c)
                gone.append(c)
    return frozenset(gone)
