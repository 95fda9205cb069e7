"""A bundle on a computer: put there, proved, measured, taken away. The computer is this one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from make_model import tiny_int8

from edgeq.boards import bench_board, evaluate_board
from edgeq.building import build
from edgeq.bundle import open_bundle
from edgeq.cli import run as edgeq
from edgeq.deployment import Recipe
from edgeq.errors import BundleError, DeviceFault, DeviceLost, EdgeqError, Garbage, UsageError
from edgeq.fleet import Timed, bench_devices
from edgeq.labs import Device
from edgeq.litert_runner import _installed as installed
from edgeq.machines import MachinePlace, Runner, core_mask, deploy, folder_of
from edgeq.pipeline import Data
from edgeq.places import MachineOptions, place_of
from edgeq.probe import probe, read_state
from edgeq.report import measurement_notes
from edgeq.targets import load_target
from edgeq.tflite import read_graph
from edgeq.transports.adb import AdbDevice
from edgeq.transports.local import LocalMachine
from edgeq.transports.machine import Ended

HOST = load_target("host")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    return build(folder / "tiny.tflite", [HOST], output=folder / "b", engine="aot")[0].folder


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where LocalMachine puts its folders."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def aot(machine, facts, bundle, target):
    return Runner({"runner": bundle.runner}, ("./runner",))


def local(**options) -> MachinePlace:
    return MachinePlace(LocalMachine(), aot, **options)


def test_a_runner_is_proved_measured_and_taken_away(bundle, temporary):
    run = bench_board(bundle, local(), runs=20, profile=True)
    m = run.measurement
    assert (m.checks.equal, m.checks.count, m.unit) == (8, 8, "ns")
    assert m.summary.count >= 20 and m.environment.engine_version == "ABI 1"
    assert m.environment.arch == "x86_64" and m.environment.before.load_average is not None
    graph = read_graph(open_bundle(bundle).tflite, "tiny")
    assert run.profile is not None and len(run.profile.layers) == len(graph.main.ops)
    assert not list(temporary.iterdir()), "files stay"


def test_files_stay_when_they_are_to_be_kept(bundle, temporary):
    bench_board(bundle, local(keep=True), runs=5)
    assert [p.name for p in temporary.rglob("runner")] == ["runner"]


def test_seconds_are_a_lower_bound_and_a_slowdown_is_told(bundle, temporary):
    run = bench_board(bundle, local(), runs=1, seconds=0.5, sustained=True)
    assert sum(run.measurement.samples) > 0.1e9
    slowdown = {m.name: m for m in run.measurement.metrics}["slowdown"]
    assert 0.2 < slowdown.value < 5 and slowdown.better == "lower"


def test_every_sample_of_a_data_set(bundle, temporary, tmp_path):
    graph_inputs = open_bundle(bundle).golden().inputs
    np.savez(tmp_path / "d.npz", x=np.concatenate([s[0] for s in graph_inputs]).astype(np.float32))
    found = evaluate_board(bundle, Data(evaluation=tmp_path / "d.npz"), local())
    assert (found.samples, found.equal, found.tolerance) == (8, 8, (0.0,))


def test_what_is_there_and_right_stays_and_anything_else_is_sent(temporary):
    machine, sent = LocalMachine(), []
    machine.open()
    files = {"a": b"alpha", "b": bytes(1000)}
    folder = folder_of(machine, files)
    deploy(machine, files, folder, lambda what, done, total: sent.append(total))
    assert sent[-1] == 1005
    sent.clear()
    deploy(machine, files, folder, lambda what, done, total: sent.append(total))
    assert not sent
    (Path(folder) / "a").write_bytes(b"alphA")
    deploy(machine, files, folder, lambda what, done, total: sent.append(total))
    assert sent == [5] and (Path(folder) / "a").read_bytes() == b"alpha"
    shutil.rmtree(folder)
    machine.close()


def test_a_name_that_leaves_the_folder_is_never_sent(temporary):
    machine = LocalMachine()
    machine.open()
    for name in ("../x", "-rf", "a b", "$(reboot)", ""):
        with pytest.raises(BundleError, match="no name for a file"):
            deploy(machine, {name: b""}, machine.folder + "/x")
    machine.close()


def test_storage_that_keeps_other_bytes_is_noticed(temporary):
    class Rotten(LocalMachine):
        def push(self, files, folder, progress=None):
            super().push({name: b"rot" for name in files}, folder, progress)

    machine = Rotten()
    machine.open()
    with pytest.raises(DeviceFault, match="a is not what was sent"):
        deploy(machine, {"a": b"alpha"}, f"{machine.folder}/f")
    shutil.rmtree(machine.folder)
    machine.close()


def test_a_target_for_another_processor_is_refused_with_the_right_one(bundle, temporary):
    with pytest.raises(UsageError, match="local is x86_64, and rpi is for aarch64"):
        with local().session(load_target("rpi"), open_bundle(bundle)):
            pass
    with pytest.raises(UsageError, match="cortex-m4 is a microcontroller"):
        local().check(load_target("cortex-m4"))
    assert not list(temporary.iterdir())


def test_a_runner_that_cannot_run_is_one_error_and_leaves_nothing(bundle, temporary):
    def broken(machine, facts, bundle, target):
        return Runner({"runner": b"#!/bin/sh\necho no such library >&2\nexit 3\n"}, ("./runner",))

    with pytest.raises(DeviceLost, match="ended with 3: no such library"):
        bench_board(bundle, MachinePlace(LocalMachine(), broken), runs=1)
    assert not list(temporary.iterdir())


def test_cores_by_their_speed_or_by_a_mask():
    phone = {0: 1800, 1: 1800, 2: 1800, 3: 1800, 4: 2400, 5: 2400, 6: 2400, 7: 2800}
    assert core_mask("big", phone, "phone") == 0x80
    assert core_mask("little", phone, "phone") == 0x0F
    assert core_mask("f0", phone, "phone") == core_mask("0xF0", phone, "phone") == 0xF0
    for cores, said in (
        ("big", "no big and little cores"),
        ("0", "not understood"),
        ("4-7", "4-7"),
    ):
        with pytest.raises(UsageError, match=said):
            core_mask(cores, {0: 1800, 1: 1800}, "pi")


def test_a_run_can_be_kept_on_a_core(bundle, temporary):
    m = bench_board(bundle, local(cores="1"), runs=5).measurement
    assert m.environment.pinned == "0"
    with pytest.raises(DeviceFault, match="does not keep a process on the cores 63"):
        bench_board(bundle, local(cores=f"{1 << 63:x}"), runs=5)
    assert not list(temporary.iterdir())


# --- What a machine says of itself ---------------------------------------------------------------


def test_this_computer_says_what_it_is():
    machine = LocalMachine()
    machine.open()
    facts, state = probe(machine), read_state(machine)
    machine.close()
    assert (facts.arch, facts.is_android, facts.emulator) == ("x86_64", False, None)
    assert facts.python and facts.environment.cores and facts.environment.os
    names = re.findall(r"^model name\s*: *(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert facts.environment.cpu == names[0].strip()
    assert state.load_average is not None


class Said:
    """A machine whose shell says what a test wants; the real ones do not lie on demand."""

    name = "adb:X"

    def __init__(self, output: bytes) -> None:
        self.output = output

    def run(self, script: str, time_limit: float) -> Ended:
        return Ended(0, self.output, b"")


PHONE = b"""machine=aarch64
kernel=Linux 5.15.0
cores=8
part=0xd05 0xd05 0xd41
exe=/system/bin/sh
ro.product.manufacturer=ACME
ro.product.model=Phone 9
ro.product.cpu.abi=arm64-v8a
ro.build.version.sdk=34
ro.build.version.release=14
ro.soc.model=SM8550
cpu0.cpuinfo_max_freq=1800000
cpu0.scaling_governor=walt
cpu7.cpuinfo_max_freq=3000000
cpu7.scaling_governor=walt
end=1
"""


def test_a_phone():
    facts = probe(Said(PHONE))
    e = facts.environment
    assert (facts.arch, facts.is_android, facts.max_khz) == (
        "aarch64",
        True,
        {0: 1800000, 7: 3000000},
    )
    assert (e.device, e.os, e.soc, e.abi, e.sdk) == (
        "ACME Phone 9", "Android 14, Linux 5.15.0", "SM8550", "arm64-v8a", 34,
    )  # fmt: skip
    assert (e.cpu, e.governor) == ("Cortex-A55 + Cortex-A78", "walt")


def test_a_phone_under_emulation_is_none():
    facts = probe(Said(PHONE.replace(b"/system/bin/sh", b"/usr/bin/qemu-aarch64-static")))
    assert facts.emulator == "QEMU's qemu-aarch64"
    assert facts.environment.device == "QEMU's qemu-aarch64 as ACME Phone 9"


def test_states():
    state = read_state(
        Said(
            b"frequency=1800000 \nfrequency=3000000 \nzone.battery=99000 \nzone.cpu-0-0=51200 \n"
            b"zone.cpu-bad=-274000\nload=0.5 0.4 0.3 1/2 3\nthrottled=throttled=0x50005\n"
            b"level=  level: 87\nthermal=Thermal Status: 2\nend=1\n"
        )
    )
    assert (state.frequency_khz, state.temperature_c, state.load_average) == (3000000, 51.2, 0.5)
    assert (state.pi_throttled, state.thermal_status, state.battery_percent) == (0x50005, 2, 87)


@pytest.mark.parametrize(
    "value",
    [
        b"\x1b[2J\x1b]0;owned\x07",
        b"x" * 100_000,
        b"\xff\xfe",
        b"=" * 50,
        b"\x00",
        b"; rm -rf /",
        b"",
    ],
)
def test_a_hostile_answer_is_text_of_some_length_or_nothing(value):
    said = PHONE
    for key in (b"Phone 9", b"34", b"3000000", b"SM8550", b"0xd05 0xd05 0xd41", b"8\n"):
        said = said.replace(key, value)
    facts = probe(Said(said))
    text = json.dumps([facts.environment.device, facts.environment.soc, facts.environment.cpu])
    assert "\\u001b" not in text and len(text) < 1000
    read_state(
        Said(b"load=" + value + b"\nfrequency=" + value + b"\nthrottled=" + value + b"\nend=1")
    )


def test_a_shell_that_cannot_say_it_is_an_error():
    with pytest.raises(DeviceFault, match="could not say what machine it is") as e:
        probe(Said(b"sh: uname: not found\n"))
    assert "POSIX sh" in e.value.hint


# --- Several at once, and the command line -----------------------------------------------------


def test_devices_side_by_side_and_one_that_fails(bundle, temporary):
    failures = []

    def places(device, target):
        if device.name == "broken":
            return MachinePlace(LocalMachine(), lambda *_: Runner({"runner": b""}, ("./none",)))
        return place_of(device, target, MachineOptions(), notice=print)

    devices = [Device(name, "local") for name in ("one", "broken", "two")]
    runs = bench_devices(
        [bundle], devices, places, timed=Timed(runs=5, seconds=0.1),
        failed=lambda name, error: failures.append((name, error)),
    )  # fmt: skip
    assert [r.measurement.checks.equal for r in runs] == [8, 8]
    assert [name for name, _ in failures] == ["broken"]
    assert isinstance(failures[0][1], EdgeqError)
    assert not list(temporary.iterdir())


def test_a_runner_for_another_processor_is_not_sent(bundle, temporary):
    other = bundle.parent / "another processor"
    shutil.copytree(bundle, other)
    program = bytearray((other / "runner").read_bytes())
    program[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    (other / "runner").write_bytes(program)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["files"]["runner"] = hashlib.sha256(program).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    place = place_of(Device("local", "local"), HOST, MachineOptions(), notice=print)
    with (
        pytest.raises(UsageError, match="runner is for aarch64 .* the device is x86_64"),
        place.session(HOST, open_bundle(other)),
    ):
        pass
    assert not list(temporary.iterdir())


def test_bench_on_a_device(bundle, temporary, tmp_path, capsys):
    result = tmp_path / "r.json"
    assert (
        edgeq(["bench", str(bundle), "--device", "local", "--json", str(result), "--min-secs", "0"])
        == 0
    )
    assert "8 equal" in capsys.readouterr().out
    written = json.loads(result.read_text())
    assert written["measurements"][0]["engine"] == "aot"
    assert edgeq(["compare", str(result), str(result)]) == 0


def test_a_bundle_of_this_computer_s_own_runner_needs_no_device(bundle, temporary, capsys):
    assert edgeq(["bench", str(bundle), "--min-secs", "0"]) == 0
    assert "aot" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "local", "--sim"], "--sim and --device exclude each other"),
        (["--device", "local", "--device", "local"], "local is named twice"),
        (["--device", "phon"], "no device 'phon'"),
        (["--device", "local", "--cores", ""], "--cores is empty"),
        (["--device", "adb:auto"], "adb:auto is none of what was built"),
    ],
)
def test_devices_that_do_not_fit_are_said(bundle, arguments, said, capsys):
    assert edgeq(["bench", str(bundle), *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--cores", "big"], ["--keep"], ["--sustained", "3"]])
def test_options_of_devices_need_one(tiny_model, option, capsys):
    assert edgeq(["bench", str(tiny_model), *option]) == 2
    assert f"{option[0]} goes with --device" in capsys.readouterr().err


def test_eval_on_a_device(bundle, temporary, tmp_path, capsys):
    inputs = [sample[0] for sample in open_bundle(bundle).golden().inputs]
    np.savez(tmp_path / "d.npz", x=np.concatenate(inputs).astype(np.float32))
    data = ["--data", str(tmp_path / "d.npz")]
    assert edgeq(["eval", str(bundle), *data, "--device", "local"]) == 0
    out = capsys.readouterr().out
    assert "8 of 8 equal those of TensorFlow Lite Micro" in out and "byte for byte" in out
    assert edgeq(["eval", str(bundle), *data, "--device", "local", "--sim"]) == 2
    assert edgeq(["eval", str(bundle), *data, "--cores", "1"]) == 2


# --- Ctrl-C ---------------------------------------------------------------------------------------


def interrupted_after(
    seconds: float, arguments: list[str], folder: Path, number: int = signal.SIGINT
) -> tuple[int, float]:
    """The exit code of edgeq after that signal, and how long it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeq", *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )
    try:
        end = time.monotonic() + 60
        while not list(folder.rglob("runner")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(seconds)
        assert process.poll() is None
        start = time.monotonic()
        process.send_signal(number)
        return process.wait(60), time.monotonic() - start
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_takes_everything_away(bundle, temporary, number):
    where = ["--device", "local", "--min-secs", "60"]
    code, took = interrupted_after(1.0, ["bench", str(bundle), *where], temporary, number)
    assert code == 130 and took < 15
    assert not list(temporary.iterdir()), "files stay"


def test_ctrl_c_ends_a_wait_for_a_program_that_says_nothing(bundle, temporary, tmp_path):
    silent = tmp_path / "silent"
    with_runner(bundle, silent, b"#!/bin/sh\nsleep 1000\n")
    code, took = interrupted_after(2.0, ["bench", str(silent), "--device", "local"], temporary)
    assert code == 130 and took < 10
    assert [p.name for p in temporary.iterdir()] == ["silent"]


def test_ctrl_c_leaves_a_device_that_answers_nothing_and_cleans_up_here(bundle, temporary):
    class Frozen(LocalMachine):
        closed = False

        def run(self, script, time_limit):
            if script.startswith("rm "):
                script = "sleep 100"
            return super().run(script, time_limit)

        def close(self):
            Frozen.closed = True
            super().close()

    start = time.monotonic()
    timer = threading.Timer(4, os.kill, [os.getpid(), signal.SIGINT])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup ignores it
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            bench_devices(
                [bundle], [Device("x", "local")], lambda d, t: MachinePlace(Frozen(), aot),
                timed=Timed(seconds=60),
            )  # fmt: skip
        assert Frozen.closed and time.monotonic() - start < 20
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def with_runner(bundle: Path, folder: Path, runner: bytes) -> None:
    """The bundle, with another runner that its manifest vouches for."""
    shutil.copytree(bundle, folder)
    (folder / "runner").write_bytes(runner)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["runner"] = hashlib.sha256(runner).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_runner_that_says_something_else_has_a_hint_for_a_program(bundle, temporary, tmp_path):
    with_runner(bundle, tmp_path / "odd", b"#!/bin/sh\nwhile :; do echo hello; done\n")
    with pytest.raises(Garbage, match="hello") as e:
        bench_board(tmp_path / "odd", local(), runs=1)
    assert "build it again" in e.value.hint and "port" not in e.value.hint


# --- What counts and what does not ----------------------------------------------------------------


def test_a_run_ends_after_so_many_seconds(bundle, temporary):
    m = bench_board(bundle, local(), runs=1_000_000, max_seconds=0.2).measurement
    assert 1 <= m.summary.count < 1_000_000


def test_more_time_than_runs_can_take_is_said(bundle, temporary, monkeypatch):
    monkeypatch.setattr("edgeq.session.MAX_RUNS", 100)
    m = bench_board(bundle, local(), runs=5, seconds=60, sustained=True).measurement
    assert any("100 runs are the most" in note for note in m.verdict.notes)
    assert any("the last tenth of the runs" in line for line in measurement_notes([m]))


def test_a_kept_file_that_may_not_be_executed_is_sent_again(temporary):
    machine, sent = LocalMachine(), []
    machine.open()
    folder = f"{machine.folder}/f"
    deploy(machine, {"a": b"alpha"}, folder)
    (Path(folder) / "a").chmod(0o600)
    deploy(machine, {"a": b"alpha"}, folder, lambda what, done, total: sent.append(total))
    assert sent and os.access(Path(folder) / "a", os.X_OK)
    (Path(folder) / "a").unlink()
    os.mkfifo(Path(folder) / "a")
    deploy(machine, {"a": b"alpha"}, folder)
    shutil.rmtree(folder)
    machine.close()


def test_options_that_are_nothing_to_the_engine_are_said(bundle, temporary, capsys):
    command = ["bench", str(bundle), "--device", "local", "--min-secs", "0"]
    assert edgeq([*command, "--num-threads", "4", "--litert-lib", "x"]) == 0
    said = capsys.readouterr().err
    assert "--num-threads, --litert-lib left out: nothing to engine aot" in said


def test_two_bundles_for_one_target_are_said(bundle, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "other")
    assert edgeq(["bench", str(bundle), str(tmp_path / "other"), "--device", "local"]) == 2
    said = capsys.readouterr().err
    assert "2 bundles are for host" in said and "name one of them" in said


def test_a_bundle_that_no_device_is_for_is_said(bundle, temporary):
    said = []
    rpi = load_target("rpi")
    device = Device("here", "local")
    tiny = bundle.parent.parent / "tiny.tflite"
    bench_devices(
        [tiny], [device], lambda d, t: local(), targets=[HOST, rpi], recipe=Recipe(engine="aot"),
        timed=Timed(runs=5), notice=said.append,
    )  # fmt: skip
    assert "nothing is measured for rpi: no --device is one" in said


def test_no_device_needs_no_project_file(bundle, temporary, tmp_path, monkeypatch, capsys):
    (tmp_path / "edgeq.toml").write_text("garbage [")
    monkeypatch.chdir(tmp_path)
    assert edgeq(["bench", str(bundle), "--min-secs", "0"]) == 0
    assert edgeq(["bench", str(bundle), "--sim"]) == 2
    assert (
        "--sim is not for a bundle that was compiled for this computer" in capsys.readouterr().err
    )


def test_no_temporary_folder_here_stops_no_other_device(bundle, temporary):
    class Full(LocalMachine):
        def open(self):
            raise OSError(28, "No space left on device")

    def places(device, target):
        machine = Full() if device.name == "full" else LocalMachine()
        return MachinePlace(machine, aot)

    failures = []
    runs = bench_devices(
        [bundle], [Device("full", "local"), Device("good", "local")], places,
        timed=Timed(runs=5), failed=lambda name, error: failures.append((name, error.message)),
    )  # fmt: skip
    assert len(runs) == 1
    assert failures == [("full", "a temporary file cannot be used: No space left on device")]


def test_an_interpreter_of_ones_own_is_never_to_be_removed(temporary):
    class NotThere(LocalMachine):
        def run(self, script, time_limit):
            return Ended(1, b"", b"")

    with pytest.raises(DeviceFault) as e:
        installed(NotThere(), "/usr/bin/python3", "ai-edge-litert")
    assert e.value.hint == "install it: /usr/bin/python3 -m pip install ai-edge-litert"


def test_an_error_names_its_device_once(bundle, monkeypatch, capsys):
    failures = [("ssh:x", DeviceFault("ssh:x: broken")), ("phone", DeviceFault("adb:1: broken"))]

    def failing(*args, failed, **more):
        for name, error in failures:
            failed(name, error)
        return []

    monkeypatch.setattr("edgeq.cli.bench_command.bench_devices", failing)
    assert edgeq(["bench", str(bundle), "--device", "local"]) == 1
    said = capsys.readouterr().err
    assert "error: ssh:x: broken" in said and "error: phone: adb:1: broken" in said


def test_what_to_do_next_can_be_pasted_whatever_a_phone_calls_itself(monkeypatch, capsys):
    phone = AdbDevice("x$(reboot)`id`;a", "device", None, None)
    monkeypatch.setattr("edgeq.cli.devices_command.list_adb", lambda: [phone])
    assert edgeq(["devices"]) == 0
    assert "--device 'adb:x$(reboot)`id`;a'" in " ".join(capsys.readouterr().out.split())
