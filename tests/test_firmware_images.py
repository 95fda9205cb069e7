"""Firmware of a bundle: the same bytes from the same model, and MLPerf Tiny's device."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from make_model import tiny_int8

from edgeq.bundle import FIRMWARE
from edgeq.cli import run
from edgeq.targets import load_target
from edgeq.transports.simulator import SimulatorTransport

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)

BOARD = "mps2-an386"


def build(folder: Path, *options: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "net.tflite").write_bytes(tiny_int8())
    command = ["build", str(folder / "net.tflite"), "-t", BOARD, "-o", str(folder / "out")]
    assert run([*command, *options]) == 0
    return folder / "out" / BOARD


def ask(image: Path, command: str) -> str:
    """The board's answer to one of MLPerf Tiny's commands."""
    board = SimulatorTransport(load_target(BOARD), image)
    board.open()
    try:
        heard, deadline = b"", time.monotonic() + 20
        for said in ("", f"{command}%"):
            board.write(said.encode())
            heard = b""
            while not heard.endswith(b"m-ready\r\n") and time.monotonic() < deadline:
                heard += board.read(0.5)
        return heard.decode()
    finally:
        board.close()


def test_the_same_model_gives_the_same_image(tmp_path):
    first, second = build(tmp_path / "a"), build(tmp_path / "other" / "b")
    assert (first / FIRMWARE).read_bytes() == (second / FIRMWARE).read_bytes()


@pytest.mark.parametrize(
    ("benchmark", "kind"), [("kws01", "raw"), ("ic01", "uint8"), ("ad01", "float32")]
)
def test_mlperf_s_runner_finds_the_benchmark(tmp_path, benchmark, kind):
    bundle = build(tmp_path / "a", "--mlperf", benchmark)
    assert f"m-model-[{benchmark}]" in ask(bundle / FIRMWARE, "profile")
    assert f"m-eq-input-kind-[{kind}]" in ask(bundle / FIRMWARE, "eq info")
    assert f"--mlperf {benchmark}" in (bundle / "README.md").read_text()
    assert run(["bench", str(bundle), "--json", str(tmp_path / "now.json")]) == 0
    result = json.loads((tmp_path / "now.json").read_text())["measurements"][0]
    assert result["checks"]["count"] == result["checks"]["equal"] > 0
