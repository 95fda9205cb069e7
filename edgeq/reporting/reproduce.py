"""Where a measurement was made, and the commands that make it again."""

from __future__ import annotations

import shlex
from typing import Any

from edgeq.report import format_ticks
from edgeq.reporting.facts import Subject


def environment_rows(s: Subject) -> list[tuple[str, str]]:
    """Names and values of all that is known of where and with what `s` was made."""
    rows: list[tuple[str, str | None]] = []
    m = s.measurement
    if m is not None:
        e = m.environment
        limit = f"{e.frequency_limit_khz / 1000:g} MHz" if e.frequency_limit_khz else None
        rows += [
            ("device", e.device),
            ("processor", ", ".join(filter(None, (e.cpu, e.arch, e.soc)))),
            ("emulator", e.emulator),
            ("clock", f"{m.tick_hz / 1e6:g} MHz" if m.unit == "cycles" and m.tick_hz else None),
            ("cores, threads", f"{e.cores}, {e.threads}" if e.cores and e.threads else None),
            ("frequency", ", ".join(filter(None, (e.governor, limit)))),
            ("system", e.os),
            ("engine", " ".join(filter(None, (m.engine, e.engine_version, e.kernels)))),
            ("runs", f"{m.summary.count:,}, after {m.warmup_runs:,} to warm up"),
            ("first run", None if m.first is None else format_ticks(m, m.first)),
            ("loading", None if m.init is None else format_ticks(m, m.init)),
            ("outputs held to", m.checks.reference),
            ("measured with", f"edgeq {e.edgeq_version}" if e.edgeq_version else None),
        ]
    manifest = s.manifest or {}
    source = _table(manifest.get("source"))
    conversion = _table(manifest.get("conversion"))
    calibration = _table(manifest.get("calibration"))
    firmware = _table(manifest.get("firmware")) or _table(manifest.get("runner"))
    rows += [
        ("built with", f"edgeq {manifest['edgeq']}" if manifest.get("edgeq") else None),
        ("from", _text(source.get("file"))),
        ("its SHA-256", _text(source.get("sha256"))),
        (
            "model's SHA-256",
            m.model_sha256 if m else _text(_table(manifest.get("model")).get("sha256")),
        ),
        ("quantized by", _text(conversion.get("quantization"))),
        (
            "calibrated on",
            f"{calibration['samples']} samples" if "samples" in calibration else None,
        ),
        ("their SHA-256", _text(calibration.get("sha256"))),
        ("compiler", _text(firmware.get("compiler"))),
    ]
    return [(name, value) for name, value in rows if value]


def commands(s: Subject) -> list[str]:
    """What to type, in the folder of the model, to build and measure the same again."""
    lines = []
    manifest = s.manifest
    file = _text(_table(manifest.get("source")).get("file")) if manifest else None
    if manifest is not None and file:
        words = ["edgeq", "build", file, "--target", s.target, "--scheme", s.scheme]
        words += ["--engine", s.engine, "--layers"]
        if manifest.get("calibration"):
            words += ["--calibration-data", _text(manifest["calibration"].get("source")) or "DATA"]
        lines.append(shlex.join(words))
    m = s.measurement
    bench = ["edgeq", "bench", f"build/{s.target}"]
    if m is not None and m.unit == "instructions":
        bench += ["--sim"]
    elif s.described is not None and s.described.transport in ("adb", "ssh"):
        bench += ["--device", "adb:auto" if s.described.transport == "adb" else "ssh:pi@HOST"]
    elif s.described is not None and s.described.core is not None:
        bench += ["--port", "auto"]
    if m is not None and m.profile is not None:
        bench.append("--profile")
    lines.append(shlex.join([*bench, "--json", "now.json"]))
    if m is not None:
        lines.append("edgeq compare before.json now.json")
    return lines


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
