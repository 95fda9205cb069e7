"""AVERAGE_POOL_2D and MAX_POOL_2D against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker

ACTIVATIONS = schema.ActivationFunctionType
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def pool(
    batch: Batch,
    name: str,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    *,
    padding: int = SAME,
    activation: int = ACTIVATIONS.NONE,
    zero_point: int = 4,
    scale: float = 0.05,
) -> None:
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")

    def make(m: Maker) -> tuple[list[int], list[int]]:
        sides = [
            -(-size // stride) if padding == SAME else -(-(size - k + 1) // stride)
            for size, k, stride in zip(shape[1:3], kernel, strides, strict=True)
        ]
        x = m.tensor("x", shape, np.int8, scale, zero_point)
        y = m.tensor("y", (shape[0], *sides, shape[3]), np.int8, scale, zero_point)
        chosen = options(
            "Pool2D", padding=padding, strideH=strides[0], strideW=strides[1],
            filterHeight=kernel[0], filterWidth=kernel[1], fusedActivationFunction=activation,
        )  # fmt: skip
        m.op(name, [x], [y], chosen, version=2)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pool(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for kernel in ((1, 1), (2, 2), (3, 3), (2, 5), (4, 1)):
        for strides in ((1, 1), (2, 2), (3, 1)):
            for padding in (SAME, VALID):
                pool(batch, name, (1, 7, 6, 3), kernel, strides, padding=padding)
    pool(batch, name, (1, 25, 5, 16), (25, 5), (25, 5), padding=VALID)
    pool(batch, name, (1, 3, 2, 4), (5, 6), (1, 1))
    pool(batch, name, (1, 16, 16, 1), (16, 16), (1, 1), padding=VALID)
    for batches in (2, 3):
        pool(batch, name, (batches, 4, 5, 3), (2, 3), (2, 2))
    for depth in (1, 2, 4, 5, 8, 17):
        pool(batch, name, (1, 4, 4, depth), (2, 2), (2, 2))
    for zero_point in (-128, 0, 127):
        for activation in (0, ACTIVATIONS.RELU, ACTIVATIONS.RELU6, ACTIVATIONS.RELU_N1_TO_1):
            pool(
                batch, name, (1, 5, 5, 2), (3, 3), (1, 1),
                zero_point=zero_point, activation=activation,
            )  # fmt: skip
    batch.check(tmp_path, samples=12)
