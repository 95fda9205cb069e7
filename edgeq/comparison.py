"""Two results against each other: what changed, by more than its limit and by more than noise."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgeq import documents
from edgeq.errors import MeasurementError, UsageError
from edgeq.measurement import Direction, Interval, Measurement, Results

PROCESS_NOISE = 0.02


"""Share by which time and memory of two processes may differ for no reason but their layout.

No interval shows it, since within a process it is constant. Measured on an x86-64 machine: the
medians of one model in 8 processes lay 0.7 to 3 % apart, with intervals below 0.2 %.
"""


COMPARISON_SCHEMA = "edgeq.comparison"


COMPARISON_SCHEMA_VERSION = 1


Outcome = Literal["regression", "worse", "same", "noise", "better"]


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may get: a share of the base, or an amount in its own unit."""

    amount: float
    relative: bool = True

    def __str__(self) -> str:
        return f"{self.amount:.4g}" if not self.relative else f"{self.amount * 100:.4g}%"


DEFAULT_LIMITS: Mapping[str, Limit] = {
    "latency": Limit(0.05),
    "instructions": Limit(0.05),
    "accuracy": Limit(0.01, relative=False),
    "sqnr": Limit(1.0, relative=False),
}


"""Latency 5 %, accuracy one point, SQNR 1 dB. Other metrics fail only by a limit of their own."""


