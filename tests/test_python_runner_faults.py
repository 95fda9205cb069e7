"""What can be wrong with a bundle or a command of run.py: one error and a hint, no traceback."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runner_bundle import edit, make_bundle, npz, run, sign


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def damage_model(bundle: Path) -> None:
    path = bundle / "model.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")


def object_array(bundle: Path) -> None:
    np.savez(bundle / "golden" / "outputs.npz", out_0=np.array([{}], dtype=object))
    sign(bundle)


def cut_golden(bundle: Path, keep: int) -> None:
    path = bundle / "golden" / "inputs.npz"
    path.write_bytes(path.read_bytes()[:keep])
    sign(bundle)


def other_golden(bundle: Path) -> None:
    (bundle / "golden" / "inputs.npz").write_bytes(npz("in", np.zeros((4, 2), np.int8)))
    sign(bundle)


def pipe(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)


def folder(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()


def huge(bundle: Path, name: str, size: int) -> None:
    """A file of `size` bytes that takes no place on the disk."""
    with (bundle / name).open("ab") as stream:
        stream.truncate(size)


def on_top(**changes: Any) -> Callable[[Path], Any]:
    return lambda bundle: edit(bundle, lambda m: m.update(changes))


def inside(table: str, **changes: Any) -> Callable[[Path], Any]:
    """Changes in manifest[table], or in its first element where it is a list."""

    def change(manifest: dict[str, Any]) -> None:
        found = manifest[table]
        (found[0] if isinstance(found, list) else found).update(changes)

    return lambda bundle: edit(bundle, change)


def text(old: str, new: str) -> Callable[[Path], Any]:
    """Changes in the manifest's own text, for what json.dumps would not write."""

    def change(bundle: Path) -> None:
        path = bundle / "manifest.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


