"""Pictures of results, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_LEFT, _WIDTH, _ROW, _TOP = 250, 480, 34, 64
_COLOURS = ("#1f6feb", "#8c959f")


def bars(
    title: str, names: tuple[str, str], rows: Sequence[tuple[str, tuple[float, float]]]
) -> str:
    """Two bars a row, the second the row's own whole, and the values behind them."""
    height = _TOP + _ROW * len(rows) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 150} {height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for i, name in enumerate(names):
        x = 10 + 150 * i
        lines.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{_COLOURS[i]}"/>')
        lines.append(f'<text x="{x + 18}" y="46">{escape(name)}</text>')
    for number, (label, values) in enumerate(rows):
        y = _TOP + _ROW * number
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 18}" text-anchor="end">{escape(label)}</text>')
        for i, value in enumerate(values):
            width = _WIDTH * value / max(values)
            top = y + 3 + 13 * i
            lines.append(
                f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="11" '
                f'fill="{_COLOURS[i]}"/>'
            )
            lines.append(
                f'<text x="{_LEFT + width + 6:.1f}" y="{top + 10}" font-size="11">'
                f"{value:,.0f}</text>"
            )
    return "\n".join([*lines, "</svg>"]) + "\n"
