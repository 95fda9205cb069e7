"""Arithmetic of two activations: eq_arithmetic.h."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.codegen.aot import addition_dsp
from edgeq.codegen.aot.broadcast import Fields, broadcast, in_place
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
from edgeq.codegen.aot.multipliers import (
    LIMITS,
    activation_range,
    quantize_multiplier,
    requantize_pairs,
)
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core

SUFFIXES = {"int8": "s8", "int16": "s16"}
"""What the names of kernels for a type end with."""

_SUM_LEFT_SHIFT = {"int8": 20, "int16": 15}
_FEWEST = 16
"""Elements that constants are looked for."""

_SQUARE_LEFT_SHIFT = {"int8": 7, "int16": 0}


def add_or_sub(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """TFLM takes twice the larger scale, so that both factors are at most a half.

    SUB's factors its tree has in float32 and its wheel in float64.
    """
    a, b, output = _tensors(op, subgraph)
    scales = [quantization(op, t).scale for t in (a, b)]
    common = 2.0 * max(scales)
    left_shift = _SUM_LEFT_SHIFT[output.dtype]
    after = common / ((1 << left_shift) * quantization(op, output).scale)
    factors = (scales[0] / common, scales[1] / common, after)
    # TFLM aborts where a factor is not below 1.
    if any(factor >= 1 or quantize_multiplier(factor)[1] > 0 for factor in factors):
        raise refuse(op, "its output's scale is too small beside its inputs'", "quantize it again")
    limits = activation_range(op, output, str(op.options["activation"]))
    is_dsp = core is not None and core.has("dsp")
    if is_dsp and op.name == "ADD" and output.dtype == "int8" and limits == LIMITS["int8"]:
        code = _add_flat(op, subgraph, factors)
        if code is not None:
            return code
    return _of_addends(op, subgraph, op.name.lower(), left_shift, factors, limits)


def _add_flat(op: Op, subgraph: Subgraph, factors: Sequence[float]) -> LayerCode | None:
    """ADD of one shape by two multiplications, where that is exact."""
    a, b, output = _tensors(op, subgraph)
    if not a.shape == b.shape == output.shape or output.elements < _FEWEST:
        return None
    pairs = [quantize_multiplier(factor) for factor in factors]
    x, y = (
        addition_dsp.Addend(quantization(op, t).zero_point, multiplier, -shift)
        for t, (multiplier, shift) in zip((a, b), pairs, strict=False)
    )
    after = quantization(op, output)
    ratios = (quantization(op, a).scale / after.scale, quantization(op, b).scale / after.scale)
    found = addition_dsp.solve(x, y, pairs[2][0], -pairs[2][1], after.zero_point, ratios)
    if found is None:
        return None
    name, kernel = label(op), "eq_add_flat_s8_dsp"
    fields: Fields = (
        ("count", output.elements),
        ("a", found.a),
        ("b", found.b),
        ("start", found.start),
    )
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, f"{kernel}_t", fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_arithmetic_dsp.h",),
        overlaps=in_place(a, b, output),
    )


def squared_difference(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    a, b, output = _tensors(op, subgraph)
    if output.dtype == "int16":
        _refuse_zero_points(op, a, b, output)
    scales = [quantization(op, t).scale for t in (a, b)]
    common = 2.0 * max(scales)
    left_shift = _SQUARE_LEFT_SHIFT[output.dtype]
    after = common * common / ((1 << 2 * left_shift) * quantization(op, output).scale)
    factors = (scales[0] / common, scales[1] / common, after)
    limits = LIMITS[output.dtype]
    return _of_addends(op, subgraph, "squared_difference", left_shift, factors, limits)


def mul(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    a, b, output = _tensors(op, subgraph)
    if output.dtype == "int16":
        _refuse_zero_points(op, a, b, output)
    factor = quantization(op, a).scale * quantization(op, b).scale / quantization(op, output).scale
    multiplier, shift = _multiplier(op, factor)
    low, high = activation_range(op, output, str(op.options["activation"]))
    fields: Fields = (
        ("shape", broadcast(op, a, b, output)),
        ("a_zero_point", quantization(op, a).zero_point),
        ("b_zero_point", quantization(op, b).zero_point),
        ("multiplier", multiplier),
        ("shift", shift),
        ("output_zero_point", quantization(op, output).zero_point),
        ("output_min", low),
        ("output_max", high),
    )
    return _layer(op, subgraph, "mul", "eq_mul_t", fields)


def maximum(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """MAXIMUM and MINIMUM: of stored values, as in TFLM, which looks at no scale."""
    fields = broadcast(op, *_tensors(op, subgraph))
    return _layer(op, subgraph, op.name.lower(), "eq_broadcast_t", fields)


def _tensors(op: Op, subgraph: Subgraph) -> tuple[Tensor, Tensor, Tensor]:
    """Both inputs and the output, which must be of one type."""
    a, b = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    if not a.dtype == b.dtype == output.dtype:
        raise refuse(op, f"it makes {output.dtype} of {a.dtype} and {b.dtype}")
    return a, b, output


def _refuse_zero_points(op: Op, *tensors: Tensor) -> None:
    if any(quantization(op, t).zero_point for t in tensors):
        raise refuse(op, "an int16 tensor of it has a zero point", "quantize the model again")


def _multiplier(op: Op, factor: float) -> tuple[int, int]:
    multipliers, shifts = requantize_pairs(op, [factor])
    return int(multipliers[0]), int(shifts[0])


def _of_addends(
    op: Op,
    subgraph: Subgraph,
    operator: str,
    left_shift: int,
    factors: Sequence[float],
    limits: tuple[int, int],
) -> LayerCode:
    a, b, output = _tensors(op, subgraph)
    multiplier, shift = _multiplier(op, factors[2])
    fields: Fields = (
        ("shape", broadcast(op, a, b, output)),
        ("left_shift", left_shift),
        ("a", _addend(op, a, factors[0])),
        ("b", _addend(op, b, factors[1])),
        ("output_multiplier", multiplier),
        ("output_shift", shift),
        ("output_zero_point", quantization(op, output).zero_point),
        ("output_min", limits[0]),
        ("output_max", limits[1]),
    )
    return _layer(op, subgraph, operator, "eq_add_t", fields)


def _addend(op: Op, tensor: Tensor, factor: float) -> Fields:
    multiplier, shift = quantize_multiplier(factor)
    zero_point = quantization(op, tensor).zero_point
    return (("zero_point", zero_point), ("multiplier", multiplier), ("shift", shift))


def _layer(op: Op, subgraph: Subgraph, operator: str, ctype: str, fields: Fields) -> LayerCode:
    a, b, output = _tensors(op, subgraph)
    name, kernel = label(op), f"eq_{operator}_{SUFFIXES[output.dtype]}"
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Input(1), Output())),),
        constants=(Struct(name, ctype, fields),),
        sources=(f"{kernel}.c",),
        headers=("eq_arithmetic.h",),
        overlaps=in_place(a, b, output),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    (name, dtype): emitter
    for name, emitter in (
        ("ADD", add_or_sub),
        ("MAXIMUM", maximum),
        ("MINIMUM", maximum),
        ("MUL", mul),
        ("SQUARED_DIFFERENCE", squared_difference),
        ("SUB", add_or_sub),
    )
    for dtype in SUFFIXES
}
