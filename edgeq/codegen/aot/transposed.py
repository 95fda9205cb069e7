"""TRANSPOSE_CONV: eq_transpose_conv.h."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.channels import (
    channels_s8,
    channels_s16,
    folded_bias,
    refuse_asymmetric_weights,
)
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
from edgeq.codegen.aot.windows import Fields
from edgeq.graph import Op, Subgraph
from edgeq.targets import Core

_WEIGHTS, _INPUT, _BIAS = 1, 2, 3
"""Positions among the inputs; the first says the output's shape."""


def transpose_conv_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    weights = constant(op, subgraph, _WEIGHTS, "int8")
    refuse_asymmetric_weights(op, subgraph)
    phases = _phases(op, weights)
    channels = len(weights)
    rows = weights.reshape(channels, -1)
    arrays, scaling = channels_s8(_as_conv(op), subgraph, rows, rows)
    bias = np.zeros(channels, np.int32)
    if optional_input(op, subgraph, _BIAS) is not None:
        bias = constant(op, subgraph, _BIAS, "int32").reshape(-1)
    zero_point = quantization(op, input_tensor(op, subgraph, _INPUT)).zero_point
    folded = [folded_bias(w.reshape(channels, -1), bias, zero_point) for w in phases]
    biases = Array(arrays[1].name, np.stack(folded), "bias of each phase, zero point folded in")
    return _layer(op, subgraph, phases, (biases, *arrays[2:]), dict(scaling), "s8")


def transpose_conv_s16(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    weights = constant(op, subgraph, _WEIGHTS, "int8")
    bias = optional_input(op, subgraph, _BIAS)
    if bias is not None and bias.dtype != "int64":
        raise refuse(op, f"its bias is {bias.dtype}, and only int64 is supported")
    rows = weights.reshape(len(weights), -1)
    arrays, scaling = channels_s16(_as_conv(op), subgraph, rows, rows)
    return _layer(op, subgraph, _phases(op, weights), arrays[1:], dict(scaling), "s16")


def _as_conv(op: Op) -> Op:
    """The operator with its inputs where CONV_2D has them, for what is scaled alike.

    TFLM takes no notice of an option for the type of the sums.
    """
    inputs = (op.inputs[_INPUT], op.inputs[_WEIGHTS], *op.inputs[_BIAS:])
    return replace(op, inputs=inputs, options={"activation": op.options.get("activation", "NONE")})


def _strides(op: Op) -> tuple[int, int]:
    return int(op.options["stride_h"]), int(op.options["stride_w"])


def _phases(op: Op, weights: NDArray[Any]) -> list[NDArray[Any]]:
    """The weights of each phase, their taps in the order of the input."""
    height, width = _strides(op)
    return [
        weights[:, row::height, column::width][:, ::-1, ::-1]
        for row in range(height)
        for column in range(width)
    ]


def _padding(op: Op, size: int, kernel: int, stride: int) -> int:
    """Half of what the convolution from the output's size would be padded by, rounded down."""
    if op.options["padding"] != "SAME":
        return 0
    return max(0, (-(-size // stride) - 1) * stride + kernel - size) // 2


def _layer(
    op: Op,
    subgraph: Subgraph,
    phases: list[NDArray[Any]],
    arrays: tuple[Array, ...],
    scaling: dict[str, Any],
    types: str,
) -> LayerCode:
    input, output = input_tensor(op, subgraph, _INPUT), output_tensor(op, subgraph)
    weights = input_tensor(op, subgraph, _WEIGHTS)
    channels, *kernel, depth = weights.shape
    if (input.shape[3], output.shape[3], input.shape[0]) != (depth, channels, output.shape[0]):
        raise refuse(op, f"its shapes {list(input.shape)} and {list(output.shape)} do not fit")
    strides = _strides(op)
    pad_top, pad_left = (_padding(op, output.shape[i + 1], kernel[i], strides[i]) for i in (0, 1))
    name = label(op)
    about = f"{weights.name}, {weights.dtype} {list(weights.shape)}, by phases"
    sizes = [w.size for w in phases]
    packed = Array(f"{name}_weights", np.concatenate([w.reshape(-1) for w in phases]), about)
    starts = np.cumsum([0, *sizes[:-1]])
    begins = Array(f"{name}_starts", starts.astype(np.int32), "where each phase begins")
    shape: Fields = (
        ("batches", output.shape[0]),
        ("input_height", input.shape[1]),
        ("input_width", input.shape[2]),
        ("input_channels", depth),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("output_channels", channels),
        ("kernel_height", kernel[0]),
        ("kernel_width", kernel[1]),
        ("stride_height", strides[0]),
        ("stride_width", strides[1]),
        ("pad_top", pad_top),
        ("pad_left", pad_left),
        ("zero_point", quantization(op, input).zero_point),
        ("weights", packed.name),
        ("starts", begins.name),
    )
    function = f"eq_transpose_conv_{types}"
    fields: Fields = (("shape", shape), ("channels", scaling["channels"]))
    ctype = "int8_t" if types == "s8" else "int16_t"
    return LayerCode(
        calls=(Call(function, (f"&{name}", Input(_INPUT), Scratch(ctype), Output())),),
        constants=(packed, begins, *arrays, Struct(name, f"{function}_t", fields)),
        sources=(f"{function}.c", f"eq_channels_{types}.c", f"eq_dot_{types}.c", "eq_window.c"),
        headers=("eq_transpose_conv.h",),
        scratch=max(sizes) // channels * (input.bytes // input.elements),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("TRANSPOSE_CONV", "int16"): transpose_conv_s16,
    ("TRANSPOSE_CONV", "int8"): transpose_conv_s8,
}
