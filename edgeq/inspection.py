"""What one model is made of, as plain facts for a table or for JSON."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.codegen.aot import Footprint, footprint
from edgeq.complexity import live_bytes, macs, parameters, total_macs
from edgeq.errors import DoesNotFit, ModelError
from edgeq.graph import Graph, Port
from edgeq.memory import MemoryPlan
from edgeq.operators import Gap, find_gaps, table_for
from edgeq.schemes import scheme_of
from edgeq.targets import Target
from edgeq.verification import Violation, find_violations


@dataclass(frozen=True)
class OperatorFact:
    """One operator call; shapes without the constants' data, `live_bytes` while it runs."""

    index: int
    name: str
    version: int
    layer: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    weights_per_channel: bool
    macs: int
    live_bytes: int


@dataclass(frozen=True)
class PortFact:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class TargetFact:
    """What one target says: operators its engine lacks, and bytes needed against bytes there.

    `needs_flash` and `needs_ram_at_least` are constants and arena where engine aot compiles it,
    else the model file and the activations alive at once.
    `floats`: the model has float operators and the target runs `integer_only`.
    """

    target: str
    engine: str
    integer_only: bool
    floats: bool
    gaps: tuple[Gap, ...]
    needs_flash: int
    has_flash: int | None
    needs_ram_at_least: int
    has_ram: int | None

    @property
    def verdict(self) -> str:
        """In words; "may fit" where only `edgeq build` can tell, since it measures the arena."""
        if self.floats:
            return "no: it runs integers only"
        if self.gaps:
            others = len({(g.op_name, g.reason) for g in self.gaps}) - 1
            more = f" (and {others} more)" if others else ""
            return f"no: {self.gaps[0].reason}{more}"
        if self.has_flash is not None and self.needs_flash > self.has_flash:
            return "no: too large for its flash"
        if self.has_ram is not None and self.needs_ram_at_least > self.has_ram:
            return "no: too large for its RAM"
        return "may fit" if self.integer_only and self.has_ram is not None else "fits"


@dataclass(frozen=True)
class BufferFact:
    """A range of the arena: `bytes` from `offset` on, in use from operator `first` to `last`.

    -1 is before the first operator, the number of operators after the last. `tensors` are those
    that it holds; the scratch memory of operator `scratch_of` holds none.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    tensors: tuple[int, ...]
    scratch_of: int | None


@dataclass(frozen=True)
class MemoryFact:
    """The arena that engine aot plans, all in bytes.

    No plan can be below `lower_bound`. `peak_operator` needs the arena's last byte, and
    `peak_bytes` of it; `strategy` is the order of placing that turned out best.
    """

    arena: int
    lower_bound: int
    alignment: int
    peak_operator: int
    peak_layer: str
    peak_bytes: int
    strategy: str
    buffers: tuple[BufferFact, ...]


@dataclass(frozen=True)
class Inspection:
    model: str
    scheme: str
    bytes: int
    macs: int
    parameters: int
    peak_live_bytes: int
    peak_operator: int
    inputs: tuple[PortFact, ...]
    outputs: tuple[PortFact, ...]
    signatures: tuple[str, ...]
    operators: tuple[OperatorFact, ...]
    violations: tuple[Violation, ...]
    targets: tuple[TargetFact, ...]
    memory: MemoryFact | None = None


def inspect_graph(
    graph: Graph, name: str, targets: list[Target], compiled: Footprint | None = None
) -> Inspection:
    """Everything that the file itself tells about `graph`, and what each target makes of it.

    `compiled`, from `inspect_memory`, adds `memory`.
    """
    alive = live_bytes(graph)
    violations = find_violations(graph)
    floats = any(v.is_float for v in violations)
    peak = max(range(len(alive)), key=alive.__getitem__)
    needs = {"aot": compiled or _footprint(graph, targets)}
    return Inspection(
        model=name,
        scheme=scheme_of(graph),
        bytes=graph.file_size,
        macs=total_macs(graph),
        parameters=parameters(graph),
        peak_live_bytes=alive[peak],
        peak_operator=peak,
        inputs=tuple(map(port_fact, graph.inputs)),
        outputs=tuple(map(port_fact, graph.outputs)),
        signatures=tuple(s.key for s in graph.signatures),
        operators=tuple(_operator(graph, i, alive[i]) for i in range(len(graph.main.ops))),
        violations=tuple(violations),
        targets=tuple(
            _target(graph, t, needs.get(t.default_engine), alive[peak], floats) for t in targets
        ),
        memory=_memory(graph, compiled.plan) if compiled else None,
    )


def inspect_memory(graph: Graph, targets: list[Target]) -> Footprint:
    """Where engine aot puts what in the arena, on the first microcontroller of `targets`, or on
    any where there is none, and how large its constants are.

    Raises DoesNotFit, naming the operator, for a graph that the engine cannot compile.
    """
    return footprint(graph, next((t.core for t in targets if t.core is not None), None))


def _footprint(graph: Graph, targets: list[Target]) -> Footprint | None:
    """Engine aot's; None where it cannot compile the graph, or no target asks."""
    if not any(t.default_engine == "aot" for t in targets):
        return None
    try:
        return footprint(graph)
    except (DoesNotFit, ModelError):
        return None


def _memory(graph: Graph, plan: MemoryPlan) -> MemoryFact:
    return MemoryFact(
        arena=plan.size,
        lower_bound=plan.lower_bound,
        alignment=plan.alignment,
        peak_operator=plan.peak_step,
        peak_layer=graph.main.output_tensors(graph.main.ops[plan.peak_step])[0].name,
        peak_bytes=plan.peak_bytes,
        strategy=plan.order,
        buffers=tuple(
            BufferFact(b.name, offset, b.size, b.first, b.last, b.tensors, b.scratch_of)
            for b, offset in zip(plan.buffers, plan.offsets, strict=True)
        ),
    )


def port_fact(port: Port) -> PortFact:
    quantization = port.tensor.quantization
    return PortFact(
        name=port.name,
        shape=port.tensor.shape,
        dtype=port.tensor.dtype,
        scale=quantization.scale if quantization else None,
        zero_point=quantization.zero_point if quantization else None,
    )


def _operator(graph: Graph, index: int, alive: int) -> OperatorFact:
    subgraph = graph.main
    op = subgraph.ops[index]
    inputs = [t for t in subgraph.input_tensors(op) if t is not None]
    made = subgraph.output_tensors(op)[0] if op.outputs else None
    quantization = made.quantization if made else None
    return OperatorFact(
        index=index,
        name=op.name,
        version=op.version,
        layer=made.name if made else "",
        inputs=tuple(t.shape for t in inputs),
        output=made.shape if made else (),
        dtype=made.dtype if made else "",
        scale=quantization.scale if quantization else None,
        zero_point=quantization.zero_point if quantization else None,
        weights_per_channel=any(
            t.is_constant and t.quantization is not None and t.quantization.per_channel
            for t in inputs
        ),
        macs=macs(subgraph, op),
        live_bytes=alive,
    )


def _target(
    graph: Graph, target: Target, compiled: Footprint | None, alive: int, floats: bool
) -> TargetFact:
    engine = target.default_engine
    return TargetFact(
        target=target.name,
        engine=engine,
        integer_only=target.integer_only,
        floats=floats and target.integer_only,
        gaps=tuple(find_gaps(graph, table_for(target, engine), target)),
        needs_flash=compiled.weights_size if compiled else graph.file_size,
        has_flash=target.flash,
        needs_ram_at_least=compiled.plan.size if compiled else alive,
        has_ram=target.ram,
    )
