"""Devices by name: `[devices.NAME]` of edgeq.toml, and those of one's own lab in devices.toml.

[devices.phone]
target = "android"
address = "adb:R58M12345"
cores = "big"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from edgeq.documents import decode, nearest, read_toml
from edgeq.errors import UsageError

LAB_FILE = "devices.toml"

KINDS = ("adb", "ssh", "console", "serial", "sim", "local")
"""What an address begins with; sim and local are whole ones."""

NO_ADDRESS = (
    "an address is adb:SERIAL, adb:auto, ssh:pi@raspberrypi, console:/dev/ttyUSB0, "
    "serial:/dev/ttyACM0, serial:auto, sim or local; 'edgeq devices' lists what is there"
)


@dataclass(frozen=True)
class Device:
    """Where a device is, and what is to be built for it.

    `target` is a name or path, `address` as KINDS has them, `baud` a serial port's, `cores` "big",
    "little" or a mask in hex, `threads` those of an inference. None: the default. `name` is what
    it is called; of an address on the command line, that itself.
    """

    name: str
    address: str
    target: str | None = None
    baud: int | None = None
    cores: str | None = None
    threads: int | None = None

    @property
    def kind(self) -> str:
        """One of KINDS."""
        return self.address.partition(":")[0]

    @property
    def place(self) -> str:
        """The address behind its kind: a serial number, a host, a port."""
        return self.address.partition(":")[2]


@dataclass(frozen=True)
class DeviceSettings:
    """A `[devices.NAME]` table as it stands."""

    address: str | None = None
    target: str | None = None
    baud: int | None = None
    cores: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class _Document:
    devices: dict[str, DeviceSettings]


def lab_file() -> Path:
    """~/.config/edgeq/devices.toml, or where the system keeps such files."""
    return Path(platformdirs.user_config_dir("edgeq")) / LAB_FILE


def known_devices(
    tables: Mapping[str, DeviceSettings], source: Path | None, lab: Path | None = None
) -> dict[str, Device]:
    """The devices of the project file `source`, and those of the lab's file (lab_file()).

    Where both have one, what the project says of it goes first, key by key. Raises UsageError that
    names the file and the key.
    """
    lab = lab or lab_file()
    below: Mapping[str, DeviceSettings] = {}
    if lab.is_file():
        below = decode(read_toml(lab, UsageError), _Document, str(lab), UsageError).devices
    found = {name: _device(name, table, lab) for name, table in below.items() if name not in tables}
    for name, table in tables.items():
        mine = {key: value for key, value in vars(table).items() if value is not None}
        found[name] = _device(name, replace(below.get(name, table), **mine), source or lab)
    return found


def find_device(text: str, known: Mapping[str, Device]) -> Device:
    """The device that a person calls `text`: a name among `known`, or an address."""
    if text in known:
        return known[text]
    if is_address(text):
        return Device(text, text)
    guess = nearest(text, [*known])
    if guess is None and re.fullmatch(r"[\w.-]+@[\w.-]+", text):
        guess = f"ssh:{text}"
    raise UsageError(
        f"no device {text!r}",
        hint=f"did you mean {guess}? {NO_ADDRESS}" if guess else NO_ADDRESS,
    )


def is_address(text: str) -> bool:
    kind, colon, place = text.partition(":")
    if kind in ("sim", "local"):
        return not colon
    return kind in KINDS and bool(place)


def _device(name: str, table: DeviceSettings, path: Path) -> Device:
    where = f"{path}: [devices.{name}]"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or is_address(name):
        raise UsageError(
            f"{where}: no name for a device", hint="letters, digits, _ . and -, not an address"
        )
    if table.address is None:
        raise UsageError(f"{where} has no address", hint=NO_ADDRESS)
    if not is_address(table.address) or not table.address.isprintable():
        raise UsageError(f"{where}: address {table.address!r} is none", hint=NO_ADDRESS)
    for key, value, most in (("baud", table.baud, 100_000_000), ("threads", table.threads, 1024)):
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"{where}: {key} = {value}", hint=f"from 1 to {most} is possible")
    return Device(name, table.address, table.target, table.baud, table.cores, table.threads)
