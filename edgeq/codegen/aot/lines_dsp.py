"""What eq_depthwise_conv_3x3_s8_dsp wants: words of a channel, directions, lines at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.requantization import Requantization, Scales, solve
from edgeq.codegen.aot.windows import Fields, Window
from edgeq.graph import Op, Subgraph

SHIFTS = (10, 12, 8)
"""That there are kernels for. A larger one leaves multipliers more bits; 10 serves nearly all, and
a network that needs one brings one.
"""

LINES = tuple(f"eq_lines_by_{by}_shift_{shift}" for by in (1, 2) for shift in sorted(SHIFTS))
"""The functions of eq_lines.h."""

_CHANNELS = 4
"""That are repacked at a time."""

_PAIR_BYTES = 16

_LARGEST_PLANE = 6144
"""Bytes of the repacked image, at most."""

_LARGEST_PART = 3600
"""Of rows of it, with those by which the output is ahead of the input."""

_LEAST_PLANE = 2048
"""What an image may take even where there is no room left."""

_LEAST_PART = 1600
"""The same for rows of it."""


def suits(shape: Window, channels: int) -> bool:
    """Whether there is a kernel for this window, and one output channel for each input channel."""
    return (
        shape.kernel == (3, 3)
        and shape.dilation == (1, 1)
        and shape.stride in ((1, 1), (2, 2))
        and channels >= _CHANNELS
    )


def requantization(scales: Scales) -> Requantization | None:
    """With one of SHIFTS."""
    for shift in SHIFTS:
        found = solve(scales, shift)
        if found is not None and found.shift == shift:
            return found
    return None


@dataclass(frozen=True)
class Plan:
    """`along` is the axis of the image (0 height, 1 width) that lines run along.

    `lines` of outputs are computed at a time, all where `is_whole`; `scratch` in bytes.
    """

    along: int
    lines: int
    is_whole: bool
    scratch: int


def plan(shape: Window, channels: int, room: int) -> Plan:
    """A whole image at a time, along the axis that takes fewer steps, or else rows of it.

    `room` is how many bytes of the arena other operators need and this one does not.
    """
    stride = shape.stride[0]
    along = min((1, 0), key=lambda axis: _cost(shape, axis))
    whole = shape.output[1 - along]
    size = _plane(shape.output[along], whole, stride)
    if size <= min(_LARGEST_PLANE, max(room, _LEAST_PLANE)):
        return Plan(along, whole, True, size)
    limit = min(_LARGEST_PART, max(room, _LEAST_PART))
    row = shape.output[1] * channels
    lines = max(
        (
            n
            for n in range(1, shape.output[0])
            if _plane(shape.output[1], n, stride) + n * row <= limit
        ),
        default=1,
    )
    return Plan(1, lines, False, _plane(shape.output[1], lines, stride))


def room(op: Op, subgraph: Subgraph) -> int:
    """A guess at the room: the largest activation, less the largest of this operator."""
    sizes = {t.index: t.bytes for t in subgraph.tensors if not t.is_constant}
    own = [sizes.get(i, 0) for i in (op.inputs[0], op.outputs[0])]
    used = (i for other in subgraph.ops for i in (*other.inputs, *other.outputs))
    return max(sizes.get(i, 0) for i in used) - max(own)


_WRITERS = frozenset(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "PAD"))
"""Operators whose output has bytes of its own."""


def dies_with(op: Op, subgraph: Subgraph) -> bool:
    """Whether the bytes of the operator's input are of no use afterwards, for sure."""
    index = op.inputs[0]
    readers = [i for other in subgraph.ops for i in other.inputs if i == index]
    writers = [other for other in subgraph.ops if index in other.outputs]
    is_own = len(writers) == 1 and writers[0].name in _WRITERS
    return is_own and len(readers) == 1 and index not in subgraph.outputs


def _cost(shape: Window, along: int) -> int:
    """Instructions, roughly."""
    count, lines = shape.output[along], shape.output[1 - along]
    step = 26 * (count // 2) + 18 * (count % 2) if shape.stride[0] == 1 else 17 * count
    return lines * (step + 28)


def _plane(count: int, lines: int, stride: int) -> int:
    pairs = (count + 3) // 2 if stride == 1 else count + 1
    return _PAIR_BYTES * pairs * ((lines - 1) * stride + 3)


def lead(shape: Window, planned: Plan, channels: int) -> int:
    """Bytes that the output must begin before the input, when it may lie over it.

    Of rows that are computed at a time, the first four channels are written when others are still
    to be read. What one image alone allows.
    """
    starts = np.arange(0, shape.output[0], planned.lines)
    written = np.minimum(starts + planned.lines, shape.output[0]) * shape.output[1]
    needed = np.maximum(0, starts * shape.stride[0] - shape.padding[0]) * shape.input[1]
    return int((written - needed).max()) * channels


def directions(shape: Window, planned: Plan, channels: int) -> tuple[Fields, Fields]:
    """The fields of `along` and `across`."""
    along, across = (
        (
            ("input", shape.input[axis]),
            ("output", shape.output[axis]),
            ("padding", shape.padding[axis]),
            ("input_step", channels * (1 if axis else shape.input[1])),
            ("output_step", channels * (1 if axis else shape.output[1])),
        )
        for axis in (planned.along, 1 - planned.along)
    )
    return along, across


def pack(
    taps: NDArray[Any], along: int, bias: NDArray[np.int32], found: Requantization
) -> NDArray[np.int32]:
    """The words of each channel, from weights [9][channels]."""
    kernels = taps.T.astype(np.int8).reshape(-1, 3, 3)
    rows = kernels if along else kernels.swapaxes(1, 2)
    words = np.ascontiguousarray(rows[:, :, [0, 1, 1, 2]]).view("<i4").reshape(-1, 3)
    whole = (bias.astype(np.int64) * 256 + found.biases).astype(np.uint32).view(np.int32)
    columns = [words.astype(np.int32), whole[:, None], found.multipliers[:, None]]
    return np.concatenate(columns, axis=1).reshape(-1)
