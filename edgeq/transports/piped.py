"""A program whose stdin, stdout and stderr are ours: what talks to a machine over ssh, say.

Linux and macOS: it waits by select, which on Windows knows no pipes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from edgeq.errors import MissingProgram
from edgeq.transports.process import dies_with_us

log = logging.getLogger(__name__)

_CHUNK = 65536
_HELD = 1 << 20
"""Bytes of output that are held while we write; the program waits with more."""

_FULL_WAIT = 0.01
_STOP_LIMIT = 5.0


class Piped:
    """A running program. Nothing here waits longer than it is told, whatever the program does."""

    def __init__(self, argv: Sequence[str], *, install: str) -> None:
        self.command = shlex.join(argv)
        program = shutil.which(argv[0])
        if program is None:
            raise MissingProgram(f"{argv[0]} is not installed, or not on PATH", hint=install)
        log.info("%s", self.command)
        try:
            self._process = subprocess.Popen(
                [*dies_with_us(), program, *argv[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is ours to handle; and it can be ended as a group.
            )
        except OSError as e:
            raise MissingProgram(f"{program}: cannot be run: {e.strerror or e}", install) from e
        self._selector = selectors.DefaultSelector()
        self._held = {"output": bytearray(), "errors": bytearray()}
        self._unsent = bytearray()
        for name, stream in (("output", self._process.stdout), ("errors", self._process.stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        os.set_blocking(self._stdin.fileno(), False)

    @property
    def at_end(self) -> bool:
        """It has closed its output and its errors, and all of both was read."""
        streams = [key for key in self._selector.get_map().values() if key.data != "input"]
        return not streams and not any(self._held.values())

    def read(self, time_limit: float) -> tuple[bytes, bytes]:
        """What came on stdout and on stderr; both are empty after `time_limit`, and at the end."""
        if not any(self._held.values()):
            self._turn(max(0.0, time_limit))
        output, errors = (bytes(held) for held in self._held.values())
        for held in self._held.values():
            held.clear()
        return output, errors

    def write(self, data: bytes, time_limit: float) -> bool:
        """Send `data`; False when the program took no byte for `time_limit` seconds, or closed."""
        self._unsent += data
        end = time.monotonic() + time_limit
        while self._unsent and not self._stdin.closed:
            before = len(self._unsent)
            self._turn(max(0.0, end - time.monotonic()))
            if len(self._unsent) < before:
                end = time.monotonic() + time_limit
            elif time.monotonic() >= end:
                break
        return not self._unsent

    def close_input(self) -> None:
        """What it reads ends here."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def wait(self, time_limit: float) -> int | None:
        """Its exit code (negative: the signal that ended it); None when it still runs."""
        try:
            return self._process.wait(max(0.0, time_limit))
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End it and all that it started here, whatever they are doing."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT)
        self._selector.close()
        self.close_input()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _turn(self, time_limit: float) -> None:
        """Move what can be moved, once; wait for that at most `time_limit` seconds."""
        sending = bool(self._unsent) and not self._stdin.closed
        if sending:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, "input")
        try:
            full = sending and sum(map(len, self._held.values())) > _HELD
            if not self._selector.get_map():
                return
            for key, _ in self._selector.select(time_limit):
                if key.data == "input":
                    self._send()
                elif full:
                    time.sleep(_FULL_WAIT)
                else:
                    self._receive(key)
        finally:
            if sending:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(self._stdin)

    def _send(self) -> None:
        try:
            sent = os.write(self._stdin.fileno(), self._unsent[:_CHUNK])
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._selector.unregister(self._stdin)
            self.close_input()

    def _receive(self, key: selectors.SelectorKey) -> None:
        try:
            data = os.read(key.fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._held[key.data] += data
        else:
            self._selector.unregister(key.fileobj)
