"""Channels that engine aot leaves out: what stays gives TFLM's bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import assert_equals_tflm, export_of, options
from make_model import Maker, convolution

from edgeq.codegen.aot.pruning import kept_channels, prune
from edgeq.complexity import total_macs
from edgeq.graph import Graph

RELU = schema.ActivationFunctionType.RELU
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


class Sparse:
    """A chain of layers of which many channels are dead or are not looked at."""

    def __init__(self, seed: int) -> None:
        self.maker = Maker()
        self.random = np.random.default_rng(seed)
        self.height, self.channels = 9, 6
        self.input = self.last = self.maker.tensor("input", (1, 9, 9, 6), np.int8, 0.05, 3)

    def constants(self, shape: tuple[int, ...], channels: int, axis: int) -> tuple[int, int]:
        """Weights, of which half of the output channels are zero, and biases."""
        count = int(np.prod(shape)) // channels
        scales = list(self.random.uniform(0.5, 2, channels) / (74 * np.sqrt(count)))
        weights = self.random.integers(-127, 128, shape)
        dead = self.random.random(channels) < 0.5
        np.moveaxis(weights, axis, 0)[dead] = 0
        if axis == 0:
            weights[..., self.random.random(shape[-1]) < 0.3] = 0
        # Some that the bias alone holds at a limit, whatever the input is.
        bias = self.random.integers(-3000, 3000, channels)
        bias[self.random.random(channels) < 0.2] = -(1 << 24)
        w = self.maker.tensor("w", shape, np.int8, scales, axis=axis, data=weights)
        b = self.maker.tensor(
            "b", (channels,), np.int32, list(0.05 * np.array(scales)), data=bias
        )  # fmt: skip
        return w, b

    def output(self, shape: tuple[int, ...], zero_point: int) -> int:
        return self.maker.tensor(f"t{len(self.maker.tensors)}", shape, np.int8, 0.05, zero_point)

    def image(self, zero_point: int) -> int:
        return self.output((1, self.height, self.height, self.channels), zero_point)

    def conv(self, channels: int, size: int, padding: int, zero_point: int) -> None:
        w, b = self.constants((channels, size, size, self.channels), channels, 0)
        self.channels = channels
        self.height -= (size - 1) * (padding == VALID)
        y = self.image(zero_point)
        chosen = convolution(padding=padding, fusedActivationFunction=RELU)
        self.maker.op("CONV_2D", [self.last, w, b], [y], chosen, version=3)
        self.last = y

    def depthwise(self, padding: int, zero_point: int) -> None:
        w, b = self.constants((1, 3, 3, self.channels), self.channels, 3)
        self.height -= 2 * (padding == VALID)
        y = self.image(zero_point)
        chosen = options(
            "DepthwiseConv2D", depthMultiplier=1, dilationHFactor=1, dilationWFactor=1,
            padding=padding, strideH=1, strideW=1, fusedActivationFunction=RELU,
        )  # fmt: skip
        self.maker.op("DEPTHWISE_CONV_2D", [self.last, w, b], [y], chosen, version=3)
        self.last = y

    def pool(self, name: str, zero_point: int) -> None:
        self.height = (self.height + 1) // 2
        y = self.image(zero_point)
        chosen = options(
            "Pool2D", padding=SAME, strideH=2, strideW=2, filterHeight=2, filterWidth=2
        )
        self.maker.op(name, [self.last], [y], chosen, version=2)
        self.last = y

    def add(self) -> None:
        """The last tensor to itself: nothing may shrink here."""
        y = self.image(-5)
        self.maker.op("ADD", [self.last, self.last], [y], options("Add"), version=2)
        self.last = y

    def dense(self, rows: int, bias: bool) -> None:
        self.conv(self.channels, self.height, VALID, -128)
        flat = self.output((1, self.channels), -128)
        shape = self.maker.tensor("shape", (2,), np.int32, data=np.array([1, self.channels]))
        self.maker.op("RESHAPE", [self.last, shape], [flat], schema.ReshapeOptionsT())
        w, b = self.constants((rows, self.channels), rows, 0)
        y = self.output((1, rows), 4)
        self.maker.op(
            "FULLY_CONNECTED", [flat, w, b if bias else -1], [y], schema.FullyConnectedOptionsT(),
            version=4,
        )  # fmt: skip
        self.last = y

    def bytes(self) -> bytes:
        return self.maker.bytes([self.input], [self.last])


def graph_of(sparse: Sparse) -> Graph:
    return export_of(sparse.bytes()).graph


@pytest.mark.parametrize("seed", range(12))
def test_the_outputs_stay_as_they_are(seed: int, tmp_path: Path) -> None:
    sparse = Sparse(seed)
    chance = np.random.default_rng(seed)
    sparse.conv(16, 3, SAME, -128)
    for _ in range(3):
        # Where the zero point is no value that a dead channel has, padding is in the way.
        zero_point = int(chance.choice([-128, -128, 0, 20]))
        padding = int(chance.choice([SAME, VALID])) if sparse.height > 4 else SAME
        kind = chance.choice(["conv", "conv 1x1", "depthwise", "average", "max", "add"])
        if kind == "depthwise":
            sparse.depthwise(padding, zero_point)
        elif kind in ("average", "max"):
            before = sparse.maker.tensors[sparse.last].quantization.zeroPoint
            sparse.pool(f"{kind.upper()}_POOL_2D", int(before[0]))
        elif kind == "add":
            sparse.add()
        else:
            sparse.conv(12, 1 if kind == "conv 1x1" else 3, padding, zero_point)
    sparse.conv(10, 1, SAME, -128)
    sparse.dense(5, bias=bool(seed % 2))
    assert_equals_tflm(sparse.bytes(), tmp_path, samples=30)
    graph = graph_of(sparse)
    assert kept_channels(graph) and total_macs(prune(graph)) < total_macs(graph)


def test_inputs_outputs_and_what_others_read_keep_their_channels() -> None:
    sparse = Sparse(0)
    sparse.conv(16, 1, SAME, -128)
    sparse.add()
    graph = graph_of(sparse)
    assert not kept_channels(graph)
    assert prune(graph) is graph


def test_a_network_of_nothing_but_zeros_keeps_a_channel(tmp_path: Path) -> None:
    m = Maker()
    x = m.tensor("x", (1, 4, 4, 3), np.int8, 0.1, 5)
    y = m.tensor("y", (1, 4, 4, 8), np.int8, 0.1, -128)
    z = m.tensor("z", (1, 4, 4, 2), np.int8, 0.1, 0)
    for source, target, shape in ((x, y, (8, 3, 3, 3)), (y, z, (2, 1, 1, 8))):
        w = m.tensor("w", shape, np.int8, 0.01, data=np.zeros(shape))
        b = m.tensor("b", (shape[0],), np.int32, 0.001, data=np.arange(shape[0]) * 70)
        m.op("CONV_2D", [source, w, b], [target], convolution(padding=SAME), version=3)
    tflite = m.bytes([x], [z])
    assert_equals_tflm(tflite, tmp_path, samples=5)
    pruned = prune(export_of(tflite).graph).main
    assert pruned.tensors[y].shape == (1, 4, 4, 1)


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 1, 4, 4, 3)])
def test_shapes_that_no_convolution_has_are_left_alone(shape: tuple[int, ...]) -> None:
    """The emitter refuses them, or the kernel takes them."""
    m = Maker()
    x, y = (m.tensor(n, shape, np.int8, 0.1, -128) for n in "xy")
    w = m.tensor("w", (3, 1, 1, 3), np.int8, 0.01, data=np.zeros((3, 1, 1, 3)))
    m.op("CONV_2D", [x, w, -1], [y], convolution(padding=SAME), version=3)
    graph = export_of(m.bytes([x], [y])).graph
    assert prune(graph) is graph
