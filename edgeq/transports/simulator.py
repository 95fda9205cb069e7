"""QEMU as a board: the firmware runs in it, and its serial port is one end of a socket pair.

No TCP port and no pty: nothing to race for, nothing that another process could open. With
-icount shift=0 its clock moves by one nanosecond an instruction, so every count of ticks is a
count of instructions, the same in every run. It models neither caches nor wait states.
"""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path

from edgeq.errors import BundleError, DeviceFault, DeviceLost, NoReply, UsageError
from edgeq.targets import Target
from edgeq.transports.process import Process

PROGRAM = "qemu-system-arm"
INSTALL = "sudo apt-get install qemu-system-arm (elsewhere: the package qemu)"

INSTRUCTION_HZ = 1e9
"""By -icount shift=0: 2 ** 0 ns an instruction."""

WRITE_LIMIT = 10.0
_CHUNK = 65536


class SimulatorTransport:
    """The emulator of `target`, which runs the firmware `image` (an ELF file) from its start.

    Each `open` is a board that was just switched on; `close` ends it surely.
    """

    instruction_hz: float | None = INSTRUCTION_HZ

    def __init__(self, target: Target, image: Path) -> None:
        if target.sim is None:
            raise UsageError(
                f"{target.name} has no emulator",
                hint="name the board's port with --port; 'edgeq targets' lists the virtual boards",
            )
        self._machine = target.sim
        self._image = image
        self._process: Process | None = None
        self._socket: socket.socket | None = None

    @property
    def name(self) -> str:
        return f"QEMU's {self._machine}"

    def open(self) -> None:
        if not self._image.is_file():
            raise BundleError(
                f"{self._image}: no such firmware image",
                hint="'edgeq build' makes it where arm-none-eabi-gcc is installed: edgeq doctor",
            )
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = Process(
                    self.argv(theirs.fileno()), install=INSTALL, pass_fds=[theirs.fileno()]
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours

    def argv(self, descriptor: int) -> list[str]:
        """The command, with the serial port at an open file `descriptor`."""
        return [
            *(PROGRAM, "-M", self._machine, "-display", "none", "-monitor", "none"),
            *("-icount", "shift=0", "-kernel", str(self._image)),
            *("-chardev", f"socket,id=serial0,fd={descriptor}", "-serial", "chardev:serial0"),
        ]

    def read(self, time_limit: float) -> bytes:
        link = self._opened()
        ready, _, _ = select.select([link], [], [], max(0.0, time_limit))
        if not ready:
            return b""
        try:
            data = link.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise self._ended()
        return data

    def write(self, data: bytes) -> None:
        link = self._opened()
        deadline = time.monotonic() + WRITE_LIMIT
        while data:
            _, ready, _ = select.select([], [link], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise NoReply(
                    f"{self.name} took no more bytes for {WRITE_LIMIT:g} s",
                    hint="the firmware does not read its serial port: did it crash?",
                )
            try:
                data = data[link.send(data) :]
            except BlockingIOError:
                continue
            except OSError as e:
                raise self._ended() from e

    def close(self) -> None:
        process, self._process = self._process, None
        link, self._socket = self._socket, None
        if process is not None:
            process.stop()
        if link is not None:
            link.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise DeviceLost(f"{self.name} is not running")
        return self._socket

    def _ended(self) -> DeviceLost | DeviceFault:
        """Why the emulator is gone. It stops at once when the firmware faults within a fault."""
        assert self._process is not None
        code, output = self._process.wait(2.0), self._process.output()
        if "Lockup" in output:
            return DeviceFault(f"{self.name}: the firmware crashed: {output.splitlines()[0]}")
        how = "closed the serial port" if code is None else f"ended with {code}"
        last = f": {output.splitlines()[-1]}" if output else ""
        return DeviceLost(f"{self.name} {how}{last}", hint=self._process.command)


def is_virtual(target: Target, board: str | None = None) -> bool:
    """Whether the target is an emulator's machine itself, and no board that one stands in for.

    `board` is what the firmware says that it runs on, where that is known: a target that is no
    board (cortex-m4) is virtual on the machine that emulates it.
    """
    return target.sim == (board or target.name) and not target.flasher and not target.usb_ids
