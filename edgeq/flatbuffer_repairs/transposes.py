"""TRANSPOSE of many dimensions with fewer: neighbours that stay neighbours are moved as one.

TensorFlow Lite Micro's kernel takes at most five dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite.editing import Editor

_MOST = 4
"""Dimensions that every kernel has; TRANSPOSE of no more stays as it is."""


def lower_transposes(editor: Editor) -> list[str]:
    """RESHAPE, TRANSPOSE of fewer dimensions, RESHAPE. Exact."""
    layers = []
    for op in [op for op in editor.ops if editor.operator(op) == "TRANSPOSE"]:
        source, order_at = editor.inputs(op)
        (made,) = editor.outputs(op)
        order = editor.constant(order_at)
        shape = editor.shape(source)
        if order is None or len(shape) <= _MOST or not editor.is_fixed(source, made):
            continue
        sizes, moved = merged(shape, [int(axis) for axis in order])
        if len(sizes) < len(shape):
            layer, dtype = editor.layer(made), editor.dtype(source)
            few = editor.add_tensor(f"{layer}/few", sizes, dtype)
            turned = editor.add_tensor(f"{layer}/turned", [sizes[i] for i in moved], dtype)
            perm = editor.add_constant(f"{layer}/perm", np.array(moved, np.int32))
            editor.replace(
                op,
                reshape(editor, source, few),
                editor.make("TRANSPOSE", [few, perm], [turned], editor.schema.TransposeOptionsT()),
                reshape(editor, turned, made),
            )
            layers.append(layer)
    return layers


def merged(shape: tuple[int, ...], order: list[int]) -> tuple[list[int], list[int]]:
    """(shape, order) of the same transposition with the fewest dimensions."""
    kept = [axis for axis in order if shape[axis] != 1]
    runs: list[list[int]] = []
    for axis in kept:
        between = range(runs[-1][-1] + 1, axis) if runs else range(0)
        if runs and axis > runs[-1][-1] and all(shape[i] == 1 for i in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    ranked = sorted(runs)
    sizes = [int(np.prod([shape[i] for i in run])) for run in ranked]
    return sizes or [1], [ranked.index(run) for run in runs] or [0]


def reshape(editor: Editor, source: int, made: int) -> Any:
    """A RESHAPE of `source` to the shape of `made`."""
    shape = np.array(editor.shape(made), np.int32)
    options = editor.schema.ReshapeOptionsT()
    options.newShape = shape
    wanted = editor.add_constant(f"{editor.layer(made)}/shape", shape)
    return editor.make("RESHAPE", [source, wanted], [made], options)
