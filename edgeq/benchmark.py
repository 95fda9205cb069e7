"""How fast a model runs on this computer, in LiteRT: the outputs first, then the stopwatch.

Each model lives in a child process of its own. Where two are compared they take turns within
one run, so that a machine that slows down slows both.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from edgeq.bundle import Bundle, is_bundle, open_bundle
from edgeq.environment import describe_host
from edgeq.errors import DataError, UsageError, VerificationError, WorkerTimeout
from edgeq.golden import Golden
from edgeq.graph import Graph
from edgeq.inputs import Arrays, describe_inputs, random_inputs, translate_inputs
from edgeq.interpreters import has_tflm, inference_limit, late, litert, run, tflm
from edgeq.isolation import Worker
from edgeq.measurement import (
    Check,
    Delegated,
    Measurement,
    Memory,
    Results,
    Speedup,
    State,
)
from edgeq.models import check_ports, open_model
from edgeq.outputs import compare_outputs, tolerances_of
from edgeq.schemes import scheme_of
from edgeq.stats import block_ratio, judge, summarize
from edgeq.targets import follows_tflm
from edgeq.tflite import read_graph

Progress = Callable[[str, int, int], None]

BLOCKS = 10
"""Turns that each model takes: enough for a 95 % interval of their ratios, which needs 6."""

MAX_SAMPLES = 1_000_000
"""A run ends here too, so that a network of a microsecond does not fill the disk with samples."""

_REWARM = (1, 0.01)
"""Warm-up of the later turns (runs, seconds): another process had the caches meanwhile."""

_MARGIN = 60.0
"""Seconds beyond `max_secs` for an inference that was under way when they ran out."""


@dataclass(frozen=True)
class BenchOptions:
    """How long to measure, by the names and defaults of TFLite's benchmark_model.

    There are at least `num_runs` timed inferences and they take at least `min_secs`, but none
    starts after `max_secs`; so too the warm-up before them.
    """

    num_runs: int = 50
    warmup_runs: int = 1
    warmup_min_secs: float = 0.5
    min_secs: float = 1.0
    max_secs: float = 150.0
    num_threads: int = 1

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "num_runs": (1, MAX_SAMPLES),
            "warmup_runs": (0, MAX_SAMPLES),
            "warmup_min_secs": (0, 86400),
            "min_secs": (0, 86400),
            "max_secs": (0.001, 86400),
            "num_threads": (1, 1024),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                flag = "--" + name.replace("_", "-")
                raise UsageError(
                    f"{flag} {value}: out of range", hint=f"from {low:g} to {high:g} is possible"
                )
        if self.min_secs > self.max_secs:
            raise UsageError(
                f"--min-secs {self.min_secs:g} is more than --max-secs {self.max_secs:g}",
                hint="raise --max-secs or lower --min-secs",
            )


DEFAULTS = BenchOptions()


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to measure on `inputs` in turn, once it has met `golden`."""

    name: str
    tflite: bytes
    inputs: Sequence[Arrays]
    scheme: str
    golden: Golden | None = None


