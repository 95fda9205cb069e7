#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check, time or use the network in this folder.

    python run.py                   does this computer compute what the golden vectors say?
    python run.py bench             the same check, then how fast it is
    python run.py classify INPUT    the five best classes for an .npy, an .npz or an image

One file of edgeq's, the same in every bundle. It reads manifest.json, model.tflite and golden/
beside itself, and needs Python 3.9 or later, numpy, and one of ai-edge-litert, tflite-runtime and
tensorflow. Exit code: 0 fine, 1 outputs differ or a file is wrong, 2 usage or a missing package.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import math
import os
import platform
import re
import struct
import sys
import sysconfig
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

HERE = Path(__file__).resolve().parent
SCHEMA = "edgeq.bundle"
SCHEMA_VERSION = 1

PACKAGES = (
    # package on PyPI, module with Interpreter and OpResolverType, name for people
    ("ai-edge-litert", "ai_edge_litert.interpreter", "LiteRT"),
    ("tflite-runtime", "tflite_runtime.interpreter", "TFLite runtime"),
    ("tensorflow", "tensorflow.lite.python.interpreter", "TensorFlow Lite"),
)
EXACT_PACKAGE = "ai-edge-litert"
"""The golden outputs are its reference kernels', which round the same on every processor."""

FLOAT_STEPS = 255
"""A step of a float output, which has no scale, is this part of its golden values' range."""

TOP = 5

BASELINE = "baseline_float32.tflite"

MOST_CLIPPED = 0.2
"""Share of an input's values beyond what it holds, above which its scaling is doubted."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Problem(Exception):
    """Something a person can put right: what is wrong, what to do, and the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def show(value: object) -> str:
    """`value` as text that cannot move the cursor or colour the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", str(value))


# --- The bundle ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """An input or output of the model, as the manifest describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int
    tolerance: int

    @property
    def quantized(self) -> bool:
        return self.scale is not None and self.dtype in ("int8", "uint8", "int16")


@dataclass(frozen=True)
class Bundle:
    """The files beside this one, read and checked. Golden arrays have the samples first."""

    name: str
    model: bytes
    sha256: str
    inputs: list[Port]
    outputs: list[Port]
    labels: list[str]
    image: dict[str, Any] | None
    reference_version: str
    reference: str
    exact: bool
    golden_inputs: list[Any]
    golden_outputs: list[Any]

    @property
    def count(self) -> int:
        return len(self.golden_inputs[0])

    def sample(self, index: int) -> list[Any]:
        return [column[index] for column in self.golden_inputs]


def read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    again = "copy the whole bundle again, or build it again"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise Problem(f"{path.name}: {e.strerror or e}", "run.py must stay in its bundle") from e
    except (ValueError, RecursionError) as e:
        raise Problem(f"{path.name} is damaged: {e}", again) from e
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise Problem(f"{path.name} is not a bundle's manifest", again)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise Problem(
            f"{path.name} has schema version {manifest.get('schema_version')}, this run.py reads "
            f"{SCHEMA_VERSION}",
            "use the run.py that came with this bundle",
        )
    return manifest


def read_bundle(folder: Path, manifest: dict[str, Any]) -> Bundle:
    try:
        inputs = [_port(entry) for entry in manifest["inputs"]]
        outputs = [_port(entry) for entry in manifest["outputs"]]
        sha256 = str(manifest["model"]["sha256"])
        model_path = _inside(folder, manifest["model"]["file"])
        golden = manifest["golden"]
        paths = [_inside(folder, golden[side]) for side in ("inputs", "outputs")]
        count = int(golden["count"])
        reference = str(golden["reference"])
        exact = bool(golden["exact"])
        reference_version = str(manifest["reference_version"])
        labels = [str(label) for label in manifest.get("labels") or []]
        image = (manifest.get("preprocessing") or {}).get("image")
        name = str(manifest["name"])
        if not inputs or not outputs or count < 1:
            raise ValueError("no inputs, outputs or golden vectors")
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise Problem(
            f"manifest.json is incomplete or damaged: {type(e).__name__}: {e}",
            "copy the whole bundle again, or build it again",
        ) from e
    model = _read(model_path)
    found = hashlib.sha256(model).hexdigest()
    if found != sha256:
        raise Problem(
            f"{model_path.name} is not the model of this bundle: its SHA-256 is {found[:16]}..., "
            f"the manifest says {sha256[:16]}...",
            "copy the whole bundle again; its files belong together",
        )
    return Bundle(
        name=name,
        model=model,
        sha256=sha256,
        inputs=inputs,
        outputs=outputs,
        labels=labels,
        image=image,
        reference_version=reference_version,
        reference=reference,
        exact=exact,
        golden_inputs=_read_golden(paths[0], "in", inputs, count),
        golden_outputs=_read_golden(paths[1], "out", outputs, count),
    )


