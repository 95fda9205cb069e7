"""`edgeq targets`: the list, one target, --check and --json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeq.cli import run
from edgeq.operators import load_table
from edgeq.targets import target_names

BOARD = """
name = "mine"
title = "My board"
family = "cortex-m"
core = "cortex-m4"
engines = ["tflm"]
ram = 98304
"""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["targets", *arguments]) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    return streams.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["targets", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Traceback" not in streams.err
    return streams.err


def test_the_list_has_every_target_and_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()
    assert lines[0].split() == [
        "name", "title", "core", "clock", "flash", "ram", "engines", "transport"
    ]  # fmt: skip
    rows = {line.split()[0]: line for line in lines[1:] if line and not line.startswith("'")}
    assert sorted(rows) == target_names()
    for fact in ("cortex-m4", "180 MHz", "512.0 KiB", "128.0 KiB", "tflm", "serial"):
        assert fact in rows["nucleo-f446re"]
    assert "aarch64" in rows["rpi5"] and "2.4 GHz" in rows["rpi5"]


def test_a_board_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "nucleo-f446re")
    count = len(load_table("tflm").operators)
    for fact in (
        "nucleo-f446re: ST NUCLEO-F446RE (STM32F446RE)",
        "cortex-m4 (armv7e-m)",
        "dsp, fpu, cycle_counter, long_multiply",
        "-mcpu=cortex-m4",
        "180 MHz",
        "524288 bytes (512.0 KiB)",
        "131072 bytes (128.0 KiB)",
        f"tflm: TensorFlow Lite Micro, {count} operators",
        "floats          never",
        "openocd",
        "0483:374b",
        "emulator        none",
        "the network in C99",
    ):
        assert fact in text


def test_a_core_and_a_pi_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    core = shown(capsys, "cortex-m4")
    assert "not known: operators are checked, whether a model fits is not" in core
    assert "QEMU machine mps2-an386" in core
    assert "none: built for, not connected to" in core
    pi = shown(capsys, "rpi-armv7")
    assert f"tflite-runtime 2.14, {len(load_table('tflite-runtime').operators)} operators" in pi
    assert "3.11; glibc 2.36 or newer" in pi
    assert "run.py" in pi
    assert "flash" not in pi and "emulator" not in pi
    assert "Kotlin" in shown(capsys, "android")


@pytest.mark.parametrize("name", target_names())
def test_every_target_can_be_explained(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert shown(capsys, name).startswith(f"{name}: ")


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BOARD, encoding="utf-8")
    text = shown(capsys, "--check", str(path))
    assert text.startswith(f"{path}: fine\nmine: My board\n")
    assert shown(capsys, str(path)) == text.partition("\n")[2]

    path.write_text(BOARD.replace("ram", "rma"), encoding="utf-8")
    text = refused(capsys, "--check", str(path))
    assert f"error: {path}: unknown key rma" in text
    assert "hint:  did you mean ram?" in text


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    everything = json.loads(shown(capsys, "--json", "-"))
    assert (everything["schema"], everything["schema_version"]) == ("edgeq.targets", 1)
    assert [t["name"] for t in everything["targets"]] == target_names()

    (one,) = json.loads(shown(capsys, "microbit", "--json", "-"))["targets"]
    assert one in everything["targets"]
    assert one["core"]["name"] == "cortex-m0"
    assert (one["flash"], one["ram"], one["clock_hz"]) == (262144, 16384, 16_000_000)
    assert one["operators"] == {name: len(load_table(name).operators) for name in ("aot", "tflm")}
    assert "python" not in one and "glibc" not in one

    path = tmp_path / "targets.json"
    assert shown(capsys, "--json", str(path)).startswith("name ")
    assert json.loads(path.read_text(encoding="utf-8")) == everything


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rpi6x"], "unknown target 'rpi6x'"),
        (["./none.toml"], "no such target file"),
        (["--check", "none.toml"], "no such target file"),
        (["rpi", "--check", "x.toml"], "exclude each other"),
        (["--jsn", "x"], "No such option"),
    ],
)
def test_refusals(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)


def test_json_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["targets", "--json", str(tmp_path)]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_title_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BOARD.replace("My board", "\\u001b[2JMy board"), encoding="utf-8")
    assert "\x1b" not in refused(capsys, str(path))
