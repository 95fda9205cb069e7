"""The cable between adb and a phone: what goes through it can be watched, and it can be pulled."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType


class Line:
    """A TCP port that leads to `port`, with a `delay` in seconds for each packet of 4 KiB. When
    `count` bytes have gone to the phone since `after`, `action` is called, with the bytes on their
    way held up until it has returned."""

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self._target = port
        self._delay = delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._left = 0
        self._action: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Line:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.pull()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def after(self, count: int, action: Callable[[], None]) -> None:
        with self._lock:
            self._left, self._action = count, action

    def pull(self) -> None:
        """Break what is connected."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), 10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._sockets += [near, far]
            self._start(lambda near=near, far=far: self._move(near, far, self._count))
            self._start(lambda near=near, far=far: self._move(far, near, lambda n: None))

    def _count(self, size: int) -> None:
        with self._lock:
            self._left -= size
            if self._action and self._left <= 0:
                action, self._action = self._action, None
                action()

    def _move(
        self, source: socket.socket, target: socket.socket, seen: Callable[[int], None]
    ) -> None:
        try:
            while data := source.recv(4096 if self._delay else 65536):
                time.sleep(self._delay)
                seen(len(data))
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()
