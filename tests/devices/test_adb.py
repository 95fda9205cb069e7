"""Phones by adb: the real adb, and a real adbd in an Android-like root for Arm on loopback."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from make_model import tiny_int8
from phone.line import Line
from phone.stand_in import Adb, Phone

from edgeq.cli import run as edgeq_run
from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    DevicePermission,
    EdgeqError,
    MissingProgram,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.machines import deploy, folder_of, remove
from edgeq.probe import probe, read_state
from edgeq.results import read_results
from edgeq.transports.adb import ADB_LIMIT, FOLDER, AdbMachine, list_adb

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
    "%s%n",
)

_WHEEL = importlib.util.find_spec("adbutils")
PROGRAMS = {
    "debian": shutil.which("adb"),
    "wheel": str(Path(_WHEEL.origin).parent / "binaries/adb") if _WHEEL and _WHEEL.origin else None,
}


@pytest.fixture(scope="module")
def shared_adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    with Adb(tmp_path_factory.mktemp("shared") / "adb") as adb:
        yield adb


@pytest.fixture(scope="module")
def switched_on(shared_adb: Adb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    with Phone(shared_adb, tmp_path_factory.mktemp("phone") / "phone") as phone:
        yield phone


@pytest.fixture
def phone(switched_on: Phone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """One that several tests use, and leave as it was."""
    switched_on.adb.use(monkeypatch)
    yield switched_on
    assert_idle(switched_on)
    shutil.rmtree(switched_on.files / FOLDER[1:], ignore_errors=True)


@pytest.fixture
def machine(phone: Phone) -> Iterator[AdbMachine]:
    machine = AdbMachine(phone.serial)
    machine.open()
    yield machine
    machine.close()


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adb]:
    """With a server of its own, and no device yet."""
    with Adb(tmp_path / "adb") as adb:
        adb.use(monkeypatch)
        yield adb


@pytest.fixture
def own(adb: Adb, tmp_path: Path) -> Iterator[Phone]:
    """One that the test may break: the only one of its adb."""
    with Phone(adb, tmp_path / "own", disk="3m") as phone:
        yield phone


@pytest.fixture(params=PROGRAMS)
def any_adb(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Phone]:
    """A phone and one adb program after the other."""
    program = PROGRAMS[request.param]
    if program is None:
        pytest.skip(f"no adb of {request.param}: pip install adbutils")
    with Adb(tmp_path / "adb", program) as adb, Phone(adb, tmp_path / "own") as phone:
        adb.use(monkeypatch)
        yield phone
        assert_idle(phone)


def opened(phone: Phone) -> AdbMachine:
    machine = AdbMachine(phone.serial)
    machine.open()
    return machine


def assert_idle(phone: Phone) -> None:
    """Nothing runs on it but adbd."""
    end = time.monotonic() + 10
    while found := phone.processes():
        if time.monotonic() > end:
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found]
            pytest.fail(f"still running on the phone: {commands}")
        time.sleep(0.05)


def files_on(phone: Phone) -> list[str]:
    folder = phone.files / "data/local/tmp"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# --- Commands ----------------------------------------------------------------------------------


def test_a_command_push_and_program_by_either_adb(any_adb: Phone) -> None:
    machine = opened(any_adb)
    ended = machine.run("uname -m; echo oops >&2; exit 7", 60)
    assert (ended.code, ended.output, ended.errors) == (7, b"aarch64\n", b"oops\n")
    content = bytes(range(256)) * 20_000
    machine.push({"a b": content}, f"{machine.folder}/x")
    assert (any_adb.files / FOLDER[1:] / "x/a b").read_bytes() == content
    echo = machine.start("exec cat", f"{machine.folder}/x")
    echo.open()
    try:
        echo.write(content[:200_000])
        got = b""
        while len(got) < 200_000 and (data := echo.read(60)):
            got += data
        assert got == content[:200_000]
    finally:
        echo.close()


@pytest.mark.parametrize(
    ("script", "code"), [("true", 0), ("exit 1", 1), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_an_exit_code_is_the_scripts_own(machine: AdbMachine, script: str, code: int) -> None:
    assert machine.run(script, 60).code == code


def test_a_missing_program_is_the_shells_127(machine: AdbMachine) -> None:
    ended = machine.run("no-such", 60)
    assert ended.code == 127 and b"no-such" in ended.errors


def test_a_script_has_nothing_to_read(machine: AdbMachine) -> None:
    assert machine.run("cat; echo end", 60).output == b"end\n"


def test_a_lot_of_output_is_bounded_by_either_adb(any_adb: Phone) -> None:
    script = "head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; exit 3"
    ended = opened(any_adb).run(script, 120)
    assert (ended.code, ended.output, ended.errors) == (3, bytes(65536), bytes(65536))


@pytest.mark.parametrize("size", range(65500, 65540, 3))
def test_the_end_of_stderr_is_the_scripts_own(machine: AdbMachine, size: int) -> None:
    ended = machine.run(f"head -c {size} /dev/zero >&2", 60)
    assert (ended.code, ended.errors) == (0, bytes(min(size, 65536)))


@pytest.mark.parametrize("word", ODD_NAMES)
def test_any_name_goes_through_unchanged(machine: AdbMachine, word: str) -> None:
    assert machine.run(f"printf %s {shlex.quote(word)}", 60).output == word.encode()


def test_a_late_script_is_ended_with_all_that_it_started(phone: Phone, machine: AdbMachine) -> None:
    start = time.monotonic()
    script = "sleep 1234 & setsid sleep 1235 & trap '' TERM INT HUP; sleep 1236"
    with pytest.raises(NoReply, match="did not end within 3 s") as e:
        machine.run(script, 3)
    assert time.monotonic() - start < 3 + 2 * ADB_LIMIT
    assert "it was ended" in e.value.message
    assert_idle(phone)
    assert machine.run("echo on", 60).output == b"on\n"


def test_endless_output_ends(phone: Phone, machine: AdbMachine) -> None:
    with pytest.raises(NoReply):
        machine.run("cat /dev/zero", 3)
    assert_idle(phone)


def test_what_it_is_and_how_it_is(machine: AdbMachine) -> None:
    facts = probe(machine)
    assert (facts.arch, facts.is_android) == ("aarch64", True)
    environment = facts.environment
    assert environment.device == "QEMU's qemu-aarch64 as edgeq Emulated Phone"
    assert (environment.abi, environment.sdk, environment.soc) == ("arm64-v8a", 34, "EQ1000")
    assert (environment.os or "").startswith("Android 14, Linux ")
    assert len(facts.max_khz) == os.cpu_count() and max(facts.max_khz.values()) == 2_400_000
    state = read_state(machine)
    assert (state.temperature_c, state.battery_percent) == (38.5, 87)
    assert (state.frequency_khz, state.thermal_status) == (1_200_000, 1)
    # QEMU 7.2 computes wrong numbers as the processor that it takes by default.
    assert machine.run("echo $QEMU_CPU", 60).output == b"cortex-a72\n"


def test_without_shell_v2_commands_and_files_work_and_programs_are_refused(
    phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Android 6: the real adb and adbd, but for the list of features."""
    real = shutil.which("adb")
    fake_adb(
        tmp_path, monkeypatch, f'case "$*" in *features*) echo cmd; exit ;; esac\nexec {real} "$@"'
    )
    machine = opened(phone)
    ended = machine.run("printf 'a\\nb'; echo oops >&2; exit 7", 60)
    assert (ended.code, ended.output, ended.errors) == (7, b"a\nboops\n", b"")
    assert machine.run("cat; head -c 10000000 /dev/zero", 60).output == bytes(65536)
    machine.push({"-x'": b"1"}, f"{FOLDER}/old")
    assert files_on(phone) == ["edgeq", "edgeq/old", "edgeq/old/-x'"]
    with pytest.raises(NoReply):
        machine.run("sleep 1234", 2)
    with pytest.raises(DeviceFault, match="shell_v2") as e:
        machine.start("cat", FOLDER)
    assert "Android 7" in (e.value.hint or "")


