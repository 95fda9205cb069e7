"""What benchmark_model prints.

    output = parse_output(stdout, stderr)       facts, whatever else is printed between them
    warmup, inference = require_runs(output, exit_code, "adb:X")

Times are in microseconds as the tool states them, "MB" of its memory lines are MiB. Whatever the
text is, parsing gives a value or raises Garbage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from edgeq.benchmark_model.numbers import FLOAT, WHOLE, number, whole
from edgeq.errors import DeviceFault, Garbage, UsageError
from edgeq.measurement import Delegated
from edgeq.protocol import printable

MAX_TEXT = 8 << 20
"""Characters of one stream; the tool prints some thousand."""

_MAX_LINE = 4000
_MOST = 200
_SHOWN = 300


@dataclass(frozen=True)
class RunStatistics:
    """A "count=" line: `count` inferences in microseconds, None for what a build does not say.

    `std_us` is of the population, cut to a whole number. A percentile p is element [n * p / 100]
    of the sorted times, without interpolation. `mean_us` has six digits.
    """

    count: int
    first_us: int | None = None
    last_us: int | None = None
    min_us: int | None = None
    max_us: int | None = None
    mean_us: float | None = None
    std_us: float | None = None
    p5_us: int | None = None
    median_us: int | None = None
    p95_us: int | None = None


@dataclass(frozen=True)
class Timings:
    """The line "Inference timings in us"; old builds do not say the first inference."""

    init_us: float | None = None
    first_inference_us: float | None = None
    warmup_mean_us: float | None = None
    inference_mean_us: float | None = None


@dataclass(frozen=True)
class Footprint:
    """Memory in MiB: what loading (`init_mib`) and all of the run (`overall_mib`) added to the
    process, its peak by sampling, and its resident pages at the end."""

    init_mib: float | None = None
    overall_mib: float | None = None
    peak_mib: float | None = None
    rss_mib: float | None = None
    rss_anonymous_mib: float | None = None
    rss_shared_mib: float | None = None


@dataclass(frozen=True)
class DelegateUse:
    """How much of the graph a delegate runs; `kernels` are its own, where it runs a part."""

    name: str
    extent: Literal["all", "part", "none", "failed"]
    kernels: int | None = None


@dataclass(frozen=True)
class ResultsBlock:
    """The block BENCHMARK RESULTS of LiteRT's tool, C++ or Python: rounded to 0.01."""

    signature: str | None = None
    init_ms: float | None = None
    warmup_first_ms: float | None = None
    warmup_mean_ms: float | None = None
    warmup_runs: int | None = None
    mean_ms: float | None = None
    runs: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    throughput_mb_s: float | None = None
    init_mib: float | None = None
    overall_mib: float | None = None
    peak_mib: float | None = None
    fully_accelerated: bool | None = None


@dataclass(frozen=True)
class Output:
    """All that one run printed and edgeq understands. `runs` are its "count=" lines in order: the
    warm-up, then the measured inferences. `failures` end a run, `errors` need not."""

    parameters: tuple[tuple[str, str], ...] = ()
    unconsumed: tuple[str, ...] = ()
    model_size_mb: float | None = None
    session_ms: float | None = None
    runs: tuple[RunStatistics, ...] = ()
    timings: Timings | None = None
    memory: Footprint | None = None
    delegates: tuple[DelegateUse, ...] = ()
    delegated: Delegated | None = None
    block: ResultsBlock | None = None
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


