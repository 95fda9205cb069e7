"""Memory over the layers with its peak, and the arena's plan as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.inspection import BufferFact, Inspection, MemoryFact
from edgeq.reporting.svg import (
    WIDTH,
    Figure,
    Table,
    byte_ticks,
    drawn,
    figure,
    human,
    line,
    rect,
    short,
    text,
)

_LEFT, _RIGHT, _TOP = 80, 20, 30
_COLOURS = 6


def over_layers(key: str, inspection: Inspection) -> Figure:
    """Bytes in use while each operator runs; of the arena where it is planned."""
    plan = inspection.memory
    operators = inspection.operators
    if plan is None:
        used = [o.live_bytes for o in operators]
        peak = inspection.peak_operator
        caption = "Activations that are alive while each operator runs"
    else:
        used = [_in_use(plan, o.index) for o in operators]
        peak = plan.peak_operator
        caption = "Bytes of the arena in use while each operator runs"
    largest = max(used, default=0) or 1
    bottom, height = 190, 150
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(operators))
    parts = []
    for value in byte_ticks(largest):
        y = bottom - height * value / largest
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y), text(_LEFT - 8, y + 4, human(value), "end")]
    step = 1 + len(operators) // 30
    large = drawn(used)
    for o, size in zip(operators, used, strict=True):
        if o.index not in large:
            continue
        x, tall = _LEFT + o.index * room, height * size / largest
        kind = "c1" if o.index == peak else "c0"
        name = f"{o.index} {o.name} {short(o.layer)}: {size:,} bytes"
        parts.append(rect(x + room * 0.1, bottom - tall, room * 0.8, tall, kind, name))
        if o.index % step == 0:
            parts.append(text(x + room / 2, bottom + 16, str(o.index), "middle"))
    if operators:
        at = _LEFT + (peak + 0.5) * room
        anchor = "start" if at < WIDTH / 3 else "end" if at > WIDTH * 2 / 3 else "middle"
        said = f"peak: {used[peak]:,} bytes in operator {peak} {operators[peak].name}"
        parts.append(text(at, _TOP - 8, said, anchor, "big"))
    parts.append(text(_LEFT, bottom + 36, "operators, by their index in the model"))
    rows = tuple(
        (
            str(o.index),
            o.name,
            short(o.layer, 60),
            f"{size:,}" + (" (peak)" if o.index == peak else ""),
        )
        for o, size in zip(operators, used, strict=True)
    )
    about = "A column for each operator."
    if operators:
        about += f" The peak is {used[peak]:,} bytes, in operator {peak} {operators[peak].name}."
    table = Table((">operator", "type", "layer", ">bytes"), rows)
    return figure(key, caption, about, bottom + 44, parts, table)


def plan_picture(key: str, plan: MemoryFact, operators: Sequence[str]) -> Figure:
    """The plan: operators from left to right, the arena's addresses from bottom to top."""
    steps = len(operators) + 2
    room = (WIDTH - _LEFT - _RIGHT) / steps
    bottom, height = 290, 260
    size = max(1, plan.arena)
    parts = []
    for value in byte_ticks(size):
        y = bottom - height * value / size
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y), text(_LEFT - 8, y + 4, human(value), "end")]
    peak = _LEFT + (plan.peak_operator + 1) * room
    parts.append(rect(peak, bottom - height, room, height, "interval"))
    large = drawn([b.bytes for b in plan.buffers])
    for i, b in enumerate(plan.buffers):
        if i not in large:
            continue
        x = _LEFT + (b.first + 1) * room
        wide = (b.last - b.first + 1) * room
        tall = height * b.bytes / size
        y = bottom - height * (b.offset + b.bytes) / size
        said = f"{short(b.name)}: {b.bytes:,} bytes at {b.offset:,}"
        parts.append(rect(x + 1, y, wide - 2, max(1.0, tall), f"p{i % _COLOURS}", said))
        name = short(b.name, 40)
        if tall > 14 and 6.2 * len(name) < wide:
            parts.append(text(x + wide / 2, y + tall / 2 + 4, name, "middle", "inside"))
    step = 1 + steps // 24
    for i in range(0, steps, step):
        name = "in" if i == 0 else "out" if i == steps - 1 else str(i - 1)
        parts.append(text(_LEFT + (i + 0.5) * room, bottom + 16, name, "middle"))
    parts.append(
        text(_LEFT, bottom + 36, "time: the inputs, each operator by its index, the outputs")
    )
    rows = tuple(
        (short(b.name, 60), f"{b.offset:,}", f"{b.bytes:,}", _when(b, len(operators)))
        for b in sorted(plan.buffers, key=lambda b: (b.first, b.offset))
    )
    about = (
        f"Rectangles, one a buffer: across, from which operator to which it is in use; up, where "
        f"it lies. The arena has {plan.arena:,} bytes; no plan can be below {plan.lower_bound:,}. "
        f"The operator with the peak, {plan.peak_operator}, is shaded."
    )
    caption = f"The arena's plan: {plan.arena:,} bytes, at least {plan.lower_bound:,} are needed"
    table = Table(("buffer", ">offset", ">bytes", "in use"), rows)
    return figure(key, caption, about, bottom + 44, parts, table)


def _when(b: BufferFact, count: int) -> str:
    def name(step: int) -> str:
        return "the inputs" if step < 0 else "the outputs" if step >= count else str(step)

    return name(b.first) if b.first == b.last else f"{name(b.first)} to {name(b.last)}"


def _in_use(plan: MemoryFact, step: int) -> int:
    """Bytes that at least one buffer covers."""
    total = end = 0
    for b in sorted(plan.buffers, key=lambda b: b.offset):
        if b.first <= step <= b.last:
            total += max(0, b.offset + b.bytes - max(end, b.offset))
            end = max(end, b.offset + b.bytes)
    return total
