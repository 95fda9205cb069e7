"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: eq_conv.h, and eq_conv_s16.h for int16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from edgeq.codegen.aot import blocks_dsp, dsp, lines_dsp
from edgeq.codegen.aot.channels import (
    Scaling,
    channels_s8,
    channels_s16,
    refuse_asymmetric_weights,
    scaling_s8,
)
from edgeq.codegen.aot.layer import (
    Argument,
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
    output_tensor,
    quantization,
    refuse,
)
from edgeq.codegen.aot.requantization import Requantization, exactly, solve, solve_together
from edgeq.codegen.aot.windows import Fields, Window, window, window_fields
from edgeq.graph import Op, Subgraph
from edgeq.memory import Overlap
from edgeq.targets import Core

_LARGEST_SCRATCH = 6144
"""Bytes that a faster kernel may take beside its activations."""

_LARGEST_ROW = 256
"""Values of a row that are widened to 16 bits; more would take too much of the arena."""

_POINTER = 8
"""Bytes that a pointer takes at most: the same plan serves a 64-bit host."""


@dataclass(frozen=True)
class Types:
    """The kernels for activations of one type: `suffix` of their names, `size` of a value."""

    suffix: str
    size: int
    header: str
    channels: Callable[[Op, Subgraph, NDArray[Any], NDArray[Any]], tuple[tuple[Array, ...], Fields]]

    @property
    def is_dsp(self) -> bool:
        return self.suffix == "s8_dsp"

    def sources(self, operator: str, *others: str) -> tuple[str, ...]:
        names = (operator, "channels", *others)
        return tuple(f"eq_{name}_{self.suffix}.c" for name in names)


_S8 = Types("s8", 1, "eq_conv.h", channels_s8)
_S8_DSP = Types("s8_dsp", 1, "eq_conv_dsp.h", channels_s8)
_S16 = Types("s16", 2, "eq_conv_s16.h", channels_s16)


def _variant(types: Types, core: Core | None, scaling: Fields) -> Types:
    """The kernels that the core is fastest with, before a look at the weights."""
    is_able = types is _S8 and core is not None and core.has("dsp")
    channels: Any = dict(scaling)["channels"]
    return _S8_DSP if is_able and dict(channels)["is_down"] else types


def _packed(arrays: tuple[Array, ...], weights: NDArray[Any]) -> tuple[Array, ...]:
    """`arrays` with other weights."""
    first = replace(arrays[0], values=weights, about=f"{arrays[0].about}, packed")
    return (first, *arrays[1:])


def conv(types: Types, op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    channels, height, width, depth = weights.shape
    if depth == 0 or input.shape[3] % depth or channels % (input.shape[3] // depth):
        raise refuse(op, f"{depth} channels of weights do not divide {input.shape[3]} of the input")
    name, groups = label(op), input.shape[3] // depth
    shape = window(op, input, output, height, width)
    if types is _S8 and core is not None and core.has("dsp") and groups == 1:
        code = _conv_blocks(op, subgraph, shape, weights)
        if code is not None:
            return code
    fields: Fields = (
        ("window", window_fields(op, input, shape)),
        ("batches", output.shape[0]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("output_channels", channels),
        ("groups", groups),
    )
    rows = weights.reshape(channels, -1)
    arrays, scaling = types.channels(op, subgraph, rows, rows)
    size = types.size * height * width * depth
    if _variant(types, core, scaling).is_dsp and dsp.suits(rows, groups):
        types, size = _S8_DSP, dsp.whole_steps(size)
        arrays = _packed(arrays, dsp.pack_rows(rows, groups))
    kernel = f"eq_conv_{types.suffix}"
    scratch = Scratch(f"int{8 * types.size}_t")
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), scratch, Output())),),
        constants=(*arrays, Struct(name, f"{kernel}_t", (*fields, *scaling))),
        sources=(*types.sources("conv", "dot"), "eq_window.c"),
        headers=(types.header,),
        scratch=size,
        overlaps=(shape.overlap(input, output),),
    )


