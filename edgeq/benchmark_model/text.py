"""What benchmark_model prints, of either flavour, of any age.

The classic one writes INFO and WARN to stdout, ERROR and FATAL to stderr, LiteRT's own lines go to
stderr; builds of old have no prefix at all. Of several "count=" lines at the start of a line the
first is the warm-up, the second the measurement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from edgeq.errors import MeasurementError
from edgeq.protocol import printable

MOST_BYTES = 1 << 20
"""Of each stream, what is read."""

_MOST_LINE = 2000
_MOST_NOTES = 20
_MOST_US = 1e15
_MOST_COUNT = 10**9

_NUMBER = r"[-+]?\d{1,20}(?:\.\d{1,20})?(?:e[-+]?\d{1,3})?"
_PREFIX = re.compile(
    r"(?:(?P<level>VERBOSE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL): )?"
    r"(?P<place>\[[\w./-]{1,100}:\d{1,6}\] )?"
)

Share = Literal["all", "part", "none", "unknown"]


@dataclass(frozen=True)
class Stat:
    """One "count=" line, in microseconds, as it stands; None for what it does not say.

    `last_us` is "curr". Where all runs took the same the line has that alone, and here every value
    is it. `std_us` is the standard deviation of the population, cut to whole microseconds;
    percentiles are elements, not interpolated, and absent in builds before 2024.
    """

    count: int
    first_us: float | None = None
    last_us: float | None = None
    min_us: float | None = None
    max_us: float | None = None
    avg_us: float | None = None
    std_us: float | None = None
    p5_us: float | None = None
    median_us: float | None = None
    p95_us: float | None = None


@dataclass(frozen=True)
class Timings:
    """The line "Inference timings in us"; `first_us` is the very first inference."""

    init_us: float | None = None
    first_us: float | None = None
    warmup_avg_us: float | None = None
    avg_us: float | None = None


@dataclass(frozen=True)
class Footprint:
    """Memory in MB, as the tool calls 1024 * 1024 bytes. `init_mb` and `overall_mb` are growth
    since the tool's start, the rest is of the process at its end."""

    init_mb: float | None = None
    overall_mb: float | None = None
    peak_mb: float | None = None
    vm_rss_mb: float | None = None
    rss_anon_mb: float | None = None
    rss_file_mb: float | None = None


@dataclass(frozen=True)
class DelegateShare:
    """How much of the graph a delegate runs; `kernels` is in how many pieces, where it is said."""

    name: str
    share: Share
    kernels: int | None = None


@dataclass(frozen=True)
class ResultsBlock:
    """LiteRT's block BENCHMARK RESULTS: milliseconds and MB, all rounded to 0.01 by the tool."""

    signature: str | None = None
    init_ms: float | None = None
    warmup_first_ms: float | None = None
    warmup_avg_ms: float | None = None
    warmup_runs: int | None = None
    avg_ms: float | None = None
    runs: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    throughput_mb_per_s: float | None = None
    init_footprint_mb: float | None = None
    overall_footprint_mb: float | None = None
    peak_memory_mb: float | None = None
    fully_accelerated: bool | None = None


@dataclass(frozen=True)
class Report:
    """All that one run printed. `notes` are its warnings, as a person may see them."""

    warmup: Stat
    runs: Stat
    timings: Timings = Timings()
    footprint: Footprint = Footprint()
    delegates: tuple[DelegateShare, ...] = ()
    results: ResultsBlock | None = None
    session_init_us: float | None = None
    model_size_mb: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def init_us(self) -> float | None:
        """Loading the model: from the most exact line that says it."""
        if self.timings.init_us is not None:
            return self.timings.init_us
        if self.session_init_us is None and self.results and self.results.init_ms is not None:
            return self.results.init_ms * 1000
        return self.session_init_us


@dataclass(frozen=True)
class _Line:
    level: str
    place: str
    text: str


