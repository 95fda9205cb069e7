"""Copying and looking up: forms that move integers as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from edgeq.workers.keras_repairs.layers import Change, Scene, layers_of, operations_of

L = keras.layers


def nearest_resize(scene: Scene) -> tuple[str, list[Change], list[str]] | None:
    """UpSampling1D and nearest UpSampling2D as RESIZE_NEAREST_NEIGHBOR, in place of TILE."""
    changes = []
    for layer in layers_of(scene.model):
        if type(layer) is L.UpSampling1D:
            changes.append(Change(layer, "call", _longer(int(layer.size))))
        elif type(layer) is L.UpSampling2D and layer.interpolation == "nearest":
            if layer.data_format == "channels_last":
                changes.append(Change(layer, "call", _larger(*map(int, layer.size))))
    if not changes:
        return None
    return "nearest up-sampling as a resize", changes, [c.layer.name for c in changes]


def _larger(rows: int, columns: int) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        size = (x.shape[1] * rows, x.shape[2] * columns)
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)

    return call


def _longer(times: int) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        batch, steps, features = x.shape
        image = tf.reshape(x, (batch, steps, 1, features))
        made = tf.raw_ops.ResizeNearestNeighbor(images=image, size=(steps * times, 1))
        return tf.reshape(made, (batch, steps * times, features))

    return call


def embedding(scene: Scene) -> tuple[str, list[Change], list[str]] | None:
    """Embedding as GATHER alone: Keras's own form minds negative indices, with LESS and SELECT."""
    changes = [
        Change(layer, "call", _looking_up(layer))
        for layer in layers_of(scene.model)
        if type(layer) is L.Embedding
    ]
    if not changes:
        return None
    return "embeddings looked up by GATHER alone", changes, [c.layer.name for c in changes]


def _looking_up(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any) -> Any:
        table = tf.convert_to_tensor(layer.embeddings)
        return tf.cast(tf.gather(table, tf.cast(inputs, tf.int32)), layer.compute_dtype)

    return call


def argmax(scene: Scene) -> tuple[str, list[Change], list[str]] | None:
    """keras.ops.argmax as ARG_MAX: Keras's own form tells -0.0 from 0.0, bit by bit."""
    spots = [node for node in operations_of(scene.model, "Argmax") if node.axis is not None]
    if not spots:
        return None
    changes = [Change(node, "call", _largest(node)) for node in spots]
    return "argmax as one operator", changes, [node.name for node in spots]


def _largest(node: Any) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        found = tf.argmax(x, axis=node.axis, output_type=tf.int32)
        return tf.expand_dims(found, node.axis) if node.keepdims else found

    return call
