"""What a generator is given: one converted model and what was found out about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgeq.errors import ModelError
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Graph, Port, Tensor

QUANTIZED = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
"""The types that the runtime's quantize helpers store, with their limits."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class ArenaFact(Protocol):
    """What generated code says about the tensor arena; edgeq.arena.Arena is one."""

    @property
    def size(self) -> int:
        """Bytes for kTensorArenaSize."""

    def lines(self) -> Sequence[str]:
        """How they were found, for a comment."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that <name>_run takes on its core, with all that it calls: edgeq.footprint measures it.

    `flash` has the `weights` in it, `ram` is the arena and other variables. `stack` is the most
    that a call can take, without interrupts; None where it cannot be bounded. `compiler` and
    `flags` are what it was compiled with.
    """

    flash: int
    weights: int
    ram: int
    stack: int | None
    compiler: str
    flags: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Export:
    """One model to generate code for.

    `name` is a C identifier; file names and symbols begin with it. `command` is the command line
    as it may be shown to others: without this computer's paths. `arena` is None where none was
    measured. `has_baseline`: the bundle has the float model too. `takes_images`: the manifest says
    how pixels become numbers.
    """

    name: str
    graph: Graph
    tflite: bytes
    sha256: str
    labels: tuple[str, ...]
    command: str
    version: str
    golden: Golden
    arena: ArenaFact | None = None
    has_baseline: bool = False
    takes_images: bool = False


def check(export: Export) -> None:
    """Raise ModelError for inputs or outputs that no generated code could describe.

    A name that is no identifier, or golden vectors of another model, are a caller's mistake and
    raise ValueError.
    """
    if not _NAME.fullmatch(export.name):
        raise ValueError(f"{export.name!r} is no name for generated code")
    for kind, ports in (("input", export.graph.inputs), ("output", export.graph.outputs)):
        if not ports:
            raise ModelError(f"the model has no {kind}", hint="export it with inputs and outputs")
        for position, port in enumerate(ports):
            _check_tensor(port.tensor, f"{kind} {position} ({port.name})")
    _check_golden(export)


def has_quantization(tensor: Tensor) -> bool:
    """Whether the runtime's quantize helpers are of use for `tensor`."""
    return tensor.quantization is not None and tensor.dtype in QUANTIZED


def _check_tensor(tensor: Tensor, where: str) -> None:
    if tensor.dtype not in NUMPY_TYPES or tensor.dtype.startswith("complex"):
        raise ModelError(
            f"{where} is of type {tensor.dtype}, which no generated code can hold",
            hint="give the model integer or float inputs and outputs",
        )
    if tensor.elements == 0:
        raise ModelError(f"{where} of shape {list(tensor.shape)} has no elements")
    if tensor.quantization is None or not has_quantization(tensor):
        return
    if tensor.quantization.per_channel:
        raise ModelError(
            f"{where} has a scale per channel; TFLite inputs and outputs have one",
            hint="quantize the model again",
        )
    low, high = QUANTIZED[tensor.dtype]
    if not low <= tensor.quantization.zero_point <= high:
        raise ModelError(
            f"{where} is {tensor.dtype} with the zero point {tensor.quantization.zero_point}",
            hint="quantize the model again; the zero point must be a value of the type",
        )


def _check_golden(export: Export) -> None:
    golden = export.golden
    if not golden.inputs or len(golden.inputs) != len(golden.outputs):
        raise ValueError("golden vectors need samples, with as many outputs as inputs")
    if len(golden.tolerance) != len(export.graph.outputs):
        raise ValueError("golden vectors need one tolerance for each output")
    sides: tuple[tuple[tuple[Port, ...], tuple[tuple[object, ...], ...]], ...] = (
        (export.graph.inputs, golden.inputs),
        (export.graph.outputs, golden.outputs),
    )
    for ports, samples in sides:
        wanted = [(p.tensor.shape, p.tensor.dtype) for p in ports]
        for sample in samples:
            found = [(getattr(a, "shape", None), str(getattr(a, "dtype", None))) for a in sample]
            if found != wanted:
                raise ValueError(f"golden vectors {found} are not of the model's shapes {wanted}")
