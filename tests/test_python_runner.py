"""run.py, as it runs on a Raspberry Pi: in a folder of its own, without edgeq."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image

from edgeq import resources
from edgeq.graph import Port, Quantization, Tensor
from edgeq.quantization import dequantize, quantize
from edgeq.samples import ImageOptions, open_samples

RUN = resources.path("runtime", "runners", "python", "run.py")
SAMPLES = 4
LABELS = ("zero", "one\x1b[31m", "two \u2192", "three", "four", "five")


# --- A network and its bundle -------------------------------------------------------------------


def tiny_model() -> bytes:
    """image int8 [1, 4, 4, 1] -> RESHAPE -> FULLY_CONNECTED -> SOFTMAX -> scores int8 [1, 6]."""
    rng = np.random.default_rng(5)
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [subgraph]
    model.buffers = [schema.BufferT()]
    subgraph.tensors = []

    def tensor(
        name: str, shape: list[int], dtype: int, scale: float, zero: int, data: Any = None
    ) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name.encode(), shape, dtype, 0
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale, t.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            t.buffer = len(model.buffers) - 1
        subgraph.tensors.append(t)
        return len(subgraph.tensors) - 1

    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    image = tensor("image", [1, 4, 4, 1], int8, 1 / 255, -128)
    shape = tensor("shape", [2], int32, 1.0, 0, np.array([1, 16], np.int32))
    subgraph.tensors[shape].quantization = None
    flat = tensor("flat", [1, 16], int8, 1 / 255, -128)
    weights = rng.integers(-127, 128, (6, 16)).astype(np.int8)
    w = tensor("w", [6, 16], int8, 0.02, 0, weights)
    bias = rng.integers(-2000, 2000, 6).astype(np.int32)
    b = tensor("b", [6], int32, 0.02 / 255, 0, bias)
    logits = tensor("logits", [1, 6], int8, 0.05, 3)
    scores = tensor("scores", [1, 6], int8, 1 / 256, -128)
    model.operatorCodes = []

    def op(name: str, inputs: list[int], output: int, kind: str, options: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 4
        model.operatorCodes.append(code)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(model.operatorCodes) - 1, inputs, [output]
        o.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        o.builtinOptions = options
        subgraph.operators.append(o)

    subgraph.operators = []
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    op("RESHAPE", [image, shape], flat, "ReshapeOptions", schema.ReshapeOptionsT())
    op(
        "FULLY_CONNECTED",
        [flat, w, b],
        logits,
        "FullyConnectedOptions",
        schema.FullyConnectedOptionsT(),
    )
    op("SOFTMAX", [logits], scores, "SoftmaxOptions", softmax)
    model.operatorCodes[0].version, model.operatorCodes[2].version = 1, 2
    subgraph.inputs, subgraph.outputs = [image], [scores]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def npz(prefix: str, column: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{f"{prefix}_0": column})  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the tiny network, with real outputs of LiteRT's reference kernels."""
    folder = tmp_path_factory.mktemp("bundle")
    model = tiny_model()
    inputs = np.random.default_rng(6).integers(-128, 128, (SAMPLES, 1, 4, 4, 1)).astype(np.int8)
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    port = {"dtype": "int8", "zero_point": -128}
    manifest = {
        "schema": "edgeq.bundle",
        "schema_version": 1,
        "name": "tiny",
        "model": {"file": "model.tflite", "sha256": hashlib.sha256(model).hexdigest()},
        "inputs": [{**port, "name": "image", "shape": [1, 4, 4, 1], "scale": 1 / 255}],
        "outputs": [
            {**port, "name": "scores", "shape": [1, 6], "scale": 1 / 256, "tolerance_steps": 3}
        ],
        "labels": list(LABELS),
        "preprocessing": {"image": {"mean": 0, "std": 255, "size": [4, 4], "channels": 1}},
        "golden": {
            "inputs": "golden/inputs.npz",
            "outputs": "golden/outputs.npz",
            "count": SAMPLES,
            "reference": "LiteRT reference kernels",
            "exact": True,
        },
        "reference_version": _litert_version(),
    }
    (folder / "golden").mkdir()
    (folder / "model.tflite").write_bytes(model)
    (folder / "golden" / "inputs.npz").write_bytes(npz("in", inputs))
    (folder / "golden" / "outputs.npz").write_bytes(npz("out", np.stack(outputs)))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sign(folder)
    shutil.copy(RUN, folder / "run.py")
    return folder


