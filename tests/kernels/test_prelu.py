"""PRELU against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch
from make_model import Maker


def prelu(
    batch: Batch,
    dtype: Any,
    shape: Sequence[int],
    slopes: Sequence[int],
    scales: Sequence[float] = (0.05, 0.01, 0.04),
    zero_points: Sequence[int] = (3, 0, -7),
    computed: bool = False,
) -> None:
    """`scales` and `zero_points` of input, slopes and output."""
    random = np.random.default_rng(len(batch.cases))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", shape, dtype, scales[0], zero_points[0])
        data = None if computed else random.integers(-128, 128, slopes)
        a = m.tensor("a", slopes, np.int8, scales[1], zero_points[1], data=data)
        y = m.tensor("y", shape, dtype, scales[2], zero_points[2])
        m.op("PRELU", [x, a], [y])
        return [x, a] if computed else [x], [y]

    batch.add(f"{shape} {slopes} {scales} {zero_points} {computed}", make)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_prelu(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()
    for shape in ((1, 5, 4, 3), (2, 3, 1, 7), (1, 1, 1, 16)):
        for slopes in ((1, 1, shape[3]), shape[1:], (1,), (shape[3],), (1, *shape[1:3], 1)):
            prelu(batch, dtype, shape, slopes)
            prelu(batch, dtype, shape, slopes, computed=True)
    for zero_points in ((-128, -128, -128), (127, 127, 127), (-128, 127, 0), (0, -5, 127)):
        for scale in (0.001, 0.04, 0.3, 2.0):
            for slope_scale in (1e-4, 0.008, 1.0):
                prelu(batch, dtype, (1, 6, 5, 4), (4,), (0.05, slope_scale, scale), zero_points)
    prelu(batch, dtype, (9,), (9,))
    prelu(batch, dtype, (2, 3), (3,))
    batch.check(tmp_path)