BAD = "incomplete or damaged: "
DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no manifest", lambda b: (b / "manifest.json").unlink(), "manifest.json: No such file"),
    ("a pipe", lambda b: pipe(b, "manifest.json"), "manifest.json: not a file"),
    ("a folder", lambda b: folder(b, "model.tflite"), "model.tflite: not a file"),
    ("1 GB", lambda b: huge(b, "manifest.json", 1 << 30), "1073741824 bytes, more than"),
    ("no JSON", lambda b: (b / "manifest.json").write_text("{"), "manifest.json is damaged"),
    ("no text", lambda b: (b / "manifest.json").write_bytes(b"\xff"), "manifest.json is damaged"),
    ("nested", lambda b: (b / "manifest.json").write_text("[" * 99999), "is damaged"),
    ("nested name", text('"tiny"', "[" * 900 + "]" * 900), "name is list, not str"),
    ("a list", lambda b: (b / "manifest.json").write_text("[]"), "not a bundle's manifest"),
    ("newer", on_top(schema_version=2), "schema version 2"),
    ("version", on_top(schema_version=[1]), BAD + "schema_version is list, not int"),
    ("no inputs", lambda b: edit(b, lambda m: m.pop("inputs")), BAD + "inputs is missing"),
    ("empty", on_top(outputs=[]), BAD + "it has no outputs"),
    ("numbers", on_top(inputs=[3]), BAD + "dtype is missing"),
    ("types", on_top(golden=3), BAD + "golden is 3, not dict"),
    ("labels", on_top(labels={}), BAD + "labels is dict, not list"),
    ("no files", on_top(files=[]), BAD + "files is list, not dict"),
    ("no digest", on_top(files={}), BAD + "golden/inputs.npz is missing"),
    ("command", on_top(reference_version="2.3.0; rm -rf ~"), "reference_version is no version"),
    ("pixels", on_top(preprocessing=[]), BAD + "preprocessing is list, not dict"),
    ("std", on_top(preprocessing={"image": {"mean": 0, "std": 0}}), BAD + "std is 0, not float"),
    ("image", on_top(preprocessing={"image": 7}), BAD + "mean is missing"),
    ("no scale", inside("inputs", scale="1"), BAD + "scale is str, not float"),
    ("NaN", inside("inputs", scale=float("nan")), BAD + "scale is nan"),
    ("infinite", text('"scale": 0.00', '"scale": 1e999, "": 0.00'), BAD + "scale is inf"),
    ("zero point", inside("inputs", zero_point=10**40), BAD + "zero_point is 1000000"),
    ("no zero point", inside("inputs", zero_point=None), BAD + "zero_point is missing"),
    ("negative", inside("inputs", shape=[1, -4, 4, 1]), BAD + "shape is -4, not int from 1"),
    ("fraction", inside("inputs", shape=[1, 4.5, 4, 1]), BAD + "shape is 4.5, not int"),
    ("large", inside("inputs", shape=[10**30]), BAD + "shape is 1000000"),
    ("larger", inside("inputs", shape=[2**60] * 50), "the manifest says image int8 [4, 1152921"),
    ("tolerance", inside("outputs", tolerance_steps=-1), BAD + "tolerance_steps is -1"),
    ("code", inside("inputs", dtype="O"), "says image O [4, 1, 4, 4, 1]"),
    ("exact", inside("golden", exact="no"), BAD + "exact is str, not bool"),
    ("no samples", inside("golden", count=0), BAD + "count is 0, not int from 1"),
    ("count", inside("golden", count=9), "the manifest says image int8 [9, 1, 4, 4, 1]"),
    ("dtype", inside("inputs", dtype="uint8", zero_point=0), "the manifest says image uint8"),
    ("digits", text('"count": 4', f'"count": {"9" * 5000}'), "manifest.json is damaged"),
    ("no model", lambda b: (b / "model.tflite").unlink(), "model.tflite: No such file"),
    ("other model", damage_model, "model.tflite is not the one of this bundle"),
    ("model pipe", lambda b: pipe(b, "model.tflite"), "model.tflite: not a file"),
    ("large model", lambda b: huge(b, "model.tflite", 1 << 40), "1099511627776 bytes, more"),
    ("no golden", lambda b: (b / "golden" / "inputs.npz").unlink(), "inputs.npz: No such file"),
    ("golden pipe", lambda b: pipe(b, "golden/inputs.npz"), "inputs.npz: not a file"),
    ("changed", lambda b: huge(b, "golden/inputs.npz", 9), "inputs.npz is not the one"),
    ("cut", lambda b: cut_golden(b, 100), "golden/inputs.npz: "),
    ("cut off", lambda b: cut_golden(b, 0), "golden/inputs.npz: "),
    ("pickle", object_array, "golden/outputs.npz: Object arrays cannot be loaded"),
    ("shape", other_golden, "golden/inputs.npz: image int8 [4, 2], the manifest says"),
]


