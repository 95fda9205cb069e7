"""PAD into the convolution or pooling behind it, where its SAME padding is just that.

Frameworks write an explicit PAD before a strided convolution (Keras's MobileNets, PyTorch's
everything). It copies the whole activation once, in memory of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite.editing import Editor

_WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")


def absorb_paddings(editor: Editor) -> list[str]:
    """Zeros around height and width become padding SAME of what reads them.

    SAME pads `max((ceil(n / stride) - 1) * stride + (k - 1) * dilation + 1 - n, 0)` in each
    dimension, the smaller half first
    (https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2). A maximum is taken over
    what is there, without the padding: it is the same where no value is below zero.
    """
    layers = []
    for pad in [op for op in editor.ops if editor.operator(op) == "PAD"]:
        source, sizes = editor.inputs(pad)
        (padded,) = editor.outputs(pad)
        around = editor.constant(sizes)
        if around is None or around.shape != (4, 2) or editor.dtype(source) != "float32":
            continue
        if around[[0, 3]].any() or not editor.is_fixed(source):
            continue
        readers = [op for op in editor.readers(padded) if editor.operator(op) in _WINDOWED]
        for op in readers:
            if not _is_same(editor, op, editor.shape(source), around):
                continue
            if editor.operator(op) == "MAX_POOL_2D" and not _never_negative(editor, source):
                continue
            others = editor.inputs(op)[1:]
            if padded in others:
                continue
            op.inputs = np.array([source, *others], np.int32)
            op.builtinOptions.padding = editor.schema.Padding.SAME
            layers.append(editor.layer(editor.outputs(op)[0]))
    return layers


def _is_same(editor: Editor, op: Any, shape: tuple[int, ...], around: np.ndarray) -> bool:
    options = op.builtinOptions
    windows: tuple[int, ...]
    strides = (options.strideH, options.strideW)
    if editor.operator(op) == "MAX_POOL_2D":
        windows, dilations = (options.filterHeight, options.filterWidth), (1, 1)
    else:
        windows = editor.shape(editor.inputs(op)[1])[1:3]
        dilations = (options.dilationHFactor, options.dilationWFactor)
    valid = options.padding == editor.schema.Padding.VALID
    made = editor.shape(editor.outputs(op)[0])[1:3]
    for i in range(2):
        size, stride = shape[1 + i], strides[i]
        reach = (windows[i] - 1) * dilations[i] + 1
        steps = -(-size // stride)
        total = max((steps - 1) * stride + reach - size, 0)
        halves = (total // 2, total - total // 2)
        if not valid or made[i] != steps or tuple(around[1 + i]) != halves:
            return False
    return True


def _never_negative(editor: Editor, tensor: int) -> bool:
    maker = editor.maker(tensor)
    if maker is None:
        return False
    kinds = editor.schema.ActivationFunctionType
    fused = getattr(maker.builtinOptions, "fusedActivationFunction", None)
    return editor.operator(maker) in ("RELU", "RELU6") or fused in (kinds.RELU, kinds.RELU6)
