"""benchmark_model on a phone's stand-in, by the real adb."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark_model_build import build, tiny_bundle
from phone.stand_in import Adb, Phone
from processes import assert_gone

from edgeq.benchmark_model import driver
from edgeq.benchmark_model.binary import open_binary
from edgeq.benchmark_model.driver import BenchmarkModelOptions, run_benchmark_model
from edgeq.bundle import Bundle
from edgeq.cli import run as edgeq
from edgeq.errors import MeasurementError, NoReply, UsageError
from edgeq.transports.adb import FOLDER, AdbMachine

COMPILER = "aarch64-linux-gnu-gcc"
OPTIONS = BenchmarkModelOptions(num_runs=60)

pytestmark = [
    pytest.mark.devices,
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
]


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    folder = tmp_path_factory.mktemp("phone")
    with Adb(folder / "adb") as adb, Phone(adb, folder / "phone") as phone:
        with pytest.MonkeyPatch.context() as patch:
            adb.use(patch)
            yield phone


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def left(phone: Phone) -> list[Path]:
    return [*(phone.files / FOLDER.lstrip("/")).glob("*")]


def test_outputs_of_the_phone_are_checked(phone: Phone, bundle: Bundle, tmp_path: Path) -> None:
    program = open_binary(build(bundle, tmp_path / "fake", compiler=COMPILER))
    options = BenchmarkModelOptions(num_runs=60, profile=True)
    run = run_benchmark_model(AdbMachine(phone.serial), bundle, program, options)
    assert (run.checks.count, run.checks.equal) == (4, 4)
    assert (run.summary.count, run.summary.median_us) == (60, 1250)
    assert [op.kind for op in run.operators] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert run.environment.abi == "arm64-v8a"
    assert any("stood for the processor" in note for note in run.notes)
    assert left(phone) == [] == phone.processes("benchmark_model")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("FAULT_WRONG", "golden sample 0 is wrong"),
        ("FAULT_IGNORES", "ignores --num_threads"),
        ("FAULT_FALLBACK", "Disallowed CPU fallback detected"),
    ],
)
def test_a_run_that_cannot_be_believed(
    phone: Phone, bundle: Bundle, tmp_path: Path, fault: str, message: str
) -> None:
    program = open_binary(build(bundle, tmp_path / "fake", fault, compiler=COMPILER))
    with pytest.raises(MeasurementError, match=message):
        run_benchmark_model(AdbMachine(phone.serial), bundle, program, OPTIONS)
    assert left(phone) == []


def test_a_run_without_an_end_is_ended_on_the_phone(
    phone: Phone, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SAMPLE_LIMIT", 3.0)
    program = open_binary(build(bundle, tmp_path / "fake", "FAULT_HANGS", compiler=COMPILER))
    with pytest.raises(NoReply):
        run_benchmark_model(AdbMachine(phone.serial), bundle, program, OPTIONS)
    assert left(phone) == []
    for pid in phone.processes("benchmark_model"):  # adbd's shell around it ends by itself.
        assert_gone(pid)


def test_a_program_for_a_computer_is_not_pushed(
    phone: Phone, bundle: Bundle, tmp_path: Path
) -> None:
    program = open_binary(build(bundle, tmp_path / "fake"))
    with pytest.raises(UsageError, match="the device is aarch64"):
        run_benchmark_model(AdbMachine(phone.serial), bundle, program, OPTIONS)
    assert left(phone) == []


def test_on_the_command_line(
    phone: Phone, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = build(bundle, tmp_path / "fake", "FLAVOUR_LITERT", compiler=COMPILER)
    report = tmp_path / "report.json"
    arguments = ["bench", str(bundle.folder), "--benchmark-binary", str(program)]
    code = edgeq([*arguments, "--device", phone.address, "--json", str(report)])
    assert code == 0
    assert "not checked" in capsys.readouterr().out
    (run,) = json.loads(report.read_text())["runs"]
    assert (run["flavour"], run["environment"]["device"][-14:]) == ("litert", "Emulated Phone")
