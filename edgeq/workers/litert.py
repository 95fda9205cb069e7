"""LiteRT in a child process: run a network, or learn the range of each of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgeq.errors import DataError, ModelError
from edgeq.workers.histograms import Histograms, channel_means
from edgeq.workers.lstm_cells import cells_of

Arrays = tuple[NDArray[Any], ...]

KERNELS = {
    "fast": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
"""XNNPACK where it can; the optimised kernels without it; the portable reference kernels."""


class Outputs:
    """The outputs of `interpreter`, which must come in the shapes that the file declares.

    To be made before its tensors are allocated: that replaces the file's shapes by its own.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        details = interpreter.get_output_details()
        self._indexes = [d["index"] for d in details]
        self._names = [d["name"] for d in details]
        self._shapes = [tuple(int(n) for n in d["shape"]) for d in details]
        # Detection models have outputs whose shape is known only when they run.
        self._open = [not d["shape"].size or d["shape_signature"].min() < 0 for d in details]

    def read(self) -> Arrays:
        """A copy of each. Raises ModelError."""
        self.check()
        return tuple(self._interpreter.get_tensor(i) for i in self._indexes)

    def check(self, *, exact: bool = True) -> None:
        """Raise ModelError for another shape: all else, on devices too, goes by the file's shapes.

        With `exact` False an output may have any shape where the file leaves it open.
        """
        found = [tuple(int(n) for n in d["shape"]) for d in self._interpreter.get_output_details()]
        known = zip(found, self._names, self._shapes, self._open, strict=True)
        for shape, name, declared, is_open in known:
            if shape != declared and (exact or not is_open):
                raise ModelError(
                    f"output {name!r} has shape {list(declared)} in the model file, but LiteRT "
                    f"computes {list(shape)}",
                    hint="export the model again; a shape that depends on the data does not fit "
                    "a device",
                )


def load(**options: Any) -> tuple[Interpreter, Outputs]:
    """An Interpreter of `options`, tensors allocated, and its outputs. Raises ModelError."""
    try:
        interpreter = Interpreter(**options)
        outputs = Outputs(interpreter)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as e:
        raise ModelError(
            f"LiteRT {version('ai-edge-litert')} cannot load the model: {e}",
            hint="edgeq inspect MODEL shows its operators and versions",
        ) from e
    return interpreter, outputs


class Network:
    """One .tflite model, ready to run. Inputs and outputs are in the model's own order."""

    def __init__(
        self, tflite: bytes, kernels: str, threads: int, all_tensors: bool = False
    ) -> None:
        self._interpreter, self._outputs = load(
            model_content=tflite,
            num_threads=threads,
            experimental_op_resolver_type=KERNELS[kernels],
            experimental_preserve_all_tensors=all_tensors,
        )
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]

    def run(self, batch: Sequence[Arrays]) -> list[Arrays]:
        """The outputs for each sample; variables are reset before every one."""
        results = []
        for sample in batch:
            self._invoke(sample)
            results.append(self._outputs.read())
        return results

    def tensors(self, batch: Sequence[Arrays], indexes: Sequence[int]) -> list[Arrays]:
        """The values of the tensors `indexes` after each sample (needs `all_tensors`)."""
        results = []
        for sample in batch:
            self._invoke(sample)
            results.append(tuple(self._interpreter.get_tensor(i) for i in indexes))
        return results

    def _invoke(self, sample: Arrays) -> None:
        self._interpreter.reset_all_variables()
        for index, value in zip(self._inputs, sample, strict=True):
            self._interpreter.set_tensor(index, value)
        invoke(self._interpreter)


def invoke(interpreter: Interpreter) -> None:
    """One inference. Raises ModelError when a kernel refuses."""
    try:
        interpreter.invoke()
    except RuntimeError as e:
        raise ModelError(
            f"LiteRT {version('ai-edge-litert')} cannot run the model: {e}",
            hint="are the inputs what the model expects, such as indices within its tables?",
        ) from e


