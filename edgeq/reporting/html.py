"""The report as one HTML file: no script, no network, templates with autoescape."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from edgeq import __version__
from edgeq.documents import plain
from edgeq.report import format_ticks, measurement_notes
from edgeq.reporting import arena, errors, flash, latency, layers, targets, trend
from edgeq.reporting.facts import Report, Subject
from edgeq.reporting.reproduce import commands, environment_rows
from edgeq.reporting.svg import Figure
from edgeq.reporting.verdicts import Line, headline, verdict

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Part:
    """A subject as the page shows it. `notes` by the part of the page that they are below."""

    key: str
    title: str
    short: str
    number: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    speed: tuple[Figure, ...]
    layers: tuple[Figure, ...]
    memory: tuple[Figure, ...]
    quality: tuple[Figure, ...]
    fidelity: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


def to_html(report: Report) -> str:
    """The whole page, the same bytes for the same report."""
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    answer, sentence = headline(report)
    several = len(report.subjects) > 1
    return environment.get_template("report.html").render(
        title=report.model or ", ".join(c.model for c in report.checks),
        version=__version__,
        style=style,
        style_hash=digest,
        answer=answer,
        sentence=sentence,
        checks=report.checks,
        parts=[_part(i, s) for i, s in enumerate(report.subjects)],
        side=targets.side_by_side(report.subjects) if several else [],
        summary=[_summary(s) for s in report.subjects] if several else [],
        trends=_trends(report),
    )


def _shown(value: Any) -> Any:
    """What a template writes: text without control characters, markup as it is."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else plain(value)


def _part(number: int, s: Subject) -> Part:
    key, m = f"s{number}", s.measurement
    known = s.layers
    unit = m.unit if m else "MACs"
    speed, order, memory, missing = [], [], [], []
    if m is not None:
        drift = latency.drift(f"{key}-drift", m)
        speed += [latency.distribution(f"{key}-runs", m), *([drift] if drift else [])]
        if s.baseline is not None:
            speed.append(targets.beside_float(f"{key}-float", m, s.baseline))
    if any(layer.macs or layer.ticks for layer in known):
        order.append(layers.in_order(f"{key}-order", known, unit))
    if any(layer.ticks for layer in known):
        order.append(layers.by_cost(f"{key}-cost", known, unit))
    elif m is not None:
        missing.append("What each layer takes is measured by edgeq bench --profile, on devices.")
    if s.inspection is not None:
        memory.append(arena.over_layers(f"{key}-memory", s.inspection))
    if s.inspection is not None and s.memory is not None:
        names = [o.name for o in s.inspection.operators]
        memory.append(arena.plan_picture(f"{key}-plan", s.memory, names))
    parts = flash.by_part(f"{key}-flash", s)
    error = errors.by_layer(f"{key}-error", known)
    if error is None and s.manifest is not None and s.scheme != "float32":
        missing.append("Each layer's quantization error is measured by edgeq build --layers.")
    if s.manifest is None:
        missing.append(
            "Memory, flash and quantization error are read from the bundle: name it beside the "
            "results."
        )
    return Part(
        key=key,
        title=s.title,
        short=s.target,
        number=format_ticks(m, m.summary.median) if m else "not measured",
        lines=tuple(verdict(s)),
        notes=tuple(measurement_notes([m])) if m else (),
        speed=tuple(speed),
        layers=tuple(order),
        memory=tuple([*memory, parts] if parts else memory),
        quality=(error,) if error else (),
        fidelity=tuple(map(_output, s.fidelity)),
        missing=tuple(missing),
        environment=tuple(environment_rows(s)),
        commands=tuple(commands(s)),
    )


def _output(f: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table of outputs: the integer model against float."""

    def cell(key: str, form: str) -> str:
        value = f.get(key)
        return format(value, form) if isinstance(value, (int, float)) else ""

    return (
        str(f.get("output")),
        cell("sqnr_db", ".1f") or "equal",
        cell("max_error", "g"),
        cell("max_error_steps", "g"),
        cell("top1_agreement", ".2%"),
        cell("accuracy", ".2%"),
        cell("float_accuracy", ".2%"),
        cell("samples", ","),
    )


def _summary(s: Subject) -> tuple[str, ...]:
    m = s.measurement
    accuracy = next(line for line in verdict(s) if line.question == "accuracy")
    ram = s.metric("arena") or (s.memory.arena if s.memory else None)
    whole = sum(size for _, size in flash.flash_parts(s))
    return (
        s.title,
        s.engine,
        format_ticks(m, m.summary.median) if m else "",
        f"{ram:,.0f}" if ram else "",
        f"{whole:,.0f}" if whole else "",
        accuracy.fact if accuracy.answer != "unknown" else "",
        "" if m is None else "yes" if m.verdict.valid else "no",
    )


def _trends(report: Report) -> list[Figure]:
    found = []
    for i, s in enumerate(report.subjects):
        if s.measurement is not None:
            key = (s.model, s.scheme, s.target, s.engine, s.measurement.unit)
            drawn = trend.over_time(f"trend-{i}", key, report.history)
            found += [drawn] if drawn else []
    return found
