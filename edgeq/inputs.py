"""A sample in the form that a model stores it in: real ones, and made-up ones to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError, ModelError
from edgeq.graph import NUMPY_TYPES, Graph, Port, Tensor
from edgeq.quantization import dequantize, quantize

Arrays = tuple[NDArray[Any], ...]

_SEED = 20260101

MAX_PORT_BYTES = 256 * 1024**2
"""For all inputs together, and all outputs: 30 times a float image of 1024x768."""


def stored_inputs(values: Arrays, inputs: Sequence[Port]) -> Arrays:
    """A sample of real numbers as the model's inputs store it."""
    return tuple(quantize(v, p.tensor) for v, p in zip(values, inputs, strict=True))


def real_outputs(values: Arrays, outputs: Sequence[Port]) -> tuple[NDArray[np.float32], ...]:
    """What the model's outputs mean."""
    return tuple(dequantize(v, p.tensor) for v, p in zip(values, outputs, strict=True))


def refuse_huge(graph: Graph, source: str) -> None:
    """Raise ModelError when a sample or its outputs are too large to be held here many times.

    The sizes are what the file says; it can be small all the same.
    """
    for what, ports in (("input", graph.inputs), ("output", graph.outputs)):
        size = sum(port.tensor.bytes for port in ports)
        if size > MAX_PORT_BYTES:
            port = max(ports, key=lambda p: p.tensor.bytes)
            raise ModelError(
                f"{source}: {what} of {size} bytes: more than {MAX_PORT_BYTES}, the most that "
                f"edgeq runs ({port.name} has the shape {list(port.tensor.shape)})",
                hint="is the model damaged? else give it smaller inputs and outputs",
            )


def random_inputs(graph: Graph, count: int = 1) -> list[Arrays]:
    """`count` samples for `graph`, the same at every call.

    Floats are uniform in [-1, 1), quantized and short integers uniform over their whole type;
    wider integers are 0 or 1, since they are indices, lengths and the like.
    """
    refuse_huge(graph, "the model")
    random = np.random.default_rng(_SEED)
    return [tuple(_random(port.tensor, random) for port in graph.inputs) for _ in range(count)]


def translate_inputs(inputs: Sequence[Arrays], source: Graph, other: Graph) -> list[Arrays]:
    """`inputs` of `source` as the same real numbers for `other`, a different form of the model."""
    by_name = {port.name: i for i, port in enumerate(source.inputs)}
    order = [by_name.get(port.name, -1) for port in other.inputs]
    if sorted(order) != list(range(len(source.inputs))):
        order = list(range(len(source.inputs)))
    shapes = [source.inputs[i].tensor.shape for i in order]
    if shapes != [port.tensor.shape for port in other.inputs]:
        raise DataError(
            f"the baseline's inputs {describe_inputs(other)} are not the model's "
            f"{describe_inputs(source)}",
            hint="give the float original of the same network",
        )
    return [
        tuple(
            _translate(sample[i], source.inputs[i].tensor, port.tensor)
            for i, port in zip(order, other.inputs, strict=True)
        )
        for sample in inputs
    ]


def _random(tensor: Tensor, random: np.random.Generator) -> NDArray[Any]:
    if tensor.dtype not in NUMPY_TYPES:
        raise DataError(
            f"input {tensor.name} is of type {tensor.dtype}, for which edgeq makes no values",
            hint="give a model whose inputs are numbers",
        )
    dtype: np.dtype[Any] = np.dtype(NUMPY_TYPES[tensor.dtype])
    if dtype.kind in "fc":
        return random.uniform(-1, 1, tensor.shape).astype(dtype)
    if dtype.kind == "b" or (dtype.itemsize > 2 and tensor.quantization is None):
        return random.integers(0, 2, tensor.shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, tensor.shape, dtype=dtype, endpoint=True)


def describe_inputs(graph: Graph) -> str:
    """Name, type and shape of every input, for messages."""
    return ", ".join(f"{p.name} {p.tensor.dtype} {list(p.tensor.shape)}" for p in graph.inputs)


def _translate(values: NDArray[Any], source: Tensor, other: Tensor) -> NDArray[Any]:
    if source.dtype == other.dtype and source.quantization == other.quantization:
        return values
    return quantize(dequantize(values, source), other)
