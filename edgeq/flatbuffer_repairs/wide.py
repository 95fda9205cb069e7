"""Operators that have no int16 form, in those that have, for int16x8.

TensorFlow's quantizer refuses HARD_SWISH and PRELU in it, and LiteRT has no kernel of
SQUARED_DIFFERENCE.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite.editing import Editor


def write_for_int16(editor: Editor) -> list[str]:
    """(a - b)^2 by SUB and MUL; x relu6(x + 3) / 6; relu(x) - slope relu(-x). Exact but for the
    rounding of the sixth."""
    lowered = {
        "HARD_SWISH": _hard_swish,
        "PRELU": _prelu,
        "SQUARED_DIFFERENCE": _squared_difference,
    }
    layers = []
    for op in list(editor.ops):
        lower = lowered.get(editor.operator(op))
        made = editor.outputs(op)
        if lower is not None and editor.dtype(made[0]) == "float32" and editor.is_fixed(*made):
            editor.replace(op, *lower(editor, editor.inputs(op), made[0]))
            layers.append(editor.layer(made[0]))
    return layers


def _squared_difference(editor: Editor, inputs: list[int], made: int) -> list[Any]:
    difference = _like(editor, made, "difference")
    return [
        editor.make("SUB", inputs, [difference], editor.schema.SubOptionsT()),
        _product(editor, difference, difference, made),
    ]


def _hard_swish(editor: Editor, inputs: list[int], made: int) -> list[Any]:
    (x,) = inputs
    gate, product = _like(editor, made, "gate"), _like(editor, made, "product")
    kinds = editor.schema.ActivationFunctionType
    options = editor.schema.AddOptionsT(fusedActivationFunction=kinds.RELU6)
    return [
        editor.make("ADD", [x, _number(editor, "three", 3)], [gate], options),
        _product(editor, x, gate, product),
        _product(editor, product, _number(editor, "sixth", 1 / 6), made),
    ]


def _prelu(editor: Editor, inputs: list[int], made: int) -> list[Any]:
    x, slopes = inputs
    above, negated, below, scaled = (
        _like(editor, made, name) for name in ("above", "negated", "below", "scaled")
    )
    return [
        editor.make("RELU", [x], [above]),
        _product(editor, x, _number(editor, "minus_one", -1), negated),
        editor.make("RELU", [negated], [below]),
        _product(editor, below, slopes, scaled),
        editor.make("SUB", [above, scaled], [made], editor.schema.SubOptionsT()),
    ]


def _product(editor: Editor, a: int, b: int, made: int) -> Any:
    return editor.make("MUL", [a, b], [made], editor.schema.MulOptionsT())


def _like(editor: Editor, tensor: int, name: str) -> int:
    return editor.add_tensor(f"{editor.layer(tensor)}/{name}", editor.shape(tensor), "float32")


def _number(editor: Editor, name: str, value: float) -> int:
    return editor.add_constant(name, np.array(value, np.float32))
