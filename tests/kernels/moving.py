"""Tensors and refusals for the tests of operators that copy values to other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from host_program import Batch, export_of
from make_model import Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

Shape = Sequence[int]

TYPES = (np.int8, np.int16, np.int32, np.float32)


def value(m: Maker, name: str, shape: Shape, dtype: Any, zero_point: int = 7, **more: Any) -> int:
    """An activation; int16 has no zero point, and what is not quantized no scale."""
    if dtype is np.int8:
        return m.tensor(name, shape, dtype, 0.1, zero_point, **more)
    return m.tensor(name, shape, dtype, 0.1 if dtype is np.int16 else None, 0, **more)


def numbers(m: Maker, values: Any, dtype: Any = np.int32) -> int:
    data = np.array(values, dtype)
    return m.tensor("numbers", data.shape, dtype, data=data)


def refused(make: Any) -> str:
    """What compile_graph says of the case."""
    batch = Batch()
    batch.add("refused", make)
    with pytest.raises(DoesNotFit) as error:
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
    return str(error.value)
