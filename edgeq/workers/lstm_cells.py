"""Cell states of an LSTM at every step: the operator itself shows only the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.graph import Op
from edgeq.tflite import read_graph
from edgeq.tflite.lstm import BIASES, INPUT_WEIGHTS, RECURRENT_WEIGHTS, cell_states

Floats = NDArray[np.float32]


def cells_of(tflite: bytes, interpreter: Any) -> dict[int, Callable[[], Floats]]:
    """Tensor index of each float LSTM's cell state -> what gives its values, after an inference of
    an `interpreter` that preserves all tensors."""
    return {
        index: _states_of(op, interpreter) for index, op in cell_states(read_graph(tflite)).items()
    }


def _states_of(op: Op, interpreter: Any) -> Callable[[], Floats]:
    weights, recurrent, biases = (
        [interpreter.get_tensor(op.inputs[i]) for i in places]
        for places in (INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES)
    )
    is_time_major = bool(op.options.get("time_major", False))

    def states() -> Floats:
        sequence = interpreter.get_tensor(op.inputs[0])
        return every_state(sequence, weights, recurrent, biases, is_time_major)

    return states


def every_state(
    sequence: Floats,
    input_weights: Sequence[Floats],
    recurrent_weights: Sequence[Floats],
    biases: Sequence[Floats],
    time_major: bool,
) -> Floats:
    """(steps, units): c of Hochreiter and Schmidhuber's cell with a forget gate, from zeros.

    `sequence` is (1, steps, features), or (steps, 1, features) if `time_major`; weights and biases
    are of the gates input, forget, cell and output, (units, features or units) and (units,).
    """
    x = sequence[:, 0] if time_major else sequence[0]
    units = biases[0].size
    # All gates at once: one product a step is what makes this quick enough.
    into = x @ np.concatenate(input_weights).T + np.concatenate(biases)
    recurrent = np.concatenate(recurrent_weights).T
    h, c = np.zeros(units, np.float32), np.zeros(units, np.float32)
    states = np.empty((len(x), units), np.float32)
    for step, gates in enumerate(into):
        i, f, g, o = np.split(gates + h @ recurrent, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        states[step] = c
    return states


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)
