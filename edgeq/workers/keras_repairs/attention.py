"""Attention that looks back only, by a sum where Keras selects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeq.workers.keras_repairs.layers import Change, Scene, array, layers_of

MARGIN = 12.0
"""How far below the best of its row a masked score has to be: exp(-12) is 6e-6."""

Quad = tuple[Any, Any, Any, Any]


def causal(scene: Scene) -> tuple[str, list[Change], list[str]] | None:
    """Scores of the future lowered by a constant.

    Keras selects -3e38 in their place, a number that leaves an int8 scale no room for the others.
    """
    layers = [
        layer
        for layer in layers_of(scene.model)
        if type(layer) is keras.layers.MultiHeadAttention and len(layer._attention_axes or ()) == 1
    ]
    seen = scene.observe([(layer, "_compute_attention") for layer in layers], _facts)
    changes, depths = [], []
    for layer, calls in zip(layers, seen, strict=True):
        if not calls or any(facts is None for facts in calls):
            continue
        depth = max(_excess(layer, query, key) for query, key in calls) + MARGIN
        depths.append(depth)
        changes.append(Change(layer, "_compute_attention", _attending(layer, depth)))
    if not changes:
        return None
    what = f"causal masks of attention added to its scores (-{max(depths):.0f}), not selected"
    return what, changes, [c.layer.name for c in changes]


def _facts(
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    training: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> tuple[Any, Any] | None:
    """Query and key of a call that is causal and masks no more; None of others."""
    if not use_causal_mask or attention_mask is not None or return_attention_scores:
        return None
    return (array(query), array(key)) if len(query.shape) == 4 else None


def _scores(layer: Any, query: Any, key: Any) -> Any:
    scaled = query * tf.constant(layer._inverse_sqrt_key_dim, tf.float32)
    return tf.einsum(layer._dot_product_equation, key, scaled)


def _excess(layer: Any, query: Any, key: Any) -> float:
    """How far the future's scores are above the best of the past's."""
    scores = array(_scores(layer, query, key))
    past = np.tril(np.ones(scores.shape[-2:], bool))
    best = np.where(past, scores, -np.inf).max(-1, keepdims=True)
    return float(max(0.0, np.where(past, -np.inf, scores - best).max(initial=0.0)))


def _attending(layer: Any, depth: float) -> Callable[..., Any]:
    def attend(
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Any, Any]:
        scores = _scores(layer, query, key)
        future = np.triu(np.full(scores.shape[-2:], -depth, np.float32), 1)
        weights = tf.nn.softmax(scores + tf.constant(future))
        return tf.einsum(layer._combine_equation, weights, value), weights

    return attend