# --- Programs ----------------------------------------------------------------------------------


def test_a_program_that_ends_says_how(machine: AdbMachine) -> None:
    program = machine.start(
        "echo hi; echo first >&2; echo '\x1b[31mbad' >&2; exit 3", "/data/local/tmp"
    )
    program.open()
    got = b""
    with pytest.raises(DeviceLost) as e:
        while True:
            got += program.read(30)
    program.close()
    assert got == b"hi\n"
    assert e.value.message.endswith(r"ended with 3: \x1b[31mbad")


def test_a_program_in_no_folder(machine: AdbMachine) -> None:
    program = machine.start("exec cat", "/data/local/tmp/no such")
    program.open()
    with pytest.raises(DeviceLost, match="ended with 127"):
        while True:
            program.read(30)
    program.close()


def test_closing_ends_a_program_that_does_not_want_to(phone: Phone, machine: AdbMachine) -> None:
    program = machine.start("trap '' HUP TERM; setsid sleep 1237 & echo on; sleep 1238", "/")
    program.open()
    assert program.read(60) == b"on\n"
    assert phone.processes("sleep 1238")
    program.close()
    program.close()
    assert_idle(phone)


def test_nothing_said_is_no_error(machine: AdbMachine) -> None:
    program = machine.start("exec cat", "/")
    program.open()
    assert program.read(0.5) == b""
    program.close()


