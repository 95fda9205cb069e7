"""ARG_MAX and ARG_MIN against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker

SHAPES = [(9,), (1, 10), (3, 7), (2, 3, 4), (1, 4, 5, 3), (2, 1, 6, 2), (2, 3, 2, 3, 2), (1, 1000)]


@pytest.mark.parametrize(("name", "kind"), [("ARG_MAX", "ArgMax"), ("ARG_MIN", "ArgMin")])
def test_arg(tmp_path: Path, name: str, kind: str) -> None:
    batch = Batch()

    def case(shape: Sequence[int], axis: int, zero_point: int) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int8, 0.1, zero_point)
            which = m.tensor("axis", (1,), np.int32, data=np.array([axis]))
            after = [s for a, s in enumerate(shape) if a != axis % len(shape)]
            y = m.tensor("y", after, np.int32)
            m.op(name, [x, which], [y], options(kind, outputType=2), version=2)
            return [x], [y]

        batch.add(f"{shape} {axis} {zero_point}", make)

    for shape in SHAPES:
        for axis in range(-len(shape), len(shape)):
            for zero_point in (-128, 5):
                case(shape, axis, zero_point)
    batch.check(tmp_path, samples=20)


def test_what_is_the_greatest_chooses_a_row(tmp_path: Path) -> None:
    """GATHER by indices that are computed."""
    batch = Batch()
    rows = np.random.default_rng(0).integers(-128, 128, (6, 4))
    for constant in (False, True):

        def make(m: Maker, constant: bool = constant) -> tuple[list[int], list[int]]:
            data = {"data": rows} if constant else {}
            x = m.tensor("x", (6, 4), np.int8, 0.1, 0, **data)
            scores = m.tensor("scores", (5, 6), np.int8, 0.1, 0)
            axis = m.tensor("axis", (1,), np.int32, data=np.array([1]))
            best = m.tensor("best", (5,), np.int32)
            y = m.tensor("y", (5, 4), np.int8, 0.1, 0)
            m.op("ARG_MAX", [scores, axis], [best], options("ArgMax", outputType=2), version=2)
            m.op("GATHER", [x, best], [y], options("Gather"), version=2)
            return [scores] if constant else [x, scores], [y]

        batch.add(f"constant {constant}", make)
    batch.check(tmp_path, samples=20)
