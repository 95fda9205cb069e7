"""This computer as a machine that runs programs for us, as a phone or a Raspberry Pi does."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeq.errors import DeviceFault, DeviceLost, NoReply
from edgeq.protocol import printable
from edgeq.transports.machine import Ended, Pushed
from edgeq.transports.pipe import Pipe, collect

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
        done = collect(_argv(script, self._opened()), install=_INSTALL, time_limit=time_limit)
        if done.code is None:
            raise NoReply(
                f"{self.name}: a command did not end within {time_limit:g} s",
                hint=f"it was ended: {printable(script.encode())[:200]}",
            )
        return Ended(_exit_code(done.code), done.output, done.errors)

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

    def start(self, script: str, folder: str) -> Pipe:
        name = f"a program on {self.name}"

        def ended(code: int | None, errors: bytes) -> DeviceLost:
            how = "closed its output" if code is None else f"ended with {_exit_code(code)}"
            said = errors.strip().splitlines()
            last = f": {printable(said[-1])}" if said else ""
            return DeviceLost(f"{name} {how}{last}", hint=f"in {folder}: {script}")

        return Pipe(name, _argv(script, Path(folder)), install=_INSTALL, ended=ended)

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


def _argv(script: str, folder: Path) -> list[str]:
    return ["sh", "-c", f"cd {shlex.quote(str(folder))} || exit 127\n{script}"]


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
