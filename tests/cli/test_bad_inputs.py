"""What a person can get wrong, each with its exit code and message: no traceback, nothing half
written, and never exit code 0."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, schema, tiny_float, tiny_int8

from edgeq.cli import run

BUILD = ["build", "m.tflite", "-t", "host"]
FLOAT = ["build", "f.tflite", "-t", "host", "--calibration-data"]
GOOD = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def array(name: str, value: np.ndarray, **more: np.ndarray) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        if name.endswith(".npz"):
            np.savez(folder / name, x=value, **more)
        else:
            np.save(folder / name, value)

    return make


def nothing(folder: Path) -> None:
    pass


def with_value(value: float) -> np.ndarray:
    data = GOOD.copy()
    data[7, 1] = value
    return data


def huge_offset() -> bytes:
    data = bytearray(tiny_int8())
    struct.pack_into("<I", data, 0, 0xFFFFFFF0)
    return bytes(data)


def cyclic_graph() -> bytes:
    m = Maker()
    a, b = m.tensor("a", (1, 2)), m.tensor("b", (1, 2))
    m.op("RELU", [b], [a])
    m.op("RELU", [a], [b])
    return m.bytes([], [b])


def big_model() -> bytes:
    """A dense layer with 600,000 weights, too many for the flash of most boards."""
    m = Maker()
    x, y = m.tensor("x", (1, 1000), np.int8, 0.1), m.tensor("y", (1, 600), np.int8, 0.1)
    w = m.tensor("w", (600, 1000), np.int8, 0.1, data=np.ones((600, 1000)))
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y])


def hungry_model() -> bytes:
    """Activations of 320,000 bytes at once."""
    m = Maker()
    x, y = m.tensor("x", (1, 160_000), np.int8, 0.1), m.tensor("y", (1, 160_000), np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes([x], [y])


def no_outputs() -> bytes:
    m = Maker()
    x, y = m.tensor("x", (1, 2), np.int8, 0.1), m.tensor("y", (1, 2), np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes([x], [])


def gelu_model() -> bytes:
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("GELU", [x], [y], schema.GeluOptionsT())
    return m.bytes([x], [y])


def keras_bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (80 * 1024 * 1024))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")


CASES: list[tuple[str, Callable[[Path], None], list[str], int, str]] = [
    # The model file
    ("no such model", nothing, ["build", "none.keras", "-t", "host"], 1, "No such file"),
    ("empty file", write("m.tflite", b""), BUILD, 1, "not a .tflite"),
    ("random bytes", write("m.tflite", random.Random(1).randbytes(5000)), BUILD, 1,
     "not a .tflite"),
    ("a web page", write("m.tflite", "<!DOCTYPE html>"), BUILD, 1, "web page|text page"),
    ("truncated", write("m.tflite", tiny_int8()[:900]), BUILD, 1, "damaged .tflite|no sense"),
    ("huge offset", write("m.tflite", huge_offset()), BUILD, 1, "damaged .tflite"),
    ("noise after the magic", write("m.tflite", b"\x1c\0\0\0TFL3" + bytes(range(256)) * 9),
     BUILD, 1, "m.tflite"),
    ("cyclic graph", write("m.tflite", cyclic_graph()), BUILD, 1, "before anything has written"),
    ("onnx", write("m.onnx", b"\x08\x09onnx"), ["build", "m.onnx", "-t", "host"], 1, "ONNX"),
    ("a folder that is no SavedModel", lambda f: (f / "sm").mkdir(), ["build", "sm", "-t", "host"],
     1, "saved_model.pb"),
    ("a pipe for a model", lambda f: os.mkfifo(f / "p.tflite"), ["inspect", "p.tflite"], 1,
     "neither a file nor a folder"),
    ("a model without outputs", write("m.tflite", no_outputs()), BUILD, 1, "no outputs"),
    ("a name that C cannot have", nothing, [*BUILD, "--name", "a b"], 2, "a_b"),
    ("TOML nested without end", write("edgeq.toml", "x = " + "[" * 100_000), ["build"], 2,
     "not valid TOML"),
    ("an h5 by name only", write("m.h5", b"not hdf5"), ["build", "m.h5", "-t", "host"], 1,
     "no model file"),
    ("a dynamic shape in a .tflite", write("m.tflite", tiny_int8()),
     [*BUILD, "--input-shape", "image=1,4,4,1"], 1, "is for Keras models"),
    # Data
    ("no calibration", write("f.tflite", tiny_float()), FLOAT[:-1], 1, "needs calibration data"),
    ("missing data", write("f.tflite", tiny_float()), [*FLOAT, "none.npz"], 1, "no such file"),
    ("NaN", array("d.npy", with_value(np.nan)), [*FLOAT, "d.npy"], 1, "sample 7.*NaN"),
    ("infinity", array("d.npy", with_value(np.inf)), [*FLOAT, "d.npy"], 1, "sample 7.*NaN"),
    ("wrong shape", array("d.npy", np.zeros((60, 9))), [*FLOAT, "d.npy"], 1, r"shape \(9,\)"),
    ("a pickle", array("d.npy", np.array([{}], object)), [*FLOAT, "d.npy"], 1, "pickled"),
    ("a pickle in an npz", array("d.npz", np.array([{}], object)), [*FLOAT, "d.npz"], 1,
     "pickled"),
    ("truncated npz", write("d.npz", b"PK\x03\x04 and no more"), [*FLOAT, "d.npz"], 1,
     "not a readable"),
    ("truncated npy", write("d.npy", b"\x93NUMPY\x01\0"), [*FLOAT, "d.npy"], 1, "not a readable"),
    ("labels of another length", array("d.npz", GOOD, labels=np.zeros(3, int)), [*FLOAT, "d.npz"],
     1, "different lengths"),
    ("no samples", array("d.npy", GOOD[:0]), [*FLOAT, "d.npy"], 1, "no samples"),
    ("data of a kind unknown", write("d.xyz", "1,2"), [*FLOAT, "d.xyz"], 1, "no data that edgeq"),
    ("a folder without images", lambda f: (f / "pics").mkdir(),
     [*FLOAT, "pics", "--image-scaling", "0..1"], 1, "no images"),
    ("images without scaling", lambda f: (f / "pics").mkdir(), [*FLOAT, "pics"], 2,
     "how pixels become numbers"),
    ("data.py that raises", write("d.py", "def representative_dataset():\n    1 / 0\n"),
     [*FLOAT, "d.py"], 1, "ZeroDivisionError"),
    ("data.py that exits", write("d.py", "def representative_dataset():\n    raise SystemExit(3)"),
     [*FLOAT, "d.py"], 1, "SystemExit: 3"),
    ("data.py without a function", write("d.py", "x = 1\n"), [*FLOAT, "d.py"], 1, "no function"),
    ("data.py that does not parse", write("d.py", "def ("), [*FLOAT, "d.py"], 1, "SyntaxError"),
    # The result
    ("a float operator left over", array("d.npy", GOOD), [*FLOAT, "d.npy"], 1,
     "not fully integer(.|\n)*ELU(.|\n)*% of MACs"),
    ("float for a microcontroller", nothing,
     ["build", "f.tflite", "-t", "cortex-m4", "--scheme", "float32", "--allow-float"], 1,
     "runs integers only"),
    ("too large for the flash", write("m.tflite", big_model()), ["build", "m.tflite", "-t",
     "microbit"], 3, "262144 bytes of flash; the model alone needs 6"),
    ("too large for the RAM", write("m.tflite", hungry_model()), ["build", "m.tflite", "-t",
     "pico", "--engine", "tflm"], 3, "bytes of RAM; the tensor arena alone needs 3"),
    ("an operator that the engine lacks", write("m.tflite", gelu_model()),
     ["build", "m.tflite", "-t", "cortex-m4"], 3, "has no GELU"),
    ("another scheme than it has", nothing, [*BUILD, "--scheme", "int16x8"], 1,
     "quantized already, as int8"),
    ("an accuracy limit without labels", nothing, [*BUILD, "--min-accuracy", "90"], 1, "no labels"),
    # The command line and edgeq.toml
    ("unknown target", nothing, ["build", "m.tflite", "-t", "rpj"], 2, "rpj(.|\n)*rpi"),
    ("no target", nothing, ["build", "m.tflite"], 2, "no target"),
    ("unknown scheme", nothing, [*BUILD, "--scheme", "int9"], 2, "unknown scheme(.|\n)*int8"),
    ("unknown engine", nothing, [*BUILD, "--engine", "cuda"], 2, "no engine 'cuda'"),
    ("unknown command", nothing, ["biuld"], 2, "Did you mean 'build'"),
    ("unknown option", nothing, [*BUILD, "--sceme", "int8"], 2, "--scheme"),
    ("no model and no project", nothing, ["build", "-t", "host"], 2, "no edgeq.toml"),
    ("a misspelt key", write("edgeq.toml", 'nmae = "x"\n'), ["build"], 2, "nmae(.|\n)*name"),
    ("a project that is no TOML", write("edgeq.toml", "name = "), ["build"], 2, "not valid TOML"),
    ("a misspelt key in a target", write("b.toml", 'name = "b"\ncolck_hz = 1\n'),
     ["build", "m.tflite", "-t", "./b.toml"], 2, "colck_hz(.|\n)*clock_hz"),
    ("a shape that is none", nothing, [*BUILD, "--input-shape", "x"], 2, "--input-shape 'x'"),
    ("a scaling that is none", nothing, [*BUILD, "--image-scaling", "bright"], 2, "not understood"),
    # Where it goes
    ("a read-only place", nothing, [*BUILD, "-o", "/sys/out"], 1, "cannot be written"),
    ("a file in the way", write("build", "mine"), BUILD, 1, "cannot be written|in the way"),
    ("a full device for --json", nothing, [*BUILD, "--json", "/dev/full"], 1, "No space left"),
    # Other commands
    ("bench of no bundle", lambda f: (f / "b").mkdir(), ["bench", "b"], 1, "saved_model.pb"),
    ("bench with no runs", nothing, ["bench", "m.tflite", "--num-runs", "0"], 2, "--num-runs"),
    ("compare of other files", nothing, ["compare", "m.tflite", "m.tflite"], 1, "not UTF-8|JSON"),
    ("bench of nothing", nothing, ["bench", "--sim"], 2, "nothing to measure"),
    ("bench: baud alone", nothing, ["bench", "b", "--baud", "9600"], 2, "--baud goes with --port"),
    ("bench: port and sim", nothing, ["bench", "b", "--sim", "--port", "x"], 2, "exclude each"),
    ("bench: --sim of a model", nothing, ["bench", "m.tflite", "--sim"], 2, "--target TARGET"),
    ("bench: build options", nothing, ["bench", "m.tflite", "-o", "x"], 2, "--target NAME"),
    ("bench elsewhere", nothing, ["bench", "m.tflite", "-t", "rpi"], 2, "rpi is not here"),
    ("bench where?", nothing, ["bench", "m.tflite", "-t", "cortex-m4"], 2, "say where it is"),
    ("bench: no emulator", nothing, ["bench", "m.tflite", "-t", "pico", "--sim"], 2, "no emulator"),
    ("bench of two models", nothing, ["bench", "m.tflite", "b", "-t", "rpi"], 2, "here are 2"),
    (
        "bench: two on one port",
        nothing,
        ["bench", "m.tflite", "-t", "cortex-m4", "-t", "cortex-m7", "--port", "/dev/none"],
        2,
        "one --port is one board",
    ),
    ("eval: sim of a model", nothing, ["eval", "m.tflite", "--data", "x", "--sim"], 2, "no bundle"),
    ("eval: time limit", nothing, ["eval", "m.tflite", "--time-limit", "3"], 2, "is for a board"),
    (
        "eval on no board",
        nothing,
        ["eval", "m.tflite", "--data", "x", "-t", "rpi"],
        2,
        "no microcontroller",
    ),
    ("eval without data", nothing, ["eval", "m.tflite"], 2, "no data to evaluate"),
    ("eval without labels", array("d.npy", np.zeros((9, 8, 8, 1), np.float32)),
     ["eval", "m.tflite", "--data", "d.npy"], 1, "no labels"),
    ("inspect of a text", write("x.txt", "hello"), ["inspect", "x.txt"], 1, "no model file"),
    ("an explained target that is not there", nothing, ["targets", "rpi9"], 2, "rpi"),
]  # fmt: skip


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


@pytest.mark.parametrize(("make", "arguments", "code", "said"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_a_mistake_is_answered_in_words(make, arguments, code, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes(tiny_int8())
    (tmp_path / "f.tflite").write_bytes(tiny_float())
    make(tmp_path)
    before = files(tmp_path)
    assert run(arguments) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    assert re.search(said, err), err
    allowed = {"build", "build/host"} if "/dev/full" in arguments else set()
    left = {f for f in files(tmp_path) - before if not f.startswith(("build/host/",))}
    assert left <= allowed


def test_the_table_is_long_enough():
    assert len(CASES) >= 30


@pytest.mark.parametrize(
    ("name", "said"),
    [("lambda.keras", "'secret' is a Lambda(.|\n)*--allow-lambda"),
     ("dynamic.keras", "--input-shape"), ("lstm_loop.keras", "WHILE(.|\n)*unroll=True")],
)  # fmt: skip
def test_keras_models_that_cannot_be_are_answered_in_words(name, said, keras_folder, tmp_path,
                                                           monkeypatch, capfd):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("d.npy", np.zeros((60, 10, 4), np.float32) + np.arange(60)[:, None, None])
    command = ["build", str(keras_folder / name), "-t", "host", "--calibration-data", "d.npy"]
    assert run(command) == 1
    assert re.search(said, capfd.readouterr().err)
    assert files(tmp_path) == {"d.npy"}


def test_a_zip_bomb_in_a_keras_file_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    keras_bomb(tmp_path)
    assert run(["build", "m.keras", "-t", "host"]) == 1
    assert "over 64 MB" in capfd.readouterr().err


def test_control_characters_of_a_model_do_not_reach_the_terminal(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    m = Maker()
    x, y = m.tensor("\x1b]0;owned\x07x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("RELU", [x], [y])
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    assert run(["inspect", "m.tflite", "-t", "host"]) == 0
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err


def edgeq(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeq", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_terminal_without_unicode_is_no_error(tiny_model, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "edgeq", "build", str(tiny_model), "-t", "host"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_a_closed_pipe_is_no_error(tmp_path):
    process = edgeq(["targets"], tmp_path)
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 1)
    assert process.stderr and "Traceback" not in process.stderr.read()
    process.stderr.close()
