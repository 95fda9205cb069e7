"""Which way to calibrate suits a network: several are tried, on samples that none of them saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeq.biases import with_corrected_biases
from edgeq.calibration import JUDGES, Calibration, fingerprint
from edgeq.conversion import Conversion, convert
from edgeq.errors import DataError, EdgeqError
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.integers import find_violations
from edgeq.interpreters import Arrays, Network, batches, threads
from edgeq.isolation import Worker
from edgeq.models import Model
from edgeq.ranges import AUTO, METHODS, ranges_by
from edgeq.samples import Samples
from edgeq.tflite import read_graph
from edgeq.verification import Fidelity, check_labels
from edgeq.verification.fidelity import Tally, check_shapes

MIN_GAIN_DB = 0.5
"""SQNR that another way must gain on min-max, where it gives no more right answers."""

MIN_JUDGES = 8
"""Samples to choose on, at least."""

JUDGES_BYTES = 256 * 1024**2
"""They and their outputs, which are held in memory, at most."""

OPEN_LIMIT = 120.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """One way to calibrate, and how far from float it comes; `failed` says why there is none."""

    method: str
    bias_correction: bool
    fidelity: tuple[Fidelity, ...] = ()
    failed: str | None = None

    @property
    def sqnr_db(self) -> float | None:
        """Of the worst output; None when all are equal to float."""
        found = [f.sqnr_db for f in self.fidelity if f.sqnr_db is not None]
        return min(found) if found else None

    @property
    def accuracy(self) -> float | None:
        return self.fidelity[0].accuracy if self.fidelity else None

    @property
    def name(self) -> str:
        return f"{self.method} + bias correction" if self.bias_correction else self.method


@dataclass(frozen=True)
class Choice:
    """The `method` kept of those tried, on `samples` samples that no range was learnt from.

    `asked` is what was asked for; `note` says why nothing was measured, where that is so.
    """

    asked: str
    method: str
    bias_correction: bool = False
    samples: int = 0
    trials: tuple[Trial, ...] = ()
    note: str | None = None

    def facts(self) -> dict[str, Any]:
        """As plain tables, for a manifest."""
        return {
            "asked": self.asked,
            "method": self.method,
            "bias_correction": self.bias_correction,
            "samples": self.samples,
            "trials": [
                {
                    "method": t.method,
                    "bias_correction": t.bias_correction,
                    "outputs": [{"output": f.output, "sqnr_db": f.sqnr_db} for f in t.fidelity],
                    "accuracy": t.accuracy,
                    "failed": t.failed,
                }
                for t in self.trials
            ],
            "note": self.note,
        }


def choose(
    model: Model,
    calibration: Calibration,
    scheme: str,
    judges: Samples | None,
    *,
    method: str = AUTO,
    repairs: frozenset[str] | None = None,
    tensorflow: Worker,
    progress: Progress | None = None,
) -> tuple[Conversion, Choice]:
    """`model` in `scheme`, calibrated by `method`: a key of ranges.METHODS, or AUTO for the best.

    The best has the highest accuracy where `judges` have labels, then the highest SQNR of its worst
    output, and is worse than min-max in no output's SQNR, nor in accuracy, nor in operators that
    are not integer; else min-max stays. Biases are corrected where that is better by the same
    measure. The `calibration` needs distributions, but for min-max; `repairs` are for convert().
    """
    plain = convert(model, calibration, scheme, repairs=repairs, tensorflow=tensorflow)
    seen = calibration.distributions
    if model.learned:
        note = f"the source's own training has set the ranges of {len(model.learned)} activations"
        return plain, Choice(method, "learned", note=note)
    if method == "minmax" or seen is None:
        return plain, Choice(method, "minmax")
    fresh, labels = _fresh(model, calibration, judges)
    wanted = [m for m in METHODS if m != "minmax"] if method == AUTO else [method]
    if len(fresh) < MIN_JUDGES:
        note = f"nothing was tried: {len(fresh)} samples are held out, and {MIN_JUDGES} are needed"
        if method == AUTO:
            return plain, Choice(AUTO, "minmax", note=note)
        made = convert(
            model,
            _by(wanted[0], calibration, scheme),
            scheme,
            repairs=repairs,
            tensorflow=tensorflow,
        )
        return made, Choice(method, method, note=note)
    steps = len(wanted) + 3

    def tell(step: int) -> None:
        if progress:
            progress("choosing ranges", step, steps)

    tell(0)
    with _Judge(model, fresh, labels) as judge:
        found = {("minmax", False): (plain, Trial("minmax", False, judge.fidelity(plain)))}
        for number, name in enumerate(wanted):
            tell(number + 1)
            try:
                by = _by(name, calibration, scheme)
                found[name, False] = _tried(model, by, scheme, name, repairs, tensorflow, judge)
            except EdgeqError as e:
                found[name, False] = plain, Trial(name, False, failed=e.message)
        kept = "minmax", False
        if method != AUTO:
            kept = method, False
            if failure := found[kept][1].failed:
                raise DataError(
                    f"{model.source}: --calibration {method}: {failure}",
                    hint="--calibration auto keeps what works",
                )
        else:
            kept = _best(found, kept)
        tell(steps - 1)
        made, _ = found[kept]
        tflite = with_corrected_biases(made.tflite, model.graph, seen.means)
        if tflite is not None:
            graph = read_graph(tflite, model.source)
            better = replace(made, tflite=tflite, graph=graph)
            corrected = kept[0], True
            try:
                found[corrected] = better, Trial(kept[0], True, judge.fidelity(better))
            except EdgeqError as e:
                found[corrected] = made, Trial(kept[0], True, failed=e.message)
            kept = _best({kept: found[kept], corrected: found[corrected]}, kept)
        tell(steps)
    conversion, _ = found[kept]
    trials = tuple(trial for _, trial in found.values())
    return conversion, Choice(method, *kept, samples=len(fresh), trials=trials)


def _by(method: str, calibration: Calibration, scheme: str) -> Calibration:
    assert calibration.distributions is not None
    histograms = calibration.distributions.histograms
    return replace(calibration, ranges=ranges_by(method, calibration.ranges, histograms, scheme))


def _tried(
    model: Model,
    calibration: Calibration,
    scheme: str,
    method: str,
    repairs: frozenset[str] | None,
    tensorflow: Worker,
    judge: _Judge,
) -> tuple[Conversion, Trial]:
    made = convert(model, calibration, scheme, repairs=repairs, tensorflow=tensorflow)
    return made, Trial(method, False, judge.fidelity(made))


_Key = tuple[str, bool]


def _best(found: dict[_Key, tuple[Conversion, Trial]], base: _Key) -> _Key:
    """The key of the best that is better than `base` and no worse in anything; else `base`."""
    standard, first = found[base]
    floats = len(find_violations(standard.graph))
    best = base
    for key, (made, trial) in found.items():
        if key == base or trial.failed or len(find_violations(made.graph)) > floats:
            continue
        if not _no_worse(trial, first) or not _gains(trial, first):
            continue
        if best == base or _rank(trial) > _rank(found[best][1]):
            best = key
    return best


def _rank(trial: Trial) -> tuple[float, float]:
    return trial.accuracy or 0.0, _level(trial.sqnr_db)


def _level(sqnr_db: float | None) -> float:
    return math.inf if sqnr_db is None else sqnr_db


def _no_worse(trial: Trial, other: Trial) -> bool:
    pairs = zip(trial.fidelity, other.fidelity, strict=True)
    return (trial.accuracy or 0.0) >= (other.accuracy or 0.0) and all(
        _level(a.sqnr_db) >= _level(b.sqnr_db) for a, b in pairs
    )


def _gains(trial: Trial, other: Trial) -> bool:
    if (trial.accuracy or 0.0) > (other.accuracy or 0.0):
        return True
    return (
        _level(trial.sqnr_db) >= _level(other.sqnr_db) + MIN_GAIN_DB
        and _level(other.sqnr_db) < math.inf
    )


def _fresh(
    model: Model, calibration: Calibration, judges: Samples | None
) -> tuple[list[Arrays], list[int] | None]:
    """Samples that no range was learnt from, as many as may be held in memory, and their labels."""
    if judges is None:
        return [], None
    ports = model.graph.inputs + model.graph.outputs
    size = max(1, sum(port.tensor.bytes for port in ports))
    count = min(JUDGES, len(judges), JUDGES_BYTES // size)
    known = judges.labels
    try:
        check_labels(judges, model.graph)
    except DataError:
        known = None
    fresh, labels = [], []
    for number in range(count):
        sample = judges.get(number)
        if fingerprint(sample, model.graph.inputs) not in calibration.fingerprints:
            fresh.append(sample)
            labels.append(0 if known is None else int(known[number]))
    return fresh, None if known is None else labels


class _Judge:
    """How far conversions are from float on the same samples, one after the other in a process."""

    def __init__(
        self, model: Model, samples: Sequence[Arrays], labels: Sequence[int] | None
    ) -> None:
        self._model, self._samples, self._labels = model, samples, labels
        self._known: dict[bytes, tuple[Fidelity, ...]] = {}
        spec = "edgeq.workers.litert:Bench"
        self._bench = Network("choosing ranges", model.graph, spec, threads())
        self._expected: list[Arrays] = []

    def __enter__(self) -> _Judge:
        graph = self._model.graph
        self._expected = self._run(
            self._model.tflite, [stored_inputs(s, graph.inputs) for s in self._samples]
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._bench.close()

    def fidelity(self, conversion: Conversion) -> tuple[Fidelity, ...]:
        """Of each output. The same bytes are measured once."""
        if conversion.tflite not in self._known:
            self._known[conversion.tflite] = self._measure(conversion)
        return self._known[conversion.tflite]

    def _measure(self, conversion: Conversion) -> tuple[Fidelity, ...]:
        graph = conversion.graph
        check_shapes(self._model.graph, graph)
        got = self._run(conversion.tflite, [stored_inputs(s, graph.inputs) for s in self._samples])
        tallies = [Tally(port) for port in graph.outputs]
        for number, (a, b) in enumerate(zip(self._expected, got, strict=True)):
            label = self._labels[number] if self._labels is not None else None
            outputs = real_outputs(b, graph.outputs)
            for tally, x, y in zip(tallies, a, outputs, strict=True):
                known = label if tally is tallies[0] else None
                tally.add(x.astype(np.float64), y.astype(np.float64), known)
        return tuple(t.result() for t in tallies)

    def _run(self, tflite: bytes, stored: Sequence[Arrays]) -> list[Arrays]:
        self._bench.call("open", tflite, time_limit=OPEN_LIMIT)
        return [
            outputs
            for batch in batches(stored, self._bench.batch)
            for outputs in self._bench.infer("run", batch)
        ]