def parse_report(
    output: bytes, errors: bytes = b"", code: int = 0, where: str = "benchmark_model"
) -> Report:
    """What a run printed that ended with `code`. Raises MeasurementError, which calls it `where`,
    for a run that failed, ignored a flag or measured nothing."""
    lines = [*_lines(output), *_lines(errors)]
    _refuse_ignored_flags(lines, where)
    _refuse_failures(lines, code, where)
    stats = [_stat(line.text, where) for line in lines if line.text.startswith("count=")]
    if len(stats) != 2:
        raise MeasurementError(
            f"{where}: printed {len(stats)} lines with count=, not two (warm-up, measurement)",
            hint="is it Google's benchmark_model, and did its output arrive whole?",
        )
    if stats[1].count == 0:
        raise MeasurementError(
            f"{where}: measured nothing: count=0", hint="let it run more often, or longer"
        )
    seen = _Seen(where)
    for line in lines:
        seen.read(line.text)
    warned = [
        line.text
        for line in lines
        # It says so whenever the model's own name for an input could not be given.
        if line.level in ("WARN", "WARNING", "ERROR") and "but flags call it" not in line.text
    ]
    return Report(
        warmup=stats[0],
        runs=stats[1],
        timings=seen.timings,
        footprint=Footprint(**seen.footprint),
        delegates=tuple(dict.fromkeys(seen.delegates)),
        results=parse_results_block(output, errors),
        session_init_us=seen.session_init_us,
        model_size_mb=seen.model_size_mb,
        notes=tuple(dict.fromkeys(map(_shown, warned)))[:_MOST_NOTES],
    )


def _lines(data: bytes) -> list[_Line]:
    found = []
    for raw in data[:MOST_BYTES].decode("utf-8", errors="replace").split("\n"):
        text = raw[:_MOST_LINE].rstrip("\r")
        prefix = _PREFIX.match(text)
        assert prefix is not None  # It may be empty.
        rest = text[prefix.end() :].rstrip()
        found.append(_Line(prefix["level"] or "", prefix["place"] or "", rest))
    return found


def _shown(text: str) -> str:
    return printable(text.encode("utf-8", errors="replace"))[:300]


_IGNORED = "Unconsumed cmdline flags:"


def _refuse_ignored_flags(lines: Iterable[_Line], where: str) -> None:
    for line in lines:
        _, found, rest = line.text.partition(_IGNORED)
        if found:
            flags = re.findall(r"--?[A-Za-z]\w*", rest) or [rest.strip() or "some flags"]
            raise MeasurementError(
                f"{where}: ignores {', '.join(_shown(f) for f in flags[:10])}",
                hint="this build does not know that: use another build of benchmark_model",
            )


_FAILURES = (
    "Disallowed CPU fallback detected.",
    "Failed to allocate tensors!",
    "Benchmarking failed.",
)
"""Said without a prefix by builds of old."""


def _refuse_failures(lines: Sequence[_Line], code: int, where: str) -> None:
    said = [
        line.text
        for line in lines
        if line.text
        and (
            line.level == "FATAL"
            # LiteRT's own errors name their place, and may be about an accelerator that is not
            # there: only its exit code says whether it could go on.
            or (line.level == "ERROR" and (code or not line.place))
            or line.text in _FAILURES
        )
    ]
    if not said and not code:
        return
    said = said or [line.text for line in lines if line.text][-1:]
    # "Benchmarking failed." comes last and says least.
    text = "; ".join(_shown(t) for t in dict.fromkeys(said[:3])) or "it printed nothing"
    how = f"ended with {code}" if code else "failed"
    raise MeasurementError(f"{where}: {how}: {text}", hint=_next_step(said, code))


def _next_step(said: Sequence[str], code: int) -> str:
    if _FAILURES[0] in said:
        return "the delegate does not run the whole model: allow the CPU, or another delegate"
    if code in (126, 127):
        return "can the device start this program: is it for its processor and its system?"
    if code == 137:
        return "it was killed: is there memory enough on the device?"
    return "does this build run the model at all, by hand on the device?"


