"""What is wrong with samples, or looks wrong: said with the sample's number and its input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError
from edgeq.graph import NUMPY_TYPES, Graph, Port
from edgeq.samples import Arrays, Samples

FEW_SAMPLES = 50


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
        self._count = len(samples)
        self._source = samples.source
        self._describe = samples.describe
        self._unread = samples.unread
        self._seen: dict[bytes, int] = {}
        self._duplicates: list[tuple[int, int]] = []
        self._constant: list[tuple[int, str]] = []
        self._low = [np.inf] * len(graph.inputs)
        self._high = [-np.inf] * len(graph.inputs)
        self._integers = [True] * len(graph.inputs)

    def checked(self, samples: Samples) -> Iterator[Arrays]:
        """The samples, converted to the inputs' dtypes."""
        if not len(samples):
            raise DataError(f"{samples.source}: no samples in it", hint="give 100 to 200")
        for number, sample in enumerate(samples):
            yield self.check(number, sample)

    def findings(self) -> list[Finding]:
        found = [f for i in range(len(self._inputs)) for f in self._range_findings(i)]
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
        if self._duplicates:
            first, second = self._duplicates[0]
            found.append(
                Finding(
                    f"{self._source}: {len(self._duplicates)} duplicates "
                    f"({self._describe(second)} is {self._describe(first)} again)",
                    "a duplicate adds nothing; give different samples",
                )
            )
        if self._constant:
            number, name = self._constant[0]
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
            value = _as_input(value, port, where)
            low, high = value.min(), value.max()
            if not (np.isfinite(low) and np.isfinite(high)):
                raise _not_finite(value, where)
            if low == high and value.size > 1:
                self._constant.append((number, port.name))
            self._low[i] = min(self._low[i], float(low))
            self._high[i] = max(self._high[i], float(high))
            if self._integers[i] and number < FEW_SAMPLES:
                self._integers[i] = bool(np.all(value == np.round(value)))
            value = np.asarray(value, order="C")
            digest.update(value.data)
            values.append(value)
        first = self._seen.setdefault(digest.digest(), number)
        if first != number:
            self._duplicates.append((first, number))
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
            hint="give one sample a row, without a batch dimension",
        )

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
        if not divides and self._integers[i] and low >= 0 and 100 < high <= 255:
            return [
                Finding(
                    f"{shown} look like raw pixels, and the model does not rescale them itself",
                    "scale them as in training, for example x / 255",
                )
            ]
        if high == low:
            return [Finding(f"{shown}: one value throughout", "give real samples", stops=True)]
        return []


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
