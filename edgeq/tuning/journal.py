"""The journal of a search: one line of JSON for each finished trial, so that none is repeated.

The first line says what was searched. Each line is on the disk before the next trial is believed;
one that a killed process left half written is cut off.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeq.documents import decode, encode
from edgeq.errors import EdgeqError, UsageError
from edgeq.tuning.points import Candidate, Outcome

if sys.platform != "win32":
    import fcntl

NAME = "tuning.jsonl"
SCHEMA = "edgeq.tuning-journal"
VERSION = 1


class Journal:
    """The file NAME in `folder`, of the search that `key` identifies; `done` are its trials.

    Raises UsageError when another search left its journal there, unless `restart` asks for a new
    one, or when another edgeq is at work there.
    """

    def __init__(self, folder: Path, key: str, *, restart: bool = False) -> None:
        self.path = folder / NAME
        self.done: dict[Candidate, Outcome] = {}
        head = {"schema": SCHEMA, "version": VERSION, "search": key}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
        except OSError as e:
            raise EdgeqError(
                f"{self.path}: cannot be written: {e.strerror or e}", hint="choose another -o"
            ) from e
        try:
            self._lock()
            end = 0 if restart else self._read(head)
            self._file.truncate(end)
            if end == 0:
                self._append(head)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Keep a finished trial, surely."""
        self._append(encode(outcome))
        self.done[outcome.candidate] = outcome

    def _append(self, value: Any) -> None:
        try:
            self._file.write(json.dumps(value, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:
            raise EdgeqError(f"{self.path}: cannot be written: {e.strerror or e}") from e

    def _read(self, head: dict[str, Any]) -> int:
        """Take in what is there; where the last whole line ends."""
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        end = 0
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break
            try:
                value = json.loads(line)
            except ValueError as e:
                raise self._damage(number + 1) from e
            if number == 0:
                self._check(value, head)
            else:
                outcome = decode(value, Outcome, f"{self.path}, line {number + 1}", UsageError)
                self.done[outcome.candidate] = outcome
            end += len(line)
        return end

    def _check(self, found: Any, head: dict[str, Any]) -> None:
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise self._damage(1)
        if found != head:
            raise UsageError(
                f"{self.path}: the journal of another search (another model, data, target, option "
                "or version)",
                hint="choose another -o, or give --restart to begin anew and lose it",
            )

    def _damage(self, line: int) -> UsageError:
        return UsageError(
            f"{self.path}: line {line} is not of a journal of edgeq's",
            hint="choose another -o, or give --restart to begin anew and lose it",
        )

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise UsageError(
                f"{self.path}: another edgeq tune is at work in this folder",
                hint="wait for its end, or choose another -o",
            ) from e
