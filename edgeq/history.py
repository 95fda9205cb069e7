"""Results that are kept: a folder of JSON files, one small file and one results file an entry.

The small file, TIME-ID.json, has what lists and plots show, so that a thousand are read in a
moment; TIME-ID.results.json beside it is the results file as edgeq.results writes it, samples
and all. Both are written once and never changed, so the folder can be committed or merged.
"""

from __future__ import annotations

import datetime
import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgeq import documents
from edgeq.errors import EdgeqError, MeasurementError, UsageError
from edgeq.measurement import Measurement, Results
from edgeq.results import read_results, to_json

SCHEMA = "edgeq.history"
SCHEMA_VERSION = 1
FOLDER = "history"
"""Its name, beside edgeq.toml."""

GIT_LIMIT = 10.0
"""Seconds that git may take to say where it is."""

_RESULTS = ".results.json"
_STARTS = 4
"""Characters of an id or a commit that name it, at least."""


@dataclass(frozen=True)
class Row:
    """One measurement in short; `median`, `low` and `high` in ticks of `unit`."""

    model: str
    scheme: str
    target: str
    engine: str
    unit: str
    median: float
    runs: int
    valid: bool
    tick_hz: float | None = None
    low: float | None = None
    high: float | None = None
    device: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What is compared with one another over time."""
        return self.model, self.scheme, self.target, self.engine, self.unit


@dataclass(frozen=True)
class Entry:
    """Results of one time. `time` is UTC as ISO 8601 has it, `commit` git's, with "+" behind it
    where files had been changed since; `sha256` is the results file's."""

    id: str
    time: str
    sha256: str
    rows: tuple[Row, ...]
    commit: str | None = None
    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION

    @property
    def stem(self) -> str:
        return f"{self.time.replace('-', '').replace(':', '')}-{self.id}"


def save(
    folder: Path,
    results: Results,
    *,
    commit: str | None = None,
    time: datetime.datetime | None = None,
) -> Entry:
    """Keep `results` in `folder`, which is made where it is not there. Raises EdgeqError."""
    text = to_json(results)
    digest = hashlib.sha256(text.encode()).hexdigest()
    moment = (time or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    name = hashlib.sha256(f"{stamp} {commit} {digest}".encode()).hexdigest()[:10]
    entry = Entry(name, stamp, digest, tuple(map(_row, results.measurements)), commit)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise EdgeqError(f"{folder}: {e.strerror or e}", hint="--history names another") from e
    documents.write_text(folder / f"{entry.stem}{_RESULTS}", text)
    documents.write_text(folder / f"{entry.stem}.json", documents.to_json(documents.encode(entry)))
    return entry


def entries(folder: Path) -> list[Entry]:
    """All that `folder` keeps, oldest first; nothing where it is not there.

    Raises MeasurementError for a file in it that is none of edgeq's.
    """
    if not folder.is_dir():
        return []
    files = [f for f in sorted(folder.glob("*.json")) if not f.name.endswith(_RESULTS)]
    return sorted((_read(file) for file in files), key=lambda e: (e.time, e.id))


def find(kept: Sequence[Entry], word: str) -> Entry:
    """The entry called `word`: the beginning of its id or commit (the newest of that), or
    "last", "last~1" for the one before, and so on. Raises UsageError."""
    back = word.removeprefix("last").removeprefix("~") or "0"
    if word.startswith("last") and back.isdecimal() and int(back) < len(kept):
        return kept[-1 - int(back)]
    if len(word) >= _STARTS:
        for entry in reversed(kept):
            if entry.id.startswith(word) or (entry.commit or "").startswith(word):
                return entry
    raise UsageError(
        f"no result is called {word!r:.60}",
        hint=f"'edgeq history' lists {len(kept)}; the beginning of an id or commit, last, last~1",
    )


def load(folder: Path, entry: Entry) -> Results:
    """The results of `entry`. Raises MeasurementError when the file was changed."""
    path = folder / f"{entry.stem}{_RESULTS}"
    text = documents.read_text(path, MeasurementError)
    if hashlib.sha256(text.encode()).hexdigest() != entry.sha256:
        raise MeasurementError(
            f"{path}: changed since it was kept (its SHA-256 differs)",
            hint="restore it, or remove both files of this entry",
        )
    return read_results(path)


def changes(kept: Sequence[Entry]) -> list[tuple[Entry, Row, float | None]]:
    """Every row, oldest first, with its median against that of the same thing before (a share)."""
    before: dict[Any, float] = {}
    found = []
    for entry in kept:
        for row in entry.rows:
            last = before.get(row.key)
            found.append((entry, row, row.median / last - 1 if last else None))
            before[row.key] = row.median
    return found


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in `folder`, with "+" where files are changed; None without
    git or a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_LIMIT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _row(m: Measurement) -> Row:
    interval = m.summary.median_interval
    return Row(
        model=m.model,
        scheme=m.scheme,
        target=m.target,
        engine=m.engine,
        unit=m.unit,
        median=m.summary.median,
        runs=m.summary.count,
        valid=m.verdict.valid,
        tick_hz=m.tick_hz,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        device=m.environment.device,
        metrics={metric.name: metric.value for metric in m.metrics},
    )


def _read(file: Path) -> Entry:
    hint = "edgeq history add FILE keeps a results file; move others elsewhere"
    try:
        entry = msgspec.json.decode(file.read_bytes(), type=Entry)
    except OSError as e:
        raise MeasurementError(f"{file}: {e.strerror or e}", hint) from e
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise MeasurementError(f"{file}: no entry of edgeq's history: {e}", hint) from e
    if (entry.schema, entry.schema_version) != (SCHEMA, SCHEMA_VERSION):
        raise MeasurementError(f"{file}: an entry of another edgeq", hint)
    if f"{entry.stem}.json" != file.name:
        raise MeasurementError(f"{file}: does not hold what its name says", hint)
    return entry
