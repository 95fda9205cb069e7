"""Models and data files that never end, or hang."""

from __future__ import annotations

import json
import time

import pytest
from bad_files import files
from make_model import endless_loop, tiny_float, tiny_int8

from edgeq import interpreters, samples
from edgeq.cli import run


@pytest.mark.parametrize(
    ("command", "said"),
    [(["bench"], "w: an inference"),
     (["build", "-t", "host"], "LiteRT's reference kernels: 8 inferences")],
)  # fmt: skip
def test_a_loop_without_end_is_stopped_once(command, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(interpreters, "LEAST_LIMIT", 2.0)
    (tmp_path / "w.tflite").write_bytes(endless_loop())
    start = time.monotonic()
    assert run([command[0], "w.tflite", *command[1:]]) == 1
    assert time.monotonic() - start < 30
    err = capfd.readouterr().err
    assert f"{said} did not finish within 2 s\nhint:  a loop in the model" in err
    assert files(tmp_path) == {"w.tflite"}


ENDLESS = """
import os, sys
def representative_dataset():
    print("noise")
    os.chdir("/")
    assert sys.stdin.read() == ""
    number = 0
    while True:
        number += 1
        yield [[[number % 7, 1.0, 2.0, 3.0]]]
"""


def test_a_data_file_without_end_that_prints_and_moves(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.tflite").write_bytes(tiny_float())
    (tmp_path / "d.py").write_text(ENDLESS)
    command = ["build", "f.tflite", "-t", "host", "--scheme", "float32", "--json", "-"]
    assert run([*command, "--calibration-data", "d.py"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)[0]["folder"] == "build/host"
    assert "noise" in err
    assert (tmp_path / "build/host/manifest.json").is_file()


def test_a_data_file_that_hangs_is_stopped(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(samples, "YIELD_LIMIT", 1.0)
    (tmp_path / "m.tflite").write_bytes(tiny_int8())
    hangs = "    while True: pass\n"
    (tmp_path / "d.py").write_text(f"def representative_dataset():\n    yield [[1.0]]\n{hangs}")
    assert run(["build", "m.tflite", "-t", "host", "--calibration-data", "d.py"]) == 1
    assert "d.py: gave no next sample within 1 s (after 1 sample)" in capfd.readouterr().err