_STATISTICS = re.compile(
    rf"count=({WHOLE})(?: first=({WHOLE}))?(?: curr=({WHOLE}))?(\(all same\))?"
    rf"(?: min=({WHOLE}) max=({WHOLE}) avg=({FLOAT}) std=({FLOAT}))?"
    rf"(?: p5=({WHOLE}) median=({WHOLE}) p95=({WHOLE}))?"
)
_LEVEL = re.compile(r"(INFO|WARN|WARNING|ERROR|FATAL|VERBOSE|DEBUG): ")
_SOURCE = re.compile(r"\[[\w./-]{1,100}:\d{1,6}\] ?")
_PARAMETER = re.compile(r"([A-Za-z#][^\[\]]{0,120}): \[([^\[\]]*)\]")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: *(\S.*)")
_SIZE = re.compile(rf"The input model file size \(MB\): ({FLOAT})")
_SESSION = re.compile(rf"Initialized session in ({FLOAT}) ?ms\.?")
_TIMINGS = re.compile(r"(?:Average i|I)nference timings in us: (.+)")
_TIMING = re.compile(rf"([A-Za-z ()]{{1,40}}): ({FLOAT})")
_FOOTPRINT = re.compile(
    r"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=({FLOAT}) overall=({FLOAT})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({FLOAT})")
_STATUS = re.compile(rf"[-+] (VmRSS|RssAnn?on|RssFile \+ RssShmem) *: ({FLOAT}) MB")
_APPLIED = re.compile(
    r"(?:Explicitly a|A)pplied (.{1,100}?) delegate, and the model graph will be "
    r"(completely|partially) executed (?:by|w/) the delegate"
    rf"(?: w/ ({WHOLE}) delegate kernels)?\.?"
)
_THOUGH = re.compile(
    r"Though (.{1,100}?) delegate is (?:explicitly )?applied, the model graph will not be "
    r"executed (?:by|w/) the delegate\.?"
)
_NOT_APPLIED = re.compile(r"Failed to apply (.{1,100}?) delegate\.?")
_REPLACING = re.compile(
    rf"Replacing ({WHOLE}) out of ({WHOLE}) node\(s\) with delegate \((.{{1,100}}?)\) node, "
    rf"yielding ({WHOLE}) partitions(?: for the whole graph| for subgraph {WHOLE})?\.?"
)
_FAILURE = re.compile(
    r"Benchmarking failed\.|Failed to allocate tensors!|Disallowed CPU fallback detected\."
    r"|Failed to apply .{1,100} delegate\.|Failed to (?:load|compile) model.*"
    r"|Failed to initialize .*|Run failed"
)
_BLOCK = re.compile(
    rf"([A-Z][A-Za-z0-9 ()]{{1,40}}):\s+({FLOAT})(?: ms| MB/s| MB)?(?: \(({WHOLE}) runs\))?"
)
_BLOCK_KEYS = {
    "Model initialization": "init_ms",
    "Warmup (first)": "warmup_first_ms",
    "Warmup (avg)": "warmup_mean_ms",
    "Inference (avg)": "mean_ms",
    "Inference (min)": "min_ms",
    "Inference (max)": "max_ms",
    "Inference (median)": "median_ms",
    "Inference (std)": "std_ms",
    "Inference (p5)": "p5_ms",
    "Inference (p95)": "p95_ms",
    "Throughput": "throughput_mb_s",
    "Init footprint": "init_mib",
    "Overall footprint": "overall_mib",
    "Peak memory": "peak_mib",
}
_RUN_KEYS = {"warmup_mean_ms": "warmup_runs", "mean_ms": "runs"}
_TIMING_KEYS = {
    "Init": "init_us",
    "First inference": "first_inference_us",
    "Warmup (avg)": "warmup_mean_us",
    "Warmup": "warmup_mean_us",
    "Inference (avg)": "inference_mean_us",
    "Inference": "inference_mean_us",
    "no stats": "inference_mean_us",
}
_STATUS_KEYS = {
    "VmRSS": "rss_mib",
    "RssAnnon": "rss_anonymous_mib",
    "RssAnon": "rss_anonymous_mib",
    "RssFile + RssShmem": "rss_shared_mib",
}


