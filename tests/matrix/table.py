"""The verdicts on all networks as docs/matrix.md shows them, and read from there again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matrix.trial import Verdict

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "matrix.md"
BEGIN, END = "<!-- made by python -m matrix -->\n", "<!-- end -->\n"

Row = tuple[str, ...]


def rows(int8: Sequence[Verdict], int16x8: Sequence[Verdict]) -> list[Row]:
    """A row for each network: name, int8, its repairs, operators, SQNR, TFLM, aot, int16x8."""
    found = []
    for verdict, wide in zip(int8, int16x8, strict=True):
        found.append(
            (
                verdict.name,
                _outcome(verdict),
                ", ".join(verdict.repairs),
                str(verdict.operators or ""),
                _level(verdict),
                verdict.tflm,
                verdict.aot,
                _level(wide)
                if wide.agrees
                else "refused"
                if wide.error
                else f"differs: {_level(wide)}",
            )
        )
    return found


def settled(row: Row) -> Row:
    """What of a row does not depend on how a processor rounds."""
    name, outcome, repairs, operators, _, tflm, aot, wide = row
    same = "agrees" if tflm == "equal" or tflm.endswith("apart") else tflm
    return name, outcome, repairs, operators, same, aot, re.sub(r"[-.\d]+|equal", "", wide)


def document(int8: Sequence[Verdict], int16x8: Sequence[Verdict]) -> str:
    """What stands between BEGIN and END."""
    agree = sum(verdict.agrees for verdict in int8)
    lines = [
        f"{agree} of {len(int8)} become fully integer and agree.",
        "",
        "| network | int8 | repairs | operators | SQNR dB | TFLM | aot | int16x8, dB |",
        "|---|---|---|---|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows(int8, int16x8)),
        "",
        "Refused, each with one error:",
        "",
    ]
    for verdict in int8:
        if verdict.error:
            lines += [f"- **{verdict.name}**: {_plain(verdict.error)}. *{_plain(verdict.hint)}*"]
    return "\n".join(lines) + "\n"


def with_table(text: str, table: str) -> str:
    """The document with the table in its place."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + table + "\n" + END + rest.split(END)[1]


def known_rows(text: str) -> list[Row]:
    """The rows of a document, as rows() made them."""
    table = text.split(BEGIN)[1].split(END)[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def _outcome(verdict: Verdict) -> str:
    if not verdict.is_integer:
        return "refused"
    return "integer" if verdict.agrees else "integer, differs"


def _level(verdict: Verdict) -> str:
    if not verdict.is_integer:
        return ""
    return "equal" if verdict.sqnr_db is None else f"{verdict.sqnr_db:.1f}"


def _plain(text: str) -> str:
    """One line of Markdown."""
    line = " ".join(text.split())
    return line.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
