"""The channels of a network: which belong together, what each can be, which can go.

A network is a list of steps between numbered tensors whose last axis is the channels. Steps that
work on each channel by itself, or join channel i of one tensor with channel i of another, tie
channels together: such a class of channels is removed as a whole or not at all. What reads a
channel is a Mix: a convolution's or dense layer's sum over its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    """Each channel of `source` becomes m of `target`; `kernel` is [positions, in, m]."""

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
