"""LOG_SOFTMAX and L2_NORMALIZATION: eq_normalize.h."""

from __future__ import annotations

from edgeq.codegen.aot.activations import exponentials
from edgeq.codegen.aot.layer import (
    Array,
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
from edgeq.codegen.aot.multipliers import quantize_multiplier
from edgeq.codegen.aot.overlaps import IN_PLACE
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_FRACTION_BITS = 26
"""Below the point of the differences that the exponential is taken of."""

_LOG_SOFTMAX_DEPTH = (1 << 12) - 1

_L2_DEPTH = 1 << 15


def log_softmax_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    facts = quantization(op, output)
    if (output.dtype, facts.scale, facts.zero_point) != ("int8", 1 / 16, 127):
        raise refuse(op, "its output has not the scale 1/16 and zero point 127")
    if input.shape[-1] > _LOG_SOFTMAX_DEPTH:
        raise refuse(op, f"it has {input.shape[-1]} values a row, and TFLM's sums would overflow")
    scale = quantization(op, input).scale
    # TFLM's PreprocessLogSoftmaxScalingExp.
    real = min(scale * (1 << _FRACTION_BITS), (1 << 31) - 1.0)
    multiplier, shift = quantize_multiplier(real)
    if shift < 2:
        raise refuse(op, f"its input's scale {scale:g} is out of reach", "quantize the model again")
    back_multiplier, back_shift = quantize_multiplier((1 << (31 - shift)) / multiplier)
    table = exponentials(scale)
    name = label(op)
    values = Array(f"{name}_exp", table, "exp(-i * scale), 31 bits below the point")
    fields = (
        ("rows", input.elements // input.shape[-1]),
        ("depth", input.shape[-1]),
        ("exp_count", len(table)),
        ("exp_q31", values.name),
        ("multiplier", multiplier),
        ("shift", shift),
        ("back_multiplier", back_multiplier),
        ("back_shift", back_shift),
    )
    return LayerCode(
        calls=(Call("eq_log_softmax_s8", (f"&{name}", Input(0), Output())),),
        constants=(values, Struct(name, "eq_log_softmax_s8_t", fields)),
        sources=("eq_log_softmax_s8.c",),
        headers=("eq_normalize.h",),
        overlaps=IN_PLACE,
    )


def l2_normalization_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    facts = quantization(op, output)
    if (output.dtype, facts.scale, facts.zero_point) != ("int8", 1 / 128, 0):
        raise refuse(op, "its output has not the scale 1/128 and zero point 0")
    if op.options.get("activation", "NONE") != "NONE":
        raise refuse(op, "it has a fused activation", "export the model again")
    if input.shape[-1] > _L2_DEPTH:
        raise refuse(op, f"it has {input.shape[-1]} values a row, and TFLM's sums would overflow")
    name = label(op)
    fields = (
        ("rows", input.elements // input.shape[-1]),
        ("depth", input.shape[-1]),
        ("input_zero_point", quantization(op, input).zero_point),
    )
    return LayerCode(
        calls=(Call("eq_l2_normalization_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_l2_normalization_s8_t", fields),),
        sources=("eq_l2_normalization_s8.c",),
        headers=("eq_normalize.h",),
        overlaps=IN_PLACE,
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("L2_NORMALIZATION", "int8"): l2_normalization_s8,
    ("LOG_SOFTMAX", "int8"): log_softmax_s8,
}
