"""Images of another size: eq_resize.h."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeq.codegen.aot.layer import (
    Array,
    Call,
    Emitter,
    Input,
    LayerCode,
    Output,
    Struct,
    constant,
    input_tensor,
    label,
    output_tensor,
    refuse,
)
from edgeq.codegen.aot.multipliers import float32_round
from edgeq.graph import Op, Subgraph, Tensor
from edgeq.targets import Core

_LONGEST = 32767
"""Pixels along a side whose places an int16 holds."""


def _images(op: Op, subgraph: Subgraph) -> tuple[Tensor, Tensor]:
    """Input and output, which must fit together and the size that the operator is told."""
    input, output = input_tensor(op, subgraph, 0), output_tensor(op, subgraph)
    size = constant(op, subgraph, 1, "int32").reshape(-1).tolist()
    fits = len(input.shape) == len(output.shape) == 4 and input.dtype == output.dtype
    if not fits or output.shape != (input.shape[0], *size, input.shape[3]):
        raise refuse(op, "the shapes of its tensors do not fit together", "export the model again")
    if 0 in input.shape + output.shape or max(input.shape + output.shape) > _LONGEST:
        raise refuse(op, f"its output {list(output.shape)} is empty or too large")
    return input, output


# --- Nearest ------------------------------------------------------------------------------------


def resize_nearest(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = _images(op, subgraph)
    name = label(op)
    rows, columns = (_nearest(op, input.shape[i], output.shape[i]) for i in (1, 2))
    arrays = [
        Array(f"{name}_rows", rows, "the input row of each output row"),
        Array(f"{name}_columns", columns, "the input column of each output column"),
    ]
    fields = (
        ("batches", input.shape[0]),
        ("input_height", input.shape[1]),
        ("input_width", input.shape[2]),
        ("output_height", output.shape[1]),
        ("output_width", output.shape[2]),
        ("pixel", input.shape[3] * (input.bytes // input.elements)),
        ("rows", arrays[0].name),
        ("columns", arrays[1].name),
    )
    return LayerCode(
        calls=(Call("eq_resize_nearest", (f"&{name}", Input(0), Output())),),
        constants=(*arrays, Struct(name, "eq_resize_nearest_t", fields)),
        sources=("eq_resize_nearest.c",),
        headers=("eq_resize.h",),
    )


def _nearest(op: Op, before: int, after: int) -> NDArray[np.int16]:
    """The input place of each output place, in float32 as TFLM computes it."""
    corners = bool(op.options.get("align_corners"))
    f = np.float32
    if corners and after > 1:
        scale = f(before - 1) / f(after - 1)
    else:
        scale = f(before) / f(after)
    offset = f(0.5 if op.options.get("half_pixel_centers") else 0.0)
    places = [(f(i) + offset) * scale for i in range(after)]
    whole = [float32_round(p) if corners else math.floor(p) for p in places]
    return np.array([min(i, before - 1) for i in whole], np.int16)


# --- Bilinear -----------------------------------------------------------------------------------

_ONE = 1024
"""A step of the input, in the units that places are given in."""


def resize_bilinear_s8(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    input, output = _images(op, subgraph)
    if op.options.get("align_corners") and op.options.get("half_pixel_centers"):
        raise refuse(op, "it aligns corners and takes the centers of pixels", "choose one of both")
    name = label(op)
    height, width = (_side(op, input.shape[i], output.shape[i]) for i in (1, 2))
    fields = (
        ("batches", input.shape[0]),
        ("channels", input.shape[3]),
        ("height", height),
        ("width", width),
    )
    return LayerCode(
        calls=(Call("eq_resize_bilinear_s8", (f"&{name}", Input(0), Output())),),
        constants=(Struct(name, "eq_resize_bilinear_t", fields),),
        sources=("eq_resize_bilinear_s8.c",),
        headers=("eq_resize.h",),
    )


def _side(op: Op, before: int, after: int) -> tuple[tuple[str, int], ...]:
    """The fields of eq_resize_side_t: steps rounded to 1/1024, as TFLM does."""
    if op.options.get("align_corners") and after > 1:
        scale = (_ONE * (before - 1) + (after - 1) // 2) // (after - 1)
    else:
        scale = (_ONE * before + after // 2) // after
    offset = scale // 2 - _ONE // 2 if op.options.get("half_pixel_centers") else 0
    if (after - 1) * scale + offset >= before * _ONE:
        raise refuse(op, f"from {before} to {after} pixels, its rounded steps leave the image")
    return (
        ("input_size", before),
        ("output_size", after),
        ("scale", scale),
        ("offset", offset),
    )


EMITTERS: dict[tuple[str, str], Emitter] = {
    ("RESIZE_BILINEAR", "int8"): resize_bilinear_s8,
    **{
        ("RESIZE_NEAREST_NEIGHBOR", dtype): resize_nearest for dtype in ("int8", "int16", "float32")
    },
}
