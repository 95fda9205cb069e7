"""NEG and SQUARE as MUL.

TensorFlow's quantizer leaves both float, and TensorFlow Lite Micro has neither for integers.
LayerNormalization makes the first, GroupNormalization both, UnitNormalization the second.
"""

from __future__ import annotations

import numpy as np

from edgeq.tflite.editing import Editor


def write_products(editor: Editor) -> list[str]:
    """-x as x * -1, and x^2 as x * x; both exact in float."""
    layers = []
    for op in list(editor.ops):
        operator = editor.operator(op)
        if operator not in ("NEG", "SQUARE"):
            continue
        (x,), (y,) = editor.inputs(op), editor.outputs(op)
        if editor.dtype(x) != "float32":
            continue
        other = x
        if operator == "NEG":
            other = editor.add_constant("minus_one", np.array(-1, np.float32))
        op.inputs = np.array([x, other], np.int32)
        editor.become(op, "MUL", editor.schema.MulOptionsT())
        layers.append(editor.layer(y))
    return layers
