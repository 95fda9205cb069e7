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
    """What a .tflite file looks like: int8, uint8, int16x8, dynamic, float16 or float32."""
    tensors = [
        t for _, s in graph.reachable() for op in s.ops for i in op.tensors for t in [s.tensors[i]]
    ]
    computed = {t.dtype for t in tensors if not t.is_constant and t.quantization}
    constant = {t.dtype for t in tensors if t.is_constant and (t.quantization or t.is_float)}
    for dtype, scheme in (("int16", "int16x8"), ("int8", "int8"), ("uint8", "uint8")):
        if dtype in computed:
            return scheme
    if "int8" in constant:
        return "dynamic"
    return "float16" if "float16" in constant else "float32"
