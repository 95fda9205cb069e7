"""run.py, as it runs on a Raspberry Pi: in a folder of its own, without edgeq."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
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
    bundle = module.Bundle("x", b"", "", [], [], [], None, "", "", True, [golden], [golden])
    step = module._step(bundle, 0)
    assert step == pytest.approx(2.55 / 255)
    expected = np.array([1.0, np.nan, np.nan, np.inf, 0.0], np.float32)
    got = np.array([1.02, np.nan, 0.0, np.inf, np.inf], np.float32)
    steps = module._difference(expected, got, step)
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
    image = {"mean": 120.5, "std": 60.25, "size": [5, 6], "channels": 3}
    bundle = module.Bundle("x", b"", "", [port], [], [], image, "", "", True, [], [])
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


DAMAGE: list[tuple[str, Callable[[Path], Any], str, int]] = [
    ("no manifest", lambda b: (b / "manifest.json").unlink(), "manifest.json: No such file", 1),
    ("no JSON", lambda b: (b / "manifest.json").write_text("{"), "manifest.json is damaged", 1),
    ("nested", lambda b: (b / "manifest.json").write_text("[" * 99999), "is damaged", 1),
    ("a list", lambda b: (b / "manifest.json").write_text("[]"), "not a bundle's manifest", 1),
    ("newer", lambda b: edit(b, lambda m: m.update(schema_version=2)), "schema version 2", 1),
    ("no inputs", lambda b: edit(b, lambda m: m.pop("inputs")), "incomplete or damaged", 1),
    ("empty", lambda b: edit(b, lambda m: m.update(outputs=[])), "incomplete or damaged", 1),
    ("types", lambda b: edit(b, lambda m: m.update(golden=3)), "incomplete or damaged", 1),
    ("outside", lambda b: edit(b, lambda m: m["model"].update(file="../x")), "outside", 1),
    ("no model", lambda b: (b / "model.tflite").unlink(), "model.tflite: No such file", 1),
    ("other model", damage_model, "is not the model of this bundle", 1),
    ("no golden", lambda b: (b / "golden" / "inputs.npz").unlink(), "inputs.npz is missing", 1),
    ("cut", lambda b: (b / "golden" / "inputs.npz").write_bytes(b"PK"), "inputs.npz is missing", 1),
    ("pickle", object_array, "outputs.npz is missing or damaged", 1),
    ("count", lambda b: edit(b, lambda m: m["golden"].update(count=9)), "the manifest says", 1),
    ("dtype", lambda b: edit(b, lambda m: m["inputs"][0].update(dtype="uint8")), "says uint8", 1),
]


@pytest.mark.parametrize(("what", "change", "message", "code"), DAMAGE, ids=[d[0] for d in DAMAGE])
def test_damaged_bundles_get_an_error_and_a_hint(
    bundle: Path, what: str, change: Callable[[Path], Any], message: str, code: int
) -> None:
    change(bundle)
    found, out, err = run(bundle)
    assert found == code and message in err and out == ""
    assert err.count("error: ") == 1 and "hint:  " in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["train"], "invalid choice: 'train'", 2),
        (["bench", "--num-runs", "0"], "at least 1", 2),
        (["bench", "--min-secs", "nan"], "not a time", 2),
        (["check", "--num-threads", "two"], "invalid whole number", 2),
        (["classify"], "required: INPUT", 2),
        (["classify", "/nonexistent.npy"], "No such file", 1),
        (["classify", "/nonexistent.png"], "No such file", 1),
        (["classify", "{run}"], "no readable image", 1),
        (["classify", "{manifest}", "{manifest}"], "2 files for 1 inputs", 2),
        (["classify", "{short}"], "has the shape [3], input image needs [1, 4, 4, 1]", 1),
        (["classify", "{npz}"], "has no array image", 1),
        (["bench", "--num-runs", "1", "--min-secs", "0", "--json", "/nonexistent/x"], "No such", 1),
    ],
)
def test_wrong_commands_get_an_error_and_a_hint(
    bundle: Path, arguments: list[str], message: str, code: int
) -> None:
    np.save(bundle / "short.npy", np.zeros(3))
    np.savez(bundle / "other.npz", x=np.zeros(3))
    places = {
        "run": bundle / "run.py",
        "manifest": bundle / "manifest.json",
        "short": bundle / "short.npy",
        "npz": bundle / "other.npz",
    }
    found, _, err = run(bundle, *(a.format(**places) for a in arguments))
    assert found == code and message in err
    assert "hint:  " in err


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
    assert module._packages(python, system, machine, bits, "2.3.0") == expected


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