def _port(entry: dict[str, Any]) -> Port:
    scale = entry.get("scale")
    zero_point = entry.get("zero_point")
    return Port(
        name=str(entry["name"]),
        shape=tuple(int(size) for size in entry["shape"]),
        dtype=str(np.dtype(entry["dtype"])),
        scale=None if scale is None else float(scale),
        zero_point=0 if zero_point is None else int(zero_point),
        tolerance=int(entry.get("tolerance_steps", 0)),
    )


def _inside(folder: Path, name: object) -> Path:
    path = folder / str(name)
    if os.path.isabs(str(name)) or ".." in Path(str(name)).parts:
        raise ValueError(f"{show(name)} is outside of the bundle")
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise Problem(f"{path.name}: {e.strerror or e}", "copy the whole bundle again") from e


def _read_golden(path: Path, prefix: str, ports: list[Port], count: int) -> list[Any]:
    again = "copy the whole bundle again, or build it again"
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = [archive[f"{prefix}_{i}"] for i in range(len(ports))]
    except Exception as e:  # zipfile, zlib and numpy each have errors of their own for damage
        raise Problem(f"{path.name} is missing or damaged: {e}", again) from e
    for port, column in _pairs(ports, columns):
        wanted = (count, *port.shape)
        if column.shape != wanted or str(column.dtype) != port.dtype:
            raise Problem(
                f"{path.name}: {show(port.name)} is {column.dtype} {list(column.shape)}, the "
                f"manifest says {port.dtype} {list(wanted)}",
                again,
            )
    return columns


def _pairs(left: list[Any], right: list[Any]) -> list[tuple[Any, Any]]:
    """zip(strict=True), which Python 3.9 does not have."""
    if len(left) != len(right):
        raise Problem(
            f"model.tflite has {len(right)} inputs or outputs where the manifest has {len(left)}",
            "copy the whole bundle again, or build it again",
        )
    return [(left[i], right[i]) for i in range(len(left))]


# --- The interpreter ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Runtime:
    """The first interpreter package that could be imported."""

    package: str
    title: str
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{self.title} {self.version}"


