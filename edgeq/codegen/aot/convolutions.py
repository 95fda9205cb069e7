"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: eq_conv.h."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import (
    Array,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Scratch,
    Struct,
    constant,
    input_tensor,
    label,
    optional_input,
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.multipliers import (
    activation_range,
    channel_scales,
    requantize_pairs,
)
from edgeq.codegen.aot.windows import Fields, Window, window, window_fields
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.memory import Overlap
from edgeq.targets import Core

_POINTER = 8
"""Bytes that a pointer takes at most: the same plan serves a 64-bit host."""

_HEADERS = ("eq_channels.h", "eq_conv.h", "eq_requantize.h", "eq_window.h")


def conv_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    channels, height, width, depth = weights.shape
    if depth == 0 or input.shape[3] % depth or channels % (input.shape[3] // depth):
        raise refuse(op, f"{depth} channels of weights do not divide {input.shape[3]} of the input")
    name = label(op)
    shape = window(op, input, output, height, width)
    fields: Fields = (
        ("window", window_fields(op, input, shape)),
        ("batches", output.shape[0]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("output_channels", channels),
        ("groups", input.shape[3] // depth),
    )
    arrays, scaling = _scaling(op, subgraph, weights.reshape(channels, -1))
    return LayerCode(
        calls=(Call("eq_conv_s8", (f"&{name}", Input(0), Scratch(), Output())),),
        constants=(*arrays, Struct(name, "eq_conv_s8_t", (*fields, *scaling))),
        sources=("eq_conv_s8.c", "eq_channels_s8.c", "eq_dot_s8.c", "eq_window.c"),
        headers=(*_HEADERS, "eq_dot.h"),
        scratch=height * width * depth,
        overlaps=(shape.overlap(input, output),),
    )


def depthwise_conv_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    _, height, width, channels = weights.shape
    if channels % input.shape[3]:
        raise refuse(op, f"{channels} channels are no multiple of the input's {input.shape[3]}")
    name = label(op)
    shape = window(op, input, output, height, width)
    fields: Fields = (
        ("window", window_fields(op, input, shape)),
        ("batches", output.shape[0]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("multiplier", channels // input.shape[3]),
    )
    by_channel = weights.reshape(-1, channels).T
    arrays, scaling = _scaling(op, subgraph, by_channel, packed=weights)
    return LayerCode(
        calls=(Call("eq_depthwise_conv_s8", (f"&{name}", Input(0), Scratch("void"), Output())),),
        constants=(*arrays, Struct(name, "eq_depthwise_conv_s8_t", (*fields, *scaling))),
        sources=("eq_depthwise_conv_s8.c", "eq_channels_s8.c"),
        headers=(*_HEADERS, "eq_compiler.h"),
        scratch=_POINTER * height * width + input.shape[3],
        overlaps=(shape.overlap(input, output),),
    )


def fully_connected_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    facts = input_tensor(op, subgraph, 1).quantization
    if facts is not None and any(facts.zero_points):
        raise refuse(op, "its weights have a zero point", "quantize the model again")
    channels, depth = weights.shape
    name = label(op)
    rows = output.elements // channels
    fields: Fields = (
        ("rows", rows),
        ("input_channels", depth),
        ("output_channels", channels),
    )
    arrays, scaling = _scaling(op, subgraph, weights)
    shape = Window((rows, 1), (rows, 1), (1, 1), (1, 1), (1, 1))
    return LayerCode(
        calls=(Call("eq_fully_connected_s8", (f"&{name}", Input(0), Output())),),
        constants=(*arrays, Struct(name, "eq_fully_connected_s8_t", (*fields, *scaling))),
        sources=("eq_fully_connected_s8.c", "eq_channels_s8.c", "eq_dot_s8.c"),
        headers=(*_HEADERS, "eq_dot.h"),
        overlaps=(Overlap(0, 0, shape.lead(1, depth, channels)),),
    )


def folded_bias(weights: NDArray[Any], bias: NDArray[Any], zero_point: int) -> NDArray[np.int32]:
    """bias - zero_point * (sum of each row of `weights`), modulo 2^32."""
    folded = bias.astype(np.int64) - zero_point * weights.astype(np.int64).sum(axis=1)
    return np.array(folded.astype(np.uint32).view(np.int32))


def _scaling(
    op: Op,
    subgraph: Subgraph,
    rows: NDArray[Any],
    packed: NDArray[Any] | None = None,
) -> tuple[tuple[Array, ...], Fields]:
    """The arrays, and the fields `weights` and `channels`, of a kernel of eq_conv.h.

    `rows` holds the weights of each output channel; `packed` the same as the kernel wants them,
    where that differs.
    """
    input, weights, output = (
        input_tensor(op, subgraph, 0),
        input_tensor(op, subgraph, 1),
        output_tensor(op, subgraph),
    )
    scales = channel_scales(op, input, weights, output)
    multipliers, shifts = requantize_pairs(op, scales)
    bias = np.zeros(len(rows), np.int32)
    if optional_input(op, subgraph, 2) is not None:
        bias = constant(op, subgraph, 2, "int32").reshape(-1)
    low, high = activation_range(op, output, str(op.options["activation"]))
    zero_point = quantization(op, input).zero_point
    name = label(op)
    arrays = (
        Array(f"{name}_weights", rows if packed is None else packed, _about(weights)),
        Array(f"{name}_bias", folded_bias(rows, bias, zero_point), "bias, zero point folded in"),
        Array(f"{name}_multipliers", multipliers, "scale of each channel, and its shift"),
        Array(f"{name}_shifts", shifts, ""),
    )
    channels: Fields = (
        ("bias", arrays[1].name),
        ("multipliers", arrays[2].name),
        ("shifts", arrays[3].name),
        ("step", int(len(scales) > 1)),
        ("is_down", int((shifts < 0).all())),
        ("output_zero_point", quantization(op, output).zero_point),
        ("output_min", low),
        ("output_max", high),
    )
    return arrays, (("weights", arrays[0].name), ("channels", channels))


def _about(tensor: Tensor) -> str:
    return f"{tensor.name}, {tensor.dtype} {list(tensor.shape)}"


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("CONV_2D", "int8"): conv_s8,
    ("DEPTHWISE_CONV_2D", "int8"): depthwise_conv_s8,
    ("FULLY_CONNECTED", "int8"): fully_connected_s8,
}
