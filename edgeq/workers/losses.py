"""What a network is trained to do, found from its own loss, its output and the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError, ModelError

CLASSES, BINARY, NUMBERS = "classes", "binary", "numbers"


@dataclass(frozen=True)
class Task:
    """`kind` of answer: one of several classes (the last axis), yes or no, or numbers.

    `logits` says that the output is before the softmax or sigmoid; `loss` takes targets and
    outputs and gives one number; `words` is what a person calls it.
    """

    kind: str
    one_hot: bool
    logits: bool
    loss: Callable[[Any, Any], Any]
    words: str

    def right(self, targets: NDArray[Any], outputs: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which answers are right; None for numbers."""
        if self.kind == NUMBERS:
            return None
        if self.kind == BINARY:
            said = outputs > (0 if self.logits else 0.5)
            return np.asarray(said == (targets.reshape(outputs.shape) > 0.5))
        wanted = targets.argmax(-1) if self.one_hot else targets
        return np.asarray(outputs.argmax(-1) == wanted)


def find_task(
    asked: str | None, compiled: Any, targets: NDArray[Any], outputs: NDArray[Any], source: str
) -> tuple[Task, NDArray[Any]]:
    """The task, and `targets` in the shape that its loss takes.

    `asked` is one of edgeq.training.facts.LOSSES, `compiled` the model's own loss or None;
    `outputs` are the model's for some samples, which tell probabilities from logits. Raises
    DataError where targets and outputs do not go together.
    """
    if asked is not None and not asked.startswith("crossentropy"):
        kind, one_hot = NUMBERS, False
    else:
        kind, one_hot = _kind(targets, outputs, compiled if asked is None else None)
    if kind == NUMBERS:
        if targets.size == len(targets) and outputs.shape[1:] == (1,):
            targets = targets.reshape(-1, 1)
        if targets.shape[1:] != outputs.shape[1:]:
            raise _misfit(targets, outputs, source)
        targets = targets.astype(np.float32)
    elif kind == BINARY:
        targets = targets.reshape(len(targets), *outputs.shape[1:]).astype(np.float32)
        if not np.isin(targets, (0, 1)).all():
            raise DataError(
                f"{source}: labels from {targets.min():g} to {targets.max():g} for a model with "
                "one output",
                hint="its labels are 0 and 1; for regression, name them targets or give --loss mse",
            )
    elif not one_hot:
        targets = _class_numbers(targets, outputs, source)
    logits = kind != NUMBERS and are_logits(outputs, kind)
    if asked is not None:
        logits = asked == "crossentropy-logits"
        loss, words = _named(asked, kind, one_hot, logits)
    elif compiled is not None:
        if isinstance(compiled, (dict, list, tuple)):
            raise ModelError(
                "the model was compiled with several losses", hint="give one: --loss crossentropy"
            )
        loss = keras.losses.get(compiled)
        logits = bool(getattr(loss, "_fn_kwargs", {}).get("from_logits", logits))
        words = f"the model's own, {getattr(loss, 'name', getattr(loss, '__name__', 'loss'))}"
    else:
        name = {NUMBERS: "mse"}.get(kind, "crossentropy-logits" if logits else "crossentropy")
        loss, words = _named(name, kind, one_hot, logits)
    task = Task(kind, one_hot, logits, _mean(loss), words)
    try:
        value = float(task.loss(targets[: len(outputs)], outputs))
    except Exception as e:
        raise DataError(
            f"{source}: {words} does not take targets {list(targets.shape)} for outputs "
            f"{list(outputs.shape)}: {' '.join(str(e).split())[:200]}",
            hint="--loss names another",
        ) from e
    if not np.isfinite(value):
        raise DataError(
            f"the loss ({words}) of the untouched model is {value}",
            hint="--loss crossentropy-logits where the model has no softmax; --loss mse, mae, "
            "huber for numbers",
        )
    return task, targets


def _kind(targets: NDArray[Any], outputs: NDArray[Any], compiled: Any) -> tuple[str, bool]:
    """The kind of task, and whether its targets are one-hot."""
    units = outputs.shape[-1]
    loss = keras.losses.get(compiled) if isinstance(compiled, str) else compiled
    name = getattr(loss, "name", None) or getattr(loss, "__name__", "") or ""
    if loss is not None and not isinstance(loss, (dict, list, tuple)):
        if "crossentropy" not in name and not targets.dtype.kind == "i":
            return NUMBERS, False
        if "binary" in name:
            return BINARY, False
    same = targets.shape == (len(targets), *outputs.shape[1:])
    whole = targets.dtype.kind in "biu"
    if units == 1:
        return (BINARY if whole else NUMBERS), False
    if same and np.isin(targets, (0, 1)).all() and (targets.sum(-1) == 1).all():
        return CLASSES, True
    if whole or (not same and np.array_equal(targets, np.round(targets))):
        return CLASSES, False
    return NUMBERS, False


def _class_numbers(targets: NDArray[Any], outputs: NDArray[Any], source: str) -> NDArray[Any]:
    wanted = (len(targets), *outputs.shape[1:-1])
    if targets.shape == (*wanted, 1):
        targets = targets[..., 0]
    if targets.shape != wanted:
        raise _misfit(targets, outputs, source)
    units = outputs.shape[-1]
    if targets.min() < 0 or targets.max() >= units:
        raise DataError(
            f"{source}: labels from {targets.min():g} to {targets.max():g}, but the model has "
            f"{units} classes",
            hint=f"number the classes from 0 to {units - 1}",
        )
    return targets.astype(np.int64)


def _misfit(targets: NDArray[Any], outputs: NDArray[Any], source: str) -> DataError:
    return DataError(
        f"{source}: targets of shape {list(targets.shape)} for outputs of "
        f"{['samples', *outputs.shape[1:]]}".replace("'", ""),
        hint="labels are one class number for each sample, targets have the output's shape",
    )


def are_logits(outputs: NDArray[Any], kind: str) -> bool:
    """Whether a model's outputs for some samples are no probabilities."""
    if outputs.min() < 0 or outputs.max() > 1 + 1e-5:
        return True
    return kind == CLASSES and not np.allclose(outputs.sum(-1), 1, atol=1e-3)


def _named(name: str, kind: str, one_hot: bool, logits: bool) -> tuple[Any, str]:
    if name.startswith("crossentropy"):
        words = "cross-entropy of " + ("logits" if logits else "probabilities")
        if kind == BINARY:
            return keras.losses.BinaryCrossentropy(from_logits=logits), f"binary {words}"
        if one_hot:
            return keras.losses.CategoricalCrossentropy(from_logits=logits), words
        return keras.losses.SparseCategoricalCrossentropy(from_logits=logits), words
    made: dict[str, tuple[Any, str]] = {
        "mse": (keras.losses.MeanSquaredError(), "mean squared error"),
        "mae": (keras.losses.MeanAbsoluteError(), "mean absolute error"),
        "huber": (keras.losses.Huber(), "Huber loss"),
    }
    return made[name]


def _mean(loss: Any) -> Callable[[Any, Any], Any]:
    return lambda targets, outputs: keras.ops.mean(loss(targets, outputs))