def find_runtime(litert_version: str) -> Runtime:
    broken = []
    for package, name, title in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as e:
            if (e.name or "").split(".")[0] != name.split(".")[0]:
                broken.append(f"{package} cannot be imported: {e}")
            continue
        except Exception as e:  # a build for another numpy or glibc fails in ways of its own
            broken.append(f"{package} cannot be imported: {type(e).__name__}: {e}")
            continue
        # Imports, then fails in the first call.
        if package == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            broken.append(f"{package} needs numpy<2, and numpy {np.__version__} is installed")
            continue
        return Runtime(package, title, _version(package), module)
    raise Problem(
        "no TFLite interpreter can be used here" + "".join(f"\n       {line}" for line in broken),
        install_hint(litert_version),
        2,
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"  # tensorflow comes under several names


def install_hint(litert_version: str) -> str:
    """The line that installs an interpreter for this Python on this machine."""
    packages = _packages(
        sys.version_info[:2],
        platform.system(),
        platform.machine().lower(),
        8 * struct.calcsize("P"),
        litert_version,
    )
    if packages is None:
        return (
            f"none is published for Python {platform.python_version()} ({8 * struct.calcsize('P')}"
            f" bit) on {platform.system()} {platform.machine()}: a 64-bit system with Python 3.10 "
            "or later has one, so has 32-bit Arm Linux with Python 3.9 to 3.11"
        )
    line = f"pip install {packages}"
    if sys.prefix != sys.base_prefix or not _externally_managed():
        return f"{sys.executable} -m {line}"
    # 32-bit Arm has no numpy on PyPI; the system's is seen through --system-site-packages.
    system = " --system-site-packages" if "tflite-runtime" in packages else ""
    return (
        f"this Python belongs to the system, so in an environment of its own:\n"
        f"{sys.executable} -m venv{system} venv && venv/bin/{line} && venv/bin/python run.py"
    )


def _packages(
    python: tuple[int, int], system: str, machine: str, bits: int, litert_version: str
) -> str | None:
    """What to install, by the wheels that PyPI has; None when it has none."""
    wide = {
        "Linux": ("x86_64", "aarch64", "arm64"),
        "Darwin": ("arm64",),
        "Windows": ("amd64",),
    }
    # A 32-bit Python reports the kernel's machine, which on a Raspberry Pi is often aarch64.
    if bits == 64 and machine in wide.get(system, ()) and python >= (3, 10):
        return f"ai-edge-litert=={litert_version} numpy"
    small = bits == 32 and re.match("arm|aarch64", machine) and (3, 9) <= python <= (3, 11)
    old = bits == 64 and machine in wide["Linux"] and python == (3, 9)
    if system == "Linux" and (small or old):
        return "tflite-runtime==2.14.0 'numpy<2'"
    return None


def _externally_managed() -> bool:
    return Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()


class Network:
    """The model in an interpreter, with fast kernels or with the portable reference kernels."""

    def __init__(self, runtime: Runtime, bundle: Bundle, reference: bool, threads: int) -> None:
        options: dict[str, Any] = {"model_content": bundle.model, "num_threads": threads}
        if reference:
            resolvers = runtime.module.OpResolverType
            options["experimental_op_resolver_type"] = resolvers.BUILTIN_REF
        try:
            self._interpreter = runtime.module.Interpreter(**options)
            self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError, TypeError, AttributeError, SystemError) as e:
            raise Problem(
                f"{runtime} cannot run this model: {e}",
                "it may be too old: install the packages of requirements.txt",
            ) from e
        for ports, details in ((bundle.inputs, inputs), (bundle.outputs, outputs)):
            for port, detail in _pairs(ports, details):
                dtype, shape = str(np.dtype(detail["dtype"])), tuple(map(int, detail["shape"]))
                if (dtype, shape) != (port.dtype, port.shape):
                    raise Problem(
                        f"{show(port.name)} is {dtype} {list(shape)} in the model, the manifest "
                        f"says {port.dtype} {list(port.shape)}",
                        "copy the whole bundle again, or build it again",
                    )
        self._inputs = [int(detail["index"]) for detail in inputs]
        self._outputs = [int(detail["index"]) for detail in outputs]

    def load(self, inputs: list[Any]) -> None:
        # A network with state starts every sample from the same state, as it did for the golden
        # outputs.
        self._interpreter.reset_all_variables()
        for i, index in enumerate(self._inputs):
            self._interpreter.set_tensor(index, inputs[i])

    def invoke(self) -> None:
        self._interpreter.invoke()

    def run(self, inputs: list[Any]) -> list[Any]:
        self.load(inputs)
        self.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


# --- Commands -----------------------------------------------------------------------------------


def check(bundle: Bundle, runtime: Runtime, threads: int = 1) -> bool:
    """Compare with the golden outputs, a line for each kind of kernels; whether all passed."""
    same = runtime.package == EXACT_PACKAGE and runtime.version == bundle.reference_version
    # A model with a float operator, or one that the reference kernels lack, has no exact outputs.
    passed = not bundle.exact or _check_kernels(bundle, runtime, True, same, threads)
    return _check_kernels(bundle, runtime, False, False, threads) and passed


def _check_kernels(
    bundle: Bundle, runtime: Runtime, reference: bool, exact: bool, threads: int
) -> bool:
    kernels = f"{runtime}, {'reference' if reference else 'fast'} kernels"
    steps = [_step(bundle, i) for i in range(len(bundle.outputs))]
    network = Network(runtime, bundle, reference, threads)
    largest = 0.0
    for sample in range(bundle.count):
        outputs = network.run(bundle.sample(sample))
        for i, got in enumerate(outputs):
            expected = bundle.golden_outputs[i][sample]
            tolerance = 0 if exact else bundle.outputs[i].tolerance
            difference = _difference(expected, got, steps[i])
            wrong = difference > tolerance
            if exact:
                wrong |= _bits(expected) != _bits(got)
            if wrong.any():
                where = f"sample {sample}, output {i} ({show(bundle.outputs[i].name)})"
                print(f"FAIL  {kernels}: {where}, {_first(wrong, expected, got, tolerance)}")
                return False
            largest = max(largest, float(difference.max(initial=0.0)))
    if exact:
        verdict = "every byte equal"
    else:
        allowed = max(port.tolerance for port in bundle.outputs)
        verdict = f"at most {largest:.4g} steps from the golden outputs (allowed: {allowed})"
    print(f"PASS  {kernels}: {bundle.count} samples, {verdict}")
    return True


