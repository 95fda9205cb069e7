"""Channels first in ONNX and PyTorch, channels last in TFLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ModelError

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)

_COLOURS = (1, 3, 4)


def is_image(shape: Sequence[int]) -> bool:
    """Whether an input of this shape has channels first, which move to the end.

    Four dimensions have; but an image whose last one alone is a number of colours has them there
    already.
    """
    return len(shape) == 4 and not (shape[3] in _COLOURS and shape[1] not in _COLOURS)


def last(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[i] for i in TO_LAST)


def moved(value: NDArray[Any], order: Sequence[int] | None) -> NDArray[Any]:
    return value if order is None else np.ascontiguousarray(np.transpose(value, order))


def fixed(
    name: str, sizes: Sequence[int | None], input_shapes: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """The shape of input `name`, a dynamic batch as 1. Raises ModelError for what stays open."""
    asked = input_shapes.get(name)
    if asked is not None:
        if len(asked) != len(sizes) or any(
            s not in (None, a) for s, a in zip(sizes, asked, strict=True)
        ):
            shown = ",".join("?" if s is None else str(s) for s in sizes)
            raise ModelError(
                f"--input-shape {name}={','.join(map(str, asked))}: the file has ({shown})",
                hint="give the sizes in the file's own order, channels first where it has them so",
            )
        return asked
    shape = [1 if i == 0 and s is None else s for i, s in enumerate(sizes)]
    if None in shape:
        shown = ",".join("?" if s is None else str(s) for s in shape)
        raise ModelError(
            f"input {name!r} has a dynamic shape ({shown}): dimension {shape.index(None)} is not "
            "fixed",
            hint=f"fix it for this build: --input-shape {name}={shown.replace('?', 'N')} with a "
            "number for each N, in the file's own order",
        )
    return tuple(int(s) for s in shape if s is not None)


def refuse_unused(input_shapes: dict[str, tuple[int, ...]], names: Sequence[str]) -> None:
    for name in input_shapes:
        if name not in names:
            raise ModelError(f"no input {name!r}", hint=f"its inputs are: {', '.join(names)}")
