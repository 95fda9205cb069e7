"""Which operators an engine has, and what of a graph it lacks. Facts from targets/operators/."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeq import resources
from edgeq.documents import decode, nearest, read_toml
from edgeq.errors import UsageError
from edgeq.graph import Graph, Op, Subgraph
from edgeq.targets import Target, choose_engine

CUSTOM = "CUSTOM:"
"""What the name of a custom operator begins with in a Graph."""

_ENGINE_TABLES = {"aot": "aot", "tflm": "tflm"}
"""Engines that are one program; the operators of any other are those of the interpreter."""

_TYPED_INPUT = {
    "ASSIGN_VARIABLE": 1,  # variable, value
    "EMBEDDING_LOOKUP": 1,  # ids, table
    "FILL": 1,  # dims, value
    "IF": 1,  # condition, the branches' inputs
    "SELECT": 1,  # condition, values
    "SELECT_V2": 1,
    "SPLIT": 1,  # axis, value
    "TRANSPOSE_CONV": 2,  # output shape, weights, value
}
"""Which input an operator's `types` speak of, where it is not the first."""


@dataclass(frozen=True)
class Operator:
    """One operator of an engine.

    `types` are those of the main activation input (empty: nothing to check), `versions` the
    lowest and highest that the engine knows (None: it looks at none), `note` a limit that
    neither shows. `weights` are codings of constants beyond plain bytes and words; an engine that
    looks at versions tells them by these. `resolver` is TFLM's MicroMutableOpResolver method;
    `wheel` says whether the tflite-micro Python wheel registers it.
    """

    types: tuple[str, ...] = ()
    versions: tuple[int, int] | None = None
    weights: tuple[str, ...] = ()
    note: str | None = None
    resolver: str | None = None
    wheel: bool = False

    def has_version(self, version: int) -> bool:
        return self.versions is None or self.versions[0] <= version <= self.versions[1]

    def has_weights(self, dtype: str | None) -> bool:
        return self.versions is not None or dtype is None or dtype in self.weights


@dataclass(frozen=True)
class OperatorTable:
    """The operators of one engine; `source` says where they were read."""

    name: str
    title: str
    source: str
    operators: Mapping[str, Operator] = field(default_factory=dict)


@dataclass(frozen=True)
class Gap:
    """Operator `op_index` of `subgraph` cannot run: why, and what can be done.

    `dtype` is that of its main activation input, None when it has none.
    """

    op_index: int
    op_name: str
    version: int
    dtype: str | None
    reason: str
    hint: str
    subgraph: int = 0


def table_names() -> list[str]:
    """The operator tables that come with edgeq. Reads no file."""
    return sorted(p.stem for p in resources.path("targets", "operators").glob("*.toml"))


@functools.cache
def load_table(name: str) -> OperatorTable:
    """The table targets/operators/`name`.toml. Raises UsageError for an unknown name."""
    names = table_names()
    if name not in names:
        guess = nearest(name, names)
        raise UsageError(
            f"unknown operator table {name!r}",
            hint=f"did you mean {guess}?" if guess else f"tables: {', '.join(names)}",
        )
    path = resources.path("targets", "operators", f"{name}.toml")
    return decode(read_toml(path, UsageError), OperatorTable, str(path), UsageError)


def table_for(target: Target, engine: str | None = None) -> OperatorTable:
    """The operators that `target` has with `engine`, or with its default engine.

    Raises UsageError when the target does not have that engine.
    """
    name = _ENGINE_TABLES.get(choose_engine(target, engine), target.interpreter)
    assert name is not None  # Every family without an engine table requires an interpreter.
    return load_table(name)


def find_gaps(graph: Graph, table: OperatorTable, target: Target | None = None) -> list[Gap]:
    """The operators of `graph`, in every subgraph that a run can enter, that `table` lacks.

    The hints name the other engines of `target` that have them.
    """
    choices = {table_for(target, e).name: e for e in target.engines} if target else {}
    gaps = []
    for number, subgraph in graph.reachable():
        for op in subgraph.ops:
            dtype = main_type(op, subgraph)
            problem = _problem(op, dtype, coded_weights(op, subgraph), table, choices)
            if problem:
                gaps.append(Gap(op.index, op.name, op.version, dtype, *problem, number))
    return gaps


