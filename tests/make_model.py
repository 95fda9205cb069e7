"""Small .tflite models for tests, written by hand, so that no test needs TensorFlow for one.

As a program: python tests/make_model.py FILE writes tiny_int8().
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.float64): schema.TensorType.FLOAT64,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}


@dataclass
class Maker:
    """Collects tensors and operators of one subgraph; bytes() is the file.

    `callees` are the subgraphs that its operators call, with their inputs and outputs.
    """

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    codes: list[tuple[int, int, str]] = field(default_factory=list)
    ops: list[Any] = field(default_factory=list)
    callees: list[tuple[Maker, Sequence[int], Sequence[int]]] = field(default_factory=list)

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: Any = np.float32,
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        axis: int = 0,
        data: np.ndarray | bytes | None = None,
    ) -> int:
        """`dtype` is numpy's, or the schema's name of a type that numpy lacks ("int4")."""
        made = schema.TensorT()
        made.name = name.encode()
        made.shape = np.array(shape, np.int32)
        made.type = (
            getattr(schema.TensorType, dtype.upper())
            if isinstance(dtype, str)
            else TYPES[np.dtype(dtype)]
        )
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            scales = np.atleast_1d(np.array(scale, np.float32))
            quantization.scale = scales
            quantization.zeroPoint = np.full(len(scales), zero_point, np.int64)
            quantization.quantizedDimension = axis
            made.quantization = quantization
        if data is not None:
            buffer = schema.BufferT()
            raw = data if isinstance(data, bytes) else np.asarray(data, dtype, order="C").tobytes()
            buffer.data = np.frombuffer(raw, np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        self.tensors.append(made)
        return len(self.tensors) - 1

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        version: int = 1,
        custom: str = "",
    ) -> None:
        code = (getattr(schema.BuiltinOperator, name), version, custom)
        if code not in self.codes:
            self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes.index(code)
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array(outputs, np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = options
        self.ops.append(made)

    def callee(self) -> Maker:
        """A Maker for a further subgraph; append it to `callees`, the first is subgraph 1."""
        return Maker(buffers=self.buffers, codes=self.codes)

    def model(self, inputs: Sequence[int], outputs: Sequence[int], named: bool = True) -> Any:
        """The schema's own ModelT, to break before pack()."""
        model = schema.ModelT()
        model.version = 3
        model.description = b"edgeq test"
        model.subgraphs = [
            part._subgraph(*ports) for part, *ports in [(self, inputs, outputs), *self.callees]
        ]
        model.buffers = self.buffers
        model.operatorCodes = []
        for builtin, version, custom in self.codes:
            code = schema.OperatorCodeT()
            code.customCode = custom.encode() or None
            code.builtinCode = builtin
            code.deprecatedBuiltinCode = min(builtin, 127)
            code.version = version
            model.operatorCodes.append(code)
        if named:
            model.signatureDefs = [self._signature(inputs, outputs)]
        return model

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int], named: bool = True) -> bytes:
        return pack(self.model(inputs, outputs, named))

    def _subgraph(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        subgraph = schema.SubGraphT()
        subgraph.name = b"main"
        subgraph.tensors = self.tensors
        subgraph.inputs = np.array(inputs, np.int32)
        subgraph.outputs = np.array(outputs, np.int32)
        subgraph.operators = self.ops
        return subgraph

    def _signature(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        signature = schema.SignatureDefT()
        signature.signatureKey = b"serving_default"
        signature.subgraphIndex = 0
        signature.inputs = [self._map(i) for i in inputs]
        signature.outputs = [self._map(i) for i in outputs]
        return signature

    def _map(self, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name = self.tensors[index].name
        entry.tensorIndex = index
        return entry


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def convolution(**values: Any) -> Any:
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    for name, value in values.items():
        setattr(options, name, value)
    return options


def softmax() -> Any:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return options


def tiny_int8(seed: int = 0) -> bytes:
    """int8 8x8x1 -> conv 3x3x4 ReLU -> dense 3 -> softmax, with random weights."""
    random = np.random.default_rng(seed)
    m = Maker()
    image = m.tensor("image", (1, 8, 8, 1), np.int8, 1 / 255, -128)
    filters = m.tensor(
        "filters", (4, 3, 3, 1), np.int8, [0.01, 0.02, 0.015, 0.01],
        data=random.integers(-127, 128, (4, 3, 3, 1)),
    )  # fmt: skip
    bias = m.tensor(
        "bias", (4,), np.int32, list(np.array([0.01, 0.02, 0.015, 0.01]) / 255),
        data=random.integers(-500, 500, 4),
    )  # fmt: skip
    features = m.tensor("features", (1, 8, 8, 4), np.int8, 0.02, -128)
    flat = m.tensor("flat", (1, 256), np.int8, 0.02, -128)
    shape = m.tensor("shape", (2,), np.int32, data=np.array([1, 256]))
    weights = m.tensor(
        "weights", (3, 256), np.int8, 0.004, data=random.integers(-127, 128, (3, 256))
    )
    offsets = m.tensor("offsets", (3,), np.int32, 0.02 * 0.004, data=random.integers(-900, 900, 3))
    logits = m.tensor("logits", (1, 3), np.int8, 0.1, 5)
    scores = m.tensor("scores", (1, 3), np.int8, 1 / 256, -128)
    relu = schema.ActivationFunctionType.RELU
    m.op("CONV_2D", [image, filters, bias], [features],
         convolution(fusedActivationFunction=relu), version=3)  # fmt: skip
    m.op("RESHAPE", [features, shape], [flat], schema.ReshapeOptionsT())
    m.op("FULLY_CONNECTED", [flat, weights, offsets], [logits], schema.FullyConnectedOptionsT(), 4)
    m.op("SOFTMAX", [logits], [scores], softmax(), version=2)
    return m.bytes([image], [scores])


def relu(shape: Sequence[int], output: Sequence[int] | None = None) -> bytes:
    """One RELU from `shape` to `output` (as the input), int8; the file is small for any shape."""
    m = Maker()
    x, y = m.tensor("x", shape, np.int8, 0.1), m.tensor("y", output or shape, np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes([x], [y])


def joined(first: bytes, *others: bytes, keys: Sequence[str] = ()) -> bytes:
    """One file with the main subgraphs of all, and a signature of each for which `keys` has one."""
    model = schema.ModelT.InitFromPackedBuf(first)
    signatures = list(model.signatureDefs or [])
    for number, data in enumerate(others, 1):
        other = schema.ModelT.InitFromPackedBuf(data)
        for op in other.subgraphs[0].operators:
            op.opcodeIndex += len(model.operatorCodes)
        for tensor in other.subgraphs[0].tensors:
            tensor.buffer += len(model.buffers)
        model.operatorCodes += other.operatorCodes
        model.buffers += other.buffers
        model.subgraphs += other.subgraphs
        if number < len(keys):
            other.signatureDefs[0].subgraphIndex = number
            signatures += other.signatureDefs
    for key, signature in zip(keys, signatures, strict=False):
        signature.signatureKey = key.encode()
    model.signatureDefs = signatures
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def endless_loop() -> bytes:
    """A WHILE whose condition, any(x == x), always holds; int8, 4 to 4."""
    loop, condition, body = Maker(), Maker(), Maker()
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    x, y = (loop.tensor(n, (1, 4), np.int8, 0.1) for n in "xy")
    loop.op("WHILE", [x], [y], options)
    a = condition.tensor("a", (1, 4), np.int8, 0.1)
    same = condition.tensor("same", (1, 4), np.bool_)
    axes = condition.tensor("axes", (2,), np.int32, data=np.array([0, 1]))
    holds = condition.tensor("holds", (), np.bool_)
    condition.op("EQUAL", [a, a], [same], schema.EqualOptionsT())
    condition.op("REDUCE_ANY", [same, axes], [holds], schema.ReducerOptionsT())
    p, q = (body.tensor(n, (1, 4), np.int8, 0.1) for n in "pq")
    body.op("RELU", [p], [q])
    return joined(loop.bytes([x], [y]), condition.bytes([a], [holds]), body.bytes([p], [q]))


def tiny_float(named: bool = True) -> bytes:
    """float32 4 -> dense 3 ReLU -> ELU -> dense 2: has an operator that stays float in int8."""
    random = np.random.default_rng(1)
    m = Maker()
    x = m.tensor("x", (1, 4))
    w1 = m.tensor("w1", (3, 4), data=random.standard_normal((3, 4)))
    b1 = m.tensor("b1", (3,), data=random.standard_normal(3))
    h = m.tensor("h", (1, 3))
    e = m.tensor("e", (1, 3))
    w2 = m.tensor("w2", (2, 3), data=random.standard_normal((2, 3)))
    b2 = m.tensor("b2", (2,), data=random.standard_normal(2))
    y = m.tensor("y", (1, 2))
    m.op("FULLY_CONNECTED", [x, w1, b1], [h], schema.FullyConnectedOptionsT())
    m.op("ELU", [h], [e])
    m.op("FULLY_CONNECTED", [e, w2, b2], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y], named)


def shared_bias() -> bytes:
    """float32 4 -> dense 4 -> dense 4, both with the same bias tensor, as exporters store it."""
    random = np.random.default_rng(2)
    m = Maker()
    x, h, y = (m.tensor(n, (1, 4)) for n in "xhy")
    w1, w2 = (m.tensor(n, (4, 4), data=3 * random.standard_normal((4, 4))) for n in ("w1", "w2"))
    bias = m.tensor("arith.constant", (4,), data=np.ones(4))
    m.op("FULLY_CONNECTED", [x, w1, bias], [h], schema.FullyConnectedOptionsT())
    m.op("FULLY_CONNECTED", [h, w2, bias], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y])


def outside(data: bytes) -> bytes:
    """`data` with its constants behind the flatbuffer, as models of more than 2 GB have them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    moved = [(b, bytes(b.data)) for b in model.buffers if b.data is not None]
    for buffer, content in moved:
        buffer.data, buffer.offset, buffer.size = None, 2, len(content)
    end = len(pack(model))  # Numbers have a fixed width, so the next packing is as long.
    for buffer, content in moved:
        buffer.offset = end
        end += len(content)
    return pack(model) + b"".join(content for _, content in moved)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(tiny_int8())
