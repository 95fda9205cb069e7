"""Weights in the order of the kernels of eq_conv_dsp.h, for cores with the DSP extension."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = 4
"""Values that a kernel takes at a time."""

_MAGNITUDES = 1 << 16
"""A row's weights add up to less, so that 256 * 128 times that is within 32 bits."""

_SHORTEST = 4
"""Rows below a step would grow most, and gain least."""


def suits(rows: NDArray[Any], groups: int = 1) -> bool:
    """Whether eq_dot_s8_dsp is exact for these weights [channels][values], and pays."""
    return rows.shape[1] >= _SHORTEST and all(_is_exact(g) for g in np.split(rows, groups))


def _is_exact(rows: NDArray[Any]) -> bool:
    """Of one group: its rows 0 and 1, 2 and 3, ... share lanes."""
    wide = rows.astype(np.int32)
    second = wide[1::2]
    first = wide[0::2][: len(second)]
    is_low = bool(((first == -128) & (second < 0)).any())
    return not is_low and bool((np.abs(wide).sum(axis=1) < _MAGNITUDES).all())


def whole_steps(count: int) -> int:
    """`count` values, up to whole steps."""
    return -(-count // STEP) * STEP


def suits_taps(taps: NDArray[Any]) -> bool:
    """Whether the depthwise kernel has channels [taps][channels] to take four at a time."""
    return bool(taps.shape[1] >= 4)


def pack_rows(rows: NDArray[Any], groups: int = 1) -> NDArray[np.int32]:
    """The int8 weights [channels][values] as eq_dot_s8_dsp wants those of each group."""
    parts = np.split(rows, groups)
    return np.concatenate([part for group in parts for part in _pack_group(group)])


def _pack_group(rows: NDArray[Any]) -> list[NDArray[np.int32]]:
    padding = -rows.shape[1] % STEP
    wide = np.pad(rows.astype(np.int32), ((0, 0), (0, padding)))
    channels, steps = len(wide), wide.shape[1] // STEP
    lanes = 256 * wide[0 : channels - 1 : 2] + wide[1:channels:2]
    taps = lanes.astype("<i2").reshape(-1, steps, 2, 2)  # [pair][step][0 or 2][0 or 1]
    words = np.ascontiguousarray(taps.swapaxes(2, 3)).view("<i4").reshape(-1, steps, 2)
    fours = words[: channels // 4 * 2].reshape(-1, 2, steps, 2).swapaxes(1, 2)
    pair = words[channels // 4 * 2 :]
    single = wide[channels // 2 * 2 :].astype(np.int8).view("<i4")
    return [part.reshape(-1).astype(np.int32) for part in (fours, pair, single)]


def pack_taps(weights: NDArray[Any]) -> NDArray[np.int32]:
    """The int8 weights [taps][channels] of a depthwise convolution, for its kernel."""
    taps = np.pad(weights.astype(np.int8), ((0, len(weights) % 2), (0, 0)))
    pairs, channels = len(taps) // 2, taps.shape[1]
    whole = channels // 4 * 4
    # [pair][a or b][block][half][2] to [block][pair][half][a or b][2].
    fours = taps[:, :whole].reshape(pairs, 2, -1, 2, 2).transpose(2, 0, 3, 1, 4)
    rest = taps[:, whole:].T
    octets = np.concatenate([fours.reshape(-1), rest.reshape(-1)])
    return np.pad(octets, (0, -len(octets) % 4)).view("<i4").astype(np.int32)
