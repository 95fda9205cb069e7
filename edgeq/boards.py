"""A bundle on a device, a microcontroller or a computer: outputs first, then counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.answers import DeviceMemory
from edgeq.bundle import Bundle, open_bundle
from edgeq.codegen.aot import kept_channels
from edgeq.devices import serial_transport
from edgeq.errors import UsageError
from edgeq.expected import Expected, expected_of
from edgeq.flashers import firmware_image, how_to_flash
from edgeq.graph import Graph
from edgeq.inputs import stored_inputs
from edgeq.interpreters import batches
from edgeq.link import Limits, Trace
from edgeq.lint import Finding
from edgeq.machines import MachinePlace
from edgeq.measurement import Measurement, Metric, Profile
from edgeq.outputs import Arrays, compare_outputs
from edgeq.pipeline import Data, open_evaluation
from edgeq.reference import layer_crcs, open_reference, reference_doubt
from edgeq.samples import Samples
from edgeq.session import Session
from edgeq.stats import slowdown
from edgeq.targets import Target, load_target
from edgeq.tflite import read_graph
from edgeq.transports import Transport
from edgeq.transports.serial import BAUD
from edgeq.transports.simulator import SimulatorTransport, is_virtual
from edgeq.verification import check_labels

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]

SAMPLE_LIMIT = 60.0
MAX_SAMPLE_LIMIT = 86400.0
"""Seconds for one sample, loading and every repetition included."""


@dataclass(frozen=True)
class Place:
    """Where the board is: at a `port` (any pyserial URL, or "auto") of so many `baud`, or, with
    `sim`, in its emulator. Without either it is the emulator, for a board that is virtual itself.
    """

    port: str | None = None
    sim: bool = False
    baud: int | None = None

    def __post_init__(self) -> None:
        if self.port is not None and self.sim:
            raise UsageError("--port and --sim exclude each other", hint="give one of them")
        if self.port is None and self.baud is not None:
            raise UsageError("--baud goes with --port", hint="--port auto --baud 115200")

    def check(self, target: Target) -> None:
        """Raise UsageError when nothing says where `target`'s board is, or its emulator lacks."""
        if self.port is None and not self.sim and not is_virtual(target):
            emulator = ", or --sim for its emulator" if target.sim else ""
            raise UsageError(
                f"{target.name}: say where it is",
                hint=f"--port auto (or /dev/ttyACM0, COM7){emulator}",
            )
        if self.sim and target.sim is None:
            raise UsageError(
                f"{target.name} has no emulator",
                hint="name the board's port with --port; 'edgeq targets' lists the virtual boards",
            )

    def session(
        self,
        target: Target,
        bundle: Bundle,
        *,
        limits: Limits | None = None,
        trace: Trace | None = None,
        notice: Notice | None = None,
    ) -> Session:
        """A session with `target`'s board, to be opened. Raises UsageError."""
        transport = self._transport(target, bundle)
        return Session(target, transport, limits=limits, trace=trace, notice=notice)

    def _transport(self, target: Target, bundle: Bundle) -> Transport:
        self.check(target)
        if self.port is not None:
            return serial_transport(target, self.port, self.baud or BAUD)
        return SimulatorTransport(target, firmware_image(bundle))


AnyPlace = Place | MachinePlace


def check_time_limit(seconds: float) -> None:
    """Raise UsageError for what cannot be a limit for one sample."""
    if not 0 < seconds <= MAX_SAMPLE_LIMIT:
        raise UsageError(
            f"a time limit of {seconds:g} s for a sample",
            hint=f"more than 0 and at most {MAX_SAMPLE_LIMIT:g} s are possible",
        )


@dataclass(frozen=True)
class BoardRun:
    """What one session with a board found. `profile` is None where it was not asked for."""

    measurement: Measurement
    memory: DeviceMemory
    profile: Profile | None


@dataclass(frozen=True)
class BoardEvaluation:
    """All samples of a data set on one device, beside the host's reference.

    `equal` is how many gave the reference's outputs, byte for byte; `first_difference` says which
    sample was further away than `tolerance`, one for each output, allows, and where.
    `max_difference` is in steps of an integer output, None where no number says it (another type
    or shape, NaN). `accuracy` (0 to 1) is the device's, None without labels or scores of classes;
    `findings` is what looks wrong in the samples.
    """

    model: str
    target: str
    device: str
    engine: str
    scheme: str
    source: str
    samples: int
    equal: int
    max_difference: float | None
    reference: str
    first_difference: str | None
    tolerance: tuple[float, ...]
    accuracy: float | None
    findings: tuple[Finding, ...] = ()


