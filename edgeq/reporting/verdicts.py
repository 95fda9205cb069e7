"""The verdict on a subject: a few questions that can be answered with yes or no."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgeq.limits import METRICS
from edgeq.report import format_ticks
from edgeq.reporting.facts import Report, Subject

Answer = Literal["yes", "no", "note", "unknown"]

LARGE_DROP = 0.01
"""Of accuracy against float, above which it is worth a look: `edgeq compare`'s default limit."""


@dataclass(frozen=True)
class Line:
    """One question, its answer, and the fact behind it."""

    question: str
    answer: Answer
    fact: str


def verdict(subject: Subject) -> list[Line]:
    """All questions on one subject, in the order of their weight."""
    return [
        _integer(subject),
        _outputs(subject),
        _fits(subject),
        _accuracy(subject),
        _valid(subject),
    ]


def gate_lines(report: Report) -> Iterator[tuple[str, Line]]:
    """Each gate of `edgeq check`, with the title of what it is on."""
    for check in report.checks:
        for gate in check.gates:
            line = Line(f"{gate.metric} limit", "yes" if gate.passed else "no", gate.sentence)
            yield f"{check.model} on {gate.target}", line


def headline(report: Report) -> tuple[Answer, str]:
    """The whole report in a sentence."""
    found = [(s.title, line) for s in report.subjects for line in verdict(s)]
    found += gate_lines(report)
    lines = [line for _, line in found]
    wrong = [(title, line) for title, line in found if line.answer == "no"]
    if wrong:
        title, line = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return "no", f"{title}: {_NOT[line.question]}: {line.fact}{more}."
    open_questions = sum(line.answer == "unknown" for line in lines)
    if any(line.answer == "note" for line in lines):
        return "note", "Everything that was checked holds; something is worth a look."
    if open_questions:
        are = "question is" if open_questions == 1 else "questions are"
        return "yes", f"Everything that was checked holds; {open_questions} {are} still open."
    return "yes", "Everything that was checked holds."


_NOT = {
    "fully integer": "not fully integer",
    "outputs equal": "outputs differ",
    "fits": "does not fit",
    "accuracy": "accuracy",
    "valid run": "the run is not valid",
    **{f"{metric} limit": f"the limit on {metric} is broken" for metric in METRICS},
}
"""By question: what is said where the answer is no."""


def _integer(s: Subject) -> Line:
    question = "fully integer"
    proof = s.manifest.get("proof") if s.manifest else None
    if not isinstance(proof, dict) or not s.inspection:
        return Line(question, "unknown", f"scheme {s.scheme}; its bundle is not in this report")
    if not s.inspection.violations:
        return Line(question, "yes", f"all {len(s.inspection.operators)} operators")
    if s.scheme in ("int8", "int16x8"):
        return Line(question, "no", f"{len(s.inspection.violations)} operators are not")
    return Line(question, "note", f"floats remain in scheme {s.scheme}")


def _outputs(s: Subject) -> Line:
    question = "outputs equal"
    if s.measurement is None:
        return Line(question, "unknown", "not run yet: edgeq bench")
    checks = s.measurement.checks
    if checks.count == 0:
        return Line(question, "unknown", "no golden inputs: nothing was checked")
    whose = f" those of {checks.reference}" if checks.reference else " the reference's"
    if checks.equal == checks.count:
        return Line(question, "yes", f"all {checks.count} golden inputs give{whose}")
    return Line(
        question,
        "note",
        f"{checks.equal} of {checks.count} give{whose}, the others are within "
        f"{checks.max_difference:g}, which this engine is allowed",
    )


def _fits(s: Subject) -> Line:
    question = "fits"
    target = s.described
    if target is None or (target.flash is None and target.ram is None):
        return Line(question, "unknown", f"no limit of {s.target} is known")
    flash = s.metric("flash") or _needs(s, "flash")
    ram = s.metric("ram") or _needs(s, "ram")
    parts = []
    fits = True
    for name, needed, there in (("flash", flash, target.flash), ("RAM", ram, target.ram)):
        if needed is not None and there is not None:
            fits &= needed <= there
            parts.append(f"{needed:,.0f} of {there:,} bytes of {name}")
    if not parts:
        return Line(question, "unknown", "its size was not measured")
    return Line(question, "yes" if fits else "no", ", ".join(parts))


def _needs(s: Subject, key: str) -> float | None:
    value = s.footprint.get(key) if s.footprint else None
    return float(value) if isinstance(value, (int, float)) else None


def _accuracy(s: Subject) -> Line:
    question = "accuracy"
    value = s.metric("accuracy")
    first = s.fidelity[0] if s.fidelity else {}
    after, before = first.get("accuracy"), first.get("float_accuracy")
    if isinstance(after, (int, float)) and isinstance(before, (int, float)):
        fact = f"{after:.2%}, float {before:.2%} ({first.get('samples')} samples)"
        return Line(question, "note" if before - after > LARGE_DROP else "yes", fact)
    if value is not None:
        return Line(question, "yes", f"{value:.2%}")
    level = first.get("sqnr_db")
    if isinstance(level, (int, float)):
        return Line(question, "unknown", f"no labels; SQNR {level:.1f} dB against float")
    return Line(question, "unknown", "not evaluated: give the build --evaluation-data with labels")


def _valid(s: Subject) -> Line:
    question = "valid run"
    m = s.measurement
    if m is None:
        return Line(question, "unknown", "not measured yet: edgeq bench")
    if not m.verdict.valid:
        return Line(question, "no", "; ".join(m.verdict.reasons))
    return Line(
        question, "yes", f"{m.summary.count:,} runs, median {format_ticks(m, m.summary.median)}"
    )
