"""A training run on disk, so that it goes on after an end of any kind.

The folder `NAME.checkpoints` beside NAME.keras has a numbered folder for each state that is still
needed, and state.json, replaced in one step, that says which that is and whose run it is.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.documents import read_json, to_json, write_text
from edgeq.errors import EdgeqError, UsageError
from edgeq.isolation import Worker

SCHEMA = "edgeq.training"
SAVE_LIMIT = 600.0

_STATE = "state.json"


@dataclass(frozen=True)
class Checkpoints:
    """Those of the run that `run` identifies: its model, data and options."""

    folder: Path
    run: Mapping[str, Any]

    def found(self) -> dict[str, Any] | None:
        """The state that the run was left in; None when it was not begun.

        Raises UsageError when what is there is another run's.
        """
        path = self.folder / _STATE
        if not path.exists():
            return None
        state: Any = read_json(path, EdgeqError, f"delete {self.folder} and start again")
        saved = state.get("run") if isinstance(state, dict) else None
        if not isinstance(saved, dict) or state.get("schema") != SCHEMA:
            raise UsageError(
                f"{path}: no state of edgeq's", hint=f"delete {self.folder} and start again"
            )
        other = [k for k in sorted({*saved, *self.run}) if saved.get(k) != self.run.get(k)]
        if other:
            raise UsageError(
                f"{self.folder} is of a run with another {' and '.join(other)}",
                hint=f"give what that run was given, or delete {self.folder} and start again",
            )
        return dict(state)

    def place(self, name: str) -> Path:
        return self.folder / name

    def save(self, worker: Worker, state: Mapping[str, Any], kept: str | None) -> str:
        """Have `worker` save what it has; the name of it. All others but `kept` are deleted."""
        try:
            self.folder.mkdir(exist_ok=True)
            numbers = [int(p.name) for p in self.folder.iterdir() if p.name.isdigit()]
            name = f"{max(numbers, default=0) + 1:04d}"
            new = self.folder / f"{name}.new"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            worker.call("save", str(new), time_limit=SAVE_LIMIT)
            new.rename(self.folder / name)
        except OSError as e:
            raise EdgeqError(
                f"{self.folder}: cannot be written: {e.strerror or e}",
                hint="free some space, or choose another -o",
            ) from e
        document = {"schema": SCHEMA, "run": dict(self.run), "at": name, "good": kept, **state}
        write_text(self.folder / _STATE, to_json(document))
        for other in self.folder.iterdir():
            if other.is_dir() and other.name not in (name, document["good"]):
                shutil.rmtree(other, ignore_errors=True)
        return name

    def remove(self) -> None:
        """The run is over."""
        with contextlib.suppress(OSError):
            (self.folder / _STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def checkpoints_of(output: Path, run: Mapping[str, Any]) -> Checkpoints:
    return Checkpoints(output.with_name(f"{output.stem}.checkpoints"), run)


def begun(checkpoints: Checkpoints, resume: bool) -> dict[str, Any] | None:
    """The state to go on from. Raises UsageError for an unfinished run that is not to go on."""
    if not resume and (checkpoints.folder / _STATE).exists():
        raise UsageError(
            f"{checkpoints.folder}: an unfinished run is there",
            hint="--resume goes on with it; delete that folder to start again",
        )
    return checkpoints.found()
