"""Machines by ssh: the system's ssh, and a real arm64 sshd in a Debian root on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pi.stand_in import Pi
from processes import assert_gone

from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    DevicePermission,
    MissingProgram,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.transports.openssh import configured_hosts, parse_address
from edgeq.transports.ssh import SshMachine

ODD_NAMES = (
    "a b",
    "$(touch owned)",
    "`touch owned`;touch owned",
    "-rf",
    "'quote'\"\\",
    "new\nline",
    "*?[a]",
    "übung.tflite",
)


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    with Pi("arm64", tmp_path_factory.mktemp("pi")) as pi:
        yield pi


@pytest.fixture
def pi(switched_on: Pi, monkeypatch: pytest.MonkeyPatch) -> Pi:
    switched_on.client(monkeypatch)
    return switched_on


@pytest.fixture
def machine(pi: Pi) -> Iterator[SshMachine]:
    with opened(pi.address) as machine:
        yield machine


@pytest.fixture
def own_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pi]:
    """One that the test may break."""
    with Pi("arm64", tmp_path / "own", disk="3m") as pi:
        pi.client(monkeypatch)
        yield pi


@contextlib.contextmanager
def opened(address: str) -> Iterator[SshMachine]:
    machine = SshMachine(address)
    machine.open()
    try:
        yield machine
    finally:
        machine.close()


def test_a_command_ends_with_its_output_its_errors_and_its_code(machine: SshMachine) -> None:
    ended = machine.run("uname -m; echo oops >&2; exit 7", 60)
    assert (ended.code, ended.output, ended.errors) == (7, b"aarch64\n", b"oops\n")
    assert machine.folder == "/home/pi/.cache/edgeq"


@pytest.mark.parametrize(
    ("script", "code"), [("true", 0), ("exit 255", 255), ("kill -9 $$", 137), ("no-such", 127)]
)
def test_an_exit_code_is_the_scripts_own(machine: SshMachine, script: str, code: int) -> None:
    assert machine.run(script, 60).code == code


def test_what_a_script_leaves_running_does_not_hold_it_up(machine: SshMachine, pi: Pi) -> None:
    start = time.monotonic()
    assert machine.run("sleep 4321 & echo on", 60).output == b"on\n"
    assert time.monotonic() - start < 40
    machine.run("kill $(pgrep -f 'sleep 4321')", 60)


def test_a_lot_of_output_is_bounded(machine: SshMachine) -> None:
    ended = machine.run("head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; exit 3", 120)
    assert (ended.code, len(ended.output), len(ended.errors)) == (3, 65536, 65536)


@pytest.mark.parametrize("shell", ["noise", "csh-like"])
def test_a_login_shell_that_talks_is_not_taken_for_the_script(
    machine: SshMachine, pi: Pi, shell: str
) -> None:
    bashrc = pi.files / "home/pi/.bashrc"
    bashrc.write_text("echo welcome; echo welcome >&2\n")
    try:
        assert machine.run("echo hello", 60).output == b"hello\n"
    finally:
        bashrc.unlink()


def test_a_late_script_is_ended_with_all_that_it_started(machine: SshMachine, pi: Pi) -> None:
    start = time.monotonic()
    script = "sleep 1234 & setsid sleep 1235 & trap '' TERM INT HUP; sleep 1236"
    with pytest.raises(NoReply, match="did not end within 3 s; it was ended"):
        machine.run(script, 3)
    assert time.monotonic() - start < 40
    assert gone(pi, "sleep 123")
    assert machine.run("echo on", 60).output == b"on\n"


def test_files_arrive_whole_under_any_name(machine: SshMachine, pi: Pi) -> None:
    folder = f"{machine.folder}/odd $(touch owned) 'x'"
    files = {name: os.urandom(1000 + len(name)) for name in ODD_NAMES}
    files["big"] = os.urandom(5_000_000)
    seen = []
    machine.push(files, folder, lambda what, done, total: seen.append((done, total)))
    there = pi.files / folder.lstrip("/")
    assert {p.name: p.read_bytes() for p in there.iterdir()} == files
    assert all(p.stat().st_mode & 0o111 for p in there.iterdir())
    assert not list((pi.files / "home/pi").rglob("owned"))
    total = sum(map(len, files.values()))
    assert seen[-1] == (total, total) and sorted(seen) == seen

    before = (there / "big").stat().st_mtime_ns
    (there / "a b").write_bytes(b"damaged")
    machine.push(files, folder)
    assert (there / "a b").read_bytes() == files["a b"]
    assert (there / "big").stat().st_mtime_ns == before  # Not sent again.


def test_a_program_reads_and_writes(machine: SshMachine, pi: Pi) -> None:
    machine.push({"echo.sh": b"#!/bin/sh\nexec cat\n"}, f"{machine.folder}/run it")
    transport = machine.start("exec ./echo.sh", f"{machine.folder}/run it")
    transport.open()
    data = bytes(range(256)) * 2000
    transport.write(data)
    got = b""
    end = time.monotonic() + 60
    while len(got) < len(data) and time.monotonic() < end:
        got += transport.read(1)
    assert got == data
    assert transport.read(0.1) == b""
    transport.close()
    transport.close()
    assert gone(pi, "cat")


def test_a_program_that_ends_says_how(machine: SshMachine) -> None:
    transport = machine.start("echo last; echo 'no \033[31mmodel' >&2; exit 9", "/tmp")
    transport.open()
    assert collected(transport.read, 5) == b"last\n"
    with pytest.raises(DeviceLost, match="exit code 9: no \\\\x1b") as e:
        transport.read(30)
    assert "\033" not in str(e.value)
    transport.close()


def test_a_line_without_end_does_not_hang(machine: SshMachine, pi: Pi) -> None:
    transport = machine.start("exec tr '\\0' A < /dev/zero", "/tmp")
    transport.open()
    size, end = 0, time.monotonic() + 1
    while time.monotonic() < end:
        size += len(transport.read(1))
    assert size > 100_000
    transport.close()
    assert gone(pi, "tr ")


def test_what_runs_ends_with_the_machine(pi: Pi) -> None:
    with opened(pi.address) as machine:
        transport = machine.start("exec sleep 3333", "/tmp")
        transport.open()
        transport.close()
        control = machine._control
        assert control is not None and control.exists()
    assert not control.parent.exists()
    assert gone(pi, "sleep 3333")
    with pytest.raises(DeviceLost, match="not open"):
        machine.run("true", 5)


def test_a_host_of_the_configuration(pi: Pi) -> None:
    with opened("ssh:testpi") as machine:
        assert machine.run("whoami", 60).output == b"pi\n"


def collected(read: Callable[[float], bytes], size: int) -> bytes:
    got, end = b"", time.monotonic() + 30
    while len(got) < size and time.monotonic() < end:
        got += read(1)
    return got


def gone(pi: Pi, command: str) -> bool:
    end = time.monotonic() + 15
    while pi.processes(command):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