@pytest.mark.parametrize(("what", "change", "message"), DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damaged_bundles_get_an_error_and_a_hint(
    bundle: Path, what: str, change: Callable[[Path], Any], message: str
) -> None:
    change(bundle)
    code, out, err = run(bundle)
    assert code == 1 and message in err and out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ") and hint.startswith("hint:  ") and len(err) < 2100


def test_a_manifest_cannot_name_files_elsewhere(bundle: Path) -> None:
    secret = bundle.parent / "secret"
    secret.write_text("nobody's business")
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    for name in (str(secret), "../secret"):
        edit(bundle, lambda m, name=name: m["model"].update(file=name))
        edit(bundle, lambda m, name=name: m["golden"].update(inputs=name, outputs=name))
        edit(bundle, lambda m, name=name: m["files"].update({name: digest}))
        code, out, err = run(bundle)
        assert code == 0 and "secret" not in out + err


@pytest.mark.parametrize("command", [[], ["bench", "--min-secs", "0", "--json", "-"], ["--help"]])
def test_an_output_that_takes_nothing_is_an_error(bundle: Path, command: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    reader, closed = os.pipe()
    os.close(reader)
    for place, message in ((full, "No space left on device"), (closed, "Broken pipe")):
        done = subprocess.run(
            [sys.executable, bundle / "run.py", *command], stdout=place, stderr=subprocess.PIPE
        )
        os.close(place)
        err = done.stderr.decode()
        assert done.returncode == 1 and f"error: standard output: {message}" in err
        assert "Traceback" not in err and "Exception" not in err


def test_closed_streams(bundle: Path) -> None:
    command = f"{sys.executable} {bundle / 'run.py'}"
    done = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 1 and "error: standard output: it is closed" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run(f"{command} 2>&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("PASS") == 2


def test_ctrl_c_ends_it_with_one_line(bundle: Path) -> None:
    command = [sys.executable, "-u", bundle / "run.py", "bench", "--min-secs", "50"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None and started.stdout.readline().startswith("PASS")
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted" and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["train"], "invalid choice: 'train'", 2),
        (["bench", "--num-runs", "0"], "0: not from 1 to", 2),
        (["bench", "--min-secs", "nan"], "nan: not from 0 to", 2),
        (["bench", "--max-secs", "-1"], "-1: not from 0 to", 2),
        (["bench", "--runs", "0"], "unrecognized arguments", 2),
        (["check", "--num-threads", "-1"], "-1: not from 1 to 512", 2),
        (["check", "--num-threads", "100000"], "100000: not from 1 to 512", 2),
        (["check", "--num-threads", "two"], "invalid whole number", 2),
        (["classify"], "required: INPUT", 2),
        (["classify", "/nonexistent.npy"], "No such file", 1),
        (["classify", "/nonexistent.png"], "No such file", 1),
        (["classify", "{run}"], "no readable image", 1),
        (["classify", "{manifest}", "{manifest}"], "2 files for 1 inputs", 2),
        (["classify", "{short}"], "has the shape [3], input image needs [1, 4, 4, 1]", 1),
        (["classify", "{npz}"], "it has no array image", 1),
        (["classify", "{pickle}"], "Object arrays cannot be loaded", 1),
        (["classify", "{pickle_npz}"], "Object arrays cannot be loaded", 1),
        (["classify", "{text}"], "holds <U1, not numbers", 1),
        (["classify", "{nan}"], "nan.npy holds NaN", 1),
        (["classify", "{folder}"], "not a file", 1),
        (["classify", "{pipe}"], "not a file", 1),
        (["classify", "{empty}"], "No data left in file", 1),
        (["bench", "--num-runs", "1", "--min-secs", "0", "--json", "/nonexistent/x"], "No such", 1),
    ],
)
def test_wrong_commands_get_an_error_and_a_hint(
    bundle: Path, arguments: list[str], message: str, code: int
) -> None:
    np.save(bundle / "short.npy", np.zeros(3))
    np.savez(bundle / "other.npz", x=np.zeros(3))
    for name, kind in (("pickle", object), ("text", str)):
        np.save(bundle / f"{name}.npy", np.zeros((1, 4, 4, 1), kind))
    np.save(bundle / "nan.npy", np.full((1, 4, 4, 1), np.nan))
    np.savez(bundle / "pickle.npz", image=np.zeros(3, object))
    (bundle / "folder.npy").mkdir()
    os.mkfifo(bundle / "pipe.npy")
    (bundle / "empty.npy").touch()
    places = {
        **{name: bundle / f"{name}.npy" for name in "pickle text nan folder pipe empty".split()},
        "pickle_npz": bundle / "pickle.npz",
        "run": bundle / "run.py",
        "manifest": bundle / "manifest.json",
        "short": bundle / "short.npy",
        "npz": bundle / "other.npz",
    }
    found, _, err = run(bundle, *(a.format(**places) for a in arguments))
    assert found == code and message in err
    assert err.count("error: ") == 1 and "hint:  " in err
