"""RESHAPE, SQUEEZE, EXPAND_DIMS: the same bytes under another shape."""

from __future__ import annotations

from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    input_tensor,
)
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core


def reshape(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The same bytes under another shape: free, but for a constant, which must get into RAM."""
    input = input_tensor(op, subgraph, 0)
    if not input.is_constant:
        return LayerCode(is_alias=True)
    return LayerCode(calls=(Call("memcpy", (Output(), Input(0), str(input.bytes))),))


_RESHAPED_TYPES = ("int8", "int16", "int32", "int64", "uint8", "bool", "float32")

EMITTERS: dict[tuple[str, str], Emitter] = {
    **{
        (name, dtype): reshape
        for name in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
        for dtype in _RESHAPED_TYPES
    },
}
