"""Repairs of a .tflite, each believed only when the repaired model computes what it did before.

The two are compared on a few real samples in LiteRT. A repair that fails is dropped and told of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.flatbuffer_repairs import FLOAT_PASSES, repair_float
from edgeq.flatbuffer_repairs.islands import fold_islands
from edgeq.graph import Graph
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.interpreters import Arrays, Network, batches, threads
from edgeq.models import Model
from edgeq.repairs import Repair
from edgeq.samples import Samples
from edgeq.tflite import read_graph

EXAMPLES = 16
"""Samples that a repaired model is compared on."""

EXAMPLES_BYTES = 64 * 1024**2
"""They and their outputs are held in memory, and take this at most."""

FLOAT_TOLERANCE = 1e-4
"""Of an output's largest value: what another order of float sums may change. The sum of a million
products in float32 is off by about 1e-5."""

LOST_DB = 3.0
"""SQNR to float that folded islands may cost: the noise of two roundings of one size where there
was one."""

ENOUGH_DB = 40.0
"""SQNR to float that int8 itself hardly exceeds, so that folded islands may cost more above it."""

OPEN_LIMIT = 120.0


def example_count(graph: Graph) -> int:
    """How many samples a repaired model of `graph` is compared on."""
    size = max(1, sum(port.tensor.bytes for port in graph.inputs + graph.outputs))
    return max(1, min(EXAMPLES, EXAMPLES_BYTES // size))


def mended(model: Model, samples: Samples, repairs: frozenset[str], scheme: str = "int8") -> Model:
    """The float `model` after those of FLOAT_PASSES that `repairs` names, are for `scheme`,
    and leave every output on the first samples what it was, but for rounding in float.

    Of one that does not, `failed` has a line. Raises what reading samples and running them does.
    """
    wanted = [
        name
        for name, step in FLOAT_PASSES.items()
        if name in repairs and step.scheme in (None, scheme)
    ]
    if model.is_quantized or any(op.subgraphs for op in model.graph.main.ops):
        return model
    if not any(repair_float(model.tflite, name, model.source)[1] for name in wanted):
        return model
    count = min(example_count(model.graph), len(samples))
    inputs = [samples.get(i) for i in range(count)]
    tflite, done, failed = model.tflite, list(model.repairs), list(model.failed)
    with _Runner(model.graph) as runner:
        expected = runner.outputs(tflite, model.graph, inputs)
        for name in wanted:
            made, repair = repair_float(tflite, name, model.source)
            if repair is None:
                continue
            try:
                found = runner.outputs(made, read_graph(made, model.source), inputs)
                fault = _float_fault(expected, found)
            except EdgeqError as e:
                fault = e.message
            if fault:
                failed.append(f"repair {name}, dropped: {fault}")
            else:
                tflite = made
                done.append(repair)
    graph = read_graph(tflite, model.source)
    return replace(model, tflite=tflite, graph=graph, repairs=tuple(done), failed=tuple(failed))


def folded(
    tflite: bytes,
    model: Model,
    ranges: Mapping[int, tuple[float, float]],
    inputs: Sequence[Arrays],
) -> tuple[bytes, Repair | None, str | None]:
    """`tflite`, an int8 form of `model`, without the islands that can be folded; what was done;
    and why it was dropped, where it costs more than int8 explains on `inputs`.

    `ranges` are those of the model's activations, by index.
    """
    tensors = model.graph.main.tensors
    by_name = {tensors[i].name: limits for i, limits in ranges.items()}
    made, repair = fold_islands(tflite, by_name, model.source)
    if repair is None or not inputs:
        return tflite, None, None
    try:
        with _Runner(model.graph) as runner:
            wanted = runner.outputs(model.tflite, model.graph, inputs)
            before = runner.outputs(tflite, read_graph(tflite), inputs)
            after = runner.outputs(made, read_graph(made), inputs)
        fault = _integer_fault(wanted, before, after)
    except EdgeqError as e:
        fault = e.message
    if fault:
        return tflite, None, f"repair islands, dropped: {fault}"
    return made, repair, None


class _Runner:
    """Models on the same samples, one after the other in a process."""

    def __init__(self, graph: Graph) -> None:
        spec = "edgeq.workers.litert:Bench"
        self._bench = Network("comparing repairs", graph, spec, threads())

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self._bench.close()

    def outputs(self, tflite: bytes, graph: Graph, inputs: Sequence[Arrays]) -> list[Arrays]:
        """Of each sample, as real numbers."""
        self._bench.call("open", tflite, time_limit=OPEN_LIMIT)
        stored = [stored_inputs(sample, graph.inputs) for sample in inputs]
        return [
            real_outputs(outputs, graph.outputs)
            for batch in batches(stored, self._bench.batch)
            for outputs in self._bench.infer("run", batch)
        ]


def _float_fault(expected: Sequence[Arrays], found: Sequence[Arrays]) -> str | None:
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        for position, (x, y) in enumerate(zip(a, b, strict=True)):
            if x.shape != y.shape:
                return f"output {position} is {list(y.shape)}, no longer {list(x.shape)}"
            x, y = x.astype(np.float64), y.astype(np.float64)
            limit = FLOAT_TOLERANCE * np.max(np.abs(x), initial=0.0, where=np.isfinite(x))
            off = np.max(np.abs(np.where(x == y, 0.0, x - y)), initial=0.0)
            if not off <= limit:
                return f"output {position} differs by {off:.3g} on sample {number}"
    return None


def _integer_fault(
    wanted: Sequence[Arrays], before: Sequence[Arrays], after: Sequence[Arrays]
) -> str | None:
    for position in range(len(wanted[0])):
        level, left = (_sqnr(wanted, found, position) for found in (before, after))
        if left < min(level - LOST_DB, ENOUGH_DB):
            return f"output {position} falls from {level:.1f} to {left:.1f} dB SQNR"
    return None


def _sqnr(wanted: Sequence[Arrays], found: Sequence[Arrays], position: int) -> float:
    """In dB; infinite without noise."""
    pairs = [
        (a[position].astype(np.float64), b[position].astype(np.float64).reshape(a[position].shape))
        for a, b in zip(wanted, found, strict=True)
    ]
    signal = sum(float(np.sum(a * a)) for a, _ in pairs)
    noise = sum(float(np.sum((a - b) ** 2)) for a, b in pairs)
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and math.isfinite(noise) else -math.inf