# --- Files -------------------------------------------------------------------------------------


def test_files_are_there_whole_and_may_be_executed(phone: Phone, machine: AdbMachine) -> None:
    files = {name: name.encode() * 1000 for name in ODD_NAMES}
    told: list[tuple[int, int]] = []
    folder = f"{FOLDER}/odd $(touch owned) 'x'"
    machine.push({"a b": b"before"}, folder)
    machine.push(files, folder, lambda what, done, total: told.append((done, total)))
    place = phone.files / folder[1:]
    assert {p.name: p.read_bytes() for p in place.iterdir()} == files
    assert {p.stat().st_mode & 0o777 for p in place.iterdir()} == {0o755}
    total = sum(map(len, files.values()))
    assert told == sorted(told) and told[-1] == (total, total)
    machine.push({"run": b"#!/system/bin/sh\necho ran\n"}, folder)
    assert machine.run(f"cd {shlex.quote(folder)} && ./run", 60).output == b"ran\n"
    assert not list(phone.files.glob("data/local/tmp/**/owned")) and not Path("owned").exists()


def test_a_slow_line_only_takes_longer(own: Phone) -> None:
    content = bytes(range(256)) * 2000
    with Line(own.port, delay=0.02) as line:
        machine = AdbMachine(line.serial)
        machine.open()
        start = time.monotonic()
        machine.push({"a": content}, f"{FOLDER}/x")
        assert time.monotonic() - start > 1
        assert (own.files / FOLDER[1:] / "x/a").read_bytes() == content
        echo = machine.start("exec cat", f"{FOLDER}/x")
        echo.open()
        echo.write(b"on\n")
        assert echo.read(60) == b"on\n"
        echo.close()
        own.adb.run("disconnect", line.serial)
    assert_idle(own)


# --- Which one ---------------------------------------------------------------------------------


