"""Learning each activation's range from real samples, after a lint of the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgeq.equalization import Group, Spans, find_groups
from edgeq.errors import ConversionError
from edgeq.graph import NUMPY_TYPES, Graph, Port
from edgeq.interpreters import Network, batches, inference_limit, threads
from edgeq.lint import Finding, Lint
from edgeq.mending import example_count
from edgeq.models import Model
from edgeq.ranges import Histogram
from edgeq.samples import Arrays, Samples, Source, open_samples
from edgeq.tflite.lstm import cell_states

DEFAULT_SAMPLES = 200
"""Beyond 100 to 200 samples ranges hardly change: shared/conversion.md measured 1, 10, 50, 100
and 200 samples at 21, 26, 31, 30 and 31 dB."""

HELD_OUT_SHARE = 5
"""One sample in five is kept back, to judge the converted model on."""

JUDGES = 512
"""Samples that a calibration is chosen on, at most: of as many, 1 point of accuracy is 5."""

ENOUGH_JUDGES = 64
"""With as many that are neither calibrated with nor held out, no held-out one is looked at."""

KEPT, KEPT_BYTES = 64, 4 * 1024**2
"""Samples, and bytes of them, that are kept to measure biases on."""

_MOVING = (
    "EXPAND_DIMS", "MAX_POOL_2D", "MIRROR_PAD", "PAD", "RESHAPE", "SLICE", "SQUEEZE",
    "STRIDED_SLICE", "TRANSPOSE",
)  # fmt: skip
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Distributions:
    """What other ranges than min-max, and repairs of weights and biases, are made of.

    By tensor index: histograms of a part of each activation's values, the mean of each channel of
    those that a layer with weights reads, and the extremes of each channel of those in `groups`.
    `kept` are a few of the samples.
    """

    histograms: Mapping[int, Histogram]
    means: Mapping[int, NDArray[np.float64]]
    spans: Spans = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    kept: tuple[Arrays, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """(min, max) of each float activation of the model's main subgraph, by tensor index.

    `samples` says how many were used, `sha256` is of their bytes in order, `fingerprints` are
    those of each. `distributions` are there when they were asked for. `examples` are some of the
    samples, to compare repaired models on.
    """

    ranges: Mapping[int, tuple[float, float]]
    samples: int
    source: str
    sha256: str
    findings: tuple[Finding, ...] = field(default=())
    fingerprints: frozenset[bytes] = field(default=frozenset(), repr=False)
    distributions: Distributions | None = field(default=None, repr=False, compare=False)
    examples: tuple[Arrays, ...] = field(default=(), repr=False, compare=False)


def fingerprint(sample: Arrays, inputs: Sequence[Port]) -> bytes:
    """16 bytes that are equal for samples whose values are, as these `inputs` take them."""
    digest = hashlib.blake2b(digest_size=16)
    for value, port in zip(sample, inputs, strict=True):
        with np.errstate(all="ignore"):  # What does not fit is refused where it is used.
            digest.update(np.asarray(value, NUMPY_TYPES[port.tensor.dtype], order="C").data)
    return digest.digest()


def split(samples: Samples, limit: int = DEFAULT_SAMPLES) -> tuple[Samples, Samples]:
    """(for calibration, held out): every fifth sample is held out, the rest thinned to `limit`.

    Both are spread evenly over the whole set, since data is often sorted by class. Fewer than
    five samples are all used for both.
    """
    if len(samples) < HELD_OUT_SHARE:
        return samples, samples
    everything = range(len(samples))
    held_out = list(everything[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE])
    rest = [i for i in everything if i % HELD_OUT_SHARE != HELD_OUT_SHARE - 1]
    return samples.pick(thin(rest, limit)), samples.pick(held_out)


def judges(samples: Samples, limit: int = DEFAULT_SAMPLES, count: int = JUDGES) -> Samples | None:
    """At most `count` samples to choose a calibration on, none of which split() calibrates with.

    Where fewer than ENOUGH_JUDGES are neither calibrated with nor held out, held-out ones are among
    them. None when there are too few to hold any out.
    """
    if len(samples) < HELD_OUT_SHARE:
        return None
    everything = range(len(samples))
    held_out = list(everything[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE])
    rest = [i for i in everything if i % HELD_OUT_SHARE != HELD_OUT_SHARE - 1]
    unused = set(rest) - set(thin(rest, limit))
    chosen = unused if len(unused) >= ENOUGH_JUDGES else {*unused, *held_out}
    return samples.pick(thin(sorted(chosen), count))


def thin(indexes: Sequence[int], limit: int) -> list[int]:
    """At most `limit` of `indexes`, evenly spread, the first always among them."""
    if len(indexes) <= limit:
        return list(indexes)
    return [indexes[i * len(indexes) // limit] for i in range(limit)]


def calibrate(
    model: Model, data: Source, *, distributions: bool = False, progress: Progress | None = None
) -> Calibration:
    """Run every sample of `data` (whatever open_samples takes) through the float model and record
    exact minima and maxima, where it has `learned` none; with `distributions`, also what
    choice.choose() needs.

    Raises DataError for samples that cannot be right (see lint), ConversionError when the
    network has control flow, which cannot be calibrated.
    """
    _refuse_control_flow(model)
    if model.is_quantized:
        raise ConversionError(
            f"{model.source} is quantized already; it has nothing to calibrate",
            hint="build it as it is, without --scheme, or start from the float model",
        )
    samples = open_samples(data, model.graph.inputs)
    judge = Lint(model.graph, samples)
    indexes = [
        t.index
        for t in model.graph.main.tensors
        if t.dtype == "float32" and not t.is_constant and t.index in _live(model.graph)
    ] + list(cell_states(model.graph))
    count = len(samples)
    workers = max(1, min(threads(), count))
    digest = hashlib.sha256()
    fingerprints: set[bytes] = set()
    examples: list[Arrays] = []
    room = example_count(model.graph)
    done = 0
    kept: list[Arrays] = []
    size = sum(port.tensor.bytes for port in model.graph.inputs)
    keep = frozenset(thin(range(count), min(KEPT, KEPT_BYTES // max(1, size))))
    channels = _channels(model.graph, indexes) if distributions else None
    groups = tuple(find_groups(model.graph)) if distributions else ()
    spanned = {i for group in groups for i in group.tensors}
    tensors = model.graph.main.tensors
    places = {p: tensors[i].shape[-1] for p, i in enumerate(indexes) if i in spanned}
    arguments = (model.tflite, indexes, workers, channels, places)
    with Network("calibrating", model.graph, "edgeq.workers.litert:Ranges", *arguments) as ranges:
        for batch in batches(judge.checked(samples), ranges.batch):
            examples += batch[: room - len(examples)]
            for number, sample in enumerate(batch, done):
                if distributions and number in keep:
                    kept.append(sample)
                fingerprints.add(fingerprint(sample, model.graph.inputs))
                for value in sample:
                    digest.update(np.asarray(value, order="C").data)
            ranges.infer("feed", batch)
            done += len(batch)
            if progress:
                progress("calibrating", done, count)
        limit = inference_limit(model.graph, 1)
        minima, maxima = ranges.call("result", time_limit=limit)
        seen = None
        if distributions:
            counts, exponents, sums, spans = ranges.call("distributions", time_limit=limit)
            seen = Distributions(
                {
                    i: Histogram(c, int(e))
                    for i, c, e in zip(indexes, counts, exponents, strict=True)
                },
                {indexes[i]: total / count for i, total in sums.items()},
                {indexes[i]: span for i, span in spans.items()},
                groups,
                tuple(kept),
            )
    return Calibration(
        ranges={i: (float(a), float(b)) for i, a, b in zip(indexes, minima, maxima, strict=True)}
        | _learned(model),
        samples=count,
        source=samples.source,
        sha256=digest.hexdigest(),
        findings=tuple(judge.findings()),
        fingerprints=frozenset(fingerprints),
        distributions=seen,
        examples=tuple(examples),
    )


def rescaled(calibration: Calibration, factors: Mapping[int, NDArray[np.float64]]) -> Calibration:
    """What was measured, of the same model with channels of activations divided by `factors`.

    Exactly what it would be, but for the histograms of these activations, which are left out.
    """
    seen = calibration.distributions
    assert seen is not None
    spans = {
        i: tuple((side / factors[i]).astype(np.float32) for side in span)
        for i, span in seen.spans.items()
        if i in factors
    }
    ranges = {i: (float(low.min()), float(high.max())) for i, (low, high) in spans.items()}
    return replace(
        calibration,
        ranges={**calibration.ranges, **ranges},
        distributions=Distributions(
            {i: h for i, h in seen.histograms.items() if i not in factors},
            {i: m / np.resize(factors.get(i, 1.0), m.size) for i, m in seen.means.items()},
            kept=seen.kept,
        ),
    )


def _learned(model: Model) -> dict[int, tuple[float, float]]:
    """By tensor index. What only moves an activation's values has the same range as it."""
    main = model.graph.main
    ranges = {t.index: model.learned[t.name] for t in main.tensors if t.name in model.learned}
    if ranges:
        for op in main.ops:
            if op.name in _MOVING and op.inputs[0] in ranges:
                ranges.setdefault(op.outputs[0], ranges[op.inputs[0]])
        for op in reversed(main.ops):
            if op.name in _MOVING and op.outputs[0] in ranges:
                ranges.setdefault(op.inputs[0], ranges[op.outputs[0]])
    return ranges


