"""What is wrong with samples, or looks wrong: said with the sample's number and its input."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError
from edgeq.graph import NUMPY_TYPES, Graph, Port, Tensor
from edgeq.repairs import REPAIRS
from edgeq.samples import Arrays, Samples

FEW_SAMPLES = 50

_LOUD, _FAINT = 20.0, 0.03
"""What the first layer makes of the largest input where the input does not fit its weights, which
is `_gain` times it. Networks fed as in training have 0.3 to 6 (MLPerf Tiny's, the digits example),
raw pixels in place of 0..1 make 50 and more of it, pixels scaled twice 0.02 and less."""

_UNEQUAL = 100.0
"""A feature whose span is this many times narrower than the widest has 2 or 3 of 255 steps."""

OUTSIDE = "normalization-outside"
"""In repairs.REPAIRS."""

_COPYING = frozenset(
    {"CAST", "EXPAND_DIMS", "MIRROR_PAD", "PAD", "PADV2", "RESHAPE", "SQUEEZE", "TRANSPOSE"}
)


@dataclass(frozen=True)
class Finding:
    """One thing the lint saw. `stops` tells an error from a warning."""

    message: str
    hint: str
    stops: bool = False


class Lint:
    """Judges samples as they pass by; what is certainly wrong raises DataError at once."""

    def __init__(self, graph: Graph, samples: Samples) -> None:
        self._inputs = graph.inputs
        self._rescales = [_first_layer_divides(graph, p) for p in graph.inputs]
        self._gains = [_gain(graph, p) for p in graph.inputs]
        self._bytes = [False] * len(graph.inputs)
        self._count = len(samples)
        self._source = samples.source
        self._describe = samples.describe
        self._unread = samples.unread
        self._seen: dict[bytes, int] = {}
        self._duplicates: dict[int, int] = {}
        self._constant: dict[int, str] = {}
        self._low = [np.inf] * len(graph.inputs)
        self._high = [-np.inf] * len(graph.inputs)
        self._integers = [True] * len(graph.inputs)
        self._features: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    def checked(self, samples: Samples) -> Iterator[Arrays]:
        """The samples, converted to the inputs' dtypes."""
        if not len(samples):
            raise DataError(f"{samples.source}: no samples in it", hint="give 100 to 200")
        for number, sample in enumerate(samples):
            yield self.check(number, sample)

    def findings(self) -> list[Finding]:
        """What is to be said of samples that ranges were learnt from."""
        found = self.data_findings() + self._feature_findings()
        if self._count < FEW_SAMPLES:
            found.append(
                Finding(
                    f"{self._source}: only {self._count} samples",
                    "100 to 200 that are typical give ranges that hold in the field",
                )
            )
        if self._unread:
            found.append(
                Finding(
                    f"{self._source}: yields more samples than were read",
                    "let it end by itself, and mix the classes: only the first ones count",
                )
            )
        return found

    def data_findings(self) -> list[Finding]:
        """What is to be said of samples whatever they are for; each may have passed twice."""
        found = [f for i in range(len(self._inputs)) for f in self._range_findings(i)]
        if self._duplicates:
            second, first = next(iter(self._duplicates.items()))
            found.append(
                Finding(
                    f"{self._source}: {len(self._duplicates)} duplicates "
                    f"({self._describe(second)} is {self._describe(first)} again)",
                    "a duplicate adds nothing; give different samples",
                )
            )
        if self._constant:
            number, name = next(iter(self._constant.items()))
            found.append(
                Finding(
                    f"{self._source}: {len(self._constant)} samples of one value throughout "
                    f"({self._describe(number)}, input {name!r})",
                    "an empty recording or image? remove it, or check how it was read",
                )
            )
        return found

    def check(self, number: int, sample: Arrays) -> Arrays:
        """One sample, converted to the inputs' dtypes. Raises DataError."""
        values = []
        digest = hashlib.sha256()
        for i, (value, port) in enumerate(zip(sample, self._inputs, strict=True)):
            where = f"{self._source}, {self._describe(number)}, input {port.name!r}"
            self._check_shape(value, port, where)
            self._bytes[i] |= value.dtype in (np.uint8, np.int8)
            value = _as_input(value, port, where)
            low, high = value.min(), value.max()
            if not (np.isfinite(low) and np.isfinite(high)):
                raise _not_finite(value, where)
            if low == high and value.size > 1:
                self._constant.setdefault(number, port.name)
            if _has_features(port):
                least, most = self._features.get(i, (value, value))
                self._features[i] = np.minimum(least, value), np.maximum(most, value)
            self._low[i] = min(self._low[i], float(low))
            self._high[i] = max(self._high[i], float(high))
            if self._integers[i] and number < FEW_SAMPLES:
                self._integers[i] = bool(np.all(value == np.round(value)))
            value = np.asarray(value, order="C")
            digest.update(value.data)
            values.append(value)
        first = self._seen.setdefault(digest.digest(), number)
        if first != number:
            self._duplicates[number] = first
        return tuple(values)

    def _check_shape(self, value: NDArray[Any], port: Port, where: str) -> None:
        wanted = port.tensor.shape
        if value.shape == wanted:
            return
        batched = value.shape if len(value.shape) == len(wanted) else (1, *value.shape)
        if len(wanted) == 4 and batched == (wanted[0], wanted[3], wanted[1], wanted[2]):
            raise DataError(
                f"{where}: shape {value.shape} is channels first (NCHW), the model takes {wanted}",
                hint="np.moveaxis(x, 1, -1) puts the channels last",
            )
        raise DataError(
            f"{where}: shape {value.shape}, the model takes {wanted}",
            hint=_shape_hint(batched, port),
        )

    def _feature_findings(self) -> list[Finding]:
        """Features of one input have one step between them when they are integers."""
        found = []
        for i, (least, most) in self._features.items():
            spans = np.sort((most.astype(np.float64) - least).reshape(-1))
            spans = spans[spans > 0]
            small = spans[(spans.size - 1) // 4] if spans.size else 0.0
            if small == 0 or spans[-1] <= _UNEQUAL * small:
                continue
            known = OUTSIDE in REPAIRS
            cure = f"; --repair {OUTSIDE} moves a model's own normalization there" if known else ""
            found.append(
                Finding(
                    f"{self._source}, input {self._inputs[i].name!r}: a quarter of the features "
                    f"span {small:g} and less, the widest {spans[-1]:g}; as integers all have the "
                    f"same step, about {(self._high[i] - min(self._low[i], 0.0)) / 255:g}",
                    "normalize each feature before the model, not in it, and train it on these"
                    + cure,
                )
            )
        return found

    def _range_findings(self, i: int) -> list[Finding]:
        low, high, port = self._low[i], self._high[i], self._inputs[i]
        shown = f"{self._source}, input {port.name!r}: values from {low:g} to {high:g}"
        if port.tensor.quantization is not None:
            return _saturation(low, high, port, shown)
        if not port.tensor.is_float:
            return []
        divides = self._rescales[i]
        if divides and high <= 1.5:
            return [
                Finding(
                    f"{shown}, but the model's first layer divides by {divides:g}",
                    f"feed it 0 to {divides:g}: the data is scaled twice",
                )
            ]
        gain, peak = self._gains[i], max(abs(low), abs(high))
        if not divides and self._is_pixels(i) and (gain is None or gain * peak > _LOUD):
            return [
                Finding(
                    f"{shown} look like raw pixels"
                    + ("" if gain is None else ", and are large for the first layer's weights"),
                    "feed what training fed, for example x / 255; a network that was trained on "
                    "raw pixels, or rescales them itself, is right as it is",
                )
            ]
        if gain is not None and 0.3 < peak <= 1.5 and gain * peak < _FAINT:
            return [
                Finding(
                    f"{shown} are small for the first layer's weights, as if scaled twice",
                    "a Rescaling(1/255) may be folded into these weights: such a network is fed "
                    "raw pixels, 0 to 255",
                )
            ]
        if high == low:
            return [Finding(f"{shown}: one value throughout", "give real samples", stops=True)]
        return []

    def _is_pixels(self, i: int) -> bool:
        """Whether the values look like bytes, 0 to 255 or centred; by type, by being whole, or,
        for an image, by their range alone."""
        low, high = self._low[i], self._high[i]
        if self._bytes[i]:
            return max(abs(low), abs(high)) > 16  # Flags and small counts are bytes, too.
        if low >= 0 and 100 < high <= 255:
            return self._integers[i] or self._is_image(i)
        return self._is_image(i) and -128 <= low < -100 and 100 < high <= 128

    def _is_image(self, i: int) -> bool:
        shape = self._inputs[i].tensor.shape
        return len(shape) == 4 and shape[-1] in (1, 3, 4) and self._gains[i] is not None


def _shape_hint(batched: tuple[int, ...], port: Port) -> str:
    """What helps a sample that with a batch of 1 has the shape `batched`."""
    wanted = port.tensor.shape
    if wanted[:1] != (1,) and batched[1:] == wanted[1:]:
        sizes = ",".join(map(str, (1, *wanted[1:])))
        return f"the model was saved for a batch of {wanted[0]}: --input-shape {port.name}={sizes}"
    if sorted(batched) == sorted(wanted):
        return "its dimensions are in another order: np.moveaxis() or .transpose() puts them right"
    if math.prod(batched) == math.prod(wanted):
        return f"the number of values is right: .reshape(-1, {', '.join(map(str, wanted[1:]))})"
    return "give one sample a row, without a batch dimension"


def _saturation(low: float, high: float, port: Port, shown: str) -> list[Finding]:
    quantization = port.tensor.quantization
    assert quantization is not None
    limits = np.iinfo(NUMPY_TYPES[port.tensor.dtype])
    bottom = (limits.min - quantization.zero_point) * quantization.scale
    top = (limits.max - quantization.zero_point) * quantization.scale
    slack = 0.1 * (top - bottom)
    if low >= bottom - slack and high <= top + slack:
        return []
    return [
        Finding(
            f"{shown}, the model's input holds {bottom:g} to {top:g} only",
            "values outside are clipped: check the scaling",
        )
    ]


def _as_input(value: NDArray[Any], port: Port, where: str) -> NDArray[Any]:
    if not (np.issubdtype(value.dtype, np.number) or value.dtype == np.bool_):
        raise DataError(f"{where}: dtype {value.dtype}, numbers are needed")
    if np.issubdtype(value.dtype, np.complexfloating):
        raise DataError(f"{where}: complex numbers", hint="give real and imaginary parts apart")
    if port.tensor.is_float or port.tensor.quantization is not None:
        if port.tensor.quantization is not None and value.dtype == NUMPY_TYPES[port.tensor.dtype]:
            return value
        wanted = NUMPY_TYPES[port.tensor.dtype] if port.tensor.is_float else np.float32
        with np.errstate(over="ignore"):  # Beyond its range is infinity, which is refused.
            return value.astype(wanted, copy=False)
    dtype = np.dtype(NUMPY_TYPES[port.tensor.dtype])
    with np.errstate(invalid="ignore"):
        cast = value.astype(dtype)
    if np.any(cast != value):
        raise DataError(
            f"{where}: dtype {value.dtype} does not fit the model's {port.tensor.dtype}",
            hint="this input takes whole numbers (token or class numbers)",
        )
    return cast


def _not_finite(value: NDArray[Any], where: str) -> DataError:
    places = np.argwhere(~np.isfinite(value))
    first = tuple(int(i) for i in places[0])
    return DataError(
        f"{where}: {len(places)} {'value is' if len(places) == 1 else 'values are'} NaN or "
        f"infinite, the first at {first}",
        hint="clean the data; a single NaN spoils every range after it",
    )


def _first_layer_divides(graph: Graph, port: Port) -> float | None:
    """What a Rescaling layer right behind the input divides by, as 255 for x / 255."""
    for op in graph.main.ops:
        if port.tensor.index in op.inputs:
            if op.name != "MUL":
                return None
            for tensor in graph.main.input_tensors(op):
                if tensor is not None and tensor.data is not None and tensor.data.size == 1:
                    factor = float(tensor.data.reshape(()))
                    return 1 / factor if 0 < factor <= 1 / 64 else None
            return None
    return None


def _gain(graph: Graph, port: Port) -> float | None:
    """What the first layer multiplies the input with: the median over its channels of the weights'
    L2 norm. None where something else than constants and copies lies between."""
    index, factor = port.tensor.index, 1.0
    for op in graph.main.ops:
        if index not in op.inputs:
            continue
        tensors = graph.main.input_tensors(op)
        constants = [
            t.data for t in tensors if t and t.data is not None and t.data.size and t.is_float
        ]
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = tensors[1] if op.inputs[0] == index else None
            if weights is None or not _is_matrix(weights) or weights.data is None:
                return None
            axis = weights.data.ndim - 1 if op.name == "DEPTHWISE_CONV_2D" else 0
            rows = np.moveaxis(weights.data, axis, 0).reshape(weights.shape[axis], -1)
            return factor * float(np.median(np.linalg.norm(rows.astype(np.float64), axis=1)))
        if op.name == "MUL" and len(constants) == 1:
            factor *= float(np.median(np.abs(constants[0])))
        elif op.name == "DIV" and len(constants) == 1 and np.all(constants[0]):
            factor /= float(np.median(np.abs(constants[0])))
        elif op.name not in _COPYING and not (op.name in ("ADD", "SUB") and len(constants) == 1):
            return None
        index = op.outputs[0]
    return None


def _has_features(port: Port) -> bool:
    shape = port.tensor.shape
    return port.tensor.dtype == "float32" and len(shape) == 2 and shape[0] == 1 and shape[1] > 1


def _is_matrix(tensor: Tensor) -> bool:
    return (
        tensor.dtype == "float32"
        and not tensor.is_sparse
        and len(tensor.shape) >= 2
        and tensor.elements > 0
    )
