"""`edgeq doctor`: what is found, what does, and the line that gets the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from edgeq import doctor
from edgeq.cli import COMMANDS, run
from edgeq.doctor import NEEDS, Item, Need, examine, satisfies

ROOT = Path(__file__).resolve().parent.parent

NOWHERE = Need("nowhere", "a test", ("build",), module="edgeq_no_such_module", wanted=">=1")


def item(name: str, needs: tuple[Need, ...] = NEEDS) -> Item:
    return next(i for i in examine(needs) if i.name == name)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_what_the_tests_run_with_is_found() -> None:
    numpy = item("numpy")
    assert numpy.found and numpy.fits and numpy.required
    assert numpy.version and re.match(r"\d+\.\d+", numpy.version)
    python = item("python")
    assert python.version == ".".join(map(str, sys.version_info[:3])) and python.fits


def test_commands_and_versions_are_those_of_the_project() -> None:
    """The table in doctor.py says what pyproject.toml says, and names commands that exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for need in NEEDS:
        assert set(need.commands) <= set(COMMANDS), need.name
        if need.module is None:
            assert need.system or need.variable
            continue
        listed = extras[need.extra] if need.extra else project["dependencies"]
        assert need.name + need.wanted in listed
        assert need.required == (need.extra is None)


def test_a_missing_package() -> None:
    missing = item("nowhere", (NOWHERE,))
    assert (missing.found, missing.version, missing.fits) == (False, None, False)
    assert missing.install == "pip install 'nowhere>=1'"


def test_a_package_that_is_too_old() -> None:
    need = Need("numpy", "a test", (), module="numpy", wanted=">=99", extra="dev")
    old = item("numpy", (need,))
    assert old.found and not old.fits
    assert old.install.startswith("pip install ")


def test_a_package_under_another_distributions_name() -> None:
    need = Need("other", "a test", (), module="numpy", distributions=("no-such-dist", "numpy"))
    assert item("other", (need,)).version == item("numpy").version


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ("2.21.0", ">=2.19,<2.22", True),
        ("2.22.0", ">=2.19,<2.22", False),
        ("2.22.0rc1", ">=2.19,<2.22", False),
        ("2.9.1", ">=2.19,<2.22", False),
        ("2.19.0", ">=2.19", True),
        ("2", ">=2.0", True),
        ("0.dev20261023182759", "==0.dev20261023182759", True),
        ("0.dev20250101000000", "==0.dev20261023182759", False),
        ("unknown", ">=1", False),
        ("1", "", True),
    ],
)
def test_satisfies(version: str, wanted: str, expected: bool) -> None:
    assert satisfies(version, wanted) is expected


# --- Programs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("echo 'arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205'", "12.2.1"),
        ("echo 'gcc (Arm GNU Toolchain 13.3.Rel1) 13.3.1'", "13.3.1"),
        ("echo no number here", None),
        ("exit 1", None),
    ],
)
def test_the_version_of_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, version: str | None
) -> None:
    program(tmp_path, "arm-none-eabi-gcc", says)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = item("arm-none-eabi-gcc")
    assert found.found and found.fits
    assert found.version == version


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "arm-none-eabi-gcc", "exec sleep 20")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor, "PROGRAM_LIMIT", 0.1)
    start = time.monotonic()
    found = item("arm-none-eabi-gcc")
    assert found.found and found.version is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("installer", "line"),
    [
        ("apt-get", "sudo apt-get install gcc-arm-none-eabi "),
        ("dnf", "sudo dnf install arm-none-eabi-gcc-cs"),
        ("brew", "brew install --cask gcc-arm-embedded"),
        (None, "https://developer.arm.com/"),
    ],
)
def test_the_install_line_is_this_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str | None, line: str
) -> None:
    if installer:
        program(tmp_path, installer, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = item("arm-none-eabi-g++")
    assert not missing.found and not missing.required
    assert missing.install.startswith(line)


# --- The command -----------------------------------------------------------------------------


def test_command_with_everything_required(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # No compiler: optional.
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"numpy +found", text)
    assert re.search(r"arm-none-eabi-gcc +missing", text)
    assert "Optional, to install when you need it:" in text
    assert "Everything required is here." in text


def test_command_with_something_required_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = Need("nowhere", "a test", ("build",), True, module="edgeq_no_such_module", wanted=">=1")
    everything = examine((need,))
    monkeypatch.setattr("edgeq.cli.doctor_command.examine", lambda: everything)
    assert run(["doctor"]) == 2
    streams = capsys.readouterr()
    assert "error: required, and not here: nowhere" in streams.err
    assert "hint:  pip install 'nowhere>=1'" in streams.err
    assert "Everything" not in streams.out


def test_command_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["doctor", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["schema_version"]) == ("edgeq.doctor", 1)
    assert document["ok"] is True
    assert [i["name"] for i in document["items"]] == ["python", *(n.name for n in NEEDS)]

    assert run(["doctor", "--json", str(tmp_path / "doctor.json")]) == 0
    assert "Everything" in capsys.readouterr().out
    assert json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8")) == document

    assert run(["doctor", "--json", str(tmp_path)]) == 1
    assert "hint:" in capsys.readouterr().err


def test_it_is_quick_and_imports_no_framework() -> None:
    code = (
        "import sys, time, edgeq.cli.doctor_command\n"
        "from edgeq.doctor import examine\n"
        "start = time.perf_counter(); examine()\n"
        "print(time.perf_counter() - start)\n"
        "print(*(m for m in ('numpy', 'tensorflow', 'keras', 'ai_edge_litert', 'PIL')"
        " if m in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, imported = done.stdout.splitlines()
    assert float(seconds) < 1
    assert imported == ""
