"""The few edits that edgeq makes to a .tflite: calibrated ranges, signatures, fixed shapes, wide
weights.

Only for models that read_graph has accepted: the schema's own object API checks nothing. It also
reads what read_graph leaves alone (metadata, options of operators that edgeq knows nothing of), so
a file can be sound up to here and still be damaged: every edit may raise ModelError.

`name` is that of the file, for errors.
"""

from __future__ import annotations

import contextlib
import copy
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from edgeq.errors import ModelError
from edgeq.tflite import opcodes
from edgeq.tflite.reader import MAGIC

_MAX_BYTES = 2**31 - 1
"""Offsets of a flatbuffer are 32 bits, and the builder's are signed."""

_BIASES = {
    "CONV_2D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "TRANSPOSE_CONV": (3,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (12, 13, 14, 15),
}
"""Which inputs are biases."""

_DAMAGE = (
    AttributeError,
    IndexError,
    KeyError,
    NameError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What flatbuffers and the schema's classes raise on values that no sound file has."""


def with_ranges(
    tflite: bytes, ranges: Mapping[int, tuple[float, float]], name: str = "model"
) -> bytes:
    """The model with (min, max) recorded for the main subgraph's tensors, by index.

    Each layer gets a bias of its own: of one that several share, as exporters store equal
    constants once, a quantizer would take the scale of the first layer for all of them.
    """
    schema, model = unpack(tflite, name)
    with damage_refused(name):
        _separate_biases(model)
    tensors = model.subgraphs[0].tensors
    for index, (low, high) in ranges.items():
        quantization = tensors[index].quantization or schema.QuantizationParametersT()
        quantization.min = np.array([low], np.float32)
        quantization.max = np.array([high], np.float32)
        tensors[index].quantization = quantization
    return pack(model, name)


def with_signature(
    tflite: bytes, key: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "model"
) -> bytes:
    """The model with one signature; names go to the main subgraph's ports by position.

    The tensors behind the ports get these names too, so that tools which show only tensor names
    say the same.
    """
    schema, model = unpack(tflite, name)
    subgraph = model.subgraphs[0]
    sides = [(inputs, indexes(subgraph.inputs)), (outputs, indexes(subgraph.outputs))]
    signature = schema.SignatureDefT()
    signature.signatureKey = key.encode()
    signature.subgraphIndex = 0
    signature.inputs, signature.outputs = (_maps(schema, *side) for side in sides)
    model.signatureDefs = [signature]
    taken = {t.name for t in subgraph.tensors}
    for port_names, tensors in sides:
        for port_name, index in zip(port_names, tensors, strict=True):
            if port_name.encode() not in taken:
                taken.add(port_name.encode())
                subgraph.tensors[index].name = port_name.encode()
    return pack(model, name)


def with_batch_of_one(tflite: bytes, name: str = "model") -> bytes:
    """The model with every dynamic first dimension fixed to 1."""
    _, model = unpack(tflite, name)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors or []:
            signature = tensor.shapeSignature
            if signature is None or len(signature) == 0:
                continue
            if signature[0] == -1 and all(d >= 0 for d in signature[1:]):
                tensor.shape = np.array([1, *signature[1:]], np.int32)
                tensor.shapeSignature = None
    return pack(model, name)


def with_outputs(tflite: bytes, outputs: Sequence[int], name: str = "model") -> bytes:
    """The model with these tensors of the main subgraph as its outputs, each under the name in the
    signature that the one in its place had. Operators stay, also those that nothing reads."""
    _, model = unpack(tflite, name)
    subgraph = model.subgraphs[0]
    moved = dict(zip(indexes(subgraph.outputs), outputs, strict=True))
    subgraph.outputs = np.array(outputs, np.int32)
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            for entry in signature.outputs or []:
                entry.tensorIndex = moved.get(int(entry.tensorIndex), int(entry.tensorIndex))
    return pack(model, name)


def with_data_inside(tflite: bytes, name: str = "model") -> bytes:
    """The model with all its constants in the flatbuffer, where every engine finds them."""
    _, model = unpack(tflite, name)
    return pack(model, name)


def _separate_biases(model: Any) -> None:
    subgraph = model.subgraphs[0]
    taken: set[int] = set()
    for op in subgraph.operators or []:
        for position in _BIASES.get(operator_name(model, op), ()):
            if len(op.inputs) <= position or op.inputs[position] < 0:
                continue
            index = int(op.inputs[position])
            if index in taken:
                twin = copy.copy(subgraph.tensors[index])
                model.buffers.append(copy.copy(model.buffers[twin.buffer]))
                twin.buffer = len(model.buffers) - 1
                subgraph.tensors.append(twin)
                op.inputs = np.array(op.inputs, np.int32)
                op.inputs[position] = len(subgraph.tensors) - 1
            taken.add(index)


def with_wide_weights(tflite: bytes, name: str = "model") -> bytes:
    """The model with float16 constants that only DEQUANTIZE reads as the float32 that it makes of
    them, and without these operators. No value changes: float32 holds every float16."""
    schema, model = unpack(tflite, name)
    with damage_refused(name):
        _widen(schema, model)
    return pack(model, name)


def _widen(schema: Any, model: Any) -> None:
    copies: dict[int, int] = {}
    for subgraph in model.subgraphs:
        moved = _half_constants(schema, model, subgraph)
        subgraph.operators = [
            op for op in subgraph.operators or [] if not moved.keys() & {*indexes(op.outputs)}
        ]
        for op in subgraph.operators:
            op.inputs = np.array([moved.get(i, i) for i in indexes(op.inputs)], np.int32)
        for tensor in (subgraph.tensors[i] for i in set(moved.values())):
            if tensor.buffer not in copies:
                values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view("<f2")
                copies[tensor.buffer] = len(model.buffers)
                model.buffers.append(schema.BufferT(data=values.astype("<f4").view(np.uint8)))
            tensor.type, tensor.buffer = schema.TensorType.FLOAT32, copies[tensor.buffer]
    drop_unused_codes(model)
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    for number in copies.keys() - used:
        model.buffers[number].data = None


def drop_unused_codes(model: Any) -> None:
    """Engines refuse a version of an operator that they lack even where nothing calls it."""
    ops = [op for subgraph in model.subgraphs for op in subgraph.operators or []]
    used = sorted({op.opcodeIndex for op in ops})
    for op in ops:
        op.opcodeIndex = used.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in used]


