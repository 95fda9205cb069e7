"""The results file: Results as JSON, and back with a doubt.

docs/results.md explains every key. What can be computed from the samples is computed again when a
file is read: a number that contradicts them was edited, or damaged on its way.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from edgeq import documents
from edgeq.errors import MeasurementError
from edgeq.measurement import (
    MAX_TICK_HZ,
    SCHEMA,
    SCHEMA_VERSION,
    Interval,
    Measurement,
    Results,
)
from edgeq.stats import block_ratio, judge, summarize

_WRITES_ONE = "edgeq bench --json FILE writes a results file"
_MEASURE_AGAIN = "the file was edited or damaged: measure again"

_SIGNED = {"temperature_c", "metrics"}
"""What may be negative; every other number counts or lasts."""

_PRECISION = 1e-9
"""Share of the largest sample by which a mean may differ on another processor, since that adds up
in another order."""


def to_json(results: Results) -> str:
    """The text of a results file: the same bytes for the same value, samples on short lines."""
    data = {
        "schema": results.schema,
        "schema_version": results.schema_version,
        "measurements": [documents.encode(m) for m in results.measurements],
    }
    return _NUMBERS.sub(_in_rows, documents.to_json(data))


def from_json(data: Any, where: str) -> Results:
    """The Results in the parsed JSON `data`; `where` appears in errors.

    A measurement that is called valid, and whose samples or environment say otherwise, is read as
    not valid, with the reasons.

    Raises MeasurementError when it is something else, too new, or contradicts itself.
    """
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise MeasurementError(
            f"{where}: not a results file (no schema {SCHEMA!r})", hint=_WRITES_ONE
        )
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise MeasurementError(
            f"{where}: schema version {version!r:.40}, this edgeq reads version {SCHEMA_VERSION}",
            hint="use the edgeq that wrote it, or measure again",
        )
    results = documents.decode(data, Results, where, MeasurementError, _WRITES_ONE)
    for m in results.measurements:
        found = next(itertools.chain(_contradictions(m), _wrong_speedup(m, results)), None)
        if found is not None:
            raise MeasurementError(f"{where}: {m.title}: {found}", hint=_MEASURE_AGAIN)
    return replace(results, measurements=tuple(map(_judged, results.measurements)))


def read_results(path: Path) -> Results:
    """The Results in the file at `path`. Raises MeasurementError."""
    return from_json(documents.read_json(path, MeasurementError, _WRITES_ONE), str(path))


def write_results(path: Path, results: Results) -> None:
    """Write `results` to `path`, all of it or nothing. Raises EdgeqError."""
    documents.write_text(path, to_json(results))


def _contradictions(m: Measurement) -> Iterator[str]:
    for key in _negatives(documents.encode(m), ""):
        yield f"{key} is negative"
    if m.unit == "ns" and m.tick_hz != 1e9:
        yield f"tick_hz is {_text(m.tick_hz)}, and its ticks are ns"
    if m.tick_hz is not None and not 1 <= m.tick_hz <= MAX_TICK_HZ:
        yield f"tick_hz is {_text(m.tick_hz)}, which no clock has"
    if min(m.blocks) < 1:
        yield "a block without samples"
    if max(m.samples) >= 2**63:
        yield f"a sample of {max(m.samples)} ticks"
    if m.checks.equal > m.checks.count:
        yield f"{m.checks.equal} of {m.checks.count} golden inputs gave equal outputs"
    if m.delegated and m.delegated.delegated > m.delegated.operators:
        yield f"{m.delegated.delegated} of {m.delegated.operators} operators delegated"
    if m.verdict.valid == bool(m.verdict.reasons):
        yield "its verdict does not fit its reasons"
    yield from _wrong_summary(m)


def _negatives(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _SIGNED:
                yield from _negatives(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _negatives(inner, key)
    elif isinstance(value, (int, float)) and value < 0:
        yield key


def _wrong_summary(m: Measurement) -> Iterator[str]:
    right = summarize(m.samples)
    for field in fields(right):
        said, wanted = getattr(m.summary, field.name), getattr(right, field.name)
        if isinstance(wanted, Interval) and isinstance(said, Interval):
            pairs = [
                (said.low, wanted.low, right.max),
                (said.high, wanted.high, right.max),
                (said.confidence, wanted.confidence, 1.0),
            ]
        else:
            pairs = [(said, wanted, right.max)]
        if not all(_is_close(*pair) for pair in pairs):
            yield f"summary.{field.name} is {_text(said)}, its samples give {_text(wanted)}"


def _wrong_speedup(m: Measurement, results: Results) -> Iterator[str]:
    """The baseline's samples are in the same file, unless somebody took them out."""
    speedup = m.speedup
    if speedup is None:
        return
    baseline = [
        b
        for b in results.measurements
        if (b.model_sha256, b.scheme) == (speedup.baseline_sha256, speedup.baseline_scheme)
    ]
    if len(baseline) != 1 or not (min(m.samples) and min(baseline[0].samples)):
        return
    value, _ = block_ratio(_turns(baseline[0]), _turns(m))
    if not _is_close(speedup.value, value, value):
        yield f"speedup.value is {_text(speedup.value)}, its samples give {_text(value)}"


def _turns(m: Measurement) -> list[tuple[int, ...]]:
    samples = iter(m.samples)
    return [tuple(itertools.islice(samples, count)) for count in m.blocks]


def _is_close(said: Any, wanted: Any, size: float) -> bool:
    if said is None or wanted is None:
        return said is wanted
    return math.isclose(said, wanted, rel_tol=_PRECISION, abs_tol=_PRECISION * size)


def _text(value: Any) -> str:
    if isinstance(value, Interval):
        return f"{value.low:.12g} to {value.high:.12g} ({value.confidence:.2%})"
    return "absent" if value is None else f"{value:.12g}"


def _judged(m: Measurement) -> Measurement:
    verdict = judge(m.samples, m.environment)
    if not m.verdict.valid or verdict.valid:
        return m
    return replace(m, verdict=replace(m.verdict, valid=False, reasons=verdict.reasons))


_NUMBERS = re.compile(r"\[\n\s+(-?\d+(?:,\n\s+-?\d+)+)\n(\s*)\]")
"""A list of integers, one a line; text cannot look like it, since JSON escapes line ends."""

_ROW = 12


def _in_rows(match: re.Match[str]) -> str:
    indent = match[2]
    numbers = re.split(r",\s+", match[1])
    rows = [", ".join(numbers[i : i + _ROW]) for i in range(0, len(numbers), _ROW)]
    return "[\n" + ",\n".join(f"{indent}  {row}" for row in rows) + f"\n{indent}]"
