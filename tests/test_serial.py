"""Ports: each kind of failure is an error of its own, with its own remedy."""

from __future__ import annotations

import errno
import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import serial
from click.testing import CliRunner
from serial.rfc2217 import PortManager

from edgeq import devices
from edgeq.cli.devices_command import command
from edgeq.devices import find_port, list_devices
from edgeq.errors import (
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DevicePermission,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.targets import load_target
from edgeq.transports import Transport
from edgeq.transports import serial as transport
from edgeq.transports.serial import SerialTransport, holders


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The device's end of a pty, and the name of ours."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    name = os.ttyname(theirs)
    os.close(theirs)
    yield ours, name
    try:
        os.close(ours)
    except OSError:
        pass


def error(port: str) -> DeviceError:
    with pytest.raises(DeviceError) as e:
        SerialTransport(port).open()
    assert e.value.hint
    return e.value


def test_bytes_go_both_ways_and_reading_ends_in_time(terminal):
    device, name = terminal
    link: Transport = SerialTransport(name)
    link.open()
    link.write(b"name%")
    assert os.read(device, 100) == b"name%"
    os.write(device, b"m-ready\r\n")
    assert link.read(1.0) == b"m-ready\r\n"
    start = time.monotonic()
    assert link.read(0.2) == b""
    assert 0.1 < time.monotonic() - start < 0.4
    link.close()
    link.close()
    with pytest.raises(DeviceLost):
        link.read(0.1)


def test_a_pulled_plug_is_noticed_reading_and_writing(terminal):
    device, name = terminal
    link = SerialTransport(name)
    link.open()
    os.close(device)
    with pytest.raises(DeviceLost, match="went away"):
        link.read(1.0)
    with pytest.raises(DeviceLost, match="went away"):
        for _ in range(10):
            link.write(b"x" * 100)
    link.close()


def test_a_device_that_takes_nothing_ends_the_write(terminal, monkeypatch):
    monkeypatch.setattr(transport, "WRITE_LIMIT", 0.3)
    link = SerialTransport(terminal[1])
    link.open()
    with pytest.raises(NoReply, match="took no more bytes"):
        link.write(b"x" * 1_000_000)
    link.close()


def test_no_such_port():
    e = error("/dev/ttyACM99")
    assert isinstance(e, NoDevice) and "no such port" in e.message


def test_a_file_is_no_port(tmp_path):
    (tmp_path / "file").write_text("")
    e = error(str(tmp_path / "file"))
    assert isinstance(e, NoDevice) and "no serial port" in e.message


def test_a_port_in_use_by_us_names_no_other(terminal):
    first = SerialTransport(terminal[1])
    first.open()
    assert isinstance(error(terminal[1]), DeviceBusy)
    first.close()


def test_a_port_in_use_names_the_program(terminal):
    name = terminal[1]
    code = (
        f"import sys, serial; s = serial.Serial({name!r}, exclusive=True); print(1, flush=True); "
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code + "sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        holder.stdout.readline()
        e = error(name)
        assert isinstance(e, DeviceBusy)
        assert f"(process {holder.pid})" in e.message
        assert holders(name) == [f"python (process {holder.pid})"] or "python" in e.message
        holder.stdin.close()


def failing(number: int):
    def open_(self):
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    return open_


def test_permission_names_the_group_and_the_command(monkeypatch, terminal):
    monkeypatch.setattr(serial.Serial, "open", failing(errno.EACCES))
    monkeypatch.setattr(transport, "_user", lambda: "ann")
    monkeypatch.setattr(transport, "_group_name", lambda gid: "dialout")
    monkeypatch.setattr(transport, "_group_members", lambda group: [])
    monkeypatch.setattr(os, "stat", lambda p: SimpleNamespace(st_gid=20, st_uid=0, st_mode=0o20660))
    e = error("/dev/ttyACM0")
    assert isinstance(e, DevicePermission)
    assert e.message == (
        "/dev/ttyACM0: this user (ann) may not open it: it belongs to the group dialout"
    )
    assert e.hint.startswith("sudo usermod -aG dialout ann\n")
    monkeypatch.setattr(transport, "_group_members", lambda group: ["ann"])
    assert "newgrp dialout" in error("/dev/ttyACM0").hint
    monkeypatch.setattr(os, "stat", lambda p: SimpleNamespace(st_gid=0, st_uid=0, st_mode=0o20600))
    assert "udev" in error("/dev/ttyACM0").hint


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EBUSY, DeviceBusy), (errno.ENXIO, NoDevice), (errno.ENODEV, NoDevice)],
)
def test_errors_by_number(monkeypatch, number, kind, terminal):
    monkeypatch.setattr(serial.Serial, "open", failing(number))
    assert isinstance(error(terminal[1]), kind)


@pytest.mark.parametrize("port", ["nonsense://x", "socket://", "socket://host"])
def test_a_malformed_address_is_an_error(port):
    with pytest.raises((UsageError, NoDevice)):
        SerialTransport(port).open()


