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
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

from edgeq.answers import DeviceMemory, Info, LayerTicks, Run
from edgeq.clock import clock_of
from edgeq.errors import (
    DeviceError,
    DeviceFault,
    MeasurementError,
    NoReply,
    StaleFirmware,
    UsageError,
    VerificationError,
)
from edgeq.expected import Expected
from edgeq.harness import UNSTABLE, Harness
from edgeq.link import Limits, Link, OutOfTime, Restarted, Trace
from edgeq.measurement import Check, Environment, Measurement, Profile, State
from edgeq.outputs import Arrays, Distance, compare_outputs
from edgeq.profile import profile_of
from edgeq.targets import Target
from edgeq.timing import Timing, measurement_of
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


@dataclass(frozen=True)
class Surroundings:
    """What runs the harness, where that is a computer: what it says of itself, and its state now.

    `notes` are what a reader of its results should know.
    """

    environment: Environment
    state: Callable[[], State]
    notes: tuple[str, ...] = ()


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
        surroundings: Surroundings | None = None,
    ) -> None:
        self.target = target
        self._surroundings = surroundings
        limits = limits or Limits()
        self._link = Link(transport, limits, trace)
        self._harness = Harness(self._link, limits)
        self._instruction_hz = transport.instruction_hz
        self._notice = notice or (lambda line: None)
        self._restarts = 0
        self._expected: Expected | None = None

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
            self._harness.started(self._link.open())
        except BaseException:
            self.close()
            raise
        return self.info

    def close(self) -> None:
        self._link.close()

    @property
    def info(self) -> Info:
        return self._harness.info

    @property
    def device(self) -> str:
        """What answers: a board's name, or the computer that runs the harness."""
        known = self._surroundings.environment.device if self._surroundings else None
        return known or self.info.board

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
                return self._starting_over(lambda: self._harness.infer(sample))
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
        *,
        seconds: float = 0.0,
        max_seconds: float = math.inf,
    ) -> Measurement:
        """The golden vectors first, then `runs` timed inferences of golden input 0, and more until
        so many `seconds` are over; none starts after `max_seconds`.

        Before them are `warmup` others. An emulator's unit is instructions, and it has no tick_hz.
        Raises VerificationError before any timing, or when outputs change while timed.
        """
        if not (1 <= runs <= MAX_RUNS and 0 <= warmup <= MAX_RUNS):
            raise UsageError(
                f"{runs} runs after {warmup} for warm-up: out of range",
                hint=f"from 1 to {MAX_RUNS} runs are possible",
            )
        self._refuse_unknown_clock()
        span = (seconds, max_seconds)
        return self._starting_over(lambda: self._measure(expected, runs, warmup, span, progress))

    def profile(self, expected: Expected, runs: int = 5) -> Profile:
        """What each layer takes, the median of `runs` inferences of golden input 0."""
        self._refuse_unknown_clock()
        return self._starting_over(lambda: self._profile(expected, runs))

    def memory(self) -> DeviceMemory:
        """What the firmware takes of the device's memory, the stack's high-water mark with it."""
        return self._starting_over(self._harness.memory)

    def layer_crcs(self, sample: Arrays) -> tuple[int, ...]:
        """CRC-32 of each layer's first output for one sample; after `check_model`."""
        return self._starting_over(lambda: self._harness.layer_crcs(sample))

    def _starting_over(self, work: Callable[[], T]) -> T:
        """What `work` gives; after a restart of the device once more from its beginning."""
        try:
            return work()
        except Restarted as e:
            self._refuse_restart(e)
            self._notice(
                f"{self._link.name} restarted in mid-run ({e.message}); the run starts over"
            )
            self._harness.started(self._link.synchronise())
        try:
            if self._expected is not None:  # It may have come back as another one.
                self._check_model(self._expected)
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
        self._expected = expected
        info = self.info
        model = self._harness.model()
        difference = expected.difference(info, model, self.target.name)
        if difference:
            text = f"{self._link.name} runs another firmware: {difference}"
            raise StaleFirmware(text, hint=expected.how_to_flash)
        if info.status != 0:
            raise DeviceFault(
                f"{self._link.name}: its model cannot start: {info.status_text} ({info.status})",
                hint=f"build it again with this edgeq, then: {expected.how_to_flash}",
            )
        self._harness.begin(model)

    def _check(self, expected: Expected, progress: Progress | None) -> Check:
        self._check_model(expected)
        golden = expected.golden
        if not len(golden):
            raise VerificationError(f"{expected.name}: no golden vectors", hint="build it again")
        equal, worst = 0, 0.0
        for number, sample in enumerate(golden.inputs):
            got = self._harness.infer(sample)
            distance = self._distance(expected, number, got)
            if distance.beyond:
                raise self._mismatch(expected, number, got, distance.beyond)
            equal += distance.worst == 0
            worst = max(worst, distance.worst)
            if progress:
                progress("golden check", number + 1, len(golden))
        return Check(len(golden), equal, worst, expected.limits, golden.reference)

    def _distance(self, expected: Expected, number: int, got: Arrays) -> Distance:
        names = [t.name for t in self._harness.facts.outputs]
        return compare_outputs(expected.golden.outputs[number], got, names, expected.limits)

    def _mismatch(
        self, expected: Expected, number: int, got: Arrays, where: str
    ) -> VerificationError | DeviceFault:
        """The error for a wrong output, with the first layer that differs where that is known."""
        sample = expected.golden.inputs[number]
        if _crc(got) != _crc(self._harness.infer(sample)):
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
        try:
            found = self._harness.layer_crcs(sample)
            if len(found) != len(wanted):
                return None
            for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
                if a is not None and a != b:
                    layer = self._harness.layer_ticks(1).layers[index]
                    return f"The first layer that differs is {index}: {layer.op} {layer.name}"
        except Restarted:
            raise
        except DeviceError as e:  # It must not hide the wrong output itself.
            return f"Which layer differs first is not known: {e.message}"
        return "No layer's own output differs"

    def _measure(
        self,
        expected: Expected,
        runs: int,
        warmup: int,
        span: tuple[float, float],
        progress: Progress | None,
    ) -> Measurement:
        seconds, max_seconds = span
        check = self._check(expected, progress)
        if not self.info.tick_moves:
            raise DeviceFault(
                f"{self._link.name}: its clock ({self.info.tick_source}) stands still",
                hint="without a debugger some chips lock the cycle counter; see the port's README",
            )
        golden = expected.golden
        outputs = _crc(self._harness.infer(golden.inputs[0]))
        ticks: list[int] = []
        blocks: list[int] = []
        before = self._state()
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds or len(ticks) < runs:
            most = max(1, min(self.info.batch, int(_BLOCK_SECONDS / (self._harness.seconds or 1))))
            left = MAX_RUNS - len(ticks) if passed < seconds else runs - len(ticks)
            if left <= 0 or (ticks and passed >= max_seconds):
                break
            count = min(most, left)
            run = self._harness.run(count, warmup if not ticks else min(warmup, 1))
            self._require_outputs(run, count, outputs)
            ticks += run.ticks
            blocks.append(count)
            if progress:
                progress("timing", len(ticks), max(runs, len(ticks)))
        took = time.monotonic() - start
        after = self._state()
        notes = self._notes()
        if took < seconds and took < max_seconds:
            notes += (f"{MAX_RUNS} runs are the most: they took {took:.0f} of {seconds:g} s",)
        if self._harness.keeps_state:  # Then outputs depend on how many inferences there were.
            beyond = self._distance(expected, 0, self._harness.infer(golden.inputs[0])).beyond
            if beyond:
                raise VerificationError(
                    f"{self._link.name}: after timing: golden input 0, {beyond}", hint=_REBUILD
                )
        return measurement_of(
            Timing(tuple(ticks), tuple(blocks), warmup, self._harness.first, took, notes),
            expected,
            self.target,
            self.info,
            check,
            self._harness.memory(),
            self._instruction_hz,
            self._environment(before, after),
        )

    def _state(self) -> State:
        return self._surroundings.state() if self._surroundings else State()

    def _environment(self, before: State, after: State) -> Environment | None:
        if self._surroundings is None:
            return None
        return replace(self._surroundings.environment, before=before, after=after)

    def _require_outputs(self, found: Run | LayerTicks, count: int, outputs: int) -> None:
        """Each of `count` timed inferences must have given what the input gave before."""
        if self._harness.keeps_state or (found.same, found.outputs) == (count, outputs):
            return
        wrong = count - found.same if found.outputs == outputs else count
        raise VerificationError(
            f"{self._link.name}: {wrong} of {count} timed inferences gave other outputs than the "
            "same input did before",
            hint=UNSTABLE,
        )

    def _notes(self) -> tuple[str, ...]:
        notes = list(self._surroundings.notes) if self._surroundings else []
        if self._restarts:
            notes.append("the device restarted in mid-run; the run was started over")
        if self.damaged:
            notes.append(f"damaged on the line, and repeated: {self.damaged} exchange(s)")
        return tuple(notes)

    def _profile(self, expected: Expected, runs: int) -> Profile:
        self._check_model(expected)
        got = self._harness.infer(expected.golden.inputs[0])
        beyond = self._distance(expected, 0, got).beyond
        if beyond:
            raise self._mismatch(expected, 0, got, beyond)
        most = max(1, _PROFILE_LINES * 8 // max(1, self._harness.facts.layers))
        ticks: list[tuple[int, ...]] = []
        while len(ticks) < runs:
            count = min(most, runs - len(ticks))
            found = self._harness.layer_ticks(count)
            self._require_outputs(found, count, _crc(got))
            ticks += found.ticks
        return profile_of(found.layers, ticks, clock_of(self.info, self._instruction_hz))

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
