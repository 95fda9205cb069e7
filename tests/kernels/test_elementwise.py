"""Arithmetic of two activations against TFLM, with every way to broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, options
from make_model import Maker

ACTIVATIONS = schema.ActivationFunctionType
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


def binary(
    batch: Batch,
    name: str,
    kind: str,
    shapes: Sequence[Sequence[int]],
    *,
    scales: Sequence[float] = (0.05, 0.08, 0.1),
    zero_points: Sequence[int] = (3, -7, 10),
    activation: int = ACTIVATIONS.NONE,
    constant: int | None = None,
) -> None:
    """One case; `constant` says which input is one, if any."""
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k != "batch")
    random = np.random.default_rng(len(batch.cases))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        pair = []
        for i, shape in enumerate(shapes):
            data = random.integers(-128, 128, shape) if i == constant else None
            pair.append(m.tensor("ab"[i], shape, np.int8, scales[i], zero_points[i], data=data))
        shape = np.broadcast_shapes(*map(tuple, shapes))
        y = m.tensor("y", shape, np.int8, scales[2], zero_points[2])
        chosen = options(kind, fusedActivationFunction=activation)
        m.op(name, pair, [y], chosen, version=2)
        return [t for i, t in enumerate(pair) if i != constant], [y]

    batch.add(case, make)


@pytest.mark.parametrize(("name", "kind"), [("ADD", "Add")])
def test_binary(tmp_path: Path, name: str, kind: str) -> None:
    batch = Batch()
    for shapes in SHAPES:
        binary(batch, name, kind, shapes)
        for constant in (0, 1):
            binary(batch, name, kind, shapes, constant=constant)
    same = SHAPES[0]
    for scales in (
        (0.1, 0.1, 0.1), (0.5, 0.5, 0.5), (1.0, 1e-4, 1.0), (1e-4, 1.0, 1.0), (0.02, 0.03, 1e-3),
        (0.02, 0.03, 1e4), (1e-3, 1e-3, 1.0), (3e-7, 1.0, 0.9), (1.0, 2.0, 4.0),
    ):  # fmt: skip
        binary(batch, name, kind, same, scales=scales)
        binary(batch, name, kind, same, scales=scales, zero_points=(-128, 127, 0))
    for a in (-128, 0, 127):
        for b in (-128, 127):
            for c in (-128, 127):
                binary(batch, name, kind, same, zero_points=(a, b, c))
    for activation in (ACTIVATIONS.RELU, ACTIVATIONS.RELU6, ACTIVATIONS.RELU_N1_TO_1):
        binary(batch, name, kind, same, activation=activation)
        binary(batch, name, kind, SHAPES[2], activation=activation, zero_points=(0, 5, -128))
    batch.check(tmp_path, samples=10)
