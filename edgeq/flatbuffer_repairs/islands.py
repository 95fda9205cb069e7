"""Islands that a quantizer left in an int8 model, folded: DEQUANTIZE, a float operator and QUANTIZE
become one integer operator, where LiteRT and TensorFlow Lite Micro have the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeq.flatbuffer_repairs.products import write_products
from edgeq.repairs import Repair
from edgeq.tflite.editing import Editor
from edgeq.tflite.writer import damage_refused

_OWN_SCALE = {
    "ABS": 2, "ADD": 2, "ELU": 1, "LEAKY_RELU": 2, "MUL": 2, "PRELU": 1, "RELU": 2,
    "SQUARED_DIFFERENCE": 2, "SUB": 2,
}  # fmt: skip
"""Operators whose kernels rescale, and the version that takes int8
(tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc)."""

_SAME_SCALE = {
    "EXPAND_DIMS": 1, "REDUCE_MAX": 2, "REDUCE_MIN": 2, "RESHAPE": 1, "SPLIT": 2, "SPLIT_V": 2,
    "SQUEEZE": 1, "TILE": 1, "TRANSPOSE": 2,
}  # fmt: skip
"""Those that hand their input's numbers on, so that the output has its scale."""

_ALIKE = {"MAXIMUM": 2, "MINIMUM": 2, "RELU6": 2}
"""Those that compare and do not rescale (RELU6 does in LiteRT, not in TensorFlow Lite Micro): their
inputs have the output's scale."""

_VERSIONS = _OWN_SCALE | _SAME_SCALE | _ALIKE

Scale = tuple[float, int]


def fold_islands(
    tflite: bytes, ranges: Mapping[str, tuple[float, float]], name: str = "model"
) -> tuple[bytes, Repair | None]:
    """The int8 model with each float operator that can be made an integer one; None and the same
    bytes where there is none.

    `ranges` are (min, max) of the float model's activations by their names, for values that no
    QUANTIZE gives a scale. What cannot be folded stays float. Raises ModelError for a damaged file.
    """
    editor = Editor(tflite, name)
    layers = []
    with damage_refused(name):
        if not any(editor.operator(op) == "DEQUANTIZE" for op in editor.ops):
            return tflite, None
        write_products(editor)
        for op in list(editor.ops):
            if _fold(editor, op, ranges):
                layers.append(editor.layer(editor.outputs(op)[0]))
        if not layers:
            return tflite, None
        editor.drop_dead()
    what = "float operators between DEQUANTIZE and QUANTIZE made integer"
    return editor.bytes(), Repair("islands", what, tuple(layers))


def _fold(editor: Editor, op: Any, ranges: Mapping[str, tuple[float, float]]) -> bool:
    operator = editor.operator(op)
    if operator not in _VERSIONS:
        return False
    inputs, outputs = editor.inputs(op), editor.outputs(op)
    floats = [i for i in inputs if i >= 0 and editor.dtype(i) == "float32"]
    if not floats or any(editor.dtype(i) != "float32" for i in outputs):
        return False
    sources = {i: _integers_of(editor, i) for i in floats if editor.constant(i) is None}
    first = next(iter(sources.values()), None)
    if first is None or None in sources.values():
        return False
    scales = [_scale_of(editor, i, ranges) for i in outputs]
    if operator in _SAME_SCALE:
        scales = [editor.scale(first)] * len(outputs)
    if any(scale is None for scale in scales):
        return False
    wanted = scales[0] if operator in _ALIKE else None
    read = []
    for i in inputs:
        if i not in floats:
            read.append(i)
        elif i in sources:
            read.append(_rescaled(editor, op, sources[i], wanted))
        else:
            read.append(_integer_constant(editor, i, wanted))
    op.inputs = np.array(read, np.int32)
    editor.set_version(op, max(editor.version(op), _VERSIONS[operator]))
    made = [_integer_output(editor, op, i, s) for i, s in zip(outputs, scales, strict=True) if s]
    op.outputs = np.array(made, np.int32)
    return True


def _integers_of(editor: Editor, tensor: int) -> int | None:
    """The int8 tensor that a DEQUANTIZE makes `tensor` of."""
    maker = editor.maker(tensor)
    if maker is None or editor.operator(maker) != "DEQUANTIZE":
        return None
    source = editor.inputs(maker)[0]
    known = editor.dtype(source) == "int8" and editor.scale(source) is not None
    return source if known and editor.constant(source) is None else None


def _scale_of(
    editor: Editor, tensor: int, ranges: Mapping[str, tuple[float, float]]
) -> Scale | None:
    """That of the QUANTIZE that reads `tensor`, or else of its calibrated range."""
    for reader in editor.readers(tensor):
        if editor.operator(reader) == "QUANTIZE":
            made = editor.outputs(reader)[0]
            return editor.scale(made) if editor.dtype(made) == "int8" else None
    if editor.name_of(tensor) not in ranges or tensor in editor.ends:
        return None
    return scale_of_range(*ranges[editor.name_of(tensor)])


def scale_of_range(low: float, high: float) -> Scale:
    """The (scale, zero point) of an int8 activation in [low, high], which is widened to hold 0:
    https://ai.google.dev/edge/litert/models/quantization_spec"""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255)) or 1.0
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def _rescaled(editor: Editor, op: Any, source: int | None, wanted: Scale | None) -> int:
    """`source`, or what a new QUANTIZE before `op` makes of it, in the scale that is wanted."""
    assert source is not None
    if wanted is None or editor.scale(source) == wanted:
        return source
    name = f"{editor.name_of(source)}/rescaled"
    made = editor.add_tensor(name, editor.shape(source), "int8", scale=wanted)
    options = editor.schema.QuantizeOptionsT()
    editor.insert_before(op, editor.make("QUANTIZE", [source], [made], options, version=2))
    return made


def _integer_constant(editor: Editor, tensor: int, wanted: Scale | None) -> int:
    """In the scale that is wanted, else symmetric, as weights are."""
    values = editor.constant(tensor)
    assert values is not None
    scale, zero_point = wanted or (float(np.float32(np.abs(values).max(initial=0) / 127)) or 1.0, 0)
    numbers = np.clip(np.round(values / scale) + zero_point, -128 if wanted else -127, 127)
    name = f"{editor.name_of(tensor)}/int8"
    return editor.add_tensor(
        name, values.shape, "int8", numbers.astype(np.int8), (scale, zero_point)
    )


def _integer_output(editor: Editor, op: Any, tensor: int, scale: Scale) -> int:
    """The int8 tensor that `op` makes in place of `tensor`; for who still reads floats, this is
    made of it by a new DEQUANTIZE."""
    quantizers = [r for r in editor.readers(tensor) if editor.operator(r) == "QUANTIZE"]
    alike = [q for q in quantizers if editor.scale(editor.outputs(q)[0]) == scale]
    made = (
        editor.outputs(alike[0])[0]
        if alike
        else editor.add_tensor(editor.name_of(tensor), editor.shape(tensor), "int8", scale=scale)
    )
    for quantizer in quantizers:
        target = editor.outputs(quantizer)[0]
        if target == made:
            editor.replace(quantizer)
        elif quantizer in alike and target not in editor.ends:
            editor.redirect(target, made)
            editor.replace(quantizer)
        else:
            quantizer.inputs = np.array([made], np.int32)
            editor.set_version(quantizer, max(editor.version(quantizer), 2))
    options = editor.schema.DequantizeOptionsT()
    editor.insert_after(op, editor.make("DEQUANTIZE", [made], [tensor], options, version=2))
    return made
