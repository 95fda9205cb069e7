"""What a person can get wrong, each with its exit code and message: no traceback, nothing half
written, and never exit code 0."""

from __future__ import annotations

import json
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
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, endless_loop, relu, schema, tiny_float, tiny_int8

from edgeq import interpreters, samples
from edgeq.cli import run

BUILD = ["build", "m.tflite", "-t", "host"]
FLOAT = ["build", "f.tflite", "-t", "host", "--calibration-data"]
EVAL = ["eval", "m.tflite", "--data", "d.npz"]
PICS = ["eval", "m.tflite", "--data", "pics", "--image-scaling", "0..1"]
IMAGES = np.zeros((9, 8, 8, 1), np.float32)
HUGE = (1, 2**31 - 1)
LONG = "x" * 300
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


def npy_header(fields: str) -> bytes:
    """An .npy of a header alone."""
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(fields)) + fields.encode()


def npz_bomb(shape: str) -> Callable[[Path], None]:
    """An .npz that declares float32 of `shape` and holds no element of it."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / "d.npz", "w") as archive:
            fields = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
            archive.writestr("x.npy", npy_header(fields))

    return make


def image_bomb(folder: Path) -> None:
    """A .png of some bytes that declares 12000x12000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sealed = kind + data
        return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    (folder / "pics").mkdir()
    (folder / "classes.csv").write_text("a.png,1\n")
    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (folder / "pics" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


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
    ("beyond float32", array("d.npy", GOOD.astype(float) * 1e300), [*FLOAT, "d.npy"], 1,
     "sample 0.*infinite"),
    ("an empty model", nothing, ["build", "", "-t", "host"], 2, "MODEL is empty"),
    ("an empty option", nothing, [*FLOAT, ""], 2, "--calibration-data is empty"),
    ("a single number", array("d.npy", np.float32(3)), [*FLOAT, "d.npy"], 1, "a single number"),
    ("text for numbers", array("d.npy", np.full((60, 4), "a")), [*FLOAT, "d.npy"], 1, "holds text"),
    ("records for numbers", array("d.npy", np.zeros(60, [("a", "f4")])), [*FLOAT, "d.npy"], 1,
     "numbers are needed"),
    ("dates for numbers", array("d.npz", np.zeros((60, 4), "M8[s]")), [*FLOAT, "d.npz"], 1,
     "holds dates"),
    ("a header of 4 GB", write("d.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff"), [*FLOAT, "d.npy"], 1,
     "header of 4294967295 bytes"),
    ("a nested header", write("d.npy", npy_header("(" * 9000)), [*FLOAT, "d.npy"], 1,
     "not a readable array"),
    ("a negative size", write("d.npy", npy_header("{'descr': '<f4', 'shape': (-1, 4)}")),
     [*FLOAT, "d.npy"], 1, "impossible shape"),
    ("an npz that unpacks to terabytes", npz_bomb(f"({1 << 40}, 4)"),
     [*FLOAT, "d.npz"], 1, r"take 17592186044416 bytes: more than"),
    ("an npz of one row of terabytes", npz_bomb(f"(4, {1 << 40})"), [*FLOAT, "d.npz"], 1,
     r"shape \(1099511627776,\), the model takes"),
    ("names that are no inputs", array("d.npz", GOOD, z=GOOD), [*FLOAT[:1], "m.tflite", *FLOAT[2:],
     "d.npz"], 1, r"no array for input 'image' \(it has: x, z\)"),
    ("text for labels", array("d.npz", IMAGES, labels=np.full(9, "cat")), EVAL, 1, "holds text"),
    ("NaN for a label", array("d.npz", IMAGES, labels=np.full(9, np.nan)), EVAL, 1,
     "not class numbers"),
    ("halves for labels", array("d.npz", IMAGES, labels=np.full(9, 0.5)), EVAL, 1,
     "not class numbers"),
    ("a label beyond all classes", array("d.npz", IMAGES, labels=np.full(9, 2**63, np.uint64)),
     EVAL, 1, "not class numbers"),
    ("boxes for labels", array("d.npz", IMAGES, labels=np.ones((9, 4))), EVAL, 1,
     "not one class number"),
    ("a single label", array("d.npz", IMAGES, labels=np.int64(3)), EVAL, 1, "single number"),
    ("no samples to judge on", array("d.npz", IMAGES[:0], labels=np.zeros(0)), EVAL, 1,
     "no samples"),
    ("an image of another size", image_bomb, [*PICS, "--image-size", "9999x9999"], 1,
     "9999x9999 do not fit"),
    ("an image size without sense", image_bomb, [*PICS, "--image-size", "100000x100000"], 2,
     "not understood"),
    ("an image size in superscript", image_bomb, [*PICS, "--image-size", "²x3"], 2,
     "not understood"),
    ("an input shape in superscript", nothing, [*BUILD, "--input-shape", "x=1,²"], 2,
     "not understood"),
    ("an image of 144 million pixels", image_bomb,
     [*PICS, "--labels-csv", "classes.csv"], 1, "12000x12000, over 100000000 pixels"),
    ("labels that never end", image_bomb, [*PICS, "--labels-csv", "/dev/zero"], 1, "no regular"),
    ("data.py that dies", write("d.py", "import os\nos._exit(3)\n"), [*FLOAT, "d.py"], 1,
     "died after 0 samples: (.|\n)*exit code 3"),
    ("data.py that yields words", write("d.py", "def representative_dataset():\n    yield 'a'\n"),
     [*FLOAT, "d.py"], 1, "holds text"),
    ("data.py that yields objects",
     write("d.py", "def representative_dataset():\n    yield object()\n"), [*FLOAT, "d.py"], 1,
     "d.py: a sample holds object, which is no array"),
    ("data.py that yields rows of different lengths",
     write("d.py", "def representative_dataset():\n    yield [[1, 2], [3]]\n"), [*FLOAT, "d.py"], 1,
     r"d.py: ValueError: .*\(line 2\)|array 'x'"),
    ("data.py that returns nothing", write("d.py", "def representative_dataset():\n    pass\n"),
     [*FLOAT, "d.py"], 1, "'NoneType' object is not iterable"),
    # Sizes that a file of a few bytes can ask for
    ("bench of a huge input", write("h.tflite", relu(HUGE)), ["bench", "h.tflite"], 1,
     "input of 2147483647 bytes: more than"),
    ("build of a huge input", write("h.tflite", relu(HUGE)), ["build", "h.tflite", "-t", "host"], 1,
     "input of 2147483647 bytes: more than"),
    ("build of a huge output", write("h.tflite", relu((1, 4), HUGE)),
     ["build", "h.tflite", "-t", "pico"], 1, "output of 2147483647 bytes: more than"),
    # Names that no file system takes
    *((f"a long name for {words[0]} {i}", nothing, words, code, "too long")
      for i, (words, code) in enumerate([
          (["inspect", LONG], 1), (["build", LONG, "-t", "host"], 1),
          (["build", "m.tflite", "-t", LONG], 1), ([*BUILD, "-o", LONG], 1),
          ([*BUILD, "--json", LONG], 1), ([*FLOAT, LONG], 1), (["bench", LONG], 1),
          (["bench", "m.tflite", "--baseline", LONG], 1), (["flash", LONG], 1),
          (["compare", LONG, LONG], 1), (["eval", "m.tflite", "--data", LONG], 1),
          (["init", LONG], 1), (["targets", LONG], 1), (["targets", "--check", LONG], 1),
          (["build", "--project", LONG], 1)])),
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
    ("a name that is too long", nothing, ["bench", "a" * 300], 1, "File name too long"),
    ("a model in a file", nothing, ["build", "m.tflite/x", "-t", "host"], 1, "Not a directory"),
    ("compare of other files", nothing, ["compare", "m.tflite", "m.tflite"], 1, "not UTF-8|JSON"),
    ("bench of nothing", nothing, ["bench", "--sim"], 2, "nothing to measure"),
    ("bench: baud alone", nothing, ["bench", "b", "--baud", "9600"], 2, "--baud goes with --port"),
    ("bench: port and sim", nothing, ["bench", "b", "--sim", "--port", "x"], 2, "exclude each"),
    ("bench: --sim of a model", nothing, ["bench", "m.tflite", "--sim"], 2, "--target TARGET"),
    ("bench: build options", nothing, ["bench", "m.tflite", "-o", "x"], 2, "--target NAME"),
    ("bench elsewhere", nothing, ["bench", "m.tflite", "-t", "rpi"], 2, "rpi is not here"),
    ("bench where?", nothing, ["bench", "m.tflite", "-t", "cortex-m4"], 2, "say where it is"),
    (
        "bench: no firmware",
        nothing,
        ["bench", "m.tflite", "-t", "mps2-an386", "--engine", "tflm"],
        2,
        "engine tflm makes sources",
    ),
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
    allowed = {"build", "build/host"} if "--json" in arguments else set()
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
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


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
    assert run([*BUILD, "--calibration-data", "d.py"]) == 1
    assert "d.py: gave no next sample within 1 s (after 1 sample)" in capfd.readouterr().err


def test_a_closed_pipe_is_no_error(tmp_path):
    process = edgeq(["targets"], tmp_path)
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 1)
    assert process.stderr and "Traceback" not in process.stderr.read()
    process.stderr.close()
