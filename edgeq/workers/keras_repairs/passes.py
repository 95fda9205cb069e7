"""Which passes there are, in their order, and making them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.repairs import Repair
from edgeq.workers.keras_repairs import (
    activations,
    attention,
    normalization,
    outputs,
    precision,
    recurrent,
    shapes,
)
from edgeq.workers.keras_repairs.layers import Change, Scene, apply, layers_of

ROUNDING = 1e-4
"""Difference of the outputs, as a share of the largest, up to which a function is the same."""

HALF_ROUNDING = 0.03
"""The same, where the original computes in float16: eight bits and a few operations."""

Found = tuple[str, list[Change], list[str]]
"""What is done, as a sentence; the changes; the layers' names."""


@dataclass(frozen=True)
class Pass:
    """`find` has what to change. An `exact` one keeps the function but for rounding. One that
    `waits` is made only where a conversion without it has problems."""

    name: str
    find: Callable[[Scene], Found | None]
    exact: bool = True
    waits: bool = False


PASSES = (
    Pass("nearest-resize", shapes.nearest_resize),
    Pass("embedding", shapes.embedding),
    Pass("argmax", shapes.argmax),
    Pass("attention", attention.causal),
    Pass("lstm", recurrent.fused),
    Pass("unroll", recurrent.unrolled),
    Pass("selu", activations.selu),
    Pass("exponential", activations.exponential, waits=True),
    Pass("unitnorm", normalization.unit),
    Pass("layernorm", normalization.layernorm),
    Pass("softplus", activations.softplus, exact=False, waits=True),
    Pass("gelu", activations.gelu, exact=False, waits=True),
    Pass("layernorm", normalization.by_variance, waits=True),
    Pass("groupnorm", normalization.groups, waits=True),
)


@dataclass(frozen=True)
class Outcome:
    """A repaired `model`, what was done, and what was not.

    `offered` are those that wait to be needed, `rejected` says which repairs were undone and why.
    `lstms` are the kernels (features, 4 units) of the fused layers by name.
    """

    model: Any
    repairs: tuple[Repair, ...] = ()
    offered: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    lstms: tuple[tuple[str, NDArray[np.float32]], ...] = ()


def repair(
    model: Any,
    allowed: frozenset[str],
    scheme: str,
    approximate: bool,
    samples: Sequence[Sequence[NDArray[Any]]],
    *,
    allow_lambda: bool = False,
) -> Outcome:
    """Make the repairs of `model` that are `allowed`; those that wait to be needed only if
    `approximate`. `samples` are flat inputs, in the model's order, with a batch of 1.

    Raises ModelError for a recurrent layer that is too long to be unrolled.
    """

    def run() -> list[list[NDArray[Any]]]:
        return run_on(model, samples)

    def run_openly() -> None:
        for sample in samples:
            _flat(model, *map(tf.convert_to_tensor, sample))

    def trace() -> None:
        _traced(model, samples[0])

    done: list[Repair] = []
    rejected: list[str] = []
    offered: list[str] = []
    lstms: list[tuple[str, NDArray[np.float32]]] = []
    if "unroll" in allowed:
        recurrent.refuse_long(Scene(model, scheme, run_openly, trace), "lstm" in allowed)
    before = run()
    if "float32" in allowed and (names := precision.half_layers(model)):
        original, model = model, precision.in_float32(model, allow_lambda)
        after = run()
        if why := _unequal(before, after, HALF_ROUNDING):
            rejected.append(f"float32: {why}")
            model = original
        else:
            what = "computed in float32, not float16"
            done.append(Repair("float32", what, tuple(names)))
            before = after
    for step in PASSES:
        if step.name not in allowed:
            continue
        found = step.find(Scene(model, scheme, run_openly, trace))
        if found is None:
            continue
        what, changes, names = found
        if step.waits and not approximate:
            offered.append(step.name)
            continue
        undo = apply(changes)
        after = run()
        if step.exact and (why := _unequal(before, after, ROUNDING)):
            undo()
            rejected.append(f"{step.name}: {why}")
            continue
        error = None if step.exact else _largest(before, after)
        done.append(Repair(step.name, what, tuple(dict.fromkeys(names)), error))
        if step.name == "lstm":
            lstms = [(c.layer.name, recurrent.kernel_of(c.layer)) for c in changes]
        before = after
    if "logits" in allowed and (found := outputs.logits(model)):
        what, changes, names = found
        undo = apply(changes)
        if why := _unequal(before, outputs.scores_of(changes, model, run()), ROUNDING):
            undo()
            rejected.append(f"logits: {why}")
        else:
            done.append(Repair("logits", what, tuple(names)))
    return Outcome(model, tuple(done), tuple(offered), tuple(rejected), tuple(lstms))


def run_on(model: Any, samples: Sequence[Sequence[NDArray[Any]]]) -> list[list[NDArray[Any]]]:
    """Flat outputs of each sample; layers that keep a state begin anew."""
    layers = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.RNN)]
    # Loops are slow unless they are traced.
    call = _traced(model, samples[0]) if layers and samples else partial(_flat, model)
    results = []
    for sample in samples:
        for layer in layers:
            if layer.stateful:
                layer.reset_states()
        results.append([np.asarray(o) for o in call(*sample)])
    return results


def _traced(model: Any, sample: Sequence[NDArray[Any]]) -> Any:
    specs = [tf.TensorSpec(value.shape, value.dtype) for value in sample]
    concrete = tf.function(partial(_flat, model), autograph=False).get_concrete_function(*specs)
    return lambda *tensors: concrete(*map(tf.convert_to_tensor, tensors))


def _flat(model: Any, *tensors: Any) -> list[Any]:
    made = keras.tree.flatten(model(packed(model, list(tensors)), training=False))
    return [tf.convert_to_tensor(output) for output in made]


def packed(model: Any, tensors: list[Any]) -> Any:
    """`tensors` as the model takes its inputs."""
    if isinstance(model, keras.Sequential):
        return tensors[0]
    return keras.tree.pack_sequence_as(model.input, tensors)


def _largest(before: list[list[NDArray[Any]]], after: list[list[NDArray[Any]]]) -> float:
    pairs = [(a, b) for x, y in zip(before, after, strict=True) for a, b in zip(x, y, strict=True)]
    return max((_difference(a, b) for a, b in pairs), default=0.0)


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _unequal(
    before: list[list[NDArray[Any]]], after: list[list[NDArray[Any]]], share: float
) -> str | None:
    """Why outputs are not the same but for rounding; None when they are."""
    for number, firsts in enumerate(zip(*before, strict=True)):
        seconds = [outputs[number] for outputs in after]
        large = max(float(np.abs(a.astype(np.float64)).max(initial=0.0)) for a in firsts)
        error = max(_difference(a, b) for a, b in zip(firsts, seconds, strict=True))
        if not error <= share * max(large, 1e-6):
            return (
                f"undone: output {number} of the repaired model differs by {error:.3g}, where the "
                f"largest value is {large:.3g}"
            )
    return None
