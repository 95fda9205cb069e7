"""Drawing: a Figure is an SVG with a title, a description and the table of what it shows.

All text goes through markupsafe, so nothing from a model or a device is markup. Colours are the
classes of templates/style.css, which knows light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgeq.documents import plain

WIDTH = 760
"""Of every plot, in its own units; the page scales it."""

LABEL = 210
"""Of those, for the names of rows."""

ROW = 24

TABLE_ROWS = 400
"""Behind a plot, at most: a page of a network with thousands of operators must stay small."""

_DRAWN = 300


@dataclass(frozen=True)
class Table:
    """The heads, of which those with a leading ">" are numbers, and the cells under them."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A plot, its caption, and the table behind it. `key` is unique in a page."""

    key: str
    caption: str
    svg: Markup
    table: Table


def figure(
    key: str, caption: str, about: str, height: float, parts: Sequence[Markup], table: Table
) -> Figure:
    """The `parts` as one picture, WIDTH wide. `about` says in words what is to be seen."""
    if len(table.rows) > TABLE_ROWS:
        more = f"{len(table.rows) - TABLE_ROWS:,} more: edgeq report --format csv"
        last = (more, *[""] * (len(table.heads) - 1))
        table = Table(table.heads, (*table.rows[:TABLE_ROWS], last))
    svg = Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{k}-t {k}-d" '
        'xmlns="http://www.w3.org/2000/svg"><title id="{k}-t">{t}</title>'
        '<desc id="{k}-d">{d}</desc>\n{body}\n</svg>'
    ).format(
        w=WIDTH,
        h=_n(height),
        k=key,
        t=plain(caption),
        d=plain(about),
        body=Markup("\n").join(parts),
    )
    return Figure(key, caption, svg, table)


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "label") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        _n(x), _n(y), anchor, kind, plain(content)
    )


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Markup:
    inner = Markup("<title>{}</title>").format(plain(title)) if title else ""
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}">{}</rect>').format(
        _n(x), _n(y), _n(max(0.0, width)), _n(max(0.0, height)), kind, inner
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        _n(x1), _n(y1), _n(x2), _n(y2), kind
    )


def path(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through `points`."""
    steps = " ".join(f"{'L' if i else 'M'}{_n(x)} {_n(y)}" for i, (x, y) in enumerate(points))
    return Markup('<path d="{}" class="{}"/>').format(steps, kind)


def band(points: Sequence[tuple[float, float, float]], kind: str) -> Markup:
    """The area between two lines: (x, upper y, lower y)."""
    there = [f"{_n(x)} {_n(a)}" for x, a, _ in points]
    back = [f"{_n(x)} {_n(b)}" for x, _, b in reversed(points)]
    return Markup('<path d="M{}Z" class="{}"/>').format(" L".join(there + back), kind)


def dot(x: float, y: float, kind: str, title: str = "") -> Markup:
    inner = Markup("<title>{}</title>").format(plain(title)) if title else ""
    return Markup('<circle cx="{}" cy="{}" r="4" class="{}">{}</circle>').format(
        _n(x), _n(y), kind, inner
    )


def bars(
    rows: Sequence[tuple[str, float | None, str, str]], top: float = 0.0, left: float = LABEL
) -> tuple[list[Markup], float]:
    """Horizontal bars (name, value, what to write behind it, class), and where they end.

    A value of None is drawn as no bar.
    """
    largest = max((value for _, value, _, _ in rows if value), default=0.0) or 1.0
    room = WIDTH - left - 150
    parts = []
    y = top
    for name, value, said, kind in rows:
        parts.append(text(left - 8, y + 16, short(name), "end"))
        width = room * (value or 0.0) / largest
        if value is not None:
            parts.append(rect(left, y + 4, max(1.0, width), ROW - 8, kind, f"{name}: {said}"))
        parts.append(text(left + width + 6, y + 16, said, kind="value"))
        y += ROW
    return parts, y


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`: 1, 2, 2.5 or 5 times 10^n apart."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * k for k in (1, 2, 2.5, 5, 10) if size * k >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def drawn(sizes: Sequence[float]) -> set[int]:
    """The places of those that a plot draws: the largest. Beside them the others are no pixel."""
    order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    return set(order[:_DRAWN])


def byte_ticks(high: float) -> list[float]:
    """Round numbers of bytes, KiB or MiB from 0 to `high`."""
    size = 1024.0 ** sum(high >= 2 * 1024**n for n in (1, 2))
    return [size * tick for tick in ticks(0, high / size, 4)]


def short(name: str, limit: int = 30) -> str:
    """The end of a layer's name: its beginning is what all of them have in common."""
    last = "/".join(name.split(";")[0].split("/")[-2:])
    return last if len(last) <= limit else "…" + last[1 - limit :]


def human(size: float) -> str:
    """Bytes for an axis: 1536 -> "1.5 KiB"."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
