"""Where trials run: in child processes of this computer."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Protocol

from edgeq.errors import EdgeqError, WorkerTimeout
from edgeq.isolation import Worker
from edgeq.tuning.points import Candidate, Outcome
from edgeq.tuning.trials import PASSING, Subject

ATTEMPTS = 2
"""Of a trial whose process died."""


class Pool(Protocol):
    """Runs trials, `size` at a time. One that is cut off at the deadline gives no outcome."""

    @property
    def size(self) -> int: ...

    def submit(self, candidate: Candidate) -> None: ...

    def collect(self, seconds: float) -> list[Outcome]:
        """Those finished since the last call; waits at most so long for the first."""
        ...

    def close(self) -> None:
        """End all trials that are under way."""
        ...


class LocalPool:
    """`size` processes; none works beyond `deadline` (of time.monotonic)."""

    def __init__(self, subject: Subject, size: int, deadline: float) -> None:
        self._deadline = deadline
        self._todo: queue.SimpleQueue[Candidate | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._closed = False
        self._workers = [Worker("edgeq.workers.tuning:Trials", subject) for _ in range(size)]
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def size(self) -> int:
        return len(self._workers)

    def submit(self, candidate: Candidate) -> None:
        self._todo.put(candidate)

    def collect(self, seconds: float) -> list[Outcome]:
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._done.get(timeout=seconds))
            while True:
                found.append(self._done.get_nowait())
        return found

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._todo.put(None)
        for worker in self._workers:
            worker.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _serve(self, worker: Worker) -> None:
        while not self._closed and (candidate := self._todo.get()) is not None:
            outcome = self._attempt(worker, candidate)
            if outcome is not None:
                self._done.put(outcome)
        worker.close()

    def _attempt(self, worker: Worker, candidate: Candidate) -> Outcome | None:
        for attempt in range(ATTEMPTS):
            left = self._deadline - time.monotonic()
            if self._closed or left <= 0:
                return None
            try:
                outcome: Outcome = worker.call("run", candidate, time_limit=left)
                return outcome
            except WorkerTimeout:
                if time.monotonic() >= self._deadline:
                    return None
                error: EdgeqError = EdgeqError("a step did not finish in time")
            except PASSING as e:
                error = e
            except (EdgeqError, OSError, ValueError) as e:  # The process was closed under it.
                error = EdgeqError(str(e))
            if attempt == ATTEMPTS - 1 and not self._closed:
                return Outcome(candidate, failed=f"twice: {error.message}")
        return None
