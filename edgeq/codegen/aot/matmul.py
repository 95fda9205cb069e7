"""BATCH_MATMUL: eq_matmul.h."""

from __future__ import annotations

from dataclasses import replace

from edgeq.codegen.aot.broadcast import broadcast
from edgeq.codegen.aot.layer import (
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    input_tensor,
    label,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import requantize_pairs, wide_pairs
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_RANKS = range(2, 6)
"""Of the inputs that TFLM takes."""


def batch_matmul(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    a, b = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    if not a.dtype == b.dtype == output.dtype:
        raise refuse(op, f"it makes {output.dtype} of {a.dtype} and {b.dtype}")
    if len(a.shape) not in _RANKS or len(b.shape) not in _RANKS:
        raise refuse(op, f"its shapes {list(a.shape)} and {list(b.shape)} are not of 2 to 5 sides")
    a_is_transposed, b_is_transposed = bool(op.options["adj_x"]), bool(op.options["adj_y"])
    rows, depth = a.shape[-2:][::-1] if a_is_transposed else a.shape[-2:]
    same, columns = b.shape[-2:][::-1] if b_is_transposed else b.shape[-2:]
    if same != depth or output.shape[-2:] != (rows, columns):
        raise refuse(op, f"its shapes {list(a.shape)} and {list(b.shape)} do not fit")
    multiplier, shift = _scaling(op, subgraph, depth)
    matrices = [replace(t, shape=t.shape[:-2]) for t in (a, b, output)]
    name = label(op)
    fields = (
        ("shape", broadcast(op, *matrices)),
        ("rows", rows),
        ("columns", columns),
        ("depth", depth),
        ("a_row", 1 if a_is_transposed else depth),
        ("a_step", rows if a_is_transposed else 1),
        ("b_column", depth if b_is_transposed else 1),
        ("b_step", 1 if b_is_transposed else columns),
        ("a_zero_point", quantization(op, a).zero_point),
        ("b_zero_point", quantization(op, b).zero_point),
        ("multiplier", multiplier),
        ("shift", shift),
        ("output_zero_point", quantization(op, output).zero_point),
    )
    function = f"eq_batch_matmul_{'s8' if a.dtype == 'int8' else 's16'}"
    return LayerCode(
        calls=(Call(function, (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, "eq_batch_matmul_t", fields),),
        sources=(f"{function}.c",),
        headers=("eq_matmul.h",),
    )


def _scaling(op: Op, subgraph: Subgraph, depth: int) -> tuple[int, int]:
    """Multiplier and shift, for int16 those of eq_multiply_s64."""
    output = output_tensor(op, subgraph)
    tensors = (input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1), output)
    a, b, after = (quantization(op, t) for t in tensors)
    scale = a.scale * b.scale / after.scale
    if output.dtype == "int8":
        multipliers, shifts = requantize_pairs(op, [scale])
        return int(multipliers[0]), int(shifts[0])
    if any(facts.zero_point for facts in (a, b, after)):
        raise refuse(op, "an int16 tensor has a zero point", "quantize the model again")
    multipliers, shifts = wide_pairs(op, [scale], depth << 30)
    return int(multipliers[0]), int(shifts[0])


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("BATCH_MATMUL", "int16"): batch_matmul,
    ("BATCH_MATMUL", "int8"): batch_matmul,
}
