"""Work in a child process, with a time limit: frameworks crash, and models can be hostile.

A `Worker` is an object of a class in `edgeq.workers` that lives in a Python process of its own.
Its methods are called from here by name. Whatever the child prints is kept aside, whatever it
raises arrives here, and when it dies or is late, that is an error like any other.

The two ends exchange pickles over the child's own stdin and stdout; neither end is reachable
from anywhere else.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import IO, Any, Self

from edgeq.errors import EdgeqError, WorkerCrash, WorkerError, WorkerTimeout

START_LIMIT = 120.0
"""Seconds that a worker may take to import its framework and build its object."""

_HEADER = struct.Struct("<Q")
_LOG_TAIL = 2000


class Worker:
    """An object of class `spec` ("module:Class") in a child process.

    The process starts at once, in the background. After a crash or a time-out the next call
    starts a fresh one. Use it in a `with` statement; leaving it ends the process and those that it
    started. Not for use by several threads.

    What the child prints is kept for the errors, or, not `quiet`, goes to stderr.
    """

    def __init__(
        self,
        spec: str,
        *arguments: Any,
        environment: dict[str, str] | None = None,
        quiet: bool = True,
    ) -> None:
        self._spec = spec
        self._arguments = arguments
        self._environment = environment or {}
        self._quiet = quiet
        self._child: _Child | None = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def call(self, method: str, *arguments: Any, time_limit: float) -> Any:
        """The value of `method(*arguments)`, at most `time_limit` seconds from now.

        Raises WorkerTimeout, WorkerCrash (either ends the process), the EdgeqError that the
        method raised, or WorkerError with the text of any other exception.
        """
        child = self._child = self._child or self._start()
        try:
            if not child.started:
                self._ask(child, "start", START_LIMIT)
                child.started = True
            child.send((method, arguments))
            return self._ask(child, method, time_limit)
        except (WorkerCrash, WorkerTimeout, KeyboardInterrupt):
            self.close()
            raise

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self) -> _Child:
        child = _Child(self._environment, self._quiet)
        child.send((self._spec, self._arguments))
        return child

    def _ask(self, child: _Child, doing: str, time_limit: float) -> Any:
        name = self._spec.rsplit(":")[0].rsplit(".")[-1]
        try:
            answer = child.answers.get(timeout=time_limit)
        except queue.Empty:
            raise WorkerTimeout(
                f"{name}: {doing} did not finish within {time_limit:g} s", child.log_tail()
            ) from None
        if answer is None:
            raise WorkerCrash(f"{name}: {doing} died: {child.how_it_ended()}", child.log_tail())
        outcome, value = answer
        if outcome == "value":
            return value
        if doing == "start":
            self.close()
        if isinstance(value, EdgeqError):
            raise value
        raise WorkerError(f"{name}: {value}")


class _Child:
    """The process, its pipes, and the thread that turns its answers into a queue."""

    def __init__(self, environment: dict[str, str], quiet: bool) -> None:
        # A file and not a pipe, so that a chatty framework can never block.
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edgeq.isolation"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log if quiet else None,
            env=_environment(environment),
            start_new_session=True,  # So that its own children can be ended with it.
        )
        self.started = False
        self.answers: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._receive, daemon=True)
        self._reader.start()

    def send(self, message: Any) -> None:
        assert self._process.stdin
        # When the child is gone, the next answer says how.
        with contextlib.suppress(OSError):
            _write(self._process.stdin, message)

    def close(self) -> None:
        self._kill()
        self._process.wait()
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._reader.join(timeout=5)
        if not self._reader.is_alive():  # Else a stray process has the pipe, and close() hangs.
            self._process.stdout.close()
        self._log.close()

    def _kill(self) -> None:
        if hasattr(os, "killpg") and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        if code >= 0:
            return f"exit code {code}"
        if code == -signal.SIGKILL:
            return "SIGKILL, as when memory runs out"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"

    def log_tail(self) -> str | None:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL))
        return self._log.read().decode(errors="replace").strip() or None

    def _receive(self) -> None:
        assert self._process.stdout
        while True:
            try:
                self.answers.put(_read(self._process.stdout))
            except (EOFError, OSError, ValueError):
                self.answers.put(None)
                return


def _environment(extra: dict[str, str]) -> dict[str, str]:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **extra}


def _write(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(_HEADER.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    (length,) = _HEADER.unpack(_exactly(stream, _HEADER.size))
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _serve() -> None:
    """The child's end: build the object, then answer calls until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # Where memory runs out, it is this process that has to go.
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # What runs here must not read them.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What is printed to stdout joins the log, at once: this process gets killed.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def receive() -> None:
        while True:
            try:
                calls.put(_read(requests))
            except (EOFError, OSError):
                os._exit(0)  # The parent closed the pipe or died: do not outlive it.

    threading.Thread(target=receive, daemon=True).start()
    spec, arguments = calls.get()
    target: Any = None

    def build() -> None:
        nonlocal target
        module, name = spec.split(":")
        target = getattr(importlib.import_module(module), name)(*arguments)

    _write(answers, _outcome(build))
    while target is not None:
        method, arguments = calls.get()
        _write(answers, _outcome(getattr(target, method), *arguments))


def _outcome(function: Any, *arguments: Any) -> tuple[str, Any]:
    try:
        return "value", function(*arguments)
    except EdgeqError as e:
        return "error", e
    except Exception as e:  # The parent turns the text into a WorkerError.
        return "error", f"{type(e).__name__}: {e}"


if __name__ == "__main__":
    _serve()
