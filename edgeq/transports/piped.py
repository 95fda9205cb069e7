"""A conversation with a program by its three pipes, a bounded step at a time.

Linux and macOS: it waits by select, which on Windows knows no pipes.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Mapping, Sequence

from edgeq.transports import stopping
from edgeq.transports.process import Process

_CHUNK = 65536
_HELD = 1 << 20
"""Bytes of output that are held while we write; the program waits with more."""

_FULL_WAIT = 0.01


class Piped:
    """A running program. Nothing here waits longer than it is told, whatever the program does."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        install: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = Process(argv, install=install, piped=True, environment=environment)
        self.command = self._process.command
        self._stdin, output, errors = self._process.pipes
        self._held = {output: bytearray(), errors: bytearray()}
        self._unsent = bytearray()
        self._closed = False
        self._selector = selectors.DefaultSelector()
        for fd in self._process.pipes:
            os.set_blocking(fd, False)
        for fd in self._held:
            self._selector.register(fd, selectors.EVENT_READ)

    @property
    def at_end(self) -> bool:
        """It has closed its output and its errors, and all of both was read."""
        streams = self._selector.get_map() or {}
        return not any(self._held.values()) and not any(fd in streams for fd in self._held)

    def read(self, time_limit: float) -> tuple[bytes, bytes]:
        """What came on stdout and on stderr; both are empty after `time_limit`, and at the end."""
        end = time.monotonic() + time_limit
        while not any(self._held.values()):
            left = end - time.monotonic()
            self._turn(left)
            if left <= stopping.TURN or self.at_end:
                break
        output, errors = (bytes(held) for held in self._held.values())
        for held in self._held.values():
            held.clear()
        return output, errors

    def write(self, data: bytes, time_limit: float) -> bool:
        """Send `data`; False when the program took no byte for `time_limit` seconds, or closed."""
        self._unsent += data
        end = time.monotonic() + time_limit
        while self._unsent and not self._closed:
            before = len(self._unsent)
            self._turn(end - time.monotonic())
            if len(self._unsent) < before:
                end = time.monotonic() + time_limit
            elif time.monotonic() >= end:
                break
        return not self._unsent

    def close_input(self) -> None:
        """What it reads ends here."""
        if not self._closed:
            self._closed = True
            self._process.end_input()

    def wait(self, time_limit: float) -> int | None:
        """Its exit code (negative: the signal that ended it); None when it still runs."""
        return self._process.wait(max(0.0, time_limit))

    def stop(self) -> None:
        """End it and all that it started here, whatever they are doing."""
        self._selector.close()
        self._closed = True
        self._process.stop()

    def _turn(self, time_limit: float) -> None:
        """Move what can be moved, once; wait for that at most `time_limit` seconds, or a turn."""
        stopping.check()
        time_limit = min(time_limit, stopping.TURN)
        sending = bool(self._unsent) and not self._closed
        full = sending and sum(map(len, self._held.values())) > _HELD
        if sending:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        try:
            ready = self._selector.select(max(0.0, time_limit)) if self._selector.get_map() else []
            moved = [key.fd for key, _ in ready if not (full and key.fd in self._held)]
        finally:
            if sending:
                self._selector.unregister(self._stdin)
        for fd in moved:
            if fd == self._stdin:
                self._send()
            else:
                self._receive(fd)
        if ready and not moved:
            time.sleep(_FULL_WAIT)

    def _send(self) -> None:
        try:
            sent = os.write(self._stdin, self._unsent[:_CHUNK])
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close_input()

    def _receive(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._held[fd] += data
        else:
            self._selector.unregister(fd)
