"""Ctrl-C, terminals, pipes, folders and names as processes meet them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bad_files import files
from make_model import tiny_int8
from processes import assert_gone


def edgeq(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeq", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )  # fmt: skip


def test_ctrl_c_in_mid_build_leaves_nothing_behind(keras_folder, tmp_path):
    shutil.copy(keras_folder / "calibration.npz", tmp_path)
    shutil.copy(keras_folder / "digits-like.keras", tmp_path)
    before = files(tmp_path)
    command = ["build", "digits-like.keras", "-t", "host", "--calibration-data", "calibration.npz"]
    process = edgeq(command, tmp_path)
    time.sleep(2.5)  # TensorFlow is being imported by now.
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err and "Traceback" not in err
    assert files(tmp_path) == before
    for pid in map(int, children):
        assert_gone(pid)


def test_a_terminal_without_unicode_is_no_error(tiny_model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "edgeq", "build", str(tiny_model), "-t", "host"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_a_full_device_for_stdout_is_an_error_of_one_line(tmp_path):
    for arguments in (["targets"], ["targets", "--json", "-"], ["--help"], ["doctor"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "edgeq", *arguments],
                cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            )  # fmt: skip
        assert done.returncode == 1
        assert re.fullmatch("error: the output.* cannot be written: No space.*\n", done.stderr)


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"cd gone && rmdir ../gone && {sys.executable} -m edgeq build m.tflite -t host"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "the current folder cannot be used" in done.stderr and "Traceback" not in done.stderr


def test_file_names_that_are_no_text_work_and_are_shown(tmp_path):
    odd = os.fsdecode(b"\xff.tflite")
    (tmp_path / odd).write_bytes(tiny_int8())
    command = ["build", odd, "-t", "host", "-o", os.fsdecode(b"o\xff"), "--json", "b.json"]
    process = edgeq(command, tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    manifest = json.loads((tmp_path / os.fsdecode(b"o\xff") / "host/manifest.json").read_text())
    assert manifest["source"]["file"] == "\\xff.tflite"
    (built,) = json.loads((tmp_path / "b.json").read_text())
    assert (tmp_path / built["folder"] / "manifest.json").is_file()
    for command in (["inspect", odd, "--json", "-"], ["bench", "none" + odd]):
        process = edgeq(command, tmp_path)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        assert process.returncode == 0 or "none\\xff.tflite: No such file" in err


def test_a_closed_pipe_is_no_error(tmp_path):
    process = edgeq(["targets"], tmp_path)
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 1)
    assert process.stderr and "Traceback" not in process.stderr.read()
    process.stderr.close()
