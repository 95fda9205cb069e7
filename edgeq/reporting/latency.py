"""How long an inference takes: the distribution of its runs, and how they drift."""

from __future__ import annotations

import numpy as np

from edgeq.measurement import Measurement
from edgeq.report import format_ticks
from edgeq.reporting.svg import (
    WIDTH,
    Figure,
    Table,
    band,
    dot,
    figure,
    line,
    path,
    rect,
    text,
    ticks,
)

_LEFT, _RIGHT, _TOP = 90, 20, 30
_BINS = 48
_POINTS = 120


def word(m: Measurement) -> str:
    """What its ticks are: an emulator's are never time."""
    return "Instructions" if m.unit == "instructions" else "Latency"


def distribution(key: str, m: Measurement) -> Figure:
    """A histogram up to the 99th percentile, with the median and its confidence interval."""
    data = np.asarray(m.samples, np.float64)
    s = m.summary
    caption = f"{word(m)}, distribution of {s.count:,} runs"
    table = Table(
        ("number", ">value"),
        tuple(
            (name, format_ticks(m, value))
            for name, value in (
                ("minimum", s.min),
                ("5th percentile", s.p5),
                ("median", s.median),
                *(
                    [
                        ("median, low end of its interval", s.median_interval.low),
                        ("median, high end of its interval", s.median_interval.high),
                    ]
                    if s.median_interval
                    else []
                ),
                ("95th percentile", s.p95),
                ("99th percentile", s.p99),
                ("maximum", s.max),
                ("mean", s.mean),
                ("median distance from the median", s.mad),
            )
        ),
    )
    if s.min == s.max:
        said = f"All {s.count:,} runs took {format_ticks(m, s.median)}."
        parts = [
            text(0, 20, said, kind="big"),
            rect(0, 32, WIDTH, 14, "c0", said),
            text(0, 64, "So there is no spread to draw, no drift, and no doubt about the median."),
        ]
        return figure(key, caption, said, 74, parts, table)
    high = max(s.p99, s.median * 1.02)
    shown = data[data <= high]
    counts, edges = np.histogram(shown, _BINS, range=(s.min, high))
    bottom, height = 190, 150
    room = WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return float(_LEFT + room * (value - s.min) / (high - s.min))

    largest = int(counts.max()) or 1
    parts = []
    for count in ticks(0, largest, 4):
        y = bottom - height * count / largest
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y), text(_LEFT - 8, y + 4, f"{count:,.0f}", "end")]
    for count, low, up in zip(counts, edges[:-1], edges[1:], strict=True):
        tall = height * int(count) / largest
        said = f"{int(count):,} runs of {format_ticks(m, low)} to {format_ticks(m, up)}"
        parts.append(rect(x(low), bottom - tall, max(1.0, x(up) - x(low) - 1), tall, "c0", said))
    if s.median_interval:
        low, up = x(s.median_interval.low), x(s.median_interval.high)
        parts.append(rect(low, bottom - height, max(2.0, up - low), height, "interval"))
    parts.append(line(x(s.median), bottom - height - 6, x(s.median), bottom, "mark"))
    anchor = "start" if x(s.median) < WIDTH / 2 else "end"
    parts.append(text(x(s.median), _TOP - 8, f"median {format_ticks(m, s.median)}", anchor, "big"))
    for value in ticks(s.min, high, 5):
        parts.append(text(x(value), bottom + 18, _axis(m, value), "middle"))
    beyond = int(data.size - shown.size)
    if beyond:
        said = "1 slower run is" if beyond == 1 else f"{beyond:,} slower runs are"
        parts.append(text(WIDTH - _RIGHT, bottom + 38, f"{said} not drawn", "end"))
    about = (
        f"A histogram. The median is {format_ticks(m, s.median)}, the 95th percentile "
        f"{format_ticks(m, s.p95)}, the slowest run took {format_ticks(m, s.max)}."
    )
    return figure(key, caption, about, bottom + 46, parts, table)


def drift(key: str, m: Measurement) -> Figure | None:
    """The runs in the order in which they ran: medians of groups, and where 90 % of each lie.

    None where all took the same.
    """
    if m.summary.min == m.summary.max:
        return None
    data = np.asarray(m.samples, np.float64)
    groups = np.array_split(data, min(_POINTS, data.size))
    found = [tuple(float(p) for p in np.percentile(g, (5, 50, 95))) for g in groups]
    caption = f"{word(m)} over the run, in order"
    low = min(f[0] for f in found)
    high = max(f[2] for f in found)
    if low == high:
        low, high = m.summary.min, m.summary.max
    bottom, height = 190, 160
    room = WIDTH - _LEFT - _RIGHT

    def x(i: float) -> float:
        return _LEFT + room * i / max(1, len(found) - 1)

    def y(value: float) -> float:
        return bottom - height * (value - low) / (high - low)

    parts = []
    for value in ticks(low, high, 4):
        parts += [line(_LEFT, y(value), WIDTH - _RIGHT, y(value))]
        parts += [text(_LEFT - 8, y(value) + 4, _axis(m, value), "end")]
    parts.append(band([(x(i), y(f[2]), y(f[0])) for i, f in enumerate(found)], "soft"))
    parts.append(path([(x(i), y(f[1])) for i, f in enumerate(found)], "stroke0"))
    if len(found) == 1:
        parts.append(dot(x(0), y(found[0][1]), "c0"))
    parts.append(line(_LEFT, y(m.summary.median), WIDTH - _RIGHT, y(m.summary.median), "mark"))
    parts += [
        text(_LEFT, bottom + 20, "first run"),
        text(WIDTH - _RIGHT, bottom + 20, "last", "end"),
    ]
    thirds = [float(np.median(t)) for t in np.array_split(data, 3)] if data.size >= 3 else []
    change = thirds[2] / thirds[0] - 1 if thirds and thirds[0] else 0.0
    names = ("first third", "middle third", "last third")
    rows = tuple((name, format_ticks(m, value)) for name, value in zip(names, thirds, strict=False))
    about = (
        f"A line of medians with the band that holds 90 % of the runs. The last third of the runs "
        f"took {abs(change):.1%} {'more' if change > 0 else 'less'} than the first."
    )
    return figure(key, caption, about, bottom + 30, parts, Table(("runs", ">median"), rows))


def _axis(m: Measurement, value: float) -> str:
    return format_ticks(m, value) if m.unit == "ns" else f"{value:,.0f}"
