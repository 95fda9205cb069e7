"""benchmark_model on this computer, as it would run on a phone: outputs first, then numbers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmark_model_build import build, tiny_bundle

from edgeq.benchmark_model import driver
from edgeq.benchmark_model.binary import abilities_of, open_binary
from edgeq.benchmark_model.driver import BenchmarkModelOptions, run_benchmark_model
from edgeq.benchmark_model.results import BenchmarkModelRun
from edgeq.benchmark_model.text import Stat
from edgeq.bundle import Bundle
from edgeq.errors import DeviceFault, MeasurementError, NoReply, UsageError
from edgeq.probe import Facts, probe
from edgeq.transports.local import LocalMachine

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("gcc"), reason="gcc for Linux is not installed"
)

OPTIONS = BenchmarkModelOptions(num_runs=60, warmup_runs=3, num_threads=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


Fake = Callable[..., Path]


@pytest.fixture(scope="module")
def fake(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Fake:
    folder = tmp_path_factory.mktemp("fake")

    def make(*defines: str) -> Path:
        path = folder / "-".join(["benchmark_model", *defines])
        return path if path.exists() else build(bundle, path, *defines)

    return make


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where LocalMachine puts its folders."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def run(
    bundle: Bundle, program: Path, options: BenchmarkModelOptions = OPTIONS, **more: Any
) -> BenchmarkModelRun:
    return run_benchmark_model(LocalMachine(), bundle, open_binary(program), options, **more)


def test_outputs_are_checked_and_the_numbers_are_its_own(
    bundle: Bundle, fake: Fake, places: Path
) -> None:
    noted: list[str] = []
    steps: list[str] = []
    result = run(
        bundle, fake(), notice=noted.append, progress=lambda step, done, total: steps.append(step)
    )
    assert (result.checks.count, result.checks.equal, result.checks.max_difference) == (4, 4, 0)
    assert result.checks.tolerance == (3,)
    assert result.summary == Stat(60, 1300, 1240, 1200, 1400, 1250.5, 20, 1210, 1250, 1390)
    assert (result.warmup.count, result.init_us, result.first_us) == (3, 3500, 1300)
    assert (result.footprint.init_mb, result.footprint.overall_mb) == (1.5, 2.5)
    assert [(d.name, d.share) for d in result.delegates] == [("XNNPACK", "unknown")]
    assert (result.flavour, result.environment.threads, result.notes) == ("classic", 2, ())
    digest = hashlib.sha256(fake().read_bytes()).hexdigest()
    assert result.binary_sha256 == digest and digest in noted[0]
    assert steps.count("checking outputs") == 4
    assert list(places.iterdir()) == []  # Nothing stays on the device.


def test_files_stay_when_they_are_to_be_kept(bundle: Bundle, fake: Fake, places: Path) -> None:
    run(bundle, fake(), keep=True)
    assert list(places.glob("*/*/benchmark_model")) and list(places.glob("*/*/model.tflite"))


def test_outputs_within_the_tolerance(bundle: Bundle, fake: Fake) -> None:
    result = run(bundle, fake("FAULT_NEAR"))
    assert (result.checks.count, result.checks.equal, result.checks.max_difference) == (4, 0, 1)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("FAULT_WRONG", r"golden sample 0 is wrong: output scores, index \[0, 5\]: expected"),
        ("FAULT_SHORT", "golden sample 0 gave outputs of 5 bytes, 6 bytes expected"),
        ("FAULT_IGNORES", "local: benchmark_model: ignores --num_threads"),
        ("FAULT_FALLBACK", "ended with 1: Disallowed CPU fallback detected"),
        ("FAULT_CRASH", "ended with 134"),
        ("FAULT_NOISE", "0 lines with count="),
        ("FAULT_COUGHS", r"failed: \\x1b\[31mout of luck"),
        ("FAULT_CONTRADICTS", "printed 60 runs, and wrote 61 to its file"),
    ],
)
def test_a_run_that_cannot_be_believed(
    bundle: Bundle, fake: Fake, places: Path, fault: str, message: str
) -> None:
    with pytest.raises(MeasurementError, match=message) as raised:
        run(bundle, fake(fault))
    assert raised.value.hint and raised.value.message.isprintable()
    assert list(places.iterdir()) == []


def test_a_run_without_an_end(
    bundle: Bundle, fake: Fake, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SAMPLE_LIMIT", 0.5)
    with pytest.raises(NoReply, match="did not end within 0.5 s"):
        run(bundle, fake("FAULT_HANGS"))
    assert list(places.iterdir()) == []


def test_litert_is_given_no_flags_that_it_ignores(bundle: Bundle, fake: Fake) -> None:
    result = run(bundle, fake("FLAVOUR_LITERT"))
    assert (result.flavour, result.checks.count) == ("litert", 0)
    assert result.notes == (
        "its outputs were not checked: LiteRT's build takes no inputs from files",
    )
    assert result.summary.median_us == 1250
    assert (result.footprint.init_mb, result.footprint.overall_mb) == (1, 2)  # Of its result file.


def test_a_build_from_before_output_files(bundle: Bundle, fake: Fake) -> None:
    result = run(bundle, fake("FLAVOUR_OLD"))
    assert (result.flavour, result.checks.count) == ("classic", 0)
    assert result.notes == (
        "its outputs were not checked: this build does not know --output_filepath",
    )
    assert (result.summary.avg_us, result.summary.median_us) == (1250.5, None)


@pytest.mark.parametrize("flavour", [(), ("FLAVOUR_OLD",)])
def test_operators(bundle: Bundle, fake: Fake, flavour: tuple[str, ...]) -> None:
    options = BenchmarkModelOptions(profile=True)
    operators = run(bundle, fake(*flavour), options).operators
    assert [(op.kind, op.name, op.avg_ms) for op in operators] == [
        ("FULLY_CONNECTED", "[logits,b]:1", 0.8),
        ("SOFTMAX", "[scores]:2", 0.2),
    ]


def test_operators_of_a_build_that_has_none(bundle: Bundle, fake: Fake) -> None:
    with pytest.raises(UsageError, match="no profile of operators"):
        run(bundle, fake("FLAVOUR_LITERT"), BenchmarkModelOptions(profile=True))


@pytest.mark.skipif(not shutil.which("taskset"), reason="taskset is not installed")
def test_kept_on_cores(bundle: Bundle, fake: Fake) -> None:
    core = min(os.sched_getaffinity(0))
    result = run(bundle, fake(), cores=f"{1 << core:x}")
    assert result.environment.pinned == str(core)


def test_big_outputs_arrive_whole(tmp_path: Path) -> None:
    """Outputs of more than one answer of the machine's."""
    machine = LocalMachine()
    machine.open()
    folder = tmp_path / "files"
    there = driver.Deployed(machine, str(folder), "")
    content = bytes(range(256)) * 700
    machine.push({"output.bin": content, "empty": b""}, str(folder))
    assert there.fetch("output.bin", 1 << 20) == content
    assert there.fetch("empty", 1 << 20) == b""
    assert there.fetch("output.bin", 1000) is None
    assert there.fetch("none", 1000) is None
    (folder / "bin").mkdir()
    (folder / "bin" / "base64").write_text("#!/bin/sh\necho '!!!'\n")
    (folder / "bin" / "base64").chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
        with pytest.raises(DeviceFault, match="did not arrive whole"):
            there.fetch("output.bin", 1 << 20)
    machine.close()


