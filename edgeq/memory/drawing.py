"""A memory plan as a picture: time goes down, the arena across."""

from __future__ import annotations

import colorsys
from html import escape

from edgeq.memory.plan import MemoryPlan

_NAME_LIMIT = 40
_ROW, _WIDTH, _LEFT, _TOP = 22, 900, 190, 34


def draw_text(plan: MemoryPlan, width: int = 64) -> str:
    """One line a step: bytes in use, and what lies where.

    A letter is a buffer, `.` is free; the letters are explained below.
    """
    names = {buffer: _letter(i) for i, buffer in enumerate(plan.buffers)}
    scale = max(1, -(-plan.size // width))
    lines = []
    for step in range(-1, len(plan.steps) + 1):
        line = ["."] * -(-plan.size // scale)
        for buffer, offset in plan.live(step):
            end = max(offset + 1, offset + buffer.size)
            for i in range(offset // scale, -(-end // scale)):
                line[i] = names[buffer]
        mark = "*" if step == plan.peak_step else " "
        lines.append(f"{_step_name(plan, step):<28} {_in_use(plan, step):>9}{mark} {''.join(line)}")
    legend = [
        f"  {names[buffer]} {offset:>8} {buffer.size:>8}  {_short(buffer.name)}"
        for buffer, offset in sorted(
            zip(plan.buffers, plan.offsets, strict=True), key=lambda pair: (pair[0].first, pair[1])
        )
    ]
    return "\n".join(
        [
            _summary(plan),
            f"one character is {scale} bytes; * marks the peak",
            "",
            f"{'operator':<28} {'in use':>9}",
            *lines,
            "",
            "    offset    bytes  name",
            *legend,
            "",
        ]
    )


def draw_svg(plan: MemoryPlan) -> str:
    """The same as an SVG document, a rectangle a buffer."""
    scale = _WIDTH / max(1, plan.size)
    rows = len(plan.steps) + 2
    height = _TOP + rows * _ROW + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 10}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        f'<text x="8" y="20" font-size="13">{escape(_summary(plan))}</text>',
    ]
    for step in range(-1, len(plan.steps) + 1):
        y = _TOP + (step + 1) * _ROW
        weight = ' font-weight="bold"' if step == plan.peak_step else ""
        parts.append(
            f'<text x="8" y="{y + 15}"{weight}>{escape(_step_name(plan, step))}: '
            f"{_in_use(plan, step)}</text>"
        )
    for i, (buffer, offset) in enumerate(zip(plan.buffers, plan.offsets, strict=True)):
        y = _TOP + (buffer.first + 1) * _ROW
        tall = (buffer.last - buffer.first + 1) * _ROW - 2
        title = f"{_short(buffer.name)}: {buffer.size} bytes at {offset}"
        parts.append(
            f'<rect x="{_LEFT + offset * scale:.1f}" y="{y}" '
            f'width="{max(1.0, buffer.size * scale):.1f}" height="{tall}" '
            f'fill="{_color(i)}" fill-opacity="0.75" stroke="#444" stroke-width="0.5">'
            f"<title>{escape(title)}</title></rect>"
        )
    bottom = _TOP + rows * _ROW + 16
    parts.append(f'<text x="{_LEFT}" y="{bottom}">0</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{bottom}" text-anchor="end">{plan.size}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _summary(plan: MemoryPlan) -> str:
    return (
        f"arena {plan.size} bytes, lower bound {plan.lower_bound}, peak {plan.peak_bytes} in "
        f"{_step_name(plan, plan.peak_step)}; placed {plan.order}"
    )


def _step_name(plan: MemoryPlan, step: int) -> str:
    if step < 0:
        return "inputs"
    return f"{step} {plan.steps[step]}" if step < len(plan.steps) else "outputs"


def _in_use(plan: MemoryPlan, step: int) -> int:
    """Bytes that at least one buffer covers."""
    total = end = 0
    for buffer, offset in plan.live(step):
        total += max(0, offset + buffer.size - max(end, offset))
        end = max(end, offset + buffer.size)
    return total


def _letter(i: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return letters[i % len(letters)]


def _short(name: str) -> str:
    """The end of a layer's name: its beginning is what all of them have in common."""
    last = "/".join(name.split(";")[0].split("/")[-2:])
    plain = "".join(c if c.isprintable() else "?" for c in last)
    return plain if len(plain) <= _NAME_LIMIT else "..." + plain[3 - _NAME_LIMIT :]


def _color(i: int) -> str:
    # Steps of the golden angle keep neighbours apart.
    red, green, blue = colorsys.hls_to_rgb((i * 0.381966) % 1.0, 0.68, 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
