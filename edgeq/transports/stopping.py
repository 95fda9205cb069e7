"""Ctrl-C reaches the main thread alone: how the others, which wait for a device, are told.

with obeying(stop):     # in the thread; stop is a threading.Event
    ...                 # check(), at every turn of a wait, raises KeyboardInterrupt
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

TURN = 0.2
"""Seconds that a wait may last until it checks again."""

CLEAN_LIMIT = 10.0
"""Seconds that a stopped thread's waits for a device may take in all, to clean up there."""

_this_thread = threading.local()


@contextlib.contextmanager
def obeying(stop: threading.Event) -> Iterator[None]:
    """Within, this thread's waits end when `stop` is set."""
    _this_thread.stop, _this_thread.end = stop, None
    try:
        yield
    finally:
        _this_thread.stop = None


def check() -> None:
    """Raise KeyboardInterrupt when this thread is to stop.

    Once, so that what it does then to clean up is not stopped, and again after CLEAN_LIMIT: from
    a device that does not answer it goes on to clean up here.
    """
    stop: threading.Event | None = getattr(_this_thread, "stop", None)
    if stop is None or not stop.is_set():
        return
    now = time.monotonic()
    if _this_thread.end is None:
        _this_thread.end = now + CLEAN_LIMIT
    elif now < _this_thread.end:
        return
    raise KeyboardInterrupt
