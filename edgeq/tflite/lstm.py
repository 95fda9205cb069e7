"""The LSTM that is one operator: what its quantization needs beside the ranges of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import Graph, Op
from edgeq.tflite.writer import operator_name, pack, unpack

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"

INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
"""Places among its inputs, gates in the order input, forget, cell, output:
tensorflow/lite/kernels/lstm_shared.h. OUTPUT_STATE and CELL_STATE are variables."""

OUTPUT_STATE, CELL_STATE = 18, 19

_UNUSED_RANGE = (-1.0, 1.0)
"""Of the four intermediates that only layer normalization inside of the LSTM would use."""


def cell_states(graph: Graph) -> dict[int, Op]:
    """Tensor index of the cell state -> its LSTM, of the float ones without extras."""
    found = {}
    for op in graph.main.ops:
        if op.name != LSTM or len(op.inputs) <= CELL_STATE:
            continue
        needed = [op.inputs[i] for i in (*INPUT_WEIGHTS, *RECURRENT_WEIGHTS, *BIASES)]
        extras = [op.inputs[i] for i in (9, 10, 11, 16, 17)] + list(op.inputs[20:])
        if min(needed) >= 0 and max(extras, default=-1) < 0:
            if graph.main.tensors[op.inputs[0]].dtype == "float32":
                found[op.inputs[CELL_STATE]] = op
    return found


def with_lstm_ranges(
    tflite: bytes, ranges: Mapping[int, tuple[float, float]], name: str = "model"
) -> bytes:
    """The model with the ranges that quantizers want of an LSTM and no run shows.

    The state that is the last output has the output's range, and so has what is left of it before
    a projection. The others of the five intermediates are used by layer normalization alone.
    """
    schema, model = unpack(tflite, name)
    subgraph = model.subgraphs[0]
    for op in subgraph.operators or []:
        if operator_name(model, op) != LSTM or int(op.outputs[0]) not in ranges:
            continue
        made = ranges[int(op.outputs[0])]
        _set_range(schema, subgraph.tensors[int(op.inputs[OUTPUT_STATE])], made)
        if op.intermediates is None or len(op.intermediates) == 0:
            label = subgraph.tensors[int(op.outputs[0])].name.decode()
            op.intermediates = []
            for number in range(5):
                tensor = schema.TensorT()
                # TensorFlow Lite Micro refuses one that has elements.
                tensor.shape, tensor.type, tensor.buffer = [0], schema.TensorType.FLOAT32, 0
                tensor.name = f"{label}/intermediate_{number}".encode()
                op.intermediates.append(len(subgraph.tensors))
                subgraph.tensors.append(tensor)
        for number, index in enumerate(op.intermediates):
            tensor = subgraph.tensors[int(index)]
            _set_range(schema, tensor, made if number == 4 else _UNUSED_RANGE)
    return pack(model, name)


def with_lstm_layers(
    tflite: bytes, layers: Sequence[tuple[str, NDArray[np.float32]]], name: str = "model"
) -> bytes:
    """The model with each LSTM's output named after its layer, and without the limit of 10 that
    TensorFlow's converter puts on every cell state, though Keras has none.

    `layers` are (name, kernel of (features, 4 units)); the kernel tells whose an operator is.
    """
    _, model = unpack(tflite, name)
    subgraph = model.subgraphs[0]
    for op in subgraph.operators or []:
        if operator_name(model, op) != LSTM:
            continue
        op.builtinOptions.cellClip = 0.0
        weights = subgraph.tensors[int(op.inputs[INPUT_WEIGHTS[0]])]
        data = model.buffers[weights.buffer].data
        for layer, kernel in layers:
            first = np.ascontiguousarray(kernel[:, : kernel.shape[1] // 4].T, "<f4")
            if data is not None and first.tobytes() == np.asarray(data, np.uint8).tobytes():
                subgraph.tensors[int(op.outputs[0])].name = f"{layer}/lstm".encode()
    return pack(model, name)


def _set_range(schema: Any, tensor: Any, made: tuple[float, float]) -> None:
    quantization = tensor.quantization or schema.QuantizationParametersT()
    quantization.min, quantization.max = (np.array([v], np.float32) for v in made)
    tensor.quantization = quantization
