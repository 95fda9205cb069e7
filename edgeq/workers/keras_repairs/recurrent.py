"""Recurrent layers: LSTM as one operator, others unrolled, since a loop has no integer form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.errors import ModelError
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
    """LSTM as UNIDIRECTIONAL_SEQUENCE_LSTM, one operator a layer.

    TensorFlow's converter makes it of a function that says by its attributes what it implements.
    """
    layers = _fusable_layers(scene)
    if not layers:
        return None
    changes = [Change(layer, "call", _fusing(layer, i)) for i, layer in enumerate(layers)]
    what = (
        "LSTM as one operator a layer; it keeps its state between invocations, and is reset "
        "before each sample here, as a device has to before each window"
    )
    return what, changes, [layer.name for layer in layers]


def _fusable_layers(scene: Scene) -> list[Any]:
    if scene.scheme == "int16x8":
        return []  # Its quantizer has no such operator.
    inner = contained(scene.model)
    layers = [
        layer
        for layer in layers_of(scene.model)
        if type(layer) is L.LSTM and id(layer) not in inner
    ]
    return _plain(scene, [layer for layer in layers if _fusable(layer)])


def _plain(scene: Scene, layers: list[Any]) -> list[Any]:
    """Those of `layers` that no call gives a mask or a state."""
    spots = [(layer, "call") for layer in layers]
    seen = scene.observe(spots, _plain_call, values=False) if spots else []
    return [layer for layer, calls in zip(layers, seen, strict=True) if calls and all(calls)]


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
        every.set_shape((*sequences.shape[:2], units))  # Layers after it want to know.
        last.set_shape((sequences.shape[0], units))
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


def refuse_long(scene: Scene, lstm: bool) -> None:
    """Raise ModelError for a layer that has to be unrolled and cannot be, before any runs.

    `lstm` says that those that can become one operator will.
    """
    if scene.scheme not in INTEGER_SCHEMES:
        return
    fusable = {id(layer) for layer in _fusable_layers(scene)} if lstm else set()
    layers = [layer for layer in _loops(scene.model) if id(layer) not in fusable]
    total = 0
    for layer, steps in zip(layers, _steps(scene, layers), strict=True):
        kind = type(layer).__name__
        if layer.stateful:
            raise ModelError(
                f"layer {layer.name!r}, a {kind}, keeps its state between calls: unrolled, it "
                "would begin anew with each",
                hint="make the state an input and an output of the model, or use an LSTM, which "
                "becomes one operator in int8",
            )
        operators = steps * _operators_of(layer)
        total += operators
        if steps > MAX_STEPS or total > MAX_OPERATORS:
            raise ModelError(
                f"layer {layer.name!r}, a {kind} over {steps} time steps, has no integer form "
                f"but unrolled, which makes about {operators} operators of it; at most {MAX_STEPS} "
                f"steps and {MAX_OPERATORS} operators in all are unrolled",
                hint="use shorter windows, a Conv1D with strides before it, or an LSTM in one "
                "direction, which becomes one operator in int8",
            )


def _loops(model: Any) -> list[Any]:
    return [
        layer
        for layer in layers_of(model)
        if isinstance(layer, L.RNN) and "call" not in vars(layer) and not layer.unroll
    ]


def _steps(scene: Scene, layers: list[Any]) -> list[int]:
    """Time steps of each, 0 of one that is not called."""
    if not layers:
        return []
    spots = [(layer, "call") for layer in layers]
    seen = scene.observe(spots, lambda x, *_, **__: int(x.shape[1] or 0), values=False)
    return [max(calls, default=0) for calls in seen]


def _operators_of(layer: Any) -> int:
    cells = getattr(layer.cell, "cells", None)
    return _PER_STEP.get(type(layer), _PER_STEP_OF_OTHERS * len(cells or [layer]))


def unrolled(scene: Scene) -> Found | None:
    """The other recurrent layers, a copy of the cell a step; refuse_long() has seen them."""
    layers = _loops(scene.model)
    if scene.scheme not in INTEGER_SCHEMES or not layers:
        return None
    steps = _steps(scene, layers)
    total = sum(n * _operators_of(layer) for n, layer in zip(steps, layers, strict=True))
    changes = [Change(layer, "unroll", True) for layer in layers]
    ways = [
        layer
        for layer in layers_of(scene.model)
        if type(layer) is L.Bidirectional and layer.return_sequences and not layer.return_state
    ]
    changes += [Change(layer, "call", _both_ways(layer)) for layer in _plain(scene, ways)]
    what = f"recurrent layers unrolled: about {total} operators"
    return what, changes, [layer.name for layer in layers]


def _both_ways(layer: Any) -> Callable[..., Any]:
    """A Bidirectional that turns the second sequence round by UNPACK and PACK: no engine for
    microcontrollers but TensorFlow Lite Micro has REVERSE_V2."""

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        first, second = layer.forward_layer(sequences), layer.backward_layer(sequences)
        second = tf.stack(tf.unstack(second, axis=1)[::-1], axis=1)
        if layer.merge_mode == "concat":
            return tf.concat([first, second], -1)
        if layer.merge_mode == "mul":
            return first * second
        if layer.merge_mode is None:
            return first, second
        return (first + second) * (0.5 if layer.merge_mode == "ave" else 1.0)

    return call
