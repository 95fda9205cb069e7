"""What converters of other frameworks leave in a .tflite that keeps it from becoming integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.tflite.editing import Editor
from edgeq.tflite.writer import damage_refused

_KEPT_CONSTANTS = b"keep_stablehlo_constant"
"""Metadata of litert-torch: with it, mlir_quantize leaves convolutions float."""

_NO_NAME = "edgeq.workers.torch"


def prepared(tflite: bytes, name: str) -> tuple[bytes, list[str]]:
    """The model without what a quantizer or an engine stumbles over, and what was done.

    No value changes, but for the rounding of a division by a square root.
    """
    editor = Editor(tflite, name)
    with damage_refused(name):
        editor.drop_metadata(_KEPT_CONSTANTS)
        pads = _finite_padding(editor)
        roots = _reciprocal_roots(editor)
        _rename(editor)
    done = []
    if pads:
        done.append(f"infinite padding of {pads} max-poolings replaced by an equal one")
    if roots:
        done.append(f"{roots} divisions by SQRT written as products with RSQRT")
    return editor.bytes(), done


def _rename(editor: Editor) -> None:
    """Names that say only where litert-torch was called from, by operator and number."""
    for number, op in enumerate(editor.ops):
        for tensor in editor.outputs(op):
            if _NO_NAME in editor.name_of(tensor):
                editor.rename(tensor, f"{editor.operator(op).lower()}_{number}")


def _reciprocal_roots(editor: Editor) -> int:
    """a / sqrt(b), as onnx2tf normalizes layers, has no integer form; a * rsqrt(b) has."""
    count = 0
    for op in list(editor.ops):
        if editor.operator(op) != "DIV":
            continue
        root = editor.maker(editor.inputs(op)[1])
        if root is None or editor.operator(root) != "SQRT":
            continue
        if len(editor.readers(editor.inputs(op)[1])) != 1:
            continue
        options = editor.schema.MulOptionsT()
        options.fusedActivationFunction = op.builtinOptions.fusedActivationFunction
        editor.become(root, "RSQRT")
        editor.become(op, "MUL", options)
        count += 1
    return count


def _finite_padding(editor: Editor) -> int:
    """PADV2 by minus infinity, before a max-pooling, as PAD or MIRROR_PAD.

    After an activation that is never negative, zero is as good. Else the mirrored edge is: where
    the padding is at most half of the window, what is mirrored lies in the same window.
    """
    count = 0
    for op in editor.ops:
        if editor.operator(op) != "PADV2":
            continue
        inputs = editor.inputs(op)
        sizes, value = editor.constant(inputs[1]), editor.constant(inputs[2])
        readers = editor.readers(editor.outputs(op)[0])
        if sizes is None or value is None or not np.all(value <= np.finfo(np.float32).min):
            continue
        if not readers or any(editor.operator(r) != "MAX_POOL_2D" for r in readers):
            continue
        if _never_negative(editor, editor.maker(inputs[0])):
            editor.become(op, "PAD", editor.schema.PadOptionsT())
        elif _fits(sizes, readers):
            options = editor.schema.MirrorPadOptionsT()
            options.mode = editor.schema.MirrorPadMode.SYMMETRIC
            editor.become(op, "MIRROR_PAD", options)
        else:
            continue
        op.inputs = np.array(inputs[:2], np.int32)
        count += 1
    return count


def _fits(sizes: NDArray[Any], readers: Sequence[Any]) -> bool:
    windows = [(o.builtinOptions.filterHeight, o.builtinOptions.filterWidth) for o in readers]
    padding = [int(pair.max()) for pair in sizes.reshape(-1, 2)[1:3]]
    return sizes.size == 8 and all(
        2 * pad <= size for window in windows for pad, size in zip(padding, window, strict=True)
    )


def _never_negative(editor: Editor, op: Any) -> bool:
    if op is None:
        return False
    if editor.operator(op) in ("RELU", "RELU6", "LOGISTIC"):
        return True
    kinds = editor.schema.ActivationFunctionType
    fused = getattr(op.builtinOptions, "fusedActivationFunction", kinds.NONE)
    return fused in (kinds.RELU, kinds.RELU6)
