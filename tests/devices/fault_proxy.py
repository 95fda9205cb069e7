"""A pty in front of a device, that loses, changes and adds bytes on the way. For tests.

A fault can be put at an exact place: at a byte, counted from 1 in each direction, or behind a text.
"""

from __future__ import annotations

import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Callable

TO_HOST = "to_host"
TO_DEVICE = "to_device"

_TAIL = 64
"""Bytes that texts to wait for may have."""


class FaultProxy:
    """`name` is the port to open; `backend` the file descriptor of the device's end.

    Probabilities are per byte, of both directions. `at` maps a direction to {byte number:
    what to do just before that byte goes on}, `behind` to {text: what to do when it has passed for
    the n-th time}, as a pair (n, what). `latency` is in seconds for every piece of data,
    `rate` in bytes a second.
    """

    def __init__(self, backend: int, seed: int = 0) -> None:
        self._backend = backend
        self._random = random.Random(seed)
        self.drop = self.flip = self.double = 0.0
        self.latency = 0.0
        self.rate = 0.0
        self.swallow = {TO_HOST: 0, TO_DEVICE: 0}
        self.at: dict[str, dict[int, Callable[[], None]]] = {TO_HOST: {}, TO_DEVICE: {}}
        self.behind: dict[str, dict[bytes, tuple[int, Callable[[], None]]]] = {
            TO_HOST: {},
            TO_DEVICE: {},
        }
        self._tail = {TO_HOST: b"", TO_DEVICE: b""}
        self._until = {TO_HOST: b"", TO_DEVICE: b""}
        self.count = {TO_HOST: 0, TO_DEVICE: 0}
        self.faults = 0
        self._stop = threading.Event()
        self._pulled = False
        self._master, slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(slave)
        self.name = os.ttyname(slave)
        # Only the client has it open, so that closing the master gives the client a hang-up.
        os.close(slave)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """The cable is pulled."""
        self._pulled = True

    def send(self, data: bytes) -> None:
        """Noise to the host."""
        self.faults += 1
        while data and not self._stop.is_set():
            _, ready, _ = select.select([], [self._master], [], 0.05)
            if ready:
                try:
                    data = data[os.write(self._master, data[:2048]) :]
                except OSError:
                    return

    def cut(self, direction: str, count: int) -> None:
        """Swallow the next `count` bytes."""
        self.faults += 1
        self.swallow[direction] = count

    def cut_until(self, direction: str, text: bytes) -> None:
        """Swallow everything before the next `text`, which goes on."""
        self.faults += 1
        self._until[direction] = text

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self._pulled:
                self._pass_on()
        finally:
            os.close(self._master)

    def _pass_on(self) -> None:
        ready, _, _ = select.select([self._backend, self._master], [], [], 0.02)
        for source in ready:
            to_host = source == self._backend
            try:
                data = os.read(source, 1024)
            except OSError:  # No client has the pty open.
                time.sleep(0.02)
                continue
            if not data and to_host:
                self._pulled = True  # The device is gone, its USB serial with it.
                return
            direction = TO_HOST if to_host else TO_DEVICE
            time.sleep(self.latency + (len(data) / self.rate if self.rate else 0.0))
            for byte in data:
                self._byte(direction, byte)
                if self._pulled:
                    return

    def _byte(self, direction: str, byte: int) -> None:
        self.count[direction] += 1
        event = self.at[direction].get(self.count[direction])
        if event:
            event()
        if self._pulled:
            return
        tail = self._tail[direction] = (self._tail[direction] + bytes([byte]))[-_TAIL:]
        until = self._until[direction]
        if until:
            if tail.endswith(until):
                self._until[direction] = b""
                self._send_on(direction, until)
            return
        copies = 1
        if self.swallow[direction]:
            self.swallow[direction] -= 1
            copies = 0
        elif self.drop and self._random.random() < self.drop:
            self.faults += 1
            copies = 0
        elif self.double and self._random.random() < self.double:
            self.faults += 1
            copies = 2
        elif self.flip and self._random.random() < self.flip:
            self.faults += 1
            byte ^= 1 << self._random.randrange(8)
        self._send_on(direction, bytes([byte]) * copies)
        for text, (number, event) in list(self.behind[direction].items()):
            if tail.endswith(text):
                self.behind[direction][text] = (number - 1, event)
                if number == 1:
                    event()

    def _send_on(self, direction: str, data: bytes) -> None:
        target = self._master if direction == TO_HOST else self._backend
        while data and not self._stop.is_set():
            _, ready, _ = select.select([], [target], [], 0.05)
            if ready:
                try:
                    data = data[os.write(target, data) :]
                except OSError:
                    return