@dataclass(frozen=True)
class Change:
    """One metric of one model in both results; `target` and `engine` are the new one's.

    `change` is new / base - 1, None for a base of 0 or next to it; `interval` is that of `change`
    where both have one. `limit` is None for a metric that cannot fail.
    """

    model: str
    scheme: str
    target: str
    engine: str
    metric: str
    unit: str
    better: Direction
    base: float
    new: float
    change: float | None
    interval: Interval | None
    limit: Limit | None
    outcome: Outcome


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both results and makes their numbers incomparable."""

    what: str
    model: str
    base: str
    new: str

    def __str__(self) -> str:
        return f"{self.what}: {self.base} and {self.new} ({self.model})"


@dataclass(frozen=True)
class Comparison:
    """Every metric of both results, what differed and was allowed to, and what else to know.

    `valid`: whether all that was compared was valid in both.
    """

    schema: str
    schema_version: int
    regressed: bool
    valid: bool
    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


DIFFERENCES = ("model", "target", "device", "clock", "threads", "engine", "unit")


"""What must be the same in two results, unless it is allowed to differ, in words for the user."""


def compare(
    base: Results,
    new: Results,
    limits: Mapping[str, Limit] | None = None,
    allow_different: bool | Collection[str] = False,
) -> Comparison:
    """How `new` differs from `base`, metric by metric, each in the direction that is worse.

    `limits` go before DEFAULT_LIMITS. A change is a regression when it is worse by more than the
    limit and is no noise; it is noise when its interval holds 0, or, for time and memory of a
    process, when it is within PROCESS_NOISE. The interval of a ratio is
    [new.low / base.high, new.high / base.low], which holds the true one with at least the two
    confidences' sum less 1.

    Raises MeasurementError, naming each difference, when the results were made with different
    DIFFERENCES that are not allowed (True allows all of them), or have no model or no metric in
    common. Where clocks may differ, latency is compared as time.
    """
    pairs, notes = _pairs(base, new)
    differences = tuple(d for pair in pairs for d in _differences(*pair))
    allowed = DIFFERENCES if allow_different is True else (allow_different or ())
    refused = [d for d in differences if d.what not in allowed]
    if refused:
        names = dict.fromkeys(d.what for d in refused)
        raise MeasurementError(
            "the two results are not comparable:\n" + "\n".join(_grouped(refused)),
            hint="measure both alike, or allow it: "
            + " ".join(f"--allow {name}" for name in names)
            + " (or --allow-different)",
        )
    limits = limits or {}
    changes = tuple(c for pair in pairs for c in _changes(*pair, limits, notes))
    if not changes:
        raise MeasurementError(
            "the two results have no metric in common: " + "; ".join(notes),
            hint="measure both with the same target and engine",
        )
    _refuse_unused(limits, changes)
    for before, after in pairs:
        for which, measurement in (("base", before), ("new", after)):
            notes += [
                f"{which}, {measurement.title}, is not valid: {reason}"
                for reason in measurement.verdict.reasons
            ]
    latency = limits.get("latency")
    if latency and latency.amount < PROCESS_NOISE and any(c.unit == "ns" for c in changes):
        notes.append(
            f"times of two processes may differ by {PROCESS_NOISE:.0%} for no reason, so the "
            "limit for latency acts from there on"
        )
    return Comparison(
        schema=COMPARISON_SCHEMA,
        schema_version=COMPARISON_SCHEMA_VERSION,
        regressed=any(c.outcome == "regression" for c in changes),
        valid=all(m.verdict.valid for pair in pairs for m in pair),
        changes=changes,
        differences=differences,
        notes=tuple(dict.fromkeys(notes)),
    )


def parse_limits(texts: Sequence[str]) -> dict[str, Limit]:
    """["5%", "accuracy=0.5%", "sqnr=2"] as limits; one without a name is for latency.

    Raises UsageError.
    """
    limits = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", value)
        names = [name.strip()] if equals else ["latency", "instructions"]
        relative = bool(found and found[2])
        if not found or not all(names) or (not relative and set(names) & _TICKS):
            raise UsageError(
                f"not a limit: {text!r}",
                hint="write 5% for latency, or METRIC=5%, or METRIC=AMOUNT in the metric's unit",
            )
        amount = float(found[1]) / (100 if relative else 1)
        limits.update(dict.fromkeys(names, Limit(amount, relative)))
    return limits


def comparison_to_json(comparison: Comparison) -> str:
    """The text of `edgeq compare --json`; docs/results.md has its keys."""
    changes = [documents.encode(c) for c in comparison.changes]
    return documents.to_json({**documents.encode(comparison), "changes": changes})


Pair = tuple[Measurement, Measurement]


_TICKS = {"latency", "instructions"}


def _pairs(base: Results, new: Results) -> tuple[list[Pair], list[str]]:
    """Measurements that belong together: those that have most in common, at least the scheme."""
    pairs: list[Pair] = []
    left, right = list(base.measurements), list(new.measurements)
    for key in (_by_engine, _by_target, _by_name, _by_scheme):
        for before in list(left):
            same_before = [m for m in left if key(m) == key(before)]
            found = [m for m in right if key(m) == key(before)]
            if found and len(found) == len(same_before):
                pairs.append((before, found[0]))
                left.remove(before)
                right.remove(found[0])
    if not pairs:
        raise MeasurementError(
            "the two results have no model and scheme in common: "
            f"{_titles(base.measurements)} and {_titles(new.measurements)}",
            hint="compare results of the same model",
        )
    notes = [f"only in base: {m.title} on {m.target} ({m.engine})" for m in left]
    notes += [f"only in new: {m.title} on {m.target} ({m.engine})" for m in right]
    return pairs, notes


def _by_engine(m: Measurement) -> tuple[str, ...]:
    return m.model, m.scheme, m.target, m.engine


def _by_target(m: Measurement) -> tuple[str, ...]:
    return m.model, m.scheme, m.target


def _by_name(m: Measurement) -> tuple[str, ...]:
    return m.model, m.scheme


def _by_scheme(m: Measurement) -> tuple[str, ...]:
    return (m.scheme,)


def _titles(measurements: Sequence[Measurement]) -> str:
    return ", ".join(m.title for m in measurements) or "nothing"


def _differences(base: Measurement, new: Measurement) -> Iterator[Difference]:
    old, now = base.environment, new.environment
    if base.model_sha256 != new.model_sha256:
        yield Difference("model", new.title, _model(base), _model(new))
    compared: list[tuple[str, str, Any, Any]] = [
        ("target", "", base.target, new.target),
        ("device", "", old.device, now.device),
        ("device", "", old.arch, now.arch),
        ("device", "", old.cpu, now.cpu),
        ("device", " cores", old.cores, now.cores),
        ("clock", " ticks a second", base.tick_hz, new.tick_hz),
        ("clock", " kHz at most", old.frequency_limit_khz, now.frequency_limit_khz),
        ("clock", " governor", old.governor, now.governor),
        ("clock", " cores", old.pinned or "all", now.pinned or "all"),
        ("device", "", old.emulator or "hardware", now.emulator or "hardware"),
        ("threads", "", old.threads, now.threads),
        ("engine", "", base.engine, new.engine),
        ("engine", "", old.engine_version, now.engine_version),
        ("engine", " kernels", old.kernels, now.kernels),
        ("unit", "", base.unit, new.unit),
    ]
    for what, unit, before, after in compared:
        # What one of them does not know is no difference.
        if before is not None and after is not None and before != after:
            yield Difference(what, new.title, f"{before}{unit}", f"{after}{unit}")


def _grouped(differences: Sequence[Difference]) -> Iterator[str]:
    """A line for each, with all the models that it is true of."""
    models: dict[tuple[str, str, str], list[str]] = {}
    for d in differences:
        models.setdefault((d.what, d.base, d.new), []).append(d.model)
    for (what, base, new), titles in models.items():
        yield f"  {what}: {base} and {new} ({', '.join(titles)})"


def _model(m: Measurement) -> str:
    return f"{m.model} ({m.model_sha256[:12]})"


def _changes(
    base: Measurement, new: Measurement, limits: Mapping[str, Limit], notes: list[str]
) -> Iterator[Change]:
    name = "instructions" if new.unit == "instructions" else "latency"
    scales = _common_scales(base, new)
    if scales is None:
        notes.append(f"{new.title}: {base.unit} and {new.unit} cannot be compared")
    else:
        unit, before, after = scales
        values = (base.summary.median * before, new.summary.median * after)
        interval = _ratio_interval(base, new, after / before)
        yield _change(new, name, unit, "lower", values, interval, limits)
    if base.memory and new.memory:
        peaks = (float(base.memory.peak_rss_delta), float(new.memory.peak_rss_delta))
        yield _change(new, "peak_rss_delta", "bytes", "lower", peaks, None, limits)
    others = {metric.name: metric for metric in new.metrics}
    for metric in base.metrics:
        other = others.get(metric.name)
        if other is None:
            notes.append(f"only in base: {metric.name} of {base.title}")
        elif (other.unit, other.better) != (metric.unit, metric.better):
            notes.append(f"{metric.name} of {base.title} is not in the same unit in both")
        else:
            pair = (metric.value, other.value)
            yield _change(new, metric.name, metric.unit, metric.better, pair, None, limits)


def _common_scales(base: Measurement, new: Measurement) -> tuple[str, float, float] | None:
    """A unit for both, and by what each one's ticks are multiplied for it; None: there is none."""
    if (base.unit, base.tick_hz) == (new.unit, new.tick_hz) or base.unit == new.unit != "cycles":
        return new.unit, 1.0, 1.0
    if base.tick_hz is None or new.tick_hz is None:
        return (new.unit, 1.0, 1.0) if base.unit == new.unit else None
    return "ns", 1e9 / base.tick_hz, 1e9 / new.tick_hz


