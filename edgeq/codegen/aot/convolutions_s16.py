"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED of int16 activations: eq_conv_s16.h."""

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
    largest_sum,
    requantize_pairs,
    wide_pairs,
)
from edgeq.codegen.aot.windows import Fields, Window, window, window_fields
from edgeq.graph import Op, Subgraph
from edgeq.memory import Overlap
from edgeq.targets import Core

_VALUE = 2
"""Bytes of an int16."""

_HEADERS = ("eq_channels.h", "eq_conv_s16.h", "eq_requantize.h", "eq_window.h")
_SOURCES = ("eq_channels_s16.c",)


def conv_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
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
    arrays, scaling = _scaling(op, subgraph, weights, weights.reshape(channels, -1))
    return LayerCode(
        calls=(Call("eq_conv_s16", (f"&{name}", Input(0), Scratch("int16_t"), Output())),),
        constants=(*arrays, Struct(name, "eq_conv_s16_t", (*fields, *scaling))),
        sources=(*_SOURCES, "eq_conv_s16.c", "eq_dot_s16.c", "eq_window.c"),
        headers=_HEADERS,
        scratch=_VALUE * height * width * depth,
        overlaps=(shape.overlap(input, output),),
    )


def depthwise_conv_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
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
    arrays, scaling = _scaling(op, subgraph, weights, weights.reshape(-1, channels).T)
    call = Call("eq_depthwise_conv_s16", (f"&{name}", Input(0), Scratch("int16_t"), Output()))
    return LayerCode(
        calls=(call,),
        constants=(*arrays, Struct(name, "eq_depthwise_conv_s16_t", (*fields, *scaling))),
        sources=(*_SOURCES, "eq_depthwise_conv_s16.c", "eq_window.c"),
        headers=_HEADERS,
        scratch=_VALUE * height * width * input.shape[3],
        overlaps=(shape.overlap(input, output),),
    )


def fully_connected_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    channels, depth = weights.shape
    name = label(op)
    rows = output.elements // channels
    fields: Fields = (
        ("rows", rows),
        ("input_channels", depth),
        ("output_channels", channels),
    )
    arrays, scaling = _scaling(op, subgraph, weights, weights)
    shape = Window((rows, 1), (rows, 1), (1, 1), (1, 1), (1, 1))
    return LayerCode(
        calls=(Call("eq_fully_connected_s16", (f"&{name}", Input(0), Output())),),
        constants=(*arrays, Struct(name, "eq_fully_connected_s16_t", (*fields, *scaling))),
        sources=(*_SOURCES, "eq_fully_connected_s16.c", "eq_dot_s16.c"),
        headers=_HEADERS,
        overlaps=(Overlap(0, 0, shape.lead(1, _VALUE * depth, _VALUE * channels)),),
    )


def _scaling(
    op: Op, subgraph: Subgraph, packed: NDArray[Any], rows: NDArray[Any]
) -> tuple[tuple[Array, ...], Fields]:
    """The arrays, and the fields `weights` and `channels`, of a kernel of eq_conv_s16.h.

    `rows` holds the weights of each output channel, `packed` the same as the kernel wants them.
    """
    input, weights = input_tensor(op, subgraph, 0), input_tensor(op, subgraph, 1)
    output = output_tensor(op, subgraph)
    if output.dtype != "int16":
        raise refuse(op, f"it makes {output.dtype} of int16")
    zero_points = [quantization(op, t).zero_point for t in (input, output)]
    if any(zero_points) or (weights.quantization and any(weights.quantization.zero_points)):
        raise refuse(op, "a tensor of it has a zero point", "quantize the model again")
    bias, is_narrow = _bias(op, subgraph, len(rows))
    scales = channel_scales(op, input, weights, output)
    if is_narrow:
        multipliers, shifts = requantize_pairs(op, scales)
    else:
        multipliers, shifts = wide_pairs(op, scales, largest_sum(rows, bias))
    low, high = activation_range(op, output, str(op.options["activation"]))
    name = label(op)
    about = f"{weights.name}, {weights.dtype} {list(weights.shape)}"
    arrays = (
        Array(f"{name}_weights", packed, about),
        Array(f"{name}_bias", bias, "bias"),
        Array(f"{name}_multipliers", multipliers, "scale of each channel"),
        Array(f"{name}_shifts", shifts, "its shift"),
    )
    channels: Fields = (
        ("bias", arrays[1].name),
        ("multipliers", arrays[2].name),
        ("shifts", arrays[3].name),
        ("step", int(len(scales) > 1)),
        ("is_narrow", int(is_narrow)),
        ("output_min", low),
        ("output_max", high),
    )
    return arrays, (("weights", arrays[0].name), ("channels", channels))


def _bias(op: Op, subgraph: Subgraph, channels: int) -> tuple[NDArray[np.int64], bool]:
    """The bias, and whether TFLM sums in 32 bits: its type says so, or an option without one."""
    tensor = optional_input(op, subgraph, 2)
    if tensor is None:
        is_narrow = op.options.get("quantized_bias_type") == "int32"
        return np.zeros(channels, np.int64), is_narrow and op.name != "DEPTHWISE_CONV_2D"
    dtype = tensor.dtype if tensor.dtype == "int32" else "int64"
    if dtype == "int32" and op.name == "DEPTHWISE_CONV_2D":
        raise refuse(op, "its bias is int32, which TFLM reads as int64", "quantize the model again")
    return constant(op, subgraph, 2, dtype).reshape(-1).astype(np.int64), dtype == "int32"


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("CONV_2D", "int16"): conv_s16,
    ("DEPTHWISE_CONV_2D", "int16"): depthwise_conv_s16,
    ("FULLY_CONNECTED", "int16"): fully_connected_s16,
}
