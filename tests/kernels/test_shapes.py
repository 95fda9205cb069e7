"""Operators that move values against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from host_program import Batch, options
from make_model import Maker


def test_reshape_squeeze_expand_dims(tmp_path: Path) -> None:
    batch = Batch()

    def case(name: str, shape: Sequence[int], after: Sequence[int], *rest: object) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int8, 0.1, 5)
            inputs, chosen = [x], None
            if name == "SQUEEZE":
                chosen = options("Squeeze", squeezeDims=rest[0])
            elif name == "EXPAND_DIMS":
                inputs.append(m.tensor("axis", (1,), np.int32, data=np.array([rest[0]])))
            else:
                inputs.append(m.tensor("to", (len(after),), np.int32, data=np.array(after)))
                chosen = options("Reshape", newShape=list(after))
            y = m.tensor("y", after, np.int8, 0.1, 5)
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


def test_pad(tmp_path: Path) -> None:
    batch = Batch()

    def case(shape: Sequence[int], paddings: Sequence[Sequence[int]], zero_point: int = 9) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int8, 0.1, zero_point)
            how = m.tensor("paddings", (len(shape), 2), np.int32, data=np.array(paddings))
            after = [s + a + b for s, (a, b) in zip(shape, paddings, strict=True)]
            y = m.tensor("y", after, np.int8, 0.1, zero_point)
            m.op("PAD", [x, how], [y], options("Pad"))
            return [x], [y]

        batch.add(f"{shape} {paddings} {zero_point}", make)

    none, one = (0, 0), (1, 1)
    for shape in ((1, 4, 5, 3), (2, 3, 1, 2), (1, 1, 1, 1)):
        for paddings in (
            (none, one, one, none),
            (none, (0, 1), (2, 0), none),
            (none, none, (1, 3), none),
            (none, (2, 1), none, none),
            (none, none, none, (1, 2)),
            (none, one, none, one),
            (one, none, one, none),
            (one, (1, 2), (3, 1), (2, 5)),
            (none, none, none, none),
        ):
            for zero_point in (-128, 0, 127):
                case(shape, paddings, zero_point)
    case((5,), ((2, 3),))
    case((2, 3), ((0, 1), (1, 0)))
    case((2, 3), ((1, 0), none))
    case((2, 3, 4), (none, (1, 1), (0, 2)))
    case((2, 1, 3, 2, 2), (one, (0, 1), none, (2, 2), (1, 0)))
    case((2, 1, 3, 2, 2), (one, one, one, one, one))
    batch.check(tmp_path)