def _ratio_interval(base: Measurement, new: Measurement, scale: float) -> Interval | None:
    first, second = base.summary.median_interval, new.summary.median_interval
    if first is None or second is None or first.low <= 0:
        return None
    return Interval(
        scale * second.low / first.high - 1,
        scale * second.high / first.low - 1,
        first.confidence + second.confidence - 1,
    )


def _change(
    of: Measurement,
    metric: str,
    unit: str,
    better: Direction,
    values: tuple[float, float],
    interval: Interval | None,
    limits: Mapping[str, Limit],
) -> Change:
    base, new = values
    limit = limits.get(metric, DEFAULT_LIMITS.get(metric))
    change = new / base - 1 if base else None
    if change is not None and not math.isfinite(change):
        change = None
    worse = new - base if better == "lower" else base - new
    allowed = None if limit is None else limit.amount * (abs(base) if limit.relative else 1)
    outcome: Outcome
    if worse == 0:
        outcome = "same"
    elif _is_noise(of, metric, change, interval):
        outcome = "noise"
    elif worse < 0:
        outcome = "better"
    else:
        outcome = "regression" if allowed is not None and worse > allowed else "worse"
    return Change(
        of.model,
        of.scheme,
        of.target,
        of.engine,
        metric,
        unit,
        better,
        base,
        new,
        change,
        interval,
        limit,
        outcome,
    )


def _is_noise(
    of: Measurement, metric: str, change: float | None, interval: Interval | None
) -> bool:
    if interval and interval.low <= 0 <= interval.high:
        return True
    process_bound = metric == "peak_rss_delta" or (metric == "latency" and of.unit == "ns")
    return process_bound and abs(change or 0.0) <= PROCESS_NOISE


def _refuse_unused(limits: Mapping[str, Limit], changes: Sequence[Change]) -> None:
    """A limit that nothing is held against would pass for ever."""
    known = {c.metric for c in changes}
    for name in limits:
        if name not in known and not (name in _TICKS and limits.keys() >= _TICKS):
            guess = documents.nearest(name, known)
            raise MeasurementError(
                f"there is a limit for {name}, which is not in both results",
                hint=f"did you mean {guess}?" if guess else f"they have {', '.join(sorted(known))}",
            )
