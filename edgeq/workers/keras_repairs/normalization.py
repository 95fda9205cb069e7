"""Normalization by each sample's own mean and variance, without NEG and SQUARE.

The variance form is d rsqrt(mean(d d) + epsilon) with d = x - mean(x), the same function. In int8
its inverse root is coarse where variances differ much, so there L2_NORMALIZATION takes its place,
whose inside is exact: d / |d| is the same but for epsilon.
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
256 features, 24 dB for 17 where they differ by up to 256, and 0 to 5 dB worse where by 2."""


def layernorm(scene: Scene) -> Found | None:
    """LayerNormalization and RMSNormalization over any axes."""
    known = {L.LayerNormalization, getattr(L, "RMSNormalization", L.LayerNormalization)}
    layers = [layer for layer in layers_of(scene.model) if type(layer) in known]
    if not layers:
        return None
    seen = scene.observe([(la, "call") for la in layers], lambda x, *_, **__: array(x))
    changes, forms = [], set()
    for layer, inputs in zip(layers, seen, strict=True):
        axes = _axes(layer.axis, inputs[0].ndim) if inputs else ()
        if not axes:
            continue
        rms = type(layer) is not L.LayerNormalization or bool(getattr(layer, "rms_scaling", False))
        by_length = (
            scene.scheme != "int16x8" and len(axes) == 1 and axes[0] == inputs[0].ndim - 1
            and _spread([x if rms else x - x.mean(axes, keepdims=True) for x in inputs], axes)
            > _SPREAD
        )  # fmt: skip
        forms.add("L2_NORMALIZATION" if by_length else "its variance")
        changes.append(Change(layer, "call", _normalizing(layer, axes, rms, by_length)))
    if not changes:
        return None
    what = f"layer normalization by {' or '.join(sorted(forms))}, without NEG and SQUARE"
    return what, changes, [c.layer.name for c in changes]


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    axes = [axis] if isinstance(axis, int) else list(axis)
    return tuple(sorted(a % rank for a in axes))


def _spread(values: list[Any], axes: tuple[int, ...]) -> float:
    """The largest mean square over the smallest, of all but single outliers."""
    squares = np.concatenate([np.mean(v * v, axes).ravel() for v in values])
    low, high = np.percentile(squares, (2, 98))
    return float(high / max(low, 1e-12))


def _normalizing(
    layer: Any, axes: tuple[int, ...], rms: bool, by_length: bool
) -> Callable[..., Any]:
    epsilon = float(layer.epsilon)
    scale = getattr(layer, "gamma", None) if hasattr(layer, "gamma") else layer.scale
    shift = getattr(layer, "beta", None)

    def call(inputs: Any) -> Any:
        shape = [int(n) if i in axes else 1 for i, n in enumerate(inputs.shape)]
        factor = None if scale is None else tf.reshape(tf.convert_to_tensor(scale), shape)
        d = inputs if rms else inputs - tf.reduce_mean(inputs, axes, keepdims=True)
        if by_length:
            width = shape[-1]
            # The reshape keeps the converter from joining subtraction and square to one operator.
            flat = tf.math.l2_normalize(tf.reshape(d, (-1, width)), -1)
            made = tf.reshape(flat, inputs.shape)
            root = math.sqrt(width)
            made = made * (root if factor is None else factor * root)
        else:
            made = d * tf.math.rsqrt(tf.reduce_mean(d * d, axes, keepdims=True) + epsilon)
            made = made if factor is None else made * factor
        return made if shift is None else made + tf.reshape(tf.convert_to_tensor(shift), shape)

    return call


def groupnorm(scene: Scene) -> Found | None:
    """GroupNormalization over the last axis, and UnitNormalization."""
    changes = []
    for layer in layers_of(scene.model):
        if type(layer) is L.GroupNormalization and layer.axis == -1:
            changes.append(Change(layer, "call", _in_groups(layer)))
        elif type(layer) is L.UnitNormalization:
            changes.append(Change(layer, "call", _to_unit(layer, scene.scheme)))
    if not changes:
        return None
    what = "group and unit normalization without NEG and SQUARE"
    return what, changes, [c.layer.name for c in changes]


def _in_groups(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any) -> Any:
        groups, channels = int(layer.groups), int(inputs.shape[-1])
        x = tf.reshape(inputs, (-1, groups, channels // groups))
        d = x - tf.reduce_mean(x, (0, 2), keepdims=True)
        inverse = tf.math.rsqrt(tf.reduce_mean(d * d, (0, 2), keepdims=True) + layer.epsilon)
        made = tf.reshape(d * inverse, inputs.shape)
        if layer.scale:
            made = made * tf.convert_to_tensor(layer.gamma)
        return made + tf.convert_to_tensor(layer.beta) if layer.center else made

    return call


def _to_unit(layer: Any, scheme: str) -> Callable[..., Any]:
    def call(inputs: Any) -> Any:
        axes = _axes(layer.axis, len(inputs.shape))
        if scheme != "int16x8" and axes == (len(inputs.shape) - 1,):
            return tf.math.l2_normalize(inputs, -1)
        squares = tf.reduce_sum(inputs * inputs, axes, keepdims=True)
        return inputs * tf.math.rsqrt(squares + 1e-12)

    return call