def test_auto_is_the_only_one_or_androids_own_choice(
    own: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = AdbMachine("auto")
    machine.open()
    assert machine.name == own.address
    with Phone(own.adb, tmp_path / "second") as second:
        with pytest.raises(UsageError, match="2 devices, and edgeq does not guess") as e:
            AdbMachine("auto").open()
        assert own.address in (e.value.hint or "") and second.address in (e.value.hint or "")
        monkeypatch.setenv("ANDROID_SERIAL", second.serial)
        machine = AdbMachine("auto")
        machine.open()
        assert machine.name == second.address
        machine.run("echo x > /data/local/tmp/here", 60)
        assert files_on(second) == ["here"] and files_on(own) == []
        monkeypatch.setenv("ANDROID_SERIAL", "R58OFF")
        with pytest.raises(NoDevice, match="no R58OFF, which ANDROID_SERIAL names") as lost:
            AdbMachine("auto").open()
        assert own.address in (lost.value.hint or "")


def test_what_adb_is_not_connected_to_yet_is_connected(own: Phone) -> None:
    own.adb.run("disconnect", own.serial)
    assert opened(own).run("echo on", 60).output == b"on\n"


def test_a_phone_that_came_back_is_connected_again(own: Phone) -> None:
    machine = opened(own)
    own.switch_off()
    with pytest.raises(DeviceLost):
        machine.run("true", 30)
    own.switch_on()
    assert opened(own).run("echo on", 60).output == b"on\n"


def test_the_list_has_all_of_them_with_what_to_do(own: Phone, tmp_path: Path) -> None:
    with Phone(own.adb, tmp_path / "secure", secure=True) as secure:
        found = {d.serial: d for d in list_adb()}
    ready, locked = found[own.serial], found[secure.serial]
    assert (ready.state, ready.model, ready.next_step) == ("device", "Emulated Phone", None)
    assert ready.address == own.address
    assert locked.state == "unauthorized" and "allow USB debugging" in (locked.next_step or "")


# --- Bundles -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("needs aarch64-linux-gnu-gcc: apt-get install gcc-aarch64-linux-gnu")
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    command = ["build", str(folder / "tiny.tflite"), "-t", "android", "--engine", "aot"]
    assert edgeq_run([*command, "-o", str(folder)]) == 0
    return folder / "android"


def test_a_bundle_runs_on_the_phone_and_leaves_nothing(
    bundle: Path, phone: Phone, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    command = ["bench", str(bundle), "--device", phone.address, "--cores", "big"]
    code = edgeq_run([*command, "--num-runs", "20", "--json", str(results)])
    out, err = capfd.readouterr()
    assert code == 0, err
    (measured,) = read_results(results).measurements
    environment = measured.environment
    assert environment is not None
    assert environment.emulator == "QEMU's qemu-aarch64"
    assert "QEMU" in (environment.device or "") and environment.abi == "arm64-v8a"
    cores = os.cpu_count() or 1
    big = f"{cores // 2}" if cores < 3 else f"{cores // 2}-{cores - 1}"
    assert environment.pinned == big or cores == 1
    assert "8 equal" in out
    assert_idle(phone)
    assert files_on(phone) == []


def test_files_that_are_there_are_not_sent_again_unless_they_are_wrong(
    phone: Phone, machine: AdbMachine
) -> None:
    files = {"runner": bytes(1000), "model.tflite": b"model"}
    folder = folder_of(machine, files)
    place = phone.files / folder[1:]
    deploy(machine, files, folder)
    before = {p.name: p.stat().st_ino for p in place.iterdir()}
    deploy(machine, files, folder)
    assert {p.name: p.stat().st_ino for p in place.iterdir()} == before
    (place / "runner").write_bytes(b"broken")
    deploy(machine, files, folder)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == files
    assert (place / "model.tflite").stat().st_ino == before["model.tflite"]
    remove(machine, folder)
    assert files_on(phone) == []


# --- Faults ------------------------------------------------------------------------------------


def fake_adb(folder: Path, patch: pytest.MonkeyPatch, script: str) -> None:
    """A program `adb` for what the real one does not do on demand."""
    bin_folder = folder / "fake-bin"
    bin_folder.mkdir(exist_ok=True)
    program = bin_folder / "adb"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    patch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Fault:
    """`cause` breaks the phone and does what fails with `error`, within `limit` seconds. Only a
    phone that is `mute` for good keeps what had got there."""

    name: str
    cause: Callable[[Phone, Path], None]
    error: type[EdgeqError]
    message: str
    hint: str
    limit: float
    mute: bool = False


def unauthorized(phone: Phone, folder: Path) -> None:
    with Phone(phone.adb, folder / "secure", secure=True) as secure:
        opened(secure)


def off(phone: Phone, folder: Path) -> None:
    phone.switch_off()
    opened(phone)


def other_serial(phone: Phone, folder: Path) -> None:
    AdbMachine("R58M12345").open()


def off_in_mid_run(phone: Phone, folder: Path) -> None:
    machine = opened(phone)
    later = threading.Timer(1, phone.switch_off)
    later.start()
    try:
        machine.run("sleep 1240", 60)
    finally:
        later.join()


def off_in_mid_program(phone: Phone, folder: Path) -> None:
    program = opened(phone).start("exec cat", "/")
    program.open()
    try:
        program.write(b"on")
        assert program.read(60) == b"on"
        phone.switch_off()
        program.read(60)
    finally:
        program.close()


def disconnected_in_mid_run(phone: Phone, folder: Path) -> None:
    machine = opened(phone)
    later = threading.Timer(1, lambda: phone.adb.run("disconnect", phone.serial))
    later.start()
    try:
        machine.run("sleep 1241", 60)
    finally:
        later.join()


def server_killed_in_mid_run(phone: Phone, folder: Path) -> None:
    machine = opened(phone)
    later = threading.Timer(1, lambda: phone.adb.run("kill-server"))
    later.start()
    try:
        machine.run("sleep 1242", 60)
    finally:
        later.join()


def off_in_mid_push(phone: Phone, folder: Path) -> None:
    with Line(phone.port) as line:
        machine = AdbMachine(line.serial)
        machine.open()
        line.after(400_000, phone.switch_off)
        try:
            machine.push({"a": bytes(2_000_000)}, f"{FOLDER}/x")
        finally:
            phone.adb.run("disconnect", line.serial)


def line_breaks_in_mid_push(phone: Phone, folder: Path) -> None:
    with Line(phone.port) as line:
        machine = AdbMachine(line.serial)
        machine.open()
        line.after(400_000, line.pull)
        try:
            machine.push({"a": bytes(2_000_000)}, f"{FOLDER}/x")
        finally:
            phone.adb.run("disconnect", line.serial)


def full_disk(phone: Phone, folder: Path) -> None:
    opened(phone).push({"small": b"x", "large": bytes(5_000_000)}, f"{FOLDER}/x")


def no_permission(phone: Phone, folder: Path) -> None:
    opened(phone).push({"a": b"x"}, "/system/bin")


def answers_nothing(phone: Phone, folder: Path) -> None:
    machine = opened(phone)
    phone.freeze()
    try:
        machine.run("true", 2)
    finally:
        phone.thaw()


def takes_no_file(phone: Phone, folder: Path) -> None:
    with Line(phone.port) as line:
        machine = AdbMachine(line.serial)
        machine.open()
        line.after(400_000, phone.freeze)
        later = threading.Timer(3, line.pull)
        later.start()
        try:
            machine.push({"a": bytes(2_000_000)}, f"{FOLDER}/x")
        finally:
            later.join()
            phone.thaw()
            phone.adb.run("disconnect", line.serial)


LOOSE = "cable or Wi-Fi"

FAULTS = (
    Fault("unauthorized", unauthorized, DevicePermission, "has not allowed", "unlock it", 30),
    Fault("off", off, NoDevice, "Connection refused", "is it on", 30),
    Fault(
        "other serial", other_serial, NoDevice, "adb:R58M12345: adb sees no such", "adb sees ", 30
    ),
    Fault("off in a run", off_in_mid_run, DeviceLost, "connection broke", LOOSE, 40),
    Fault("off in a program", off_in_mid_program, DeviceLost, "connection broke", LOOSE, 40),
    Fault("disconnected", disconnected_in_mid_run, DeviceLost, "connection broke", LOOSE, 40),
    Fault("server killed", server_killed_in_mid_run, DeviceLost, "connection broke", "", 40),
    Fault("off in a push", off_in_mid_push, DeviceLost, "connection broke", LOOSE, 60),
    Fault("line breaks in a push", line_breaks_in_mid_push, DeviceLost, "connection broke", "", 60),
    Fault("full disk", full_disk, DeviceFault, "No space left on device", "df", 30),
    Fault("no permission", no_permission, DeviceFault, "Permission denied", "may the shell", 30),
    Fault(
        "answers nothing", answers_nothing, NoReply, "did not end within 2 s", "still run there", 40
    ),
    Fault("takes no file", takes_no_file, DeviceLost, "connection broke", "", 60, mute=True),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[f.name for f in FAULTS])
def test_a_fault_is_told_in_time_and_leaves_nothing(
    fault: Fault, own: Phone, tmp_path: Path
) -> None:
    start = time.monotonic()
    with pytest.raises(fault.error) as e:
        fault.cause(own, tmp_path)
    assert time.monotonic() - start < fault.limit
    assert type(e.value) is fault.error
    assert fault.message in e.value.message
    assert fault.hint in (e.value.hint or "") and e.value.hint
    own.adb.run("devices")
    if own.is_on:
        own.connect()
        assert_idle(own)
        assert fault.mute or [n for n in files_on(own) if n != "edgeq"] == []


USB_STATES = (
    ("offline", NoReply, "does not answer", "reconnect offline"),
    ("authorizing", DevicePermission, "has not allowed", "unlock"),
    (
        "no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]",
        DevicePermission,
        "may not open",
        "udev",
    ),
    ("no permissions", DevicePermission, "may not open", "udev"),
    ("recovery", DeviceFault, "in recovery", "reboot"),
    ("sideload", DeviceFault, "in sideload", "reboot"),
    ("bootloader", DeviceFault, "in bootloader", "reboot"),
    ("host", DeviceFault, "adb: host", "restart"),
)


@pytest.mark.parametrize(("state", "error", "message", "hint"), USB_STATES)
def test_each_state_of_a_usb_phone_has_its_message(
    state: str,
    error: type[EdgeqError],
    message: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A double: the real adb shows them of a phone at a cable only."""
    monkeypatch.setattr("edgeq.transports.adb._SETTLE_LIMIT", 0.5)
    line = f"R58M12345              {state} usb:1-1 transport_id:1"
    fake_adb(
        tmp_path, monkeypatch, f"echo List of devices attached; echo {shlex.quote(line)}; echo"
    )
    for place in ("auto", "R58M12345"):
        with pytest.raises(error, match=re.escape(message)) as e:
            AdbMachine(place).open()
        assert type(e.value) is error and hint in (e.value.hint or "")
        assert "adb:R58M12345" in e.value.message
    (listed,) = list_adb()
    assert hint in (listed.next_step or "") and listed.serial == "R58M12345"


def test_no_device(adb: Adb) -> None:
    with pytest.raises(NoDevice, match="adb sees no device") as e:
        AdbMachine("auto").open()
    assert "USB debugging" in (e.value.hint or "")
    assert list_adb() == []


def test_no_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (AdbMachine("auto").open, list_adb):
        with pytest.raises(MissingProgram, match="adb is not installed") as e:
            call()
        assert "apt install adb" in (e.value.hint or "") and e.value.exit_code == 2


def test_adb_of_an_sdk_is_found(
    phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "sdk/platform-tools"
    tools.mkdir(parents=True)
    real = shutil.which("adb")
    assert real
    (tools / "adb").symlink_to(real)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    assert phone.serial in [d.serial for d in list_adb()]


def test_a_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else has its port, takes connections and says nothing."""
    with Adb(tmp_path / "adb") as adb, socket.create_server(("127.0.0.1", 0)) as mute:
        adb.use(monkeypatch)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(mute.getsockname()[1]))
        start = time.monotonic()
        with pytest.raises(NoReply, match="adb's server did not answer") as e:
            AdbMachine("auto").open()
        assert time.monotonic() - start < ADB_LIMIT + 10
        assert "adb kill-server" in (e.value.hint or "")


@pytest.mark.parametrize("port", ["0", "65536", "x; rm -rf", "\x1b[31m"])
def test_a_port_that_is_none(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    with pytest.raises(UsageError, match="ANDROID_ADB_SERVER_PORT is") as e:
        list_adb()
    assert "\x1b" not in e.value.message


@pytest.mark.parametrize("place", ["", "a b", "a\nb", "x" * 300])
def test_a_place_that_is_none(place: str) -> None:
    with pytest.raises(UsageError, match="no serial number"):
        AdbMachine(place)


# --- A hostile device --------------------------------------------------------------------------

HOSTILE = (
    "$(touch owned)",
    "`touch owned`",
    "a;touch${IFS}owned",
    "'\"|touch\\",
    "-s",
    "--help",
    "\x1b]0;owned\x07\x1b[2J",
    "\u202egnp.exe",
    "\xff\xfe",
)


@pytest.mark.parametrize("serial", HOSTILE)
def test_a_hostile_serial_number_runs_nothing_and_shows_as_text(
    serial: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A double of adb that tells what arguments it got: no phone has such a serial number."""
    monkeypatch.chdir(tmp_path)
    line = f"{serial}  device product:x model:{serial.split()[0]} device:y transport_id:1\n"
    (tmp_path / "devices").write_bytes(b"List of devices attached\n" + line.encode())
    fake_adb(
        tmp_path,
        monkeypatch,
        f'printf "%s\\n" "$@" >> {tmp_path}/arguments\n'
        f'case "$*" in *devices*) cat {tmp_path}/devices ;; *features*) echo shell_v2 ;; esac',
    )
    machine = AdbMachine("auto")
    machine.open()
    with pytest.raises(DeviceError) as e:
        machine.run("true", 10)
    (found,) = list_adb()
    shown = [machine.name, e.value.message, found.address, found.state, found.model or ""]
    assert all(text.isascii() and text.isprintable() for text in shown)
    assert not (tmp_path / "owned").exists()
    arguments = (tmp_path / "arguments").read_bytes().split(b"\n")
    sent = arguments[arguments.index(b"features") - 1]
    assert sent == serial.encode()


@pytest.mark.parametrize(
    "output",
    [
        "head -c 10000000 /dev/zero | tr '\\0' x",
        "echo 'List of devices attached'; head -c 10000000 /dev/zero | tr '\\0' ' '; echo device",
        "printf x; head -c 10000000 /dev/zero | tr '\\0' ' '",
        "yes 'R58M1 device model:x'",
        "cat /dev/urandom",
    ],
)
def test_output_of_adb_without_an_end_or_a_line_end(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeq.transports.adb.ADB_LIMIT", 3.0)
    fake_adb(tmp_path, monkeypatch, output)
    start = time.monotonic()
    for call in (list_adb, AdbMachine("auto").open):
        try:
            call()
        except EdgeqError as e:
            assert len(e.message) < 1000 and e.message.isprintable()
    assert time.monotonic() - start < 30


HOSTILE_GETPROP = r"""#!/system/bin/sh
case $1 in
ro.product.manufacturer) head -c 10000000 /dev/zero | tr '\0' x ;;
ro.product.model) printf '\033]0;owned\007$(touch owned)`touch owned`;touch owned' ;;
ro.product.cpu.abi) echo arm64-v8a ;;
ro.build.version.sdk) echo '34; rm -rf /' ;;
ro.build.version.release) yes '\342\200\256 endless' ;;
ro.soc.model) printf 'x\rend=1\033[A\nmachine=x86_64' ;;
esac
"""


def test_hostile_properties_are_text(
    adb: Adb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"system/bin/getprop": HOSTILE_GETPROP}
    with Phone(adb, tmp_path / "hostile", files=files) as phone:
        facts = probe(opened(phone))
        assert_idle(phone)
        assert not list(phone.files.glob("data/local/tmp/**/owned"))
    assert facts.environment.sdk is None and facts.arch == "aarch64"
    texts = [facts.environment.device, facts.environment.os, facts.environment.soc]
    assert all(text and text.isprintable() and len(text) < 700 for text in texts)
    assert not (tmp_path / "owned").exists()


def test_hostile_errors_of_a_device_are_text(machine: AdbMachine) -> None:
    """What adbd says of a file is the device's word."""
    folder = "/data/local/tmp/\x1b[31m$(touch owned)/\x07"
    machine.run("echo x > /data/local/tmp/file", 60)
    try:
        with pytest.raises(DeviceFault) as e:
            machine.push({"a": b"x"}, f"/data/local/tmp/file/{folder}")
        assert e.value.message.isprintable() and "Not a directory" in e.value.message
    finally:
        machine.run("rm /data/local/tmp/file", 60)
