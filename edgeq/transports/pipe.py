"""A program's standard streams, with a limit on every wait and on everything that is kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import DeviceError, DeviceLost, NoReply
from edgeq.transports.machine import OUTPUT_LIMIT
from edgeq.transports.piped import Piped

WRITE_LIMIT = 10.0
_CHUNK = 65536
_TAIL = 2000
_END = 256
_TURN = 0.2
"""Seconds between two looks at whether a program has ended."""


@dataclass(frozen=True)
class Collected:
    """How a program ended, and the first and the last bytes of both its streams. `code` is None
    when it was late, and ended by us; negative: the signal that ended it."""

    command: str
    code: int | None
    output: bytes
    errors: bytes
    output_end: bytes = b""
    errors_end: bytes = b""


def collect(
    argv: Sequence[str],
    *,
    install: str,
    time_limit: float,
    content: bytes = b"",
    output_limit: int = OUTPUT_LIMIT,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Collected:
    """Run `argv` to its end, with `content` to read; `progress` is called with the bytes taken.

    Everything it prints is read, the first `output_limit` bytes of each stream are kept, and the
    last few. Raises MissingProgram, with `install` as the hint.
    """
    program = Piped(argv, install=install, environment=environment)
    try:
        output, errors = _Kept(output_limit), _Kept(output_limit)
        _exchange(program, content, time.monotonic() + time_limit, (output, errors), progress)
        return Collected(
            program.command,
            program.wait(0),
            bytes(output.first),
            bytes(errors.first),
            output.last,
            errors.last,
        )
    finally:
        program.stop()


class _Kept:
    """The first bytes of a stream, `limit` at most, and the last few."""

    def __init__(self, limit: int) -> None:
        self.first = bytearray()
        self.last = b""
        self._limit = limit

    def add(self, data: bytes) -> None:
        self.first += data[: self._limit - len(self.first)]
        self.last = (self.last + data)[-_END:]


def _exchange(
    program: Piped,
    content: bytes,
    deadline: float,
    kept: tuple[_Kept, _Kept],
    progress: Callable[[int], None] | None,
) -> None:
    done, under_way = 0, 0
    while (now := time.monotonic()) < deadline and not program.at_end:
        if done < len(content):
            chunk = b"" if under_way else content[done : done + _CHUNK]
            under_way = under_way or len(chunk)
            if program.write(chunk, min(_TURN, deadline - now)):
                done, under_way = done + under_way, 0
                if progress:
                    progress(done)
        else:
            program.close_input()
        data = program.read(0.0 if done < len(content) else min(_TURN, deadline - now))
        for stream, got in zip(kept, data, strict=True):
            stream.add(got)
        # Its streams may stay open in something that it started: look whether it has ended, too.
        if not any(data) and program.wait(0) is not None:
            break
    program.wait(max(0.0, min(_TURN, deadline - time.monotonic())))


class Pipe:
    """The stdin and stdout of `argv`, as a Transport (edgeq.transports).

    When it ends by itself, `ended` makes the error of its exit code and the end of its stderr.
    `at_close` is called after it was ended here, to end what it left on a device.
    """

    instruction_hz: float | None = None

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        install: str,
        ended: Callable[[int | None, bytes], DeviceError],
        at_close: Callable[[], object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._argv = argv
        self._install = install
        self._ended = ended
        self._at_close = at_close
        self._environment = environment
        self._program: Piped | None = None
        self._errors = b""

    @property
    def name(self) -> str:
        return self._name

    def open(self) -> None:
        self.close()
        self._errors = b""
        self._program = Piped(self._argv, install=self._install, environment=self._environment)

    def read(self, time_limit: float) -> bytes:
        program = self._opened()
        deadline = time.monotonic() + time_limit
        while True:
            left = max(0.0, deadline - time.monotonic())
            output, errors = program.read(min(left, _TURN))
            self._errors = (self._errors + errors)[-_TAIL:]
            if output:
                return output
            # Its streams may stay open in something that it started.
            if program.at_end or (not errors and program.wait(0) is not None):
                raise self._error()
            if left == 0:
                return b""

    def write(self, data: bytes) -> None:
        program = self._opened()
        if program.write(data, WRITE_LIMIT):
            return
        if program.wait(1.0) is not None:
            raise self._error()
        raise NoReply(
            f"{self._name} took no more bytes for {WRITE_LIMIT:g} s",
            hint="the program there does not read its input: does it hang?",
        )

    def close(self) -> None:
        program, self._program = self._program, None
        if program is None:
            return
        program.stop()
        if self._at_close:
            with contextlib.suppress(DeviceError):
                self._at_close()

    def _opened(self) -> Piped:
        if self._program is None:
            raise DeviceLost(f"{self._name} is not running")
        return self._program

    def _error(self) -> DeviceError:
        """Why it ended; its stderr has the reason, and may come a little later."""
        program = self._opened()
        deadline = time.monotonic() + 2.0
        while not program.at_end and (left := deadline - time.monotonic()) > 0:
            _, errors = program.read(min(left, _TURN))
            self._errors = (self._errors + errors)[-_TAIL:]
        return self._ended(program.wait(2.0), self._errors)
