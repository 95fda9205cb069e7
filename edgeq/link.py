"""Commands and answers over a line that may drop, change and add bytes.

An answer counts only when its CRC and its number are right (edgeq.protocol), so damage is always
noticed. What was damaged is asked again, a bounded number of times, from a device that was first
brought back into step. A device that restarts has lost what it was told: that is for the caller.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgeq import answers, protocol
from edgeq.answers import Info
from edgeq.errors import (
    DeviceError,
    DeviceFault,
    Garbage,
    NoReply,
    ProtocolError,
    StaleFirmware,
)
from edgeq.protocol import Answer
from edgeq.transports import Transport

T = TypeVar("T")

Trace = Callable[[float, str, str], None]
"""Called with the seconds since opening, ">" (to the device) or "<", and the line."""


@dataclass(frozen=True)
class Limits:
    """Seconds to wait at most, and `attempts` that a damaged exchange gets.

    `open`: for the device to come into step; boards that restart when the port opens boot first.
    `reply`: between two lines of an answer, beside the time that inferences take. `inference`:
    for the first one, which nobody knows yet. `quiet`: without a byte, for the line to be quiet;
    USB serial adapters collect bytes for 16 ms. `patience`: for damage, in a whole session, when
    it takes more than half of the time.
    """

    open: float = 10.0
    reply: float = 5.0
    inference: float = 60.0
    quiet: float = 0.2
    patience: float = 60.0
    attempts: int = 8


_BETTER_LINE = (
    "a shorter cable, another USB port or hub, or a lower baud rate may help; --trace shows the "
    "lines"
)


OTHER_HARNESS = (
    "build and flash it again with this edgeq; if it stays, please report it with --trace's lines"
)


class BadLine(ProtocolError):
    """The line damages so much that patience does not help."""


class OutOfTime(DeviceError):
    """What was to be done within some time (Link.within) was not."""


class Restarted(DeviceFault):
    """The device restarted; what was loaded is lost. Sessions start over once."""


MAX_ANSWER_LINES = 200_000

_PIECE = 1024
"""Bytes of an input or output that one exchange carries: 2.3 KB of text, 0.2 s at 115200 baud."""

_MIN_PIECE = 16

_READY_LIMIT = 1.0
"""For m-ready behind an answer that is already whole."""

_NOISE_LIMIT = 5.0
_TALK_LIMIT = 60.0
"""For the line to be quiet: since a line that made sense, and in all. The answer to someone before
us may still be under way."""


class Link:
    """A device in step: it has answered everything, what comes next answers our next command."""

    def __init__(self, transport: Transport, limits: Limits, trace: Trace | None) -> None:
        self._transport = transport
        self._limits = limits
        self._trace = trace
        self._reader = protocol.LineReader()
        self._lines: deque[bytes] = deque()
        self._heard = _Heard()
        self._in_step = False
        self._started = time.monotonic()
        # Not from 0, lest the answer to a session before this one carries a number of ours.
        self._number = int.from_bytes(os.urandom(4), "little")
        self._piece = _PIECE
        self._lost = 0.0
        self._deadline = math.inf
        self.damaged = 0

    @property
    def name(self) -> str:
        return self._transport.name

    def open(self) -> Info:
        """Connect, and bring the device into step. Raises DeviceError."""
        self._started = time.monotonic()
        self._transport.open()
        return self.synchronise()

    def close(self) -> None:
        self._transport.close()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raise OutOfTime from exchanges inside once so many seconds are over."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = math.inf

    def synchronise(self, busy: float = 0.0) -> Info:
        """Bring the device into step, whatever it is doing: `busy` more seconds, say."""
        self._heard = _Heard()
        deadline = time.monotonic() + self._limits.open + busy
        wait = 0.5
        while True:
            self._check_deadline()
            self._drain()  # First: a boot loader may take what is sent to it for an upload.
            self._send(protocol.ABANDON)
            self._drain()
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._heard.error(self.name, self._limits.open + busy)
            try:
                answer = self._ask(["eq", "info"], min(wait + busy, left))
            except (ProtocolError, NoReply, Restarted):
                wait *= 1.25
                continue
            self._in_step = True
            return self._info(answer)

    def exchange(
        self,
        words: Sequence[str],
        decode: Callable[[Answer], T],
        busy: float = 0.0,
        *,
        before: Sequence[str] | None = None,
        attempts: int | None = None,
    ) -> T:
        """What `decode` makes of the answer to a command that may take the device `busy` seconds.

        `before` is a command to give before each attempt, where the first would have changed what
        the second finds. `attempts` is another number than the limits'.

        Raises Restarted, ProtocolError when every attempt was damaged, DeviceFault for an error
        that the device reports, StaleFirmware for a whole answer that `decode` does not take, and
        whatever the transport raises.
        """
        answer = self._whole_answer(words, busy, before, attempts or self._limits.attempts)
        try:
            return decode(answer)
        except ProtocolError as e:
            raise self._not_understood(" ".join(words[:2]), e) from e

    def _whole_answer(
        self, words: Sequence[str], busy: float, before: Sequence[str] | None, attempts: int
    ) -> Answer:
        command = " ".join(words[:2])
        reason = ""
        for _ in range(attempts):
            self._check_deadline()
            if not self._in_step:
                self._back_into_step(command, busy)
            if before:
                self._whole_answer(before, 0.0, None, self._limits.attempts)
            start = time.monotonic()
            try:
                answer = self._ask(words, self._limits.reply + busy)
            except (ProtocolError, NoReply) as e:
                self._in_step = False
                reason = e.message
            else:
                if answer.error is None:
                    return answer
                code, reason = answer.error
                if code == protocol.NO_INFERENCE_YET:
                    raise Restarted("its inferences are forgotten")
                if code != protocol.CRC_MISMATCH:
                    raise DeviceFault(
                        f"{self.name} refuses {command}: {reason} ({code})", hint=OTHER_HARNESS
                    )
            self.damaged += 1
            self._lose(time.monotonic() - start, reason)
        raise ProtocolError(
            f"{self.name}: {command} was damaged {attempts} times in a row, at last: {reason}",
            hint=_BETTER_LINE,
        )

    def in_pieces(
        self, size: int, most: int, exchange: Callable[[int, int, int | None], None]
    ) -> None:
        """exchange(offset, count, attempts) for all of `size` bytes, `most` at once.

        On a bad line in smaller pieces from then on: short lines have a better chance.
        """
        offset = 0
        while offset < size:
            count = min(self._piece, most, size - offset)
            smallest = count <= _MIN_PIECE
            try:
                exchange(offset, count, None if smallest else 2)
            except ProtocolError as e:
                if smallest or isinstance(e, BadLine):
                    raise
                self._piece = max(_MIN_PIECE, count // 2)
                continue
            offset += count

    def _back_into_step(self, command: str, busy: float) -> None:
        start = time.monotonic()
        try:
            self.synchronise(busy)
        except NoReply as e:
            raise NoReply(
                f"{self.name} stopped answering during {command}",
                hint="the firmware hangs, or its processor stopped: press the board's reset button",
            ) from e
        if self._heard.boots:
            raise Restarted("its boot banner came")
        self._lose(time.monotonic() - start, f"back into step during {command}")

    def _check_deadline(self) -> None:
        if time.monotonic() >= self._deadline:
            raise OutOfTime(f"{self.name} needs too long")

    def _lose(self, seconds: float, reason: str) -> None:
        self._lost += seconds
        if self._lost > max(self._limits.patience, (time.monotonic() - self._started) / 2):
            raise BadLine(
                f"{self.name}: {self.damaged} exchanges were damaged, and {self._lost:.0f} s lost; "
                f"at last: {reason}",
                hint=_BETTER_LINE,
            )

    def _ask(self, words: Sequence[str], silence: float) -> Answer:
        """Send one command; its answer, if it is whole and lines are at most `silence` apart."""
        self._number = (self._number + 1) % 2**32
        self._lines.clear()
        self._send(protocol.encode(words, self._number))
        now = time.monotonic()
        last = now + silence
        final = min(self._deadline, now + max(_TALK_LIMIT, 10 * silence))
        # Where the answer may take a minute, do not wait that long for a command without its end.
        nudge = now + self._limits.reply if silence > 2 * self._limits.reply else final
        answer: Answer | None = None
        lines: list[bytes] = []
        problem = ""
        while True:
            line = self._next_line(min(last, final, nudge))
            if line is None:
                if time.monotonic() >= min(last, final):
                    break
                nudge = final
                self._in_step = False  # It may be answered, behind the answer to the command.
                self._send(protocol.END)
                continue
            if protocol.is_ready(line):
                if answer:
                    return answer
                raise ProtocolError(problem or "no answer before m-ready")
            fault = protocol.fault_text(line)
            if fault is not None or protocol.is_boot(line):
                self._in_step = False
                raise Restarted(fault or "its boot banner came")
            if answer:
                continue
            if protocol.is_extension(line):
                lines.append(line)
                last, nudge = time.monotonic() + silence, final
                if len(lines) > MAX_ANSWER_LINES:
                    raise ProtocolError(f"an answer of more than {MAX_ANSWER_LINES} lines")
                if protocol.is_done(line):
                    last = time.monotonic() + _READY_LIMIT
                    try:
                        answer = protocol.decode_answer(lines, self._number)
                    except ProtocolError as e:
                        problem = e.message
                        lines.clear()
            else:
                problem = protocol.error_text(line) or problem
        if answer:
            self._in_step = False  # m-ready was lost or is late.
            return answer
        raise NoReply(problem or f"no answer within {silence:.3g} s")

    def _info(self, answer: Answer) -> Info:
        try:
            version = answers.decode_version(answer)
            if version == protocol.PROTOCOL_VERSION and answer.error is None:
                return answers.decode_info(answer)
        except ProtocolError as e:
            raise self._not_understood("eq info", e) from e
        raise StaleFirmware(
            f"{self.name}: the firmware speaks version {version} of the protocol, this edgeq "
            f"{protocol.PROTOCOL_VERSION}",
            hint="build and flash it again with this edgeq, or use the edgeq that built it",
        )

    def _not_understood(self, command: str, error: ProtocolError) -> StaleFirmware:
        """For an answer whose every byte its CRC vouches for: so the firmware meant it."""
        return StaleFirmware(
            f"{self.name}: the firmware's answer to {command} is not understood: {error.message}",
            hint=OTHER_HARNESS,
        )

    def _send(self, data: bytes) -> None:
        self._note(">", data.decode("ascii"))
        self._transport.write(data)

    def _next_line(self, deadline: float) -> bytes | None:
        """The next line with its end; None when it did not come in time."""
        while not self._lines:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._receive(left)
        return self._lines.popleft()

    def _receive(self, time_limit: float) -> bool:
        """Take what comes in `time_limit`; whether anything did."""
        data = self._transport.read(time_limit)
        dropped = self._reader.dropped
        lines = self._reader.feed(data)
        self._heard.take(data, lines)
        if self._reader.dropped > dropped:
            self._note("<", f"({self._reader.dropped - dropped} bytes that are no line)")
        for line in lines:
            self._note("<", protocol.printable(line))
        self._lines += lines
        return bool(data)

    def _drain(self) -> None:
        """Read until nothing comes. Raises Garbage when that does not happen."""
        start = sense = time.monotonic()
        while self._receive(self._limits.quiet):
            self._check_deadline()
            now = time.monotonic()
            if any(protocol.is_protocol(line) for line in self._lines):
                sense = now
            self._lines.clear()
            if now - sense > _NOISE_LIMIT or now - start > _TALK_LIMIT:
                raise self._heard.error(self.name, now - start)
        self._reader.clear()
        self._lines.clear()

    def _note(self, direction: str, text: str) -> None:
        if self._trace:
            self._trace(time.monotonic() - self._started, direction, text)


class _Heard:
    """What has come from a device that is not in step yet, to tell what is wrong with it."""

    def __init__(self) -> None:
        self.boots = 0
        self._bytes = 0
        self._readable = 0
        self._begin = b""
        self._talks = False
        self._fault: str | None = None
        self._unknown = False

    def take(self, data: bytes, lines: Sequence[bytes]) -> None:
        self._bytes += len(data)
        self._readable += sum(0x20 <= c < 0x7F or c in b"\r\n\t" for c in data)
        self._begin += data[: 80 - len(self._begin)]
        for line in lines:
            self.boots += protocol.is_boot(line)
            self._fault = protocol.fault_text(line) or self._fault
            self._talks = self._talks or protocol.is_protocol(line)
            self._unknown = self._unknown or b"e-[Unknown command: eq]" in line

    def error(self, name: str, seconds: float) -> DeviceError:
        if self._bytes == 0:
            return NoReply(
                f"{name} says nothing, within {seconds:.2g} s",
                hint="is edgeq's firmware on the board (edgeq flash BUNDLE), is it the right port "
                "(edgeq devices), and are RX and TX the right way round? Press the board's reset",
            )
        if self._unknown:
            return StaleFirmware(
                f"{name} speaks MLPerf Tiny's protocol, but is no firmware of edgeq's",
                hint="edgeq flash BUNDLE",
            )
        if self._fault:
            return DeviceFault(
                f"{name} crashes and restarts: {self._fault}",
                hint="build and flash it again; if it stays, please report it with --trace's lines",
            )
        unreadable = self._bytes - self._readable
        if unreadable > 0.1 * self._bytes:
            return Garbage(
                f"{name} sends noise: {unreadable} of {self._bytes} bytes are no text",
                hint="most often the baud rate is wrong: --baud; else a loose wire or the ground",
            )
        if self._talks:
            return NoReply(
                f"{name} talks, but did not give one whole answer within {seconds:.2g} s",
                hint="the line loses bytes (cable, hub, baud rate), or the board restarts again "
                "and again (power); --trace shows what it says",
            )
        said = protocol.printable(self._begin.strip().partition(b"\n")[0])
        return Garbage(
            f"{name} runs something else than edgeq's firmware; it says {said!r}",
            hint="edgeq flash BUNDLE; or it is another port: edgeq devices",
        )
