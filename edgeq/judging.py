"""Which of two conversions is closer to float: measured on the same samples, and beyond chance.

Where an output is a SOFTMAX's, what this reads is compared in its place. Most samples' classes are
so clear that their probabilities are 0 and 1 in either model; the few others then make up all of
the noise, and say something else with every set of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeq.calibration import Calibration, fingerprint, thin
from edgeq.complexity import total_macs
from edgeq.errors import ConversionError, DataError
from edgeq.graph import Graph
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.interpreters import Arrays, Network, batches, threads
from edgeq.models import Model
from edgeq.quantization import dequantize
from edgeq.samples import Samples
from edgeq.tflite import read_graph
from edgeq.tflite.writer import with_outputs
from edgeq.verification import Fidelity, check_labels
from edgeq.verification.fidelity import Tally, check_shapes, decibels

MIN_GAIN_DB = 0.5
"""SQNR of the worst output that another way must gain."""

STANDARD_ERRORS = 2.0
"""The gain must be as many of its standard errors, too. Of ten ways that are no better, one gets
that far by chance in every fifth network; it is then about as good as min-max."""

VETO = 0.2
"""Probability under which so many more wrong answers are not put down to chance. Far above the
usual 0.05: an SQNR given up for nothing costs less than wrong answers taken for it."""

WORK = 2.5e10
FIRST_WORK = 5e9
"""MACs, and 10 for each element of an activation, that judging one conversion may take, and that a
first look at each may take. Counted, not timed: a loaded computer must not change a result."""

MIN_JUDGES, MIN_FIRST = 32, 16
"""Samples to judge on all the same, where there are so many."""

HELD_BYTES = 128 * 1024**2
"""Samples and their outputs, which are held in memory, at most."""

OPEN_LIMIT = 120.0


@dataclass(frozen=True)
class Jury:
    """Samples that no range was learnt from; `labels` where they are known. The `first` of them, by
    their places, are enough for a first look."""

    samples: tuple[Arrays, ...] = field(repr=False)
    labels: tuple[int, ...] | None
    first: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """`noise` and `signal`: sums of squares of each sample, by output and sample, of the error and
    of the float model's output. `right`: whether the top class of the first output is the label, or
    without labels the float model's; None when it is no vector of scores."""

    fidelity: tuple[Fidelity, ...]
    signal: NDArray[np.float64] = field(repr=False)
    noise: NDArray[np.float64] = field(repr=False)
    right: NDArray[np.bool_] | None = field(repr=False)

    @property
    def levels(self) -> list[float]:
        """SQNR of each output in dB, infinite where it equals float."""
        sums = zip(self.signal.sum(1), self.noise.sum(1), strict=True)
        return [decibels(float(s), float(n)) for s, n in sums]


def gain_db(before: Measured, after: Measured) -> tuple[float, float]:
    """(what the SQNR of the worst output gains, its standard error), both in dB.

    The samples are the same, so the error is that of the difference: by the delta method, the
    spread of each sample's share in the one noise less its share in the other.
    """
    old, new = before.levels, after.levels
    gain = 0.0 if min(old) == min(new) else min(new) - min(old)
    shares = [
        m.noise[int(np.argmin(levels))] / max(float(m.noise[int(np.argmin(levels))].sum()), 1e-300)
        for m, levels in ((before, old), (after, new))
    ]
    difference = shares[0] - shares[1]
    count = difference.size
    spread = math.sqrt(count / max(count - 1, 1) * float(np.sum(difference**2)))
    return gain, 10 / math.log(10) * spread


def objection(before: Measured, after: Measured) -> str | None:
    """Why `after` is not to be preferred; None when it is better beyond chance, in no output worse,
    and right no less often than chance explains."""
    gain, error = gain_db(before, after)
    if gain < MIN_GAIN_DB:
        return f"gains less than {MIN_GAIN_DB:g} dB"
    if gain < STANDARD_ERRORS * error:
        return f"gains {gain:.1f} dB, within chance (a standard error of {error:.1f})"
    for old, new, fidelity in zip(before.levels, after.levels, after.fidelity, strict=True):
        if new < old:
            return f"loses {old - new:.1f} dB in output {fidelity.output}"
    if before.right is not None and after.right is not None:
        lost = int(np.sum(before.right & ~after.right))
        won = int(np.sum(after.right & ~before.right))
        if lost > won and _at_least(lost, lost + won) < VETO:
            return f"{lost} answers turn wrong and {won} right"
    return None


def _at_least(count: int, among: int) -> float:
    """Probability of `count` heads or more: McNemar's test, exact and one-sided."""
    return float(sum(math.comb(among, k) for k in range(count, among + 1)) / 2**among)