def _step(bundle: Bundle, output: int) -> float:
    """One quantization step of an output, in its stored values."""
    golden = bundle.golden_outputs[output]
    if golden.dtype.kind != "f":
        return 1.0
    finite = golden[np.isfinite(golden)].astype(np.float64)
    low, high = min(0.0, finite.min(initial=0.0)), max(0.0, finite.max(initial=0.0))
    return float(high - low) / FLOAT_STEPS or 1.0 / FLOAT_STEPS


def _difference(expected: Any, got: Any, step: float) -> Any:
    """How many steps apart, element by element. NaN is equal to NaN, far from all else."""
    if expected.dtype.kind != "f":
        return np.abs(expected.astype(np.int64) - got.astype(np.int64)).astype(np.float64)
    a, b = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        steps = np.abs(a - b) / step
    steps = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, steps)
    return np.where(np.isnan(steps), np.inf, steps)


def _bits(values: Any) -> Any:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _first(wrong: Any, expected: Any, got: Any, tolerance: int) -> str:
    index = tuple(int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    within = f" within {tolerance} steps" if tolerance else ""
    return (
        f"index {list(index)}: expected {expected[index]}{within}, got {got[index]} "
        f"({int(wrong.sum())} of {wrong.size} values are wrong)"
    )


def bench(bundle: Bundle, runtime: Runtime, options: argparse.Namespace) -> bool:
    out = sys.stderr if options.json == "-" else sys.stdout
    with contextlib.redirect_stdout(out):
        if not check(bundle, runtime, options.num_threads):
            print("not timed: the outputs are wrong")
            return False
        network = Network(runtime, bundle, False, options.num_threads)
        samples = _time(network, [bundle.sample(i) for i in range(bundle.count)], options)
        summary = summarize(samples)
        _print_times(show(bundle.name), runtime, options, samples)
        baseline = _bench_baseline(bundle, runtime, options)
        if baseline is not None:
            ratio = baseline["median_ms"] / summary["median_ms"]
            print(f"{show(bundle.name)} is {ratio:.2f} times as fast as its float32 baseline")
    if options.json:
        _write_json(bundle, runtime, options, samples, summary, baseline)
    return True


def _bench_baseline(
    bundle: Bundle, runtime: Runtime, options: argparse.Namespace
) -> dict[str, float] | None:
    """The float model of the same network on the same real numbers, where the bundle has it."""
    if not (HERE / BASELINE).is_file():
        return None
    floats = [replace(port, dtype="float32", scale=None) for port in bundle.inputs]
    outputs = [replace(port, dtype="float32", scale=None) for port in bundle.outputs]
    model = _read(HERE / BASELINE)
    original = replace(bundle, model=model, inputs=floats, outputs=outputs)
    network = Network(runtime, original, False, options.num_threads)
    inputs = [
        [dequantize(stored, port) for port, stored in _pairs(bundle.inputs, bundle.sample(i))]
        for i in range(bundle.count)
    ]
    samples = _time(network, inputs, options)
    _print_times("float32 baseline", runtime, options, samples)
    return summarize(samples)


def _time(network: Network, inputs: list[list[Any]], options: argparse.Namespace) -> list[int]:
    """Nanoseconds of each timed inference, after the warm-up."""
    for run in range(options.warmup_runs):
        network.run(inputs[run % len(inputs)])
    samples: list[int] = []
    started = time.perf_counter()
    while True:
        elapsed = time.perf_counter() - started
        if samples and elapsed >= options.max_secs:
            break
        if len(samples) >= options.num_runs and elapsed >= options.min_secs:
            break
        network.load(inputs[len(samples) % len(inputs)])
        before = time.perf_counter_ns()
        network.invoke()
        samples.append(time.perf_counter_ns() - before)
    return samples


def _print_times(
    name: str, runtime: Runtime, options: argparse.Namespace, samples: list[int]
) -> None:
    summary = summarize(samples)
    print(
        f"{name}: {runtime}, {options.num_threads} thread(s): "
        + ", ".join(
            f"{key} {summary[key + '_ms']:.3f} ms" for key in ("median", "p95", "min", "max")
        )
        + f", {len(samples)} runs"
    )


def summarize(samples: list[int]) -> dict[str, float]:
    """Nanoseconds to milliseconds. p95 is the smallest sample that 95 % do not exceed."""
    ordered = sorted(samples)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    values = {
        "median_ms": median,
        "p95_ms": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "min_ms": ordered[0],
        "max_ms": ordered[-1],
    }
    return {key: value / 1e6 for key, value in values.items()}


def _write_json(
    bundle: Bundle,
    runtime: Runtime,
    options: argparse.Namespace,
    samples: list[int],
    summary: dict[str, float],
    baseline: dict[str, float] | None,
) -> None:
    document = {
        "schema": "edgeq.run",
        "schema_version": 1,
        "name": bundle.name,
        "model_sha256": bundle.sha256,
        "interpreter": runtime.package,
        "interpreter_version": runtime.version,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "num_threads": options.num_threads,
        "warmup_runs": options.warmup_runs,
        "count": len(samples),
        **summary,
        "float32_baseline": baseline,
        "samples_ns": samples,
    }
    text = json.dumps(document) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
        return
    try:
        Path(options.json).write_text(text, encoding="utf-8")
    except OSError as e:
        raise Problem(f"{options.json}: {e.strerror or e}", "choose another file for --json") from e


def classify(bundle: Bundle, runtime: Runtime, files: list[str]) -> None:
    inputs = read_inputs(bundle, [Path(name) for name in files])
    outputs = Network(runtime, bundle, False, 1).run(inputs)
    for port, stored in _pairs(bundle.outputs, outputs):
        if len(outputs) > 1:
            print(f"{show(port.name)}:")
        values = dequantize(stored, port).reshape(-1)
        if values.size == 1:
            print(f"{values[0]:.4f}")  # A single number is no ranking.
            continue
        named = len(bundle.labels) == values.size
        for rank, index in enumerate(np.argsort(-values, kind="stable")[:TOP]):
            label = bundle.labels[index] if named else f"class {index}"
            print(f"{rank + 1}. {values[index]:9.4f}  {show(label)}")


# --- Inputs -------------------------------------------------------------------------------------


def read_inputs(bundle: Bundle, paths: list[Path]) -> list[Any]:
    """One stored array for each input of the model, from .npy files, one .npz, or an image."""
    if len(paths) == 1 and paths[0].suffix == ".npz":
        arrays = _load(paths[0])
        names = [port.name for port in bundle.inputs]
        missing = [name for name in names if name not in arrays.files]
        if missing:
            raise Problem(
                f"{paths[0].name} has no array {show(missing[0])}",
                f"name its arrays after the inputs: {show(', '.join(names))}",
            )
        found = [(paths[0].name, arrays[name]) for name in names]
    elif len(paths) != len(bundle.inputs):
        names = [f"{show(p.name)} {p.dtype} {list(p.shape)}" for p in bundle.inputs]
        raise Problem(
            f"{len(paths)} files for {len(bundle.inputs)} inputs",
            f"in this order: {', '.join(names)}",
            2,
        )
    else:
        found = [
            (path.name, _load(path) if path.suffix == ".npy" else _image(bundle, port, path))
            for port, path in _pairs(bundle.inputs, paths)
        ]
    return [_store(name, values, port) for port, (name, values) in _pairs(bundle.inputs, found)]


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as e:  # zipfile, zlib and numpy each have errors of their own for damage
        what = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise Problem(f"{path}: {what}", "np.save() writes such a file, of plain numbers") from e


def _store(name: str, values: Any, port: Port) -> Any:
    """`values` as the model stores them: quantized unless they already are."""
    shape = port.shape
    if values.dtype.kind not in "fiub":
        raise Problem(f"{name} holds {values.dtype}, not numbers", "np.save() numbers")
    # The batch of one and a last dimension of one may be left out, as in calibration data.
    if shape[:1] == (1,) and values.shape in (shape[1:], shape[1:-1] if shape[-1] == 1 else None):
        values = values.reshape(shape)
    if values.shape != shape:
        raise Problem(
            f"{name} has the shape {list(values.shape)}, "
            f"input {show(port.name)} needs {list(shape)}",
            "one sample at a time, in the shape that the network was trained on",
        )
    return quantize(values, port)


def _image(bundle: Bundle, port: Port, path: Path) -> Any:
    if bundle.image is None:
        raise Problem(
            f"{path}: no .npy or .npz, and this model's manifest does not say how pixels become "
            "numbers",
            f"give an .npy of shape {list(port.shape)}",
            2,
        )
    try:
        from PIL import Image
    except ImportError as e:
        raise Problem(
            "reading images needs Pillow", f"{sys.executable} -m pip install pillow", 2
        ) from e
    if len(port.shape) != 4:
        raise Problem(
            f"input {show(port.name)} of shape {list(port.shape)} takes no image", "give an .npy"
        )
    try:
        height, width = map(int, bundle.image.get("size") or port.shape[1:3])
        channels = int(bundle.image.get("channels") or port.shape[3])
        mean, std = np.float32(bundle.image["mean"]), np.float32(bundle.image["std"])
    except (KeyError, TypeError, ValueError) as e:
        raise Problem(f"manifest.json: damaged preprocessing: {e}", "build it again") from e
    try:
        with Image.open(path) as picture:
            converted = picture.convert("L" if channels == 1 else "RGB")
            if converted.size != (width, height):
                # Image.BILINEAR, and not Image.Resampling, for the Pillow 8 of older systems.
                converted = converted.resize((width, height), getattr(Image, "BILINEAR", 2))
            pixels = np.asarray(converted, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        what = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise Problem(
            f"{path}: no readable image: {what}", "INPUT is an image, an .npy or an .npz"
        ) from e
    return ((pixels - mean) / std).reshape(1, height, width, channels)


def quantize(values: Any, port: Port) -> Any:
    """clamp(round(value / scale) + zero point), halves away from zero, as TFLite rounds.

    Values of the input's own type are taken as stored; not so uint8, which pixels have too.
    """
    dtype = np.dtype(port.dtype)
    if not port.quantized or (values.dtype == dtype and dtype != np.uint8):
        return values.astype(dtype)
    with np.errstate(over="ignore"):
        wide = (values.astype(np.float32) / np.float32(port.scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(wide) + 0.5), wide) + port.zero_point
    rounded = np.where(np.isnan(rounded), port.zero_point, rounded)
    limits = np.iinfo(dtype)
    beyond = float(np.mean((rounded < limits.min - 1) | (rounded > limits.max + 1)))
    if beyond > MOST_CLIPPED:
        print(
            f"warning: {beyond:.0%} of {show(port.name)}'s values are outside of what it holds; "
            "were they scaled as in training?",
            file=sys.stderr,
        )
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def dequantize(values: Any, port: Port) -> Any:
    if not port.quantized:
        return values.astype(np.float32)
    return (values.astype(np.int64) - port.zero_point).astype(np.float32) * np.float32(port.scale)


# --- The command line ---------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problem(message, f"{self.prog} --help", 2)


def whole(low: int) -> Any:
    def parse(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{value}: at least {low}")
        return value

    parse.__name__ = "whole number"
    return parse


def seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: not a time in seconds")
    return value


def parser() -> Parser:
    parser = Parser(prog="run.py", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", parser_class=Parser)
    checking = commands.add_parser("check", help="compare with the golden outputs (the default)")
    timing = commands.add_parser("bench", help="check, then measure the time of an inference")
    for command in (checking, timing):
        _option(command, "--num-threads", type=whole(1), default=1)
    _option(timing, "--num-runs", type=whole(1), default=50, help="at least so many (%(default)s)")
    _option(timing, "--warmup-runs", type=whole(0), default=1, help="untimed (%(default)s)")
    _option(timing, "--min-secs", type=seconds, default=1.0, help="at least (%(default)s)")
    _option(timing, "--max-secs", type=seconds, default=150.0, help="at most (%(default)s)")
    timing.add_argument("--json", metavar="FILE", help="write every sample there; - is stdout")
    using = commands.add_parser("classify", help="run one input and print the best classes")
    using.add_argument("input", nargs="+", metavar="INPUT", help=".npy, .npz or an image")
    return parser


def _option(command: argparse.ArgumentParser, name: str, **options: Any) -> None:
    """An option under its own name and, as benchmark_model spells it, with underscores."""
    command.add_argument(name, "--" + name[2:].replace("-", "_"), **options)


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    manifest = read_manifest(HERE)
    litert_version = str(manifest.get("reference_version", "2.3.0"))
    if np is None:
        raise Problem("numpy is not installed", install_hint(litert_version), 2)
    bundle = read_bundle(HERE, manifest)
    runtime = find_runtime(litert_version)
    if options.command == "bench":
        return 0 if bench(bundle, runtime, options) else 1
    if options.command == "classify":
        classify(bundle, runtime, options.input)
        return 0
    return 0 if check(bundle, runtime, getattr(options, "num_threads", 1)) else 1


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        for line in problem.hint.splitlines():
            print(f"hint:  {line}", file=sys.stderr)
        sys.exit(problem.code)
    except KeyboardInterrupt:
        sys.exit(130)
