"""`edgeq report`: results and bundles as one page, and as Markdown, JSON, CSV and JUnit.

facts.py gathers, verdicts.py judges; latency.py, layers.py, arena.py, flash.py, errors.py,
targets.py and trend.py draw one subject each with svg.py; html.py, markdown.py, junit.py and
tables.py write.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeq.reporting.facts import Layer, Report, Subject, gather, open_sources
from edgeq.reporting.html import to_html
from edgeq.reporting.junit import to_junit
from edgeq.reporting.markdown import to_markdown
from edgeq.reporting.tables import to_csv, to_json, to_model_explorer
from edgeq.reporting.verdicts import Line, headline, verdict

FORMATS: dict[str, Callable[[Report], str]] = {
    "html": to_html,
    "md": to_markdown,
    "json": to_json,
    "csv": to_csv,
    "junit": to_junit,
    "model-explorer": to_model_explorer,
}
"""By name: what `edgeq report --format` writes."""

__all__ = [
    "FORMATS",
    "Layer",
    "Line",
    "Report",
    "Subject",
    "gather",
    "headline",
    "open_sources",
    "to_csv",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "to_model_explorer",
    "verdict",
]
