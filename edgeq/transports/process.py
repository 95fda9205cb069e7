"""Other programs: the device half starts all of them here. Each command is logged as typed."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import MissingProgram
from edgeq.transports import stopping

log = logging.getLogger(__name__)

_TAIL = 2000
_STOP_LIMIT = 5.0


@dataclass(frozen=True)
class Finished:
    """How a command ended, and all that it printed. `code` is None when it ran out of time."""

    command: str
    code: int | None
    output: str


def run(
    argv: Sequence[str], *, install: str, time_limit: float, output_limit: int = _TAIL
) -> Finished:
    """Run `argv` to its end, at most `time_limit` seconds; then it is killed.

    Of what it prints, the last `output_limit` bytes are kept.
    Raises MissingProgram, with `install` as the hint, when there is no such program.
    """
    process = Process(argv, install=install)
    try:
        code = process.wait(time_limit)
        return Finished(process.command, code, process.output(output_limit))
    finally:
        process.stop()


class Process:
    """A running program. Its output goes to a file, so that it can never block on us.

    With `piped`, its stdin, stdout and stderr are the three open files `pipes` instead
    (edgeq.transports.pipe reads them). `environment` is added to ours.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        install: str,
        pass_fds: Sequence[int] = (),
        piped: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = shlex.join(argv)
        program = shutil.which(argv[0])
        if program is None:
            raise MissingProgram(f"{argv[0]} is not installed, or not on PATH", hint=install)
        log.info("%s", self.command)
        self._log = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                [*_dies_with_us(), program, *argv[1:]],
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else self._log,
                stderr=subprocess.PIPE if piped else subprocess.STDOUT,
                bufsize=0,
                pass_fds=pass_fds,
                env={**os.environ, **environment} if environment else None,
                start_new_session=True,  # Ctrl-C is ours to handle; and it can be ended as a group.
            )
        except OSError as e:
            self._log.close()
            raise MissingProgram(f"{program}: cannot be run: {e.strerror or e}", install) from e

    @property
    def pipes(self) -> tuple[int, int, int]:
        """Its stdin, stdout and stderr, where it is `piped`."""
        process = self._process
        assert process.stdin and process.stdout and process.stderr
        return process.stdin.fileno(), process.stdout.fileno(), process.stderr.fileno()

    def end_input(self) -> None:
        """Close its stdin."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, time_limit: float) -> int | None:
        """Its exit code (negative: the signal that ended it); None when it still runs."""
        end = time.monotonic() + time_limit
        while True:
            stopping.check()
            left = max(0.0, end - time.monotonic())
            try:
                return self._process.wait(min(left, stopping.TURN))
            except subprocess.TimeoutExpired:
                if left <= stopping.TURN:
                    return None

    def output(self, limit: int = _TAIL) -> str:
        """What it printed so far: the last `limit` bytes of it."""
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        # pread, since the child's writes share the file's position.
        tail = os.pread(self._log.fileno(), limit, max(0, size - limit))
        return tail.decode(errors="replace").strip()

    def stop(self) -> None:
        """End it and all that it started, whatever they are doing."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._log.close()


def _dies_with_us() -> list[str]:
    """A prefix by which Linux kills the program when we are killed, and cannot do it ourselves."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
