"""Biases that make up for what integers do to the mean of a layer's output.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and
Bias Correction", ICCV 2019, arXiv:1906.04721: for a large network by the formula of section 4.2,
from means of the layers' inputs that were measured; for a small one by measuring each layer's
output, in order, with the layers before it corrected (their appendix D).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import Graph, Op, Tensor
from edgeq.tflite import read_graph
from edgeq.tflite.constants import lone_constants, with_constants

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_BIAS = 2
"""Which input of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED it is."""


def with_corrected_biases(
    tflite: bytes, original: Graph, means: Mapping[int, NDArray[np.float64]]
) -> bytes | None:
    """The integer model with every bias less the mean error that its layer's weights cause.

    `original` is the float model, `means` has the mean of each channel of the activations that its
    layers read, by tensor index. Layers are matched by the name of their output; one without a
    bias of its own stays as it is. Only biases change, in place. None when none does.
    """
    graph = read_graph(tflite)
    tensors, lone = graph.main.tensors, lone_constants(graph)
    float_ops = {original.main.tensors[op.outputs[0]].name: op for op in original.main.ops}
    changed = {}
    for op in graph.main.ops:
        twin = float_ops.get(tensors[op.outputs[0]].name)
        if twin is None or twin.name != op.name or len(op.inputs) <= _BIAS or op.inputs[_BIAS] < 0:
            continue
        bias, mean = tensors[op.inputs[_BIAS]], means.get(twin.inputs[0])
        if bias.data is None or mean is None or bias.index not in lone or not bias.quantization:
            continue
        error = _mean_error(op, tensors[op.inputs[1]], original.main.tensors[twin.inputs[1]], mean)
        if error is None or error.shape != bias.shape:
            continue
        change = np.round(error / np.asarray(bias.quantization.scales, np.float64))
        limits = np.iinfo(bias.data.dtype)
        # In float64 the largest int64 would be one too many; half of either range is ample.
        better = np.clip(bias.data - change, limits.min // 2, limits.max // 2)
        changed[bias.index] = better.astype(bias.data.dtype)
    made = with_constants(tflite, changed)
    return made if made != tflite else None


LEAST_ACTIVE = 0.25
"""Share of a channel's values within its ReLU that a bias is taken to move, at least."""


def with_measured_biases(
    tflite: bytes,
    original: Graph,
    wanted: Mapping[int, NDArray[np.float64]],
    measure: Callable[[bytes, int], NDArray[np.float64]],
) -> bytes | None:
    """The integer model with every bias moved until its layer's mean output is that of float.

    `wanted` has values of the `original`'s tensors, rows of channels; `measure` gives those of an
    integer model's tensor, as real numbers, on the same samples. Where a ReLU cuts values off, only
    the others move with the bias, so the step is as much larger. None when no bias changes.
    """
    graph = read_graph(tflite)
    tensors, lone = graph.main.tensors, lone_constants(graph)
    by_name = {t.name: t.index for t in original.main.tensors}
    made = tflite
    for op in weighted_layers(graph):
        values = wanted.get(by_name.get(tensors[op.outputs[0]].name, -1))
        bias = tensors[op.inputs[_BIAS]] if len(op.inputs) > _BIAS else None
        if values is None or bias is None or bias.data is None or bias.index not in lone:
            continue
        scales = np.asarray(bias.quantization.scales if bias.quantization else (), np.float64)
        if scales.size not in (1, bias.data.size) or bias.shape != values.shape[-1:]:
            continue
        step = values.mean(0) - measure(made, op.outputs[0]).mean(0)
        if op.options.get("activation", "NONE") != "NONE":
            inside = (values > values.min(0)) & (
                values < _CEILING.get(op.options["activation"], np.inf)
            )
            step = step / np.maximum(inside.mean(0), LEAST_ACTIVE)
        limits = np.iinfo(bias.data.dtype)
        moved = np.clip(bias.data + np.round(step / scales), limits.min // 2, limits.max // 2)
        made = with_constants(made, {bias.index: moved.astype(bias.data.dtype)})
    return made if made != tflite else None


_CEILING = {"RELU6": 6.0, "RELU_N1_TO_1": 1.0}


def weighted_layers(graph: Graph) -> list[Op]:
    """What with_measured_biases() can correct."""
    return [op for op in graph.main.ops if op.name in _WEIGHTED]


def _mean_error(
    op: Op, stored: Tensor, weights: Tensor, mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Of each output channel: what the weights' rounding adds to it on average."""
    if stored.data is None or weights.data is None or stored.quantization is None:
        return None
    if stored.dtype != "int8" or weights.dtype != "float32" or stored.shape != weights.shape:
        return None
    scales = np.asarray(stored.quantization.scales, np.float64)
    along = [1] * len(stored.shape)
    along[stored.quantization.axis] = scales.size
    rounding = stored.data * scales.reshape(along) - weights.data
    if op.name == "DEPTHWISE_CONV_2D" and rounding.shape[-1] % mean.size == 0:
        return np.asarray(
            rounding.sum((0, 1, 2)) * np.repeat(mean, rounding.shape[-1] // mean.size)
        )
    if op.name == "CONV_2D" and rounding.shape[-1] == mean.size:
        return np.asarray(rounding.sum((1, 2)) @ mean)
    if op.name == "FULLY_CONNECTED" and rounding.shape[-1] == mean.size:
        return np.asarray(rounding @ mean)
    return None
