"""LOG_SOFTMAX and L2_NORMALIZATION against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

OUTPUTS = {"LOG_SOFTMAX": (1 / 16, 127), "L2_NORMALIZATION": (1 / 128, 0)}


def rows(
    batch: Batch,
    name: str,
    shape: Sequence[int],
    scale: float = 0.05,
    zero_point: int = -3,
    output: tuple[float, int] | None = None,
    **l2_options: int,
) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", shape, np.int8, scale, zero_point)
        y = m.tensor("y", shape, np.int8, *(output or OUTPUTS[name]))
        chosen = options("L2Norm", **l2_options) if name == "L2_NORMALIZATION" else None
        m.op(name, [x], [y], chosen, version=2)
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


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("LOG_SOFTMAX", dict(output=(1 / 8, 127)), "scale 1/16"),
        ("LOG_SOFTMAX", dict(scale=1e-9), "out of reach"),
        ("LOG_SOFTMAX", dict(shape=(1, 5000)), "5000 values a row"),
        ("L2_NORMALIZATION", dict(output=(1 / 128, 1)), "zero point 0"),
        ("L2_NORMALIZATION", dict(fusedActivationFunction=1), "fused activation"),
    ],
)
def test_what_is_refused(name: str, values: dict[str, Any], reason: str) -> None:
    batch = Batch()
    rows(batch, name, **{"shape": (1, 5), **values})
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
