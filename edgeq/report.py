"""Results as people and other programs read them: rows of a table, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from edgeq.comparison import PROCESS_NOISE, Change, Comparison
from edgeq.measurement import Interval, Measurement, Results


def format_ticks(measurement: Measurement, ticks: float) -> str:
    """`ticks` of `measurement` for a person: "1.234 ms", "8,100,000 cycles (67.5 ms)".

    Instructions are never turned into time.
    """
    return format_count(ticks, measurement.unit, measurement.tick_hz)


def format_count(ticks: float, unit: str, tick_hz: float | None) -> str:
    """The same of `ticks` of any `unit`, `tick_hz` of them a second."""
    if unit == "ns":
        return _time(ticks * 1e-9)
    text = f"{ticks:,.0f} {unit}"
    if unit == "cycles" and tick_hz:
        text += f" ({_time(ticks / tick_hz)})"
    return text


MEASUREMENT_COLUMNS = (
    "model",
    "scheme",
    ">median",
    "95 % interval",
    ">p95",
    ">p99",
    ">MAD",
    ">first",
    ">load",
    ">runs",
    "outputs",
    "valid",
)


BOARD_MEMORY = ("arena", "weights", "stack", "flash", "ram")
"""The metrics of a measurement on a board that board_rows shows."""


def measurement_rows(measurements: Sequence[Measurement]) -> list[list[str]]:
    """Cells under MEASUREMENT_COLUMNS, one row a measurement."""
    return [
        [
            m.model,
            m.scheme,
            format_ticks(m, m.summary.median),
            _range(m, m.summary.median_interval),
            format_ticks(m, m.summary.p95),
            format_ticks(m, m.summary.p99),
            _spread(m),
            "" if m.first is None else format_ticks(m, m.first),
            "" if m.init is None else format_ticks(m, m.init),
            f"{m.summary.count:,}",
            _outputs(m),
            "yes" if m.verdict.valid else "no",
        ]
        for m in measurements
    ]


def board_columns(measurements: Sequence[Measurement]) -> list[str]:
    """The heads of board_rows: what one tick is, and the time only where ticks are one."""
    return list(_board_table(measurements))


def board_rows(measurements: Sequence[Measurement]) -> list[list[str]]:
    """Cells under board_columns, one row a board. Ticks are medians, memory is in bytes."""
    return [list(row) for row in zip(*_board_table(measurements).values(), strict=True)]


def _board_table(measurements: Sequence[Measurement]) -> dict[str, list[str]]:
    """Columns that say something, by their heads. Nanoseconds are shown as time alone."""
    ticks = sorted({m.unit for m in measurements if m.unit != "ns"})
    table: dict[str, list[str]] = {
        "target": [m.target for m in measurements],
        "board": [_board(m) for m in measurements],
        "engine": [m.engine for m in measurements],
        "model": [m.model for m in measurements],
        "scheme": [m.scheme for m in measurements],
    }
    if ticks:
        table[f">{'/'.join(ticks)}"] = [
            "" if m.unit == "ns" else f"{m.summary.median:,.0f}" for m in measurements
        ]
    table[">time"] = [
        _time(m.summary.median / m.tick_hz) if m.tick_hz else "" for m in measurements
    ]
    table[">p95"] = [
        _time(m.summary.p95 * 1e-9) if m.unit == "ns" else f"{m.summary.p95:,.0f}"
        for m in measurements
    ]
    table[">MAD"] = [_spread(m) for m in measurements]
    table[">runs"] = [f"{m.summary.count:,}" for m in measurements]
    for name in BOARD_MEMORY:
        table[f">{name}"] = [_metric(m, name) for m in measurements]
    table["outputs"] = [_outputs(m) for m in measurements]
    table["valid"] = ["yes" if m.verdict.valid else "no" for m in measurements]
    return {head: cells for head, cells in table.items() if any(cells)}


def _board(m: Measurement) -> str:
    device = m.environment.device or ""
    return device.replace(f"{m.environment.emulator} as ", "QEMU: ", 1)


def _metric(m: Measurement, name: str) -> str:
    return next((f"{metric.value:,.0f}" for metric in m.metrics if metric.name == name), "")


def measurement_notes(measurements: Sequence[Measurement]) -> list[str]:
    """What to say below the table: why one is not valid, notes, and what int8 brought."""
    lines = []
    several = len({m.target for m in measurements}) > 1
    for m in measurements:
        title = f"{m.title} on {m.target}" if several else m.title
        lines += [f"{title} is not valid: {reason}" for reason in m.verdict.reasons]
        lines += [f"{title}: {note}" for note in m.verdict.notes]
        lines += [
            f"{title}: the last tenth of the runs took {metric.value:.2f} times as long as the "
            "first"
            for metric in m.metrics
            if metric.name == "slowdown"
        ]
        if m.speedup:
            lines.append(_speedup(m))
    return lines


COMPARISON_COLUMNS = (
    "model",
    "scheme",
    "target",
    "engine",
    "metric",
    ">base",
    ">new",
    ">change",
    "90 % interval",
    ">limit",
    "verdict",
)


def circumstances(results: Results) -> list[str]:
    """Where and with what each measurement was made, equal ones once: "host: x86_64, …"."""
    return list(dict.fromkeys(map(_circumstances, results.measurements)))


def _circumstances(m: Measurement) -> str:
    e = m.environment
    engine = " ".join(filter(None, (m.engine, e.engine_version, e.kernels)))
    threads = None if e.threads is None else f"{e.threads} thread{'s' * (e.threads != 1)}"
    clock = f"{m.tick_hz / 1e6:g} MHz" if m.unit == "cycles" and m.tick_hz else None
    device = None if e.device == m.target else e.device
    facts = filter(None, (device, e.cpu, clock, e.arch, engine, threads, e.governor))
    return f"{m.target}: {', '.join(facts)}"


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """Cells under COMPARISON_COLUMNS, one row a metric."""
    return [
        [
            c.model,
            c.scheme,
            c.target,
            c.engine,
            c.metric,
            _value(c.base, c.unit),
            _value(c.new, c.unit),
            "" if c.change is None else f"{c.change:+.1%}",
            "" if c.interval is None else f"{c.interval.low:+.1%} to {c.interval.high:+.1%}",
            "" if c.limit is None else str(c.limit),
            _outcome(c),
        ]
        for c in comparison.changes
    ]


def _outcome(change: Change) -> str:
    if change.outcome == "noise":
        return "within the noise"
    if change.outcome == "worse":
        return "worse, within the limit" if change.limit else "worse, has no limit"
    return change.outcome


def to_csv(results: Results) -> str:
    """One row a measurement, with a header; RFC 4180 with "\\n" line ends.

    A text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    rows = [
        {safe_cell(name): safe_cell(cell) for name, cell in _csv_cells(m)}
        for m in results.measurements
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def _spread(m: Measurement) -> str:
    return f"{m.summary.mad / m.summary.median:.1%}" if m.summary.median else ""


def _range(m: Measurement, interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{format_ticks(m, interval.low)} to {format_ticks(m, interval.high)}"


def _value(value: float, unit: str) -> str:
    if unit == "ns":
        return _time(value * 1e-9)
    if unit in ("bytes", "cycles", "instructions"):
        return f"{value:,.0f} {unit}"
    return f"{value:.6g} {unit}".rstrip()


def _outputs(m: Measurement) -> str:
    if m.checks.count == 0:
        return "not checked"
    if m.checks.equal == m.checks.count:
        return f"{m.checks.count} equal"
    return f"{m.checks.equal} of {m.checks.count} equal, others within {m.checks.max_difference:g}"


def _speedup(m: Measurement) -> str:
    assert m.speedup
    value, interval = m.speedup.value, m.speedup.interval
    text = f"{m.title} is {value:.2f} times as fast as {m.speedup.baseline_scheme}"
    if interval:
        text += (
            f" ({interval.low:.2f} to {interval.high:.2f}, {interval.confidence:.0%} confidence)"
        )
    if abs(value - 1) <= PROCESS_NOISE or (interval and interval.low <= 1 <= interval.high):
        return text + ": no difference that one run could tell from noise"
    if value < 1 and m.delegated and m.delegated.delegated < m.delegated.operators:
        text += f": {m.delegated.delegated} of {m.delegated.operators} operators run accelerated"
    return text


def _csv_cells(m: Measurement) -> Iterator[tuple[str, Any]]:
    s, e = m.summary, m.environment
    for name in ("model", "model_sha256", "target", "engine", "scheme", "unit", "tick_hz"):
        yield name, getattr(m, name)
    yield "threads", e.threads
    yield "warmup_runs", m.warmup_runs
    for name in ("init", "first"):
        yield name, getattr(m, name)
    yield "runs", s.count
    for name in ("min", "median"):
        yield name, getattr(s, name)
    yield "median_low", s.median_interval and s.median_interval.low
    yield "median_high", s.median_interval and s.median_interval.high
    for name in ("mean", "max", "p5", "p95", "p99", "std", "mad"):
        yield name, getattr(s, name)
    yield "valid", m.verdict.valid
    yield "reasons", "; ".join(m.verdict.reasons)
    yield "notes", "; ".join(m.verdict.notes)
    yield "golden_inputs", m.checks.count
    yield "golden_equal", m.checks.equal
    yield "golden_max_difference", m.checks.max_difference
    yield "peak_rss_delta", m.memory and m.memory.peak_rss_delta
    yield "operators", m.delegated and m.delegated.operators
    yield "operators_delegated", m.delegated and m.delegated.delegated
    yield "speedup", m.speedup and m.speedup.value
    yield "speedup_low", m.speedup and m.speedup.interval and m.speedup.interval.low
    yield "speedup_high", m.speedup and m.speedup.interval and m.speedup.interval.high
    yield "speedup_over", m.speedup and m.speedup.baseline_scheme
    for name in ("device", "arch", "cpu", "cores", "os", "python", "governor"):
        yield name, getattr(e, name)
    for name in ("engine_version", "kernels", "edgeq_version"):
        yield name, getattr(e, name)
    for metric in m.metrics:
        yield metric.name, metric.value


def safe_cell(cell: Any) -> Any:
    """`cell` for CSV: text that a spreadsheet would take for a formula gets an apostrophe."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + cell
    return cell
