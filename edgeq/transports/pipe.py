"""A program's standard streams, with a limit on every wait and on everything that is kept."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import DeviceError, DeviceLost, NoReply
from edgeq.transports.machine import OUTPUT_LIMIT
from edgeq.transports.process import Process

WRITE_LIMIT = 10.0
_CHUNK = 65536
_TAIL = 2000
_END = 256


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
    process = Process(argv, install=install, piped=True, environment=environment)
    try:
        output, errors = _exchange(process, content, time_limit, output_limit, progress)
        return Collected(
            process.command,
            process.wait(0),
            bytes(output.first),
            bytes(errors.first),
            output.last,
            errors.last,
        )
    finally:
        process.stop()


@dataclass
class _Kept:
    first: bytearray
    last: bytes = b""


def _exchange(
    process: Process,
    content: bytes,
    time_limit: float,
    output_limit: int,
    progress: Callable[[int], None] | None,
) -> list[_Kept]:
    stdin, *readable = process.pipes
    kept = {fd: _Kept(bytearray()) for fd in readable}
    os.set_blocking(stdin, False)
    deadline = time.monotonic() + time_limit
    left = memoryview(content)
    if not left:
        process.end_input()
    while (now := time.monotonic()) < deadline:
        if not readable and process.wait(min(0.05, deadline - now)) is not None:
            break
        if not readable:
            continue
        # Its streams may stay open in something that it started: look whether it has ended, too.
        wait = min(0.2, deadline - now)
        ready, writable, _ = select.select(readable, [stdin] if left else [], [], wait)
        for fd in ready:
            data = os.read(fd, _CHUNK)
            if data:
                kept[fd].first += data[: output_limit - len(kept[fd].first)]
                kept[fd].last = (kept[fd].last + data)[-_END:]
            else:
                readable.remove(fd)
        if writable:
            left = _write_some(stdin, left)
            if progress:
                progress(len(content) - len(left))
            if not left:
                process.end_input()
        if not ready and not writable and process.wait(0) is not None:
            break
    return list(kept.values())


def _write_some(fd: int, left: memoryview) -> memoryview:
    """What of `left` is still to be written; nothing when nobody reads it any more."""
    try:
        return left[os.write(fd, left[:_CHUNK]) :]
    except BlockingIOError:
        return left
    except OSError:
        return left[:0]


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
        at_close: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._argv = argv
        self._install = install
        self._ended = ended
        self._at_close = at_close
        self._environment = environment
        self._process: Process | None = None
        self._errors = b""
        self._quiet: set[int] = set()

    @property
    def name(self) -> str:
        return self._name

    def open(self) -> None:
        self.close()
        self._errors, self._quiet = b"", set()
        self._process = Process(
            self._argv, install=self._install, piped=True, environment=self._environment
        )
        os.set_blocking(self._process.pipes[0], False)

    def read(self, time_limit: float) -> bytes:
        process = self._opened()
        _, stdout, stderr = process.pipes
        deadline = time.monotonic() + time_limit
        while True:
            left = max(0.0, deadline - time.monotonic())
            open_ones = [fd for fd in (stdout, stderr) if fd not in self._quiet]
            ready, _, _ = select.select(open_ones, [], [], left)
            if stderr in ready:
                self._take_errors(stderr)
            if stdout in ready:
                data = os.read(stdout, _CHUNK)
                if data:
                    return data
                raise self._error()
            if left == 0:
                return b""

    def write(self, data: bytes) -> None:
        stdin = self._opened().pipes[0]
        left = memoryview(data)
        deadline = time.monotonic() + WRITE_LIMIT
        while left:
            _, ready, _ = select.select([], [stdin], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise NoReply(
                    f"{self._name} took no more bytes for {WRITE_LIMIT:g} s",
                    hint="the program there does not read its input: does it hang?",
                )
            with contextlib.suppress(BlockingIOError):
                try:
                    left = left[os.write(stdin, left[:_CHUNK]) :]
                except BrokenPipeError:
                    raise self._error() from None

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.stop()
        if self._at_close:
            with contextlib.suppress(DeviceError):
                self._at_close()

    def _opened(self) -> Process:
        if self._process is None:
            raise DeviceLost(f"{self._name} is not running")
        return self._process

    def _take_errors(self, fd: int) -> None:
        data = os.read(fd, _CHUNK)
        self._errors = (self._errors + data)[-_TAIL:]
        if not data:
            self._quiet.add(fd)

    def _error(self) -> DeviceError:
        """Why it ended; its stderr has the reason, and may come a little later."""
        process = self._opened()
        stderr = process.pipes[2]
        deadline = time.monotonic() + 2.0
        while stderr not in self._quiet and (left := deadline - time.monotonic()) > 0:
            if select.select([stderr], [], [], left)[0]:
                self._take_errors(stderr)
        return self._ended(process.wait(2.0), self._errors)
