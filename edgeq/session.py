"""A session with a device that runs edgeq's harness: prove it, then measure it.

    with Session(target, transport, notice=print) as session:
        measurement = session.measure(expected, runs=50, warmup=1)
        profile, memory = session.profile(expected), session.memory()

Nothing is timed before the device has given every golden output, byte for byte, and no number is
reported whose line was not vouched for by its CRC.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

import numpy as np

from edgeq import __version__, answers, protocol
from edgeq.answers import DeviceMemory, Info, LayerTicks, ModelFacts, Run
from edgeq.clock import clock_doubts, clock_of
from edgeq.errors import (
    DataError,
    DeviceFault,
    MeasurementError,
    NoReply,
    StaleFirmware,
    UsageError,
    VerificationError,
)
from edgeq.expected import Expected
from edgeq.golden import Golden
from edgeq.link import Limits, Link, OutOfTime, Restarted, Trace
from edgeq.measurement import Check, Environment, Measurement, Verdict
from edgeq.outputs import Arrays, Distance, compare_outputs, limits_of
from edgeq.profile import Profile, memory_metrics, profile_of
from edgeq.stats import judge, summarize
from edgeq.targets import Target
from edgeq.transports import Transport
from edgeq.transports.simulator import is_virtual

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]
T = TypeVar("T")

MAX_RUNS = 1_000_000

_PROFILE_LINES = 400
"""Lines of an answer with the ticks of layers, at most; a damaged one is asked again as a whole."""

_BLOCK_SECONDS = 3.0
"""Of inferences that one exchange asks for: what is damaged has to be measured again."""

_SLACK = 4
"""How much longer than the last one an inference may take before it counts as lost: emulators
share the processor with other work."""


class Session:
    """One device, from open to close. `notice` gets what a person should know, a line each.

    A device that restarts in mid-run is noticed; the run starts over once a session, and says so.
    """

    def __init__(
        self,
        target: Target,
        transport: Transport,
        *,
        limits: Limits | None = None,
        trace: Trace | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.target = target
        self._limits = limits or Limits()
        self._link = Link(transport, self._limits, trace)
        self._instruction_hz = transport.instruction_hz
        self._notice = notice or (lambda line: None)
        self._info: Info | None = None
        self._model: ModelFacts | None = None
        self._keeps_state = False
        self._loaded: tuple[bytes, ...] | None = None
        self._seconds: float | None = None  # One inference, as the host saw the last.
        self._first: int | None = None
        self._restarts = 0

    def __enter__(self) -> Session:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> Info:
        """Connect, bring the device into step and ask what it is. Raises DeviceError."""
        try:
            self._info = self._link.open()
        except BaseException:
            self.close()
            raise
        return self.info

    def close(self) -> None:
        self._link.close()

    @property
    def info(self) -> Info:
        assert self._info is not None, "the session is not open"
        return self._info

    @property
    def _facts(self) -> ModelFacts:
        assert self._model is not None, "check_model comes first"
        return self._model

    @property
    def damaged(self) -> int:
        """How many exchanges were damaged, and asked again, so far."""
        return self._link.damaged

    def check_model(self, expected: Expected) -> None:
        """Refuse a device that runs anything but `expected`. Raises StaleFirmware."""
        self._starting_over(lambda: self._check_model(expected))

    def check(self, expected: Expected, progress: Progress | None = None) -> Check:
        """Hold the device to every golden output: byte for byte, where those are exact.

        Raises VerificationError, with the first layer that differs where that is known.
        """
        return self._starting_over(lambda: self._check(expected, progress))

    def infer(self, sample: Arrays, time_limit: float = math.inf) -> Arrays:
        """The outputs for one sample, both as the network stores them; after `check_model`.

        Raises NoReply when that takes more than `time_limit` seconds, all repetitions included.
        """
        try:
            with self._link.within(time_limit):
                return self._starting_over(lambda: self._infer(sample))
        except OutOfTime as e:
            raise NoReply(
                f"{self._link.name} did not give its outputs within {time_limit:g} s",
                hint="does the firmware hang? --time-limit SECONDS gives a slow one more",
            ) from e

    def first_wrong_layer(self, expected: Expected, sample: Arrays, outputs: Arrays) -> str | None:
        """The first layer that differs for a sample that should have given `outputs`.

        A sentence; None when the host cannot tell (Expected.layer_crcs). After `check_model`.
        """
        return self._starting_over(lambda: self._first_wrong_layer(expected, sample, outputs))

    def measure(
        self,
        expected: Expected,
        runs: int = 50,
        warmup: int = 1,
        progress: Progress | None = None,
    ) -> Measurement:
        """The golden vectors first, then `runs` timed inferences of golden input 0.

        Before them are `warmup` others. An emulator's unit is instructions, and it has no tick_hz.
        Raises VerificationError before any timing, or when outputs change while timed.
        """
        if not (1 <= runs <= MAX_RUNS and 0 <= warmup <= MAX_RUNS):
            raise UsageError(
                f"{runs} runs after {warmup} for warm-up: out of range",
                hint=f"from 1 to {MAX_RUNS} runs are possible",
            )
        self._refuse_unknown_clock()
        return self._starting_over(lambda: self._measure(expected, runs, warmup, progress))

    def profile(self, expected: Expected, runs: int = 5) -> Profile:
        """What each layer takes, the median of `runs` inferences of golden input 0."""
        self._refuse_unknown_clock()
        return self._starting_over(lambda: self._profile(expected, runs))

    def memory(self) -> DeviceMemory:
        """What the firmware takes of the device's memory, the stack's high-water mark with it."""
        return self._starting_over(self._memory)

    def layer_crcs(self, sample: Arrays) -> tuple[int, ...]:
        """CRC-32 of each layer's first output for one sample; after `check_model`."""
        return self._starting_over(lambda: self._layer_crcs(sample))

    def _starting_over(self, work: Callable[[], T]) -> T:
        """What `work` gives; after a restart of the device once more from its beginning."""
        try:
            return work()
        except Restarted as e:
            self._refuse_restart(e)
            self._notice(
                f"{self._link.name} restarted in mid-run ({e.message}); the run starts over"
            )
            self._loaded = None
            self._info = self._link.synchronise()
        try:
            return work()
        except Restarted as e:
            self._refuse_restart(e)
            raise

    def _refuse_restart(self, error: Restarted) -> None:
        self._restarts += 1
        if self._restarts > 1:
            raise DeviceFault(
                f"{self._link.name} restarted {self._restarts} times: {error.message}",
                hint="is its power supply strong enough, does a watchdog run, does the stack "
                "suffice? edgeq's firmware resets after a processor fault",
            ) from error

    def _check_model(self, expected: Expected) -> None:
        info = self.info
        model = answers.decode_model(self._link.exchange(["eq", "model"]))
        difference = expected.difference(info, model, self.target.name)
        if difference:
            text = f"{self._link.name} runs another firmware: {difference}"
            raise StaleFirmware(text, hint=expected.how_to_flash)
        if info.status != 0:
            raise DeviceFault(
                f"{self._link.name}: its model cannot start: {info.status_text} ({info.status})",
                hint=f"build it again with this edgeq, then: {expected.how_to_flash}",
            )
        self._model = model
        self._keeps_state = answers.decode_reset(self._link.exchange(["eq", "reset"]))

    def _check(self, expected: Expected, progress: Progress | None) -> Check:
        self._check_model(expected)
        golden = expected.golden
        if not len(golden):
            raise VerificationError(f"{expected.name}: no golden vectors", hint="build it again")
        equal, worst = 0, 0.0
        for number, sample in enumerate(golden.inputs):
            got = self._infer(sample)
            distance = self._distance(golden, number, got)
            if distance.beyond:
                raise self._mismatch(expected, number, got, distance.beyond)
            equal += distance.worst == 0
            worst = max(worst, distance.worst)
            if progress:
                progress("golden check", number + 1, len(golden))
        return Check(len(golden), equal, worst, limits_of(golden), golden.reference)

    def _distance(self, golden: Golden, number: int, got: Arrays) -> Distance:
        names = [t.name for t in self._facts.outputs]
        return compare_outputs(golden.outputs[number], got, names, limits_of(golden))

    def _mismatch(
        self, expected: Expected, number: int, got: Arrays, where: str
    ) -> VerificationError | DeviceFault:
        """The error for a wrong output, with the first layer that differs where that is known."""
        sample = expected.golden.inputs[number]
        if _crc(got) != _crc(self._infer(sample)):
            return DeviceFault(
                f"{self._link.name} gives two outputs for one input (golden input {number})",
                hint="memory or clock are not stable: lower the clock, check wait states and power",
            )
        message = f"{self._link.name}: golden input {number}, {where}; nothing was timed"
        layer = self._first_wrong_layer(expected, sample, expected.golden.outputs[number])
        return VerificationError(f"{message}. {layer}" if layer else message, hint=_REBUILD)

    def _first_wrong_layer(self, expected: Expected, sample: Arrays, outputs: Arrays) -> str | None:
        wanted = expected.layer_crcs(sample, outputs) if expected.layer_crcs else None
        if wanted is None:
            return None
        found = self._layer_crcs(sample)
        if len(found) != len(wanted):
            return None
        for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
            if a is not None and a != b:
                layer = self._layer_ticks(1).layers[index]
                return f"The first layer that differs is {index}: {layer.op} {layer.name}"
        return "No layer's own output differs"

    def _memory(self) -> DeviceMemory:
        return answers.decode_memory(self._link.exchange(["eq", "mem"]))

    def _infer(self, sample: Arrays) -> Arrays:
        self._load(sample)
        run = self._run(1, 0, anew=True)
        if self._first is None:
            self._first = run.ticks[0]
        data = [self._output(i, t.bytes) for i, t in enumerate(self._facts.outputs)]
        if zlib.crc32(b"".join(data)) != run.outputs:
            raise DeviceFault(f"{self._link.name}: an output changed after the inference")
        return tuple(
            np.frombuffer(d, np.dtype(t.dtype).newbyteorder("<")).astype(t.dtype).reshape(t.shape)
            for d, t in zip(data, self._facts.outputs, strict=True)
        )

    def _load(self, sample: Arrays) -> None:
        data = tuple(np.asarray(v).tobytes() for v in sample)
        sizes = [t.bytes for t in self._facts.inputs]
        if [len(d) for d in data] != sizes:
            raise DataError(
                f"a sample of {[len(d) for d in data]} bytes; the model's inputs take {sizes}"
            )
        if data == self._loaded:
            return
        self._loaded = None
        for index, content in enumerate(data):
            self._load_input(index, content)
        self._loaded = data

    def _load_input(self, index: int, content: bytes) -> None:
        def give(offset: int, count: int, attempts: int | None) -> None:
            words = protocol.encode_load(index, offset, content[offset : offset + count])
            answer = self._link.exchange(words, attempts=attempts)
            if answers.decode_loaded(answer) != (index, offset, count):
                raise DeviceFault(f"{self._link.name}: eq load took other bytes than were sent")

        self._link.in_pieces(len(content), self.info.chunk, give)

    def _run(self, count: int, warmup: int, anew: bool = False) -> Run:
        start = time.monotonic()
        words = ["eq", "run", str(count), str(warmup)]
        run = answers.decode_run(self._exchange_inference(words, count + warmup, anew))
        if len(run.ticks) != count or run.warmup != warmup:
            raise DeviceFault(f"{self._link.name}: eq run made other runs than it was asked for")
        self._require_inputs(run.inputs)
        self._seconds = (time.monotonic() - start) / (count + warmup)
        return run

    def _exchange_inference(
        self, words: list[str], count: int, anew: bool = False
    ) -> protocol.Answer:
        """Exchange a command that makes `count` inferences, with time for so many.

        `anew`: in each attempt from the state that the network has at the start.
        """
        if self._seconds is None:
            busy = self._limits.inference * count
        else:
            silent = min(count, self.info.batch)
            busy = _SLACK * self._seconds * silent
        before = ["eq", "reset"] if anew and self._keeps_state else None
        return self._link.exchange(words, busy, before=before)

    def _require_inputs(self, crc: int) -> None:
        """A device that lost what was loaded has restarted, even if its banner was lost too."""
        assert self._loaded is not None
        if crc != zlib.crc32(b"".join(self._loaded)):
            self._loaded = None
            raise Restarted("it forgot its inputs")

    def _output(self, index: int, size: int) -> bytes:
        data = bytearray()

        def take(offset: int, count: int, attempts: int | None) -> None:
            words = ["eq", "out", str(index), str(offset), str(count)]
            answer = self._link.exchange(words, attempts=attempts)
            data.extend(answers.decode_out(answer, index, offset, count))

        self._link.in_pieces(size, size, take)
        return bytes(data)

    def _layer_crcs(self, sample: Arrays) -> tuple[int, ...]:
        self._load(sample)
        layers = answers.decode_layers(self._exchange_inference(["eq", "layers"], 2, anew=True))
        self._require_inputs(layers.inputs)
        return layers.crcs

    def _measure(
        self, expected: Expected, runs: int, warmup: int, progress: Progress | None
    ) -> Measurement:
        check = self._check(expected, progress)
        if not self.info.tick_moves:
            raise DeviceFault(
                f"{self._link.name}: its clock ({self.info.tick_source}) stands still",
                hint="without a debugger some chips lock the cycle counter; see the port's README",
            )
        golden = expected.golden
        outputs = _crc(self._infer(golden.inputs[0]))
        ticks: list[int] = []
        blocks: list[int] = []
        start = time.monotonic()
        while len(ticks) < runs:
            most = max(1, min(self.info.batch, int(_BLOCK_SECONDS / (self._seconds or 1))))
            count = min(most, runs - len(ticks))
            run = self._run(count, warmup if not ticks else min(warmup, 1))
            if not self._keeps_state and (run.same, run.outputs) != (count, outputs):
                wrong = count - run.same if run.outputs == outputs else count
                raise VerificationError(
                    f"{self._link.name}: {wrong} of {count} timed inferences gave other outputs "
                    "than the same input did before",
                    hint="memory or clock are not stable, or something else writes to the arena",
                )
            ticks += run.ticks
            blocks.append(count)
            if progress:
                progress("timing", len(ticks), runs)
        seconds = time.monotonic() - start
        if self._keeps_state:  # Then outputs depend on how many inferences there were.
            beyond = self._distance(golden, 0, self._infer(golden.inputs[0])).beyond
            if beyond:
                raise VerificationError(f"after timing: golden input 0, {beyond}", hint=_REBUILD)
        return self._measurement(expected, check, ticks, blocks, warmup, seconds)

    def _measurement(
        self,
        expected: Expected,
        check: Check,
        ticks: Sequence[int],
        blocks: Sequence[int],
        warmup: int,
        seconds: float,
    ) -> Measurement:
        clock = clock_of(self.info, self._instruction_hz)
        samples = tuple(clock.count(t) for t in ticks)
        core = self.target.core
        environment = Environment(
            device=self.info.board,
            arch=self.target.arch,
            cpu=core.name if core else None,
            cores=1,
            threads=1,
            engine_version=f"ABI {self.info.abi}",
            edgeq_version=__version__,
        )
        verdict = judge(samples, environment)
        doubts = []
        if self._instruction_hz is None:
            doubts = clock_doubts(self.info, ticks, seconds)
        return Measurement(
            model=expected.name,
            model_sha256=expected.sha256,
            target=self.target.name,
            engine=self.info.engine,
            scheme=expected.scheme,
            unit=clock.unit,
            tick_hz=clock.tick_hz,
            samples=samples,
            blocks=tuple(blocks),
            warmup_runs=warmup,
            summary=summarize(samples),
            verdict=Verdict(
                valid=verdict.valid and not doubts,
                reasons=(*verdict.reasons, *doubts),
                notes=(*verdict.notes, *self._notes()),
            ),
            checks=check,
            environment=environment,
            first=None if self._first is None else clock.count(self._first),
            metrics=memory_metrics(self._memory()),
        )

    def _notes(self) -> list[str]:
        notes = []
        if self._restarts:
            notes.append("the device restarted in mid-run; the run was started over")
        if self.damaged:
            notes.append(f"{self.damaged} exchanges were damaged on the line and repeated")
        return notes

    def _profile(self, expected: Expected, runs: int) -> Profile:
        self._check_model(expected)
        self._load(expected.golden.inputs[0])
        most = max(1, _PROFILE_LINES * 8 // max(1, self._facts.layers))
        ticks: list[tuple[int, ...]] = []
        while len(ticks) < runs:
            found = self._layer_ticks(min(most, runs - len(ticks)))
            ticks += found.ticks
        return profile_of(found.layers, ticks, clock_of(self.info, self._instruction_hz))

    def _layer_ticks(self, count: int) -> LayerTicks:
        # A device with little room measures its layers in several windows, `count` runs each.
        windows = 1 + self._facts.layers // 8
        answer = self._exchange_inference(["eq", "prof", str(count)], count * windows)
        found = answers.decode_profile(answer)
        if len(found.ticks) != count:
            raise DeviceFault(f"{self._link.name}: eq prof made other runs than it was asked for")
        self._require_inputs(found.inputs)
        return found

    def _refuse_unknown_clock(self) -> None:
        if self._instruction_hz is None and is_virtual(self.target, self.info.board):
            raise MeasurementError(
                f"{self.info.board} is an emulator's machine, and edgeq did not start this one: "
                "what it counts is no time, and maybe no instructions",
                hint="let edgeq start it: --sim",
            )


_REBUILD = (
    "build the bundle again and flash it; if the outputs stay different, the compiler, its flags "
    "or a kernel is wrong: please report it"
)


def _crc(arrays: Arrays) -> int:
    return zlib.crc32(b"".join(v.tobytes() for v in arrays))
