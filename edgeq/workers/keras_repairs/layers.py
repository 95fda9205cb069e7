"""The layers of a Keras model, what goes into them, and replacing what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Run = Callable[[], list[list[NDArray[Any]]]]
"""The model's flat outputs for each sample, as it is now."""


@dataclass(frozen=True)
class Change:
    """`value` in place of the `attribute` of a layer or operation."""

    layer: Any
    attribute: str
    value: Any


@dataclass(frozen=True)
class Scene:
    """A built model, the scheme that it shall become, and how to run it on samples."""

    model: Any
    scheme: str
    run: Run

    def observe(self, spots: Sequence[tuple[Any, str]], see: Callable[..., Any]) -> list[list[Any]]:
        """`see(*arguments)` for each call of each function (layer, attribute) on the samples."""
        seen: list[list[Any]] = [[] for _ in spots]

        def watched(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
            def watching(*arguments: Any, **named: Any) -> Any:
                seen[number].append(see(*arguments, **named))
                return function(*arguments, **named)

            return watching

        changes = [
            Change(layer, attribute, watched(i, getattr(layer, attribute)))
            for i, (layer, attribute) in enumerate(spots)
        ]
        with changed(changes):
            self.run()
        return seen


def apply(changes: Sequence[Change]) -> Callable[[], None]:
    """Make `changes`; the function that comes back undoes them."""
    before = [(c, c.attribute in vars(c.layer), vars(c.layer).get(c.attribute)) for c in changes]
    for change in changes:
        setattr(change.layer, change.attribute, change.value)

    def undo() -> None:
        for change, was_own, value in reversed(before):
            if was_own:
                setattr(change.layer, change.attribute, value)
            else:
                delattr(change.layer, change.attribute)

    return undo


@contextmanager
def changed(changes: Sequence[Change]) -> Iterator[None]:
    undo = apply(changes)
    try:
        yield
    finally:
        undo()


def layers_of(model: Any) -> list[Any]:
    """Every layer, each once, in order: in nested models, containers and cells too."""
    return list(model._flatten_layers(include_self=False, recursive=True))


def operations_of(model: Any, name: str) -> list[Any]:
    """Calls of one of keras.ops in functional models, by its class's name, each once."""
    models = [model, *layers_of(model)]
    found: dict[int, Any] = {}
    for part in models:
        for node in getattr(part, "operations", ()):
            kind = type(node)
            if kind.__name__ == name and kind.__module__.startswith("keras.src.ops."):
                found.setdefault(id(node), node)
    return list(found.values())


def contained(model: Any) -> set[int]:
    """The ids of layers that a Bidirectional, TimeDistributed or another wrapper calls."""
    found = set()
    for layer in layers_of(model):
        for name in ("layer", "forward_layer", "backward_layer"):
            inner = vars(layer).get(name)
            if isinstance(inner, keras.layers.Layer):
                found.add(id(inner))
    return found


def functions_of(model: Any, activation: Any, operation: str) -> list[tuple[Any, str]]:
    """(layer, attribute) wherever the function `activation` is one, or keras.ops' `operation`."""
    spots = [
        (layer, "activation")
        for layer in layers_of(model)
        if vars(layer).get("activation") is activation
    ]
    return spots + [(node, "call") for node in operations_of(model, operation)]


def names_of(spots: Sequence[tuple[Any, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.name for layer, _ in spots))


def array(value: Any) -> NDArray[Any]:
    return np.asarray(keras.ops.convert_to_numpy(value))
