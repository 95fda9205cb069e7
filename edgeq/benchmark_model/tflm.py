"""What TensorFlow Lite Micro's generic benchmark prints: ticks by operator, memory, CRCs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeq.benchmark_model.numbers import WHOLE
from edgeq.errors import Garbage

MAX_TEXT = 8 << 20
_MAX_LINE = 4000
_MOST = 100_000


@dataclass(frozen=True)
class TickedEvent:
    """One operator of one inference, in ticks of the board's clock."""

    tag: str
    ticks: int
    event: int | None = None
    ms: int | None = None


@dataclass(frozen=True)
class TflmReport:
    """`ticks_by_tag` sums all events of a tag; `arena` has bytes by part: Total, NonPersistent,
    Persistent. CRCs are CRC-32 of IEEE 802.3."""

    events: tuple[TickedEvent, ...] = ()
    ticks_by_tag: tuple[tuple[str, int], ...] = ()
    total_ticks: int | None = None
    input_crc32: int | None = None
    output_crc32: int | None = None
    arena: tuple[tuple[str, int], ...] = ()
    allocations: tuple[tuple[str, int], ...] = ()


_TOOK = re.compile(rf"(\S.{{0,200}}?) took ({WHOLE}) ticks(?: \(({WHOLE}) ms\))?\.?")
_TOTAL = re.compile(rf'"?total number of ticks"?, *({WHOLE})')
_TAG = re.compile(rf'"?([A-Za-z_][^",]{{0,200}})"?, *({WHOLE})')
_EVENT = re.compile(rf'({WHOLE}), *"?([^",]{{1,200}})"?, *({WHOLE})')
_CRC = re.compile(r"(Input|Output) CRC32: 0x([0-9A-Fa-f]{1,8})")
_SECTION = re.compile(r"\[\[ (Table|CSV) \]\]: (.{1,60})")
_ARENA = re.compile(
    rf"(?:\|\s*)?\"?(Total|NonPersistent|Persistent|[A-Za-z][\w ]{{0,60}}?)\"?\s*[|,]\s*"
    rf"({WHOLE})(?:\s*[|,].*)?"
)
_ALLOCATOR = re.compile(
    rf"\[RecordingMicroAllocator\] Arena allocation (total|head|tail) ({WHOLE}) bytes"
)


def parse_tflm(text: str) -> TflmReport:
    """The numbers in `text`. Raises Garbage when there are none."""
    if len(text) > MAX_TEXT:
        raise Garbage(f"TFLM's benchmark printed {len(text)} characters", hint="run it again")
    events: list[TickedEvent] = []
    tags: list[tuple[str, int]] = []
    sizes: dict[str, list[tuple[str, int]]] = {"Arena": [], "Allocations": []}
    total, crcs, section = None, dict[str, int](), ""
    for line in text.split("\n"):
        line = line.strip()
        if len(line) > _MAX_LINE or len(events) > _MOST or len(tags) > _MOST:
            continue
        if m := _SECTION.fullmatch(line):
            section = m[2]
        elif line.startswith('"Unique Tag"') or line.startswith('"Event"'):
            section = "Tags" if "Unique" in line else "Events"
        elif m := _TOTAL.fullmatch(line):
            total, section = int(m[1]), ""
        elif m := _TOOK.fullmatch(line):
            events.append(TickedEvent(m[1], int(m[2]), ms=int(m[3]) if m[3] else None))
        elif m := _CRC.fullmatch(line):
            crcs.setdefault(m[1], int(m[2], 16))
        elif m := _ALLOCATOR.fullmatch(line):
            sizes["Arena"].append((m[1], int(m[2])))
        elif section == "Tags" and (m := _TAG.fullmatch(line)):
            tags.append((m[1].strip(), int(m[2])))
        elif section == "Events" and (m := _EVENT.fullmatch(line)):
            events.append(TickedEvent(m[2].strip(), int(m[3]), event=int(m[1])))
        elif section in sizes and len(sizes[section]) < _MOST and (m := _ARENA.fullmatch(line)):
            sizes[section].append((m[1], int(m[2])))
    report = TflmReport(
        tuple(events),
        tuple(tags),
        total,
        crcs.get("Input"),
        crcs.get("Output"),
        tuple(sizes["Arena"]),
        tuple(sizes["Allocations"]),
    )
    if report == TflmReport():
        raise Garbage("no output of TFLM's benchmark", hint="it prints ticks, CRC32 or an arena")
    return report
