"""The operator profile of benchmark_model (--enable_op_profiling): several tables in one text.

CSV or columns between TABs, by the build and --op_profiling_output_mode. Columns are found by
their heads: builds up to 2021 have one more, [start].
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeq.errors import MeasurementError
from edgeq.protocol import printable

MOST_BYTES = 16 << 20
_MOST_ROWS = 100_000
_MOST_LINE = 4000
_MOST_NAME = 500


@dataclass(frozen=True)
class OpTime:
    """One operator, or one kind of operators where `name` is None: milliseconds, percent, KB.

    `first_ms` is its first run; `count` how many there are of that kind. `avg_ms` is over all
    runs of the network.
    """

    kind: str
    name: str | None
    avg_ms: float
    first_ms: float | None = None
    percent: float | None = None
    cumulative_percent: float | None = None
    memory_kb: float | None = None
    times_called: float | None = None
    count: int | None = None


@dataclass(frozen=True)
class OpTable:
    """`phase` is "initialization" or "runs", `graph` as the text has it ("Primary graph …",
    "Delegate internal"), None where it names none; `title` is "Run Order", "Top by Computation
    Time" or "Summary by node type"."""

    phase: str
    graph: str | None
    title: str
    rows: tuple[OpTime, ...]


_HEADS = {
    "node type": "kind",
    "start": "start",
    "first": "first_ms",
    "avg ms": "avg_ms",
    "%": "percent",
    "avg %": "percent",
    "cdf%": "cumulative_percent",
    "cdf %": "cumulative_percent",
    "mem kb": "memory_kb",
    "times called": "times_called",
    "name": "name",
    "count": "count",
}
_GRAPH = re.compile(r"((?:Primary graph|Subgraph) \(.{0,300}\)) profile:|(Delegate internal):?.*")
_TITLE = re.compile(r"=+ ([\w ]{1,60}) =+")
_AFTER = ("Number of nodes executed", "Timings (microseconds)", "Memory (bytes)")


@dataclass
class _Reader:
    phase: str = "runs"
    graph: str | None = None
    title: str | None = None
    heads: Sequence[str] = ()
    separator: str = ","
    rows: list[OpTime] = field(default_factory=list)
    tables: list[OpTable] = field(default_factory=list)
    total: int = 0

    def read(self, number: int, line: str) -> None:
        text = line.strip()
        if not text or text.startswith(_AFTER):
            self.end()
        elif "Profiling Info for Benchmark Initialization" in text:
            self.end()
            self.phase, self.graph = "initialization", None
        elif "Profiling Info for Regular Benchmark Runs" in text:
            self.end()
            self.phase, self.graph = "runs", None
        elif found := _GRAPH.fullmatch(text):
            self.end()
            self.graph = _shown(found[1] or found[2])
        elif found := _TITLE.fullmatch(text):
            self.end()
            self.title = found[1]
        elif self.heads:
            self._row(number, line)
        elif self.title is not None:
            self._head(number, line)

    def end(self) -> None:
        if self.title is not None and self.heads:
            self.tables.append(OpTable(self.phase, self.graph, self.title, tuple(self.rows)))
        self.title, self.heads, self.rows = None, (), []

    def _head(self, number: int, line: str) -> None:
        self.separator = "\t" if "[node type]" in line else ","
        names = [c.strip().strip("[]").lower() for c in self._cells(line, None)]
        heads = [_HEADS.get(name.replace("_", " "), "") for name in names]
        if heads.count("kind") != 1 or heads.count("avg_ms") != 1 or heads[0] != "kind":
            raise _malformed(number, line, "the heads of a table")
        self.heads = heads

    def _row(self, number: int, line: str) -> None:
        self.total += 1
        cells = self._cells(line, len(self.heads))
        if len(cells) != len(self.heads) or self.total > _MOST_ROWS:
            raise _malformed(number, line, f"a row of {len(self.heads)} columns")
        found = {h: c.strip() for h, c in zip(self.heads, cells, strict=True) if h}
        numbers = {h: _number(c) for h, c in found.items() if h not in ("kind", "name")}
        average = numbers["avg_ms"]
        if average is None:
            raise _malformed(number, line, "a row with a time")
        count = numbers.get("count")
        self.rows.append(
            OpTime(
                kind=_shown(found["kind"]),
                name=_shown(found["name"].replace("\t", ",")) if "name" in found else None,
                avg_ms=average,
                first_ms=numbers.get("first_ms"),
                percent=numbers.get("percent"),
                cumulative_percent=numbers.get("cumulative_percent"),
                memory_kb=numbers.get("memory_kb"),
                times_called=numbers.get("times_called"),
                count=None if count is None else int(count),
            )
        )

    def _cells(self, line: str, columns: int | None) -> list[str]:
        if self.separator == "\t":
            # Each column is behind a TAB; a name keeps its own.
            cells = line.lstrip("\t").split("\t", columns - 1 if columns else -1)
            return cells
        # A comma in a name is a TAB there; one in a kind ("(NHWC, QS8)") is not.
        return line.rsplit(",", columns - 1) if columns else line.split(",")


def parse_profile(text: bytes) -> tuple[OpTable, ...]:
    """The tables of a profile, in their order. Raises MeasurementError: damaged, or none."""
    reader = _Reader()
    lines = text[:MOST_BYTES].decode("utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        reader.read(number, line[:_MOST_LINE].rstrip("\r").removeprefix("INFO: "))
    reader.end()
    if not reader.tables:
        raise MeasurementError(
            "no table of operators in benchmark_model's profile",
            hint="was the build made without profiling? Another one may have it",
        )
    return tuple(reader.tables)


def run_order(tables: Sequence[OpTable]) -> tuple[OpTime, ...]:
    """The operators of the measured runs in their order: those of the first graph."""
    for table in tables:
        if (table.phase, table.title) == ("runs", "Run Order"):
            return table.rows
    return ()


def _number(text: str) -> float | None:
    if not re.fullmatch(r"\d{1,20}(?:\.\d{1,20})?(?:e[-+]?\d{1,3})?%?", text):
        return None
    value = float(text.rstrip("%"))
    return value if math.isfinite(value) else None


def _shown(text: str) -> str:
    return printable(text.encode("utf-8", errors="replace"))[:_MOST_NAME]


def _malformed(number: int, line: str, wanted: str) -> MeasurementError:
    return MeasurementError(
        f"benchmark_model's profile, line {number}: not {wanted}: {_shown(line)[:120]}",
        hint="is it whole, and as benchmark_model wrote it?",
    )
