"""CONV_3D, which has no integer kernel anywhere, as CONV_2D over the frames.

The frames become the batch, and each is put together with its neighbours along the channels: a
convolution over k frames of C channels is one over k * C channels of a frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.flatbuffer_repairs.transposes import reshape
from edgeq.tflite.editing import Editor

_MOST_FRAMES = 10
"""Inputs that TensorFlow Lite Micro's CONCATENATION takes."""


def lower_convolutions(editor: Editor) -> list[str]:
    """PAD over the frames, a STRIDED_SLICE for each frame of the filter, CONCATENATION, CONV_2D.

    Input (1, D, H, W, C), filter (kd, kh, kw, C, N). The same products are added in another order.
    """
    return [
        layer
        for op in list(editor.ops)
        if editor.operator(op) == "CONV_3D"
        for layer in _lower(editor, op)
    ]


def _lower(editor: Editor, op: Any) -> list[str]:
    source, filters, *rest = editor.inputs(op)
    (made,) = editor.outputs(op)
    weights, options = editor.constant(filters), op.builtinOptions
    if weights is None or editor.dtype(source) != "float32" or not editor.is_fixed(source, made):
        return []
    batch, depth, height, width, channels = editor.shape(source)
    deep, high, wide, inner, outer = weights.shape
    frames = editor.shape(made)[1]
    if batch != 1 or inner != channels or not 1 <= deep <= _MOST_FRAMES:
        return []
    layer = editor.layer(made)
    ops: list[Any] = []

    def tensor(name: str, shape: list[int]) -> int:
        return editor.add_tensor(f"{layer}/{name}", shape, "float32")

    at = tensor("frames", [depth, height, width, channels])
    ops.append(reshape(editor, source, at))
    if options.padding == editor.schema.Padding.SAME:
        reach = (deep - 1) * options.dilationDFactor + 1
        total = max((frames - 1) * options.strideD + reach - depth, 0)
        if total:
            around = np.zeros((4, 2), np.int32)
            around[0] = total // 2, total - total // 2
            sizes = editor.add_constant(f"{layer}/around", around)
            padded = tensor("padded", [depth + total, height, width, channels])
            ops.append(editor.make("PAD", [at, sizes], [padded], editor.schema.PadOptionsT()))
            at = padded
    parts = []
    for k in range(deep):
        first = k * options.dilationDFactor
        last = first + (frames - 1) * options.strideD + 1
        ends = ([first, 0, 0, 0], [last, height, width, channels], [options.strideD, 1, 1, 1])
        names = ("begin", "end", "strides")
        bounds = [
            editor.add_constant(f"{layer}/{name}_{k}", np.array(values, np.int32))
            for name, values in zip(names, ends, strict=True)
        ]
        part = tensor(f"part_{k}", [frames, height, width, channels])
        slicing = editor.schema.StridedSliceOptionsT()
        ops.append(editor.make("STRIDED_SLICE", [at, *bounds], [part], slicing))
        parts.append(part)
    if deep > 1:
        joined = tensor("joined", [frames, height, width, deep * channels])
        joining = editor.schema.ConcatenationOptionsT()
        joining.axis = 3
        ops.append(editor.make("CONCATENATION", parts, [joined], joining))
    else:
        (joined,) = parts
    # TFLite has filters of CONV_2D as (N, kh, kw, channels).
    flat = weights.transpose(4, 1, 2, 0, 3).reshape(outer, high, wide, deep * channels)
    flat_at = editor.add_constant(f"{layer}/filters", np.ascontiguousarray(flat))
    bias = rest[0] if rest and rest[0] >= 0 else None
    if bias is None:
        bias = editor.add_constant(f"{layer}/bias", np.zeros(outer, np.float32))
    convolving = editor.schema.Conv2DOptionsT()
    convolving.padding = options.padding
    convolving.strideH, convolving.strideW = options.strideH, options.strideW
    convolving.dilationHFactor = options.dilationHFactor
    convolving.dilationWFactor = options.dilationWFactor
    convolving.fusedActivationFunction = options.fusedActivationFunction
    convolved = tensor("convolved", list(editor.shape(made)[1:]))
    ops.append(editor.make("CONV_2D", [joined, flat_at, bias], [convolved], convolving))
    ops.append(reshape(editor, convolved, made))
    editor.replace(op, *ops)
    return [layer]
