"""BATCH_MATMUL against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker


def matmul(
    batch: Batch,
    dtype: Any,
    sides: Sequence[Sequence[int]],
    sizes: Sequence[int] = (3, 5, 4),
    *,
    transposed: Sequence[bool] = (False, False),
    scales: Sequence[float] = (0.02, 0.03, 0.05),
    zero_points: Sequence[int] = (3, -5, 7),
    constant: int | None = None,
) -> None:
    """`sides` before both matrices, `sizes`: rows, depth, columns; `constant`: which input is."""
    random = np.random.default_rng(len(batch.cases))
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random"))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        matrices = [[*sizes[:2]], [*sizes[1:]]]
        inputs = []
        for i in (0, 1):
            shape = [*sides[i], *(matrices[i][::-1] if transposed[i] else matrices[i])]
            data = random.integers(-127, 128, shape) if constant == i else None
            zero_point = zero_points[i] if dtype == np.int8 else 0
            inputs.append(m.tensor("ab"[i], shape, dtype, scales[i], zero_point, data=data))
        shape = [*np.broadcast_shapes(*map(tuple, sides)), sizes[0], sizes[2]]
        zero_point = zero_points[2] if dtype == np.int8 else 0
        y = m.tensor("y", shape, dtype, scales[2], zero_point)
        chosen = options("BatchMatMul", adjX=transposed[0], adjY=transposed[1])
        m.op("BATCH_MATMUL", inputs, [y], chosen, version=4)
        return [x for i, x in enumerate(inputs) if i != constant], [y]

    batch.add(case, make)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_batch_matmul(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()
    ways = [(a, b) for a in (False, True) for b in (False, True)]
    for transposed in ways:
        for sides in (
            ((), ()),
            ((1,), (1,)),
            ((3,), (3,)),
            ((3,), (1,)),
            ((1,), (3,)),
            ((3,), ()),
            ((), (3,)),
            ((2, 3), (2, 3)),
            ((2, 3), (2, 1)),
            ((2, 1), (1, 3)),
            ((2, 3), (3,)),
            ((2, 1, 3), (2, 2, 1)),
        ):
            matmul(batch, dtype, sides, transposed=transposed)
        for sizes in ((1, 1, 1), (1, 7, 1), (5, 1, 2), (8, 16, 8), (1, 33, 17)):
            matmul(batch, dtype, ((), ()), sizes, transposed=transposed)
        matmul(batch, dtype, ((2,), ()), transposed=transposed, constant=1)
        matmul(batch, dtype, ((2,), (2,)), transposed=transposed, constant=0)
    for zero_points in ((-128, -128, -128), (127, 127, 127), (-128, 127, 0), (0, 0, -128)):
        for scale in (1e-4, 0.011, 0.7, 5.0):
            scales = (0.02, 0.03 * scale, 0.01)
            matmul(batch, dtype, ((), ()), scales=scales, zero_points=zero_points)
    # Factors that are halves in float32 and not quite in float64.
    for scales in ((0.3, 0.2, 0.12), (0.1, 0.7, 0.14), (0.9, 0.5, 0.9), (0.15, 0.2, 0.06)):
        matmul(batch, dtype, ((2,), (2,)), (6, 3, 7), scales=scales, zero_points=(0, 0, 0))
    batch.check(tmp_path)
