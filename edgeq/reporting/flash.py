"""Flash by part: weights, the network's code, the rest of the firmware."""

from __future__ import annotations

from edgeq.reporting.facts import Subject
from edgeq.reporting.svg import WIDTH, Figure, Table, figure, human, rect, text

_LEFT, _RIGHT = 20, 20


def flash_parts(s: Subject) -> list[tuple[str, float]]:
    """What is known of `s`, in bytes, each part apart from the others; nothing on computers."""
    footprint = s.footprint
    weights = footprint.get("weights") if footprint else s.metric("weights")
    call = footprint.get("flash") if footprint else None
    image = s.metric("flash")
    parts = []
    if isinstance(weights, (int, float)):
        parts.append(("weights and other constants", float(weights)))
    if isinstance(call, (int, float)) and isinstance(weights, (int, float)):
        parts.append(("kernels and calls", float(call - weights)))
    if image is not None and parts:
        rest = image - sum(size for _, size in parts)
        if rest > 0:
            parts.append(("the rest of the measured firmware", rest))
    return parts


def by_part(key: str, s: Subject) -> Figure | None:
    """One bar of all parts; as wide as the target's flash would be, where that is not far off."""
    parts = flash_parts(s)
    if not parts:
        return None
    total = sum(size for _, size in parts)
    there = s.described.flash if s.described else None
    full = float(there) if there and there < 8 * total else total
    picture = [rect(_LEFT, 16, WIDTH - _LEFT - _RIGHT, 34, "free")]
    x = float(_LEFT)
    y = 76
    for i, (name, size) in enumerate(parts):
        wide = (WIDTH - _LEFT - _RIGHT) * size / max(full, total)
        said = f"{name}: {size:,.0f} bytes"
        picture.append(rect(x, 16, wide, 34, f"c{i}", said))
        picture += [rect(_LEFT, y - 11, 12, 12, f"c{i}"), text(_LEFT + 20, y, said)]
        x += wide
        y += 20
    if there and full != total:
        picture.append(text(WIDTH - _RIGHT, 76, f"of {human(there)} on {s.target}", "end"))
    rows = [(name, f"{size:,.0f}", f"{size / total:.1%}") for name, size in parts]
    rows.append(("together", f"{total:,.0f}", "100.0%"))
    if there:
        rows.append((f"{s.target} has", f"{there:,}", ""))
    about = "One bar in parts: " + ", ".join(f"{n} {size:,.0f} bytes" for n, size in parts) + "."
    table = Table(("part", ">bytes", ">share"), tuple(rows))
    return figure(key, f"Flash by part: {total:,.0f} bytes", about, y, picture, table)
