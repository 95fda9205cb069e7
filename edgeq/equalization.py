"""Channels scaled between layers, so that all of an activation use the steps that they share.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and
Bias Correction", ICCV 2019, arXiv:1906.04721, section 4.1: what computes a channel is divided by a
factor, what reads it is multiplied by the same one, and the network computes what it did. It
differs in three ways. The channels' ranges are measured, where the paper infers them from weights:
where each row of weights has a scale of its own, no factor of a row matters. Factors are powers of
two, so that float rounds as before, and outputs stay equal to the last bit. And all activations
that must have the same factors, as those that residual connections add, are scaled together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import Graph, Op
from edgeq.tflite.constants import lone_constants, with_constants

NAME = "equalization"
"""In repairs.REPAIRS."""

_MOST = 10
"""Of the exponent of a factor, either way: 60 dB."""

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_POINTWISE = ("LEAKY_RELU", "PRELU", "RELU", "RESHAPE")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_REDUCTIONS = ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")
_SUMS = ("ADD", "SUB")

Spans = Mapping[int, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(minima, maxima) of the channels of activations, by tensor index."""


@dataclass(frozen=True)
class Group:
    """Activations whose channels have the same factors, and which nothing else hinders.

    `channels` factors repeat along the last dimension of each of the `tensors`. `writers` and
    `readers` are the layers whose weights take them up, as indexes of operators.
    """

    channels: int
    tensors: tuple[int, ...]
    writers: tuple[int, ...]
    readers: tuple[int, ...]


@dataclass(frozen=True)
class Equalized:
    """`tflite` computes what the original did; `factors` are what the channels of its activations
    were divided by, by tensor index; `layers` are the names of the outputs scaled by weights."""

    tflite: bytes
    factors: Mapping[int, NDArray[np.float64]]
    layers: tuple[str, ...]


def find_groups(graph: Graph) -> list[Group]:
    """What can be scaled: activations between layers with weights.

    Only through operators for which f(a x) = a f(x) for a > 0, channel by channel: ReLU and its
    leaky kin, pooling, means, sums, reshaping. ReLU6 is none: it would have to cut each channel off
    at another value, and int8 has no such operator. Nor are inputs and outputs of the model.
    """
    return _Search(graph).groups()


class _Search:
    """Union of the activations that share factors."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._tensors = graph, graph.main.tensors
        self._lone = lone_constants(graph)
        self._parents: dict[int, int] = {}
        self._periods: dict[int, int] = {}
        self._frozen: set[int] = {*graph.main.inputs, *graph.main.outputs}
        self._layers: list[Op] = []
        for op in graph.main.ops:
            self._visit(op)

    def groups(self) -> list[Group]:
        frozen = {self._root(i) for i in self._frozen}
        members: dict[int, list[int]] = {}
        for index in sorted(self._parents):
            members.setdefault(self._root(index), []).append(index)
        found = []
        for root, tensors in members.items():
            writers = [op.index for op in self._layers if self._root(op.outputs[0]) == root]
            readers = [op.index for op in self._layers if self._root(op.inputs[0]) == root]
            if root not in frozen and self._periods[root] > 1 and writers and readers:
                group = Group(self._periods[root], tuple(tensors), tuple(writers), tuple(readers))
                found.append(group)
        return found

    def _visit(self, op: Op) -> None:
        activations = [i for i in op.tensors if not self._tensors[i].is_constant]
        cuts = op.options.get("activation", "NONE") not in ("NONE", "RELU")
        if op.name in _WEIGHTED and self._is_layer(op):
            self._layers.append(op)
            self._narrow(op.inputs[0], self._tensors[op.inputs[1]].shape[-1])
            if cuts:
                self._frozen.add(op.outputs[0])
        elif self._commutes(op) and not cuts:
            for index in activations:
                self._join(activations[0], index)
        else:
            self._frozen.update(activations)

    def _is_layer(self, op: Op) -> bool:
        """Whether its weights, and its bias, can take factors on either side."""
        shape = self._tensors[op.inputs[1]].shape
        read, made = (self._tensors[i] for i in (op.inputs[0], op.outputs[0]))
        for index in op.inputs[1:]:
            constant = self._tensors[index] if index >= 0 else None
            if constant is None:
                continue
            if constant.dtype != "float32" or constant.data is None or constant.is_sparse:
                return False
            if index not in self._lone and constant.data.any():
                return False
        if read.dtype != "float32" or read.is_constant or not read.shape or not made.shape:
            return False
        if op.name == "DEPTHWISE_CONV_2D":
            return shape[-1] % read.shape[-1] == 0
        if op.name == "CONV_2D":
            return shape[-1] == read.shape[-1]
        return len(shape) == 2 and not op.options.get("weights_format")

    def _commutes(self, op: Op) -> bool:
        tensors = [self._tensors[i] for i in op.tensors]
        if any(not t.shape or t.dtype != "float32" for t in tensors if not t.is_constant):
            return False
        if any(self._tensors[i].is_constant for i in op.outputs) or len(op.outputs) != 1:
            return False
        first, made = tensors[0], tensors[-1]
        if first.is_constant:
            return False
        if op.name in _POINTWISE or op.name in _POOLS:
            return all(t.is_constant for t in tensors[1:-1])
        if op.name in _REDUCTIONS:
            axes = tensors[1].data
            return (
                axes is not None
                and first.shape[-1] == made.shape[-1]
                and all(int(a) % len(first.shape) != len(first.shape) - 1 for a in axes.flat)
            )
        if op.name == "PAD":
            return tensors[1].is_constant and first.shape[-1] == made.shape[-1]
        return op.name in _SUMS and not any(t.is_constant or t.shape != made.shape for t in tensors)

    def _root(self, index: int) -> int:
        if index not in self._parents:
            self._parents[index] = index
            shape = self._tensors[index].shape
            self._periods[index] = shape[-1] if shape else 1
        while self._parents[index] != index:
            index = self._parents[index]
        return index

    def _narrow(self, index: int, period: int) -> None:
        """Factors that repeat after the last dimension's length, and after `period`, too."""
        root = self._root(index)
        self._periods[root] = math.gcd(self._periods[root], period)

    def _join(self, a: int, b: int) -> None:
        first, second = self._root(a), self._root(b)
        if first != second:
            self._parents[second] = first
            self._narrow(first, self._periods[second])