def call_jury(model: Model, calibration: Calibration, judges: Samples | None) -> Jury:
    """As many of `judges` as WORK and HELD_BYTES allow, without those that were calibrated with."""
    if judges is None:
        return Jury((), None, ())
    ports = model.graph.inputs + model.graph.outputs
    size = max(1, sum(port.tensor.bytes for port in ports))
    work = work_of(model.graph)
    most = min(max(MIN_JUDGES, int(WORK / work)), HELD_BYTES // size)
    known = judges.labels
    try:
        check_labels(judges, model.graph)
    except DataError:
        known = None
    samples, labels = [], []
    for number in thin(range(len(judges)), most):
        sample = judges.get(number)
        if fingerprint(sample, model.graph.inputs) not in calibration.fingerprints:
            samples.append(sample)
            labels.append(0 if known is None else int(known[number]))
    first = thin(range(len(samples)), max(MIN_FIRST, int(FIRST_WORK / work)))
    return Jury(tuple(samples), None if known is None else tuple(labels), tuple(first))


def work_of(graph: Graph) -> float:
    """Of one inference, in the unit of WORK."""
    elements = sum(t.elements for t in graph.main.tensors if not t.is_constant)
    return total_macs(graph) + 10.0 * elements + 1


def _after_softmax(graph: Graph) -> frozenset[int]:
    """Places of the outputs that a SOFTMAX makes of what is no output itself."""
    main = graph.main
    makers = {o: op for op in main.ops for o in op.outputs}
    return frozenset(
        place
        for place, index in enumerate(main.outputs)
        if index in makers
        and makers[index].name == "SOFTMAX"
        and makers[index].inputs[0] not in main.outputs
        and main.outputs.count(index) == 1
    )


class Judge:
    """How far conversions are from float on a jury's samples, one by one in a child process.

    `plain` is the graph of one of them.
    """

    def __init__(self, model: Model, jury: Jury, plain: Graph) -> None:
        self._model, self._jury = model, jury
        self._cut = _after_softmax(model.graph) & _after_softmax(plain)
        self._known: dict[tuple[bytes, bool], Measured] = {}
        spec = "edgeq.workers.litert:Bench"
        self._bench = Network("choosing ranges", model.graph, spec, threads())
        self._expected: list[Arrays] = []

    def __enter__(self) -> Judge:
        everyone = range(len(self._jury.samples))
        self._expected = self._run(*self._opened(self._model.tflite, self._model.graph), everyone)
        return self

    def __exit__(self, *error: object) -> None:
        self._bench.close()

    @property
    def before_softmax(self) -> bool:
        """Whether an output was replaced by what its SOFTMAX reads."""
        return bool(self._cut)

    def first(self, tflite: bytes, graph: Graph) -> Measured:
        """A first look at the model `tflite`, whose `graph` this is."""
        return self._measured(tflite, graph, self._jury.first)

    def full(self, tflite: bytes, graph: Graph) -> Measured:
        """On all samples."""
        return self._measured(tflite, graph, range(len(self._jury.samples)))

    def computes_the_same(self, tflite: bytes, graph: Graph) -> bool:
        """Whether this float model's outputs are the original's to the last bit."""
        got = self._run(*self._opened(tflite, graph), self._jury.first)
        return all(
            np.array_equal(x, y)
            for place, outputs in zip(self._jury.first, got, strict=True)
            for x, y in zip(self._expected[place], outputs, strict=True)
        )

    def values(
        self, tflite: bytes, graph: Graph, samples: Sequence[Arrays], indexes: Sequence[int]
    ) -> list[NDArray[np.float64]]:
        """The model's tensors `indexes` on `samples`, as real numbers: rows of channels."""
        self._bench.call("open", tflite, "builtin", True, time_limit=OPEN_LIMIT)
        found: list[list[NDArray[np.float64]]] = [[] for _ in indexes]
        for batch in batches((stored_inputs(s, graph.inputs) for s in samples), self._bench.batch):
            for sample in self._bench.infer("tensors", batch, list(indexes)):
                for place, (index, value) in enumerate(zip(indexes, sample, strict=True)):
                    real = dequantize(value, graph.main.tensors[index]).astype(np.float64)
                    found[place].append(real.reshape(-1, real.shape[-1] if real.ndim else 1))
        return [np.concatenate(parts) for parts in found]

    def _measured(self, tflite: bytes, graph: Graph, places: Sequence[int]) -> Measured:
        """The same bytes are measured once."""
        key = tflite, len(places) == len(self._jury.samples)
        if key not in self._known:
            self._known[key] = self._measure(tflite, graph, places)
        return self._known[key]

    def _measure(self, tflite: bytes, graph: Graph, places: Sequence[int]) -> Measured:
        check_shapes(self._model.graph, graph)
        tflite, graph = self._opened(tflite, graph)
        tallies = [Tally(port) for port in graph.outputs]
        sums = np.zeros((2, len(tallies), len(places)))
        right = []
        labels = self._jury.labels
        for number, (place, stored) in enumerate(
            zip(places, self._run(tflite, graph, places), strict=True)
        ):
            outputs = real_outputs(stored, graph.outputs)
            for i, (x, y) in enumerate(zip(self._expected[place], outputs, strict=True)):
                a, b = x.astype(np.float64), y.astype(np.float64)
                label = labels[place] if labels is not None and i == 0 else None
                tallies[i].add(a, b, label)
                sums[:, i, number] = np.sum(a**2), np.sum((a - b) ** 2)
                if i == 0:
                    right.append(int(b.argmax()) == (int(a.argmax()) if label is None else label))
        shape = graph.outputs[0].tensor.shape
        is_scores = len(shape) == 2 and shape[-1] > 1
        fidelity = tuple(t.result() for t in tallies)
        return Measured(fidelity, sums[0], sums[1], np.array(right) if is_scores else None)

    def _opened(self, tflite: bytes, graph: Graph) -> tuple[bytes, Graph]:
        """The model with other outputs, where these are a SOFTMAX's."""
        if not self._cut:
            return tflite, graph
        if not self._cut <= _after_softmax(graph):
            raise ConversionError("an output comes from another operator than by min-max")
        sources = {o: op.inputs[0] for op in graph.main.ops for o in op.outputs}
        outputs = [sources[o] if i in self._cut else o for i, o in enumerate(graph.main.outputs)]
        made = with_outputs(tflite, outputs, self._model.source)
        return made, read_graph(made, self._model.source)

    def _run(self, tflite: bytes, graph: Graph, places: Sequence[int]) -> list[Arrays]:
        stored = (stored_inputs(self._jury.samples[i], graph.inputs) for i in places)
        self._bench.call("open", tflite, time_limit=OPEN_LIMIT)
        return [
            outputs
            for batch in batches(stored, self._bench.batch)
            for outputs in self._bench.infer("run", batch)
        ]
