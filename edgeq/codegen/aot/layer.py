"""What one operator becomes: constants, and a call of a kernel with addresses left open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DoesNotFit
from edgeq.graph import Op, Quantization, Subgraph, Tensor
from edgeq.memory import Overlap
from edgeq.targets import Core

C_TYPES = {
    "bool": "uint8_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
}
"""How kernels see the elements of a tensor."""


@dataclass(frozen=True, eq=False)
class Array:
    """A const array. `values` are written in their own type, row-major, as one dimension.

    `scales` is how many bytes of it say how sums become outputs, where it holds weights as well.
    """

    name: str
    values: NDArray[Any]
    about: str
    scales: int = 0


Value = int | str | tuple[tuple[str, Any], ...]
"""A field of a struct: a number, the name of an array, or a struct of its own."""


@dataclass(frozen=True)
class Struct:
    """A const struct of C type `ctype`; `fields` in the order of its declaration."""

    name: str
    ctype: str
    fields: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Input:
    """The address of the operator's input at `position`: in the arena, or of a constant."""

    position: int


@dataclass(frozen=True)
class Output:
    """The address of the operator's output at `position`."""

    position: int = 0


@dataclass(frozen=True)
class Scratch:
    """The address of the operator's scratch memory, as `ctype*`."""

    ctype: str = "int8_t"


Argument = str | Input | Output | Scratch
"""One argument of a call; a str is C text."""


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, eq=False)
class LayerCode:
    """One operator as C.

    `calls` run in order. With `is_alias`, output 0 is in the place of input 0: the same bytes under
    another shape, without calls, or computed there.
    `sources` are files of runtime/kernels, `headers` those of runtime/include that the calls need;
    what these files include is found by itself. `scratch` is in
    bytes. `overlaps` says which outputs may lie over which inputs (see edgeq.memory.Overlap).
    `states` are pairs (tensor position among the inputs, value that a reset fills it with).
    """

    calls: tuple[Call, ...] = ()
    constants: tuple[Array | Struct, ...] = ()
    sources: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    scratch: int = 0
    overlaps: tuple[Overlap, ...] = ()
    is_alias: bool = False
    states: tuple[tuple[int, int], ...] = ()


Emitter = Callable[[Op, Subgraph, Core | None], LayerCode]
"""Makes the code of one operator for a core; None stands for a core of which nothing is known.

Raises DoesNotFit (through `refuse`) for a form of the operator that no kernel has.
"""


def row(values: Iterable[int]) -> str:
    """The field of a struct that is an array: "{1, 2, 3}"."""
    return "{" + ", ".join(map(str, values)) + "}"


def label(op: Op) -> str:
    """What the names of an operator's constants begin with: "conv_2d_3"."""
    return f"{op.name.lower()}_{op.index}"


def refuse(op: Op, reason: str, hint: str = "build with --engine tflm") -> DoesNotFit:
    """The error to raise for an operator that the table has, but not in this form."""
    return DoesNotFit(f"engine aot cannot compile operator {op.index} {op.name}: {reason}", hint)


def input_tensor(op: Op, subgraph: Subgraph, position: int) -> Tensor:
    """The input at `position`, which must be there."""
    tensor = optional_input(op, subgraph, position)
    if tensor is None:
        raise refuse(op, f"input {position} is missing", "export the model again")
    return tensor


def optional_input(op: Op, subgraph: Subgraph, position: int) -> Tensor | None:
    if position >= len(op.inputs) or op.inputs[position] < 0:
        return None
    return subgraph.tensors[op.inputs[position]]


def output_tensor(op: Op, subgraph: Subgraph, position: int = 0) -> Tensor:
    if position >= len(op.outputs):
        raise refuse(op, f"output {position} is missing", "export the model again")
    return subgraph.tensors[op.outputs[position]]


def constant(op: Op, subgraph: Subgraph, position: int, dtype: str) -> NDArray[Any]:
    """The values of the constant input at `position`, which must be of type `dtype`."""
    tensor = input_tensor(op, subgraph, position)
    if tensor.data is None:
        raise refuse(op, f"input {position} is computed, and only a constant is supported")
    if tensor.dtype != dtype:
        raise refuse(op, f"input {position} is {tensor.dtype}, and only {dtype} is supported")
    return np.asarray(tensor.data)


def quantization(op: Op, tensor: Tensor) -> Quantization:
    """The one scale and zero point of an activation."""
    if tensor.quantization is None or tensor.quantization.per_channel:
        raise refuse(op, f"tensor {tensor.name} has no scale of its own", "quantize it again")
    zero_point, kind = tensor.quantization.zero_point, np.dtype(tensor.dtype)
    if kind.kind in "iu" and not np.iinfo(kind).min <= zero_point <= np.iinfo(kind).max:
        reason = f"tensor {tensor.name} is {tensor.dtype} with the zero point {zero_point}"
        raise refuse(op, reason, "quantize it again")
    return tensor.quantization
