"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED against TFLM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker, convolution

RELU = schema.ActivationFunctionType.RELU
RELU6 = schema.ActivationFunctionType.RELU6
RELU_N1_TO_1 = schema.ActivationFunctionType.RELU_N1_TO_1
NONE = schema.ActivationFunctionType.NONE
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
ACTIVATIONS = (NONE, RELU, RELU6, RELU_N1_TO_1)
CORES = (None, "cortex-m4")
"""Portable kernels, and those for cores with the DSP extension."""


def outputs(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    if padding == SAME:
        return -(-size // stride)
    return -(-(size - (kernel - 1) * dilation) // stride)


def conv(
    batch: Batch,
    shape: Sequence[int],
    kernel: Sequence[int],
    channels: int,
    *,
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    padding: int = SAME,
    groups: int = 1,
    depthwise: bool = False,
    activation: int = NONE,
    zero_points: Sequence[int] = (3, -5),
    scales: Sequence[float] = (0.02, 0.1),
    weight_scale: Sequence[float] | float | None = None,
    bias: int | None = 2000,
    weights: Sequence[int] = (-127, 127),
) -> None:
    """One case: `scales` and `zero_points` of input and output, `bias` the largest."""
    random = np.random.default_rng(len(batch.cases))
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random"))
    depth = shape[3]
    if weight_scale is None:
        weight_scale = list(random.uniform(0.001, 0.02, channels))
    per_channel = weight_scale if isinstance(weight_scale, list) else [weight_scale] * channels

    def make(m: Maker) -> tuple[list[int], list[int]]:
        form = (1, *kernel, channels) if depthwise else (channels, *kernel, depth // groups)
        x = m.tensor("x", shape, np.int8, scales[0], zero_points[0])
        w = m.tensor(
            "w", form, np.int8, weight_scale, axis=3 if depthwise else 0,
            data=random.integers(weights[0], weights[1] + 1, form),
        )  # fmt: skip
        inputs = [x, w]
        if bias is not None:
            values = random.integers(-bias, bias + 1, channels)
            bias_scales = [scales[0] * s for s in per_channel]
            inputs.append(m.tensor("b", (channels,), np.int32, bias_scales, data=values))
        rows = outputs(shape[1], kernel[0], strides[0], dilations[0], padding)
        columns = outputs(shape[2], kernel[1], strides[1], dilations[1], padding)
        size = (shape[0], rows, columns, channels)
        y = m.tensor("y", size, np.int8, scales[1], zero_points[1])
        values = dict(
            padding=padding,
            strideH=strides[0],
            strideW=strides[1],
            dilationHFactor=dilations[0],
            dilationWFactor=dilations[1],
            fusedActivationFunction=activation,
        )
        if depthwise:
            multiplier = channels // depth
            chosen = options("DepthwiseConv2D", depthMultiplier=multiplier, **values)
            m.op("DEPTHWISE_CONV_2D", inputs, [y], chosen, version=3)
        else:
            m.op("CONV_2D", inputs, [y], convolution(**values), version=3)
        return [x], [y]

    batch.add(case, make)


def lay_out(case: Callable[..., None]) -> None:
    """case(shape, kernel, channels, …) for every way to lay a kernel over an image."""
    for kernel in ((1, 1), (3, 3), (1, 5), (4, 2), (5, 5)):
        for strides in ((1, 1), (2, 2), (1, 3)):
            for padding in (SAME, VALID):
                case((1, 7, 6, 3), kernel, 5, strides=strides, padding=padding)
    for dilations in ((2, 2), (1, 3), (4, 1)):
        for padding in (SAME, VALID):
            case((1, 9, 8, 4), (3, 2), 6, dilations=dilations, padding=padding)
    # A kernel larger than the image, and one row or column.
    case((1, 2, 3, 2), (5, 7), 3)
    case((1, 1, 9, 3), (3, 3), 4)
    case((1, 9, 1, 3), (3, 3), 4, strides=(2, 2))
    for batches in (2, 3):
        case((batches, 4, 5, 3), (3, 3), 9)
    for depth in (1, 2, 3, 4, 5, 7, 8, 13, 16, 17):
        case((1, 4, 4, depth), (3, 3), 4)
        case((1, 4, 3, depth), (2, 2), 9)


def common_cases(batch: Batch, depthwise: bool) -> None:
    """What holds for both convolutions."""

    def case(shape: Sequence[int], kernel: Sequence[int], channels: int, **values: object) -> None:
        channels = shape[3] * (1 + channels // 8) if depthwise else channels
        conv(batch, shape, kernel, channels, depthwise=depthwise, **values)  # type: ignore[arg-type]

    lay_out(case)
    for low in (-128, 127, 0):
        for high in (-128, 127, 0):
            case((1, 4, 4, 3), (3, 3), 5, zero_points=(low, high))
    for activation in ACTIVATIONS:
        case((1, 5, 5, 2), (3, 3), 4, activation=activation, scales=(0.05, 0.04))
        case((1, 5, 5, 2), (3, 3), 4, activation=activation, zero_points=(-128, -128))
    for bias in (None, 0, 1 << 20, (1 << 31) - 1):
        case((1, 3, 3, 2), (2, 2), 4, bias=bias)
    # From all outputs alike to nearly all at a limit, and factors above 1.
    for output_scale in (1e-6, 1e-4, 0.01, 1.0, 1e3, 1e7):
        case((1, 4, 4, 3), (3, 3), 5, scales=(0.02, output_scale))
        case((1, 4, 4, 3), (3, 3), 5, scales=(0.02, output_scale), weight_scale=0.01)
    # Factors that are powers of two have products that end in halves.
    for exponent in range(-9, 3):
        case((1, 4, 4, 3), (2, 2), 4, scales=(1.0, 2.0**-exponent), weight_scale=1.0)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_last_bit_of_a_scale(
    tmp_path: Path, name: str, per_channel: bool, core: str | None
) -> None:
    """Weights of 0, and biases around those where the output steps: a multiplier that is wrong in
    its last bit steps elsewhere.
    """
    batch = Batch()
    random = np.random.default_rng(4)
    for case in range(40):
        scale, weight_scale, after = random.uniform(1e-3, 1, 3).astype(np.float32)
        after *= np.float32(2.0**23)  # So that accumulators are around 2^30.
        factor = float(scale) * float(weight_scale) / float(after)
        center = round((random.integers(60, 120) + 0.5) * random.choice([-1, 1]) / factor)
        bias = center + np.arange(-60, 61)
        scales = [weight_scale] * len(bias) if per_channel else weight_scale

        def make(
            m: Maker, scale: float = scale, after: float = after, bias: np.ndarray = bias,
            scales: object = scales,
        ) -> tuple[list[int], list[int]]:  # fmt: skip
            channels = len(bias)
            form = {"CONV_2D": (channels, 1, 1, 1), "FULLY_CONNECTED": (channels, 1)}
            shape = form.get(name, (1, 1, 1, channels))
            size = (1, 1) if name == "FULLY_CONNECTED" else (1, 1, 1, 1)
            x = m.tensor("x", size, np.int8, scale, 0)
            axis = 3 if name == "DEPTHWISE_CONV_2D" else 0
            w = m.tensor("w", shape, np.int8, scales, axis=axis, data=np.zeros(shape))
            bias_scales = list(np.float32(scale) * np.atleast_1d(scales))
            b = m.tensor("b", (channels,), np.int32, bias_scales, data=bias)
            y = m.tensor("y", (*size[:-1], channels), np.int8, after, 0)
            chosen = {
                "CONV_2D": convolution(),
                "DEPTHWISE_CONV_2D": options(
                    "DepthwiseConv2D", depthMultiplier=channels, strideH=1, strideW=1,
                    dilationHFactor=1, dilationWFactor=1,
                ),
                "FULLY_CONNECTED": options("FullyConnected"),
            }[name]  # fmt: skip
            m.op(name, [x, w, b], [y], chosen, version=3)
            return [x], [y]

        batch.add(f"{name} {case}", make)
    batch.check(tmp_path, samples=1, core=core)


@pytest.mark.parametrize("core", CORES)
def test_conv_2d(tmp_path: Path, core: str | None) -> None:
    batch = Batch()
    common_cases(batch, depthwise=False)
    for groups, depth, channels in ((2, 4, 6), (3, 9, 12), (4, 4, 4), (4, 8, 20), (8, 8, 16)):
        conv(batch, (1, 5, 5, depth), (3, 3), channels, groups=groups)
        conv(batch, (1, 6, 5, depth), (1, 1), channels, groups=groups, padding=VALID)
        conv(batch, (2, 6, 5, depth), (3, 2), channels, groups=groups, dilations=(1, 2))
    conv(batch, (1, 3, 3, 64), (3, 3), 33, zero_points=(127, 0))
    conv(batch, (1, 8, 8, 300), (1, 1), 2, weight_scale=0.003)
    batch.check(tmp_path, core=core)


@pytest.mark.parametrize("core", CORES)
def test_depthwise_conv_2d(tmp_path: Path, core: str | None) -> None:
    batch = Batch()
    common_cases(batch, depthwise=True)
    for depth, multiplier in ((1, 8), (3, 2), (4, 3), (5, 5), (1, 1), (16, 2)):
        for padding in (SAME, VALID):
            conv(
                batch, (1, 6, 7, depth), (3, 3), depth * multiplier,
                depthwise=True, padding=padding, strides=(2, 2),
            )  # fmt: skip
    conv(batch, (1, 6, 5, 66), (3, 3), 66, depthwise=True)
    for limits in ((127, 127), (-128, -128)):
        conv(batch, (1, 4, 4, 23), (3, 3), 23, depthwise=True, weights=limits)
    batch.check(tmp_path, core=core)


def fully_connected(
    batch: Batch,
    rows: Sequence[int],
    depth: int,
    channels: int,
    *,
    activation: int = NONE,
    zero_points: Sequence[int] = (3, -5),
    scales: Sequence[float] = (0.02, 0.1),
    weight_scale: Sequence[float] | float = 0.01,
    bias: int | None = 2000,
    keep: bool = False,
    weights: Sequence[int] = (-127, 127),
) -> None:
    random = np.random.default_rng(len(batch.cases))
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random"))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", (*rows, depth), np.int8, scales[0], zero_points[0])
        data = random.integers(weights[0], weights[1] + 1, (channels, depth))
        inputs = [x, m.tensor("w", (channels, depth), np.int8, weight_scale, data=data)]
        if bias is None:
            inputs.append(-1)
        else:
            values = random.integers(-bias, bias + 1, channels)
            bias_scale = list(scales[0] * np.atleast_1d(weight_scale))
            inputs.append(m.tensor("b", (channels,), np.int32, bias_scale, data=values))
        y = m.tensor("y", (*rows, channels), np.int8, scales[1], zero_points[1])
        chosen = options("FullyConnected", fusedActivationFunction=activation, keepNumDims=keep)
        m.op("FULLY_CONNECTED", inputs, [y], chosen, version=4)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("core", CORES)
def test_fully_connected(tmp_path: Path, core: str | None) -> None:
    batch = Batch()
    random = np.random.default_rng(1)
    for depth in (1, 2, 3, 5, 16, 31, 129):
        for channels in (1, 2, 3, 8, 17):
            fully_connected(batch, (1,), depth, channels)
            scales = list(random.uniform(0.001, 0.02, channels))
            fully_connected(batch, (1,), depth, channels, weight_scale=scales)
    for rows in ((2,), (5,), (2, 3), (1, 2, 2)):
        fully_connected(batch, rows, 6, 5, keep=len(rows) > 1)
    for low in (-128, 127, 0):
        for high in (-128, 127, 0):
            fully_connected(batch, (1,), 9, 5, zero_points=(low, high))
    for activation in ACTIVATIONS:
        fully_connected(batch, (2,), 9, 6, activation=activation)
    for bias in (None, 0, 1 << 20, (1 << 31) - 1):
        fully_connected(batch, (1,), 9, 6, bias=bias)
    for output_scale in (1e-6, 1e-4, 0.01, 1.0, 1e3, 1e7):
        fully_connected(batch, (1,), 12, 8, scales=(0.02, output_scale))
    for exponent in range(-9, 3):
        fully_connected(batch, (1,), 3, 8, scales=(1.0, 2.0**-exponent), weight_scale=1.0)
    batch.check(tmp_path, samples=10, core=core)


@pytest.mark.parametrize("low", [-128, 127])
@pytest.mark.parametrize("core", CORES)
def test_weights_at_their_limits(tmp_path: Path, core: str | None, low: int) -> None:
    """Sums that are as large as they get, for every way that channels share what is loaded."""
    batch = Batch()
    for weights in ((low, low), (-127, -127), (-128, 127)):
        for channels in (1, 2, 3, 4, 5, 6, 7, 16, 19):
            values = dict(scales=(0.02, 20.0), weight_scale=0.01, zero_points=(low, 0))
            for depth in (4, 9, 511, 512, 516, 520):
                fully_connected(batch, (2,), depth, channels, weights=weights, **values)
            conv(batch, (1, 2, 3, 60), (3, 3), channels, weights=weights, **values)
            conv(batch, (1, 2, 3, 8), (1, 3), channels, weights=weights, padding=VALID, **values)
    batch.check(tmp_path, core=core)


@pytest.mark.parametrize(("core", "is_dsp"), [("cortex-m3", False), ("cortex-m33", True)])
def test_a_core_has_its_own_kernels(tmp_path: Path, core: str, is_dsp: bool) -> None:
    batch = Batch()
    values = dict(scales=(0.02, 1.0), activation=RELU, zero_points=(3, -128))
    conv(batch, (1, 4, 4, 5), (3, 3), 6, **values)
    conv(batch, (1, 5, 5, 6), (3, 3), 6, depthwise=True, **values)
    conv(batch, (1, 4, 4, 6), (4, 3), 6, depthwise=True, **values)
    conv(batch, (1, 4, 4, 4), (3, 3), 6, groups=2, **values)
    fully_connected(batch, (1,), 7, 3, **values)
    fully_connected(batch, (1,), 300, 3, **values)
    sources = set(batch.check(tmp_path, core=core).sources)
    kernels = {f"eq_{name}_s8" for name in ("conv", "depthwise_conv", "fully_connected")}
    shapes = {f"eq_{name}_blocks_s8_dsp.c" for name in ("conv", "fully_connected")}
    shapes.add("eq_depthwise_conv_3x3_s8_dsp.c")
    assert (
        {f"{name}_dsp.c" for name in kernels} | shapes <= sources
        if is_dsp
        else not any("_dsp" in source for source in sources)
    )
    assert {f"{name}.c" for name in kernels}.isdisjoint(sources) == is_dsp


def lines(batch: Batch, **values: object) -> None:
    """Depthwise 3x3 of every length of a line, odd and even, one and all, both strides."""
    for size in range(1, 13):
        for stride in (1, 2):
            for padding in (SAME, VALID) if size >= 3 else (SAME,):
                depth = 4 + size % 5
                shapes = ((1, size, 3 + size % 4, depth), (1, 3 + size % 3, size, depth))
                for shape in shapes:
                    conv(
                        batch, shape, (3, 3), depth, depthwise=True, padding=padding,
                        strides=(stride, stride), **values,
                    )  # fmt: skip


@pytest.mark.parametrize("zero_points", [(-128, -128), (5, -128), (127, -128), (-128, 3)])
def test_depthwise_3x3(tmp_path: Path, zero_points: tuple[int, int]) -> None:
    batch = Batch()
    lines(batch, activation=RELU, zero_points=zero_points, scales=(0.02, 0.2))
    # In parts, and over its input where that may be.
    for stride in (1, 2):
        conv(
            batch, (2, 33, 40, 9), (3, 3), 9, depthwise=True, strides=(stride, stride),
            activation=RELU, zero_points=zero_points, scales=(0.02, 0.2),
        )  # fmt: skip
    sources = batch.check(tmp_path, samples=3, core="cortex-m4").sources
    assert "eq_depthwise_conv_3x3_s8_dsp.c" in sources or zero_points[1] != -128


@pytest.mark.parametrize("zero_points", [(-128, -128), (5, 9)])
def test_blocks(tmp_path: Path, zero_points: tuple[int, int]) -> None:
    """One pixel left, one channel left, a four left; rows of the image that lines share."""
    batch = Batch()
    activation = RELU if zero_points[1] == -128 else NONE
    values = dict(activation=activation, zero_points=zero_points, scales=(0.02, 0.4))
    for depth in (1, 2, 3, 4, 7, 8, 12, 20, 36):
        for channels in (2, 3, 4, 7):
            conv(batch, (1, 3, 3, depth), (1, 1), channels, **values)
            conv(batch, (1, 4, 5, depth), (3, 2), channels, **values)
    for size in ((5, 4), (4, 5), (1, 7), (7, 1)):
        for stride in (1, 2, 3, 4):
            for padding in (SAME, VALID) if min(size) > 3 else (SAME,):
                for kernel in ((3, 3), (4, 1), (1, 4)):
                    shape = (2, *size, 3)
                    strides = (stride, 1 + stride % 3)
                    conv(batch, shape, kernel, 5, strides=strides, padding=padding, **values)
                conv(batch, (2, *size, 4), (2, 2), 5, padding=padding, dilations=(2, 1), **values)
    assert "eq_conv_blocks_s8_dsp.c" in batch.check(tmp_path, samples=3, core="cortex-m4").sources
