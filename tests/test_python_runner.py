"""run.py, as it runs on a Raspberry Pi: in a folder of its own, without edgeq."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from runner_bundle import RUN, edit, litert_version, make_bundle, npz, run, sign

from edgeq.codegen.python_runner import requirements
from edgeq.graph import Port, Quantization, Tensor
from edgeq.quantization import dequantize, quantize
from edgeq.samples import ImageOptions, open_samples


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


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
    title = f"LiteRT {litert_version()}"
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


def test_a_missing_package_names_the_line_that_installs_it(bundle: Path) -> None:
    interpreters = "ai_edge_litert tflite_runtime tensorflow"
    code, _, err = run(bundle, without=interpreters)
    assert code == 2 and "no TFLite interpreter can be used here" in err
    assert f"pip install ai-edge-litert=={litert_version()} numpy" in err
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


def test_requirements_are_those_of_the_system_and_python() -> None:
    text = requirements("litert", ["3.11", "3.13"])
    assert "Python 3.10 to 3.14 (its system has 3.11 or 3.13)" in text
    assert [s for s in text.splitlines() if s[0] != "#"] == ["ai-edge-litert==2.3.0", "numpy>=1.26"]
    assert "ai-edge-litert==2.1.4\n" in requirements("litert", (), "2.1.4")
    old = requirements("tflite-runtime", ["3.11"])
    assert [s for s in old.splitlines() if s[0] != "#"] == ["tflite-runtime==2.14.0", "numpy<2"]
    assert "python3-numpy" in old and "--system-site-packages" in old