def equalized(
    tflite: bytes, graph: Graph, groups: Sequence[Group], spans: Spans
) -> Equalized | None:
    """The float model `tflite`, whose `graph` and `groups` these are, with channels scaled.

    `spans` are measured. None when every factor would be 1.
    """
    factors: dict[int, NDArray[np.float64]] = {}
    scaled: set[int] = set()
    for group in groups:
        of_group = _factors(graph, group, spans)
        if of_group is None:
            continue
        scaled.update(group.writers)
        for index in group.tensors:
            repeats = graph.main.tensors[index].shape[-1] // group.channels
            factors[index] = np.tile(of_group, repeats)
    if not factors:
        return None
    changed: dict[int, NDArray[np.float64]] = {}
    for op in graph.main.ops:
        if op.name in _WEIGHTED and (op.inputs[0] in factors or op.outputs[0] in factors):
            changed.update(_scaled(graph, op, factors))
    layers = [graph.main.tensors[graph.main.ops[i].outputs[0]].name for i in sorted(scaled)]
    return Equalized(with_constants(tflite, changed), factors, tuple(layers))


def _factors(graph: Graph, group: Group, spans: Spans) -> NDArray[np.float64] | None:
    """Powers of two, their mean exponent about 0. None when all are 1.

    A channel that reaches far and is read by small weights gains as a weight what it loses as an
    activation: the factor that makes both equal is the root of their ratio, as in the paper. The
    weights of a depthwise convolution have a scale for each channel, and none to share.
    """
    tensors = graph.main.tensors
    reach: NDArray[np.float64] = np.zeros(group.channels)
    for index in group.tensors:
        if index not in spans:
            return None
        low, high = (s.astype(np.float64).reshape(-1, group.channels) for s in spans[index])
        reach = np.maximum(reach, np.maximum(-low.min(0), high.max(0)))
    weight: NDArray[np.float64] = np.zeros(group.channels)
    for op in (graph.main.ops[i] for i in group.readers):
        data = tensors[op.inputs[1]].data
        if op.name == "DEPTHWISE_CONV_2D" or data is None:
            continue
        rows = np.abs(data.astype(np.float64)).reshape(data.shape[0], -1)
        rows = rows / np.maximum(rows.max(1, keepdims=True), np.finfo(np.float64).tiny)
        weight += np.mean(rows.reshape(-1, group.channels) ** 2, axis=0)
    known = reach > 0
    wanted = np.where(known, reach, 1.0)
    if weight.any():
        known &= weight > 0
        wanted = np.sqrt(wanted / np.sqrt(np.where(known, weight, 1.0)))
    if not known.any():
        return None
    exponents = np.log2(wanted)
    exponents = np.round(np.where(known, exponents - exponents[known].mean(), 0.0))
    if not exponents.any():
        return None
    made: NDArray[np.float64] = np.exp2(np.clip(exponents, -_MOST, _MOST))
    return made


def _scaled(
    graph: Graph, op: Op, factors: Mapping[int, NDArray[np.float64]]
) -> dict[int, NDArray[np.float64]]:
    """The constants of a layer that reads or makes activations with `factors`, by index."""
    weights = graph.main.tensors[op.inputs[1]]
    assert weights.data is not None
    data = weights.data.astype(np.float64)
    changed = {}
    if op.inputs[0] in factors:
        factor = factors[op.inputs[0]]
        if op.name == "DEPTHWISE_CONV_2D":
            factor = np.repeat(factor, data.shape[-1] // factor.size)
        elif data.shape[-1] != factor.size:
            factor = np.resize(factor, data.shape[-1])
        data = data * factor
    if op.outputs[0] in factors:
        factor = factors[op.outputs[0]]
        along = (-1,) if op.name == "DEPTHWISE_CONV_2D" else (-1,) + (1,) * (data.ndim - 1)
        data = data / factor.reshape(along)
        for bias in (graph.main.tensors[i] for i in op.inputs[2:] if i >= 0):
            if bias.data is not None and bias.data.any():
                changed[bias.index] = bias.data.astype(np.float64) / factor
    if data.any():
        changed[weights.index] = data
    return changed