def parse_output(stdout: str, stderr: str = "") -> Output:
    """The facts in what benchmark_model printed, either flavour. Raises Garbage."""
    lines = [*_lines(stdout), *_lines(stderr)]
    texts = [text for _, text in lines]
    sizes, sessions = _found(_SIZE, texts), _found(_SESSION, texts)
    return Output(
        parameters=tuple((m[1], m[2]) for m in _found(_PARAMETER, texts)),
        unconsumed=tuple(f for m in _found(_UNCONSUMED, texts) for f in m[1].split()[:_MOST]),
        model_size_mb=number(sizes[0][1]) if sizes else None,
        session_ms=number(sessions[0][1]) if sessions else None,
        runs=tuple(_statistics(m) for m in _found(_STATISTICS, texts)),
        timings=_timings(texts),
        memory=_memory(texts),
        delegates=tuple(_delegates(texts)),
        delegated=_delegated(texts),
        block=_block(texts),
        warnings=_of_level(lines, ("WARN", "WARNING")),
        errors=_of_level(lines, ("ERROR",)),
        failures=tuple(
            text[:_SHOWN] for level, text in lines if level == "FATAL" or _FAILURE.fullmatch(text)
        )[:_MOST],
    )


def require_runs(output: Output, code: int, where: str) -> tuple[RunStatistics, RunStatistics]:
    """The warm-up and the measured inferences of a run that ended with exit code `code`.

    Raises UsageError for flags that the program did not know, DeviceFault when it failed, and
    Garbage when it says that all went well, and no numbers.
    """
    if output.unconsumed:
        raise UsageError(
            f"{where}: benchmark_model does not know {' '.join(map(_quoted, output.unconsumed))}",
            hint="it would run without them: leave them out, or use a build that has them",
        )
    if code or output.failures:
        reasons = [*output.errors, *output.failures] or ["it does not say why"]
        how = f"ended with {code}" if code else "failed"
        raise DeviceFault(
            f"{where}: benchmark_model {how}: {_quoted(reasons[0])}",
            hint=_quoted(reasons[-1]) if len(reasons) > 1 else _hint(code),
        )
    if len(output.runs) != 2:
        raise Garbage(
            f"{where}: benchmark_model printed {len(output.runs)} lines of statistics, not 2",
            hint="is it Google's benchmark_model? edgeq reads the lines that start with count=",
        )
    return output.runs[0], output.runs[1]


def _hint(code: int) -> str:
    if code in (126, 127):
        return "the device could not start it: was it built for this system and its libraries?"
    if code > 128:
        return f"signal {code - 128} ended it: a crash, or too little memory (9)"
    return "run it by hand on the device to see more"


