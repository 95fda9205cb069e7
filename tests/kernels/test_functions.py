"""ABS, ELU, HARD_SWISH, LEAKY_RELU and RSQRT against TFLM; every int8 value is tried."""

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

ALL = (1, 16, 16, 4)
"""Random samples of 1,024 values leave no int8 value out."""

SCALES = (0.001, 0.0039, 0.01, 0.0235, 1 / 32, 0.05, 0.3, 1.0)
TIES = ((0.3, 0.2), (0.1, 0.2), (0.7, 0.2), (0.15, 0.06), (0.9, 3.6), (0.9, 0.2), (1 / 32, 0.05))
"""Ratios that are halves in float32 and not quite in float64."""

ZERO_POINTS = ((-128, -128), (0, 0), (127, 127), (3, -128), (-40, 22), (-128, 127))


def unary(
    batch: Batch,
    name: str,
    dtype: Any,
    scales: Sequence[float],
    zero_points: Sequence[int] = (0, 0),
    chosen: Any = None,
    shape: Sequence[int] = ALL,
    positive: bool = False,
) -> None:
    """`positive`: an operator before this one leaves no value below the zero point."""

    def make(m: Maker) -> tuple[list[int], list[int]]:
        x = used = m.tensor("x", shape, dtype, scales[0], zero_points[0])
        if positive:
            used = m.tensor("r", shape, dtype, scales[0], zero_points[0])
            m.op("ABS" if dtype == np.int16 else "RELU", [x], [used])
        y = m.tensor("y", shape, dtype, scales[1], zero_points[1])
        m.op(name, [used], [y], chosen)
        return [x], [y]

    batch.add(f"{name} {np.dtype(dtype)} {scales} {zero_points} {shape}", make)


def test_abs(tmp_path: Path) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_points in ZERO_POINTS:
            unary(batch, "ABS", np.int8, (0.05, scale), zero_points)
            unary(batch, "ABS", np.int8, (scale, scale), zero_points)
        for other in (scale, 0.05, scale * 0.37, scale * 3e4):
            unary(batch, "ABS", np.int16, (scale, other))
    for scales in TIES:
        unary(batch, "ABS", np.int8, scales, (4, -100))
        unary(batch, "ABS", np.int16, scales)
    unary(batch, "ABS", np.int16, (1.0, 0.4), shape=(7,))
    batch.check(tmp_path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_neg(tmp_path: Path, dtype: Any) -> None:
    """TFLM has none of integers."""
    batch = Batch()
    for zero_point in (0, 5, -127, 127) if dtype is np.int8 else (0,):
        unary(batch, "NEG", dtype, (0.1, 0.1), (zero_point, -zero_point))
    unary(batch, "NEG", dtype, (0.1, 0.1), (0, 0), shape=(1, 3))
    batch.check(tmp_path, kernels="litert")


@pytest.mark.parametrize(("scale", "zero_point"), [(0.2, -5), (0.1, 5), (0.1, -4)])
def test_a_neg_that_would_be_wrong_is_refused(scale: float, zero_point: int) -> None:
    """LiteRT looks at no scale and no zero point."""
    batch = Batch()
    unary(batch, "NEG", np.int8, (0.1, scale), (5, zero_point))
    with pytest.raises(DoesNotFit, match="another scale"):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_leaky_relu(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()
    for scale in SCALES:
        for i, zero_points in enumerate(ZERO_POINTS):
            for alpha in (0.1, (0.3, 0.01, 1.0, 2.5, 0.0, -0.3)[i]):
                chosen = options("LeakyRelu", alpha=alpha)
                unary(batch, "LEAKY_RELU", dtype, (0.05, scale), zero_points, chosen)
    for scales in TIES:
        for alpha in (0.5, 0.3, 0.7, -0.5, -0.3):
            unary(batch, "LEAKY_RELU", dtype, scales, (0, 3), options("LeakyRelu", alpha=alpha))
    unary(batch, "LEAKY_RELU", dtype, (0.05, 0.05), (5, 5), options("LeakyRelu", alpha=0.2), (7,))
    batch.check(tmp_path)


def test_elu(tmp_path: Path) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_points in ZERO_POINTS:
            unary(batch, "ELU", np.int8, (0.05, scale), zero_points)
            unary(batch, "ELU", np.int8, (scale, scale), zero_points)
    for scales in TIES:
        unary(batch, "ELU", np.int8, scales, (4, -30))
    # Results that are halves in float32 and not quite in float64.
    unary(batch, "ELU", np.int8, (0.19459986686706543, 0.38919973373413086))
    batch.check(tmp_path)


def test_hard_swish(tmp_path: Path) -> None:
    batch = Batch()
    for scale in (0.001, 0.0039, 0.01, 0.0235, 0.05, 0.3, 1.0, 7.0):
        for zero_points in ZERO_POINTS:
            unary(batch, "HARD_SWISH", np.int8, (scale, scale), zero_points)
            unary(batch, "HARD_SWISH", np.int8, (scale, scale * 0.51), zero_points)
            unary(batch, "HARD_SWISH", np.int8, (0.047, scale), zero_points)
    for scales in TIES:
        unary(batch, "HARD_SWISH", np.int8, scales, (-7, 4))
    # Its multiplier, rounded to 16 bits, is another one in float32 than in float64.
    unary(batch, "HARD_SWISH", np.int8, (0.15434350073337555, 0.17725498974323273))
    batch.check(tmp_path)


def test_rsqrt(tmp_path: Path) -> None:
    batch = Batch()
    for scale in SCALES:
        for zero_points in ZERO_POINTS:
            for output in (0.02, 0.5):
                unary(batch, "RSQRT", np.int8, (scale, output), zero_points, positive=True)
        for output in (1e-4, 0.001, 0.02, 0.5):
            unary(batch, "RSQRT", np.int16, (scale / 100, output), positive=True)
    batch.check(tmp_path)
