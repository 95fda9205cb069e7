"""The ranges that quantization-aware training left in a float .tflite.

TensorFlow's converter writes each FakeQuant node as QUANTIZE and DEQUANTIZE. Both are taken out:
what the type between them can hold, with its scale and zero point, is the range of the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import FLOAT_TYPES, Graph
from edgeq.tflite.editing import Editor
from edgeq.tflite.writer import damage_refused

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def is_trained_for_integers(graph: Graph) -> bool:
    """Whether all that is quantized in `graph` is between a QUANTIZE and its DEQUANTIZE."""
    pairs = set()
    for op in graph.main.ops:
        source = graph.main.tensors[op.inputs[0]] if op.inputs and op.inputs[0] >= 0 else None
        if op.name == "QUANTIZE" and source is not None and source.is_float:
            pairs.add(op.outputs[0])
    if not pairs or len(graph.subgraphs) > 1:
        return False
    for op in graph.main.ops:
        for i in op.inputs:
            if i in pairs and op.name != "DEQUANTIZE":
                return False
            tensor = graph.main.tensors[i] if i >= 0 else None
            quantized = tensor is not None and tensor.quantization is not None
            if quantized and i not in pairs and tensor.dtype not in FLOAT_TYPES:  # type: ignore[union-attr]
                return False
    return not pairs & {*graph.main.outputs}


def without_quantization(
    tflite: bytes, name: str = "model"
) -> tuple[bytes, Mapping[str, tuple[float, float]]]:
    """(The float model, (min, max) by tensor name) of one that is_trained_for_integers().

    Constants become the values that their integers stand for.
    """
    editor = Editor(tflite, name)
    learned: dict[str, tuple[float, float]] = {}
    with damage_refused(name):
        for op in list(editor.ops):
            if editor.operator(op) != "QUANTIZE" or editor.dtype(editor.inputs(op)[0]) != "float32":
                continue
            source, stored = editor.inputs(op)[0], editor.outputs(op)[0]
            values, scale = editor.constant(source), editor.scale(stored)
            for reader in editor.readers(stored):
                made = editor.outputs(reader)[0]
                if values is not None:
                    rounded = _rounded(values, *editor.scales(stored), editor.dtype(stored))
                    editor.redirect(made, editor.add_constant(editor.name_of(made), rounded))
                    editor.replace(reader)
                    continue
                reader.inputs = np.array([source], np.int32)
                ends = made in editor.ends
                if not editor.bypass(reader):
                    reader.inputs = np.array([stored], np.int32)
                    continue
                low, high = _LIMITS.get(editor.dtype(stored), (0, 0))
                if scale is not None and high:
                    span = (low - scale[1]) * scale[0], (high - scale[1]) * scale[0]
                    learned.setdefault(editor.name_of(made if ends else source), span)
                source = made if ends else source
        editor.drop_dead()
    return editor.bytes(), learned


def _rounded(
    values: NDArray[Any], scales: NDArray[Any], zeros: NDArray[Any], axis: int, dtype: str
) -> NDArray[np.float32]:
    low, high = _LIMITS[dtype]
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[axis] = len(scales)
    step, zero = scales.reshape(shape), zeros.reshape(shape)
    whole = np.clip(np.round(values / step) + zero, low, high)
    made: NDArray[np.float32] = ((whole - zero) * step).astype(np.float32)
    return made
