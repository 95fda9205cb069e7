"""What the channels of a network can be, and which of them have no effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.channels.costs import Limits
from edgeq.channels.network import (
    Affine,
    Concat,
    Depthwise,
    Each,
    Entry,
    Floats,
    Join,
    Keep,
    Mix,
    Network,
    Ties,
    Tile,
)

Interval = tuple[Floats, Floats]


@dataclass(frozen=True)
class Dead:
    """Classes of channels that can go with no effect, once `biases` are added.

    `biases` holds what each Mix, by its index among the steps, gets added to its bias.
    """

    classes: frozenset[int]
    biases: Mapping[int, Floats]


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
    limits = Limits(ties)
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
