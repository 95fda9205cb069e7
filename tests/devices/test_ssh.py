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

pytestmark = pytest.mark.devices

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


def test_a_login_shell_that_talks_is_not_taken_for_the_script(machine: SshMachine, pi: Pi) -> None:
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


@contextlib.contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port where something else than sshd answers: `answer`, or for None nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    taken.append(connection)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in taken:
                connection.close()


def wrong_key(pi: Pi) -> str:
    name = pi.another_key("other")
    config = pi.folder / "ssh/config"
    config.write_text(config.read_text().replace("/ssh/id", f"/ssh/{name}"))
    return pi.address


def passphrase(pi: Pi) -> str:
    argv = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(pi.folder / "ssh/id")]
    subprocess.run(argv, check=True, timeout=60)
    return pi.address


def unknown_key(pi: Pi) -> str:
    (pi.folder / "ssh/known_hosts").write_text("")
    return pi.address


def changed_key(pi: Pi) -> str:
    pi.trust(pi.another_key("another_host"))
    return pi.address


def refused(pi: Pi) -> str:
    pi.switch_off()
    return pi.address


def bad_configuration(pi: Pi) -> str:
    config = pi.folder / "ssh/config"
    config.write_text("NoSuchThing yes\n" + config.read_text())
    return pi.address


def no_shell(pi: Pi) -> str:
    passwd = pi.files / "etc/passwd"
    passwd.write_text(passwd.read_text().replace("pi:/bin/bash", "pi:/usr/bin/false"))
    return pi.address


Broken = Callable[[Pi], str]

OPENING: dict[str, tuple[Broken, type[DeviceError], str, str]] = {
    "wrong key": (wrong_key, DevicePermission, "none of this computer's keys", "ssh-copy-id -p"),
    "wrong user": (lambda pi: f"ssh:eve@127.0.0.1:{pi.port}", DevicePermission, "none of", "user"),
    "passphrase": (passphrase, DevicePermission, "needs its passphrase", "ssh-add"),
    "unknown host key": (
        unknown_key,
        DeviceError,
        "not known here: .*SHA256:",
        "accept it by: ssh",
    ),
    "changed host key": (changed_key, DeviceError, "has changed, to .*SHA256:", "ssh-keygen -R"),
    "refused": (refused, NoDevice, "nothing listens", "raspi-config"),
    "no such name": (lambda pi: "ssh:no-such.invalid", NoDevice, "no host of this name", "ping|IP"),
    # An address for documentation: no route, or, where the network drops packets, no answer.
    "no route": (lambda pi: "ssh:pi@[2001:db8::1]", NoDevice, "no route|not answer|time", "on"),
    "configuration": (bad_configuration, DeviceError, "refuses its configuration", "mend"),
    "no shell": (no_shell, DeviceFault, "ran no command, exit code 1", "base64"),
}


@pytest.mark.parametrize("fault", OPENING)
def test_what_is_in_the_way_is_said(own_pi: Pi, fault: str) -> None:
    broken, kind, message, hint = OPENING[fault]
    machine = SshMachine(broken(own_pi))
    start = time.monotonic()
    with pytest.raises(kind, match=message) as e:
        machine.open()
    print(f"{fault}: {e.value}\n  {e.value.hint}")
    assert type(e.value) is kind
    assert time.monotonic() - start < 50
    assert e.value.hint and (
        hint in e.value.hint or any(h in e.value.hint for h in hint.split("|"))
    )
    assert machine._control is None
    machine.close()


def test_a_port_that_is_no_sshd(pi: Pi) -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\n" * 50) as port:
        with pytest.raises(DeviceLost, match="no sshd|ended the connection"):
            SshMachine(f"ssh:pi@127.0.0.1:{port}").open()


def test_a_port_that_is_silent(pi: Pi) -> None:
    with listening(None) as port:
        start = time.monotonic()
        with pytest.raises(NoReply, match="no answer within 10 s"):
            SshMachine(f"ssh:pi@127.0.0.1:{port}").open()
        assert time.monotonic() - start < 45


def test_no_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="ssh is not installed") as e:
        SshMachine("ssh:pi@raspberrypi").open()
    assert e.value.hint and "openssh-client" in e.value.hint


