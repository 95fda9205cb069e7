"""The quantization schemes, their names elsewhere, and how to tell a file's."""

from __future__ import annotations

from edgeq.documents import nearest
from edgeq.errors import UsageError
from edgeq.graph import Graph

SCHEMES = {
    "int8": "full integer: int8 weights (per channel) and activations, int8 in and out",
    "int16x8": "full integer: int8 weights, int16 activations, int16 in and out",
    "dynamic": "int8 weights, float activations (hybrid operators)",
    "float16": "float16 weights, float32 computation",
    "float32": "the baseline: nothing quantized",
}

ALIASES = {
    "static_wi8_ai8": "int8",
    "static_wi8_ai16": "int16x8",
    "dynamic_wi8_afp32": "dynamic",
    "16x8": "int16x8",
    "fp16": "float16",
    "fp32": "float32",
    "none": "float32",
}
"""Names that LiteRT's recipes and others use for the same."""

INTEGER_SCHEMES = frozenset({"int8", "int16x8", "uint8"})
"""uint8 is TFLite's old scheme: such files are opened and proved, but no longer made."""


_INTEGERS = {"int8": "int8", "int16": "int16x8", "uint8": "uint8"}
"""Type of the activations -> scheme."""

_WEIGHTS = frozenset({"int2", "int4", "int8", "uint8"})


def scheme_named(name: str) -> str:
    """The scheme that `name` or one of its aliases stands for. Raises UsageError."""
    scheme = ALIASES.get(name.lower(), name.lower())
    if scheme not in SCHEMES:
        guess = nearest(name.lower(), [*SCHEMES, *ALIASES])
        raise UsageError(
            f"unknown scheme {name!r}",
            hint=f"did you mean {guess}?" if guess else f"one of: {', '.join(SCHEMES)}",
        )
    return scheme


def scheme_of(graph: Graph) -> str:
    """What a .tflite file looks like: int8, uint8, int16x8, dynamic, float16 or float32.

    A network may mix its types: int8 with one layer in int16, an int8 network behind an input of
    uint8. What most of its convolutions and dense layers work on (operators with quantized
    weights) names the scheme; where there are none, or as many of each, most of the activations
    do, then the first input, then the order int8, int16x8, uint8.
    """
    weighted: list[str] = []
    every: list[str] = []
    constant: set[str] = set()
    for _, subgraph in graph.reachable():
        for op in subgraph.ops:
            tensors = [subgraph.tensors[i] for i in op.tensors]
            weights = {t.dtype for t in tensors if t.is_constant and (t.quantization or t.is_float)}
            active = [t.dtype for t in tensors if not t.is_constant and t.quantization]
            constant |= weights
            every += active
            if weights & _WEIGHTS:
                weighted += active
    first = [port.tensor.dtype for port in graph.inputs[:1]]
    found = [dtype for dtype in _INTEGERS if dtype in every]
    if found:
        votes = (weighted, every, first)
        return _INTEGERS[max(found, key=lambda dtype: [v.count(dtype) for v in votes])]
    if constant & _WEIGHTS:
        return "dynamic"
    return "float16" if "float16" in constant else "float32"