def bench_board(
    source: str | Path,
    place: AnyPlace,
    *,
    target: Target | None = None,
    runs: int = 50,
    warmup: int = 1,
    seconds: float = 0.0,
    max_seconds: float = math.inf,
    profile: bool = False,
    sustained: bool = False,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> BoardRun:
    """Check the golden vectors of the bundle `source` byte for byte, then measure.

    There are at least so many `runs`, and they take at least so many `seconds`, but none starts
    after `max_seconds`; with `sustained` a metric says how much slower the last tenth was than
    the first. `target` is the
    bundle's, where that is described by a file of the user's own.

    Raises DeviceError and its kin for a board that does not answer as it should, StaleFirmware
    for one that runs another model, VerificationError before any timing for wrong outputs.
    """
    bundle = open_bundle(Path(source))
    target = target or load_target(str(bundle.manifest["target"]))
    expected = _expected(bundle, target, read_graph(bundle.tflite, bundle.name))
    with place.session(target, bundle, trace=trace, notice=notice) as session:
        measurement = session.measure(
            expected, runs, warmup, progress, seconds=seconds, max_seconds=max_seconds
        )
        if sustained:
            slower = Metric("slowdown", slowdown(measurement.samples), "times", "lower")
            measurement = replace(measurement, metrics=(*measurement.metrics, slower))
        layers = session.profile(expected) if profile else None
        measurement = replace(measurement, profile=layers)
        return BoardRun(measurement, session.memory(), layers)


def evaluate_board(
    source: str | Path,
    data: Data,
    place: AnyPlace,
    *,
    target: Target | None = None,
    time_limit: float = SAMPLE_LIMIT,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> BoardEvaluation:
    """Run every sample of `data.evaluation` on the board that runs the bundle `source`, and by
    the reference on this computer (edgeq.reference.open_reference), and compare.

    No sample may take more than `time_limit` seconds. Raises what bench_board raises, but for
    VerificationError: what differs is counted.
    """
    check_time_limit(time_limit)
    bundle = open_bundle(Path(source))
    target = target or load_target(str(bundle.manifest["target"]))
    graph = read_graph(bundle.tflite, bundle.name)
    samples, lint = open_evaluation(data, graph, bundle.labels)
    check_labels(samples, graph)
    expected = _expected(bundle, target, graph)
    network, reference = open_reference(bundle.tflite, graph, expected.engine)
    doubt = reference_doubt(expected.engine)
    if notice and doubt:
        notice(doubt)
    limits = Limits(inference=time_limit)
    opened = place.session(target, bundle, limits=limits, trace=trace, notice=notice)
    with network, opened as session:
        session.check_model(expected)
        tally = _Tally(samples, graph, expected.limits)
        stored = (stored_inputs(s, graph.inputs) for s in samples)
        for batch in batches(stored, network.batch):
            for sample, wanted in zip(batch, network.infer("run", batch), strict=True):
                got = session.infer(sample, time_limit)
                if tally.add(wanted, got):
                    tally.blame(session.first_wrong_layer(expected, sample, wanted))
                if progress:
                    progress(f"on {session.info.board}", tally.count, len(samples))
        return BoardEvaluation(
            model=bundle.name,
            target=target.name,
            device=session.device,
            engine=session.info.engine,
            scheme=expected.scheme,
            source=samples.source,
            samples=tally.count,
            equal=tally.equal,
            max_difference=tally.worst if math.isfinite(tally.worst) else None,
            reference=reference,
            first_difference=tally.first,
            tolerance=expected.limits,
            accuracy=tally.accuracy,
            findings=tuple(lint.data_findings()),
        )


def _expected(bundle: Bundle, target: Target, graph: Graph) -> Expected:
    tflite, engine = bundle.tflite, str(bundle.manifest["engine"])

    def crcs(sample: Arrays, outputs: Arrays) -> list[int | None] | None:
        kept = kept_channels(graph) if engine == "aot" else None
        return layer_crcs(tflite, graph, engine, sample, outputs, kept)

    return expected_of(bundle, how_to_flash(target, str(bundle.folder)), crcs)


class _Tally:
    """Counts over the samples, in their order."""

    def __init__(self, samples: Samples, graph: Graph, limits: Sequence[float]) -> None:
        self.count = self.equal = 0
        self.worst = 0.0
        self.first: str | None = None
        self._limits = limits
        self._samples = samples
        self._names = [port.name for port in graph.outputs]
        self._right = 0
        shape = graph.outputs[0].tensor.shape
        self._is_scored = samples.labels is not None and len(shape) == 2 and shape[-1] > 1

    def add(self, wanted: Arrays, got: Arrays) -> bool:
        """Take the outputs of the next sample; whether they are the first that differ."""
        number = self.count
        distance = compare_outputs(wanted, got, self._names, self._limits)
        self.count += 1
        self.equal += distance.worst == 0
        self.worst = max(self.worst, distance.worst)
        if self._is_scored and self._samples.labels is not None:
            self._right += int(got[0].argmax()) == int(self._samples.labels[number])
        if distance.beyond is None or self.first is not None:
            return False
        self.first = f"{self._samples.describe(number)}, {distance.beyond}"
        return True

    def blame(self, layer: str | None) -> None:
        if layer:
            self.first = f"{self.first}. {layer}"

    @property
    def accuracy(self) -> float | None:
        return self._right / self.count if self._is_scored else None