def bench(
    source: str | Path,
    options: BenchOptions = DEFAULTS,
    *,
    baseline: str | Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Measure a bundle or a model on this computer, and beside it its float original.

    A bundle brings golden vectors and, where it has one, the float `baseline`; LiteRT's reference
    kernels must give the golden outputs byte for byte, the fast ones within the stated tolerance.
    A bare model gets random inputs, the same at every call, and its measurement says that nothing
    was checked.
    """
    path = Path(source)
    if is_bundle(path):
        subjects = _bundle_subjects(open_bundle(path))
    else:
        subjects = [_model_subject(path)]
    if baseline is not None:
        original = open_model(baseline)
        check_ports(original.graph, original.source)
        subjects = [subjects[0], _beside(subjects[0], original.name, original.tflite)]
    return Results(tuple(measure(subjects, target="host", options=options, progress=progress)))


def _model_subject(path: Path) -> Subject:
    model = open_model(path)
    check_ports(model.graph, model.source)
    inputs = random_inputs(model.graph)
    return Subject(model.name, model.tflite, inputs, model.scheme)


def _bundle_subjects(bundle: Bundle) -> list[Subject]:
    tflite = bundle.tflite
    graph = read_graph(tflite, bundle.name)
    check_ports(graph, bundle.name)
    golden = bundle.golden()
    subject = Subject(bundle.name, tflite, golden.inputs, scheme_of(graph), golden)
    _check_exactly(subject, graph, bundle)
    if bundle.baseline is None:
        return [subject]
    return [subject, _beside(subject, bundle.name, bundle.baseline)]


def _beside(subject: Subject, name: str, tflite: bytes) -> Subject:
    """The baseline `tflite` on the same real numbers as `subject`."""
    graph, other = read_graph(subject.tflite, subject.name), read_graph(tflite, name)
    inputs = translate_inputs(subject.inputs, graph, other)
    return Subject(name, tflite, inputs, scheme_of(other))


def _check_exactly(subject: Subject, graph: Graph, bundle: Bundle) -> None:
    """Hold the reference that made the golden outputs to them, where this computer has it."""
    golden = subject.golden
    assert golden is not None
    if not golden.exact:
        return
    if follows_tflm(str(bundle.manifest["engine"])):
        if not has_tflm():
            return
        network = tflm(subject.tflite, graph)
    elif bundle.manifest.get("reference_version") == metadata.version("ai-edge-litert"):
        network = litert(subject.tflite, "reference")
    else:
        return
    with network:
        got = list(run(network, golden.inputs))
    check_outputs(golden.outputs, got, [p.name for p in graph.outputs])


def measure_model(
    name: str,
    tflite: bytes,
    inputs: Sequence[Arrays],
    *,
    scheme: str,
    target: str,
    options: BenchOptions = DEFAULTS,
    golden: Golden | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Measure one model. Raises VerificationError, before any timing, if `golden` is not met."""
    subject = Subject(name, tflite, inputs, scheme, golden)
    return measure([subject], target=target, options=options, progress=progress)[0]


def measure(
    subjects: Sequence[Subject],
    *,
    target: str,
    options: BenchOptions = DEFAULTS,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Measure `subjects` in alternating blocks (A B A B ...), each in a child process.

    With more than one, the first is the one of interest and the second its baseline: the first's
    Measurement has the `speedup`, baseline time over its own, by edgeq.stats.block_ratio.
    """
    count = max(1, min(BLOCKS, options.num_runs))
    with contextlib.ExitStack() as stack:
        graphs = [read_graph(s.tflite, s.name) for s in subjects]
        for subject, graph in zip(subjects, graphs, strict=True):
            _check_inputs(subject, graph)
        workers = [
            stack.enter_context(
                Worker("edgeq.workers.timing:Timing", s.tflite, options.num_threads)
            )
            for s in subjects
        ]
        checks = [
            _check(worker, subject, graph, progress)
            for worker, subject, graph in zip(workers, subjects, graphs, strict=True)
        ]
        blocks: list[list[_Block]] = [[] for _ in subjects]
        for number in range(count):
            for worker, subject, done in zip(workers, subjects, blocks, strict=True):
                left = options.max_secs - sum(b.wall_secs for b in done)
                if left > 0:
                    done.append(_time_block(worker, subject, options, number, count, left))
            if progress:
                progress("timing", number + 1, count)
        facts = [w.call("describe", time_limit=_MARGIN) for w in workers]
    made = [
        _measurement(subject, target, options, own, check, fact)
        for subject, own, check, fact in zip(subjects, blocks, checks, facts, strict=True)
    ]
    if len(made) > 1:
        made[0] = replace(made[0], speedup=_speedup(made[1], blocks[1], blocks[0]))
    return made


def check_outputs(
    expected: Sequence[Arrays],
    got: Sequence[Arrays],
    names: Sequence[str],
    tolerance: Sequence[float] = (),
) -> Check:
    """Compare the outputs of each sample, `names` of them, by edgeq.outputs.compare_outputs.

    Raises VerificationError where an element is further away than its output's `tolerance` (in
    steps of an integer output, else in its own values; none given means none at all), naming the
    first.
    """
    allowed = tuple(tolerance) or (0.0,) * len(names)
    if not expected or len(expected) != len(got):
        raise VerificationError(f"{len(got)} outputs for {len(expected)} golden inputs", _REBUILD)
    distances = [compare_outputs(a, b, names, allowed) for a, b in zip(expected, got, strict=True)]
    worst = max(d.worst for d in distances)
    wrong = [(i, d.beyond) for i, d in enumerate(distances) if d.beyond]
    if wrong:
        number, where = wrong[0]
        raise VerificationError(
            f"{len(wrong)} of {len(expected)} golden inputs give other outputs (up to {worst:g} "
            f"apart); nothing was timed. First: golden input {number}, {where}",
            _REBUILD,
        )
    return Check(len(expected), sum(d.worst == 0 for d in distances), worst, allowed)


_REBUILD = (
    "the model, or the version of LiteRT that runs it, is not what the golden outputs were made "
    "with; build the bundle again with this version"
)


@dataclass(frozen=True)
class _Block:
    """What edgeq.workers.timing:Timing.measure answers; samples in ns."""

    warmup: list[int]
    samples: list[int]
    before: State
    after: State
    wall_secs: float
    cpu_secs: float
    busy_secs: float | None


def _check_inputs(subject: Subject, graph: Graph) -> None:
    if not subject.inputs or (subject.golden and not subject.golden.inputs):
        raise DataError(f"{subject.name}: no inputs", hint="give at least one")
    samples = [*subject.inputs, *(subject.golden.inputs if subject.golden else ())]
    for number, sample in enumerate(samples):
        wanted = [(port.tensor.shape, port.tensor.dtype) for port in graph.inputs]
        given = [(value.shape, value.dtype.name) for value in sample]
        if wanted != given:
            found = ", ".join(f"{dtype} {list(shape)}" for shape, dtype in given)
            raise DataError(
                f"{subject.name}: input sample {number} is {found}; "
                f"the model takes {describe_inputs(graph)}",
                hint="give one array for each input, in the model's own order",
            )


def _check(
    worker: Worker,
    subject: Subject,
    graph: Graph,
    progress: Progress | None,
) -> Check:
    golden = subject.golden
    if golden is None:
        _first_run(worker, subject, graph, subject.inputs[0])
        return Check(0, 0)
    got = []
    for number, sample in enumerate(golden.inputs):
        got += _first_run(worker, subject, graph, sample)
        if progress:
            progress("golden check", number + 1, len(golden.inputs))
    names = [port.name for port in graph.outputs]
    check = check_outputs(golden.outputs, got, names, tolerances_of(golden))
    return replace(check, reference=golden.reference)


def _first_run(worker: Worker, subject: Subject, graph: Graph, sample: Arrays) -> list[Arrays]:
    """One inference that nobody times: whether it ends at all is not known before it."""
    limit = inference_limit(graph, 1)
    try:
        outputs: list[Arrays] = worker.call("run", [sample], time_limit=limit)
    except WorkerTimeout as e:
        raise late(subject.name, 1, limit) from e
    return outputs


def _time_block(
    worker: Worker, subject: Subject, options: BenchOptions, number: int, count: int, left: float
) -> _Block:
    warmup_runs, warmup_min_secs = _REWARM
    if number == 0:
        warmup_runs, warmup_min_secs = options.warmup_runs, options.warmup_min_secs
    answer = worker.call(
        "measure",
        subject.inputs,
        warmup_runs,
        min(warmup_min_secs, options.max_secs),
        -(-options.num_runs // count),
        options.min_secs / count,
        left,
        MAX_SAMPLES // count,
        time_limit=options.max_secs + left + _MARGIN,
    )
    return _Block(**answer)


def _measurement(
    subject: Subject,
    target: str,
    options: BenchOptions,
    blocks: Sequence[_Block],
    check: Check,
    facts: dict[str, Any],
) -> Measurement:
    samples = tuple(s for block in blocks for s in block.samples)
    delegated = Delegated(*facts["delegated"]) if facts["delegated"] else None
    peak = facts["peak_rss_delta"]
    wall = sum(b.wall_secs for b in blocks)
    environment = describe_host(
        blocks[0].before,
        blocks[-1].after,
        threads=options.num_threads,
        engine_version=facts["engine_version"],
        kernels="XNNPACK" if delegated and delegated.delegated else "built-in",
        processor_share=sum(b.cpu_secs for b in blocks) / wall,
        busy_elsewhere=_busy_elsewhere(blocks, wall),
    )
    verdict = judge(samples, environment)
    if check.count == 0:
        note = "the outputs were not checked: there are no golden ones"
        verdict = replace(verdict, notes=(*verdict.notes, note))
    return Measurement(
        model=subject.name,
        model_sha256=hashlib.sha256(subject.tflite).hexdigest(),
        target=target,
        engine="litert",
        scheme=subject.scheme,
        unit="ns",
        tick_hz=1e9,
        samples=samples,
        blocks=tuple(len(b.samples) for b in blocks),
        warmup_runs=len(blocks[0].warmup),
        summary=summarize(samples),
        verdict=verdict,
        checks=check,
        environment=environment,
        first=facts["first"],
        init=facts["init"],
        memory=None if peak is None else Memory(peak),
        delegated=delegated,
    )


def _busy_elsewhere(blocks: Sequence[_Block], wall: float) -> float | None:
    """Cores that all other processes kept busy; None where the clock of 1/100 s is too coarse."""
    busy = [b.busy_secs for b in blocks if b.busy_secs is not None]
    if len(busy) < len(blocks) or wall < 0.5:
        return None
    return max(0.0, (sum(busy) - sum(b.cpu_secs for b in blocks)) / wall)


def _speedup(
    baseline: Measurement, baseline_blocks: Sequence[_Block], blocks: Sequence[_Block]
) -> Speedup:
    value, interval = block_ratio([b.samples for b in baseline_blocks], [b.samples for b in blocks])
    return Speedup(baseline.model, baseline.scheme, baseline.model_sha256, value, interval)
