"""Training of a Keras model a second at a time, so that who asked for it stays in charge."""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.errors import DataError, EdgeqError, ModelError
from edgeq.training.facts import Schedule, Score, Trained
from edgeq.workers.losses import Task, find_task
from edgeq.workers.tensorflow import load_keras
from edgeq.workers.training_data import Arrays, load

_PROBED = 64
"""Samples whose outputs tell probabilities from logits."""

_MODEL, _STATE = "model.keras", "state.npz"

LossOf = Callable[[Any, Any, Any], Any]


class Trainer:
    """A model, its data in two parts, and an optimizer (Adam)."""

    def __init__(self, schedule: Schedule) -> None:
        keras.utils.set_random_seed(schedule.seed)
        tf.config.experimental.enable_op_determinism()
        self.schedule = schedule
        self.model: Any = None
        self.task: Task
        self.compiled: Any = None
        self.arrays: Arrays
        self.targets: NDArray[Any]
        self._train: NDArray[np.int64]
        self._held: NDArray[np.int64]
        self._loss_of: LossOf
        self._optimizer: Any = None
        self._step: Any = None
        self._infer: Any = None
        self._best: tuple[Score, list[NDArray[Any]]] | None = None
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._done = 0
        self._sum = 0.0
        self._total = 0
        self._cosine = False

    # --- Opening ---

    def load_data(self, path: str, function: str | None, model: Any) -> None:
        """Read the training set, divide it, and find out what the model is to learn from it."""
        if len(model.outputs) != 1:
            raise ModelError(
                f"the model has {len(model.outputs)} outputs; it is trained on one",
                hint="--dead-only needs no training; else train it with your own script",
            )
        self.arrays = load(path, function, model.inputs)
        count = len(self.arrays.targets)
        order = np.random.default_rng(self.schedule.seed).permutation(count)
        held = max(1, round(count * self.schedule.held_out))
        self._held, self._train = np.sort(order[:held]), np.sort(order[held:])
        probe = [a[:_PROBED] for a in self.arrays.inputs]
        outputs = np.asarray(model(_packed(probe), training=False))
        self.task, self.targets = find_task(
            self.schedule.loss, self.compiled, self.arrays.targets, outputs, Path(path).name
        )
        self._loss_of = lambda x, y, out: self.task.loss(y, out)

    def task_like(self, outputs: NDArray[Any], compiled: Any) -> Task:
        """The task of another model, with these `outputs`, on the same data."""
        return find_task(None, compiled, self.arrays.targets, outputs, "the training set")[0]

    @property
    def batches(self) -> int:
        return math.ceil(len(self._train) / self.schedule.batch_size)

    @property
    def counts(self) -> tuple[int, int]:
        """Samples trained on, and held out."""
        return len(self._train), len(self._held)

    def use_loss(self, loss_of: LossOf) -> None:
        """Train on `loss_of(inputs, targets, outputs)` in place of the task's own loss."""
        self._loss_of = loss_of

    def use(self, model: Any) -> None:
        self.model = model
        self._infer = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    # --- Training ---

    def begin(self, epochs: int, cosine: bool) -> None:
        """A phase of `epochs`, with a new optimizer. `cosine`: its rate falls towards 0."""
        self._optimizer = keras.optimizers.Adam(self.schedule.learning_rate)
        self._optimizer.build(self.model.trainable_variables)
        self._total, self._cosine = epochs * self.batches, cosine
        self._best = None
        self._trace()

    def keep(self) -> Score:
        """The score of the held-out samples now; the weights are kept if none did better."""
        score = self.evaluate()
        if self._best is None or _is_better(score, self._best[0]):
            self._best = score, self.model.get_weights()
        return score

    def back_to_best(self) -> Score:
        """Take the weights of the best keep() of this phase."""
        assert self._best is not None
        self.model.set_weights(self._best[1])
        return self._best[0]

    def begin_epoch(self, phase: int, epoch: int) -> None:
        generator = np.random.default_rng([self.schedule.seed, phase, epoch])
        self._order = generator.permutation(self._train)
        self._done, self._sum = 0, 0.0

    def train_for(self, seconds: float) -> Trained:
        """Some batches of the epoch; stops at its end, or after the first one past `seconds`."""
        end = time.monotonic() + seconds
        size = self.schedule.batch_size
        while self._done < self.batches:
            rows = self._order[self._done * size : (self._done + 1) * size]
            if self._cosine:
                share = int(self._optimizer.iterations) / max(1, self._total)
                rate = self.schedule.learning_rate * (1 + math.cos(math.pi * min(1, share))) / 2
                self._optimizer.learning_rate = rate
            x, y = self.rows(rows)
            loss = float(self._step(x, y))
            if not math.isfinite(loss):
                raise EdgeqError(
                    f"the loss became {loss} in training, at batch {self._done + 1}",
                    hint=f"a lower --learning-rate than {self.schedule.learning_rate:g}, or data "
                    "scaled as in the model's own training",
                )
            self._sum += loss
            self._done += 1
            if time.monotonic() > end:
                break
        return Trained(self._done, self._sum / max(1, self._done), self._done == self.batches)

    def rows(self, rows: NDArray[np.int64]) -> tuple[Any, Any]:
        return _packed([a[rows] for a in self.arrays.inputs]), self.targets[rows]

    def training_rows(self, batch: int) -> NDArray[np.int64]:
        """The samples of a batch in an order that does not change."""
        generator = np.random.default_rng([self.schedule.seed, 2**31])
        size = self.schedule.batch_size
        return generator.permutation(self._train)[batch * size : (batch + 1) * size]

    def evaluate(self, model: Any = None, task: Task | None = None) -> Score:
        """Loss and accuracy of the model, or of another one, on the held-out samples."""
        infer = self._infer if model is None else lambda x: model(x, training=False)
        task = task or self.task
        losses, right, answers = 0.0, 0, 0
        for start in range(0, len(self._held), 256):
            rows = self._held[start : start + 256]
            x, y = self.rows(rows)
            outputs = np.asarray(infer(x))
            losses += float(task.loss(y, outputs)) * len(rows)
            correct = task.right(y, outputs)
            if correct is not None:
                right, answers = right + int(correct.sum()), answers + correct.size
        return Score(losses / len(self._held), right / answers if answers else None)

    def _trace(self) -> None:
        model, optimizer = self.model, self._optimizer

        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                outputs = model(x, training=True)
                loss = self._loss_of(x, y, outputs)
                total = loss + sum(model.losses)
            variables = model.trainable_variables
            gradients = tape.gradient(total, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return loss

        self._step = tf.function(step, reduce_retracing=True)

    # --- Files ---

    def save(self, folder: str) -> None:
        """Everything that training goes on from, in `folder`, which exists."""
        place = Path(folder)
        save_model(self.model, place / _MODEL)
        state = {f"optimizer{i}": np.asarray(v) for i, v in enumerate(self._variables())}
        if self._best is not None:
            score, weights = self._best
            nothing = np.nan if score.accuracy is None else score.accuracy
            state["score"] = np.array([score.loss, nothing])
            state |= {f"best{i}": w for i, w in enumerate(weights)}
        np.savez(place / _STATE, **state)  # type: ignore[arg-type]

    def load(self, folder: str, epochs: int, cosine: bool) -> None:
        """Go on from what save() wrote, in a phase of begin(epochs, cosine)."""
        place = Path(folder)
        self.use(load_keras(place / _MODEL, "keras"))
        self.begin(epochs, cosine)
        with np.load(place / _STATE) as state:
            for i, variable in enumerate(self._variables()):
                variable.assign(state[f"optimizer{i}"])
            if "score" in state:
                loss, accuracy = (float(v) for v in state["score"])
                weights = [state[f"best{i}"] for i in range(len(self.model.get_weights()))]
                self._best = Score(loss, None if math.isnan(accuracy) else accuracy), weights

    def write(self, path: str) -> None:
        """The model as a .keras file, compiled with the loss that it came with."""
        if self.compiled is not None:
            self.model.compile("adam", loss=self.compiled)
        save_model(self.model, Path(path))

    def _variables(self) -> list[Any]:
        return [] if self._optimizer is None else list(self._optimizer.variables)


def open_model(path: str, form: str) -> tuple[Any, Any]:
    """The Keras model at `path`, and the loss that it was compiled with, or None."""
    try:
        model = load_keras(Path(path), form, compiled=True)
    except ModelError:
        model = load_keras(Path(path), form)  # A loss or metric of one's own is no hindrance.
    return model, getattr(model, "loss", None) if getattr(model, "compiled", False) else None


def save_model(model: Any, path: Path) -> None:
    """Save as .keras, without the date, so that the same model is the same bytes."""
    try:
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        facts = json.loads(files["metadata.json"])
        files["metadata.json"] = json.dumps({**facts, "date_saved": ""}).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    except OSError as e:
        raise DataError(
            f"{path}: cannot be written: {e.strerror or e}", hint="check the disk"
        ) from e


def _packed(arrays: list[Any]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


def _is_better(score: Score, best: Score) -> bool:
    if score.accuracy is not None and best.accuracy is not None:
        return (score.accuracy, -score.loss) > (best.accuracy, -best.loss)
    return score.loss < best.loss
