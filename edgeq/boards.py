"""A bundle on a microcontroller, real or emulated: outputs first, then counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeq.answers import DeviceMemory
from edgeq.bundle import open_bundle
from edgeq.devices import serial_transport
from edgeq.errors import UsageError
from edgeq.expected import expected_of
from edgeq.flashers import firmware_image, how_to_flash
from edgeq.link import Trace
from edgeq.measurement import Measurement
from edgeq.profile import Profile
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.transports import Transport
from edgeq.transports.simulator import SimulatorTransport, is_virtual

Progress = Callable[[str, int, int], None]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class BoardRun:
    """What one session with a board found. `profile` is None where it was not asked for."""

    measurement: Measurement
    memory: DeviceMemory
    profile: Profile | None


def bench_board(
    source: str | Path,
    *,
    port: str | None = None,
    sim: bool = False,
    runs: int = 50,
    warmup: int = 1,
    profile: bool = False,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
) -> BoardRun:
    """Check the golden vectors byte for byte, then measure, on the board at `port` (any pyserial
    URL, or "auto") or in the target's emulator.

    Raises DeviceError and its kin for a board that does not answer as it should, StaleFirmware
    for one that runs another model, VerificationError before any timing for wrong outputs.
    """
    bundle = open_bundle(Path(source))
    target = load_target(str(bundle.manifest["target"]))
    transport: Transport
    if port is not None:
        transport = serial_transport(target, port)
    elif sim or is_virtual(target):
        transport = SimulatorTransport(target, firmware_image(bundle))
    else:
        raise UsageError(
            f"{target.name}: say where it is",
            hint="--port auto (or /dev/ttyACM0, COM7), or --sim for its emulator",
        )
    expected = expected_of(bundle, how_to_flash(target, str(source)))
    with Session(target, transport, trace=trace, notice=notice) as session:
        measurement = session.measure(expected, runs, warmup, progress)
        layers = session.profile(expected) if profile else None
        return BoardRun(measurement, session.memory(), layers)
