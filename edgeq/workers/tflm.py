"""TensorFlow Lite Micro in a child process, through the tflite-micro wheel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro import runtime

from edgeq.errors import WorkerError

Arrays = tuple[NDArray[Any], ...]

_LIMITS = "its operators have limits: targets/operators/tflm.toml notes them, for each operator"


class Network:
    """One .tflite model in an arena of `arena_size` bytes."""

    def __init__(
        self, tflite: bytes, arena_size: int, inputs: int, outputs: int, all_tensors: bool = False
    ) -> None:
        config = runtime.InterpreterConfig
        try:
            self._interpreter = runtime.Interpreter.from_bytes(
                tflite,
                arena_size=arena_size,
                intrepreter_config=(
                    config.kPreserveAllTensors if all_tensors else config.kAllocationRecording
                ),
            )
        except (RuntimeError, ValueError) as e:
            raise WorkerError(f"TensorFlow Lite Micro cannot load the model: {e}", _LIMITS) from e
        self._input_count = inputs
        self._output_count = outputs

    def run(self, batch: Sequence[Arrays]) -> list[Arrays]:
        """The outputs for each sample; variables are reset before every one."""
        results = []
        for sample in batch:
            self._invoke(sample)
            results.append(
                tuple(self._interpreter.get_output(i).copy() for i in range(self._output_count))
            )
        return results

    def tensors(self, batch: Sequence[Arrays], indexes: Sequence[int]) -> list[Arrays]:
        """The values of the tensors `indexes` after each sample (needs `all_tensors`)."""
        results = []
        for sample in batch:
            self._invoke(sample)
            values = (self._interpreter.GetTensor(i, 0)["tensor_data"] for i in indexes)
            results.append(tuple(np.array(v) for v in values))
        return results

    def _invoke(self, sample: Arrays) -> None:
        self._interpreter.reset()
        for position in range(self._input_count):
            self._interpreter.set_input(sample[position], position)
        try:
            self._interpreter.invoke()
        except RuntimeError as e:
            raise WorkerError(f"TensorFlow Lite Micro cannot run the model: {e}", _LIMITS) from e


class ArenaProbe:
    """Tells whether a model runs in an arena of so many bytes."""

    def __init__(self, tflite: bytes, inputs: Sequence[NDArray[Any]]) -> None:
        self._tflite = tflite
        self._inputs = tuple(inputs)

    def allocates(self, size: int) -> bool:
        try:
            runtime.Interpreter.from_bytes(self._tflite, arena_size=size)
        except (RuntimeError, ValueError):
            return False
        return True

    def invokes(self, size: int) -> bool:
        try:
            interpreter = runtime.Interpreter.from_bytes(self._tflite, arena_size=size)
            for position, value in enumerate(self._inputs):
                interpreter.set_input(value, position)
            interpreter.invoke()
        except (RuntimeError, ValueError):
            return False
        return True
