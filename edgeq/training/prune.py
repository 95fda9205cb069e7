"""Pruning of channels, step by step with fine-tuning between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError, UsageError
from edgeq.isolation import Worker
from edgeq.models import tensorflow_session
from edgeq.training.checkpoints import Checkpoints, begun, checkpoints_of
from edgeq.training.facts import USUAL, Opened, Schedule, Score, Size
from edgeq.training.goals import NAMES, Goal
from edgeq.training.loop import (
    OPEN_LIMIT,
    STEP_LIMIT,
    Batches,
    Progress,
    train_epoch,
    write_model,
)
from edgeq.training.sources import data_file, keras_file, output_file

PRUNER = "edgeq.workers.pruning:Pruner"


@dataclass(frozen=True)
class PrunedStep:
    """The network after step `step` and its fine-tuning, on the samples held out."""

    step: int
    parameters: int
    macs: int
    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Pruned:
    """What pruning made of a model.

    `dead` classes of channels went first, at no loss. `channels` are what each convolution and
    dense layer writes, before and after. `stopped` says that the goal was not reached because the
    next step lost too much accuracy. Accuracies are shares of 1, of `held_out` samples.
    """

    model: str
    output: str
    measure: str
    goal: int
    before: Size
    after: Size
    score_before: Score
    score_after: Score
    loss: str
    training_samples: int
    held_out: int
    dead: int
    channels: dict[str, tuple[int, int]]
    steps: tuple[PrunedStep, ...]
    stopped: bool


@dataclass(frozen=True)
class WithoutDead:
    """A model without its dead channels.

    `samples` were run through it and the original: the largest difference of any output was
    `float64_difference` in float64 and `float32_difference` in float32.
    """

    model: str
    output: str
    dead: int
    before: Size
    after: Size
    channels: dict[str, tuple[int, int]]
    samples: int
    float64_difference: float
    float32_difference: float


def prune(
    source: str | Path,
    data: str,
    output: str | Path,
    goal: Goal,
    *,
    steps: int = 5,
    step_epochs: int = 2,
    schedule: Schedule = USUAL,
    max_accuracy_drop: float | None = None,
    resume: bool = False,
    notice: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """Remove channels of the Keras model at `source` until it meets `goal`; write it to `output`.

    In `steps` steps, each of the same ratio, the channels that matter least for the loss are
    removed (Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019) and
    `step_epochs` of fine-tuning follow; `schedule.epochs` end it. With `max_accuracy_drop`, in
    points, it stops before a step that loses more on the samples held out. `data` is an .npz or
    file.py:function. A state is kept beside `output` after each epoch; `resume` goes on from it.

    Raises ModelError, DataError, UsageError; EdgeqError when even the first step loses too much.
    """
    file, place = keras_file(Path(source)), output_file(str(output))
    data_path, function = data_file(data)
    with tensorflow_session(PRUNER, str(file.path), file.form, schedule) as worker:
        opened: Opened = worker.call("open", str(data_path), function, time_limit=OPEN_LIMIT)
        wanted = goal.of(opened.size)
        _check(worker, opened, goal.measure, wanted)
        if max_accuracy_drop is not None:
            _refuse_regression(worker)
        run = {
            "model": file.sha256,
            "data": opened.data,
            "options": {
                "command": "prune",
                "goal": round(wanted, 3),
                "measure": goal.measure,
                "steps": steps,
                "step_epochs": step_epochs,
                "max_accuracy_drop": max_accuracy_drop,
                **asdict(schedule),
            },
        }
        job = _Job(
            worker,
            checkpoints_of(place, run),
            opened,
            goal.measure,
            wanted,
            steps,
            step_epochs,
            schedule.epochs,
            max_accuracy_drop,
        )
        state = begun(job.checkpoints, resume)
        if notice and resume:
            notice(_where(state, steps))
        before: dict[str, int] = worker.call("channels", time_limit=STEP_LIMIT)
        state = job.run(state, progress)
        after: dict[str, int] = worker.call("channels", time_limit=STEP_LIMIT)
        size: Size = worker.call("size", time_limit=STEP_LIMIT)
        score: Score = worker.call("evaluate", time_limit=STEP_LIMIT)
        write_model(worker, place)
    job.checkpoints.remove()
    return Pruned(
        file.path.name,
        str(place),
        goal.measure,
        int(wanted),
        opened.size,
        size,
        Score(**state["before"]),
        score,
        opened.loss,
        opened.training_samples,
        opened.held_out,
        int(state["dead"]),
        {name: (count, after.get(name, 0)) for name, count in before.items()},
        tuple(PrunedStep(**s) for s in state["steps"]),
        bool(state["stopped"]),
    )


def remove_dead(
    source: str | Path, output: str | Path, data: str | None = None, seed: int = 0
) -> WithoutDead:
    """Write the Keras model at `source` without channels that cannot matter; no training.

    Those are the channels that nobody reads, or that have the same value for every input, which
    the biases of the layers that read them then hold. The outputs are compared on random samples
    and on those of `data`. Raises ModelError, and VerificationError should they differ.
    """
    file, place = keras_file(Path(source)), output_file(str(output))
    found = data_file(data) if data is not None else (None, None)
    data_path = str(found[0]) if found[0] else None
    with tensorflow_session(PRUNER, str(file.path), file.form, Schedule(seed=seed)) as worker:
        before: Size = worker.call("size", time_limit=OPEN_LIMIT)
        channels: dict[str, int] = worker.call("channels", time_limit=STEP_LIMIT)
        dead: int = worker.call("remove_dead", time_limit=STEP_LIMIT)
        samples, exact, rounded = worker.call(
            "prove_equal", data_path, found[1], time_limit=OPEN_LIMIT
        )
        after: Size = worker.call("size", time_limit=STEP_LIMIT)
        left: dict[str, int] = worker.call("channels", time_limit=STEP_LIMIT)
        write_model(worker, place)
    return WithoutDead(
        file.path.name,
        str(place),
        dead,
        before,
        after,
        {name: (count, left.get(name, 0)) for name, count in channels.items()},
        samples,
        exact,
        rounded,
    )


@dataclass(frozen=True)
class _Job:
    """A run of steps 1 to `steps` and a last phase of fine-tuning, over `worker`'s model."""

    worker: Worker
    checkpoints: Checkpoints
    opened: Opened
    measure: str
    goal: float
    steps: int
    step_epochs: int
    last_epochs: int
    max_drop: float | None

    def run(self, state: dict[str, Any] | None, progress: Progress | None) -> dict[str, Any]:
        """All that is left to do from `state` on; the state at its end."""
        if state is None:
            dead = self.worker.call("remove_dead", time_limit=STEP_LIMIT)
            before: Score = self.worker.call("evaluate", time_limit=STEP_LIMIT)
            state = {
                "phase": 1,
                "epoch": 0,
                "dead": dead,
                "before": asdict(before),
                "steps": [],
                "stopped": False,
            }
        else:
            place = self.checkpoints.place(str(state["at"]))
            phase = int(state["phase"])
            arguments = str(place), self._epochs(phase), phase > self.steps
            self.worker.call("load", *arguments, time_limit=STEP_LIMIT)
        batches = Batches(progress, "Pruning and fine-tuning", self._left(state))
        while state["phase"] <= self.steps + 1 and not state["stopped"]:
            state = self._phase(state, batches)
        return state

    def _epochs(self, phase: int) -> int:
        return self.step_epochs if phase <= self.steps else self.last_epochs

    def _left(self, state: dict[str, Any]) -> int:
        phases = range(int(state["phase"]), self.steps + 2)
        epochs = sum(self._epochs(p) for p in phases) - int(state["epoch"])
        return max(1, epochs * self.opened.batches)

    def _phase(self, state: dict[str, Any], batches: Batches) -> dict[str, Any]:
        phase, epochs = int(state["phase"]), self._epochs(int(state["phase"]))
        is_last = phase > self.steps
        if state["epoch"] == 0:
            if not is_last:
                start = self.opened.size.of(self.measure)
                goal = start * (self.goal / start) ** (phase / self.steps)
                self.worker.call("prune_to", self.measure, goal, time_limit=STEP_LIMIT)
            self.worker.call("begin", epochs, is_last, time_limit=STEP_LIMIT)
            self.worker.call("keep", time_limit=STEP_LIMIT)
        state = self._train(state, phase, epochs, batches)
        score: Score = self.worker.call("back_to_best", time_limit=STEP_LIMIT)
        if self._lost_too_much(state, score):
            score = self._recover(phase, batches)
        if self._lost_too_much(state, score):
            return self._stop(state, score)
        size: Size = self.worker.call("size", time_limit=STEP_LIMIT)
        done = list(state["steps"])
        if not is_last:
            step = PrunedStep(phase, size.parameters, size.macs or 0, score.loss, score.accuracy)
            done.append(asdict(step))
        state = {**state, "phase": phase + 1, "epoch": 0, "steps": done}
        name = self.checkpoints.save(self.worker, _plain(state), None)
        return {**state, "at": name, "good": name}

    def _train(
        self, state: dict[str, Any], phase: int, epochs: int, batches: Batches
    ) -> dict[str, Any]:
        for epoch in range(int(state["epoch"]), epochs):
            train_epoch(self.worker, phase, epoch, batches)
            state = {**state, "epoch": epoch + 1}
            good = state.get("good")
            name = self.checkpoints.save(self.worker, _plain(state), good)
            state = {**state, "at": name}
        return state

    def _lost_too_much(self, state: dict[str, Any], score: Score) -> bool:
        before = state["before"]["accuracy"]
        if self.max_drop is None or before is None or score.accuracy is None:
            return False
        return bool(100 * (before - score.accuracy) > self.max_drop + 1e-9)

    def _recover(self, phase: int, batches: Batches) -> Score:
        """Fine-tune as long as at the end before a step is given up."""
        batches.total += self.last_epochs * self.opened.batches
        self.worker.call("begin", self.last_epochs, True, time_limit=STEP_LIMIT)
        self.worker.call("keep", time_limit=STEP_LIMIT)
        for epoch in range(self.last_epochs):
            train_epoch(self.worker, phase, 1000 + epoch, batches)
        score: Score = self.worker.call("back_to_best", time_limit=STEP_LIMIT)
        return score

    def _stop(self, state: dict[str, Any], score: Score) -> dict[str, Any]:
        good = state.get("good")
        if good is None:
            assert score.accuracy is not None
            lost = 100 * (state["before"]["accuracy"] - score.accuracy)
            self.checkpoints.remove()
            raise EdgeqError(
                f"the first step alone loses {lost:.2f} points of accuracy, more than "
                f"{self.max_drop:g}",
                hint="more --steps or --epochs, more data, or a larger --max-accuracy-drop",
            )
        place = str(self.checkpoints.place(str(good)))
        self.worker.call("load", place, self.step_epochs, False, time_limit=STEP_LIMIT)
        return {**state, "stopped": True}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in ("at", "good", "schema", "run")}


