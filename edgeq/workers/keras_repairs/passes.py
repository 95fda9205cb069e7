"""Which passes there are, in their order, and making them one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
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
    """`find` has what to change. An `exact` one keeps the function; others wait to be needed."""

    name: str
    find: Callable[[Scene], Found | None]
    exact: bool = True


PASSES = (
    Pass("nearest-resize", shapes.nearest_resize),
    Pass("embedding", shapes.embedding),
    Pass("argmax", shapes.argmax),
    Pass("attention", attention.causal),
    Pass("lstm", recurrent.fused),
    Pass("unroll", recurrent.unrolled),
    Pass("selu", activations.selu),
    Pass("exponential", activations.exponential),
    Pass("softplus", activations.softplus, exact=False),
    Pass("gelu", activations.gelu, exact=False),
    Pass("layernorm", normalization.layernorm, exact=False),
    Pass("groupnorm", normalization.groupnorm, exact=False),
)


@dataclass(frozen=True)
class Outcome:
    """A repaired `model`, what was done, and what was not.

    `offered` are approximations that could be made, `rejected` says which repairs were undone and
    why. `lstms` are the kernels (features, 4 units) of the fused layers by name.
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
    """Make the repairs of `model` that are `allowed`; those that change the function only if
    `approximate`. `samples` are flat inputs, in the model's order, with a batch of 1.

    Raises ConversionError for a recurrent layer that is too long to be unrolled.
    """

    def run() -> list[list[NDArray[Any]]]:
        return run_on(model, samples)

    done: list[Repair] = []
    rejected: list[str] = []
    offered: list[str] = []
    lstms: list[tuple[str, NDArray[np.float32]]] = []
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
        found = step.find(Scene(model, scheme, run))
        if found is None:
            continue
        what, changes, names = found
        if not step.exact and not approximate:
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
    recurrent_layers = [la for la in layers_of(model) if getattr(la, "stateful", False)]
    results = []
    for sample in samples:
        for layer in recurrent_layers:
            if isinstance(layer, keras.layers.RNN):
                layer.reset_states()
        made = model(packed(model, list(sample)), training=False)
        results.append(
            [np.asarray(keras.ops.convert_to_numpy(o)) for o in keras.tree.flatten(made)]
        )
    return results


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
