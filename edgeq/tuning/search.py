"""The search: what to try is tried in parallel until the time is over; what is best comes back."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgeq.alternatives import Alternatives, prepare_alternatives
from edgeq.benchmark import BenchOptions, measure_model
from edgeq.building import problems_on
from edgeq.calibration import thin
from edgeq.documents import encode, to_json, write_text
from edgeq.errors import DataError, UsageError, VerificationError
from edgeq.firmware import find_port, has_compiler
from edgeq.graph import Graph
from edgeq.inputs import random_inputs
from edgeq.interpreters import threads
from edgeq.mixed import shortest_names
from edgeq.pipeline import Data, Opening, Progress
from edgeq.samples import Samples
from edgeq.targets import Target, choose_engine
from edgeq.transports.simulator import PROGRAM
from edgeq.tuning.blame import INT8, Block, blocks, proposals
from edgeq.tuning.cluster import DaskPool, check_address
from edgeq.tuning.drawing import draw_front
from edgeq.tuning.journal import Journal
from edgeq.tuning.points import Candidate, Limits, Outcome, front, nearest
from edgeq.tuning.pools import LocalPool, Pool
from edgeq.tuning.trials import Subject, describe_computer, without_histograms

TIME_LIMIT = 600.0
"""Seconds for a search, unless another limit is given."""

MAX_TIME_LIMIT = 30 * 86400.0

PICTURE, DOCUMENT = "front.svg", "front.json"

SAMPLES_BYTES = 256 * 1024**2
"""Of samples to judge on, at most: each process holds them."""

_TIMING_SHARE = 0.15
"""Of the time limit, for measuring time on this computer, which nothing else may disturb."""

_TIMING = BenchOptions(num_runs=20, warmup_min_secs=0.1, min_secs=0.3, max_secs=20.0)

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One of the front. `options` are edgeq build's that make exactly it, `layers` what it has in
    int16 as a person calls it, `misses` the limits that it passes, in words."""

    outcome: Outcome
    options: tuple[str, ...]
    layers: tuple[str, ...]
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Tuning:
    """What a search found: `points`, the front from cheap to dear, of all `outcomes`.

    `resumed` is how many trials its journal had already, `complete` whether all that was worth
    trying has been tried.
    """

    model: str
    target: str
    engine: str
    points: tuple[Point, ...]
    outcomes: tuple[Outcome, ...]
    limits: Limits
    resumed: int
    complete: bool
    seconds: float

    @property
    def fitting(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if not point.misses)

    def facts(self, command: Sequence[str] = ("edgeq", "build")) -> dict[str, Any]:
        """As plain tables. `command` is what each point's own options go behind."""
        return {
            "schema": "edgeq.tuning",
            "version": 1,
            "model": self.model,
            "target": self.target,
            "engine": self.engine,
            "limits": encode(self.limits),
            "points": [
                {
                    **_facts(point.outcome),
                    "fits": not point.misses,
                    "misses": list(point.misses),
                    "command": [*command, *point.options],
                }
                for point in self.points
            ],
            "trials": [_facts(outcome) for outcome in self.outcomes],
            "resumed": self.resumed,
            "complete": self.complete,
            "seconds": round(self.seconds, 1),
        }


class NoPointFits(VerificationError):
    """Nothing fits the limits; `tuning` is all that was found."""

    def __init__(self, message: str, hint: str, tuning: Tuning) -> None:
        super().__init__(message, hint)
        self.tuning = tuning