def _half_constants(schema: Any, model: Any, subgraph: Any) -> dict[int, int]:
    """Output of a DEQUANTIZE -> its input, where this is float16, constant, and read by no other
    operator."""
    sources: dict[int, int] = {}
    ends = {*indexes(subgraph.inputs), *indexes(subgraph.outputs)}
    read = set(ends)
    for op in subgraph.operators or []:
        if operator_name(model, op) == "DEQUANTIZE":
            sources[int(op.outputs[0])] = int(op.inputs[0])
        else:
            read.update(indexes(op.inputs))
    read.update(source for made, source in sources.items() if made in ends)
    return {
        made: source
        for made, source in sources.items()
        if source not in read
        and subgraph.tensors[source].type == schema.TensorType.FLOAT16
        and model.buffers[subgraph.tensors[source].buffer].data is not None
    }


def operator_name(model: Any, op: Any) -> str:
    """The name of an operator of the object API, as in a Graph."""
    code = model.operatorCodes[op.opcodeIndex]
    return opcodes.OPERATORS[int(max(code.builtinCode, code.deprecatedBuiltinCode))]


def indexes(vector: Any) -> list[int]:
    """A vector of the object API, which may be absent, as a list."""
    return [] if vector is None else [int(i) for i in vector]


def _maps(schema: Any, names: Sequence[str], tensors: Sequence[int]) -> list[Any]:
    maps = []
    for name, index in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name = name.encode()
        entry.tensorIndex = index
        maps.append(entry)
    return maps


def unpack(tflite: bytes, name: str) -> tuple[Any, Any]:
    """The schema's module, and the model as its ModelT."""
    from ai_edge_litert import schema_py_generated as schema

    with damage_refused(name):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
        _bring_in(model, tflite)
    return schema, model


def _bring_in(model: Any, tflite: bytes) -> None:
    """Data behind the flatbuffer moves into it: an offset from the file's start holds no longer."""
    for buffer in model.buffers or []:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(tflite, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for subgraph in model.subgraphs:
        for op in subgraph.operators or []:
            if op.largeCustomOptionsOffset > 1:
                op.customOptions = np.frombuffer(
                    tflite, np.uint8, op.largeCustomOptionsSize, op.largeCustomOptionsOffset
                )
            op.largeCustomOptionsOffset = op.largeCustomOptionsSize = 0


def pack(model: Any, name: str) -> bytes:
    """A ModelT as the bytes of a file."""
    size = sum(len(b.data) for b in model.buffers or [] if b.data is not None)
    if size > _MAX_BYTES:
        raise ModelError(
            f"{name}: {size} bytes of constants, more than a flatbuffer can hold",
            hint="this is too large for a device; if the file is small, it is damaged",
        )
    builder = flatbuffers.Builder(1 << 20)
    with damage_refused(name):
        builder.Finish(model.Pack(builder), MAGIC)
    return bytes(builder.Output())


@contextlib.contextmanager
def damage_refused(name: str) -> Iterator[None]:
    """Whatever the object API raises on values that no sound file has is a ModelError."""
    try:
        yield
    except _DAMAGE as e:
        raise ModelError(
            f"{name}: damaged .tflite: what edgeq has to rewrite of it cannot be read ({e})",
            hint="export or download the model again; compare the file's size and SHA-256",
        ) from e