def test_power_that_is_cut_in_mid_run(own_pi: Pi) -> None:
    with opened(own_pi.address) as machine:
        transport = machine.start("exec sleep 1000", "/tmp")
        transport.open()
        cut = threading.Timer(1.5, own_pi.switch_off)
        cut.start()
        start = time.monotonic()
        with pytest.raises(DeviceLost, match="connection was lost"):
            machine.run("sleep 1000", 100)
        cut.join()
        with pytest.raises(DeviceLost, match="connection was lost"):
            transport.read(60)
        transport.close()
        with pytest.raises(DeviceLost, match="connection was lost"):
            machine.run("true", 60)
        assert time.monotonic() - start < 60
        own_pi.switch_on()
        assert machine.run("echo again", 60).output == b"again\n"


def test_a_full_disk(own_pi: Pi) -> None:
    with opened(own_pi.address) as machine:
        machine.push({"small": b"x" * 1000}, machine.folder)
        with pytest.raises(DeviceFault, match="big: no space left there; nothing was") as e:
            machine.push({"big": os.urandom(8_000_000)}, machine.folder)
        assert e.value.hint and "df -h" in e.value.hint
        there = own_pi.files / machine.folder.lstrip("/")
        assert [p.name for p in there.iterdir()] == ["small"]


def test_a_folder_of_someone_elses(machine: SshMachine) -> None:
    with pytest.raises(DeviceFault, match="may not be written"):
        machine.push({"x": b"x"}, "/etc/edgeq")


def test_a_program_whose_folder_is_not_there(machine: SshMachine) -> None:
    transport = machine.start("exec cat", "/no/such/folder")
    transport.open()
    with pytest.raises(DeviceLost, match="exit code 1: .*no/such/folder"):
        transport.read(30)
    transport.close()


@pytest.mark.parametrize(
    "address",
    ["ssh:", "ssh:-oProxyCommand=touch owned", "ssh:-l@h", "ssh:u@-h", "ssh:a b", "ssh:h:0"]
    + [
        "ssh:h:65536",
        "ssh:$(touch x)",
        "ssh:h;ls",
        "ssh:h\n",
        "ssh:@h",
        "ssh:[::1",
        "ssh:\033[31m",
    ],
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="no address") as e:
        SshMachine(address)
    assert str(e.value).isprintable()


def test_addresses() -> None:
    assert parse_address("ssh:pi@[fe80::1%eth0]:2222").arguments() == [
        *("-p", "2222"),
        *("--", "pi@fe80::1%eth0"),
    ]
    assert parse_address("ssh:raspberrypi.local").arguments() == ["--", "raspberrypi.local"]


def test_hosts_of_the_configuration_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "config").write_text(
        "# lab\nInclude more/*.conf\nHost kitchen *.local !no ba$d\n  hostname=10.0.0.7\n"
        "Host *\n  User everyone\nMatch host kitchen\n  User nobody\nInclude config\n"
    )
    (folder / "more").mkdir()
    (folder / "more/a.conf").write_text('Host "attic"\n\tUser\tpi\n\tHostName attic.lan\x1b[31m\n')
    hosts = configured_hosts(folder / "config")
    assert [(h.name, h.address, h.user) for h in hosts] == [
        ("attic", "ssh:attic", "pi"),
        ("kitchen", "ssh:kitchen", None),
    ]
    assert hosts[1].host_name == "10.0.0.7"
    assert hosts[0].host_name == "attic.lan\\x1b[31m"
    assert hosts[0].next_step == "edgeq bench BUNDLE --device ssh:attic"
    assert configured_hosts(tmp_path / "none") == []


def test_a_command_that_could_not_be_ended_is_not_called_ended(
    pi: Pi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(pi.address) as machine:
        monkeypatch.setattr(machine, "end", lambda word, also="": False)
        with pytest.raises(NoReply, match="nor does the machine answer") as e:
            machine.run("sleep 5", 1)
        assert "may still run" in str(e.value.hint)


def test_nothing_is_left_running_here(pi: Pi) -> None:
    with opened(pi.address) as machine:
        assert machine._master is not None
        master = machine._master._process.pid
    assert_gone(master)
    assert shutil.which("ssh") == str(pi.folder / "bin/ssh")


@pytest.mark.parametrize(
    "text",
    [
        "Include ~nobody-of-this-name/x\nHost a\n",
        "Host a\n  HostName  \n  User =\n",
        "Include a\0b*\nHost a\n",
        "Include config config config\nHost a\n",
        "Host a" + " " * 500_000 + "!b" + " " * 500_000 + "\n",
    ],
)
def test_an_odd_configuration_is_read_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    start = time.monotonic()
    assert [h.name for h in configured_hosts(tmp_path / "config")] == ["a"]
    assert time.monotonic() - start < 5
