"""AVERAGE_POOL_2D and MAX_POOL_2D against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker

ACTIVATIONS = schema.ActivationFunctionType
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


def add_pool(
    batch: Batch,
    name: str,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    *,
    dtype: Any = np.int8,
    padding: int = SAME,
    activation: int = ACTIVATIONS.NONE,
    zero_point: int = 4,
) -> None:
    facts = (dtype, 0.05, zero_point) if dtype is np.int8 else (dtype, 3e-4, 0)
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")

    def make(m: Maker) -> tuple[list[int], list[int]]:
        sides = [
            -(-size // stride) if padding == SAME else -(-(size - k + 1) // stride)
            for size, k, stride in zip(shape[1:3], kernel, strides, strict=True)
        ]
        x = m.tensor("x", shape, *facts)
        y = m.tensor("y", (shape[0], *sides, shape[3]), *facts)
        chosen = options(
            "Pool2D", padding=padding, strideH=strides[0], strideW=strides[1],
            filterHeight=kernel[0], filterWidth=kernel[1], fusedActivationFunction=activation,
        )  # fmt: skip
        m.op(name, [x], [y], chosen, version=3)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pool(tmp_path: Path, name: str, dtype: Any) -> None:
    batch = Batch()
    pool = partial(add_pool, dtype=dtype)
    for kernel in ((1, 1), (2, 2), (3, 3), (2, 5), (4, 1)):
        for strides in ((1, 1), (2, 2), (3, 1)):
            for padding in (SAME, VALID):
                pool(batch, name, (1, 7, 6, 3), kernel, strides, padding=padding)
    pool(batch, name, (1, 25, 5, 16), (25, 5), (25, 5), padding=VALID)
    pool(batch, name, (1, 3, 2, 4), (5, 6), (1, 1))
    for size in (16, 32):
        pool(batch, name, (1, size, size, 1), (size, size), (1, 1), padding=VALID)
    for shape in ((1, 9, 1, 2), (1, 1, 9, 2), (1, 11, 3, 1), (2, 3, 11, 3)):
        for kernel in ((3, 1), (1, 3), (2, 2), (4, 4)):
            pool(batch, name, shape, kernel, (1, 2))
    for batches in (2, 3):
        pool(batch, name, (batches, 4, 5, 3), (2, 3), (2, 2))
    for depth in (1, 2, 4, 5, 8, 17):
        pool(batch, name, (1, 4, 4, depth), (2, 2), (2, 2))
    for zero_point in (-128, 0, 127) if dtype is np.int8 else (0,):
        for activation in (0, ACTIVATIONS.RELU, ACTIVATIONS.RELU6, ACTIVATIONS.RELU_N1_TO_1):
            pool(
                batch, name, (1, 5, 5, 2), (3, 3), (1, 1),
                zero_point=zero_point, activation=activation,
            )  # fmt: skip
    batch.check(tmp_path, samples=12)
