"""TILE, which TensorFlow Lite Micro lacks, by operators that it has.

Keras's UpSampling2D makes RESHAPE, TILE, RESHAPE, TILE, RESHAPE of one enlargement.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite.editing import Editor

_MOST_COPIES = 10
"""Inputs that TensorFlow Lite Micro's CONCATENATION takes."""


def lower_tiles(editor: Editor) -> list[str]:
    """An enlargement by whole numbers as RESIZE_NEAREST_NEIGHBOR, any other TILE as CONCATENATION
    of its input with itself. Exact."""
    layers = []
    for op in [op for op in editor.ops if editor.operator(op) == "RESHAPE"]:
        layers += _enlarge(editor, op)
    editor.drop_dead()
    for op in [op for op in editor.ops if editor.operator(op) == "TILE"]:
        layers += _concatenate(editor, op)
    return layers


def _enlarge(editor: Editor, last: Any) -> list[str]:
    """`last` is the RESHAPE that ends an enlargement of (1, H, W, C)."""
    chain = [last]
    for operator in ("TILE", "RESHAPE", "TILE", "RESHAPE"):
        before = editor.maker(editor.inputs(chain[-1])[0])
        if before is None or editor.operator(before) != operator:
            return []
        chain.append(before)
    _, columns, _, rows, _ = chain
    source, made = editor.inputs(chain[-1])[0], editor.outputs(last)[0]
    if len(editor.shape(source)) != 4 or not editor.is_fixed(source, made):
        return []
    batch, height, width, channels = editor.shape(source)
    by = [editor.constant(editor.inputs(tile)[1]) for tile in (rows, columns)]
    if by[0] is None or by[1] is None or len(by[0]) != 5 or len(by[1]) != 5:
        return []
    down, across = int(by[0][2]), int(by[1][3])
    if [*by[0]] != [1, 1, down, 1, 1] or [*by[1]] != [1, 1, 1, across, 1]:
        return []
    shapes = [editor.shape(editor.inputs(tile)[0]) for tile in (rows, columns)]
    if shapes[0] != (batch, height, 1, width, channels):
        return []
    if shapes[1] != (batch, height * down, width, 1, channels):
        return []
    if editor.shape(made) != (batch, height * down, width * across, channels):
        return []
    size = np.array([height * down, width * across], np.int32)
    wanted = editor.add_constant(f"{editor.layer(made)}/size", size)
    editor.become(last, "RESIZE_NEAREST_NEIGHBOR", editor.schema.ResizeNearestNeighborOptionsT())
    last.inputs = np.array([source, wanted], np.int32)
    return [editor.layer(made)]


def _concatenate(editor: Editor, op: Any) -> list[str]:
    source, times = editor.inputs(op)
    (made,) = editor.outputs(op)
    copies = editor.constant(times)
    if copies is None or editor.constant(source) is not None or not editor.is_fixed(source, made):
        return []
    axes = [axis for axis, count in enumerate(copies) if count != 1]
    if not axes or any(not 1 < copies[axis] <= _MOST_COPIES for axis in axes):
        return []
    layer, dtype = editor.layer(made), editor.dtype(source)
    ops, at, shape = [], source, list(editor.shape(source))
    for axis in axes:
        shape[axis] *= int(copies[axis])
        longer = made
        if axis != axes[-1]:
            longer = editor.add_tensor(f"{layer}/times_{axis}", shape, dtype)
        options = editor.schema.ConcatenationOptionsT()
        options.axis = axis
        ops.append(editor.make("CONCATENATION", [at] * int(copies[axis]), [longer], options))
        at = longer
    editor.replace(op, *ops)
    return [layer]
