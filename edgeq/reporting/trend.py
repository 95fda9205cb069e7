"""The same measurement over commits."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.history import Entry, Row
from edgeq.report import format_count
from edgeq.reporting.svg import WIDTH, Figure, Table, dot, figure, line, path, text, ticks

_LEFT, _RIGHT = 110, 30
_SHOWN = 200
"""Of the newest entries."""


def over_time(
    key: str, wanted: tuple[str, str, str, str, str], kept: Sequence[Entry]
) -> Figure | None:
    """Medians of the rows with the key `wanted`; None below two of them."""
    found = [(e, r) for e in kept for r in e.rows if r.key == wanted][-_SHOWN:]
    if len(found) < 2:
        return None
    unit = found[-1][1].unit
    values = [r.median for _, r in found]
    low, high = min(values), max(values)
    # A change of a thousandth must not look like a cliff.
    middle, reach = (low + high) / 2, max(0.6 * (high - low), 0.02 * high, 1.0)
    low, high = max(0.0, middle - reach), middle + reach
    bottom, height = 180, 140
    room = WIDTH - _LEFT - _RIGHT

    def x(i: int) -> float:
        return _LEFT + room * i / (len(found) - 1)

    def y(value: float) -> float:
        return bottom - height * (value - low) / (high - low)

    parts = []
    for value in ticks(low, high, 4):
        parts += [line(_LEFT, y(value), WIDTH - _RIGHT, y(value))]
        parts += [text(_LEFT - 8, y(value) + 4, _axis(value, unit), "end")]
    parts.append(path([(x(i), y(value)) for i, value in enumerate(values)], "stroke0"))
    if len(found) <= 60:
        for i, (e, r) in enumerate(found):
            parts.append(
                dot(
                    x(i),
                    y(r.median),
                    "c0",
                    f"{_name(e)}: {format_count(r.median, unit, r.tick_hz)}",
                )
            )
    parts.append(text(_LEFT, bottom + 20, _name(found[0][0])))
    parts.append(text(WIDTH - _RIGHT, bottom + 20, _name(found[-1][0]), "end"))
    change = values[-1] / values[0] - 1 if values[0] else 0.0
    model, scheme, target, engine, _ = wanted
    caption = f"{model} {scheme} on {target} ({engine}) over {len(found)} kept results"
    about = f"A line of medians in {unit}. The last differs from the first by {change:+.1%}."
    return figure(key, caption, about, bottom + 30, parts, Table(_HEADS, tuple(_rows(found))))


_HEADS = ("time (UTC)", "commit", ">median", ">change", "valid")


def _rows(found: Sequence[tuple[Entry, Row]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    before = 0.0
    for e, r in found:
        change = f"{r.median / before - 1:+.2%}" if before else ""
        valid = "yes" if r.valid else "no"
        rows.append(
            (e.time, e.commit or "", format_count(r.median, r.unit, r.tick_hz), change, valid)
        )
        before = r.median
    return rows[::-1]


def _axis(value: float, unit: str) -> str:
    return format_count(value, unit, None) if unit == "ns" else f"{value:,.0f}"


def _name(e: Entry) -> str:
    return e.commit[:10] if e.commit else e.time
