"""Streams for eq_blocks.h, from weights and scales, and rings of rows for its convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.requantization import Requantization, Scales, solve
from edgeq.codegen.aot.windows import Window

FOUR = 4
"""Values that a word of lanes and its neighbour hold."""


_SHIFT = 12
"""EQ_BLOCKS_SHIFT of eq_blocks.h."""


def fours(count: int) -> int:
    return -(-count // FOUR)


def pack(
    rows: NDArray[Any], bias: NDArray[Any], found: Requantization, has_one_scale: bool = False
) -> NDArray[np.int32]:
    """The stream for `rows` of weights [channels][a multiple of four].

    `bias` has the zero point folded in. The weights must be what dsp.suits. The stream for one
    pixel is without scales.
    """
    odd = len(rows) % 2
    wide = np.pad(rows.astype(np.int32), ((0, odd), (0, 0)))
    lanes = (256 * wide[0::2] + wide[1::2]).astype("<i2").reshape(len(wide) // 2, -1, 2, 2)
    weights = np.ascontiguousarray(lanes.swapaxes(2, 3)).view("<i4").reshape(len(lanes), -1)
    whole = bias.astype(np.int64) * 256 + found.biases
    other = bias.astype(np.int64) * 2 if found.scales is not None else whole
    parts = [
        _pairs(whole)[:, :1],
        weights.astype(np.int64),
        _pairs(other)[:, 1:],
    ]
    if not has_one_scale:
        parts.append(_pairs(found.multipliers))
    if not has_one_scale and found.scales is not None:
        parts.append(_pairs(found.scales))
    stream = np.concatenate(parts, axis=1).reshape(-1)
    return np.array(stream.astype(np.uint32).view(np.int32))


def _pairs(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.pad(values.astype(np.int64), (0, len(values) % 2)).reshape(-1, 2)


def fastest(scales: Scales) -> Requantization | None:
    """With the shift that the kernel has a tail of its own for."""
    found = solve(scales, _SHIFT)
    return found if found is not None and found.shift == _SHIFT else None


@dataclass(frozen=True)
class KernelRow:
    """`fours` of values of one row of a kernel. `has_rest`: one value more of each of up to four
    rows, which together are the last four.
    """

    fours: int
    has_rest: bool


def kernel_row(weights: NDArray[Any]) -> KernelRow:
    """Of weights [channels][height][width][depth]."""
    _, height, width, depth = weights.shape
    count = width * depth
    has_rest = count % FOUR == 1 and count > 1 and 1 < height <= FOUR
    return KernelRow(count // FOUR if has_rest else fours(count), has_rest)


def whole_fours(weights: NDArray[Any]) -> NDArray[Any]:
    """The weights [channels][height][width][depth] as rows, those of the kernel of whole fours."""
    channels, height, width, depth = weights.shape
    rows = weights.reshape(channels, height, width * depth)
    row = kernel_row(weights)
    if row.has_rest:
        whole = rows[:, :, :-1].reshape(channels, -1)
        return np.concatenate([whole, _padded(rows[:, :, -1])], axis=1)
    return np.asarray(_padded(rows).reshape(channels, -1))


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    """With zeros behind, so that the last axis is whole fours."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % FOUR)])


@dataclass(frozen=True)
class Ring:
    """`rows` rows of an image of `row` bytes each, padding included; 0 of 0 where none are kept."""

    rows: int
    row: int

    @property
    def size(self) -> int:
        return self.rows * self.row


def ring(shape: Window, depth: int) -> Ring:
    """What eq_conv_blocks_s8_dsp keeps of an image of `depth` channels."""
    is_plain = shape.kernel == (1, 1) and shape.padding == (0, 0) and depth % FOUR == 0
    if is_plain:
        return Ring(0, 0)
    span = (shape.kernel[0] - 1) * shape.dilation[0] + 1
    more = shape.stride[0] if shape.output[1] % 2 and shape.output[0] > 1 else 0
    left = shape.padding[1]
    columns = max(left + shape.input[1], (shape.output[1] - 1) * shape.stride[1] + shape.kernel[1])
    return Ring(span + more, fours(columns * depth + FOUR - 1) * FOUR)


def lead(shape: Window, batches: int, kept: Ring, input_pixel: int, output_pixel: int) -> int:
    """Bytes that the output must begin before the input, when it may lie over it.

    Two outputs are written when all that they see was read: of whole rows, where rows are kept.
    """
    count = shape.output[0] * shape.output[1]
    image = shape.input[0] * shape.input[1]
    after = np.minimum(np.arange(2, count + 2, 2), count)
    if kept.rows:
        last = (after - 1) // shape.output[1] * shape.stride[0] - shape.padding[0]
        last += (shape.kernel[0] - 1) * shape.dilation[0]
        unread = np.clip(last + 1, 0, shape.input[0]) * shape.input[1]
    else:
        y, x = np.divmod(after, shape.output[1])
        unread = y * shape.stride[0] * shape.input[1] + x * shape.stride[1]
        unread[-1] = image
    starts = np.arange(batches)[:, None]
    written = (starts * count + after[None, :]) * output_pixel
    needed = (starts * image + unread[None, :]) * input_pixel
    room = np.where(needed < batches * image * input_pixel, written - needed, 0)
    return max(0, int(room.max()))
