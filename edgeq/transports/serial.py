"""Serial ports, by pyserial: /dev/ttyACM0, COM7, socket://host:port, rfc2217://host:port.

Each thing that goes wrong with a port is an error of its own, since each has another remedy.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import serial
from serial import rfc2217
from serial.tools import list_ports

from edgeq.errors import (
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DevicePermission,
    NoDevice,
    NoReply,
    UsageError,
)

if sys.platform != "win32":
    import grp
    import pwd
    import termios

BAUD = 115200
"""MLPerf Tiny's for performance and accuracy, and edgeq's ports'."""

WRITE_LIMIT = 10.0
"""Seconds for a device to take what is sent; at 9600 baud a line of 256 bytes needs 0.3."""

_POLL = 0.05
_CHUNK = 65536
_PROC = Path("/proc")

_FAILURES: tuple[type[Exception], ...] = (OSError, ValueError, TypeError)
"""SerialException is an OSError; the others come when the port went away between two calls."""
if sys.platform != "win32":
    _FAILURES = (*_FAILURES, termios.error)


class SerialTransport:
    """`port` is anything that pyserial opens. `instruction_hz` is set by who put an emulator there.

    Opening raises DTR and RTS, as every terminal program does: USB serial of a chip's own sends
    nothing before, and some boards (Arduino) restart by it.
    """

    def __init__(self, port: str, baud: int = BAUD, *, instruction_hz: float | None = None) -> None:
        self.name = port
        self.instruction_hz = instruction_hz
        self._baud = baud
        self._port: serial.Serial | None = None
        self._fd: int | None = None

    def open(self) -> None:
        _check_address(self.name)
        try:
            port = serial.serial_for_url(
                self.name,
                self._baud,
                do_not_open=True,
                exclusive=True,
                timeout=_POLL,
            )
            if not isinstance(port, rfc2217.Serial):  # It refuses to have one; its socket has.
                port.write_timeout = WRITE_LIMIT
        except (ValueError, ImportError) as e:
            raise UsageError(
                f"{self.name}, {self._baud} baud: {e}",
                hint="give a port as /dev/ttyACM0, COM7, socket://host:port or auto",
            ) from e
        try:
            port.open()
        except _FAILURES as e:
            raise _open_error(self.name, self._baud, e) from e
        self._port = port
        self._fd = _descriptor(port)
        if self._fd is not None:
            port.timeout = 0  # We wait in select, since in_waiting is 0 or 1 for a socket.
        others = [] if self.name.startswith("/dev/pts/") else holders(self.name)
        if others:
            # Without a lock of its own on the port, the other one gets every second byte.
            self.close()
            raise DeviceBusy(
                f"{self.name} is open in {', '.join(others)}", hint="close it there, then try again"
            )

    def read(self, time_limit: float) -> bytes:
        port = self._opened()
        try:
            if self._fd is not None:
                ready, _, _ = select.select([self._fd], [], [], max(0.0, time_limit))
                return bytes(port.read(_CHUNK)) if ready else b""
            deadline = time.monotonic() + time_limit
            while True:
                data = bytes(port.read(max(1, port.in_waiting)))
                if data or time.monotonic() >= deadline:
                    return data
        except _FAILURES as e:
            raise self._lost(e) from e

    def write(self, data: bytes) -> None:
        port = self._opened()
        try:
            port.write(data)
        except serial.SerialTimeoutException as e:
            raise NoReply(
                f"{self.name} took no more bytes for {WRITE_LIMIT:g} s",
                hint="unplug the board and plug it in again; its USB serial hangs",
            ) from e
        except _FAILURES as e:
            raise self._lost(e) from e

    def close(self) -> None:
        port, self._port, self._fd = self._port, None, None
        if port is not None:
            with contextlib.suppress(*_FAILURES):
                # Or Linux waits up to 30 s for a board that hangs to take the rest.
                port.reset_output_buffer()
            with contextlib.suppress(*_FAILURES):
                port.close()

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise DeviceLost(f"{self.name} is not open")
        return self._port

    def _lost(self, error: BaseException) -> DeviceLost:
        return DeviceLost(
            f"{self.name} went away: {_reason(error)}",
            hint="check cable and power; a board that was plugged in again may have another port: "
            "edgeq devices",
        )


def _check_address(name: str) -> None:
    """Raise UsageError for a socket:// or rfc2217:// without a host and a port that can be."""
    scheme, _, rest = name.partition("://")
    if scheme not in ("socket", "rfc2217"):
        return
    try:
        parts = urlsplit(f"//{rest}")
        if parts.hostname and parts.port:
            return
    except ValueError:  # A port that is no number, or beyond 65535.
        pass
    raise UsageError(f"{name}: no host and port", hint=f"write {scheme}://192.168.1.20:4000, say")


