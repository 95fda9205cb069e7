"""A small network taught by a large one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeq.errors import UsageError
from edgeq.models import tensorflow_session
from edgeq.training.checkpoints import begun, checkpoints_of
from edgeq.training.facts import USUAL, Schedule, Score, Size
from edgeq.training.loop import (
    OPEN_LIMIT,
    STEP_LIMIT,
    Batches,
    Progress,
    train_epoch,
    write_model,
)
from edgeq.training.sources import data_file, keras_file, output_file

DISTILLER = "edgeq.workers.distillation:Distiller"

TEMPERATURE = 4.0
ALPHA = 0.7


@dataclass(frozen=True)
class DistillationOpened:
    """Both models and the data, as the TensorFlow process has opened them."""

    teacher: Size
    student: Size
    data: str
    loss: str
    training_samples: int
    held_out: int
    batches: int


@dataclass(frozen=True)
class Distilled:
    """What a student learnt. Accuracies are shares of 1, of `held_out` samples."""

    teacher: str
    student: str
    output: str
    temperature: float
    alpha: float
    teacher_size: Size
    student_size: Size
    teacher_score: Score
    score_before: Score
    score_after: Score
    loss: str
    training_samples: int
    held_out: int


def distill(
    teacher: str | Path,
    student: str | Path,
    data: str,
    output: str | Path,
    *,
    temperature: float = TEMPERATURE,
    alpha: float = ALPHA,
    schedule: Schedule = USUAL,
    resume: bool = False,
    notice: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Distilled:
    """Train the Keras model at `student` to answer as the one at `teacher`; write it to `output`.

    The loss is alpha * temperature^2 * (cross-entropy with the teacher's softened classes) +
    (1 - alpha) * (the loss on the labels): Hinton et al., Distilling the Knowledge in a Neural
    Network (2015), section 2. For numbers in place of classes the first part is the mean squared
    difference from the teacher. The weights of the best epoch on the samples held out are kept.

    Raises ModelError, DataError, UsageError.
    """
    if not 0 <= alpha <= 1:
        raise UsageError(f"--alpha {alpha:g} is not from 0 to 1", hint="0.7 is usual")
    if not 0.1 <= temperature <= 100:
        raise UsageError(f"--temperature {temperature:g} is not from 0.1 to 100", hint="2 to 8")
    files = keras_file(Path(teacher)), keras_file(Path(student))
    place = output_file(str(output))
    data_path, function = data_file(data)
    arguments: list[Any] = [v for f in files for v in (str(f.path), f.form)]
    with tensorflow_session(DISTILLER, *arguments, temperature, alpha, schedule) as worker:
        opened: DistillationOpened = worker.call(
            "open", str(data_path), function, time_limit=OPEN_LIMIT
        )
        run = {
            "teacher": files[0].sha256,
            "student": files[1].sha256,
            "data": opened.data,
            "options": {
                "command": "distill",
                "temperature": temperature,
                "alpha": alpha,
                **asdict(schedule),
            },
        }
        checkpoints = checkpoints_of(place, run)
        state = begun(checkpoints, resume)
        if notice and resume:
            notice(
                "nothing to resume: starting from the beginning"
                if state is None
                else f"resuming after epoch {state['epoch']} of {schedule.epochs}"
            )
        taught: Score = worker.call("evaluate_teacher", time_limit=STEP_LIMIT)
        before: Score = worker.call("evaluate", time_limit=STEP_LIMIT)
        if state is None:
            state = {"epoch": 0}
            worker.call("begin", schedule.epochs, True, time_limit=STEP_LIMIT)
            worker.call("keep", time_limit=STEP_LIMIT)
        else:
            saved = str(checkpoints.place(str(state["at"])))
            worker.call("load", saved, schedule.epochs, True, time_limit=STEP_LIMIT)
        left = (schedule.epochs - int(state["epoch"])) * opened.batches
        batches = Batches(progress, "Distilling", max(1, left))
        for epoch in range(int(state["epoch"]), schedule.epochs):
            train_epoch(worker, 0, epoch, batches)
            checkpoints.save(worker, {"epoch": epoch + 1}, None)
        after: Score = worker.call("back_to_best", time_limit=STEP_LIMIT)
        write_model(worker, place)
    checkpoints.remove()
    return Distilled(
        files[0].path.name,
        files[1].path.name,
        str(place),
        temperature,
        alpha,
        opened.teacher,
        opened.student,
        taught,
        before,
        after,
        opened.loss,
        opened.training_samples,
        opened.held_out,
    )
