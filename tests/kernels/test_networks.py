"""Whole small networks, compiled for this computer, against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from every_operator import networks
from host_program import assert_equal, assert_equals_tflm, options
from make_model import Maker, convolution, softmax, tiny_int8

RELU = schema.ActivationFunctionType.RELU
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


class Stack:
    """Layers one after the other, with random weights and scales that keep values alive."""

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        self.maker = Maker()
        self.random = np.random.default_rng(seed)
        self.input = self.last = self.maker.tensor("input", shape, np.int8, 0.05, 3)
        self.shape = tuple(shape)

    def tensor(self, shape: Sequence[int], scale: float = 0.05) -> int:
        zero_point = int(self.random.integers(-20, 21))
        return self.maker.tensor(f"t{len(self.maker.tensors)}", shape, np.int8, scale, zero_point)

    def conv(
        self, channels: int, kernel: Sequence[int], stride: int = 1, padding: int = SAME,
        depthwise: bool = False,
    ) -> None:  # fmt: skip
        batch, height, width, depth = self.shape
        if padding == SAME:
            sides = [-(-s // stride) for s in (height, width)]
        else:
            sides = [
                -(-(s - k + 1) // stride) for s, k in zip((height, width), kernel, strict=True)
            ]
        channels = depth if depthwise else channels
        form = (1, *kernel, depth) if depthwise else (channels, *kernel, depth)
        count = kernel[0] * kernel[1] * (1 if depthwise else depth)
        scales = list(self.random.uniform(0.5, 2, channels) / (74 * np.sqrt(count)))
        w = self.maker.tensor(
            "w", form, np.int8, scales, axis=3 if depthwise else 0,
            data=self.random.integers(-127, 128, form),
        )  # fmt: skip
        b = self.maker.tensor(
            "b", (channels,), np.int32, list(0.05 * np.array(scales)),
            data=self.random.integers(-3000, 3000, channels),
        )  # fmt: skip
        self.shape = (batch, *sides, channels)
        y = self.tensor(self.shape)
        values = dict(padding=padding, strideH=stride, strideW=stride)
        if depthwise:
            chosen = options(
                "DepthwiseConv2D", depthMultiplier=1, dilationHFactor=1, dilationWFactor=1, **values
            )
        else:
            chosen = convolution(fusedActivationFunction=RELU, **values)
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.maker.op(name, [self.last, w, b], [y], chosen, version=3)
        self.last = y

    def add(self, other: int) -> None:
        y = self.tensor(self.shape, 0.07)
        self.maker.op("ADD", [self.last, other], [y], options("Add"), version=2)
        self.last = y

    def bytes(self) -> bytes:
        return self.maker.bytes([self.input], [self.last])


@pytest.mark.parametrize("name", networks())
def test_every_operator(tmp_path: Path, name: str) -> None:
    kernels = "litert" if name == "without_tflm" else "tflm"
    assert_equal(networks()[name], tmp_path, 1000, kernels=kernels)


def test_tiny_network(tmp_path: Path) -> None:
    assert_equals_tflm(tiny_int8(), tmp_path, samples=100)


def test_separable_convolutions_run_in_place(tmp_path: Path) -> None:
    stack = Stack((1, 12, 9, 8), 1)
    for _ in range(3):
        stack.conv(0, (3, 3), depthwise=True)
        stack.conv(8, (1, 1))
    compiled = assert_equals_tflm(stack.bytes(), tmp_path, samples=60)
    assert compiled.plan.size < 1.6 * 12 * 9 * 8


def test_shrinking_convolutions_run_in_place(tmp_path: Path) -> None:
    stack = Stack((1, 24, 20, 3), 2)
    stack.conv(8, (3, 3), stride=2)
    stack.conv(12, (5, 2), padding=VALID)
    stack.conv(16, (2, 3), stride=2)
    stack.conv(9, (1, 1))
    assert_equals_tflm(stack.bytes(), tmp_path, samples=60)


@pytest.mark.parametrize("seed", range(3))
def test_residual_network(tmp_path: Path, seed: int) -> None:
    stack = Stack((2, 10, 8, 4), seed)
    stack.conv(6, (3, 3))
    for _ in range(2):
        shortcut = stack.last
        stack.conv(6, (3, 3))
        stack.conv(0, (2, 2), depthwise=True)
        stack.add(shortcut)
    compiled = assert_equals_tflm(stack.bytes(), tmp_path, samples=40)
    assert compiled.plan.size < 2.6 * 2 * 10 * 8 * 6


def test_one_input_used_twice_and_two_outputs(tmp_path: Path) -> None:
    stack = Stack((1, 6, 6, 4), 5)
    stack.conv(4, (3, 3))
    middle = stack.last
    stack.add(stack.last)
    stack.add(middle)
    tflite = stack.maker.bytes([stack.input], [middle, stack.last])
    assert_equals_tflm(tflite, tmp_path, samples=40)


def test_a_classifier_with_every_operator_of_the_first_set(tmp_path: Path) -> None:
    stack = Stack((1, 9, 9, 3), 6)
    m = stack.maker
    padded = stack.tensor((1, 11, 11, 3))
    m.tensors[padded].quantization = m.tensors[stack.input].quantization
    paddings = m.tensor("p", (4, 2), np.int32, data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]]))
    m.op("PAD", [stack.input, paddings], [padded], options("Pad"))
    stack.last, stack.shape = padded, (1, 11, 11, 3)
    stack.conv(8, (3, 3), stride=2, padding=VALID)
    relu6 = stack.tensor(stack.shape)
    m.tensors[relu6].quantization = m.tensors[stack.last].quantization
    m.op("RELU6", [stack.last], [relu6])
    pooled = stack.tensor((1, 2, 2, 8))
    m.tensors[pooled].quantization = m.tensors[relu6].quantization
    pool = options("Pool2D", padding=VALID, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    m.op("MAX_POOL_2D", [relu6], [pooled], pool, version=2)
    gates = m.tensor("gates", (1, 2, 2, 8), np.int8, 1 / 256, -128)
    m.op("LOGISTIC", [pooled], [gates])
    mean = stack.tensor((1, 8))
    axes = m.tensor("axes", (2,), np.int32, data=np.array([1, 2]))
    m.op("MEAN", [gates, axes], [mean], options("Reducer", keepDims=False), version=2)
    w = m.tensor("fc", (5, 8), np.int8, 0.01, data=stack.random.integers(-127, 128, (5, 8)))
    logits = stack.tensor((1, 5), 0.01)
    m.op("FULLY_CONNECTED", [mean, w, -1], [logits], options("FullyConnected"), version=4)
    scores = m.tensor("scores", (1, 5), np.int8, 1 / 256, -128)
    m.op("SOFTMAX", [logits], [scores], softmax(), version=2)
    column = m.tensor("column", (5, 1), np.int8, 1 / 256, -128)
    shape = m.tensor("shape", (2,), np.int32, data=np.array([5, 1]))
    m.op("RESHAPE", [scores, shape], [column], options("Reshape", newShape=[5, 1]))
    assert_equals_tflm(m.bytes([stack.input], [column]), tmp_path, samples=80)


@pytest.mark.parametrize("bias_type", [np.int64, np.int32])
def test_a_network_of_int16(tmp_path: Path, bias_type: type) -> None:
    """Layers that lie over each other in the arena, a residual among them."""
    random = np.random.default_rng(9)
    m = Maker()

    def biased(name: str, x: int, form: Sequence[int], size: Sequence[int], axis: int) -> int:
        channels = form[axis]
        scales = list(random.uniform(0.004, 0.01, channels))
        data = random.integers(-127, 128, form)
        w = m.tensor("w", form, np.int8, scales, axis=axis, data=data)
        form_ = np.int64 if name == "DEPTHWISE_CONV_2D" else bias_type
        bias = random.integers(-50000, 50000, channels)
        b = m.tensor("b", (channels,), form_, [1e-4 * s for s in scales], data=bias)
        y = m.tensor("y", size, np.int16, 1e-4, 0)
        chosen = {
            "CONV_2D": convolution(fusedActivationFunction=1),
            "DEPTHWISE_CONV_2D": options(
                "DepthwiseConv2D", depthMultiplier=1, strideH=1, strideW=1,
                dilationHFactor=1, dilationWFactor=1,
            ),
            "FULLY_CONNECTED": options("FullyConnected"),
        }[name]  # fmt: skip
        m.op(name, [x, w, b], [y], chosen, version=4)
        return y

    image = m.tensor("image", (1, 12, 12, 3), np.int16, 1e-4, 0)
    first = biased("CONV_2D", image, (8, 3, 3, 3), (1, 12, 12, 8), 0)
    deep = biased("DEPTHWISE_CONV_2D", first, (1, 3, 3, 8), (1, 12, 12, 8), 3)
    mixed = biased("CONV_2D", deep, (8, 1, 1, 8), (1, 12, 12, 8), 0)
    total = m.tensor("total", (1, 12, 12, 8), np.int16, 2e-4, 0)
    m.op("ADD", [first, mixed], [total], options("Add", potScaleInt16=False), version=3)
    bent = m.tensor("bent", (1, 12, 12, 8), np.int16, 2.0**-15, 0)
    m.op("TANH", [total], [bent], version=3)
    pooled = m.tensor("pooled", (1, 6, 6, 8), np.int16, 2.0**-15, 0)
    chosen = options("Pool2D", padding=0, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    m.op("AVERAGE_POOL_2D", [bent], [pooled], chosen, version=3)
    flat = m.tensor("flat", (1, 288), np.int16, 2.0**-15, 0)
    m.op("RESHAPE", [pooled], [flat], options("Reshape", newShape=[1, 288]))
    logits = biased("FULLY_CONNECTED", flat, (10, 288), (1, 10), 0)
    scores = m.tensor("scores", (1, 10), np.int16, 2.0**-15, 0)
    m.op("SOFTMAX", [logits], [scores], options("Softmax", beta=1.0), version=3)
    compiled = assert_equals_tflm(m.bytes([image], [scores]), tmp_path, samples=30)
    assert compiled.plan.size < 3 * 12 * 12 * 8 * 2
