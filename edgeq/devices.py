"""The serial ports of this computer, and which targets may be behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serial.tools import list_ports

from edgeq.errors import NoDevice, UsageError
from edgeq.targets import Target, list_targets
from edgeq.transports.serial import BAUD, SerialTransport

AUTO = "auto"
"""Instead of a port: the one port with a USB id of the target's."""


@dataclass(frozen=True)
class Device:
    """A serial port. `usb_id` is "vid:pid", None for a port that is no USB device.

    `targets` are those with this USB id. It often names the debug probe and not the board, so
    these are guesses.
    """

    port: str
    usb_id: str | None
    description: str | None
    serial_number: str | None
    targets: tuple[str, ...]


def list_devices(targets: Sequence[Target] | None = None) -> list[Device]:
    """Every serial port, those that may be one of `targets` (edgeq's own) first."""
    known = list_targets() if targets is None else targets
    found = []
    for port in list_ports.comports():
        usb_id = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else None
        found.append(
            Device(
                port=port.device,
                usb_id=usb_id,
                # pyserial's word for "none"; on Linux it may repeat the port's own name.
                description=None if port.description in ("n/a", port.name) else port.description,
                serial_number=port.serial_number or None,
                targets=tuple(t.name for t in known if usb_id in t.usb_ids),
            )
        )
    return sorted(found, key=lambda d: (not d.targets, d.usb_id is None, d.port))


def find_port(target: Target) -> str:
    """The one port with a USB id of `target`'s. Raises NoDevice, or UsageError for several."""
    if not target.usb_ids:
        raise UsageError(
            f"{target.name} has no USB id to find its port by",
            hint="name the port: --port /dev/ttyACM0; 'edgeq devices' lists them",
        )
    devices = list_devices([target])
    matching = [d for d in devices if d.targets]
    if not matching:
        ids = ", ".join(target.usb_ids)
        there = ", ".join(f"{d.port} ({d.usb_id or 'no USB'})" for d in devices)
        raise NoDevice(
            f"no port has a USB id of {target.name}'s ({ids})",
            hint=f"plug the board in, or name its port with --port; here: {there or 'no port'}",
        )
    if len(matching) > 1:
        names = ", ".join(_title(d) for d in matching)
        raise UsageError(
            f"{len(matching)} ports may be a {target.name}: {names}",
            hint=f"name one: --port {matching[0].port}",
        )
    return matching[0].port


def serial_transport(target: Target, port: str = AUTO, baud: int = BAUD) -> SerialTransport:
    """The way to the board at `port`, or at the one port that may be `target`'s."""
    return SerialTransport(find_port(target) if port == AUTO else port, baud)


def _title(device: Device) -> str:
    return f"{device.port} (serial number {device.serial_number or 'unknown'})"
