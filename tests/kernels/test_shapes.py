"""RESHAPE, SQUEEZE and EXPAND_DIMS against TFLM, and shapes that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, options
from make_model import Maker
from moving import Shape, numbers, refused, value


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_reshape_squeeze_expand_dims(tmp_path: Path, dtype: Any) -> None:
    batch = Batch()

    def case(name: str, shape: Sequence[int], after: Sequence[int], *rest: object) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = value(m, "x", shape, dtype)
            inputs, chosen = [x], None
            if name == "SQUEEZE":
                chosen = options("Squeeze", squeezeDims=rest[0])
            elif name == "EXPAND_DIMS":
                inputs.append(m.tensor("axis", (1,), np.int32, data=np.array([rest[0]])))
            else:
                inputs.append(m.tensor("to", (len(after),), np.int32, data=np.array(after)))
                chosen = options("Reshape", newShape=list(after))
            y = value(m, "y", after, dtype)
            m.op(name, inputs, [y], chosen)
            return [x], [y]

        batch.add(f"{name} {shape} {after}", make)

    case("RESHAPE", (1, 4, 3, 2), (1, 24))
    case("RESHAPE", (6,), (2, 3))
    case("RESHAPE", (5, 1), (1, 5, 1))
    case("SQUEEZE", (1, 4, 1, 2), (4, 2), [])
    case("SQUEEZE", (1, 4, 1, 2), (1, 4, 2), [2])
    case("EXPAND_DIMS", (4, 3), (1, 4, 3), 0)
    case("EXPAND_DIMS", (4, 3), (4, 3, 1), -1)
    batch.check(tmp_path)


@pytest.mark.parametrize("name", ["TRANSPOSE", "SPACE_TO_DEPTH", "CAST", "QUANTIZE", "PACK"])
@pytest.mark.parametrize("shapes", [((2, 0), (0, 2)), ((2, 3), (3, 3))])
def test_shapes_that_do_not_fit_are_no_crash(name: str, shapes: Sequence[Shape]) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = (value(m, "xy"[i], shape, np.int8) for i, shape in enumerate(shapes))
        m.op(name, [x, numbers(m, (1, 0))] if name == "TRANSPOSE" else [x], [y])
        z, w = value(m, "z", (2,), np.int8), value(m, "w", (2,), np.int8)
        m.op("RELU", [z], [w])
        return [z] if 0 in shapes[0] else [x, z], [w]

    assert "do not fit together" in (text := refused(make)) or "no elements" in text
