"""The front as a picture: how close to float each trial is, against what it costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from html import escape

from edgeq.tuning.points import Outcome

_PANEL, _HEIGHT, _LEFT, _TOP, _GAP, _BOTTOM = 300, 260, 64, 56, 40, 56

_COSTS = (
    ("flash", "flash, bytes"),
    ("ram", "RAM, bytes"),
    ("instructions", "emulated instructions"),
    ("milliseconds", "ms on this computer"),
)


def draw_front(
    title: str,
    outcomes: Sequence[Outcome],
    numbers: Mapping[Outcome, int],
    fits: Collection[Outcome],
) -> str:
    """An SVG document, a panel for each cost that is known. `numbers` are those of the front,
    the others are dots; what does not fit is hollow."""
    costs = [
        (key, label)
        for key, label in _COSTS
        if outcomes and all(getattr(o, key) is not None for o in outcomes)
    ]
    by_level = all(math.isfinite(o.level) for o in outcomes)
    width = _LEFT + max(1, len(costs)) * (_PANEL + _GAP)
    height = _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" role="img" '
        'aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}: {len(numbers)} points of the Pareto front</title>',
        f'<desc id="desc">{escape(_description(outcomes, numbers, fits))}</desc>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="38" fill="#444">numbered: the Pareto front; hollow: beyond a limit; '
        "grey: other trials</text>",
    ]
    ys = [_quality(o, by_level) for o in outcomes]
    label = "SQNR, dB" if by_level else "accuracy, %"
    for place, (key, cost) in enumerate(costs):
        xs = [float(getattr(o, key)) for o in outcomes]
        left = _LEFT + place * (_PANEL + _GAP)
        parts += _panel(left, xs, ys, cost, label if place == 0 else "")
        drawn = list(zip(outcomes, xs, ys, strict=True))
        for outcome, x, y in sorted(drawn, key=lambda d: d[0] in numbers):
            parts.append(
                _dot(
                    left + _scaled(x, xs) * _PANEL,
                    _TOP + (1 - _scaled(y, ys)) * _HEIGHT,
                    outcome,
                    numbers.get(outcome),
                    outcome in fits,
                )
            )
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: float, xs: Sequence[float], ys: Sequence[float], x: str, y: str) -> list[str]:
    bottom = _TOP + _HEIGHT
    parts = [
        f'<rect x="{left}" y="{_TOP}" width="{_PANEL}" height="{_HEIGHT}" fill="none" '
        'stroke="#888"/>',
        f'<text x="{left + _PANEL / 2}" y="{bottom + 36}" text-anchor="middle">{escape(x)}</text>',
    ]
    for value, anchor in ((min(xs), "start"), (max(xs), "end")):
        at = left + _scaled(value, xs) * _PANEL
        parts.append(
            f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{_text(value)}</text>'
        )
    if y:
        for value in sorted({min(ys), max(ys)}):
            at = _TOP + (1 - _scaled(value, ys)) * _HEIGHT + 4
            parts.append(f'<text x="{left - 6}" y="{at:.1f}" text-anchor="end">{value:.1f}</text>')
        middle = _TOP + _HEIGHT / 2
        parts.append(
            f'<text x="{left - 44}" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 {left - 44} {middle})">{escape(y)}</text>'
        )
    return parts


def _dot(x: float, y: float, outcome: Outcome, number: int | None, fits: bool) -> str:
    title = f"<title>{escape(_words(outcome, number))}</title>"
    if number is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#bbb">{title}</circle>'
    fill, ink = ("#1f5fa8", "#fff") if fits else ("#fff", "#1f5fa8")
    return (
        f'<g>{title}<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{fill}" stroke="#1f5fa8"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" fill="{ink}">{number}</text></g>'
    )


def _scaled(value: float, values: Sequence[float]) -> float:
    """0.05 for the least of `values`, 0.95 for the greatest."""
    low, high = min(values), max(values)
    return 0.5 if low == high else 0.05 + 0.9 * (value - low) / (high - low)


def _quality(outcome: Outcome, by_level: bool) -> float:
    return outcome.level if by_level else 100 * (outcome.accuracy or 0.0)


def _words(outcome: Outcome, number: int | None) -> str:
    candidate = outcome.candidate
    words = [candidate.scheme]
    if candidate.int16:
        words = [f"int8 with {len(candidate.int16)} operators in int16"]
    if outcome.accuracy is not None:
        words.append(f"accuracy {100 * outcome.accuracy:.2f} %")
    if math.isfinite(outcome.level):
        words.append(f"SQNR {outcome.level:.1f} dB")
    for key, label in _COSTS:
        value = getattr(outcome, key)
        if value is not None:
            words.append(f"{label}: {_text(value)}")
    return ("" if number is None else f"point {number}: ") + ", ".join(words)


def _description(
    outcomes: Sequence[Outcome], numbers: Mapping[Outcome, int], fits: Collection[Outcome]
) -> str:
    lines = [
        _words(o, n) + ("" if o in fits else " (beyond a limit)")
        for o, n in sorted(numbers.items(), key=lambda item: item[1])
    ]
    return f"{len(outcomes)} trials. " + ". ".join(lines)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
