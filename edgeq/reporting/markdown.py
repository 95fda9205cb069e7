"""The report as Markdown for a pull request. Names from models and devices are code with every
character that Markdown or HTML knows as an entity, so that none is markup, a link or a mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgeq.documents import plain
from edgeq.limits import Gate, number
from edgeq.report import format_ticks
from edgeq.reporting.errors import worst_layer
from edgeq.reporting.facts import Report, Subject
from edgeq.reporting.flash import flash_parts
from edgeq.reporting.layers import place
from edgeq.reporting.svg import short
from edgeq.reporting.verdicts import headline, verdict

_MARKS = {"yes": "✅", "no": "❌", "note": "⚠️", "unknown": "❔"}
_PLAIN = " ,.;:()%+'/-"
_LAYERS = 10
"""Rows of the layers that take most."""


def to_markdown(report: Report) -> str:
    answer, sentence = headline(report)
    lines = [f"### edgeq: {_MARKS[answer]} {safe(sentence)}", ""]
    for check in report.checks:
        lines += [f"#### Limits of {code(check.model)}", "", *_gates(check.gates), ""]
    if report.subjects:
        heads = ("model", "target", "median", "arena", "flash", "accuracy", "outputs", "valid")
        lines += [*table(heads, map(_row, report.subjects)), ""]
    for s in report.subjects:
        lines += _details(s)
    return "\n".join(lines).rstrip() + "\n"


def safe(text: object) -> str:
    """`text` as Markdown that shows it and does nothing, behind something else in its line."""
    flat = " ".join(plain(text).split())
    shown = "".join(
        c if c.isalnum() or c in _PLAIN or ord(c) > 127 else f"&#{ord(c)};" for c in flat
    )
    # What looks like an address becomes a link without any markup.
    return re.sub(r"(?i)(www)\.|:(?=/)", lambda m: f"{m[1]}&#46;" if m[1] else "&#58;", shown)


def code(text: object) -> str:
    """A name: also GitHub's mentions and links stay text inside of it."""
    return f"<code>{safe(text)}</code>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Cells are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _gates(gates: Sequence[Gate]) -> list[str]:
    rows = [
        (
            "✅" if g.passed else "❌",
            code(g.target),
            safe(g.metric),
            safe("" if g.value is None else number(g.value, g.unit)),
            safe("" if g.base is None else number(g.base, g.unit)),
            safe("" if g.bound is None else number(g.bound, g.unit)),
            safe("" if g.change is None else f"{g.change:+.2%}"),
            safe(g.reason or (number(g.beyond, g.unit) + " beyond" if not g.passed else "")),
        )
        for g in gates
    ]
    return table(("", "target", "metric", "now", "before", "limit", "change", ""), rows)


def _row(s: Subject) -> tuple[str, ...]:
    m = s.measurement
    lines = {line.question: line for line in verdict(s)}
    arena = s.metric("arena") or (s.memory.arena if s.memory else None)
    flash = sum(size for _, size in flash_parts(s))
    return (
        code(f"{s.model} {s.scheme}"),
        code(s.target),
        safe(format_ticks(m, m.summary.median)) if m else "",
        f"{arena:,.0f}" if arena else "",
        f"{flash:,.0f}" if flash else "",
        _said(lines["accuracy"].answer, lines["accuracy"].fact),
        _said(lines["outputs equal"].answer, ""),
        _said(lines["valid run"].answer, ""),
    )


def _said(answer: str, fact: str) -> str:
    return f"{_MARKS[answer]} {safe(fact)}".rstrip()


def _details(s: Subject) -> list[str]:
    lines = [f"<details><summary>{safe(s.title)}</summary>", ""]
    lines += [
        f"- {_MARKS[line.answer]} **{line.question}**: {safe(line.fact)}" for line in verdict(s)
    ]
    worst = worst_layer(s.layers)
    if worst is not None:
        lines.append(
            f"- most is lost to quantization in operator {place(worst)} {code(worst.op)} "
            f"{code(short(worst.name))}: {worst.lost_db:.1f} dB"
        )
    known = [layer for layer in s.layers if layer.ticks]
    if known and s.measurement:
        total = sum(layer.ticks or 0.0 for layer in known)
        first = sorted(known, key=lambda layer: -(layer.ticks or 0.0))[:_LAYERS]
        rows = [
            (
                place(layer),
                code(layer.op),
                code(short(layer.name)),
                f"{layer.ticks:,.0f}",
                f"{(layer.ticks or 0.0) / total:.1%}",
                f"{layer.macs:,}" if layer.macs else "",
            )
            for layer in first
        ]
        heads = ("operator", "type", "layer", s.measurement.unit, "share", "MACs")
        lines += ["", *table(heads, rows)]
    return [*lines, "", "</details>", ""]
