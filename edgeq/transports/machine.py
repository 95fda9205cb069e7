"""A computer that runs programs for us: a phone by adb, a Raspberry Pi by ssh or its console.

    machine.open()
    machine.push({"runner": binary}, f"{machine.folder}/0123abcd")
    session = Session(target, machine.start("exec ./runner", f"{machine.folder}/0123abcd"))

What is to be run is a script of POSIX sh; quote every name in it with shlex.quote. Whatever comes
back is bytes from a stranger: bounded, and never shown without edgeq.protocol.printable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeq.transports import Transport

OUTPUT_LIMIT = 1 << 16
"""Bytes of stdout, and as many of stderr, that are kept of a command; it may print more."""

Pushed = Callable[[str, int, int], None]
"""Progress of a push: what is going on, bytes done, bytes in all."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (128 + n after signal n) and what it printed, the first
    OUTPUT_LIMIT bytes each. Where both streams are one (a console), `errors` is empty."""

    code: int
    output: bytes
    errors: bytes


class Machine(Protocol):
    """Every error is a DeviceError (or MissingProgram for a program of ours), every wait ends."""

    @property
    def name(self) -> str:
        """Its address, as messages call it: "adb:SERIAL", "ssh:pi@raspberrypi"."""

    @property
    def folder(self) -> str:
        """An absolute path on the machine: all that edgeq puts there lies below. After `open`."""

    def open(self) -> None:
        """Reach the machine. Raises the DeviceError that says what is in the way and what to do."""

    def run(self, script: str, time_limit: float) -> Ended:
        """Run `script` to its end, with nothing to read.

        Raises NoReply after `time_limit` seconds, DeviceLost when the connection ends; the script
        and what it started are ended on the machine then, where that can still be reached.
        """

    def push(self, files: Mapping[str, bytes], folder: str, progress: Pushed | None = None) -> None:
        """Write `files` (name: content) into `folder`, which is made; all may be executed.

        A file is there whole or not at all. Raises DeviceFault without space or permission.
        """

    def start(self, script: str, folder: str) -> Transport:
        """The stdin and stdout of `script`, run in `folder`, once the Transport is opened.

        Its `close` ends the script and what it started, on the machine. When the script ends by
        itself, `read` raises DeviceLost with its exit code and the end of its stderr.
        """

    def close(self) -> None:
        """Disconnect. Never raises; may be called twice. Files stay; programs do not."""
