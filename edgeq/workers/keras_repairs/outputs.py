"""The model's last layer: logits in place of a softmax."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeq.workers.keras_repairs.layers import Change


def logits(model: Any) -> tuple[str, list[Change], list[str]] | None:
    """Leave out a softmax that is the last to happen to an output.

    Softmax keeps the order, so the best class stays; of a thousand classes most scores are below
    1/256, which int8 cannot tell from 0.
    """
    changes = [
        change for layer in _last_layers(model) if (change := _without_softmax(layer)) is not None
    ]
    if not changes:
        return None
    names = [c.layer.name for c in changes]
    return "the final softmax left out: its output holds logits", changes, names


def scores_of(
    changes: list[Change], model: Any, made: list[list[NDArray[Any]]]
) -> list[list[NDArray[Any]]]:
    """What the outputs `made` without softmax would be with it."""
    left = {id(c.layer) for c in changes}
    ends = _last_layers(model)
    return [
        [_softmax(o) if id(ends[i]) in left else o for i, o in enumerate(outputs)]
        for outputs in made
    ]


def _softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _last_layers(model: Any) -> list[Any]:
    """Of each output, in order; those of a nested model are its own last layers."""
    ends: list[Any] = []
    for output in model.outputs:
        history = output._keras_history
        layer = history.operation
        inner = _last_layers(layer) if isinstance(layer, keras.Model) else [layer]
        ends.append(inner[history.tensor_index] if len(inner) > history.tensor_index else layer)
    return ends


def _without_softmax(layer: Any) -> Change | None:
    if len(getattr(layer, "_inbound_nodes", ())) > 1:
        return None  # Shared: elsewhere its scores may be used.
    if type(layer) is keras.layers.Softmax and layer.axis == -1:
        return Change(layer, "call", lambda inputs, mask=None: inputs)
    if vars(layer).get("activation") is keras.activations.softmax:
        return Change(layer, "activation", keras.activations.linear)
    return None
