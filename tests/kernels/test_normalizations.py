"""LOG_SOFTMAX and L2_NORMALIZATION against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker

OUTPUTS = {"LOG_SOFTMAX": (1 / 16, 127), "L2_NORMALIZATION": (1 / 128, 0)}


def rows(
    batch: Batch, name: str, shape: Sequence[int], scale: float = 0.05, zero_point: int = -3
) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", shape, np.int8, scale, zero_point)
        y = m.tensor("y", shape, np.int8, *OUTPUTS[name])
        m.op(name, [x], [y], options("L2Norm") if name == "L2_NORMALIZATION" else None, version=2)
        return [x], [y]

    batch.add(f"{name} {shape} {scale} {zero_point}", make)


@pytest.mark.parametrize("name", list(OUTPUTS))
def test_rows(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for depth in (1, 2, 3, 5, 10, 64, 257):
        for scale in (1e-4, 0.004, 0.03, 0.1, 0.33, 1.0, 25.0):
            rows(batch, name, (1, depth), scale)
    for zero_point in (-128, -1, 0, 1, 90, 127):
        for depth in (1, 2, 7, 33):
            rows(batch, name, (5, depth), 0.07, zero_point)
    for shape in ((4, 5), (2, 3, 6), (2, 2, 2, 7), (9,), (1, 1, 1, 1000)):
        rows(batch, name, shape)
    batch.check(tmp_path, samples=25)
