"""TRANSPOSE_CONV against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
ACTIVATIONS = schema.ActivationFunctionType


def transposed(
    batch: Batch,
    dtype: Any,
    shape: Sequence[int],
    kernel: Sequence[int],
    channels: int,
    strides: Sequence[int] = (2, 2),
    *,
    padding: int = SAME,
    zero_points: Sequence[int] = (3, -5),
    scales: Sequence[float] = (0.02, 0.1),
    per_channel: bool = True,
    bias: int | None = 2000,
    activation: int = ACTIVATIONS.NONE,
    longer: int = 0,
) -> None:
    """`longer`: rows that the output has beyond those that the input reaches evenly."""
    random = np.random.default_rng(len(batch.cases))
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random"))
    weight_scales = list(random.uniform(0.001, 0.02, channels if per_channel else 1))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        before, after = zero_points if dtype == np.int8 else (0, 0)
        form = (channels, *kernel, shape[3])
        sides = [
            size * stride if padding == SAME else (size - 1) * stride + k
            for size, stride, k in zip(shape[1:3], strides, kernel, strict=True)
        ]
        sides[0] += longer
        size = (shape[0], *sides, channels)
        to = m.tensor("to", (4,), np.int32, data=np.array(size))
        w = m.tensor("w", form, np.int8, weight_scales, data=random.integers(-127, 128, form))
        x = m.tensor("x", shape, dtype, scales[0], before)
        inputs = [to, w, x]
        if bias is not None:
            values = random.integers(-bias, bias + 1, channels)
            bias_type = np.int32 if dtype == np.int8 else np.int64
            bias_scales = [scales[0] * s for s in weight_scales]
            inputs.append(m.tensor("b", (channels,), bias_type, bias_scales, data=values))
        y = m.tensor("y", size, dtype, scales[1], after)
        chosen = options(
            "TransposeConv", padding=padding, strideH=strides[0], strideW=strides[1],
            fusedActivationFunction=activation,
        )  # fmt: skip
        m.op("TRANSPOSE_CONV", inputs, [y], chosen, version=3)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_transpose_conv(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()
    for kernel in ((1, 1), (2, 2), (3, 3), (1, 5), (4, 2), (5, 5)):
        for strides in ((1, 1), (2, 2), (1, 3), (3, 2)):
            for padding in (SAME, VALID):
                transposed(batch, dtype, (1, 4, 3, 3), kernel, 5, strides, padding=padding)
    for batches in (2, 3):
        transposed(batch, dtype, (batches, 3, 2, 2), (3, 3), 4)
    for depth in (1, 2, 5, 8, 16):
        for channels in (1, 4, 17):
            transposed(batch, dtype, (1, 3, 3, depth), (3, 3), channels)
    for low in (-128, 127, 0):
        for high in (-128, 127, 0):
            transposed(batch, dtype, (1, 3, 3, 3), (3, 3), 3, zero_points=(low, high))
    for longer in (-1, 1, 2, 5):
        for padding in (SAME, VALID):
            transposed(batch, dtype, (1, 3, 3, 2), (3, 3), 3, padding=padding, longer=longer)
    for activation in (ACTIVATIONS.RELU, ACTIVATIONS.RELU6, ACTIVATIONS.RELU_N1_TO_1):
        transposed(batch, dtype, (1, 3, 3, 2), (3, 3), 3, activation=activation, per_channel=False)
    for scales in ((0.3, 0.001), (1e-4, 0.9), (0.05, 0.05)):
        for bias in (None, 0, 1 << 20):
            transposed(batch, dtype, (1, 3, 3, 2), (3, 3), 3, scales=scales, bias=bias)
            transposed(batch, dtype, (1, 2, 2, 2), (2, 3), 2, scales=scales, per_channel=False)
    batch.check(tmp_path)