def _channels(graph: Graph, indexes: Sequence[int]) -> dict[int, int]:
    """Place in `indexes` -> channels, of every activation that a layer with weights reads."""
    places = {index: place for place, index in enumerate(indexes)}
    found = {}
    for op in graph.main.ops:
        if op.name not in _WEIGHTED or op.inputs[0] not in places:
            continue
        weights = graph.main.tensors[op.inputs[1]]
        read = graph.main.tensors[op.inputs[0]]
        shape = weights.shape if op.name == "FULLY_CONNECTED" else read.shape
        if weights.is_constant and shape and shape[-1]:
            found[places[read.index]] = shape[-1]
    return found


def _live(graph: Graph) -> set[int]:
    return set(graph.main.inputs) | {i for op in graph.main.ops for i in op.outputs}


def _refuse_control_flow(model: Model) -> None:
    for op in model.graph.main.ops:
        if op.name == "CALL_ONCE":
            raise ConversionError(
                f"{model.source}: operator {op.index} is CALL_ONCE: the model keeps state in a "
                "variable, which has no integer form",
                hint="make the state an input and an output of the model, and export it again",
            )
        if op.subgraphs:
            layer = model.graph.main.tensors[op.outputs[0]].name if op.outputs else ""
            raise ConversionError(
                f"{model.source}: operator {op.index} is {op.name}, a loop or a branch "
                f"({layer or 'no name'}), which has no integer form",
                hint="a recurrent layer (LSTM, GRU, SimpleRNN) becomes plain operators when it is "
                "built with unroll=True: load the weights into a model built so, and save that",
            )
