"""Small networks that together use every operator of engine aot, with every type that it has.

Each is a tree: what an operator makes goes into others, and what none takes is an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from make_model import TYPES, Maker, convolution

Shape = Sequence[int]

INT8, INT16 = (np.int8, 0.05, 3), (np.int16, 2.0**-11, 0)
RELU = schema.ActivationFunctionType.RELU
VALID = schema.Padding.VALID

ANY = (np.int8, np.int16, np.int32, np.int64, np.float32, np.bool_, np.uint8)


@dataclass
class Network:
    maker: Maker = field(default_factory=Maker)
    inputs: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def tensor(
        self, shape: Shape, dtype: Any, scale: Any = None, zero_point: int = 0, **more: Any
    ) -> int:
        name = f"t{len(self.maker.tensors)}"
        return self.maker.tensor(name, shape, dtype, scale, zero_point, **more)

    def input(self, shape: Shape, *facts: Any) -> int:
        self.inputs.append(self.tensor(shape, *facts))
        return self.inputs[-1]

    def state(self, shape: Shape, *facts: Any) -> int:
        made = self.tensor(shape, *facts)
        self.maker.tensors[made].isVariable = True
        return made

    def numbers(self, *values: Any) -> int:
        data = np.array(values, np.int32)
        return self.tensor(data.shape, np.int32, data=data)

    def weights(self, shape: Shape, scales: Any, axis: int = 0, dtype: Any = np.int8) -> int:
        data = self.random.integers(-127, 128, shape)
        return self.tensor(shape, dtype, scales, axis=axis, data=data)

    def op(
        self, name: str, inputs: Shape, outputs: Sequence[tuple[Any, ...]], kind: str = "",
        version: int = 1, **values: Any,
    ) -> Any:  # fmt: skip
        """Adds an operator; `outputs` are (shape, type, scale, zero point). Gives its outputs."""
        chosen = getattr(schema, f"{kind}OptionsT")() if kind else None
        for key, value in values.items():
            assert hasattr(chosen, key), key
            setattr(chosen, key, value)
        made = [self.tensor(*facts) for facts in outputs]
        self.maker.op(name, inputs, made, chosen, version)
        self.used.update(inputs)
        self.made += made
        return made[0] if len(made) == 1 else made

    def bytes(self) -> bytes:
        outputs = [t for t in self.made if t not in self.used]
        return self.maker.bytes(self.inputs, outputs, named=False)


def networks() -> dict[str, bytes]:
    """Name -> .tflite file."""
    return {
        "image_int8": image(*INT8),
        "image_int16": image(*INT16),
        "moves": moves(),
        "rest": conversions_and_states(),
        "without_tflm": what_tflm_lacks(),
    }


# --- Arithmetic ---------------------------------------------------------------------------------


def image(dtype: Any, scale: float, zero_point: int) -> bytes:
    """Convolutions and what follows them."""
    n = Network()
    is_int8 = dtype is np.int8
    facts = (dtype, scale, zero_point)
    x = n.input((1, 8, 8, 4), *facts)
    deep = _convolutions(n, x, facts)
    _two_activations(n, x, deep, facts)
    _one_activation(n, deep, facts)
    if is_int8:
        _int8_only(n, deep, facts)
    pooled = (1, 4, 4, 4)
    window = dict(kind="Pool2D", version=2, strideH=2, strideW=2, filterHeight=2, filterWidth=3)
    n.op("MAX_POOL_2D", [x], [(pooled, *facts)], **window)
    average = n.op("AVERAGE_POOL_2D", [deep], [(pooled, *facts)], **window)
    n.op("RESIZE_NEAREST_NEIGHBOR", [average, n.numbers(7, 3)], [((1, 7, 3, 4), *facts)],
         "ResizeNearestNeighbor", 3, halfPixelCenters=True)  # fmt: skip
    means = n.op("MEAN", [deep, n.numbers(1, 2)], [((1, 4), dtype, scale / 4, zero_point)],
                 "Reducer", 2)  # fmt: skip
    n.op("SUM", [x, n.numbers(3)], [((1, 8, 8), dtype, scale * 2, zero_point)], "Reducer", 2)
    w = n.weights((6, 4), 0.01)
    logits = n.op("FULLY_CONNECTED", [means, w, -1], [((1, 6), dtype, scale / 4, zero_point)],
                  "FullyConnected", 4)  # fmt: skip
    probabilities = (dtype, 1 / 256, -128) if is_int8 else (dtype, 2.0**-15, 0)
    n.op("SOFTMAX", [logits], [((1, 6), *probabilities)], "Softmax", 3, beta=1.0)
    if is_int8:
        n.op("SOFTMAX", [logits], [((1, 6), np.int16, 2.0**-16, -32768)], "Softmax", 3, beta=1.0)
    return n.bytes()


def _convolutions(n: Network, x: int, facts: tuple[Any, ...]) -> int:
    """PAD, CONV_2D of two groups, DEPTHWISE_CONV_2D, TRANSPOSE_CONV: again 8 by 8 by 4."""
    dtype, scale, _ = facts
    bias_type = np.int32 if dtype is np.int8 else np.int64

    def bias(scales: Sequence[float]) -> int:
        data = n.random.integers(-2000, 2000, len(scales))
        return n.tensor((len(scales),), bias_type, [scale * s for s in scales], data=data)

    edges = n.numbers((0, 0), (1, 1), (1, 1), (0, 0))
    padded = n.op("PAD", [x, edges], [((1, 10, 10, 4), *facts)], "Pad", 2)
    scales = list(n.random.uniform(0.002, 0.005, 8))
    w = n.weights((8, 3, 3, 4 if dtype is np.int16 else 2), scales)
    strides = {"strideH": 2, "strideW": 2}
    values = dict(vars(convolution(fusedActivationFunction=RELU, padding=VALID)), **strides)
    first = n.op("CONV_2D", [padded, w, bias(scales)], [((1, 4, 4, 8), *facts)], "Conv2D", 5,
                 **values)  # fmt: skip
    w = n.weights((1, 3, 3, 16), scales * 2, axis=3)
    twice = n.op(
        "DEPTHWISE_CONV_2D", [first, w, bias(scales * 2)], [((1, 4, 4, 16), *facts)],
        "DepthwiseConv2D", 6, strideH=1, strideW=1, depthMultiplier=2, dilationHFactor=1,
        dilationWFactor=1,
    )  # fmt: skip
    w = n.weights((4, 3, 3, 16), scales[:4])
    inputs = [n.numbers(1, 8, 8, 4), w, twice, bias(scales[:4])]
    return n.op("TRANSPOSE_CONV", inputs, [((1, 8, 8, 4), *facts)], "TransposeConv", 3, **strides)


def _two_activations(n: Network, a: int, b: int, facts: tuple[Any, ...]) -> None:
    dtype, scale, zero_point = facts
    shape = (1, 8, 8, 4)
    kinds = dict(
        ADD="Add", SUB="Sub", MUL="Mul", MAXIMUM="MaximumMinimum", MINIMUM="MaximumMinimum",
        SQUARED_DIFFERENCE="SquaredDifference",
    )  # fmt: skip
    # Products are as large as the values are, twice.
    wide = 20.0 if dtype is np.int8 else 0.1 * 2**11
    row = n.op("REDUCE_MAX", [b, n.numbers(1)], [((1, 1, 8, 4), *facts)], "Reducer", 2,
               keepDims=True) if dtype is np.int8 else b  # fmt: skip
    for name, kind in kinds.items():
        factor = wide if name in ("MUL", "SQUARED_DIFFERENCE") else 1.0
        made = (shape, dtype, scale * factor, zero_point)
        n.op(name, [a, row], [made], kind, 2)
    n.op("BATCH_MATMUL", [a, b], [((1, 8, 8, 8), dtype, scale * wide, zero_point)],
         "BatchMatMul", 4, adjY=True)  # fmt: skip


def _one_activation(n: Network, x: int, facts: tuple[Any, ...]) -> None:
    dtype, scale, zero_point = facts
    shape = (1, 8, 8, 4)
    is_int8 = dtype is np.int8
    other = (shape, dtype, scale / 2, 5 if is_int8 else 0)
    n.op("LEAKY_RELU", [x], [other], "LeakyRelu", 2, alpha=0.3)
    slopes = n.weights((1, 1, 4), 0.01)
    n.op("PRELU", [x, slopes], [other])
    n.op("RELU6", [x], [(shape, *facts)], version=2)
    n.op("LOGISTIC", [x], [(shape, dtype, 1 / 256, -128) if is_int8 else (shape, dtype, 2.0**-15)])
    n.op("TANH", [x], [(shape, dtype, 1 / 128, 0) if is_int8 else (shape, dtype, 2.0**-15)])
    # Of RSQRT, values below zero are not defined.
    positive = n.op("RELU", [x], [(shape, *facts)], version=2)
    n.op("RSQRT", [positive], [(shape, dtype, scale, 0)])
    n.op("ABS", [x], [(shape, dtype, scale, zero_point)])


def _int8_only(n: Network, x: int, facts: tuple[Any, ...]) -> None:
    shape = (1, 8, 8, 4)
    n.op("ELU", [x], [(shape, *facts)])
    n.op("HARD_SWISH", [x], [(shape, np.int8, 0.04, -10)])
    n.op("LOG_SOFTMAX", [x], [(shape, np.int8, 1 / 16, 127)])
    n.op("L2_NORMALIZATION", [x], [(shape, np.int8, 1 / 128, 0)], "L2Norm", 2)
    n.op("REDUCE_MIN", [x, n.numbers(2)], [((1, 8, 4), *facts)], "Reducer", 2)
    n.op("RESIZE_BILINEAR", [x, n.numbers(11, 5)], [((1, 11, 5, 4), *facts)], "ResizeBilinear", 3)
    for name, kind in (("ARG_MAX", "ArgMax"), ("ARG_MIN", "ArgMin")):
        n.op(name, [x, n.numbers(3)], [((1, 8, 8), np.int32)], kind, 2, outputType=2)


# --- Moves --------------------------------------------------------------------------------------


def moves() -> bytes:
    """Operators that copy values, each with every type that the wheel has it for."""
    n = Network()
    for dtype in ANY:
        # SPACE_TO_BATCH_ND pads with the zero point, where the wheel's pads with 0.
        facts = (dtype, 0.1) if dtype in (np.int8, np.int16, np.uint8) else (dtype,)
        x = n.input((1, 2, 4, 3), *facts)
        n.op("RESHAPE", [x, n.numbers(6, 4)], [((6, 4), *facts)], "Reshape", newShape=[6, 4])
        n.op("SQUEEZE", [x], [((2, 4, 3), *facts)], "Squeeze", squeezeDims=[0])
        if dtype in (np.int8, np.int16, np.float32):
            n.op("EXPAND_DIMS", [x, n.numbers(1)], [((1, 1, 2, 4, 3), *facts)])
        if dtype is not np.uint8:
            n.op("CONCATENATION", [x, x], [((1, 2, 8, 3), *facts)], "Concatenation", 2, axis=2)
        if dtype not in (np.uint8, np.bool_):
            n.op("PACK", [x, x], [((2, 1, 2, 4, 3), *facts)], "Pack", 2, valuesCount=2)
        if dtype in (np.int8, np.int16, np.int32, np.float32, np.bool_):
            _slices(n, x, facts)
        if dtype in (np.int8, np.int16, np.int32, np.float32):
            _parts(n, x, facts)
        if dtype in (np.int8, np.int16, np.float32):
            n.op("TRANSPOSE", [x, n.numbers(0, 3, 1, 2)], [((1, 3, 2, 4), *facts)], "Transpose", 2)
            n.op("RESIZE_NEAREST_NEIGHBOR", [x, n.numbers(5, 3)], [((1, 5, 3, 3), *facts)],
                 "ResizeNearestNeighbor", 3)  # fmt: skip
        if dtype in (np.int8, np.float32):
            _blocks(n, x, facts)
    return n.bytes()


def _slices(n: Network, x: int, facts: tuple[Any, ...]) -> None:
    n.op("SLICE", [x, n.numbers(0, 0, 1, 1), n.numbers(1, 2, 2, -1)], [((1, 2, 2, 2), *facts)])
    edges = [n.numbers(0, 1, 0, -1), n.numbers(1, 2, 4, -4), n.numbers(1, 1, 2, -1)]
    n.op("STRIDED_SLICE", [x, *edges], [((1, 2, 3), *facts)], "StridedSlice", 2, shrinkAxisMask=2)


def _parts(n: Network, x: int, facts: tuple[Any, ...]) -> None:
    n.op("SPLIT", [n.numbers(2), x], [((1, 2, 2, 3), *facts)] * 2, "Split", 2, numSplits=2)
    sizes = ((1, 2, 3, 3), (1, 2, 1, 3))
    n.op("SPLIT_V", [x, n.numbers(3, 1), n.numbers(2)], [(s, *facts) for s in sizes], "SplitV", 2,
         numSplits=2)  # fmt: skip
    n.op("UNPACK", [x], [((1, 4, 3), *facts)] * 2, "Unpack", 2, num=2, axis=1)
    value = n.tensor((1,), *facts, data=np.array([9]))
    edges = n.numbers((0, 0), (1, 0), (0, 2), (1, 1))
    n.op("PADV2", [x, edges, value], [((1, 3, 6, 5), *facts)], "PadV2", 2)


def _blocks(n: Network, x: int, facts: tuple[Any, ...]) -> None:
    edges = n.numbers((0, 0), (0, 1), (2, 1), (1, 0))
    n.op("MIRROR_PAD", [x, edges], [((1, 3, 7, 4), *facts)], "MirrorPad", 2, mode=0)
    deep = n.op("SPACE_TO_DEPTH", [x], [((1, 1, 2, 12), *facts)], "SpaceToDepth", blockSize=2)
    n.op("DEPTH_TO_SPACE", [deep], [((1, 2, 4, 3), *facts)], "DepthToSpace", blockSize=2)
    edges = [n.numbers(2, 2), n.numbers((0, 2), (1, 1))]
    many = n.op("SPACE_TO_BATCH_ND", [x, *edges], [((4, 2, 3, 3), *facts)])
    n.op("BATCH_TO_SPACE_ND", [many, *edges], [((1, 2, 4, 3), *facts)])
    n.op("GATHER", [x, n.numbers(3, 0, 3)], [((1, 2, 3, 3), *facts)], "Gather", 2, axis=2)


def what_tflm_lacks() -> bytes:
    """What the wheel has not, or not with this type."""
    n = Network()
    for dtype in (np.int32, np.int64, np.bool_, np.uint8):
        x = n.input((2, 3), dtype)
        n.op("EXPAND_DIMS", [x, n.numbers(1)], [((2, 1, 3), dtype)])
    for dtype in (np.int8, np.int16):
        n.op("NEG", [n.input((2, 3), dtype, 0.1)], [((2, 3), dtype, 0.1)], "Neg")
    return n.bytes()


# --- Conversions, and operators with a state ----------------------------------------------------


def conversions_and_states() -> bytes:
    n = Network()
    shape = (3, 7)
    scales = {
        np.int8: (0.1, 3), np.int16: (0.001, 0), np.uint8: (0.07, 131), np.int32: (1e-8, 0),
    }  # fmt: skip
    ways = {
        np.float32: (np.int8, np.int16),
        np.int8: (np.int8, np.int16, np.int32, np.uint8),
        np.int16: (np.int8, np.int16, np.int32),
        np.int32: (np.int8, np.int16),
        np.uint8: (np.int8,),
    }
    for before, after in ways.items():
        x = n.input(shape, before, *scales.get(before, ()))
        for dtype in after:
            scale, zero_point = scales[dtype]
            n.op("QUANTIZE", [x], [(shape, dtype, scale * 1.3, zero_point)], "Quantize", 2)
        if before not in (np.float32, np.int32):
            n.op("DEQUANTIZE", [x], [(shape, np.float32)], "Dequantize", 2)
    integers = (np.int8, np.int16, np.int32)
    for before in (*integers, np.bool_, np.float32):
        x = n.input(shape, before)
        for dtype in integers if before is np.float32 else (*integers, np.float32):
            kinds = dict(inDataType=TYPES[np.dtype(before)], outDataType=TYPES[np.dtype(dtype)])
            n.op("CAST", [x], [(shape, dtype)], "Cast", **kinds)
    _svdf(n)
    _lstm(n, np.int8, np.int32, 0.02, 3, 1 / 128, -5)
    _lstm(n, np.int16, np.int64, 1e-4, 0, 2.0**-15, 0)
    return n.bytes()


def _svdf(n: Network) -> None:
    x = n.input((2, 6), np.int8, 0.02, 3)
    features, times = n.weights((8, 6), 0.01), n.weights((8, 5), 0.003, dtype=np.int16)
    bias = n.tensor((4,), np.int32, 1e-6, data=n.random.integers(-9000, 9000, 4))
    inputs = [x, features, times, bias, n.state((2, 40), np.int16, 0.0005)]
    n.op("SVDF", inputs, [((2, 4), np.int8, 0.05, -5)], "SVDF", 3, rank=2)


def _lstm(
    n: Network, dtype: Any, bias_type: Any, scale: float, zero_point: int, *shown: float
) -> None:
    """`shown`: scale and zero point of the hidden state."""
    units = 5
    x = n.input((2, 4, 3), dtype, scale, zero_point)
    inputs = [x]
    inputs += [n.weights((units, 3), 0.004) for _ in range(4)]
    inputs += [n.weights((units, units), 0.006) for _ in range(4)]
    inputs += [-1] * 3
    for _ in range(4):
        data = n.random.integers(-3000, 3000, units)
        inputs.append(n.tensor((units,), bias_type, 1e-4, data=data))
    states = [n.state((2, units), dtype, *shown), n.state((2, units), np.int16, 2.0**-11)]
    inputs += [-1, -1, *states, -1, -1, -1, -1]
    made = [((2, 4, units), dtype, *shown)]
    kind = "UnidirectionalSequenceLSTM"
    n.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, made, kind,
         fusedActivationFunction=schema.ActivationFunctionType.TANH)  # fmt: skip