class Bench:
    """One model after the other, in the same process."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._network: Network | None = None

    def open(self, tflite: bytes, kernels: str = "fast", all_tensors: bool = False) -> None:
        self._network = None
        self._network = Network(tflite, kernels, self._threads, all_tensors)

    def run(self, batch: Sequence[Arrays]) -> list[Arrays]:
        assert self._network is not None
        return self._network.run(batch)

    def tensors(self, batch: Sequence[Arrays], indexes: Sequence[int]) -> list[Arrays]:
        assert self._network is not None
        return self._network.tensors(batch, indexes)


class Ranges:
    """Exact minimum and maximum of activations, one interpreter a thread, samples shared out.

    With `channels`, also histograms of the same activations, and the means of those that it names:
    channels of the last dimension by place in `indexes`. `spans` names those whose minima and
    maxima are wanted for each channel, in the same way.
    """

    def __init__(
        self,
        tflite: bytes,
        indexes: Sequence[int],
        threads: int,
        channels: Mapping[int, int] | None = None,
        spans: Mapping[int, int] | None = None,
    ) -> None:
        self._histograms = None if channels is None else Histograms(len(indexes))
        self._channels = channels or {}
        self._sums = {i: np.zeros(n) for i, n in self._channels.items()}
        arguments = (tflite, tuple(indexes), self._histograms, self._channels, spans or {})
        self._observers = [_Observer(*arguments) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads)

    def feed(self, batch: Sequence[Arrays]) -> None:
        count = len(self._observers)
        shares = [batch[i::count] for i in range(count)]
        means = list(self._pool.map(_Observer.feed, self._observers, shares))
        # In the samples' order, whatever the number of threads: sums of floats depend on it.
        for number in range(len(batch)):
            for i, mean in means[number % count][number // count].items():
                self._sums[i] += mean

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Minima and maxima, one for each of `indexes`."""
        return (
            np.min([o.minima for o in self._observers], axis=0),
            np.max([o.maxima for o in self._observers], axis=0),
        )

    def distributions(
        self,
    ) -> tuple[
        NDArray[np.int64],
        NDArray[np.int64],
        dict[int, NDArray[np.float64]],
        dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]],
    ]:
        """Histograms' counts and exponents, sums over the samples of channels' means, and minima
        and maxima of channels."""
        assert self._histograms is not None
        lows, highs = ([getattr(o, side) for o in self._observers] for side in ("lows", "highs"))
        spans = {
            i: (
                np.min([part[i] for part in lows if i in part], axis=0),
                np.max([part[i] for part in highs if i in part], axis=0),
            )
            for i in sorted({i for part in lows for i in part})
        }
        return self._histograms.counts, self._histograms.exponents, self._sums, spans


class _Observer:
    def __init__(
        self,
        tflite: bytes,
        indexes: tuple[int, ...],
        histograms: Histograms | None,
        channels: Mapping[int, int],
        spans: Mapping[int, int],
    ) -> None:
        self._interpreter, self._outputs = load(
            model_content=tflite,
            num_threads=1,
            experimental_op_resolver_type=KERNELS["builtin"],
            experimental_preserve_all_tensors=True,
        )
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._indexes = indexes
        self._cells = cells_of(tflite, self._interpreter)
        self._histograms = histograms
        self._channels = channels
        self._spans = spans
        self.lows: dict[int, NDArray[np.float32]] = {}
        self.highs: dict[int, NDArray[np.float32]] = {}
        self.minima = np.full(len(indexes), np.inf, np.float32)
        self.maxima = np.full(len(indexes), -np.inf, np.float32)

    def feed(self, samples: Sequence[Arrays]) -> list[dict[int, NDArray[np.float64]]]:
        """Channels' means, of each sample."""
        means: list[dict[int, NDArray[np.float64]]] = []
        for sample in samples:
            self._interpreter.reset_all_variables()
            for index, value in zip(self._inputs, sample, strict=True):
                self._interpreter.set_tensor(index, value)
            invoke(self._interpreter)
            means.append({})
            for i, index in enumerate(self._indexes):
                # A view: copying every activation would cost more than reading it.
                cell = self._cells.get(index)
                values = cell() if cell else self._interpreter.tensor(index)()
                if values.size:
                    low, high = self._extremes(i, values)
                    self.minima[i] = min(self.minima[i], low)
                    self.maxima[i] = max(self.maxima[i], high)
                    if self._histograms is not None:
                        self._histograms.add(i, values)
                    if i in self._channels and values.size % self._channels[i] == 0:
                        means[-1][i] = channel_means(values, self._channels[i])
                del values
        if samples:
            self._outputs.check()
        if not (np.isfinite(self.minima).all() and np.isfinite(self.maxima).all()) and samples:
            raise DataError(
                "the float network computes NaN or infinity on the calibration data",
                hint="check the scaling of the samples; evaluate the float model on them",
            )
        return means

    def _extremes(self, i: int, values: NDArray[np.float32]) -> tuple[float, float]:
        if values.shape[-1:] != (self._spans.get(i),):
            return values.min(), values.max()
        rows = values.reshape(-1, values.shape[-1])
        low, high = rows.min(0), rows.max(0)
        self.lows[i] = np.minimum(self.lows.get(i, low), low)
        self.highs[i] = np.maximum(self.highs.get(i, high), high)
        return low.min(), high.max()
