"""The report as JUnit XML, which every CI service shows: a test suite a subject, a test a
question or a limit."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from edgeq.documents import plain
from edgeq.reporting.facts import Report
from edgeq.reporting.verdicts import Line, gate_lines, verdict


def to_junit(report: Report) -> str:
    """Failures are what is answered with no; what nobody knows is skipped."""
    suites: dict[str, list[Line]] = {}
    for s in report.subjects:
        suites.setdefault(f"{s.title} ({s.engine})", []).extend(verdict(s))
    for title, line in gate_lines(report):
        suites.setdefault(title, []).append(line)
    root = ET.Element("testsuites", name="edgeq")
    for name, lines in suites.items():
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_xml(name),
            tests=str(len(lines)),
            failures=str(sum(line.answer == "no" for line in lines)),
            skipped=str(sum(line.answer == "unknown" for line in lines)),
        )
        for line in lines:
            case = ET.SubElement(
                suite, "testcase", classname=_xml(f"edgeq.{name}"), name=_xml(line.question)
            )
            if line.answer == "no":
                failure = ET.SubElement(case, "failure", message=_xml(line.fact))
                failure.text = _xml(line.fact)
            elif line.answer == "unknown":
                ET.SubElement(case, "skipped", message=_xml(line.fact))
            else:
                ET.SubElement(case, "system-out").text = _xml(line.fact)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """XML 1.0 has no control characters, not even as references, and no U+FFFE and U+FFFF."""
    return plain(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
