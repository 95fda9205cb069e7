"""Arithmetic of two activations against TFLM, with every way to broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, export_of, options
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

ACTIVATIONS = schema.ActivationFunctionType
OPTIONS = {
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "MAXIMUM": "MaximumMinimum",
    "MINIMUM": "MaximumMinimum",
    "SQUARED_DIFFERENCE": "SquaredDifference",
}
CASES = [(name, dtype) for name in OPTIONS for dtype in (np.int8, np.int16)]
SHAPES = [
    ((1, 4, 5, 3), (1, 4, 5, 3)),
    ((7,), (7,)),
    ((1, 4, 5, 3), (1, 1, 1, 3)),
    ((1, 1, 1, 3), (1, 4, 5, 3)),
    ((2, 4, 5, 3), (1,)),
    ((1,), (2, 3)),
    ((2, 4, 5, 3), (3,)),
    ((2, 4, 5, 3), (2, 1, 5, 1)),
    ((2, 1, 5, 1), (1, 4, 1, 3)),
    ((2, 4, 1, 3), (4, 6, 1)),
    ((2, 1, 3, 1, 2), (1, 4, 3, 5, 2)),
    ((1, 1), (1, 1)),
    ((), ()),
    ((), (2, 2)),
]
UNIT = {np.int8: 1.0, np.int16: 1 / 256}
"""Scales are for int8; those of int16 are as much smaller as its values are larger."""


def binary(
    batch: Batch,
    name: str,
    dtype: Any,
    shapes: Sequence[Sequence[int]] = SHAPES[0],
    *,
    scales: Sequence[float] = (0.05, 0.08, 0.1),
    zero_points: Sequence[int] = (3, -7, 10),
    activation: int = ACTIVATIONS.NONE,
    constant: int | None = None,
) -> None:
    """One case; `constant` says which input is one, if any."""
    if dtype == np.int16 and name in ("MUL", "SQUARED_DIFFERENCE"):
        zero_points = (0, 0, 0)
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")
    random = np.random.default_rng(len(batch.cases))
    limits = np.iinfo(dtype)
    # Products and squares are as large as int16 values are, twice.
    unit = UNIT[dtype]
    last = unit if name not in ("MUL", "SQUARED_DIFFERENCE") else unit * (20 if unit == 1 else 0.1)

    def make(m: Maker) -> tuple[list[int], list[int]]:
        pair = []
        for i, shape in enumerate(shapes):
            data = None
            if i == constant:
                data = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
            pair.append(
                m.tensor("ab"[i], shape, dtype, scales[i] * unit, zero_points[i], data=data)
            )
        shape = np.broadcast_shapes(*map(tuple, shapes))
        y = m.tensor("y", shape, dtype, scales[2] * last, zero_points[2])
        fused = {"fusedActivationFunction": activation} if name in ("ADD", "SUB", "MUL") else {}
        m.op(name, pair, [y], options(OPTIONS[name], **fused), version=2)
        return [t for i, t in enumerate(pair) if i != constant], [y]

    batch.add(case, make)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_binary(tmp_path: Path, name: str, dtype: Any) -> None:
    batch = Batch()
    for shapes in SHAPES:
        binary(batch, name, dtype, shapes)
        for constant in (0, 1):
            binary(batch, name, dtype, shapes, constant=constant)
    for scales in (
        (0.1, 0.1, 0.1), (0.5, 0.5, 0.5), (1.0, 1e-4, 1.0), (1e-4, 1.0, 1.0), (0.02, 0.03, 1e-3),
        (0.02, 0.03, 1e4), (1e-3, 1e-3, 1.0), (3e-7, 1.0, 0.9), (1.0, 2.0, 4.0), (1.0, 2.0, 0.5),
        (0.25, 0.25, 0.125),
    ):  # fmt: skip
        binary(batch, name, dtype, scales=scales)
        binary(batch, name, dtype, scales=scales, zero_points=(-128, 127, 0))
    for a in (-128, 0, 127):
        for b in (-128, 127):
            for c in (-128, 127):
                binary(batch, name, dtype, zero_points=(a, b, c))
    if name in ("ADD", "SUB", "MUL"):
        for activation in (ACTIVATIONS.RELU, ACTIVATIONS.RELU6, ACTIVATIONS.RELU_N1_TO_1):
            binary(batch, name, dtype, activation=activation)
            binary(batch, name, dtype, SHAPES[2], activation=activation, zero_points=(0, 5, -128))
    batch.check(tmp_path, samples=10)


@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if "MUM" not in c[0]])
def test_many_scales(tmp_path: Path, name: str, dtype: Any) -> None:
    """A factor that is wrong in its last bits, as in float32 for float64, rounds elsewhere."""
    batch = Batch()
    random = np.random.default_rng(6)
    for _ in range(80):
        a, b, y = random.uniform(0.01, 0.2, 3)
        shape = (40, 25)
        zero_points = [int(z) for z in random.integers(-128, 128, 3)]
        binary(batch, name, dtype, (shape, shape), scales=(a, b, y), zero_points=zero_points)
    batch.check(tmp_path, samples=20)


@pytest.mark.parametrize("name", ["MAXIMUM", "MINIMUM"])
def test_scales_are_not_looked_at(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for scales in ((0.1, 0.2, 0.3), (1.0, 1e-3, 1.0)):
        binary(batch, name, np.int8, scales=scales, zero_points=(-128, 0, 127))
    batch.check(tmp_path)


@pytest.mark.parametrize(
    ("name", "dtype", "scales", "zero_points", "reason"),
    [
        ("SUB", np.int8, (1.0, 1.0, 1e-7), (0, 0, 0), "scale is too small"),
        ("ADD", np.int16, (1.0, 1.0, 1e-7), (0, 0, 0), "scale is too small"),
        ("MUL", np.int8, (1.0, 1.0, 1e-12), (0, 0, 0), "scales its output up"),
        ("MUL", np.int16, (1.0, 1.0, 1.0), (1, 0, 0), "has a zero point"),
        ("SQUARED_DIFFERENCE", np.int16, (1.0, 1.0, 1.0), (0, 0, 1), "has a zero point"),
    ],
)
def test_what_is_refused(
    name: str, dtype: Any, scales: Sequence[float], zero_points: Sequence[int], reason: str
) -> None:
    m = Maker()
    a, b, y = (m.tensor("aby"[i], (4,), dtype, scales[i], zero_points[i]) for i in range(3))
    m.op(name, [a, b], [y], options(OPTIONS[name]), version=2)
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(m.bytes([a, b], [y])))


def test_addition_by_two_multiplications(tmp_path: Path) -> None:
    """On cores with DSP, of one shape; every pair of values is among the inputs."""
    batch = Batch()
    random = np.random.default_rng(3)
    for case in range(24):
        scales = random.uniform(0.01, 0.2, 2)
        after = float(scales.max() * random.uniform(0.6, 3))
        points = random.choice([-128, -3, 0, 17, 127], 3)
        activation = ACTIVATIONS.RELU if case % 2 else ACTIVATIONS.NONE
        shapes = ((1, 64 + case % 5, 1000), (1, 64 + case % 5, 1000))
        binary(
            batch, "ADD", np.int8, shapes, scales=(*map(float, scales), after),
            zero_points=[int(p) for p in points[:2]] + [-128 if case % 2 else int(points[2])],
            activation=activation,
        )  # fmt: skip
    for shapes in SHAPES:
        binary(batch, "ADD", np.int8, shapes)
    compiled = batch.check(tmp_path, samples=1, core="cortex-m4")
    assert "eq_add_flat_s8_dsp.c" in compiled.sources