def _conv_blocks(
    op: Op, subgraph: Subgraph, shape: Window, weights: NDArray[Any]
) -> LayerCode | None:
    """The same two pixels and two channels at a time, where that is exact and pays."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    channels, depth, name = len(weights), weights.shape[3], label(op)
    row = blocks_dsp.kernel_row(weights)
    rows = blocks_dsp.whole_fours(weights)
    kept = blocks_dsp.ring(shape, depth)
    fours = rows.shape[1] // blocks_dsp.FOUR
    scratch = 16 * fours + kept.size
    is_worth_it = channels > 1 and output.elements > channels and scratch <= _LARGEST_SCRATCH
    if shape.dilation[1] > 1 or not is_worth_it:
        return None
    made = _blocks(op, subgraph, weights.reshape(channels, -1), rows)
    if made is None:
        return None
    packed, blocks = made
    fields: Fields = (
        ("window", window_fields(op, input, shape)),
        ("batches", output.shape[0]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("row", kept.row),
        ("rows", kept.rows),
        ("row_fours", row.fours),
        ("has_rest", int(row.has_rest)),
        ("blocks", blocks),
    )
    kernel = "eq_conv_blocks_s8_dsp"
    lead = blocks_dsp.lead(shape, output.shape[0], kept, depth, channels)
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Scratch("void"), Output())),),
        constants=(packed, Struct(name, f"{kernel}_t", fields)),
        sources=(f"{kernel}.c", "eq_blocks_s8_dsp.c"),
        headers=(_S8_DSP.header,),
        scratch=scratch,
        overlaps=(Overlap(0, 0, lead),),
    )


def depthwise_conv(types: Types, op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    _, height, width, channels = weights.shape
    if channels % input.shape[3]:
        raise refuse(op, f"{channels} channels are no multiple of the input's {input.shape[3]}")
    name = label(op)
    shape = window(op, input, output, height, width)
    if types is _S8 and core is not None and core.has("dsp"):
        code = _depthwise_conv_3x3(op, subgraph, shape, weights)
        if code is not None:
            return code
    fields: Fields = (
        ("window", window_fields(op, input, shape)),
        ("batches", output.shape[0]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
    )
    multiplier = channels // input.shape[3]
    taps = weights.reshape(-1, channels)
    arrays, scaling = types.channels(op, subgraph, taps.T, weights)
    is_single = multiplier == 1
    if is_single and _variant(types, core, scaling).is_dsp and dsp.suits_taps(taps):
        types = _S8_DSP
        arrays = _packed(arrays, dsp.pack_taps(taps))
    else:
        fields = (*fields, ("multiplier", multiplier))
    kernel = f"eq_depthwise_conv_{types.suffix}"
    if types.size == 1:
        pointers = len(taps) + len(taps) % 2 if types.is_dsp else len(taps)
        scratch, size = Scratch("void"), _POINTER * pointers + input.shape[3]
        sources = types.sources("depthwise_conv")
    else:
        scratch, size = Scratch("int16_t"), types.size * height * width * input.shape[3]
        sources = (*types.sources("depthwise_conv"), "eq_window.c")
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), scratch, Output())),),
        constants=(*arrays, Struct(name, f"{kernel}_t", (*fields, *scaling))),
        sources=sources,
        headers=(types.header,),
        scratch=size,
        overlaps=(shape.overlap(input, output),),
    )


def _blocks(
    op: Op, subgraph: Subgraph, weights: NDArray[Any], rows: NDArray[Any]
) -> tuple[Array, Fields] | None:
    """The stream of eq_blocks.h and the fields of its struct, where these are exact.

    `weights` [channels][values], and the same as `rows` of whole fours.
    """
    if not dsp.suits(rows):
        return None
    scaling = scaling_s8(op, subgraph, weights)
    found = scaling and (
        blocks_dsp.fastest(scaling.scales) or solve(scaling.scales) or exactly(scaling.scales)
    )
    if not scaling or not found:
        return None
    stream = blocks_dsp.pack(rows, scaling.bias, found)
    return _packed_blocks(op, rows, scaling, found, stream, found.size)


def _packed_blocks(
    op: Op, rows: NDArray[Any], scaling: Scaling, found: Requantization, stream: NDArray[Any],
    scales: int,
) -> tuple[Array, Fields]:  # fmt: skip
    about = f"{op.name} weights and biases, as eq_blocks.h has them"
    packed = Array(f"{label(op)}_packed", stream, about, scales)
    fields: Fields = (
        ("packed", packed.name),
        ("channels", len(rows)),
        ("fours", rows.shape[1] // blocks_dsp.FOUR),
        ("shift", found.shift if found.scales is None else scaling.scales.zero_point),
        ("is_exact", int(found.scales is not None)),
    )
    return packed, fields


def _depthwise_conv_3x3(
    op: Op, subgraph: Subgraph, shape: Window, weights: NDArray[Any]
) -> LayerCode | None:
    """The same for kernels of 3x3, where they are exact."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    channels, name = weights.shape[3], label(op)
    if not lines_dsp.suits(shape, channels) or input.shape[3] != channels:
        return None
    taps = weights.reshape(-1, channels)
    scaling = scaling_s8(op, subgraph, taps.T)
    found = scaling and lines_dsp.requantization(scaling.scales)
    if not scaling or not found:
        return None
    planned = lines_dsp.plan(shape, channels, lines_dsp.room(op, subgraph))
    along, across = lines_dsp.directions(shape, planned, channels)
    packed = Array(
        f"{name}_packed",
        lines_dsp.pack(taps, planned.along, scaling.bias, found),
        f"{op.name} weights, biases and scales, as eq_conv_dsp.h has them",
        found.size,
    )
    batches = output.shape[0]
    fields: Fields = (
        ("along", along),
        ("across", across),
        ("batches", batches),
        ("channels", channels),
        ("input_size", input.elements // batches),
        ("output_size", output.elements // batches),
        ("stride", shape.stride[0]),
        ("lines", planned.lines),
        ("zero_point", quantization(op, input).zero_point),
        ("run", f"eq_lines_by_{shape.stride[0]}_shift_{found.shift}"),
        ("packed", packed.name),
    )
    kernel = "eq_depthwise_conv_3x3_s8_dsp"
    is_same = planned.is_whole and shape.input == shape.output
    lead = lines_dsp.lead(shape, planned, channels)
    may_follow = not planned.is_whole and batches == 1
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Scratch("void"), Output())),),
        constants=(packed, Struct(name, f"{kernel}_t", fields)),
        sources=(f"{kernel}.c", "eq_lines_s8_dsp.c"),
        headers=(_S8_DSP.header,),
        scratch=planned.scratch,
        overlaps=(Overlap(0, 0, lead),) if may_follow else (),
        is_alias=is_same and lines_dsp.dies_with(op, subgraph),
    )