def _quoted(text: str) -> str:
    return printable(text[:_SHOWN].encode("utf-8", "backslashreplace"))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Level ("" for none) and text of each line that is not absurdly long."""
    if len(text) > MAX_TEXT:
        raise Garbage(
            f"benchmark_model printed {len(text)} characters", hint="run it without --verbose"
        )
    for line in text.split("\n"):
        line = line.strip(" \r\t")
        if not line or len(line) > _MAX_LINE:
            continue
        level = _LEVEL.match(line)
        rest = line[level.end() :] if level else line
        source = _SOURCE.match(rest)
        yield level[1] if level else "", (rest[source.end() :] if source else rest).strip()


def _found(pattern: re.Pattern[str], texts: Iterable[str]) -> list[re.Match[str]]:
    return [m for m in map(pattern.fullmatch, texts) if m][:_MOST]


def _of_level(lines: list[tuple[str, str]], levels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text[:_SHOWN] for level, text in lines if level in levels and text)[:_MOST]


def _statistics(m: re.Match[str]) -> RunStatistics:
    count, last = int(m[1]), whole(m[3])
    first, low, high = whole(m[2]), whole(m[5]), whole(m[6])
    mean, std = number(m[7]), number(m[8])
    if low is None and last is not None:  # One inference, or all took the same time.
        first = low = high = last
        mean, std = float(last), 0.0
    percentiles = [whole(m[i]) for i in (9, 10, 11)] if count else [None] * 3
    stats = RunStatistics(count, first, last, low, high, mean, std, *percentiles)
    if problem := _contradiction(stats, same=bool(m[4])):
        raise Garbage(
            f"benchmark_model's statistics contradict themselves: {problem}: {m[0][:200]}",
            hint="was the output damaged on its way? run it again",
        )
    return stats


def _contradiction(s: RunStatistics, same: bool) -> str | None:
    if s.count == 0:
        return "times of no inference" if s.last_us is not None else None
    if s.last_us is None or s.min_us is None or s.max_us is None or s.first_us is None:
        return "no times"
    if same and s.count < 2:
        return "one inference cannot be all the same"
    inner = [s.first_us, s.last_us]
    inner += [p for p in (s.p5_us, s.median_us, s.p95_us) if p is not None]
    if not all(s.min_us <= t <= s.max_us for t in inner):
        return "a time beyond the smallest and the largest"
    if s.p5_us is not None and s.median_us is not None and s.p95_us is not None:
        if not s.p5_us <= s.median_us <= s.p95_us:
            return "percentiles out of order"
    if s.mean_us is None or s.std_us is None or s.std_us < 0:
        return "no mean"
    slack = 1e-5 * s.max_us  # Six digits are printed.
    if not s.min_us - slack <= s.mean_us <= s.max_us + slack:
        return "a mean beyond the smallest and the largest"
    return None


def _timings(texts: list[str]) -> Timings | None:
    for m in _found(_TIMINGS, texts):
        parts = (_TIMING.fullmatch(part.strip()) for part in m[1].split(","))
        values = {_TIMING_KEYS[p[1]]: number(p[2]) for p in parts if p and p[1] in _TIMING_KEYS}
        if values:
            return Timings(**values)
    return None


def _memory(texts: list[str]) -> Footprint | None:
    values: dict[str, float | None] = {}
    for m in _found(_FOOTPRINT, texts):
        values |= {"init_mib": number(m[1]), "overall_mib": number(m[2])}
    for m in _found(_PEAK, texts):
        values["peak_mib"] = number(m[1])
    for m in _found(_STATUS, texts):
        values[_STATUS_KEYS[m[1]]] = number(m[2])
    return Footprint(**values) if values else None


def _delegates(texts: list[str]) -> Iterator[DelegateUse]:
    for m in _found(_APPLIED, texts):
        yield DelegateUse(m[1], "all" if m[2] == "completely" else "part", whole(m[3]))
    for m in _found(_THOUGH, texts):
        yield DelegateUse(m[1], "none")
    for m in _found(_NOT_APPLIED, texts):
        yield DelegateUse(m[1], "failed")


def _delegated(texts: list[str]) -> Delegated | None:
    """The first graph's share, where the runtime was built to say it."""
    for m in _found(_REPLACING, texts):
        taken, operators = int(m[1]), int(m[2])
        if taken <= operators:
            return Delegated(operators, taken)
    return None


def _block(texts: list[str]) -> ResultsBlock | None:
    start = next((i for i, text in enumerate(texts) if "BENCHMARK RESULTS" in text), None)
    if start is None:
        return None
    values: dict[str, float | int | None] = {}
    signature, accelerated = None, None
    for text in texts[start : start + 40]:
        name, _, rest = text.partition(":")
        if name == "Signature name":
            signature = rest.strip()[:_SHOWN]
        elif name == "Fully accelerated" and rest.strip() in ("True", "False"):
            accelerated = rest.strip() == "True"
        m = _BLOCK.fullmatch(text)
        key = _BLOCK_KEYS.get(m[1]) if m else None
        if m and key:
            values.setdefault(key, number(m[2]))
            if key in _RUN_KEYS:
                values.setdefault(_RUN_KEYS[key], whole(m[3]))
    return ResultsBlock(signature=signature, fully_accelerated=accelerated, **values)  # type: ignore[arg-type]