def test_flags_are_found_in_the_program_or_its_usage(fake: Fake) -> None:
    binary = open_binary(fake())
    assert "output_filepath" in abilities_of(binary, b"").flags
    other = open_binary(Path(shutil.which("gcc") or ""))
    usage = b"--num_runs=50\n--input_layer_value_files=\n"
    assert abilities_of(other, usage).flavour == "classic"
    assert abilities_of(other, b"--dispatch_library_path=").flavour == "litert"
    with pytest.raises(UsageError, match="is not Google's benchmark_model"):
        abilities_of(other, b"")


def test_another_program(bundle: Bundle, tmp_path: Path, places: Path) -> None:
    source = tmp_path / "other.c"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-o", tmp_path / "other", source], check=True)
    with pytest.raises(UsageError, match="is not Google's benchmark_model"):
        run(bundle, tmp_path / "other")
    assert list(places.iterdir()) == []


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        open_binary(tmp_path / "none")
    with pytest.raises(UsageError, match="no regular file"):
        open_binary(tmp_path)
    (tmp_path / "text").write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="not an ELF file"):
        open_binary(tmp_path / "text")
    subprocess.run(["gcc", "-c", "-x", "c", "-o", tmp_path / "a.o", "/dev/null"], check=True)
    with pytest.raises(UsageError, match="no program"):
        open_binary(tmp_path / "a.o")


def local_facts() -> Facts:
    machine = LocalMachine()
    machine.open()
    try:
        return probe(machine)
    finally:
        machine.close()


