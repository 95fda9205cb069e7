"""Normalization by each sample's own mean and variance, in forms that int8 bears.

In int8 the inverse root of a variance is coarse where variances differ much from sample to sample.
There L2_NORMALIZATION takes its place, whose inside is exact: d / |d| with d = x - mean(x), and one
more element for epsilon. Elsewhere d rsqrt(mean(d d) + epsilon) does without NEG and SQUARE.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeq.workers.keras_repairs.layers import Change, Scene, array, layers_of

L = keras.layers
Found = tuple[str, list[Change], list[str]]

_SPREAD = 8.0
"""Largest variance over the smallest, above which L2_NORMALIZATION is better: measured for 16 to
256 features, 21 to 25 dB in place of 11 to 19 where they differ by up to 256, and 0 to 6 dB worse
where by 2."""


def layernorm(scene: Scene) -> Found | None:
    """LayerNormalization and RMSNormalization of the last axis, where variances differ much.

    In int16x8 all, by their variance: it has neither L2_NORMALIZATION, nor, in LiteRT,
    SQUARED_DIFFERENCE, which Keras's own form becomes.
    """
    if scene.scheme == "int16x8":
        return by_variance(scene)
    changes = []
    for layer, inputs in _normalizing_layers(scene):
        axes = _axes(layer.axis, inputs[0].ndim)
        if axes != (inputs[0].ndim - 1,):
            continue
        centred = [x if _is_rms(layer) else x - x.mean(-1, keepdims=True) for x in inputs]
        if _spread(centred, axes) > _SPREAD:
            changes.append(Change(layer, "call", _by_length(layer)))
    if not changes:
        return None
    what = "layer normalization by L2_NORMALIZATION, since variances differ much"
    return what, changes, [c.layer.name for c in changes]


def by_variance(scene: Scene) -> Found | None:
    """LayerNormalization and RMSNormalization over any axes."""
    changes = [
        Change(layer, "call", _by_variance(layer, _axes(layer.axis, inputs[0].ndim)))
        for layer, inputs in _normalizing_layers(scene)
        if "call" not in vars(layer)
    ]
    if not changes:
        return None
    what = "layer normalization without NEG and SQUARE"
    return what, changes, [c.layer.name for c in changes]


def groups(scene: Scene) -> Found | None:
    """GroupNormalization over the last axis."""
    changes = [
        Change(layer, "call", _in_groups(layer))
        for layer in layers_of(scene.model)
        if type(layer) is L.GroupNormalization and layer.axis == -1
    ]
    if not changes:
        return None
    what = "group normalization without NEG and SQUARE"
    return what, changes, [c.layer.name for c in changes]


def unit(scene: Scene) -> Found | None:
    """UnitNormalization of the last axis as L2_NORMALIZATION; in int16x8, which has none, without
    the largest inverse length of 1e6 that Keras's own form limits by, and int16 has no room for."""
    changes = [
        Change(layer, "call", _to_unit_16 if scene.scheme == "int16x8" else _to_unit)
        for layer in layers_of(scene.model)
        if type(layer) is L.UnitNormalization and layer.axis in (-1, [-1], (-1,))
    ]
    if not changes:
        return None
    form = "a product" if scene.scheme == "int16x8" else "L2_NORMALIZATION"
    return f"unit normalization as {form}", changes, [c.layer.name for c in changes]


def _to_unit(inputs: Any) -> Any:
    return tf.math.l2_normalize(inputs, -1)


def _to_unit_16(inputs: Any) -> Any:
    return inputs * tf.math.rsqrt(tf.reduce_sum(inputs * inputs, -1, keepdims=True) + 1e-12)


def _normalizing_layers(scene: Scene) -> list[tuple[Any, list[Any]]]:
    """(layer, what went into it)."""
    known = {L.LayerNormalization, getattr(L, "RMSNormalization", L.LayerNormalization)}
    layers = [layer for layer in layers_of(scene.model) if type(layer) in known]
    if not layers:
        return []
    seen = scene.observe([(la, "call") for la in layers], lambda x, *_, **__: array(x))
    return [(layer, inputs) for layer, inputs in zip(layers, seen, strict=True) if inputs]


def _is_rms(layer: Any) -> bool:
    return type(layer) is not L.LayerNormalization or bool(getattr(layer, "rms_scaling", False))


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    axes = [axis] if isinstance(axis, int) else list(axis)
    return tuple(sorted(a % rank for a in axes))


def _spread(values: list[Any], axes: tuple[int, ...]) -> float:
    """The largest mean square over the smallest, of all but single outliers."""
    squares = np.concatenate([np.mean(v * v, axes).ravel() for v in values])
    low, high = np.percentile(squares, (2, 98))
    return float(high / max(low, 1e-12))


def _weights(layer: Any, shape: list[int]) -> tuple[Any, Any]:
    """(factor, shift) in `shape`, each None where there is none."""
    scale = layer.gamma if hasattr(layer, "gamma") else layer.scale
    shift = getattr(layer, "beta", None)
    factor, shift = (
        None if w is None else tf.reshape(tf.convert_to_tensor(w), shape) for w in (scale, shift)
    )
    return factor, shift


def _by_length(layer: Any) -> Callable[..., Any]:
    rms = _is_rms(layer)

    def call(inputs: Any) -> Any:
        width = int(inputs.shape[-1])
        factor, shift = _weights(layer, [1] * (len(inputs.shape) - 1) + [width])
        d = inputs if rms else inputs - tf.reduce_mean(inputs, -1, keepdims=True)
        # The reshape keeps the converter from joining subtraction and square to one operator.
        rows = tf.reshape(d, (-1, width))
        rest = np.full((rows.shape[0], 1), math.sqrt(width * layer.epsilon), np.float32)
        length = tf.math.l2_normalize(tf.concat([rows, rest], -1), -1)
        made = tf.reshape(length[:, :-1], inputs.shape)
        root = math.sqrt(width)
        made = made * (root if factor is None else factor * root)
        return made if shift is None else made + shift

    return call


def _by_variance(layer: Any, axes: tuple[int, ...]) -> Callable[..., Any]:
    rms = _is_rms(layer)

    def call(inputs: Any) -> Any:
        shape = [int(n) if i in axes else 1 for i, n in enumerate(inputs.shape)]
        factor, shift = _weights(layer, shape)
        d = inputs if rms else inputs - tf.reduce_mean(inputs, axes, keepdims=True)
        made = d * tf.math.rsqrt(tf.reduce_mean(d * d, axes, keepdims=True) + layer.epsilon)
        made = made if factor is None else made * factor
        return made if shift is None else made + shift

    return call


def _in_groups(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any) -> Any:
        count, channels = int(layer.groups), int(inputs.shape[-1])
        x = tf.reshape(inputs, (-1, count, channels // count))
        d = x - tf.reduce_mean(x, (0, 2), keepdims=True)
        inverse = tf.math.rsqrt(tf.reduce_mean(d * d, (0, 2), keepdims=True) + layer.epsilon)
        made = tf.reshape(d * inverse, inputs.shape)
        if layer.scale:
            made = made * tf.convert_to_tensor(layer.gamma)
        return made + tf.convert_to_tensor(layer.beta) if layer.center else made

    return call
