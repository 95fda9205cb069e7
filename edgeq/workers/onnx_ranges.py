"""The ranges that quantization-aware training left in an ONNX file of QuantizeLinear pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_LIMITS = {np.dtype(np.int8): (-128, 127), np.dtype(np.uint8): (0, 255)}


def without_quantization(model: Any) -> tuple[Any, dict[str, tuple[float, float]]]:
    """(The float model, (min, max) by the name of the tensor that was quantized).

    A DequantizeLinear of a constant becomes that constant in float. A QuantizeLinear with its
    DequantizeLinear is taken out, and what int8 or uint8 could hold with its scale and zero point
    is the tensor's range. A model without them comes back as it is.
    """
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model, {}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    makers = {output: node for node in graph.node for output in node.output}
    ranges: dict[str, tuple[float, float]] = {}
    nodes = []
    moved: dict[str, str] = {}
    ends = {o.name for o in graph.output}
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = moved.get(name, name)
        if node.op_type == "DequantizeLinear":
            source = node.input[0]
            if source in values:
                constant = _dequantized(node, values)
                graph.initializer.append(numpy_helper.from_array(constant, node.output[0]))
                continue
            pair = makers.get(source)
            span = _span(pair, values) if pair is not None else None
            if pair is not None and span is not None:
                tensor = pair.input[0]
                ranges.setdefault(tensor, span)
                made_by, end = makers.get(tensor), node.output[0]
                if end not in ends:
                    moved[end] = tensor
                elif made_by is None or tensor in ends:
                    nodes.append(helper.make_node("Identity", [tensor], [end]))
                else:  # The tensor takes the output's name.
                    _rename(graph, tensor, end)
                    makers[end] = made_by
                    moved[tensor] = end
                    ranges[end] = ranges.pop(tensor)
                continue
        nodes.append(node)
    read = {name for node in nodes for name in node.input} | ends
    kept = [n for n in nodes if n.op_type != "QuantizeLinear" or n.output[0] in read]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    used = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)
    known = [v for v in graph.value_info if v.name in read]
    del graph.value_info[:]
    graph.value_info.extend(known)
    return made, ranges


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for side in (node.input, node.output):
            for i, name in enumerate(side):
                if name == old:
                    side[i] = new


def _span(node: Any, values: dict[str, NDArray[Any]]) -> tuple[float, float] | None:
    """What the QuantizeLinear `node` can hold; None where it has no single scale of 8 bits."""
    if node.op_type != "QuantizeLinear" or node.input[1] not in values:
        return None
    scale = values[node.input[1]]
    zero = values.get(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
    if zero is None or scale.size != 1 or zero.size != 1 or zero.dtype not in _LIMITS:
        return None
    low, high = _LIMITS[zero.dtype]
    step, shift = float(scale.reshape(())), int(zero.reshape(()))
    return (low - shift) * step, (high - shift) * step


def _dequantized(node: Any, values: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    quantized, scale = values[node.input[0]], values[node.input[1]]
    zero = values[node.input[2]] if len(node.input) > 2 else np.zeros(scale.shape, quantized.dtype)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.size > 1:
        shape = [1] * quantized.ndim
        shape[axis] = scale.size
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    difference = quantized.astype(np.int64) - zero.astype(np.int64)
    return (difference * scale.astype(np.float64)).astype(np.float32)
