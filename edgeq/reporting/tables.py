"""The report for other programs: JSON, CSV, and node data for Google's Model Explorer."""

from __future__ import annotations

import csv
import io
from typing import Any

from edgeq import documents
from edgeq.documents import plain
from edgeq.errors import UsageError
from edgeq.report import safe_cell
from edgeq.reporting.facts import Layer, Report, Subject
from edgeq.reporting.flash import flash_parts
from edgeq.reporting.verdicts import headline, verdict

SCHEMA = "edgeq.report"
SCHEMA_VERSION = 1


def to_json(report: Report) -> str:
    """Everything that the page shows but the samples; docs/report.md has the keys."""
    answer, sentence = headline(report)
    return documents.to_json(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "verdict": {"answer": answer, "sentence": sentence},
            "subjects": [_facts(s) for s in report.subjects],
            "checks": [{**documents.encode(c), "passed": c.passed} for c in report.checks],
        }
    )


def to_csv(report: Report) -> str:
    """One row a layer of every subject, RFC 4180 with "\\n"; formulas are made text."""
    names = [
        *("model", "scheme", "target", "engine", "operator", "type", "layer", "macs", "unit"),
        *("ticks", "share", "live_bytes", "sqnr_db", "lost_db"),
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for s in report.subjects:
        total = sum(layer.ticks or 0.0 for layer in s.layers)
        for layer in s.layers:
            writer.writerow({k: _cell(v) for k, v in _layer_row(s, layer, total).items()})
    return text.getvalue()


def to_model_explorer(report: Report) -> str:
    """Node data keyed by operator index, for the subject that has most of it.

    The format is that of model_explorer.node_data_builder (ai-edge-model-explorer 0.1): graph ids,
    and in each `results` by node id, which in a .tflite is the operator's index; its main graph is
    called "main". Values are ticks where there is a profile, else the dB that a layer loses to
    quantization, else MACs. Raises UsageError where nothing has an index.
    """
    best: tuple[str, dict[str, float]] | None = None
    for s in report.subjects:
        for name in ("ticks", "lost_db", "macs"):
            known = {
                str(layer.index): float(value)
                for layer in s.layers
                if layer.index is not None and (value := getattr(layer, name)) is not None
            }
            if known and any(known.values()):
                rank = ("ticks", "lost_db", "macs")
                if best is None or rank.index(name) < rank.index(best[0].split(" ")[0]):
                    best = (f"{name} of {s.title}", known)
                break
    if best is None:
        raise UsageError(
            "no layer has an index in a model", hint="name the bundle beside the results"
        )
    title, values = best
    graph = {
        "name": plain(title),
        "results": {index: {"value": value} for index, value in values.items()},
        "gradient": [
            {"stop": 0, "bgColor": "#e8f1ff"},
            {"stop": 1, "bgColor": "#f28b66"},
        ],
    }
    return documents.to_json({"main": graph})


def _facts(s: Subject) -> dict[str, Any]:
    m = s.measurement
    measured = None
    if m is not None:
        measured = documents.encode(m)
        for bulk in ("samples", "blocks", "profile"):
            measured.pop(bulk, None)
    return {
        "model": s.model,
        "scheme": s.scheme,
        "target": s.target,
        "engine": s.engine,
        "verdict": [documents.encode(line) for line in verdict(s)],
        "measurement": measured,
        "baseline": s.baseline and documents.encode(s.baseline.summary),
        "fidelity": list(s.fidelity),
        "memory": s.memory and documents.encode(s.memory),
        "flash": {name: size for name, size in flash_parts(s)},
        "layers": [documents.encode(layer) for layer in s.layers],
    }


def _layer_row(s: Subject, layer: Layer, total: float) -> dict[str, Any]:
    return {
        "model": s.model,
        "scheme": s.scheme,
        "target": s.target,
        "engine": s.engine,
        "operator": layer.index,
        "type": layer.op,
        "layer": layer.name,
        "macs": layer.macs,
        "unit": s.measurement.unit if s.measurement else None,
        "ticks": layer.ticks,
        "share": layer.ticks / total if layer.ticks and total else None,
        "live_bytes": layer.live_bytes,
        "sqnr_db": layer.sqnr_db,
        "lost_db": layer.lost_db,
    }


def _cell(value: Any) -> Any:
    return safe_cell(plain(value)) if isinstance(value, str) else value