def tune(
    source: str | Path,
    target: Target,
    *,
    output: str | Path = "tuning",
    engine: str | None = None,
    opening: Opening | None = None,
    data: Data | None = None,
    limits: Limits | None = None,
    time_limit: float = TIME_LIMIT,
    jobs: int | None = None,
    workers: str | None = None,
    restart: bool = False,
    command: Sequence[str] = ("edgeq", "build"),
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Find which precision for which layers gives what accuracy, flash, RAM and latency.

    Trials run in `jobs` processes of this computer (None: one a core), or on the Dask cluster
    whose scheduler is at the address `workers`, for `time_limit` seconds at most, preparation
    included. `output` gets a journal, from which a search that was killed goes on (unless
    `restart`), the picture PICTURE and DOCUMENT, with `command` before each point's options.

    Raises NoPointFits when nothing fits the `limits`, UsageError for a limit on what is not
    measured for this target, DataError without data or, for a limit on accuracy, without labels.
    """
    began = time.monotonic()
    check_time_limit(time_limit)
    deadline = began + time_limit
    limits, data = limits or Limits(), data or Data()
    engine = choose_engine(target, engine)
    if workers is not None:
        check_address(workers)
    timed = target.transport == "local" and engine == "litert"
    emulated = _has_emulator(target, engine)
    _refuse_unmeasured(limits, target, timed, emulated)
    found = prepare_alternatives(
        source,
        opening=opening,
        data=data,
        problems=partial(problems_on, [target], engine),
        progress=progress,
    )
    subject = _subject(found, target, engine, data, emulated, limits)
    graph = subject.model.graph
    network = blocks(graph) if subject.parts is not None else []
    if notice:
        for scheme, why in found.failed.items():
            notice(f"no {scheme}, so no layer in int16 either: {why}")
    search_end = deadline - _TIMING_SHARE * time_limit if timed else deadline
    with Journal(Path(output), _key(subject), restart=restart) as journal:
        resumed = len(journal.done)
        if notice and resumed:
            notice(f"{resumed} finished trials are in {journal.path}")
        complete = all(c in journal.done for c in _wanted(network, journal, found))
        if not complete:
            complete = _search(
                subject, network, journal, found, search_end, jobs, workers, limits, progress
            )
        outcomes = list(journal.done.values())
    if timed:
        outcomes = _time_here(subject, outcomes, deadline, progress)
        complete = complete and len(outcomes) == len(journal.done)
    points = tuple(_point(graph, outcome, limits) for outcome in front(outcomes))
    tuning = Tuning(
        subject.model.source,
        target.name,
        engine,
        points,
        tuple(outcomes),
        limits,
        resumed,
        complete,
        time.monotonic() - began,
    )
    write_text(Path(output) / PICTURE, _picture(tuning))
    write_text(Path(output) / DOCUMENT, to_json(tuning.facts(command)))
    _refuse_none(tuning)
    return tuning


def check_time_limit(seconds: float) -> None:
    """Raise UsageError for what cannot be a search's limit."""
    if not 0 < seconds <= MAX_TIME_LIMIT:
        raise UsageError(
            f"--time-limit: {seconds:g} s", hint="more than 0 s and at most 30 days are possible"
        )


def _search(
    subject: Subject,
    network: list[Block],
    journal: Journal,
    found: Alternatives,
    deadline: float,
    jobs: int | None,
    workers: str | None,
    limits: Limits,
    progress: Progress | None,
) -> bool:
    """Try what is worth it; whether that was all of it before the deadline."""
    pool: Pool
    if workers is not None:
        pool = DaskPool(workers, subject, deadline)
    else:
        pool = LocalPool(subject, jobs or threads(), deadline)
    pending: set[Candidate] = set()
    try:
        while time.monotonic() < deadline:
            wanted = _wanted(network, journal, found)
            fresh = [c for c in wanted if c not in journal.done and c not in pending]
            if not fresh and not pending:
                return True
            for candidate in fresh[: max(0, pool.size - len(pending))]:
                pool.submit(candidate)
                pending.add(candidate)
            if progress:
                best = len(front(journal.done.values()))
                label = f"trials, {best} of them on the front"
                progress(label, len(journal.done), max(len(wanted), len(journal.done)))
            for outcome in pool.collect(min(1.0, max(0.0, deadline - time.monotonic()))):
                pending.discard(outcome.candidate)
                journal.add(outcome)
                if outcome.candidate == INT8:
                    _refuse_unknown(limits, outcome, subject.target)
        return False
    finally:
        pool.close()


def _wanted(network: Sequence[Block], journal: Journal, found: Alternatives) -> list[Candidate]:
    return [c for c in proposals(network, journal.done) if c.scheme in found.by_scheme]


def _subject(
    found: Alternatives,
    target: Target,
    engine: str,
    data: Data,
    emulated: bool,
    limits: Limits,
) -> Subject:
    base = found.plain
    samples, labels = _in_memory(base.evaluation)
    wants_labels = limits.max_accuracy_drop is not None or limits.min_accuracy is not None
    if wants_labels and labels is None:
        raise DataError(
            "an accuracy limit is set, but the data has no labels to measure accuracy with",
            hint="add a 'labels' array to the .npz, or --labels-csv for images",
        )
    assert base.calibration is not None
    return Subject(
        base.model,
        {scheme: prepared.conversion for scheme, prepared in found.by_scheme.items()},
        base.conversion,
        found.parts,
        without_histograms(base.calibration),
        samples,
        labels,
        base.evaluation.source if base.evaluation else "",
        target,
        engine,
        data,
        emulated,
    )


def _in_memory(evaluation: Samples | None) -> tuple[list[Any], tuple[int, ...] | None]:
    """The samples, as many as may be held, evenly spread, and their labels."""
    if evaluation is None or not len(evaluation):
        return [], None
    size = max(1, sum(array.nbytes for array in evaluation.get(0)))
    chosen = evaluation.pick(thin(range(len(evaluation)), max(1, SAMPLES_BYTES // size)))
    labels = None if chosen.labels is None else tuple(int(label) for label in chosen.labels)
    return list(chosen), labels


def _key(subject: Subject) -> str:
    """SHA-256 of all that the outcome of a trial depends on."""
    digest = hashlib.sha256()
    for conversion in (*subject.whole.values(), subject.plain, subject.parts):
        digest.update(b"none" if conversion is None else conversion.tflite)
    digest.update(subject.model.tflite)
    for sample in subject.samples:
        for array in sample:
            digest.update(str((array.shape, array.dtype)).encode())
            digest.update(array.tobytes())
    facts = [subject.labels, encode(subject.target), subject.engine, subject.emulated]
    digest.update(json.dumps([*facts, describe_computer()], default=str).encode())
    return digest.hexdigest()


def _has_emulator(target: Target, engine: str) -> bool:
    port = target.core is not None and find_port(target) is not None
    tools = has_compiler() and shutil.which(PROGRAM) is not None
    return bool(target.sim) and engine == "aot" and port and tools


def _refuse_unmeasured(limits: Limits, target: Target, timed: bool, emulated: bool) -> None:
    if limits.max_instructions is not None and not emulated:
        how = "time is measured: write 5ms" if timed else "nothing measures its latency here"
        raise UsageError(
            f"--max-latency in instructions: {target.name} is not emulated; {how}",
            hint=f"an emulated target needs {PROGRAM} and arm-none-eabi-gcc: edgeq doctor",
        )
    if limits.max_milliseconds is not None and not timed:
        raise UsageError(
            f"--max-latency in time: {target.name} is not timed here",
            hint="write it in emulated instructions, 5M; build with the points' commands and use "
            "edgeq bench to measure time on the device"
            if emulated
            else "leave it out; edgeq bench measures time on the device",
        )


def _refuse_unknown(limits: Limits, outcome: Outcome, target: Target) -> None:
    """A limit on what the first trial shows not to be known."""
    if outcome.failed is not None:
        return
    accuracy = limits.max_accuracy_drop is not None or limits.min_accuracy is not None
    if accuracy and outcome.accuracy is None:
        raise DataError(
            "an accuracy limit is set, but the first output is no vector of class scores",
            hint="limit the distance from float by --min-sqnr",
        )
    if limits.max_ram is not None and outcome.ram is None:
        raise UsageError(
            f"--max-ram: the RAM that it takes on {target.name} is not known here",
            hint="leave it out, or use engine aot",
        )


def _time_here(
    subject: Subject, outcomes: list[Outcome], deadline: float, progress: Progress | None
) -> list[Outcome]:
    """Those that could be timed on this computer before the deadline, one after the other, the
    best first, and those that failed."""
    ranked = front(outcomes)
    ranked += [o for o in outcomes if o not in ranked and o.failed is None]
    timed: list[Outcome] = []
    for number, outcome in enumerate(ranked):
        if progress:
            progress("timing", number, len(ranked))
        if time.monotonic() >= deadline and timed:
            break
        conversion = subject.conversion(outcome.candidate)
        measured = measure_model(
            subject.model.name,
            conversion.tflite,
            random_inputs(conversion.graph),
            scheme=conversion.scheme,
            target=subject.target.name,
            options=_TIMING,
        )
        timed.append(replace(outcome, milliseconds=measured.summary.median / 1e6))
    return timed + [o for o in outcomes if o.failed is not None]


def _point(graph: Graph, outcome: Outcome, limits: Limits) -> Point:
    candidate = outcome.candidate
    options = ["--scheme", candidate.scheme]
    names = shortest_names(graph, candidate.int16)
    for name in names:
        options += ["--int16", name]
    return Point(outcome, tuple(options), tuple(names), tuple(limits.misses(outcome)))


def _facts(outcome: Outcome) -> dict[str, Any]:
    """Without what is only for the search itself."""
    if math.isinf(outcome.level) and outcome.sqnr_db is not None:
        outcome = replace(outcome, sqnr_db=None)
    facts: dict[str, Any] = encode(replace(outcome, blame=()))
    del facts["blame"]
    candidate = facts.pop("candidate")
    return {"scheme": candidate["scheme"], "int16": candidate["int16"], **facts}


def _picture(tuning: Tuning) -> str:
    numbers = {point.outcome: n for n, point in enumerate(tuning.points, 1)}
    fits = {point.outcome for point in tuning.fitting}
    done = [outcome for outcome in tuning.outcomes if outcome.failed is None]
    return draw_front(f"{tuning.model} on {tuning.target}", done, numbers, fits)


def _refuse_none(tuning: Tuning) -> None:
    if tuning.fitting:
        return
    failed = [o for o in tuning.outcomes if o.failed is not None]
    if not tuning.points and failed:
        raise NoPointFits(
            f"no trial of {tuning.model} for {tuning.target} worked; the first: {failed[0].failed}",
            "edgeq build says more; edgeq inspect shows the operators",
            tuning,
        )
    if not tuning.points:
        raise NoPointFits(
            "the time was over before a trial was finished",
            "give a longer --time-limit; finished trials are kept",
            tuning,
        )
    best = nearest([point.outcome for point in tuning.points], tuning.limits)
    point = next(p for p in tuning.points if p.outcome is best)
    number = tuning.points.index(point) + 1
    searched = "" if tuning.complete else " (the search is not complete)"
    raise NoPointFits(
        f"nothing fits the limits{searched}; nearest is point {number}: {', '.join(point.misses)}",
        "its command is in the table of points"
        + ("" if tuning.complete else "; the same command again goes on with the search"),
        tuning,
    )