def notes(graph: Graph, table: OperatorTable) -> dict[str, str]:
    """Operator name -> its note in `table`, for the operators that `graph` uses."""
    used = {op.name for _, subgraph in graph.reachable() for op in subgraph.ops}
    found = {name: table.operators[name].note for name in used if name in table.operators}
    return {name: note for name, note in sorted(found.items()) if note}


def _problem(
    op: Op,
    dtype: str | None,
    weights: str | None,
    table: OperatorTable,
    choices: Mapping[str, str],
) -> tuple[str, str] | None:
    """The reason why `table` cannot run `op`, with a hint; None when it can.

    `choices` are the engines that could be chosen instead, by the names of their tables.
    """
    if op.name.startswith(CUSTOM):
        return (
            f"{op.name.removeprefix(CUSTOM)} is a custom operator, outside TFLite's set",
            "build the layer of TFLite's own operators (without Select TF ops) and export again",
        )
    operator = table.operators.get(op.name)
    if operator is None:
        others = _others(op, dtype, weights, table)
        return f"{table.title} has no {op.name}", _elsewhere(choices, others, "replace the layer")
    if not operator.has_version(op.version):
        assert operator.versions is not None
        others = _others(op, dtype, weights, table)
        low, high = operator.versions
        known = f"version {low}" if low == high else f"versions {low} to {high}"
        return (
            f"{table.title} knows {known} of {op.name}, the model has version {op.version}",
            _elsewhere(choices, others, "convert with an older TensorFlow"),
        )
    if dtype is not None and operator.types and dtype not in operator.types:
        others = _others(op, dtype, weights, table)
        return (
            f"{table.title} has {op.name} for {', '.join(operator.types)}, not for {dtype}",
            _elsewhere(choices, others, _other_scheme(dtype, operator.types)),
        )
    if not operator.has_weights(weights):
        others = _others(op, dtype, weights, table)
        return (
            f"{table.title} has {op.name} with dense int8 weights, not with {weights} ones",
            _elsewhere(choices, others, "convert the float model with dense int8 weights"),
        )
    return None


def _others(
    op: Op, dtype: str | None, weights: str | None, table: OperatorTable
) -> list[OperatorTable]:
    """The other tables that can run `op`."""
    others = [load_table(name) for name in table_names() if name != table.name]
    return [t for t in others if _runs(op, dtype, weights, t)]


def _runs(op: Op, dtype: str | None, weights: str | None, table: OperatorTable) -> bool:
    operator = table.operators.get(op.name)
    return (
        operator is not None
        and operator.has_version(op.version)
        and (dtype is None or not operator.types or dtype in operator.types)
        and operator.has_weights(weights)
    )


def _elsewhere(choices: Mapping[str, str], others: list[OperatorTable], otherwise: str) -> str:
    if not others:
        return f"no engine of edgeq's has it; {otherwise}"
    titles = " and ".join(t.title for t in others)
    verb = "have" if len(others) > 1 else "has"
    choice = next((choices[t.name] for t in others if t.name in choices), None)
    here = f"--engine {choice}, or {otherwise}" if choice else otherwise
    return f"{titles} {verb} it; here: {here}"


def _other_scheme(dtype: str, types: tuple[str, ...]) -> str:
    if dtype == "int16" and "int8" in types:
        return "build with --scheme int8"
    if dtype == "int8" and "int16" in types:
        return "build with --scheme int16x8"
    if dtype == "uint8" and "int8" in types:
        return "convert the float model again: uint8 is TFLite's old scheme, int8 the present one"
    return "replace the layer, or move it out of the model"


def coded_weights(op: Op, subgraph: Subgraph) -> str | None:
    """How the operator's constants are coded where a kernel must know: int2, int4 or sparse."""
    for tensor in subgraph.input_tensors(op):
        if tensor is not None and tensor.is_constant:
            if tensor.is_sparse:
                return "sparse"
            if tensor.dtype in ("int2", "int4"):
                return tensor.dtype
    return None


def main_type(op: Op, subgraph: Subgraph) -> str | None:
    """The type that a table's `types` speak of: of the value, not of an axis or a condition."""
    if op.name == "READ_VARIABLE":  # Its only input is the variable's handle.
        return subgraph.tensors[op.outputs[0]].dtype if op.outputs else None
    position = _TYPED_INPUT.get(op.name, 0)
    if position >= len(op.inputs) or op.inputs[position] < 0:
        return None
    return subgraph.tensors[op.inputs[position]].dtype
