"""Ctrl-C reaches the main thread alone: how the others, which wait for a device, are told.

with obeying(stop):     # in the thread; stop is a threading.Event
    ...                 # check(), at every turn of a wait, raises KeyboardInterrupt
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

TURN = 0.2
"""Seconds that a wait may last until it checks again."""

_this_thread = threading.local()


@contextlib.contextmanager
def obeying(stop: threading.Event) -> Iterator[None]:
    """Within, this thread's waits end when `stop` is set."""
    _this_thread.stop = stop
    try:
        yield
    finally:
        _this_thread.stop = None


def check() -> None:
    """Raise KeyboardInterrupt when this thread is to stop. Once: what cleans up is not stopped."""
    stop: threading.Event | None = getattr(_this_thread, "stop", None)
    if stop is not None and stop.is_set():
        _this_thread.stop = None
        raise KeyboardInterrupt
