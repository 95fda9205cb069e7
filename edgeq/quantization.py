"""Real numbers to quantized ones and back, with TFLite's own rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import NUMPY_TYPES, Tensor


def quantize(values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """`values` (any shape, real) as `tensor` stores them.

    q = clamp(round(x / scale) + zero_point), computed in float32 with halves rounded away from
    zero, as tflite::AffineQuantize does. A tensor that is not quantized gets a plain cast.
    """
    dtype: np.dtype[Any] = np.dtype(NUMPY_TYPES[tensor.dtype])
    if tensor.quantization is None or tensor.is_float or values.dtype == dtype != np.uint8:
        return values.astype(dtype, copy=False)
    scaled = values.astype(np.float32) / np.float32(tensor.quantization.scale)
    wide = scaled.astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(wide) + 0.5), wide) + tensor.quantization.zero_point
    # NaN has no right answer; C, Kotlin and Python give the zero point, which stands for 0.
    rounded = np.where(np.isnan(rounded), tensor.quantization.zero_point, rounded)
    limits = np.iinfo(dtype)
    stored: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return stored


def dequantize(values: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    """`values` as stored by `tensor`, as float32: scale * (q - zero_point)."""
    if tensor.quantization is None or tensor.is_float:
        return values.astype(np.float32)
    difference = values.astype(np.int64) - tensor.quantization.zero_point
    return difference.astype(np.float32) * np.float32(tensor.quantization.scale)
