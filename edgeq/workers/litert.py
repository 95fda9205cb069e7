"""LiteRT in a child process: run a network, or learn the range of each of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgeq.errors import DataError

Arrays = tuple[NDArray[Any], ...]

KERNELS = {
    "fast": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
"""XNNPACK where it can; the optimised kernels without it; the portable reference kernels."""


class Network:
    """One .tflite model, ready to run. Inputs and outputs are in the model's own order."""

    def __init__(
        self, tflite: bytes, kernels: str, threads: int, all_tensors: bool = False
    ) -> None:
        self._interpreter = Interpreter(
            model_content=tflite,
            num_threads=threads,
            experimental_op_resolver_type=KERNELS[kernels],
            experimental_preserve_all_tensors=all_tensors,
        )
        self._interpreter.allocate_tensors()
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]

    def run(self, batch: Sequence[Arrays]) -> list[Arrays]:
        """The outputs for each sample; variables are reset before every one."""
        return [self._read(sample, self._outputs) for sample in batch]

    def tensors(self, batch: Sequence[Arrays], indexes: Sequence[int]) -> list[Arrays]:
        """The values of the tensors `indexes` after each sample (needs `all_tensors`)."""
        return [self._read(sample, indexes) for sample in batch]

    def _read(self, sample: Arrays, indexes: Sequence[int]) -> Arrays:
        self._interpreter.reset_all_variables()
        for index, value in zip(self._inputs, sample, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(i) for i in indexes)


class Ranges:
    """Exact minimum and maximum of activations, one interpreter a thread, samples shared out."""

    def __init__(self, tflite: bytes, indexes: Sequence[int], threads: int) -> None:
        self._indexes = tuple(indexes)
        self._observers = [_Observer(tflite, self._indexes) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads)

    def feed(self, batch: Sequence[Arrays]) -> None:
        shares = [batch[i :: len(self._observers)] for i in range(len(self._observers))]
        list(self._pool.map(_Observer.feed, self._observers, shares))

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Minima and maxima, one for each of `indexes`."""
        return (
            np.min([o.minima for o in self._observers], axis=0),
            np.max([o.maxima for o in self._observers], axis=0),
        )


class _Observer:
    def __init__(self, tflite: bytes, indexes: tuple[int, ...]) -> None:
        self._interpreter = Interpreter(
            model_content=tflite,
            num_threads=1,
            experimental_op_resolver_type=KERNELS["builtin"],
            experimental_preserve_all_tensors=True,
        )
        self._interpreter.allocate_tensors()
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._indexes = indexes
        self.minima = np.full(len(indexes), np.inf, np.float32)
        self.maxima = np.full(len(indexes), -np.inf, np.float32)

    def feed(self, samples: Sequence[Arrays]) -> None:
        for sample in samples:
            self._interpreter.reset_all_variables()
            for index, value in zip(self._inputs, sample, strict=True):
                self._interpreter.set_tensor(index, value)
            self._interpreter.invoke()
            for i, index in enumerate(self._indexes):
                # A view: copying every activation would cost more than reading it.
                values = self._interpreter.tensor(index)()
                if values.size:
                    self.minima[i] = min(self.minima[i], values.min())
                    self.maxima[i] = max(self.maxima[i], values.max())
                del values
        if not (np.isfinite(self.minima).all() and np.isfinite(self.maxima).all()) and samples:
            raise DataError(
                "the float network computes NaN or infinity on the calibration data",
                hint="check the scaling of the samples; evaluate the float model on them",
            )
