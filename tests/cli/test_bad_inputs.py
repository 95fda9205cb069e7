"""What a person can get wrong, each with its exit code and message: no traceback, nothing half
written, and never exit code 0."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_files import (
    GOOD,
    HUGE,
    IMAGES,
    LONG,
    array,
    big_model,
    cyclic_graph,
    files,
    gelu_model,
    huge_offset,
    hungry_model,
    image_bomb,
    keras_bomb,
    no_outputs,
    nothing,
    npy_header,
    npz_bomb,
    with_value,
    write,
)
from make_model import Maker, relu, tiny_float, tiny_int8

from edgeq.cli import run

BUILD = ["build", "m.tflite", "-t", "host"]
FLOAT = ["build", "f.tflite", "-t", "host", "--calibration-data"]
EVAL = ["eval", "m.tflite", "--data", "d.npz"]
PICS = ["eval", "m.tflite", "--data", "pics", "--image-scaling", "0..1"]

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
    ("pickled weights", write("m.pt", b"\x80\x02}q\0."), ["build", "m.pt", "-t", "host"], 1,
     "pickled PyTorch file"),
    ("a pickle called pt2", write("m.pt2", b"\x80\x02}q\0."), ["inspect", "m.pt2"], 1,
     "pickled PyTorch file"),
    ("a zip file called pt2", write("m.pt2", b"PK\x03\x04 and no more"), ["inspect", "m.pt2"], 1,
     "damaged zip file"),
    ("a Python file for a model", write("net.py", "x = 1"), ["inspect", "net.py"], 1,
     "which function makes the model"),
    ("a function of no file", nothing, ["inspect", "net.py:make"], 1, "net.py: no such file"),
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
    ("a float operator left over", array("d.npy", GOOD), [*FLOAT, "d.npy", "--no-repair"], 1,
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
    ("bench elsewhere", nothing, ["bench", "m.tflite", "-t", "rpi"], 2, "rpi is not this computer"),
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
    ("eval: no time", nothing, ["eval", "m.tflite", "--data", "x", "-t", "mps2-an386",
     "--time-limit", "0"], 2, "a time limit of 0 s"),
    ("eval: time without end", nothing, ["eval", "m.tflite", "--data", "x", "-t", "mps2-an386",
     "--time-limit", "inf"], 2, "a time limit of inf s"),
    ("eval: time that is no number", nothing, ["eval", "m.tflite", "--data", "x", "-t",
     "mps2-an386", "--time-limit", "nan"], 2, "a time limit of nan s"),
    ("eval: time limit", nothing, ["eval", "m.tflite", "--time-limit", "3"], 2, "is for a device"),
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
    command = [
        "build",
        str(keras_folder / name),
        "-t",
        "host",
        "--calibration-data",
        "d.npy",
        "--no-repair",
    ]
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
