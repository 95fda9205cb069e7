"""Keras models taken apart into their layers and put together again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Call = Callable[..., Any]
Changed = tuple[dict[str, Any], list[NDArray[Any]]]
"""A layer's configuration and weights."""


def rebuilt(model: Any, change: Callable[[Any], Changed], name: str | None = None) -> Any:
    """The model with each layer made new from what `change` gives for it, nested ones in a row."""
    made: dict[int, Any] = {}
    weights: list[tuple[Any, list[NDArray[Any]]]] = []
    names: set[str] = {t.name for t in model.inputs}

    def new(layer: Any, prefix: str) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer
        if id(layer) not in made:
            config, values = change(layer)
            unique = config["name"]
            if unique in names:
                unique = f"{prefix}{unique}"
            number = 2
            while unique in names:
                unique, number = f"{prefix}{config['name']}_{number}", number + 1
            names.add(unique)
            made[id(layer)] = layer.__class__.from_config({**config, "name": unique})
            weights.append((made[id(layer)], values))
        return made[id(layer)]

    inputs, outputs = run(model, new)
    for layer, values in weights:
        layer.set_weights(values)
    return keras.Model(inputs, outputs, name=name or model.name)


def flattened(model: Any) -> Any:
    """A copy without nested models; layers' names stay, but where two would be the same."""
    return rebuilt(model, lambda layer: (layer.get_config(), layer.get_weights()))


def in_float64(model: Any) -> Any:
    """A copy that computes in float64."""
    return rebuilt(
        model,
        lambda layer: (
            {**layer.get_config(), "dtype": "float64"},
            [w.astype(np.float64) if w.dtype.kind == "f" else w for w in layer.get_weights()],
        ),
    )


def run(model: Any, new: Callable[[Any, str], Any], call: Call | None = None) -> tuple[Any, Any]:
    """The inputs and outputs of `model` run on new inputs, nested models layer by layer.

    `new` gives the layer to use in place of one, which it gets with a prefix that keeps names
    apart; `call` gets each layer with its arguments, keyword arguments and outputs.
    """
    inputs = keras.tree.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), _ends(model)[0]
    )
    return inputs, _through(model, inputs, new, call, "", None)


def _through(
    model: Any,
    inputs: Any,
    new: Callable[[Any, str], Any],
    call: Call | None,
    prefix: str,
    training: Any,
) -> Any:
    """The outputs of `model` for `inputs`; `training` is what an outer model was called with."""

    def one(layer: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(layer, keras.Sequential) or (
            isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")
        ):
            inner = named.get("training", training)
            return _through(layer, arguments[0], new, call, f"{layer.name}_", inner)
        if training is not None and isinstance(layer, keras.layers.Layer):
            if "training" in inspect.signature(layer.call).parameters:
                named = {"training": training, **named}
        own = new(layer, prefix)
        outputs = own(*arguments, **named)
        if call is not None:
            call(own, arguments, named, outputs)
        return outputs

    # Keras's own clone_model is made of this, but takes no nested models apart.
    return keras.Model(*_ends(model))._run_through_graph(inputs, call_fn=one)


def _ends(model: Any) -> tuple[Any, Any]:
    """Its inputs and outputs as it takes and gives them: a tensor, a list or a dictionary."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output
