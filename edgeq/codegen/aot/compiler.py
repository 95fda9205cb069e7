"""One .tflite graph to C: the operators' code, a memory plan, and the files that hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeq import resources
from edgeq.codegen.aot.layer import C_TYPES, Array, Input, LayerCode
from edgeq.codegen.aot.names import check_name
from edgeq.codegen.aot.pruning import prune
from edgeq.codegen.aot.registry import emit
from edgeq.codegen.aot.source import constant_name, header, run_file, source
from edgeq.codegen.facts import Export
from edgeq.errors import DoesNotFit, ModelError
from edgeq.graph import Graph, Subgraph
from edgeq.memory import MemoryPlan, Needs, check_plan, plan_memory
from edgeq.operators import find_gaps, load_table
from edgeq.targets import Core

TABLE = "aot"
"""Of targets/operators/: what the engine can do."""

_CORE_SOURCES = ("eq_model.c",)
_CORE_HEADERS = ("edgeq.h",)
_INCLUDE = re.compile(r'^#include "(.*)"$', re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A network as C. `files` are all that a compiler needs, in one folder.

    `sources` are those to compile, without <name>_run.c, which brings an arena of its own.
    `weights_size` is in bytes, of all constants that the network brings; `scales_size` of what of
    them says how sums become outputs and is in one array with weights.
    """

    files: dict[str, str]
    sources: tuple[str, ...]
    plan: MemoryPlan
    weights_size: int
    scales_size: int = 0


@dataclass(frozen=True)
class Footprint:
    """The memory of a network: the arena's plan, and `weights_size` as in Compiled."""

    plan: MemoryPlan
    weights_size: int


def compile_graph(export: Export, core: Core | None = None) -> Compiled:
    """Compile the main subgraph of `export.graph` for `core`, or for any.

    Channels that cannot matter are left out (pruning.py); the outputs are the same bytes.
    Raises DoesNotFit for an operator that the engine lacks, ModelError for inputs or outputs that
    C cannot hold, or a name that the runtime or the C library has a file of.
    """
    check_name(export.name)
    graph, layers, plan = _plan(export.graph, core)
    export = replace(export, graph=graph)
    shared = _shared_constants(graph.main, layers)
    weights_size = _weights_size(shared, layers)
    headers = sorted({h for layer in layers for h in layer.headers})
    kernels = sorted({s for layer in layers for s in layer.sources})
    name = export.name
    files = {
        f"{name}.h": header(export, plan, weights_size),
        f"{name}.c": source(export, plan, layers, shared, headers, weights_size),
        f"{name}_run.c": run_file(export, any(layer.states for layer in layers)),
    }
    runtime = {s: _runtime("core", s) for s in _CORE_SOURCES}
    runtime |= {s: _runtime("kernels", s) for s in kernels}
    runtime = _with_headers(runtime, (*_CORE_HEADERS, *headers))
    sources = (f"{name}.c", *_CORE_SOURCES, *kernels)
    scales = (c.scales for layer in layers for c in layer.constants if isinstance(c, Array))
    return Compiled(files | runtime, sources, plan, weights_size, sum(scales))


def footprint(graph: Graph, core: Core | None = None) -> Footprint:
    """What `compile_graph` would make the graph need; raises the same."""
    graph, layers, plan = _plan(graph, core)
    return Footprint(plan, _weights_size(_shared_constants(graph.main, layers), layers))


def _weights_size(shared: Sequence[Array], layers: Sequence[LayerCode]) -> int:
    own = [c for layer in layers for c in layer.constants]
    return sum(c.values.nbytes for c in (*shared, *own) if isinstance(c, Array))


def _plan(graph: Graph, core: Core | None) -> tuple[Graph, list[LayerCode], MemoryPlan]:
    """The graph without what does not matter, its layers and where they work."""
    _check_operators(graph)
    _check_ports(graph)
    graph = prune(graph)
    layers = [emit(op, graph.main, core) for op in graph.main.ops]
    needs = [Needs(layer.scratch, layer.overlaps, layer.is_alias) for layer in layers]
    plan = plan_memory(graph.main, needs)
    check_plan(plan, graph.main, needs)
    return graph, layers, plan


def _check_operators(graph: Graph) -> None:
    if not graph.main.ops:
        raise ModelError("the model has no operators", hint="export it again")
    table = load_table(TABLE)
    gaps = [gap for gap in find_gaps(graph, table) if gap.subgraph == 0]
    if gaps:
        raise DoesNotFit(
            f"{table.title} cannot compile this model:\n"
            + "\n".join(f"  operator {g.op_index} {g.op_name}: {g.reason}" for g in gaps),
            hint=gaps[0].hint,
        )


def _check_ports(graph: Graph) -> None:
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        if not ports:
            raise ModelError(f"the model has no {kind}", hint="export it with inputs and outputs")
        for position, port in enumerate(ports):
            tensor = port.tensor
            where = f"{kind} {position} ({port.name})"
            if tensor.dtype not in C_TYPES:
                raise DoesNotFit(f"{where} is {tensor.dtype}, which engine aot does not know")
            if tensor.elements == 0:
                raise ModelError(f"{where} of shape {list(tensor.shape)} has no elements")
            if tensor.is_constant:
                raise ModelError(
                    f"{where} is a constant", hint="leave it out; it says the same every time"
                )


def _shared_constants(subgraph: Subgraph, layers: Sequence[LayerCode]) -> list[Array]:
    """The constant tensors that calls read as they are, once each."""
    indexes = {
        op.inputs[argument.position]
        for op, layer in zip(subgraph.ops, layers, strict=True)
        for call in layer.calls
        for argument in call.arguments
        if isinstance(argument, Input) and argument.position < len(op.inputs)
    }
    tensors = [subgraph.tensors[i] for i in sorted(indexes) if i >= 0]
    return [
        Array(constant_name(t), np.asarray(t.data), f"{t.name}, {t.dtype} {list(t.shape)}")
        for t in tensors
        if t.is_constant
    ]


def _with_headers(files: dict[str, str], headers: Sequence[str]) -> dict[str, str]:
    """`files`, with `headers` and whatever else of runtime/include they include."""
    found = dict(files)
    wanted = [*headers, *(i for text in files.values() for i in _INCLUDE.findall(text))]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _runtime("include", name)
            wanted += _INCLUDE.findall(found[name])
    return dict(sorted(found.items()))


def _runtime(*parts: str) -> str:
    return resources.path("runtime", *parts).read_text(encoding="utf-8")
