"""From sums to outputs, where each output channel has weights, a bias and a scale of its own.

The arrays, and the fields `weights` and `channels`, of the kernels of eq_conv.h and eq_conv_s16.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import (
    Array,
    constant,
    input_tensor,
    label,
    optional_input,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import (
    LIMITS,
    activation_range,
    channel_scales,
    largest_sum,
    requantize_pairs,
    wide_pairs,
)
from edgeq.codegen.aot.requantization import Scales, reach
from edgeq.codegen.aot.windows import Fields
from edgeq.graph import Op, Subgraph, Tensor

_WEIGHTS, _BIAS = 1, 2
"""Positions among the inputs."""


def channels_s8(
    op: Op, subgraph: Subgraph, rows: NDArray[Any], packed: NDArray[Any]
) -> tuple[tuple[Array, ...], Fields]:
    """Of int8 activations. `rows` holds the weights of each output channel, `packed` the same as
    the kernel wants them.
    """
    input, weights = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, _WEIGHTS)
    output = output_tensor(op, subgraph)
    scales = channel_scales(op, input, weights, output)
    multipliers, shifts = requantize_pairs(op, scales)
    bias = np.zeros(len(rows), np.int32)
    if optional_input(op, subgraph, _BIAS) is not None:
        bias = constant(op, subgraph, _BIAS, "int32").reshape(-1)
    folded = folded_bias(rows, bias, quantization(op, input).zero_point)
    arrays = _arrays(op, weights, packed, (folded, multipliers, shifts))
    low, high = activation_range(op, output, str(op.options["activation"]))
    channels: Fields = (
        *_pointers(arrays),
        ("step", int(len(scales) > 1)),
        ("is_down", int((shifts < 0).all())),
        ("output_zero_point", quantization(op, output).zero_point),
        ("output_min", low),
        ("output_max", high),
    )
    return arrays, (("weights", arrays[0].name), ("channels", channels))


@dataclass(frozen=True, eq=False)
class Scaling:
    """`bias` of each channel, the zero point folded in, and what its sums become."""

    bias: NDArray[np.int32]
    scales: Scales
    has_one_scale: bool


def scaling_s8(op: Op, subgraph: Subgraph, rows: NDArray[Any]) -> Scaling | None:
    """Of int8 activations and `rows` of weights, for what requantization.py offers.

    None where a scale is a half or more, or a fused activation has limits within the type's.
    """
    input, weights = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, _WEIGHTS)
    output = output_tensor(op, subgraph)
    multipliers, shifts = requantize_pairs(op, channel_scales(op, input, weights, output))
    limits = activation_range(op, output, str(op.options["activation"]))
    if limits != LIMITS["int8"] or (shifts >= 0).any():
        return None
    bias = np.zeros(len(rows), np.int32)
    if optional_input(op, subgraph, _BIAS) is not None:
        bias = constant(op, subgraph, _BIAS, "int32").reshape(-1)
    before = quantization(op, input).zero_point
    low, high = reach(rows, bias, before)
    count = np.zeros(len(rows), np.int64)
    scales = Scales(
        multipliers + count, count - shifts, quantization(op, output).zero_point, low, high
    )
    return Scaling(folded_bias(rows, bias, before), scales, len(multipliers) == 1)


def channels_s16(
    op: Op, subgraph: Subgraph, rows: NDArray[Any], packed: NDArray[Any]
) -> tuple[tuple[Array, ...], Fields]:
    """Of int16 activations, whose zero points are 0."""
    input, weights = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, _WEIGHTS)
    output = output_tensor(op, subgraph)
    if output.dtype != "int16":
        raise refuse(op, f"it makes {output.dtype} of int16")
    zero_points = [quantization(op, t).zero_point for t in (input, output)]
    if any(zero_points) or (weights.quantization and any(weights.quantization.zero_points)):
        raise refuse(op, "a tensor of it has a zero point", "quantize the model again")
    bias, is_narrow = _bias_s16(op, subgraph, len(rows))
    scales = channel_scales(op, input, weights, output)
    if is_narrow:
        multipliers, shifts = requantize_pairs(op, scales)
    else:
        multipliers, shifts = wide_pairs(op, scales, largest_sum(rows, bias))
    arrays = _arrays(op, weights, packed, (bias, multipliers, shifts))
    low, high = activation_range(op, output, str(op.options["activation"]))
    channels: Fields = (
        *_pointers(arrays),
        ("step", int(len(scales) > 1)),
        ("is_narrow", int(is_narrow)),
        ("output_min", low),
        ("output_max", high),
    )
    return arrays, (("weights", arrays[0].name), ("channels", channels))


def folded_bias(weights: NDArray[Any], bias: NDArray[Any], zero_point: int) -> NDArray[np.int32]:
    """bias - zero_point * (sum of each row of `weights`), modulo 2^32."""
    folded = bias.astype(np.int64) - zero_point * weights.astype(np.int64).sum(axis=1)
    return np.array(folded.astype(np.uint32).view(np.int32))


def refuse_asymmetric_weights(op: Op, subgraph: Subgraph) -> None:
    facts = input_tensor(op, subgraph, _WEIGHTS).quantization
    if facts is not None and any(facts.zero_points):
        raise refuse(op, "its weights have a zero point", "quantize the model again")


def _arrays(
    op: Op, weights: Tensor, packed: NDArray[Any], rest: tuple[NDArray[Any], ...]
) -> tuple[Array, ...]:
    """Weights, bias, multipliers and shifts."""
    name = label(op)
    bias, multipliers, shifts = rest
    is_folded = bias.dtype == np.int32
    return (
        Array(f"{name}_weights", packed, f"{weights.name}, {weights.dtype} {list(weights.shape)}"),
        Array(f"{name}_bias", bias, "bias, zero point folded in" if is_folded else "bias"),
        Array(f"{name}_multipliers", multipliers, "scale of each channel"),
        Array(f"{name}_shifts", shifts, "its shift"),
    )


def _pointers(arrays: tuple[Array, ...]) -> Fields:
    """The fields of what _arrays makes, but for the weights."""
    names = ("bias", "multipliers", "shifts")
    return tuple((name, array.name) for name, array in zip(names, arrays[1:], strict=True))


def _bias_s16(op: Op, subgraph: Subgraph, channels: int) -> tuple[NDArray[np.int64], bool]:
    """The bias, and whether TFLM sums in 32 bits: its type says so, or an option without one."""
    tensor = optional_input(op, subgraph, _BIAS)
    if tensor is None:
        is_narrow = op.options.get("quantized_bias_type") == "int32"
        return np.zeros(channels, np.int64), is_narrow and op.name != "DEPTHWISE_CONV_2D"
    dtype = tensor.dtype if tensor.dtype == "int32" else "int64"
    if dtype == "int32" and op.name == "DEPTHWISE_CONV_2D":
        raise refuse(op, "its bias is int32, which TFLM reads as int64", "quantize the model again")
    return constant(op, subgraph, _BIAS, dtype).reshape(-1).astype(np.int64), dtype == "int32"
