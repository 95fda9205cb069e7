"""The firmware in QEMU behind a proxy on a pty, as a board behind a USB serial port. For tests."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fault_proxy import FaultProxy

from edgeq.targets import load_target
from edgeq.transports.process import Process
from edgeq.transports.simulator import INSTALL, SimulatorTransport


@dataclass
class Emulated:
    """`proxy.name` is its port."""

    proxy: FaultProxy
    process: Process
    control: Path

    def reset(self) -> None:
        """Press the board's reset button."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.control))
            for command in ("qmp_capabilities", "system_reset"):
                s.sendall(json.dumps({"execute": command}).encode())
                s.recv(4096)
            time.sleep(0.05)


@contextlib.contextmanager
def emulated(machine: str, image: Path, folder: Path, seed: int = 0) -> Iterator[Emulated]:
    """The board `machine` with `image`, switched on; `folder` is for its reset button."""
    ours, theirs = socket.socketpair()
    control = folder / "qmp"
    argv = SimulatorTransport(load_target(machine), image).argv(theirs.fileno())
    argv += ["-qmp", f"unix:{control},server=on,wait=off"]
    process = Process(argv, install=INSTALL, pass_fds=[theirs.fileno()])
    theirs.close()
    proxy = FaultProxy(ours.fileno(), seed)
    try:
        yield Emulated(proxy, process, control)
    finally:
        proxy.close()
        process.stop()
        ours.close()
