"""Frozen facts about one .tflite model: Graph, Subgraph, Op, Tensor, Quantization.

Nothing here knows how the file is encoded (edgeq.tflite.reader does) or what an operator costs
(edgeq.complexity does).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT_TYPES = frozenset({"float16", "bfloat16", "float32", "float64"})

BITS = {
    "bool": 8,
    "int2": 2,
    "int4": 4,
    "uint4": 4,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "float16": 16,
    "bfloat16": 16,
    "int32": 32,
    "uint32": 32,
    "float32": 32,
    "int64": 64,
    "uint64": 64,
    "float64": 64,
    "complex64": 64,
    "complex128": 128,
}
"""Bits of one element, for the types that have a size (string, resource and variant do not)."""


@dataclass(frozen=True)
class Quantization:
    """real = scale * (q - zero_point), per tensor or per slice along `axis`."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        return len(self.scales) > 1

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantization."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        return self.zero_points[0]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor. `data` is None for activations, else a read-only view into the file.

    Types of less than a byte, and constants that are `is_sparse`, keep their coding there: bytes.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: NDArray[Any] | None = None
    dynamic_dims: tuple[int, ...] = ()
    is_variable: bool = False
    is_sparse: bool = False

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOAT_TYPES

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements; 0 for types without a size."""
        return (self.elements * BITS.get(self.dtype, 0) + 7) // 8


@dataclass(frozen=True)
class Op:
    """One operator call. Inputs of -1 stand for an optional tensor that is absent."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    subgraphs: tuple[int, ...] = ()

    @property
    def tensors(self) -> tuple[int, ...]:
        """Inputs and outputs that are there."""
        return tuple(i for i in self.inputs + self.outputs if i >= 0)


@dataclass(frozen=True)
class Subgraph:
    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ops: tuple[Op, ...]

    def input_tensors(self, op: Op) -> list[Tensor | None]:
        return [self.tensors[i] if i >= 0 else None for i in op.inputs]

    def output_tensors(self, op: Op) -> list[Tensor]:
        return [self.tensors[i] for i in op.outputs]


@dataclass(frozen=True)
class Port:
    """An input or output as its user sees it: the signature's name and the tensor behind it."""

    name: str
    tensor: Tensor


@dataclass(frozen=True)
class Signature:
    """A named entry point: (name, tensor index) pairs in the signature's own order."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Graph:
    """One .tflite model. `main` is the subgraph that an interpreter runs by default."""

    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    description: str
    schema_version: int
    file_size: int

    @property
    def main(self) -> Subgraph:
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The main subgraph's inputs, in its order, by their signature names, made unique."""
        return self._ports(self.main.inputs, "inputs")

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self._ports(self.main.outputs, "outputs")

    def reachable(self) -> Iterator[tuple[int, Subgraph]]:
        """The subgraphs that a run can enter, from the main one and the signatures."""
        pending = [0, *(s.subgraph for s in self.signatures)]
        seen: set[int] = set()
        while pending:
            index = pending.pop()
            if index in seen:
                continue
            seen.add(index)
            pending += [i for op in self.subgraphs[index].ops for i in op.subgraphs]
        for index in sorted(seen):
            yield index, self.subgraphs[index]

    def _ports(self, indexes: tuple[int, ...], side: str) -> tuple[Port, ...]:
        names: dict[int, str] = {}
        for signature in self.signatures:
            if signature.subgraph == 0:
                names = {index: name for name, index in getattr(signature, side)}
                break
        tensors = [self.main.tensors[i] for i in indexes]
        found = [names.get(t.index) or _plain_name(t.name, side, n) for n, t in enumerate(tensors)]
        return tuple(Port(n, t) for n, t in zip(unique_names(found), tensors, strict=True))


def unique_names(names: Sequence[str]) -> list[str]:
    """`names`, those that occur more than once with their position behind them."""
    made: list[str] = []
    for i, name in enumerate(names):
        while names.count(name) > 1 or name in made:
            name = f"{name}_{i}"
        made.append(name)
    return made


def _plain_name(tensor_name: str, side: str, position: int) -> str:
    """ "serving_default_image:0" -> "image"; a tensor without a name is input_0 or output_0."""
    name = tensor_name.rsplit("/", 1)[-1].split(":")[0].removeprefix("serving_default_")
    return name or f"{side.removesuffix('s')}_{position}"


NUMPY_TYPES = {
    "bool": np.bool_,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "complex64": np.complex64,
    "complex128": np.complex128,
}
"""The tensor types whose elements numpy can hold."""