_STAT_KEYS = {
    "first": "first_us",
    "curr": "last_us",
    "min": "min_us",
    "max": "max_us",
    "avg": "avg_us",
    "std": "std_us",
    "p5": "p5_us",
    "median": "median_us",
    "p95": "p95_us",
}


def _stat(text: str, where: str) -> Stat:
    values: dict[str, float] = {}
    for token in text.replace("(all same)", " ").split():
        found = re.fullmatch(rf"(\w{{1,20}})=({_NUMBER}|[-+]?nan|[-+]?inf)", token)
        if found is None:
            raise MeasurementError(
                f"{where}: a line that is not understood: {_shown(text)}",
                hint="did its output arrive whole?",
            )
        value = _number(found[2])
        if value is not None and found[1] not in values:
            values[found[1]] = value
    count = values.get("count")
    if not isinstance(count, int) or count > _MOST_COUNT:
        raise MeasurementError(
            f"{where}: no count of runs: {_shown(text)}", hint="did its output arrive whole?"
        )
    if count == 0:  # Its percentiles are 0, of nothing.
        return Stat(0)
    known: dict[str, float] = {name: values[k] for k, name in _STAT_KEYS.items() if k in values}
    if "last_us" not in known:
        raise MeasurementError(
            f"{where}: no times: {_shown(text)}", hint="did its output arrive whole?"
        )
    if "avg_us" not in known:
        same = known["last_us"]
        known = {
            "first_us": same,
            "min_us": same,
            "max_us": same,
            "avg_us": same,
            "std_us": 0,
            **known,
        }
    return Stat(count, **known)


def _number(text: str) -> float | None:
    """An int where it is written as one; None for what is no duration or size."""
    if re.fullmatch(r"\d{1,16}", text):
        return int(text) if int(text) <= _MOST_US else None
    value = float(text)
    return value if math.isfinite(value) and 0 <= value <= _MOST_US else None


_TIMING_KEYS = {
    "init": "init_us",
    "first inference": "first_us",
    "warmup (avg)": "warmup_avg_us",
    "warmup": "warmup_avg_us",
    "inference (avg)": "avg_us",
    "inference": "avg_us",
    "no stats": "avg_us",
}
_FOOTPRINT = re.compile(
    r"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=({_NUMBER}) overall=({_NUMBER})"
)
_PEAK = re.compile(
    rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})(?: MB)?"
)
_STATUS = re.compile(rf"[-+] (VmRSS|RssAnn?on|RssFile \+ RssShmem) *: ({_NUMBER}) MB")
_STATUS_KEYS = {
    "VmRSS": "vm_rss_mb",
    "RssAnnon": "rss_anon_mb",
    "RssAnon": "rss_anon_mb",
    "RssFile + RssShmem": "rss_file_mb",
}
_APPLIED = re.compile(
    r"Explicitly applied (.{1,60}?) delegate, and the model graph will be "
    r"(completely|partially) executed by the delegate(?: w/ (\d{1,9}) delegate kernels)?\."
)
_NOT_APPLIED = re.compile(
    r"Though (.{1,60}?) delegate is explicitly applied, the model graph will not be executed "
    r"by the delegate\."
)
_CREATED = re.compile(r"Created TensorFlow Lite (\w{1,60}) delegate\b.{0,100}")
_SESSION = re.compile(rf"Initialized session in ({_NUMBER}) ?ms\.")
_MODEL_SIZE = re.compile(rf"The input model file size \(MB\): ({_NUMBER})")


