"""TensorFlow Lite Micro in a child process, through the tflite-micro wheel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from tflite_micro import runtime

Arrays = tuple[NDArray[Any], ...]


class Network:
    """One .tflite model in an arena of `arena_size` bytes."""

    def __init__(self, tflite: bytes, arena_size: int, inputs: int, outputs: int) -> None:
        self._interpreter = runtime.Interpreter.from_bytes(tflite, arena_size=arena_size)
        self._input_count = inputs
        self._output_count = outputs

    def run(self, batch: Sequence[Arrays]) -> list[Arrays]:
        """The outputs for each sample; variables are reset before every one."""
        results = []
        for sample in batch:
            self._interpreter.reset()
            for position in range(self._input_count):
                self._interpreter.set_input(sample[position], position)
            self._interpreter.invoke()
            results.append(
                tuple(self._interpreter.get_output(i).copy() for i in range(self._output_count))
            )
        return results
