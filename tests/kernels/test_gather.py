"""GATHER against TFLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from host_program import Batch, options
from make_model import Maker
from moving import Shape, numbers, refused, value


def test_gather(tmp_path: Path) -> None:
    batch = Batch()
    random = np.random.default_rng(8)

    def case(
        dtype: Any, shape: Shape, axis: int, form: Shape, shared: int = 0, constant: bool = False
    ) -> None:
        at = axis % len(shape)
        indices = random.integers(0, shape[at], form)
        data = random.integers(-100, 100, shape)

        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype, **({"data": data} if constant else {}))
            after = (*shape[:at], *form[shared:], *shape[at + 1 :])
            y = value(m, "y", after, dtype)
            chosen = options("Gather", axis=axis, batchDims=shared)
            m.op("GATHER", [x, numbers(m, indices)], [y], chosen, version=2)
            return [] if constant else [x], [y]

        batch.add(f"{dtype.__name__} {shape} {axis} {form} {shared} {constant}", make)

    for dtype in (np.int8, np.float32):
        for shape in ((6,), (4, 5), (2, 3, 4), (2, 3, 4, 2)):
            for axis in range(-1, len(shape)):
                for form in ((), (3,), (2, 3)):
                    case(dtype, shape, axis, form)
        case(dtype, (2, 5, 3), 1, (2, 4), 1)
        case(dtype, (2, 5, 3), 2, (2, 4), 1)
        case(dtype, (2, 3, 5), 2, (2, 3, 4), 2)
        case(dtype, (2, 3, 5, 2), 2, (2, 3), 2)
        case(dtype, (20, 3), 0, (4,), constant=True)
    batch.check(tmp_path)


def test_an_index_that_is_not_there() -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = value(m, "x", (1, 3), np.int8), value(m, "y", (1, 2), np.int8)
        m.op("GATHER", [x, numbers(m, (0, 3))], [y], options("Gather", axis=1))
        return [x], [y]

    assert "beyond the 3" in refused(make)
