"""QUANTIZE, DEQUANTIZE, CAST: eq_convert.h, and edgeq_quantize.h from and to float32."""

from __future__ import annotations

import numpy as np

from edgeq.codegen.aot import fixed_point
from edgeq.codegen.aot.activations import unary_s8
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
from edgeq.codegen.aot.multipliers import LIMITS, requantize_pairs
from edgeq.codegen.aot.overlaps import front_to_back, typed_front_to_back
from edgeq.codegen.text import float_literal
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core

_KERNELS = {
    ("int8", "int16"): "eq_quantize_s8_s16",
    ("int8", "uint8"): "eq_quantize_s8_u8",
    ("uint8", "int8"): "eq_quantize_u8_s8",
    ("int16", "int8"): "eq_quantize_s16_s8",
    ("int16", "int16"): "eq_quantize_s16",
    ("int8", "int32"): "eq_quantize_s8_s32",
    ("int16", "int32"): "eq_quantize_s16_s32",
    ("int32", "int8"): "eq_quantize_s32_s8",
    ("int32", "int16"): "eq_quantize_s32_s16",
}
"""Those of TFLM."""


def _tensors(op: Op, subgraph: Subgraph) -> tuple[Tensor, Tensor]:
    """Input and output, which must have as many elements."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    if input.elements != output.elements or input.elements == 0:
        raise refuse(op, "the shapes of its tensors do not fit together", "export the model again")
    return input, output


def quantize(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = _tensors(op, subgraph)
    before, after = quantization(op, input), quantization(op, output)
    pair = (input.dtype, output.dtype)
    if pair != ("int8", "int8") and pair not in _KERNELS:
        raise refuse(op, f"no kernel takes {input.dtype} to {output.dtype}")
    if any(t.dtype == "int32" and quantization(op, t).zero_point for t in (input, output)):
        raise refuse(op, "an int32 tensor has a zero point", "quantize the model again")
    multipliers, shifts = requantize_pairs(op, [before.scale / after.scale])
    multiplier, shift = int(multipliers[0]), int(shifts[0])
    if pair == ("int8", "int8"):
        table = [
            fixed_point.multiply(q - before.zero_point, multiplier, shift) + after.zero_point
            for q in range(-128, 128)
        ]
        return unary_s8(op, subgraph, np.clip(table, *LIMITS["int8"]))
    if pair == ("int16", "int16") and before == after and not input.is_constant:
        return LayerCode(is_alias=True)
    name, kernel = label(op), _KERNELS[pair]
    fields = (
        ("count", input.elements),
        ("input_zero_point", before.zero_point),
        ("multiplier", multiplier),
        ("shift", shift),
        ("output_zero_point", after.zero_point),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_quantize_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_convert.h",),
        overlaps=typed_front_to_back(input, output),
    )


# --- From and to float32 ------------------------------------------------------------------------


def quantize_f32(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's AffineQuantize.

    Quotients beyond int32 and NaN, which it leaves to the processor, become the type's limits and
    the zero point.
    """
    _, output = _tensors(op, subgraph)
    if output.dtype not in ("int8", "int16"):
        raise refuse(op, f"no kernel takes float32 to {output.dtype}")
    facts = quantization(op, output)
    return _real(op, f"eq_quantize_all_{output.dtype}", output, facts.scale, facts.zero_point)


def dequantize(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM's Dequantize: its product in float64 is exact, so that one in float32 is the same."""
    input, output = _tensors(op, subgraph)
    if output.dtype != "float32":
        raise refuse(op, f"its output is {output.dtype}, and only float32 is supported")
    facts = quantization(op, input)
    return _real(op, f"eq_dequantize_all_{input.dtype}", input, facts.scale, facts.zero_point)


def _real(op: Op, function: str, stored: Tensor, scale: float, zero_point: int) -> LayerCode:
    """A call of edgeq_quantize.h; `stored` is what is not float32."""
    if not float(np.float32(scale)) > 0:
        raise refuse(op, f"tensor {stored.name} has the scale {scale:g}", "quantize it again")
    rest = (f"{stored.elements}u", float_literal(scale), str(zero_point))
    return LayerCode(
        calls=(Call(function, (Input(0), Output(), *rest)),), headers=("edgeq_quantize.h",)
    )


# --- Casts --------------------------------------------------------------------------------------

_CAST_TYPES = ("int8", "int16", "int32")
_SUFFIXES = {"int8": "s8", "int16": "s16", "int32": "s32", "float32": "f32"}


def cast(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = _tensors(op, subgraph)
    if output.dtype == "float32" and input.dtype in ("bool", "int8", "int16"):
        stored = "uint8" if input.dtype == "bool" else input.dtype
        return _real(op, f"eq_dequantize_all_{stored}", input, 1.0, 0)
    kinds = {input.dtype, output.dtype}
    if kinds == {"int32", "float32"} or (input.dtype == "float32" and output.dtype in _CAST_TYPES):
        return _cast_f32(op, input, output)
    if output.dtype not in _CAST_TYPES:
        raise refuse(op, f"no kernel takes {input.dtype} to {output.dtype}")
    if input.bytes == output.bytes and not input.is_constant:
        return LayerCode(is_alias=True)
    name = label(op)
    fields = (
        ("count", input.elements),
        ("input_size", input.bytes // input.elements),
        ("output_size", output.bytes // output.elements),
    )
    return LayerCode(
        calls=(Call("eq_cast", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_cast_t", fields),),
        sources=("eq_cast.c",),
        headers=("eq_convert.h",),
        overlaps=front_to_back(input, output),
    )


def _cast_f32(op: Op, input: Tensor, output: Tensor) -> LayerCode:
    """From or to float32, limited to what the output's type holds."""
    function = f"eq_cast_{_SUFFIXES[input.dtype]}_{_SUFFIXES[output.dtype]}"
    return LayerCode(
        calls=(Call(function, (Input(0), Output(), str(input.elements))),),
        headers=("eq_cast.h",),
        overlaps=typed_front_to_back(input, output),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    **{("CAST", dtype): cast for dtype in (*_CAST_TYPES, "bool", "float32")},
    **{("DEQUANTIZE", dtype): dequantize for dtype in ("int8", "int16", "uint8")},
    **{("QUANTIZE", dtype): quantize for dtype in ("int8", "int16", "int32", "uint8")},
    ("QUANTIZE", "float32"): quantize_f32,
}
