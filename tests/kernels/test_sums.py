"""SUM, MEAN of int16, REDUCE_MAX and REDUCE_MIN against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, export_of, options
from make_model import Maker
from test_reductions import SHAPES_AND_AXES

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit


def reduction(
    m: Maker,
    name: str,
    dtype: Any,
    shape: Sequence[int],
    axes: Sequence[int],
    *,
    keep: bool = False,
    scales: Sequence[float] = (0.05, 0.03),
    zero_points: Sequence[int] = (3, -7),
) -> tuple[list[int], list[int]]:
    reduced = {a % len(shape) for a in axes}
    left = [1 if a in reduced else s for a, s in enumerate(shape) if keep or a not in reduced]
    x = m.tensor("x", shape, dtype, scales[0], zero_points[0])
    which = m.tensor("axes", (len(axes),), np.int32, data=np.array(axes))
    y = m.tensor("y", left, dtype, scales[1], zero_points[1])
    m.op(name, [x, which], [y], options("Reducer", keepDims=keep), version=2)
    return [x], [y]


def add(batch: Batch, *case: Any, **values: Any) -> None:
    batch.add(f"{case} {values}", lambda m: reduction(m, *case, **values))


ALL = [("SUM", np.int8), ("SUM", np.int16), ("MEAN", np.int16)]


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_mean_and_sum(tmp_path: Path, name: str, dtype: Any) -> None:
    batch = Batch()
    output = 0.05 if name == "MEAN" else 0.8
    for shape, axes in SHAPES_AND_AXES:
        for keep in (False, True):
            for scales in ((0.05, output), (0.07, output)):
                add(batch, name, dtype, shape, axes, keep=keep, scales=scales)
    for scales in ((0.1, 0.1), (1.0, 1e-3), (1e-3, 1.0), (1.0, 0.25), (1e-9, 1.0), (1.0, 1e-6)):
        for zero_points in ((-128, 127), (127, -128), (0, 0), (-128, -128)):
            add(
                batch, name, dtype, (1, 5, 5, 4), (1, 2), scales=scales, zero_points=zero_points
            )  # fmt: skip
    add(batch, name, dtype, (1, 64, 64, 2), (1, 2), scales=(0.05, output))
    batch.check(tmp_path, samples=12)


@pytest.mark.parametrize("name", ["REDUCE_MAX", "REDUCE_MIN"])
def test_extremes(tmp_path: Path, name: str) -> None:
    batch = Batch()
    for shape, axes in SHAPES_AND_AXES:
        for keep in (False, True):
            for zero_point in (-128, 5):
                add(
                    batch, name, np.int8, shape, axes,
                    keep=keep, scales=(0.05, 0.05), zero_points=(zero_point, zero_point),
                )  # fmt: skip
    batch.check(tmp_path, samples=12)


@pytest.mark.parametrize(
    ("name", "scales", "reason"),
    [
        ("REDUCE_MAX", (0.1, 0.2), "differ in scale"),
        ("REDUCE_MIN", (0.1, 0.2), "differ in scale"),
        ("SUM", (1.0, 1e-12), "scales its output up"),
    ],
)
def test_what_is_refused(name: str, scales: Sequence[float], reason: str) -> None:
    m = Maker()
    x, y = reduction(m, name, np.int8, (4, 3), (1,), scales=scales, zero_points=(0, 0))
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(m.bytes(x, y)))
