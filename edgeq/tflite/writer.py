"""The few edits that edgeq makes to a .tflite: calibrated ranges, signatures, fixed shapes.

Only for models that read_graph has accepted: the schema's own object API checks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from edgeq.tflite.reader import MAGIC


def with_ranges(tflite: bytes, ranges: Mapping[int, tuple[float, float]]) -> bytes:
    """The model with (min, max) recorded for the main subgraph's tensors, by index."""
    schema, model = _unpack(tflite)
    tensors = model.subgraphs[0].tensors
    for index, (low, high) in ranges.items():
        quantization = tensors[index].quantization or schema.QuantizationParametersT()
        quantization.min = np.array([low], np.float32)
        quantization.max = np.array([high], np.float32)
        tensors[index].quantization = quantization
    return _pack(model)


def with_signature(tflite: bytes, key: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The model with one signature; names go to the main subgraph's ports by position.

    The tensors behind the ports get these names too, so that tools which show only tensor names
    say the same.
    """
    schema, model = _unpack(tflite)
    subgraph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = key.encode()
    signature.subgraphIndex = 0
    signature.inputs = _maps(schema, inputs, subgraph.inputs)
    signature.outputs = _maps(schema, outputs, subgraph.outputs)
    model.signatureDefs = [signature]
    taken = {t.name for t in subgraph.tensors}
    ports = [
        *zip(inputs, subgraph.inputs, strict=True),
        *zip(outputs, subgraph.outputs, strict=True),
    ]
    for name, index in ports:
        if name.encode() not in taken:
            subgraph.tensors[index].name = name.encode()
    return _pack(model)


def with_batch_of_one(tflite: bytes) -> bytes:
    """The model with every dynamic first dimension fixed to 1."""
    _, model = _unpack(tflite)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            signature = tensor.shapeSignature
            if signature is None or len(signature) == 0:
                continue
            if signature[0] == -1 and all(d >= 0 for d in signature[1:]):
                tensor.shape = np.array([1, *signature[1:]], np.int32)
                tensor.shapeSignature = None
    return _pack(model)


def _maps(schema: Any, names: Sequence[str], indexes: Sequence[int]) -> list[Any]:
    maps = []
    for name, index in zip(names, indexes, strict=True):
        entry = schema.TensorMapT()
        entry.name = name.encode()
        entry.tensorIndex = int(index)
        maps.append(entry)
    return maps


def _unpack(tflite: bytes) -> tuple[Any, Any]:
    from ai_edge_litert import schema_py_generated as schema

    return schema, schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), MAGIC)
    return bytes(builder.Output())