@pytest.mark.skipif(
    not shutil.which("aarch64-linux-gnu-gcc"), reason="aarch64-linux-gnu-gcc is not installed"
)
def test_a_program_for_another_processor_is_not_pushed(
    bundle: Bundle, tmp_path: Path, places: Path
) -> None:
    if local_facts().arch == "aarch64":
        pytest.skip("this computer is that processor")
    program = build(bundle, tmp_path / "arm", compiler="aarch64-linux-gnu-gcc")
    with pytest.raises(UsageError, match="is for aarch64"):
        run(bundle, program)
    assert list(places.iterdir()) == []


def test_a_program_for_android_on_linux(fake: Fake) -> None:
    facts = local_facts()
    binary = open_binary(fake())
    binary.require_fit(facts)
    android = replace(binary, elf=replace(binary.elf, interpreter="/system/bin/linker64"))
    with pytest.raises(UsageError, match="a program for Android .* runs Linux"):
        android.require_fit(facts)
    android.require_fit(replace(facts, is_android=True))
    linux = replace(binary, elf=replace(binary.elf, interpreter="/lib/ld-linux-aarch64.so.1"))
    with pytest.raises(UsageError, match="a program for Linux .* runs Android"):
        linux.require_fit(replace(facts, is_android=True))


def edgeq(*arguments: str | Path, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "edgeq", "bench", *map(str, arguments)],
        capture_output=True,
        env={**os.environ, **variables},
        timeout=120,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_on_the_command_line(bundle: Bundle, fake: Fake, tmp_path: Path) -> None:
    program = ["--benchmark-binary", fake(), "--device", "local"]
    report = tmp_path / "report.json"
    code, out, err = edgeq(bundle.folder, *program, "--profile", "--json", report)
    assert code == 0, err
    assert "4 equal" in out and "1.250 ms" in out and "[logits,b]:1" in out
    assert hashlib.sha256(fake().read_bytes()).hexdigest() in out
    data = json.loads(report.read_text())
    assert (data["schema"], data["schema_version"]) == ("edgeq.benchmark_model", 1)
    (entry,) = data["runs"]
    assert entry["summary"]["median_us"] == 1250
    assert entry["model_sha256"] == bundle.manifest["model"]["sha256"]
    assert entry["checks"] == {
        "count": 4,
        "equal": 4,
        "max_difference": 0,
        "tolerance": [3],
        "reference": "LiteRT reference kernels",
    }
    code, out, err = edgeq(bundle.folder, *program, "--json", "-")
    assert code == 0 and json.loads(out)["runs"]


def test_wrong_outputs_on_the_command_line(bundle: Bundle, fake: Fake, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, out, err = edgeq(
        *(bundle.folder, "--benchmark-binary", fake("FAULT_WRONG"), "--device", "local"),
        *("--json", report),
    )
    assert (code, out) == (1, "")
    assert "golden sample 0 is wrong" in err and not report.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sustained", "5", "--device", "local"), "--sustained and --benchmark-binary"),
        (("--csv", "x.csv", "--device", "local"), "--csv and --benchmark-binary"),
        ((), "--benchmark-binary goes with --device"),
        (("--device", "sim"), "sim is no computer"),
        (("--device", "local", "--num-runs", "0"), "--num-runs 0"),
    ],
)
def test_what_does_not_go_together(
    bundle: Bundle, fake: Fake, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = edgeq(bundle.folder, "--benchmark-binary", fake(), *arguments)
    assert code == 2 and message in err and "hint:" in err


def test_a_device_that_fails_stops_no_other(bundle: Bundle, fake: Fake, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, out, err = edgeq(
        *(bundle.folder, "--benchmark-binary", fake(), "--json", report),
        *("--device", "adb:NONE", "--device", "local"),
        ANDROID_ADB_SERVER_PORT="none",
    )
    assert code == 1 and "error: adb:NONE: " in err and "4 equal" in out
    assert [run["device"] for run in json.loads(report.read_text())["runs"]] == ["local"]


def test_flags_are_written_in_full() -> None:
    assert driver._flags({"num_runs": 1000000, "min_secs": 0.5, "max_secs": 86399.25}) == [
        "--num_runs=1000000",
        "--min_secs=0.5",
        "--max_secs=86399.25",
    ]


def test_one_bundle_only(bundle: Bundle, fake: Fake) -> None:
    program = ["--benchmark-binary", fake(), "--device", "local"]
    code, _, err = edgeq(bundle.folder, bundle.folder, *program)
    assert code == 2 and "times one bundle" in err


def test_the_json_is_not_written_over_the_program(bundle: Bundle, fake: Fake) -> None:
    code, _, err = edgeq(
        *(bundle.folder, "--benchmark-binary", fake(), "--device", "local", "--json", fake())
    )
    assert code == 2 and "hint:" in err
    open_binary(fake())
