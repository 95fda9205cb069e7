"""Models and targets side by side, and an integer model beside the float one."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.measurement import Measurement
from edgeq.report import format_ticks
from edgeq.reporting.facts import Subject
from edgeq.reporting.svg import Figure, Table, bars, figure


def side_by_side(subjects: Sequence[Subject]) -> list[Figure]:
    """One plot for times, one for instructions, one for cycles without a clock: what is in
    different units is not drawn together."""
    groups: dict[str, list[Subject]] = {}
    for s in subjects:
        if s.measurement:
            m = s.measurement
            groups.setdefault("time" if m.tick_hz else m.unit, []).append(s)
    figures = []
    for number, (unit, group) in enumerate(groups.items()):
        if len(group) > 1:
            figures.append(_compared(f"targets-{number}", unit, group))
    return figures


def _compared(key: str, unit: str, group: Sequence[Subject]) -> Figure:
    rows, table = [], []
    for s in group:
        m = s.measurement
        assert m is not None
        value = m.summary.median / (m.tick_hz or 1.0)
        name = f"{s.target} ({s.engine})" if len({s.model for s in group}) == 1 else s.title
        rows.append((name, value, format_ticks(m, m.summary.median), "c0"))
        board = m.environment.device or ""
        table.append((s.model, s.scheme, s.target, board, format_ticks(m, m.summary.median)))
    parts, end = bars(rows)
    best = min(rows, key=lambda row: row[1])
    about = f"Horizontal bars, shorter is better. The least is {best[0]}: {best[2]}."
    heads = ("model", "scheme", "target", "device", f">median {unit}")
    return figure(
        key, f"Median {unit} of an inference", about, end + 6, parts, Table(heads, tuple(table))
    )


def beside_float(key: str, m: Measurement, baseline: Measurement) -> Figure:
    """The integer model and the float one, as they were measured in turns."""
    rows = [
        (n.scheme, n.summary.median, format_ticks(n, n.summary.median), kind)
        for n, kind in ((m, "c0"), (baseline, "c1"))
    ]
    parts, end = bars(rows)
    speedup = m.speedup.value if m.speedup else baseline.summary.median / m.summary.median
    interval = m.speedup.interval if m.speedup else None
    said = f"{m.scheme} is {speedup:.2f} times as fast as {baseline.scheme}"
    if interval:
        said += f" ({interval.low:.2f} to {interval.high:.2f})"
    table = Table(
        ("scheme", ">median", ">95th percentile", ">runs"),
        tuple(
            (
                n.scheme,
                format_ticks(n, n.summary.median),
                format_ticks(n, n.summary.p95),
                f"{n.summary.count:,}",
            )
            for n in (m, baseline)
        ),
    )
    about = f"Two horizontal bars, shorter is better: {said}."
    return figure(key, f"Beside float: {said}", about, end + 6, parts, table)
