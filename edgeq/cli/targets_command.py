"""`edgeq targets`: list, explain or check target descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli.console import human_bytes, say, table, write_json
from edgeq.cli.destinations import check_destinations
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.operators import table_for
from edgeq.targets import Target, check_target, is_path, list_targets, load_target

SCHEMA = "edgeq.targets"
SCHEMA_VERSION = 1

_EVERY_BUNDLE = "manifest.json, model.tflite, golden inputs and outputs, README"

_IN_C = "with engine aot instead: the network in C99 with its kernels, and a program that serves it"

_YIELDS = {
    "cortex-m": (
        "the network in C99 with its kernels; firmware, for boards with a port in runtime/ports;",
        "for TensorFlow Lite Micro: the model as an aligned array, a resolver of its operators,",
        "shapes and scales of inputs and outputs, the arena's size, golden vectors, a main",
    ),
    "linux": (
        "run.py, which checks, measures and classifies there; requirements for its OS and Python",
        _IN_C,
    ),
    "android": ("a Kotlin file with shapes, scales, quantize and dequantize", _IN_C),
    "host": ("run.py, which checks, measures and classifies on any computer like this one", _IN_C),
}
"""What `edgeq build` writes for a family, beside what every bundle has."""


@click.command("targets")
@click.argument("name", required=False)
@click.option("--check", metavar="FILE", help="Check a target file of your own.")
@click.option("--json", "destination", metavar="FILE", help="Write the same as JSON; - is stdout.")
def command(name: str | None, check: str | None, destination: str | None) -> None:
    """List the targets, or explain the one called NAME (or in the file NAME)."""
    if name and check:
        raise UsageError("NAME and --check FILE exclude each other", hint="give one of them")
    check_destinations({"--json": destination}, [check, name if name and is_path(name) else None])
    if check:
        targets = [check_target(Path(check))]
    else:
        targets = [load_target(name)] if name else list_targets()
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "targets": [_facts(t) for t in targets],
    }
    if destination and not write_json(destination, document):
        return
    if check:
        say(f"{check}: fine")
    if name or check:
        _explain(targets[0])
    else:
        _list(targets)


def _list(targets: list[Target]) -> None:
    columns = ("name", "title", "core", ">clock", ">flash", ">ram", "engines", "transport")
    rows = [
        (
            t.name,
            t.title,
            t.core.name if t.core else t.arch,
            _clock(t.clock_hz),
            _size(t.flash),
            _size(t.ram),
            ", ".join(t.engines),
            t.transport,
        )
        for t in targets
    ]
    table(columns, rows)
    say()
    say("'edgeq targets NAME' explains one. A board of your own: targets/README.md, then --check.")


def _explain(target: Target) -> None:
    say(f"{target.name}: {target.title}")
    lines = [("family", target.family)]
    if target.core:
        lines += [
            ("core", f"{target.core.name} ({target.core.arch})"),
            ("", ", ".join(target.core.capabilities) or "no DSP, no FPU, no cycle counter"),
            ("compiler flags", " ".join(target.core.cflags)),
        ]
    elif target.arch:
        lines.append(("arch", target.arch))
    if target.clock_hz:
        lines.append(("clock", f"{_clock(target.clock_hz)}, the highest"))
    limits = "not known: operators are checked, whether a model fits is not"
    if target.core:
        lines.append(("flash", _exact_size(target.flash) if target.flash else limits))
    if target.core or target.ram:
        lines.append(("RAM", _exact_size(target.ram) if target.ram else limits))
    for engine in target.engines:
        operators = table_for(target, engine)
        count = len(operators.operators)
        lines.append(("engine", f"{engine}: {operators.title}, {count} operators"))
    if len(target.engines) > 1:
        lines.append(("", f"default: {target.default_engine}"))
    lines.append(("floats", "never" if target.integer_only else "with --allow-float"))
    if target.python:
        lines.append(("Python", f"{', '.join(target.python)}; glibc {target.glibc} or newer"))
    lines.append(("transport", target.transport or "none: built for, not connected to"))
    if target.flasher:
        lines.append(("flasher", target.flasher))
    if target.usb_ids:
        lines.append(("USB ids", ", ".join(target.usb_ids)))
    if target.sim:
        lines.append(("emulator", f"QEMU machine {target.sim}"))
    elif target.core:
        lines.append(("emulator", "none"))
    lines.append(("a build yields", _EVERY_BUNDLE))
    lines += [("", line) for line in _YIELDS[target.family]]
    for key, value in lines:
        say(f"  {key:<15} {value}")


def _facts(target: Target) -> dict[str, Any]:
    """The target's keys, without those that it lacks, and its operators counted by engine."""
    facts: dict[str, Any] = {k: v for k, v in encode(target).items() if v}
    facts["operators"] = {e: len(table_for(target, e).operators) for e in target.engines}
    return facts


def _clock(clock_hz: int | None) -> str:
    if not clock_hz:
        return ""
    return f"{clock_hz / 1e9:g} GHz" if clock_hz >= 1e9 else f"{clock_hz / 1e6:g} MHz"


def _size(size: int | None) -> str:
    return human_bytes(size) if size else ""


def _exact_size(size: int) -> str:
    return f"{size} bytes ({human_bytes(size)})"
