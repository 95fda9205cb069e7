"""Operator profiles: files of --op_profiling_output_file (once --profiling_output_csv_file), and
the same text on stdout.

Not one CSV, but blocks (initialization, regular runs), in each of them graphs (the primary one,
others, a delegate's inside), and in each of them tables. Columns are found by their heads: builds
up to 2021 have one more, "start".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from edgeq.benchmark_model.numbers import FLOAT, WHOLE, number, whole
from edgeq.errors import Garbage

MAX_PROFILE = 8 << 20
_MAX_LINE = 4000
_MOST_COMMAS = 20

Block = Literal["init", "runs", ""]


@dataclass(frozen=True)
class ProfiledNode:
    """One operator: milliseconds of its first and its average run, shares in percent.

    `memory_kb` is of 1000 bytes, `calls` of one run. `name` ends with its place in the plan,
    `[layer/Relu6]:3`; of a delegate's kernel it is the delegate's own.
    """

    type: str
    name: str
    first_ms: float
    mean_ms: float
    percent: float | None
    cumulative_percent: float | None
    memory_kb: float | None
    calls: int | None
    start_ms: float | None = None


@dataclass(frozen=True)
class ProfiledType:
    """All operators of one type together."""

    type: str
    count: int
    mean_ms: float
    percent: float | None
    cumulative_percent: float | None
    memory_kb: float | None
    calls: int | None


@dataclass(frozen=True)
class GraphProfile:
    """The tables of one graph. `graph` is "" for the only one, else as the tool calls it:
    "Primary graph", "Subgraph (index: 1, name: body)", "Delegate internal"."""

    block: Block
    graph: str
    run_order: tuple[ProfiledNode, ...] = ()
    by_time: tuple[ProfiledNode, ...] = ()
    by_type: tuple[ProfiledType, ...] = ()
    executed: int | None = None
    observed: int | None = None
    runs: int | None = None
    mean_us: float | None = None


_TITLE = re.compile(r"=+ (.{1,60}?) =+")
_GRAPH = re.compile(
    r"(Primary graph|Subgraph \(index: \d{1,9}(?:, name: .{0,200})?\))(?: \(name: .{0,200}\))? "
    r"(?:profile|summary):"
)
_EXECUTED = re.compile(rf"Number of nodes executed: ({WHOLE})")
_OBSERVED = re.compile(rf"({WHOLE}) nodes observed")
_TIMINGS = re.compile(
    rf"(?:Subgraph \(index: .{{0,220}}?\) )?Timings \(microseconds\): count=({WHOLE})"
    rf"(?: .*? ?avg=({FLOAT}) .*| curr=({WHOLE}).*)?"
)
_NUMBER = re.compile(rf"(?:{FLOAT})%?")
_TABLES = {
    "Run Order": "run_order",
    "Top by Computation Time": "by_time",
    "Summary by node type": "by_type",
}
_HEADS = {
    "node type": "type",
    "start": "start_ms",
    "first": "first_ms",
    "avg ms": "mean_ms",
    "%": "percent",
    "avg %": "percent",
    "cdf%": "cumulative_percent",
    "cdf %": "cumulative_percent",
    "mem kb": "memory_kb",
    "times called": "calls",
    "count": "count",
    "name": "name",
}
_NODE = {"type", "first_ms", "mean_ms", "name"}
_TYPE = {"type", "count", "mean_ms"}


@dataclass
class _Graph:
    """A GraphProfile that is being read."""

    block: Block
    graph: str
    rows: dict[str, list[ProfiledNode | ProfiledType]] = field(default_factory=dict)
    executed: int | None = None
    observed: int | None = None
    runs: int | None = None
    mean_us: float | None = None


@dataclass
class _State:
    """Where in the text we are: in which block, graph and table, and its columns."""

    block: Block = ""
    graph: str = ""
    table: str = ""
    columns: list[str] = field(default_factory=list)
    tabbed: bool = False


def parse_profile(text: str) -> tuple[GraphProfile, ...]:
    """Every graph's tables, in order. Raises Garbage when `text` has none, or a row that is not
    one."""
    if len(text) > MAX_PROFILE:
        raise _garbage(f"{len(text)} characters long")
    graphs: list[_Graph] = []
    state = _State()
    for place, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r").removeprefix("INFO: ")
        if len(line) > _MAX_LINE:
            raise _garbage(f"line {place} has {len(line)} characters")
        plain = line.strip()
        title = _TITLE.fullmatch(plain)
        if _is_new_place(plain, state):
            continue
        if title:
            state.table, state.columns = _TABLES.get(title[1], ""), []
            if not graphs or _is_elsewhere(graphs[-1], state):
                graphs.append(_Graph(state.block, state.graph))
        elif not plain:
            state.table = ""
        elif state.table:
            _read_row(line, place, state, graphs[-1])
        elif graphs:
            _read_summary(plain, graphs[-1])
    found = [_frozen(g) for g in graphs if g.rows]
    if not found:
        raise _garbage("without a table of operators")
    return tuple(found)


def _frozen(g: _Graph) -> GraphProfile:
    nodes = {
        table: tuple(row for row in g.rows.get(table, ()) if isinstance(row, ProfiledNode))
        for table in ("run_order", "by_time")
    }
    types = tuple(row for row in g.rows.get("by_type", ()) if isinstance(row, ProfiledType))
    counts = (g.executed, g.observed, g.runs, g.mean_us)
    return GraphProfile(g.block, g.graph, nodes["run_order"], nodes["by_time"], types, *counts)


def _is_new_place(plain: str, state: _State) -> bool:
    if plain.startswith("Profiling Info for Benchmark Initialization"):
        state.block, state.graph = "init", ""
    elif plain.startswith("Operator-wise Profiling Info for Regular Benchmark Runs"):
        state.block, state.graph = "runs", ""
    elif plain == "Delegate internal:":
        state.graph = "Delegate internal"
    elif graph := _GRAPH.fullmatch(plain):
        state.graph = graph[1]
    else:
        return False
    state.table = ""
    return True


def _is_elsewhere(last: _Graph, state: _State) -> bool:
    return (last.block, last.graph) != (state.block, state.graph) or state.table in last.rows


def _read_summary(plain: str, graph: _Graph) -> None:
    if m := _EXECUTED.fullmatch(plain):
        graph.executed = int(m[1])
    elif m := _OBSERVED.fullmatch(plain):
        graph.observed = int(m[1])
    elif m := _TIMINGS.fullmatch(plain):
        graph.runs, graph.mean_us = int(m[1]), number(m[2] or m[3])


def _read_row(line: str, place: int, state: _State, graph: _Graph) -> None:
    if not state.columns:
        state.columns, state.tabbed = _heads(line, place, state.table)
        return
    cells = _cells(line, state, place)
    row = _type(cells, place) if state.table == "by_type" else _node(cells, place)
    graph.rows.setdefault(state.table, []).append(row)


def _heads(line: str, place: int, table: str) -> tuple[list[str], bool]:
    tabbed = "[" in line
    names = line.split("\t") if tabbed else line.split(",")
    columns = [
        _HEADS.get(name.strip(" []").lower().replace("_", " "), "?") for name in names if name
    ]
    wanted = _TYPE if table == "by_type" else _NODE
    if not wanted <= set(columns) or len(set(columns) - {"?"}) < len(columns) - columns.count("?"):
        raise _garbage(f"line {place} is no head of a table: {line[:80]!r}")
    return columns, tabbed


def _cells(line: str, state: _State, place: int) -> dict[str, str]:
    columns = state.columns
    if state.tabbed:
        parts = [p.strip() for p in line.split("\t")]
        parts = parts[1:] if parts and not parts[0] else parts
        middle = len(columns) - (columns[-1] == "name")
        if len(parts) > middle:
            parts = [*parts[:middle], "\t".join(parts[middle:])]
    else:
        parts = _around_numbers(line.strip().split(", "), columns)
    if len(parts) != len(columns):
        raise _garbage(f"line {place} has {len(parts)} cells for {len(columns)} columns")
    return dict(zip(columns, parts, strict=True))


def _around_numbers(parts: list[str], columns: list[str]) -> list[str]:
    """Cells of a CSV row: a type may have commas in it, as a name may, and neither is quoted."""
    named = columns[-1] == "name"
    numbers = len(columns) - 1 - named
    for first in range(1, min(len(parts) - numbers, _MOST_COMMAS) + 1):
        middle = parts[first : first + numbers]
        if all(map(_NUMBER.fullmatch, middle)) and (named or first + numbers == len(parts)):
            head = ", ".join(parts[:first])
            rest = [", ".join(parts[first + numbers :])] if named else []
            return [head, *middle, *rest]
    return parts


def _node(cells: dict[str, str], place: int) -> ProfiledNode:
    return ProfiledNode(
        type=cells["type"],
        name=cells["name"].replace("\t", ",").strip(),
        first_ms=_needed(cells, "first_ms", place),
        mean_ms=_needed(cells, "mean_ms", place),
        percent=_number(cells, "percent"),
        cumulative_percent=_number(cells, "cumulative_percent"),
        memory_kb=_number(cells, "memory_kb"),
        calls=_count(cells, "calls"),
        start_ms=_number(cells, "start_ms"),
    )


def _type(cells: dict[str, str], place: int) -> ProfiledType:
    count = _count(cells, "count")
    if count is None:
        raise _garbage(f"line {place} has no count")
    return ProfiledType(
        type=cells["type"],
        count=count,
        mean_ms=_needed(cells, "mean_ms", place),
        percent=_number(cells, "percent"),
        cumulative_percent=_number(cells, "cumulative_percent"),
        memory_kb=_number(cells, "memory_kb"),
        calls=_count(cells, "calls"),
    )


def _needed(cells: dict[str, str], name: str, place: int) -> float:
    value = _number(cells, name)
    if value is None:
        raise _garbage(f"line {place} has {cells[name][:40]!r} for a time")
    return value


def _number(cells: dict[str, str], name: str) -> float | None:
    text = cells.get(name, "").removesuffix("%")
    return number(text) if re.fullmatch(FLOAT, text) else None


def _count(cells: dict[str, str], name: str) -> int | None:
    text = cells.get(name, "")
    return whole(text) if re.fullmatch(WHOLE, text) else None


def _garbage(what: str) -> Garbage:
    return Garbage(
        f"no operator profile of benchmark_model: {what}",
        hint="--op_profiling_output_mode=csv or stdout writes one",
    )