def fully_connected(types: Types, op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    output = output_tensor(op, subgraph)
    weights = constant(op, subgraph, 1, "int8")
    refuse_asymmetric_weights(op, subgraph)
    channels, depth = weights.shape
    name = label(op)
    rows = output.elements // channels
    shape = Window((rows, 1), (rows, 1), (1, 1), (1, 1), (1, 1))
    if types is _S8 and core is not None and core.has("dsp") and depth <= _LARGEST_ROW:
        code = _fully_connected_blocks(op, subgraph, weights, shape)
        if code is not None:
            return code
    fields: Fields = (
        ("rows", rows),
        ("input_channels", depth),
        ("output_channels", channels),
    )
    arrays, scaling = types.channels(op, subgraph, weights, weights)
    scratch: tuple[Argument, ...] = ()
    size = 0
    if _variant(types, core, scaling).is_dsp and dsp.suits(weights):
        types = _S8_DSP
        arrays = _packed(arrays, dsp.pack_rows(weights))
        size = dsp.whole_steps(depth) if depth % dsp.STEP else 0
        scratch = (Scratch() if size else "NULL",)
    kernel = f"eq_fully_connected_{types.suffix}"
    lead = shape.lead(1, types.size * depth, types.size * channels)
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), *scratch, Output())),),
        constants=(*arrays, Struct(name, f"{kernel}_t", (*fields, *scaling))),
        sources=types.sources("fully_connected", "dot"),
        headers=(types.header,),
        scratch=size,
        overlaps=(Overlap(0, 0, lead),),
    )


def _fully_connected_blocks(
    op: Op, subgraph: Subgraph, weights: NDArray[Any], shape: Window
) -> LayerCode | None:
    """The same two channels at a time, where all have one scale and that is exact."""
    channels, depth = weights.shape
    padded = blocks_dsp.whole_fours(weights.reshape(channels, 1, 1, depth))
    scaling = scaling_s8(op, subgraph, weights)
    if scaling is None or not scaling.has_one_scale or not dsp.suits(padded):
        return None
    found = solve_together(scaling.scales) or exactly(scaling.scales)
    if found is None:
        return None
    stream = blocks_dsp.pack(padded, scaling.bias, found, has_one_scale=True)
    packed, blocks = _packed_blocks(op, padded, scaling, found, stream, 0)
    rows = shape.output[0]
    pixel: Fields = (
        ("blocks", blocks),
        ("multiplier", int(found.multipliers[0])),
        ("scale", 0 if found.scales is None else int(found.scales[0])),
    )
    name, kernel = label(op), "eq_fully_connected_blocks_s8_dsp"
    fields: Fields = (("rows", rows), ("input_channels", depth), ("pixel", pixel))
    # A row is read before its outputs are written.
    lead = max(0, rows * (channels - depth)) if rows > 1 else 0
    return LayerCode(
        calls=(Call(kernel, (f"&{name}", Input(0), Scratch("void"), Output())),),
        constants=(packed, Struct(name, f"{kernel}_t", fields)),
        sources=(f"{kernel}.c", "eq_pixel_s8_dsp.c"),
        headers=(_S8_DSP.header,),
        scratch=2 * padded.shape[1],
        overlaps=(Overlap(0, 0, lead),),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    (name, dtype): partial(emitter, types)
    for name, emitter in (
        ("CONV_2D", conv),
        ("DEPTHWISE_CONV_2D", depthwise_conv),
        ("FULLY_CONNECTED", fully_connected),
    )
    for dtype, types in (("int8", _S8), ("int16", _S16))
}