class _Seen:
    """What the lines said so far."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.timings = Timings()
        self.footprint: dict[str, float | None] = {}
        self.delegates: list[DelegateShare] = []
        self.session_init_us: float | None = None
        self.model_size_mb: float | None = None

    def read(self, text: str) -> None:
        if "nference timings in us: " in text:
            self.timings = self._timings(text)
        elif found := _FOOTPRINT.fullmatch(text):
            self.footprint.update(init_mb=_number(found[1]), overall_mb=_number(found[2]))
        elif found := _PEAK.fullmatch(text):
            self.footprint["peak_mb"] = _number(found[1])
        elif found := _STATUS.fullmatch(text.strip()):
            self.footprint[_STATUS_KEYS[found[1]]] = _number(found[2])
        elif found := _SESSION.fullmatch(text):
            value = _number(found[1])
            self.session_init_us = None if value is None else value * 1000
        elif found := _MODEL_SIZE.fullmatch(text):
            self.model_size_mb = _number(found[1])
        elif len(self.delegates) < _MOST_NOTES and (share := _delegate(text)):
            self.delegates.append(share)

    def _timings(self, text: str) -> Timings:
        values = {}
        for part in text.partition("timings in us: ")[2].split(", "):
            key, _, value = part.rpartition(": ")
            if not re.fullmatch(_NUMBER, value):
                raise MeasurementError(
                    f"{self._where}: a line that is not understood: {_shown(text)}",
                    hint="did its output arrive whole?",
                )
            name = _TIMING_KEYS.get(key.lower())
            if name:
                values[name] = _number(value)
        return Timings(**values)


def _delegate(text: str) -> DelegateShare | None:
    if found := _APPLIED.fullmatch(text):
        share: Share = "all" if found[2] == "completely" else "part"
        return DelegateShare(_shown(found[1]), share, int(found[3]) if found[3] else None)
    if found := _NOT_APPLIED.fullmatch(text):
        return DelegateShare(_shown(found[1]), "none")
    if found := _CREATED.fullmatch(text):
        return DelegateShare(_shown(found[1]), "unknown")
    return None


_RESULT_KEYS = {
    "model initialization": "init_ms",
    "warmup (first)": "warmup_first_ms",
    "warmup (avg)": "warmup_avg_ms",
    "inference (avg)": "avg_ms",
    "inference (min)": "min_ms",
    "inference (max)": "max_ms",
    "inference (median)": "median_ms",
    "inference (std)": "std_ms",
    "inference (p5)": "p5_ms",
    "inference (p95)": "p95_ms",
    "throughput": "throughput_mb_per_s",
    "init footprint": "init_footprint_mb",
    "overall footprint": "overall_footprint_mb",
    "peak memory": "peak_memory_mb",
}
_RUNS_OF = {"warmup_avg_ms": "warmup_runs", "avg_ms": "runs"}
_RESULT = re.compile(
    rf"([\w ()]{{1,40}}): *({_NUMBER})(?: (?:ms|MB/s|MB))?(?: \((\d{{1,9}}) runs\))?"
)


def parse_results_block(output: bytes, errors: bytes = b"") -> ResultsBlock | None:
    """The block that benchmark_litert_model and the Python tool of that name print, if any."""
    found: dict[str, float | str | bool | None] = {}
    inside = False
    for line in [*_lines(output), *_lines(errors)]:
        text = line.text.strip()
        if "BENCHMARK RESULTS" in text:
            inside, found = True, {"signature": None}
        elif inside and len(found) > 1 and re.fullmatch("={10,200}", text):
            break
        elif inside:
            # "Memory Usage: / Init footprint: 1.00 MB / …" may be on one line, or on three.
            for part in text.split(" / "):
                found.update(_result(part.strip()))
    names = {f.name for f in fields(ResultsBlock)}
    return ResultsBlock(**{k: v for k, v in found.items() if k in names}) if found else None  # type: ignore[arg-type]


def _result(text: str) -> dict[str, float | str | bool | None]:
    key, _, value = text.partition(":")
    if key == "Signature name":
        return {"signature": _shown(value.strip())}
    if key == "Fully accelerated" and value.strip() in ("True", "False"):
        return {"fully_accelerated": value.strip() == "True"}
    found = _RESULT.fullmatch(text)
    name = _RESULT_KEYS.get(found[1].lower()) if found else None
    if found is None or name is None:
        return {}
    values: dict[str, float | str | bool | None] = {name: _number(found[2])}
    if name in _RUNS_OF and found[3]:
        values[_RUNS_OF[name]] = int(found[3])
    return values
