"""This computer as a machine that runs programs for us, as a phone or a Raspberry Pi does."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edgeq.errors import DeviceFault, DeviceLost, NoReply
from edgeq.protocol import printable
from edgeq.transports.machine import OUTPUT_LIMIT, Ended, Pushed
from edgeq.transports.process import Process

WRITE_LIMIT = 10.0
_CHUNK = 65536
_SHELL = "sh"
_INSTALL = "a shell is part of every Linux: is /bin on PATH?"


class LocalMachine:
    """This computer, with a temporary folder for what is run; the folder is made by `open`."""

    name = "local"

    def __init__(self) -> None:
        self._folder: Path | None = None

    @property
    def folder(self) -> str:
        return str(self._opened())

    def open(self) -> None:
        if self._folder is not None:
            return
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="edgeq-"))
        except OSError as e:
            raise _fault(f"no temporary folder: {e.strerror or e}") from e

    def run(self, script: str, time_limit: float) -> Ended:
        with tempfile.TemporaryFile() as output:
            process = _shell(script, self._opened(), stdout=output.fileno())
            try:
                code = process.wait(time_limit)
                if code is None:
                    raise NoReply(
                        f"{self.name}: a command did not end within {time_limit:g} s",
                        hint=f"it was ended: {printable(script.encode())[:200]}",
                    )
                printed = os.pread(output.fileno(), OUTPUT_LIMIT, 0)
                return Ended(_exit_code(code), printed, process.printed(OUTPUT_LIMIT))
            finally:
                process.stop()

    def push(self, files: Mapping[str, bytes], folder: str, progress: Pushed | None = None) -> None:
        done, total = 0, sum(map(len, files.values()))
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                _write(place / name, content)
                done += len(content)
                if progress:
                    progress(f"copying to {self.name}", done, total)
        except OSError as e:
            raise _fault(f"{folder} cannot be written: {e.strerror or e}") from e

    def start(self, script: str, folder: str) -> LocalProgram:
        return LocalProgram(f"a program on {self.name}", script, Path(folder))

    def close(self) -> None:
        """What was put into the folder stays, as on other machines; without files it goes."""
        folder, self._folder = self._folder, None
        if folder is not None:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _opened(self) -> Path:
        if self._folder is None:
            raise DeviceLost(f"{self.name} is not open")
        return self._folder


class LocalProgram:
    """The stdin and stdout of a script: a Transport."""

    instruction_hz: float | None = None

    def __init__(self, name: str, script: str, folder: Path) -> None:
        self.name = name
        self._script = script
        self._folder = folder
        self._process: Process | None = None
        self._input = self._output = -1

    def open(self) -> None:
        self.close()
        theirs: list[int] = []
        try:
            read, self._input = os.pipe()
            theirs.append(read)
            self._output, write = os.pipe()
            theirs.append(write)
            os.set_blocking(self._input, False)
            self._process = _shell(self._script, self._folder, stdin=read, stdout=write)
        except BaseException:
            self.close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def read(self, time_limit: float) -> bytes:
        self._opened()
        ready, _, _ = select.select([self._output], [], [], max(0.0, time_limit))
        if not ready:
            return b""
        data = os.read(self._output, _CHUNK)
        if not data:
            raise self._ended()
        return data

    def write(self, data: bytes) -> None:
        self._opened()
        deadline = time.monotonic() + WRITE_LIMIT
        while data:
            left = max(0.0, deadline - time.monotonic())
            _, ready, _ = select.select([], [self._input], [], left)
            if not ready:
                raise NoReply(
                    f"{self.name} took no more bytes for {WRITE_LIMIT:g} s",
                    hint="it does not read its input: does it hang?",
                )
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                continue
            except OSError as e:
                raise self._ended() from e

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        for descriptor in (self._input, self._output):
            if descriptor >= 0:
                os.close(descriptor)
        self._input = self._output = -1

    def _opened(self) -> Process:
        if self._process is None:
            raise DeviceLost(f"{self.name} is not running")
        return self._process

    def _ended(self) -> DeviceLost:
        process = self._opened()
        code, said = process.wait(2.0), process.output().splitlines()
        how = "closed its output" if code is None else f"ended with {_exit_code(code)}"
        last = f": {printable(said[-1].encode())}" if said else ""
        return DeviceLost(f"{self.name} {how}{last}", hint=process.command)


def _shell(script: str, folder: Path, *, stdout: int, stdin: int | None = None) -> Process:
    argv = [_SHELL, "-c", f"cd {shlex.quote(str(folder))} || exit 127\n{script}"]
    if stdin is None:
        return Process(argv, install=_INSTALL, stdout=stdout)
    return Process(argv, install=_INSTALL, stdin=stdin, stdout=stdout)


def _exit_code(code: int) -> int:
    """As a shell says it: 128 + n after signal n."""
    return code if code >= 0 else 128 - code


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and it may be executed."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.chmod(0o700)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _fault(text: str) -> DeviceFault:
    return DeviceFault(
        f"{LocalMachine.name}: {text}",
        hint="is there space, and may you write there? TMPDIR names another folder",
    )