def test_an_impossible_baud_rate_is_the_users_mistake(terminal):
    with pytest.raises(UsageError):
        SerialTransport(terminal[1], baud=-1).open()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_nobody_listens():
    e = error(f"socket://127.0.0.1:{free_port()}")
    assert isinstance(e, NoDevice) and "Connection refused" in e.message


def test_a_socket_works_at_the_speed_of_a_socket():
    """pyserial says that 0 or 1 bytes wait at a socket: by bytes, a megabyte would take half a
    minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = SerialTransport(f"socket://127.0.0.1:{server.getsockname()[1]}")
        link.open()
        device, _ = server.accept()
        with device:
            sender = threading.Thread(target=device.sendall, args=(bytes(1_000_000),))
            sender.start()
            start, got = time.monotonic(), 0
            while got < 1_000_000:
                got += len(link.read(5.0))
            assert time.monotonic() - start < 5
            sender.join()
            link.write(b"help%")
            assert device.recv(100) == b"help%"
            assert link.read(0.1) == b""
        with pytest.raises(DeviceLost):
            link.read(1.0)
        link.close()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name)")  # pyserial 3.5 calls both.
def test_rfc2217_works():
    """With pyserial's own server side, which serves a socket here: a pty has no modem lines."""
    board = socket.create_server(("127.0.0.1", 0))
    listener = socket.create_server(("127.0.0.1", 0))
    ports = board.getsockname()[1], listener.getsockname()[1]
    server = threading.Thread(target=serve_rfc2217, args=(listener, ports[0]), daemon=True)
    server.start()
    device, _ = board.accept()
    link = SerialTransport(f"rfc2217://127.0.0.1:{ports[1]}")
    with board, device:
        link.open()
        link.write(b"name%")
        assert device.recv(100) == b"name%"
        device.sendall(b"m-ready\r\n")
        got = b""
        while len(got) < 9:
            got += link.read(2.0)
        assert got == b"m-ready\r\n"
        assert link.read(0.1) == b""
        link.close()
        server.join(5)


def serve_rfc2217(listener: socket.socket, board: int) -> None:
    port = serial.serial_for_url(f"socket://127.0.0.1:{board}", timeout=0)
    with listener, port, listener.accept()[0] as connection:
        connection.settimeout(0.02)
        manager = PortManager(port, SimpleNamespace(write=connection.sendall))
        while True:
            try:
                data = connection.recv(1024)
                if not data:
                    return
                port.write(b"".join(manager.filter(data)))
            except TimeoutError:
                pass
            found = port.read(1024)
            if found:
                connection.sendall(b"".join(manager.escape(found)))


STLINK = SimpleNamespace(
    device="/dev/ttyACM0",
    name="ttyACM0",
    vid=0x0483,
    pid=0x374B,
    description="STM32 STLink",
    serial_number="0668FF",
)
BUILT_IN = SimpleNamespace(
    device="/dev/ttyS0", name="ttyS0", vid=None, pid=None, description="n/a", serial_number=None
)


@pytest.fixture
def attached(monkeypatch):
    found: list[SimpleNamespace] = []
    monkeypatch.setattr(devices.list_ports, "comports", lambda: found)
    return found


def test_devices_lists_ports_with_the_targets_they_may_be(attached):
    attached += [BUILT_IN, STLINK]
    first, second = list_devices()
    assert (first.port, first.usb_id, first.serial_number) == (
        "/dev/ttyACM0",
        "0483:374b",
        "0668FF",
    )
    assert {"nucleo-f446re", "nucleo-l4r5zi"} <= set(first.targets)
    assert (second.port, second.usb_id, second.description) == ("/dev/ttyS0", None, None)
    shown = CliRunner().invoke(command, []).output
    assert "0483:374b" in shown and "nucleo-f446re" in shown
    document = json.loads(CliRunner().invoke(command, ["--json", "-"]).output)
    assert document["devices"][0]["port"] == "/dev/ttyACM0"


def test_no_port_at_all_is_said(attached):
    assert "No serial port" in CliRunner().invoke(command, []).output


def test_auto_finds_the_one_port_and_never_guesses(attached):
    board = load_target("nucleo-f446re")
    attached.append(BUILT_IN)
    with pytest.raises(NoDevice) as e:
        find_port(board)
    assert "/dev/ttyS0" in e.value.hint
    attached.append(STLINK)
    assert find_port(board) == "/dev/ttyACM0"
    attached.append(SimpleNamespace(**{**vars(STLINK), "device": "/dev/ttyACM1"}))
    with pytest.raises(UsageError, match="2 ports may be") as u:
        find_port(board)
    assert u.value.hint == "name one: --port /dev/ttyACM0"
    with pytest.raises(UsageError, match="no USB id"):
        find_port(load_target("mps2-an386"))
