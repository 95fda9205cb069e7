"""Operators that change nothing: identity RESHAPE and TRANSPOSE, pairs that undo each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite.editing import Editor

_RESHAPING = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE")


def drop_copies(editor: Editor) -> list[str]:
    """Whatever gives its input unchanged is taken out; a RESHAPE after another reads the first
    one's input, a TRANSPOSE after another does both's work. Exact."""
    layers: list[str] = []
    while True:
        changed = [layer for op in list(editor.ops) for layer in _simplify(editor, op)]
        editor.drop_dead()
        if not changed:
            return list(dict.fromkeys(layers))
        layers += changed


def _simplify(editor: Editor, op: Any) -> list[str]:
    """The layer of `op`, in a list, where it was changed or taken out."""
    if all(op is not known for known in editor.ops):
        return []
    operator = editor.operator(op)
    sources, made = editor.inputs(op), editor.outputs(op)
    if not sources or len(made) != 1 or not editor.is_fixed(sources[0], made[0]):
        return []
    layer = editor.layer(made[0])
    if _is_copy(editor, op, operator) and editor.constant(sources[0]) is None:
        return [layer] if editor.bypass(op) else []
    before = editor.maker(sources[0])
    if before is None:
        return []
    if operator in _RESHAPING and editor.operator(before) in _RESHAPING:
        source = editor.inputs(before)[0]
        if not editor.is_fixed(source):
            return []
        _reshape(editor, op, source, made[0])
        return [layer]
    if operator == "TRANSPOSE":
        if _moves_ones(editor, op):
            _reshape(editor, op, sources[0], made[0])
            return [layer]
        if editor.operator(before) != "TRANSPOSE":
            return []
        first, second = (editor.constant(editor.inputs(o)[1]) for o in (before, op))
        if first is not None and second is not None:
            both = editor.add_constant(f"{layer}/perm", first[second].astype(np.int32))
            op.inputs = np.array([editor.inputs(before)[0], both], np.int32)
            return [layer]
    return []


def _reshape(editor: Editor, op: Any, source: int, made: int) -> None:
    shape = np.array(editor.shape(made), np.int32)
    options = editor.schema.ReshapeOptionsT()
    options.newShape = shape
    wanted = editor.add_constant(f"{editor.layer(made)}/shape", shape)
    editor.become(op, "RESHAPE", options)
    op.inputs = np.array([source, wanted], np.int32)


def _is_copy(editor: Editor, op: Any, operator: str) -> bool:
    source, made = editor.inputs(op)[0], editor.outputs(op)[0]
    if editor.shape(source) != editor.shape(made) or editor.dtype(source) != editor.dtype(made):
        return False
    if editor.scale(source) != editor.scale(made):
        return False
    if operator in (*_RESHAPING, "CAST", "SLICE"):
        return True  # A slice of the whole shape begins at 0.
    values = [editor.constant(i) if i >= 0 else None for i in editor.inputs(op)[1:]]
    if operator == "STRIDED_SLICE":
        options, strides = op.builtinOptions, values[2]
        masks = options.newAxisMask or options.shrinkAxisMask or options.ellipsisMask
        return strides is not None and not masks and bool((strides == 1).all())
    if operator == "TRANSPOSE":
        return values[0] is not None and list(values[0]) == list(range(len(values[0])))
    if operator == "PAD":
        return values[0] is not None and not values[0].any()
    return False


def _moves_ones(editor: Editor, op: Any) -> bool:
    """Whether a TRANSPOSE leaves the order of all dimensions but those of size 1."""
    order, shape = editor.constant(editor.inputs(op)[1]), editor.shape(editor.inputs(op)[0])
    if order is None or len(order) != len(shape):
        return False
    moved = [int(axis) for axis in order if shape[int(axis)] != 1]
    return moved == sorted(moved)