def ports() -> list[str]:
    """The serial ports of this computer, those with a USB id first."""
    found = sorted(list_ports.comports(), key=lambda p: (p.vid is None, p.device))
    return [p.device for p in found]


def holders(port: str) -> list[str]:
    """The other programs that have `port` open, as "screen (process 1234)".

    From /proc: empty where there is none, and without those of other users, unless we are root.
    """
    try:
        wanted = os.stat(port)
    except OSError:
        return []
    if not stat.S_ISCHR(wanted.st_mode):
        return []
    found = []
    for folder in sorted(_PROC.glob("[0-9]*"), key=lambda p: int(p.name)):
        if int(folder.name) != os.getpid() and wanted.st_rdev in _open_devices(folder):
            with contextlib.suppress(OSError):
                name = (folder / "comm").read_text(errors="replace").strip()
                found.append(f"{name} (process {folder.name})")
    return found


def _open_devices(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry).startswith("/dev/"):
                    yield entry.stat().st_rdev


def _descriptor(port: serial.Serial) -> int | None:
    """What select can wait for; None for rfc2217 and on Windows, where there is nothing."""
    if sys.platform == "win32" and "://" not in str(port.name):
        return None
    try:
        return int(port.fileno())
    except (io.UnsupportedOperation, AttributeError):
        return None


def _open_error(port: str, baud: int, error: BaseException) -> DeviceError:
    number = _errno(error)
    if number in (errno.EACCES, errno.EPERM):
        return _permission(port)
    if number in (errno.EBUSY, errno.EAGAIN):
        return DeviceBusy(
            f"{port} is in use by {', '.join(holders(port)) or 'another program'}",
            hint="close it there (a terminal, an IDE's serial monitor, another edgeq), try again",
        )
    if "://" in port:
        return NoDevice(
            f"{port}: no connection: {_reason(error)}",
            hint="check host and port, and that the server, bridge or emulator there runs",
        )
    there = ports()
    if number == errno.ENOENT or not (port in there or os.path.exists(port)):
        return NoDevice(
            f"{port}: no such port",
            hint=f"ports here: {', '.join(there)}; 'edgeq devices' says more"
            if there
            else "there is no serial port here: plug the board in; its cable must carry data, too",
        )
    if sys.platform == "win32":  # It says "access denied" for a port that is in use.
        return DeviceBusy(f"{port} is in use by another program", hint="close it there")
    if number == errno.ENOTTY or _termios_errno(error) == errno.ENOTTY:
        return NoDevice(f"{port} is no serial port", hint="'edgeq devices' lists the ports")
    if number in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return NoDevice(
            f"{port}: nothing is connected there ({_reason(error)})",
            hint="plug the board in again; 'edgeq devices' lists what is there",
        )
    return DeviceError(f"{port}, {baud} baud: cannot be opened: {_reason(error)}")


def _permission(port: str) -> DevicePermission:
    """Whose port it is, and the command that makes this user one of them. Not on Windows."""
    user = _user()
    try:
        mode = os.stat(port)
        group = _group_name(mode.st_gid)
    except OSError:
        mode, group = None, "dialout"
    message = f"{port}: this user ({user}) may not open it"
    if mode is not None and (not mode.st_mode & stat.S_IRGRP or group == "root"):
        return DevicePermission(
            f"{message}; only {_owner_name(mode.st_uid)} may",
            hint="a udev rule for the board's USB id gives it to a group, as\n"
            'SUBSYSTEM=="tty", ATTRS{idVendor}=="0483", GROUP="dialout", MODE="0660"\n'
            "in /etc/udev/rules.d/60-boards.rules; then plug the board in again",
        )
    if user in _group_members(group):
        return DevicePermission(
            f"{message}: it is in the group {group}, but this session began before it was",
            hint=f"log out and in again, or for this terminal alone: newgrp {group}",
        )
    return DevicePermission(
        f"{message}: it belongs to the group {group}",
        hint=f"sudo usermod -aG {group} {user}\nthen log out and in again",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # No name in this container: OSError from Python 3.13 on.
        return str(os.getuid())


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _group_members(group: str) -> list[str]:
    try:
        return list(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def _owner_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it was made from: pyserial wraps the system's error, number and all."""
    found: BaseException | None = error
    for _ in range(8):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _errno(error: BaseException) -> int | None:
    for each in _chain(error):
        if isinstance(each, OSError) and isinstance(each.errno, int):
            return each.errno
    return None


def _termios_errno(error: BaseException) -> int | None:
    for each in _chain(error):
        if isinstance(each, termios.error) and each.args and isinstance(each.args[0], int):
            return each.args[0]
    return None


def _reason(error: BaseException) -> str:
    number = _errno(error)
    return os.strerror(number) if number else str(error)
