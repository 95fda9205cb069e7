"""Recurrent layers: LSTM as one operator, others unrolled, since a loop has no integer form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.errors import ConversionError
from edgeq.schemes import INTEGER_SCHEMES
from edgeq.workers.keras_repairs.layers import Change, Scene, contained, layers_of

L = keras.layers
Found = tuple[str, list[Change], list[str]]

MAX_STEPS = 128
"""Time steps of a layer that is unrolled, at most."""

MAX_OPERATORS = 2000
"""Operators that unrolling may make of all layers together."""

_PER_STEP = {L.LSTM: 15, L.GRU: 17, L.SimpleRNN: 5}
_PER_STEP_OF_OTHERS = 12


def fused(scene: Scene) -> Found | None:
    """LSTM as UNIDIRECTIONAL_SEQUENCE_LSTM, one operator a layer, which int16x8 has not.

    TensorFlow's converter makes it of a function that says by its attributes what it implements.
    """
    if scene.scheme == "int16x8":
        return None
    inner = contained(scene.model)
    layers = [
        layer
        for layer in layers_of(scene.model)
        if type(layer) is L.LSTM and id(layer) not in inner
    ]
    seen = scene.observe([(layer, "call") for layer in layers], _plain_call)
    layers = [
        layer
        for layer, calls in zip(layers, seen, strict=True)
        if calls and all(calls) and _fusable(layer)
    ]
    if not layers:
        return None
    changes = [Change(layer, "call", _fusing(layer, i)) for i, layer in enumerate(layers)]
    what = (
        "LSTM as one operator a layer, which keeps its state between invocations: it is reset "
        "before each sample here, and must be before each window on a device"
    )
    return what, changes, [layer.name for layer in layers]


def _plain_call(
    sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
) -> bool:
    return initial_state is None and not any(m is not None for m in keras.tree.flatten(mask))


def _fusable(layer: Any) -> bool:
    return (
        layer.cell.activation is keras.activations.tanh
        and layer.cell.recurrent_activation is keras.activations.sigmoid
        and not layer.go_backwards
        and not layer.return_state
    )


def kernel_of(layer: Any) -> NDArray[np.float32]:
    """(features, 4 units)."""
    return np.asarray(layer.cell.kernel, np.float32)


def _fusing(layer: Any, number: int) -> Callable[..., Any]:
    function = _lstm_function(number)
    units = layer.units

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        cell = layer.cell
        bias = tf.convert_to_tensor(cell.bias) if cell.use_bias else tf.zeros(4 * units)
        zeros = tf.zeros((sequences.shape[0], units))
        kernel, recurrent = (tf.convert_to_tensor(w) for w in (cell.kernel, cell.recurrent_kernel))
        last, every, _, _, _ = function(sequences, zeros, zeros, kernel, recurrent, bias)
        return every if layer.return_sequences else last

    return call


def _lstm_function(number: int) -> Any:
    """What the converter knows as LSTM by Keras 2's protocol: six tensors in, five out."""

    def standard(x: Any, h: Any, c: Any, kernel: Any, recurrent: Any, bias: Any) -> tuple[Any, ...]:
        steps = tf.transpose(x, (1, 0, 2))
        count = tf.shape(steps)[0]

        def body(t: Any, h: Any, c: Any, made: Any) -> tuple[Any, ...]:
            gates = steps[t] @ kernel + h @ recurrent + bias
            i, f, g, o = tf.split(gates, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
            return t + 1, h, c, made.write(t, h)

        made = tf.TensorArray(tf.float32, size=count)
        _, h, c, made = tf.while_loop(lambda t, *_: t < count, body, (0, h, c, made))
        return h, tf.transpose(made.stack(), (1, 0, 2)), h, c, tf.constant(1.0)

    return tf.function(
        standard,
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_edgeq_{number}",
            "api_preferred_device": "CPU",
            "time_major": False,
            "go_backwards": False,
        },
    )


def unrolled(scene: Scene) -> Found | None:
    """The other recurrent layers, a copy of the cell a step. Raises ConversionError."""
    if scene.scheme not in INTEGER_SCHEMES:
        return None
    layers = [
        layer
        for layer in layers_of(scene.model)
        if isinstance(layer, L.RNN) and "call" not in vars(layer) and not layer.unroll
    ]
    if not layers:
        return None
    seen = scene.observe([(layer, "call") for layer in layers], lambda x, *_, **__: x.shape[1])
    total = 0
    for layer, steps in zip(layers, seen, strict=True):
        kind = type(layer).__name__
        if layer.stateful:
            raise ConversionError(
                f"layer {layer.name!r}, a {kind}, keeps its state between calls: unrolled, it "
                "would begin anew with each",
                hint="make the state an input and an output of the model, or use an LSTM, which "
                "becomes one operator in int8",
            )
        operators = steps[0] * _PER_STEP.get(type(layer), _PER_STEP_OF_OTHERS) if steps else 0
        total += operators
        if steps and (steps[0] > MAX_STEPS or total > MAX_OPERATORS):
            raise ConversionError(
                f"layer {layer.name!r}, a {kind} over {steps[0]} time steps, has no integer form "
                f"but unrolled, which makes about {operators} operators of it; at most {MAX_STEPS} "
                f"steps and {MAX_OPERATORS} operators in all are unrolled",
                hint="use shorter windows, a Conv1D with strides before it, or an LSTM in one "
                "direction, which becomes one operator in int8",
            )
    changes = [Change(layer, "unroll", True) for layer in layers]
    what = f"recurrent layers unrolled: about {total} operators"
    return what, changes, [layer.name for layer in layers]