def _where(state: dict[str, Any] | None, steps: int) -> str:
    if state is None:
        return "nothing to resume: starting from the beginning"
    if state["phase"] > steps:
        return f"resuming in the last fine-tuning, after epoch {state['epoch']}"
    return f"resuming in step {state['phase']} of {steps}, after epoch {state['epoch']}"


def _check(worker: Worker, opened: Opened, measure: str, goal: float) -> None:
    if opened.size.macs is None:
        raise UsageError(
            "the model's input has no fixed shape, so its MACs are not known",
            hint="save it with keras.Input(shape=...) of numbers",
        )
    now = opened.size.of(measure)
    least: int = worker.call("smallest", measure, time_limit=STEP_LIMIT)
    what = NAMES[measure]
    if goal >= now:
        raise UsageError(
            f"the model has {now:,} {what} already, no more than the {goal:,.0f} asked for",
            hint="give a smaller target; --dead-only removes what has no effect",
        )
    if goal < least:
        raise UsageError(
            f"{goal:,.0f} {what} is not possible: with one channel in each layer that may lose "
            f"some, {least:,} are left",
            hint="give a larger target, or train a smaller network and distill into it: "
            "edgeq distill",
        )


def _refuse_regression(worker: Worker) -> None:
    score: Score = worker.call("evaluate", time_limit=STEP_LIMIT)
    if score.accuracy is None:
        raise UsageError(
            "--max-accuracy-drop is for classes, and this model learns numbers",
            hint="leave it out; the loss before and after is shown",
        )
