"""A Pi's serial console: a real tty and shell in an arm64 Debian root, a stand-in for login."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from pi.stand_in import Pi

from edgeq.errors import (
    DeviceError,
    DeviceLost,
    DevicePermission,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.transports.console import ConsoleMachine

pytestmark = pytest.mark.devices

PASSWORD = "rasp berry$1"


class Console:
    """A console behind a cable: `proxy` is that, `port` our end of it."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi("arm64", folder)
        self.proxy: FaultProxy

    def __enter__(self) -> Console:
        self.backend = self.pi.switch_console_on()
        self.proxy = FaultProxy(self.backend)
        return self

    def __exit__(self, *error: object) -> None:
        self.proxy.close()
        self.pi.switch_off()
        os.close(self.backend)

    @property
    def port(self) -> str:
        return self.proxy.name

    @property
    def address(self) -> str:
        return f"console:{self.port}?user=pi"


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with Console(tmp_path / "console") as console:
        yield console


@contextlib.contextmanager
def opened(console: Console) -> Iterator[ConsoleMachine]:
    machine = ConsoleMachine(console.address, lambda question: PASSWORD)
    machine.open()
    try:
        yield machine
    finally:
        machine.close()


def test_commands_files_and_a_program(console: Console) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return PASSWORD

    machine = ConsoleMachine(console.address, ask)
    machine.open()
    (console.pi.files / "etc/edgeq-test/noise").touch()
    assert asked == [f"password of pi at console:{console.port}: "]
    assert machine.folder == "/home/pi/.cache/edgeq"
    ended = machine.run("uname -m; echo oops >&2; exit 7", 60)
    assert (ended.code, ended.output, ended.errors) == (7, b"aarch64\noops\n", b"")
    assert machine.run("kill -9 $$", 60).code == 137
    assert len(machine.run("head -c 300000 /dev/zero", 120).output) == 65536

    files = {"$(touch owned) 'x'\nü": os.urandom(12_000), "cat.sh": b"#!/bin/sh\nexec cat\n"}
    seen = []
    folder = f"{machine.folder}/a b;c"
    machine.push(files, folder, lambda what, done, total: seen.append((done, total)))
    there = console.pi.files / folder.lstrip("/")
    assert {p.name: p.read_bytes() for p in there.iterdir()} == files
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
    assert not list((console.pi.files / "home/pi").rglob("owned"))

    (console.pi.files / "etc/edgeq-test/noise").unlink()
    time.sleep(0.5)
    transport = machine.start("exec ./cat.sh", folder)
    transport.open()
    transport.write(b"eq info #1%\r\n")
    assert collected(transport.read, 13) == b"eq info #1%\r\n"
    # Its temperature is asked for while a program has the line.
    assert machine.run("vcgencmd get_throttled", 60).output == b"throttled=0x0\n"
    transport.write(b"again%")
    assert collected(transport.read, 6) == b"again%"
    transport.close()
    assert not console.pi.processes("cat")

    transport = machine.start("echo last; echo why >&2; exit 9", "/tmp")
    transport.open()
    assert collected(transport.read, 5) == b"last\n"
    with pytest.raises(DeviceLost, match="exit code 9: why"):
        while True:
            transport.read(5)
    transport.close()

    start = time.monotonic()
    with pytest.raises(NoReply, match="did not end within 2 s; it was ended"):
        machine.run("trap '' INT TERM; sleep 1234 & setsid sleep 1235 & sleep 1236", 2)
    assert time.monotonic() - start < 40
    assert not console.pi.processes("sleep 123")
    assert machine.run("echo on", 60).output == b"on\n"
    machine.close()
    machine.close()
    assert not list((console.pi.files / "tmp").iterdir())

    # It was logged out, and can be logged into again.
    with opened(console) as machine:
        assert machine.run("echo again", 60).output == b"again\n"


def test_a_shell_that_is_logged_in_already_is_used_and_kept(console: Console) -> None:
    with opened(console) as machine:
        machine._logged_in = False  # Stay.
    machine = ConsoleMachine(f"console:{console.port}")
    machine.open()
    assert machine.run("whoami", 60).output == b"pi\n"
    machine.close()
    assert console.pi.processes("bash --login")


def test_a_line_that_damages_bytes(console: Console) -> None:
    with opened(console) as machine:
        console.proxy.flip = 0.0001
        for _ in range(8):
            content = os.urandom(2500)
            machine._put(content, "x")
            assert machine._get("x") == content
        console.proxy.flip = 0.0
        assert console.proxy.faults


def test_an_edgeq_that_was_killed_leaves_a_console_that_works(console: Console) -> None:
    machine = ConsoleMachine(console.address, lambda question: PASSWORD)
    machine.open()
    machine._line.close()
    with opened(console) as again:
        assert again.run("echo on", 60).output == b"on\n"


def wrong_password(console: Console) -> ConsoleMachine:
    return ConsoleMachine(console.address, lambda question: "guess")


def no_user(console: Console) -> ConsoleMachine:
    return ConsoleMachine(f"console:{console.port}", lambda question: PASSWORD)


def nobody_to_ask(console: Console) -> ConsoleMachine:
    return ConsoleMachine(console.address)


def dead(console: Console) -> ConsoleMachine:
    console.pi.switch_off()
    return ConsoleMachine(console.address)


def no_port(console: Console) -> ConsoleMachine:
    return ConsoleMachine("console:/dev/no-such-tty")


FAULTS: dict[str, tuple[Callable[[Console], ConsoleMachine], type[Exception], str, str]] = {
    "wrong password": (wrong_password, DevicePermission, "are refused", "check both"),
    "no user": (no_user, UsageError, "asks who logs in", "?user=pi"),
    "nobody to ask": (nobody_to_ask, UsageError, "asks for a password", "EDGEQ_CONSOLE_PASSWORD"),
    "dead": (dead, NoReply, "no login and no shell", "raspi-config"),
    "no port": (no_port, NoDevice, "no such port", "port"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_in_the_way_is_said(
    console: Console, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEQ_CONSOLE_PASSWORD", raising=False)
    broken, kind, message, hint = FAULTS[fault]
    start = time.monotonic()
    with pytest.raises(kind, match=message) as e:
        broken(console).open()
    print(f"{fault}: {e.value}\n  {e.value.hint}")
    assert hint in e.value.hint and PASSWORD not in str(e.value) + e.value.hint
    assert time.monotonic() - start < 75


def test_the_password_of_the_environment(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_CONSOLE_PASSWORD", PASSWORD)
    machine = ConsoleMachine(console.address)
    machine.open()
    assert machine.run("whoami", 60).output == b"pi\n"
    machine.close()


def test_power_that_is_cut_in_mid_run(console: Console) -> None:
    with opened(console) as machine:
        console.proxy.unplug()
        with pytest.raises(DeviceError):
            machine.run("echo hello", 5)


@pytest.mark.parametrize(
    "address",
    ["console:", "console:/dev/x?baud=0", "console:/dev/x?baud=x", "console:/dev/x?user=a b"]
    + ["console:/dev/x?what=1", "console:/dev/x?user=$(id)"],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a console"):
        ConsoleMachine(address)


def collected(read: Callable[[float], bytes], size: int) -> bytes:
    got, end = b"", time.monotonic() + 30
    while len(got) < size and time.monotonic() < end:
        got += read(1)
    return got
