"""SOFTMAX and the functions of one value against TFLM; every int8 value is tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph

ALL = (1, 16, 16, 4)
"""Random samples of 1,024 values leave no int8 value out."""


def unary(
    batch: Batch,
    name: str,
    scales: Sequence[float],
    zero_points: Sequence[int],
    shape: Sequence[int] = ALL,
) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", shape, np.int8, scales[0], zero_points[0])
        y = m.tensor("y", shape, np.int8, scales[1], zero_points[1])
        m.op(name, [x], [y])
        return [x], [y]

    batch.add(f"{name} {scales} {zero_points} {shape}", make)


SCALES = (1e-5, 0.001, 0.0039, 0.01, 0.0235, 1 / 32, 0.05, 0.1, 0.3, 1.0, 3.7)
ZERO_POINTS = (-128, -127, -60, -1, 0, 1, 50, 126, 127)


@pytest.mark.parametrize(
    ("name", "output"), [("LOGISTIC", (1 / 256, -128)), ("TANH", (1 / 128, 0))]
)
def test_function_with_fixed_output(tmp_path: Path, name: str, output: tuple[float, int]) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_point in ZERO_POINTS:
            unary(batch, name, (scale, output[0]), (zero_point, output[1]))
    batch.check(tmp_path)


def test_relu(tmp_path: Path) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_points in ((-128, -128), (0, 0), (127, 127), (3, -128), (-40, 22), (-128, 127)):
            unary(batch, "RELU", (0.05, scale), zero_points)
            unary(batch, "RELU", (scale, scale), zero_points)
    unary(batch, "RELU", (0.1, 0.1), (3, 3), (1, 1))
    # Ratios that are halves in float32 and not quite in float64.
    for scales in ((0.3, 0.2), (0.1, 0.2), (0.7, 0.2), (0.15, 0.06), (0.9, 3.6), (0.9, 0.2)):
        for zero_points in ((0, -128), (-100, -100), (0, 0)):
            unary(batch, "RELU", scales, zero_points)
    batch.check(tmp_path)


def test_relu6(tmp_path: Path) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_point in ZERO_POINTS:
            unary(batch, "RELU6", (scale, scale), (zero_point, zero_point))
    batch.check(tmp_path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_softmax(tmp_path: Path, dtype: Any) -> None:
    """Of int8, to int8 or to int16."""
    batch = Batch()
    probabilities = (1 / 256, -128) if dtype is np.int8 else (2.0**-16, -32768)

    def case(shape: Sequence[int], scale: float, beta: float, zero_point: int) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int8, scale, zero_point)
            y = m.tensor("y", shape, dtype, *probabilities)
            m.op("SOFTMAX", [x], [y], options("Softmax", beta=beta), version=2)
            return [x], [y]

        batch.add(f"{shape} {scale} {beta} {zero_point}", make)

    for depth in (1, 2, 3, 10, 12, 100, 257):
        for scale in (1e-4, 0.004, 0.05, 0.1, 0.33, 1.0, 25.0):
            case((1, depth), scale, 1.0, 0)
    for beta in (0.01, 0.5, 2.0, 10.0):
        case((1, 12), 0.1, beta, -7)
    for shape in ((4, 5), (2, 3, 6), (2, 2, 2, 7), (9,)):
        case(shape, 0.08, 1.0, 127)
    batch.check(tmp_path, samples=25)


def test_softmax_to_int16_over_its_input(tmp_path: Path) -> None:
    """What is not needed any more is written over; the sum of two makes room before it."""
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = m.tensor("x", (1, 400), np.int8, 0.05, 3)
        a, b = (m.tensor(n, (4, 50), np.int8, 0.05, 3) for n in "ab")
        y = m.tensor("y", (4, 50), np.int16, 2.0**-16, -32768)
        flat = m.tensor("flat", (8, 50), np.int8, 0.05, 3)
        axis = m.tensor("axis", (), np.int32, data=np.array(0))
        m.op("RESHAPE", [x], [flat], options("Reshape", newShape=[8, 50]))
        m.op("SPLIT", [axis, flat], [a, b], options("Split", numSplits=2), version=2)
        m.op("SOFTMAX", [b], [y], options("Softmax", beta=1.0), version=2)
        return [x], [a, y]

    batch.add("in place", make)
    batch.check(tmp_path, samples=20)


def test_a_function_that_changes_nothing_costs_nothing() -> None:
    batch = Batch()
    unary(batch, "RELU", (0.1, 0.1), (-128, -128))
    compiled = compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
    assert compiled.plan.size == 1024
    assert "eq_activation.h" not in compiled.files