def _litert_version() -> str:
    from importlib.metadata import version

    return version("ai-edge-litert")


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def sign(bundle: Path) -> None:
    """The SHA-256 of the files as they are, into the manifest."""
    files = [p for p in bundle.rglob("*") if p.suffix in (".tflite", ".npz")]
    digests = {
        p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    edit(bundle, lambda m: m.update(files=digests))


def run(bundle: Path, *arguments: str | Path, without: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of run.py, started in another folder; `without` some modules."""
    program = [str(bundle / "run.py")]
    if without:
        blocked = "; ".join(f"sys.modules[{m!r}] = None" for m in without.split())
        start = f"import runpy, sys; {blocked}; sys.argv = sys.argv[1:]; "
        program = ["-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')", *program]
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0"},
        timeout=60,
    )
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in err, err
    return done.returncode, out, err


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("edgeq_bundle_run", RUN)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses look their module up.
    spec.loader.exec_module(loaded)
    return loaded


# --- The check ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("check",), ("check", "--num_threads", "2")])
def test_the_check_passes_where_the_bundle_was_made(bundle: Path, arguments: tuple[str]) -> None:
    code, out, _ = run(bundle, *arguments)
    lines = out.splitlines()
    assert code == 0, out
    title = f"LiteRT {_litert_version()}"
    assert lines[0] == f"PASS  {title}, reference kernels: 4 samples, every byte equal"
    assert lines[1].startswith(f"PASS  {title}, fast kernels: 4 samples, at most ")
    assert lines[1].endswith("steps from the golden outputs (allowed: 3)")
    assert len(lines) == 2


def change_output(bundle: Path, steps: int) -> tuple[int, int]:
    """Move element 4 of sample 2's golden output; the value before and after."""
    path = bundle / "golden" / "outputs.npz"
    with np.load(path) as archive:
        column = archive["out_0"].copy()
    before = int(column[2, 0, 4])
    column[2, 0, 4] += steps if before + steps <= 127 else -steps
    path.write_bytes(npz("out", column))
    sign(bundle)
    return before, int(column[2, 0, 4])


def test_one_wrong_step_fails_where_bytes_must_be_equal(bundle: Path) -> None:
    before, after = change_output(bundle, 1)
    code, out, _ = run(bundle)
    assert code == 1
    where = "sample 2, output 0 (scores), index [0, 4]"
    assert f"reference kernels: {where}: expected {after}, got {before} (1 of 6" in out
    assert "PASS" in out.splitlines()[1]


def test_another_version_is_held_to_the_tolerance_only(bundle: Path) -> None:
    edit(bundle, lambda m: m.update(reference_version="0.0.1"))
    change_output(bundle, 2)
    code, out, _ = run(bundle)
    assert code == 0 and out.count("PASS") == 2 and "every byte" not in out
    change_output(bundle, 40)
    code, out, _ = run(bundle)
    assert code == 1 and out.count("FAIL") == 2
    assert "within 3 steps, got" in out


def test_outputs_that_are_not_exact_are_held_to_the_fast_kernels_only(bundle: Path) -> None:
    edit(bundle, lambda m: m["golden"].update(exact=False))
    code, out, _ = run(bundle)
    assert code == 0 and len(out.splitlines()) == 1 and "fast kernels" in out


def test_float_outputs_are_measured_in_parts_of_their_range(module: ModuleType) -> None:
    golden = np.array([[0.0, 1.0], [-1.55, 1.0]], np.float32)
    step = module.step_of(golden)
    assert step == pytest.approx(2.55 / 255)
    expected = np.array([1.0, np.nan, np.nan, np.inf, 0.0], np.float32)
    got = np.array([1.02, np.nan, 0.0, np.inf, np.inf], np.float32)
    steps = module.difference(expected, got, step)
    np.testing.assert_allclose(steps, [2, 0, np.inf, 0, np.inf], rtol=1e-5)


# --- The benchmark ------------------------------------------------------------------------------


def test_bench_measures_after_a_passed_check(bundle: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, out, _ = run(
        bundle,
        "bench",
        "--num-runs",
        "30",
        "--min-secs",
        "0",
        "--warmup_runs",
        "2",
        "--json",
        report,
    )
    assert code == 0
    assert out.count("PASS") == 2 and "median" in out and ", 30 runs" in out
    data = json.loads(report.read_text())
    assert data["schema"] == "edgeq.run" and data["schema_version"] == 1
    assert data["count"] == len(data["samples_ns"]) == 30
    assert data["min_ms"] == min(data["samples_ns"]) / 1e6
    assert data["median_ms"] == pytest.approx(np.median(data["samples_ns"]) / 1e6)
    assert (
        data["model_sha256"] == hashlib.sha256((bundle / "model.tflite").read_bytes()).hexdigest()
    )


def test_bench_stops_at_max_secs(bundle: Path) -> None:
    code, out, _ = run(bundle, "bench", "--num-runs", "1000000000", "--max-secs", "0.2")
    assert code == 0 and " runs" in out


def test_bench_times_nothing_when_the_outputs_are_wrong(bundle: Path, tmp_path: Path) -> None:
    change_output(bundle, 50)
    code, out, _ = run(bundle, "bench", "--json", tmp_path / "r.json")
    assert code == 1 and "not timed" in out and "median" not in out
    assert not (tmp_path / "r.json").exists()


def test_percentiles_are_samples(module: ModuleType) -> None:
    summary = module.summarize([int(n * 1e6) for n in range(100, 0, -1)])
    assert summary == {"median_ms": 50.5, "p95_ms": 95.0, "min_ms": 1.0, "max_ms": 100.0}
    assert module.summarize([3_000_000]) == dict.fromkeys(summary, 3.0)


# --- One input ----------------------------------------------------------------------------------


def test_classify_takes_arrays_and_images(bundle: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 4)).astype(np.uint8)
    real = pixels.astype(np.float32) / np.float32(255)
    stored = (pixels.astype(np.int16) - 128).astype(np.int8)
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "stored.npy", stored.reshape(1, 4, 4, 1))
    np.savez(tmp_path / "named.npz", image=real.reshape(4, 4, 1))
    Image.fromarray(pixels).save(tmp_path / "image.png")
    answers = {run(bundle, "classify", p) for p in sorted(tmp_path.glob("*.*"))}
    assert len({a[:2] for a in answers}) == 1
    code, out, _ = answers.pop()
    lines = out.splitlines()
    assert code == 0 and len(lines) == 5
    values = [float(line.split()[1]) for line in lines]
    assert values == sorted(values, reverse=True) and 0 < sum(values) <= 1.01
    assert "\x1b" not in out


def test_classify_quantizes_and_scales_images_as_edgeq_does(
    module: ModuleType, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tensor = Tensor(0, "x", (1, 5, 6, 3), "int8", Quantization((0.01,), (-3,)))
    options = ImageOptions(mean=120.5, std=60.25)
    (wanted,) = open_samples(tmp_path, [Port("x", tensor)], images=options).get(0)
    port = module.Port("x", tensor.shape, "int8", 0.01, -3, 0)
    bundle = module.Bundle("x", {}, b"", [port], [], [], (120.5, 60.25), "", True, [], [])
    (got,) = module.read_inputs(bundle, [tmp_path / "a.png"])
    np.testing.assert_array_equal(got, quantize(wanted, tensor))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_rounding_is_that_of_edgeq(module: ModuleType, dtype: str) -> None:
    tensor = Tensor(0, "x", (1,), dtype, Quantization((0.1,), (7,)))
    port = module.Port("x", (1,), dtype, 0.1, 7, 0)
    halves = (np.arange(-3000, 3000, dtype=np.float32) + np.float32(0.5)) * np.float32(0.1)
    values = np.concatenate([halves, [np.inf, -np.inf, 1e30]]).astype(np.float32)
    stored = quantize(values, tensor)
    np.testing.assert_array_equal(module.quantize(values, port), stored)
    np.testing.assert_array_equal(module.dequantize(stored, port), dequantize(stored, tensor))
    assert module.quantize(np.array([np.nan], np.float32), port)[0] == 7


# --- What can be wrong --------------------------------------------------------------------------


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
    ("empty", on_top(outputs=[]), BAD + "it has no inputs or no outputs"),
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
    ("code", inside("inputs", dtype="O"), BAD + "dtype is O"),
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


def test_ctrl_c_ends_it_with_one_line(bundle: Path) -> None:
    command = [sys.executable, bundle / "run.py", "bench", "--min-secs", "50"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    time.sleep(0.2)
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
    np.savez(bundle / "pickle.npz", image=np.zeros(3, object))
    (bundle / "folder.npy").mkdir()
    os.mkfifo(bundle / "pipe.npy")
    (bundle / "empty.npy").touch()
    places = {
        **{name: bundle / f"{name}.npy" for name in "pickle text folder pipe empty".split()},
        "pickle_npz": bundle / "pickle.npz",
        "run": bundle / "run.py",
        "manifest": bundle / "manifest.json",
        "short": bundle / "short.npy",
        "npz": bundle / "other.npz",
    }
    found, _, err = run(bundle, *(a.format(**places) for a in arguments))
    assert found == code and message in err
    assert err.count("error: ") == 1 and "hint:  " in err


def test_a_missing_package_names_the_line_that_installs_it(bundle: Path) -> None:
    interpreters = "ai_edge_litert tflite_runtime tensorflow"
    code, _, err = run(bundle, without=interpreters)
    assert code == 2 and "no TFLite interpreter can be used here" in err
    assert f"pip install ai-edge-litert=={_litert_version()} numpy" in err
    code, _, err = run(bundle, without="numpy")
    assert code == 2 and "numpy is not installed" in err and "pip install" in err
    (bundle / "x.png").write_bytes(b"")
    code, _, err = run(bundle, "classify", bundle / "x.png", without="PIL")
    assert code == 2 and "-m pip install pillow" in err


@pytest.mark.parametrize(
    ("python", "system", "machine", "bits", "expected"),
    [
        ((3, 11), "Linux", "aarch64", 64, "ai-edge-litert==2.3.0 numpy"),
        ((3, 13), "Linux", "x86_64", 64, "ai-edge-litert==2.3.0 numpy"),
        ((3, 12), "Darwin", "arm64", 64, "ai-edge-litert==2.3.0 numpy"),
        ((3, 11), "Linux", "armv7l", 32, "tflite-runtime==2.14.0 'numpy<2'"),
        # A 32-bit system on a 64-bit kernel, as Raspberry Pi OS has it.
        ((3, 11), "Linux", "aarch64", 32, "tflite-runtime==2.14.0 'numpy<2'"),
        ((3, 9), "Linux", "aarch64", 64, "tflite-runtime==2.14.0 'numpy<2'"),
        ((3, 13), "Linux", "armv7l", 32, None),
        ((3, 11), "Linux", "riscv64", 64, None),
        ((3, 11), "Linux", "i686", 32, None),
        ((3, 11), "Darwin", "x86_64", 64, None),
    ],
)
def test_packages_are_those_that_pypi_has(
    module: ModuleType,
    python: tuple[int, int],
    system: str,
    machine: str,
    bits: int,
    expected: str | None,
) -> None:
    assert module.packages_for(python, system, machine, bits, "2.3.0") == expected


def test_it_is_one_file_for_python_39() -> None:
    tree = ast.parse(RUN.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"numpy", "PIL"}
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "strict"]
