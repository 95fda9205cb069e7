"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED of int16 activations against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, export_of, options
from make_model import Maker, convolution
from test_convolutions import ACTIVATIONS, NONE, SAME, VALID, lay_out, outputs

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

WIDE, NARROW = np.int64, np.int32
"""Types of a bias, which say how TFLM sums."""


def weighted(
    m: Maker,
    name: str,
    shape: Sequence[int],
    form: Sequence[int],
    size: Sequence[int],
    chosen: Any,
    *,
    scales: Sequence[float] = (1e-4, 4e-4),
    weight_scale: Sequence[float] | float | None = None,
    bias: int | None = 100_000,
    bias_type: Any = WIDE,
    zero_points: Sequence[int] = (0, 0),
    seed: int = 0,
) -> tuple[list[int], list[int]]:
    """An operator of random weights of shape `form`; `bias` is the largest."""
    random = np.random.default_rng(seed)
    axis = 3 if name == "DEPTHWISE_CONV_2D" else 0
    channels = form[axis]
    if weight_scale is None:
        weight_scale = list(random.uniform(0.001, 0.02, channels))
    x = m.tensor("x", shape, np.int16, scales[0], zero_points[0])
    weights = random.integers(-128, 128, form)
    inputs = [x, m.tensor("w", form, np.int8, weight_scale, axis=axis, data=weights)]
    if bias is not None:
        values = random.integers(-bias, bias + 1, channels)
        bias_scales = list(scales[0] * np.atleast_1d(weight_scale))
        inputs.append(m.tensor("b", (channels,), bias_type, bias_scales, data=values))
    elif name == "FULLY_CONNECTED":
        inputs.append(-1)
    y = m.tensor("y", size, np.int16, scales[1], zero_points[1])
    m.op(name, inputs, [y], chosen, version=4)
    return [x], [y]


def conv(
    batch: Batch,
    name: str,
    shape: Sequence[int],
    kernel: Sequence[int],
    channels: int,
    *,
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    padding: int = SAME,
    groups: int = 1,
    activation: int = NONE,
    **values: Any,
) -> None:
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")
    depth = shape[3]
    common = dict(
        padding=padding,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilations[0],
        dilationWFactor=dilations[1],
        fusedActivationFunction=activation,
    )
    if name == "DEPTHWISE_CONV_2D":
        channels = depth * (1 + channels // 8)
        form = (1, *kernel, channels)
        chosen = options("DepthwiseConv2D", depthMultiplier=channels // depth, **common)
    else:
        form = (channels, *kernel, depth // groups)
        chosen = convolution(**common)
        if values.get("bias", 0) is None and values.get("bias_type") == NARROW:
            chosen.quantizedBiasType = schema.TensorType.INT32
    sides = [outputs(shape[i + 1], kernel[i], strides[i], dilations[i], padding) for i in (0, 1)]
    values = {"seed": len(batch.cases), **values}
    size = (shape[0], *sides, channels)
    batch.add(case, lambda m: weighted(m, name, shape, form, size, chosen, **values))


@pytest.mark.parametrize(
    ("name", "bias_type"),
    [("CONV_2D", WIDE), ("CONV_2D", NARROW), ("DEPTHWISE_CONV_2D", WIDE)],
)
def test_conv(tmp_path: Path, name: str, bias_type: Any) -> None:
    batch = Batch()

    def case(shape: Sequence[int], kernel: Sequence[int], channels: int, **values: Any) -> None:
        conv(batch, name, shape, kernel, channels, **{"bias_type": bias_type, **values})

    lay_out(case)
    for activation in ACTIVATIONS:
        case((1, 5, 5, 2), (3, 3), 4, activation=activation)
        case((1, 5, 5, 2), (3, 3), 4, activation=activation, padding=VALID)
    for bias in (None, 0, 1 << 20, (1 << 31) - 1):
        case((1, 3, 3, 2), (2, 2), 4, bias=bias)
    for after in (3e-6, 1e-4, 1.0, 1e3):
        case((1, 4, 4, 3), (3, 3), 5, scales=(1e-4, after))
        case((1, 4, 4, 3), (3, 3), 5, scales=(1e-4, after), weight_scale=0.01)
    for exponent in range(-9, 3):
        case((1, 4, 4, 3), (2, 2), 4, scales=(1.0, 2.0**-exponent), weight_scale=1.0)
    # Sums of more than 32 bits where they are wide, and that wrap where they are not.
    case((1, 3, 3, 100), (3, 3), 5, scales=(1e-4, 4e-3))
    if bias_type == WIDE:
        case((1, 3, 3, 2), (2, 2), 4, bias=1 << 45, scales=(1e-4, 1e4))
    if name == "CONV_2D":
        for groups, depth, channels in ((2, 4, 6), (3, 9, 12), (4, 4, 4), (4, 8, 20)):
            case((1, 5, 5, depth), (3, 3), channels, groups=groups)
            case((2, 6, 5, depth), (3, 2), channels, groups=groups, dilations=(1, 2))
    batch.check(tmp_path)


def fully_connected(
    batch: Batch,
    rows: Sequence[int],
    depth: int,
    channels: int,
    activation: int = NONE,
    **values: Any,
) -> None:
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")
    chosen = options(
        "FullyConnected", fusedActivationFunction=activation, keepNumDims=len(rows) > 1
    )
    if values.get("bias", 0) is None and values.get("bias_type") == NARROW:
        chosen.quantizedBiasType = schema.TensorType.INT32
    values = {"seed": len(batch.cases), **values}
    shapes = (*rows, depth), (channels, depth), (*rows, channels)
    batch.add(case, lambda m: weighted(m, "FULLY_CONNECTED", *shapes, chosen, **values))


@pytest.mark.parametrize("bias_type", [WIDE, NARROW])
def test_fully_connected(tmp_path: Path, bias_type: Any) -> None:
    batch = Batch()

    def case(rows: Sequence[int], depth: int, channels: int, **values: Any) -> None:
        fully_connected(batch, rows, depth, channels, bias_type=bias_type, **values)

    for depth in (1, 2, 3, 5, 16, 31, 129, 255, 256, 257, 600):
        for channels in (1, 3, 8, 17):
            case((1,), depth, channels)
            case((1,), depth, channels, weight_scale=0.01)
    for rows in ((2,), (5,), (2, 3), (1, 2, 2)):
        case(rows, 6, 5)
    for activation in ACTIVATIONS:
        case((2,), 9, 6, activation=activation)
    for bias in (None, 0, 1 << 20, (1 << 31) - 1):
        case((1,), 9, 6, bias=bias)
    for after in (3e-6, 1e-4, 1.0, 1e3):
        case((1,), 12, 8, scales=(1e-4, after))
    for exponent in range(-9, 3):
        case((1,), 3, 8, scales=(1.0, 2.0**-exponent), weight_scale=1.0)
    batch.check(tmp_path, samples=10)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("CONV_2D", {"zero_points": (1, 0)}, "has a zero point"),
        ("CONV_2D", {"zero_points": (0, 1)}, "has a zero point"),
        ("CONV_2D", {"scales": (1.0, 1e-6)}, "scales its output up"),
        ("CONV_2D", {"bias": 1 << 50}, "exceed 47 bits"),
        ("DEPTHWISE_CONV_2D", {"bias_type": NARROW}, "bias is int32"),
    ],
)
def test_what_is_refused(name: str, values: dict[str, Any], reason: str) -> None:
    batch = Batch()
    conv(batch, name, (1, 3, 3, 2), (2, 2), 2, **values)
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
