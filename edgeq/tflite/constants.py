"""Constants of a .tflite that get other values of the same shape and type, in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import Graph
from edgeq.tflite.reader import read_graph


def lone_constants(graph: Graph) -> frozenset[int]:
    """Constants of the main subgraph whose bytes no other tensor has, and that one operator reads:
    to change one changes nothing else."""
    held = [t.data for s in graph.subgraphs for t in s.tensors if t.data is not None]
    uses = Counter(_address(data) for data in held if data.size)
    readers = Counter(i for op in graph.main.ops for i in op.inputs)
    return frozenset(
        t.index
        for t in graph.main.tensors
        if t.data is not None and readers[t.index] == 1 and uses[_address(t.data)] <= 1
    )


def with_constants(tflite: bytes, values: Mapping[int, NDArray[Any]]) -> bytes:
    """The model with `values` in place of those lone_constants(), by tensor index."""
    tensors = read_graph(tflite).main.tensors
    start = _address(np.frombuffer(tflite, np.uint8))
    made = bytearray(tflite)
    for index, value in values.items():
        data = tensors[index].data
        assert data is not None and data.shape == value.shape
        stored = np.ascontiguousarray(value, data.dtype).tobytes()
        place = _address(data) - start
        made[place : place + len(stored)] = stored
    return bytes(made)


def _address(data: NDArray[Any]) -> int:
    return int(data.__array_interface__["data"][0])
