"""Pools, SOFTMAX and functions of one value of int16 against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

UNIT = 2.0**-15
SCALES = (
    1e-6, 1e-5, 1e-4, 2e-4, 2.0**-13, 2.0**-12, 2.0**-12 * 1.0005, 2.0**-12 * 0.999, 3e-4, 2.0**-11,
    0.001, 0.0033, 0.01, 0.1,
)  # fmt: skip


def unary(
    batch: Batch,
    name: str,
    scales: Sequence[float],
    shape: Sequence[int] = (1, 16, 16, 16),
    beta: float | None = None,
    zero_points: Sequence[int] = (0, 0),
) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", shape, np.int16, scales[0], zero_points[0])
        y = m.tensor("y", shape, np.int16, scales[1], zero_points[1])
        m.op(name, [x], [y], None if beta is None else options("Softmax", beta=beta), version=3)
        return [x], [y]

    batch.add(f"{name} {scales} {shape} {beta}", make)


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH"])
def test_sigmoid(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for scale in SCALES:
        for factor in (1.0, 1.3, 0.77, 0.61, 1.9):
            unary(batch, name, (scale * factor, UNIT))
    for shape in ((1,), (3,), (2, 3)):
        unary(batch, name, (2.0**-12, UNIT), shape)
    batch.check(tmp_path, samples=16)


@pytest.mark.parametrize("name", ["RELU", "RELU6"])
def test_relu(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for scale in SCALES:
        unary(batch, name, (scale, scale), (1, 8, 8, 8))
        if name == "RELU":
            for ratio in (0.5, 0.9, 1.7, 2.0, 3.3):
                unary(batch, name, (scale, scale * ratio), (1, 8, 8, 8))
        else:
            for factor in (0.6, 1.1, 1.3, 2.7):
                unary(batch, name, (scale * factor, scale * factor), (1, 8, 8, 8))
    unary(batch, name, (1e-3, 1e-3), (1, 1))
    batch.check(tmp_path)


def test_softmax(tmp_path: Path) -> None:
    batch = Batch()
    for depth in (1, 2, 3, 10, 12, 100, 257):
        for scale in (1e-7, 1e-5, 1e-4, 10 / 65535, 3e-4, 0.001, 0.01, 0.1):
            unary(batch, "SOFTMAX", (scale, UNIT), (4, depth), 1.0)
    for beta in (0.01, 0.5, 2.0, 10.0):
        unary(batch, "SOFTMAX", (1e-4, UNIT), (3, 12), beta)
    for shape in ((4, 5), (2, 3, 6), (2, 2, 2, 7), (9,)):
        unary(batch, "SOFTMAX", (2e-4, UNIT), shape, 1.0)
    # Long rows of like values: every part of the tables, and sums of every size.
    for scale in (1e-6, 1e-5, 1e-4):
        unary(batch, "SOFTMAX", (scale, UNIT), (2, 5000), 1.0)
    batch.check(tmp_path, samples=25)


@pytest.mark.parametrize(
    ("name", "scales", "zero_points", "reason"),
    [
        ("LOGISTIC", (1e-3, 1e-3), (0, 0), "scale 1/32768"),
        ("TANH", (1e-3, UNIT), (1, 0), "has a zero point"),
        ("TANH", (10.0, UNIT), (0, 0), "out of range"),
        ("SOFTMAX", (1e-3, 1 / 256), (0, 0), "scale 1/32768"),
        ("RELU", (1e-3, 1e-3), (0, 1), "has a zero point"),
    ],
)
def test_what_is_refused(
    name: str, scales: Sequence[float], zero_points: Sequence[int], reason: str
) -> None:
    batch = Batch()
    beta = 1.0 if name == "SOFTMAX" else None
    unary(batch, name, scales, (2, 4), beta, zero_points)
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
