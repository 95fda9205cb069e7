"""Epochs in a TensorFlow process, a second at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.isolation import Worker
from edgeq.training.facts import Score, Trained

OPEN_LIMIT = 900.0
"""Seconds to open a model and its data; a Python file may download or decode."""

STEP_LIMIT = 900.0
"""Seconds for what takes one pass over some of the data: scores, importance, one batch."""

_SLICE = 0.5
"""Seconds of training between two looks at the clock."""

Progress = Callable[[str, int, int], None]


class Batches:
    """Counts batches for `progress`: `total` in this run."""

    def __init__(self, progress: Progress | None, step: str, total: int) -> None:
        self._progress, self._step = progress, step
        self._done, self.total = 0, total

    def add(self, count: int) -> None:
        self._done += count
        if self._progress:
            self._progress(self._step, min(self._done, self.total), self.total)


def train_epoch(worker: Worker, phase: int, epoch: int, batches: Batches) -> Score:
    """One epoch; the score of the held-out samples after it."""
    worker.call("begin_epoch", phase, epoch, time_limit=STEP_LIMIT)
    done, finished = 0, False
    while not finished:
        found: Trained = worker.call("train_for", _SLICE, time_limit=STEP_LIMIT)
        batches.add(found.batches - done)
        done, finished = found.batches, found.finished
    score: Score = worker.call("keep", time_limit=STEP_LIMIT)
    return score


def write_model(worker: Worker, output: Path) -> None:
    """Have `worker` write its model; `output` is replaced in one step."""
    final = output.resolve()
    temporary = final.with_name(f".{os.getpid()}.{final.name}")
    try:
        worker.call("write", str(temporary), time_limit=STEP_LIMIT)
        temporary.replace(final)
    except OSError as e:
        raise EdgeqError(
            f"{output}: cannot be written: {e.strerror or e}", hint="choose another -o"
        ) from e
    finally:
        temporary.unlink(missing_ok=True)
