"""Channels taken out of a graph that cannot change its outputs: no byte of these differs.

A channel goes when all inputs that there are give it one value (interval arithmetic, from the
weights) and its reader can have that value in its bias, or when no weight of its reader looks at
it. Training with ReLU leaves many of both. Depthwise convolutions and pools hand a channel on,
so one goes with its successors or not at all.

A chain of int8 layers is followed, each the only reader of the one before; whatever else there is
keeps all its channels. Accumulators wrap, here and in the kernels, so their order means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import quantization
from edgeq.codegen.aot.multipliers import activation_range, channel_scales, requantize_pairs
from edgeq.codegen.aot.windows import window
from edgeq.graph import Graph, Op, Quantization, Subgraph, Tensor

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

_PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
_CARRIERS = ("DEPTHWISE_CONV_2D", *_POOLS, "RESHAPE")
"""Those whose output channel c is made of input channel c alone."""

_LIMIT = (1 << 31) - 256
"""Accumulators beyond it, which could wrap when they are shifted or moved to the zero point, are
not followed."""


@dataclass(frozen=True)
class _Range:
    """The least and the greatest stored value that each channel can have."""

    low: Integers
    high: Integers

    @property
    def is_constant(self) -> Mask:
        return np.asarray(self.low == self.high)


def prune(graph: Graph) -> Graph:
    """`graph` without the channels of its main subgraph that cannot matter."""
    main = graph.main
    ranges = _ranges(main)
    kept = _kept(main, ranges)
    if not kept:
        return graph
    tensors = list(main.tensors)
    for op in main.ops:
        for tensor in _cut(main, op, kept, ranges):
            tensors[tensor.index] = tensor
    for index, mask in kept.items():
        shape = (*main.tensors[index].shape[:-1], int(mask.sum()))
        tensors[index] = replace(main.tensors[index], shape=shape)
    pruned = replace(main, tensors=tuple(tensors))
    return replace(graph, subgraphs=(pruned, *graph.subgraphs[1:]))


def kept_channels(graph: Graph) -> dict[int, Mask]:
    """Which channels (along the last axis) `prune` leaves, for tensors that lose any."""
    return _kept(graph.main, _ranges(graph.main))


# --- What values a channel can have --------------------------------------------------------------


def _ranges(subgraph: Subgraph) -> dict[int, _Range]:
    """By tensor, for those that are worth following."""
    found: dict[int, _Range] = {}
    for op in subgraph.ops:
        if not _is_followed(subgraph, op):
            continue
        input, output = subgraph.tensors[op.inputs[0]], subgraph.tensors[op.outputs[0]]
        before = found.get(input.index) or _full(input.shape[-1])
        if op.name in _PRODUCTS:
            found[output.index] = _product_range(subgraph, op, before)
        elif op.name in _POOLS:
            low, high = activation_range(op, output, str(op.options["activation"]))
            limits = (before.low.clip(low, high), before.high.clip(low, high))
            found[output.index] = _Range(*limits)
        else:
            found[output.index] = before
    return found


def _full(channels: int) -> _Range:
    return _Range(np.full(channels, -128, np.int64), np.full(channels, 127, np.int64))


def _product_range(subgraph: Subgraph, op: Op, before: _Range) -> _Range:
    input, weights, output = (subgraph.tensors[i] for i in (*op.inputs[:2], op.outputs[0]))
    zero_point = quantization(op, input).zero_point
    low, high = before.low - zero_point, before.high - zero_point
    if _is_padded(subgraph, op):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    up, down = (
        _summed(op, np.maximum(_values(weights), 0)),
        _summed(op, np.minimum(_values(weights), 0)),
    )
    bias = _bias(subgraph, op, output.shape[-1])
    if op.name == "DEPTHWISE_CONV_2D":
        least, most = bias + up * low + down * high, bias + up * high + down * low
    else:
        least, most = bias + up @ low + down @ high, bias + up @ high + down @ low
    multipliers, shifts = requantize_pairs(op, channel_scales(op, input, weights, output))
    limits = activation_range(op, output, str(op.options["activation"]))
    offset = quantization(op, output).zero_point
    ends = [_requantized(a, multipliers, shifts, offset, limits) for a in (least, most)]
    left = np.maximum(shifts.astype(np.int64), 0)
    is_safe = (np.maximum(np.abs(least), np.abs(most)) << left) < _LIMIT
    return _Range(np.where(is_safe, ends[0], limits[0]), np.where(is_safe, ends[1], limits[1]))


def _requantized(
    accumulators: Integers,
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int8],
    zero_point: int,
    limits: tuple[int, int],
) -> Integers:
    """eq_requantize of eq_requantize.h, for accumulators within `_LIMIT`, shifted or not."""
    shift = shifts.astype(np.int64)
    inside = accumulators.clip(-_LIMIT, _LIMIT) << np.maximum(shift, 0)
    product = (inside.clip(-_LIMIT, _LIMIT) * multipliers.astype(np.int64) + (1 << 30)) >> 31
    lowered = product + (product >> 31)
    halved = ((lowered >> np.maximum(-shift - 1, 0)) + 1) >> 1
    scaled = np.where(shift < 0, halved, product)
    return np.asarray((scaled + zero_point).clip(*limits), np.int64)


def _is_padded(subgraph: Subgraph, op: Op) -> bool:
    """Whether a window can lie over the edge of the image, where it sees zero points."""
    if op.name == "FULLY_CONNECTED":
        return False
    input, output = subgraph.tensors[op.inputs[0]], subgraph.tensors[op.outputs[0]]
    height, width = subgraph.tensors[op.inputs[1]].shape[1:3]
    shape = window(op, input, output, height, width)
    return any(
        (shape.output[i] - 1) * shape.stride[i] + (shape.kernel[i] - 1) * shape.dilation[i] + 1
        > shape.input[i]
        for i in (0, 1)
    )


# --- Which channels stay ------------------------------------------------------------------------


def _kept(subgraph: Subgraph, ranges: dict[int, _Range]) -> dict[int, Mask]:
    """By tensor, for those that lose channels."""
    may_shrink = _may_shrink(subgraph)
    kept: dict[int, Mask] = {}
    for op in reversed(subgraph.ops):
        index = op.inputs[0] if op.inputs else -1
        if index not in may_shrink:
            continue
        needed = _needed(subgraph, op, ranges[index], kept)
        if not needed.any():
            needed[0] = True
        if not needed.all():
            kept[index] = needed
    return kept


def _may_shrink(subgraph: Subgraph) -> set[int]:
    """Tensors between two layers that both can do with fewer channels of them."""
    readers: dict[int, int] = {}
    for op in subgraph.ops:
        for index in op.inputs:
            readers[index] = readers.get(index, 0) + 1
    found: set[int] = set()
    sources: set[int] = set()
    for op in subgraph.ops:
        if not _is_followed(subgraph, op) or not all(
            readers[i] == 1 for i in op.inputs[1:3] if i >= 0 and op.name in _PRODUCTS
        ):
            continue
        input, output = op.inputs[0], op.outputs[0]
        if input in sources and readers[input] == 1 and input not in subgraph.outputs:
            found.add(input)
        if op.name not in _CARRIERS or input in found:
            sources.add(output)
    return found


def _needed(subgraph: Subgraph, op: Op, before: _Range, kept: dict[int, Mask]) -> Mask:
    """The channels of its input that `op` has to see."""
    output = subgraph.tensors[op.outputs[0]]
    wanted = kept.get(output.index, np.ones(output.shape[-1], np.bool_))
    if op.name in _CARRIERS:
        return wanted.copy()
    weights = _values(subgraph.tensors[op.inputs[1]])
    seen = (weights[wanted].reshape(int(wanted.sum()), -1, weights.shape[-1]) != 0).any((0, 1))
    is_known = before.is_constant
    if _is_padded(subgraph, op) or not _has_bias(op):
        is_known = is_known & (
            before.low == quantization(op, subgraph.tensors[op.inputs[0]]).zero_point
        )
    return np.asarray(seen & ~is_known)


# --- The layers without them --------------------------------------------------------------------


def _cut(
    subgraph: Subgraph, op: Op, kept: dict[int, Mask], ranges: dict[int, _Range]
) -> list[Tensor]:
    """The constants of `op` without what its tensors lose."""
    input, output = op.inputs[0] if op.inputs else -1, op.outputs[0] if op.outputs else -1
    if op.name not in _PRODUCTS or not (input in kept or output in kept):
        return []
    weights = subgraph.tensors[op.inputs[1]]
    values = np.asarray(weights.data)
    out = kept.get(output, np.ones(subgraph.tensors[output].shape[-1], np.bool_))
    if op.name == "DEPTHWISE_CONV_2D":
        bias = _bias(subgraph, op, len(out))[out]
        values = values[..., out]
    else:
        into = kept.get(input, np.ones(values.shape[-1], np.bool_))
        bias = _bias(subgraph, op, len(out))
        if input in kept:
            gone = ranges[input].low - quantization(op, subgraph.tensors[input]).zero_point
            bias = bias + _summed(op, _values(weights)) @ np.where(into, 0, gone)
        bias = bias[out]
        values = values[out][..., into]
    made = [
        replace(
            weights,
            shape=values.shape,
            data=np.ascontiguousarray(values),
            quantization=_chosen(weights.quantization, out),
        )
    ]
    if _has_bias(op):
        tensor = subgraph.tensors[op.inputs[2]]
        wrapped = bias.astype(np.uint32).view(np.int32)
        facts = _chosen(tensor.quantization, out)
        made.append(replace(tensor, shape=wrapped.shape, data=wrapped, quantization=facts))
    return made


def _chosen(facts: Quantization | None, channels: Mask) -> Quantization | None:
    if facts is None or not facts.per_channel:
        return facts
    picked = np.flatnonzero(channels)
    zero_points = facts.zero_points
    return replace(
        facts,
        scales=tuple(facts.scales[i] for i in picked),
        zero_points=tuple(zero_points[i] for i in picked) if len(zero_points) > 1 else zero_points,
    )


# --- What an operator is ------------------------------------------------------------------------


def _is_followed(subgraph: Subgraph, op: Op) -> bool:
    """Whether `op` is a layer in the form that this module knows."""
    if op.name not in (*_PRODUCTS, *_CARRIERS) or len(op.outputs) != 1:
        return False
    if not op.inputs or op.inputs[0] < 0:
        return False
    input, output = subgraph.tensors[op.inputs[0]], subgraph.tensors[op.outputs[0]]
    if not _is_activation(input) or not _is_activation(output):
        return False
    if op.name not in _PRODUCTS:
        return input.shape[-1] == output.shape[-1]
    return _is_product(subgraph, op, input, output)


def _is_activation(tensor: Tensor) -> bool:
    return (
        tensor.dtype == "int8"
        and not tensor.is_constant
        and not tensor.is_variable
        and len(tensor.shape) > 0
        and tensor.elements > 0
        and tensor.quantization is not None
        and not tensor.quantization.per_channel
    )


def _is_product(subgraph: Subgraph, op: Op, input: Tensor, output: Tensor) -> bool:
    before, after = input.shape[-1], output.shape[-1]
    constants = [subgraph.tensors[i] for i in op.inputs[1:3] if i >= 0]
    types = [t.dtype for t in constants if t.is_constant]
    if types not in (["int8"], ["int8", "int32"]) or len(types) != len(constants):
        return False
    weights = constants[0]
    is_image = op.name != "FULLY_CONNECTED"
    if len(weights.shape) != (4 if is_image else 2):
        return False
    if is_image and not len(input.shape) == len(output.shape) == 4:
        return False
    facts = weights.quantization
    if facts is None or any(facts.zero_points) or len(facts.scales) not in (1, after):
        return False
    if len(constants) == 2 and constants[1].elements != after:
        return False
    if op.name == "DEPTHWISE_CONV_2D":
        return weights.shape[-1] == before == after
    return weights.shape[0] == after and weights.shape[-1] == before


def _has_bias(op: Op) -> bool:
    return len(op.inputs) > 2 and op.inputs[2] >= 0


def _bias(subgraph: Subgraph, op: Op, channels: int) -> Integers:
    if not _has_bias(op):
        return np.zeros(channels, np.int64)
    return np.asarray(subgraph.tensors[op.inputs[2]].data).reshape(-1).astype(np.int64)


def _values(tensor: Tensor) -> Integers:
    return np.asarray(tensor.data).astype(np.int64)


def _summed(op: Op, values: NDArray[Any]) -> Integers:
    """Over the taps: by output and input channel, or by channel for a depthwise convolution."""
    if op.name == "DEPTHWISE_CONV_2D":
        return np.asarray(values.reshape(-1, values.shape[-1]).sum(axis=0))
    return np.asarray(values.reshape(values.shape[0], -1, values.shape[-1]).sum(axis=1))
