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
import io
import json
import math
import os
import platform
import re
import signal
import stat
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from struct import calcsize
from typing import Any, NoReturn


def interrupted(*_: object) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)  # Before the imports that take seconds.

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

HERE = Path(__file__).resolve().parent
SCHEMA, SCHEMA_VERSION = "edgeq.bundle", 1
MANIFEST, MODEL, BASELINE = "manifest.json", "model.tflite", "baseline_float32.tflite"
MANIFEST_LIMIT, FILE_LIMIT = 1 << 24, 1 << 31
"""Bytes. No manifest of edgeq's is near the first, and no .tflite can be larger than the second."""

QUANTIZED = ("int8", "uint8", "int16")

PACKAGES = (
    # package on PyPI, module with Interpreter and OpResolverType, name for people
    ("ai-edge-litert", "ai_edge_litert.interpreter", "LiteRT"),
    ("tflite-runtime", "tflite_runtime.interpreter", "TFLite runtime"),
    ("tensorflow", "tensorflow.lite.python.interpreter", "TensorFlow Lite"),
)
WHEELS = "Linux-x86_64 Linux-aarch64 Linux-arm64 Darwin-arm64 Windows-amd64".split()
"""64-bit systems for which PyPI has the first of them."""

EXACT_PACKAGE = "ai-edge-litert"
"""The golden outputs are its reference kernels', which round the same on every processor."""

FLOAT_STEPS = 255
"""A step of a float output, which has no scale, is this part of its golden values' range."""

TOP = 5
MOST_THREADS = 512
"""Interpreters crash when they are asked for some thousand."""

MOST_CLIPPED = 0.2
"""Share of an input's values beyond what it holds, above which its scaling is doubted."""

AGAIN = "copy the whole bundle again, or build it again"
NPY = "give an .npy: np.save() writes one, of plain numbers"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Problem(Exception):
    """Something a person can put right: what is wrong, what to do, and the exit code."""

    def __init__(self, message: str, hint: str = AGAIN, code: int = 1) -> None:
        super().__init__(message)
        self.hint, self.code = hint, code


def show(value: object) -> str:
    """`value` on one line of bounded length that cannot move the cursor or colour the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", str(value)[:1000])


def reason(error: BaseException) -> str:
    """What an exception says, without the number and the path that an OSError adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# --- The bundle ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """An input or output of the model, as the manifest describes it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    tolerance: int = 0

    @property
    def quantized(self) -> bool:
        return self.scale is not None

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Bundle:
    """The files beside this one, read and checked; `image` is (mean, std) of pixels."""

    name: str
    digests: dict[str, Any]
    model: bytes
    inputs: list[Port]
    outputs: list[Port]
    labels: list[str]
    image: tuple[float, float] | None
    reference_version: str
    exact: bool
    samples: list[tuple[Any, ...]]
    """Golden inputs: for each sample, an array for each input."""
    golden: list[Any]
    """Golden outputs: for each output, an array with the samples first."""


def read_file(path: Path, hint: str = AGAIN, limit: int = FILE_LIMIT) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # A pipe would block, a device never end.
            raise Problem(f"{path}: not a file", hint)
        if found.st_size > limit:
            raise Problem(f"{path}: {found.st_size} bytes, more than the {limit} allowed", hint)
        return path.read_bytes()
    except OSError as e:
        raise Problem(f"{path}: {reason(e)}", hint) from e


def checked_file(folder: Path, name: str, digests: dict[str, Any]) -> bytes:
    """A file of the bundle, whose SHA-256 is the one in the manifest."""
    data = read_file(folder / name)
    if hashlib.sha256(data).hexdigest() != field(digests, name, str):
        raise Problem(f"{name} is not the one of this bundle: its SHA-256 is not the manifest's")
    return data


def field(table: Any, key: str, kind: type, low: float = 0, high: float = sys.maxsize) -> Any:
    """table[key], of type `kind` and, where it is a number, from `low` to `high`."""
    value = table.get(key) if isinstance(table, dict) else None
    is_number = kind in (int, float)
    if type(value) is kind or (kind is float and type(value) is int):
        if not is_number or low <= value <= high:  # NaN never is.
            return value
    found = show(value)[:30] if isinstance(value, (int, float)) else type(value).__name__
    wanted = f"{kind.__name__} from {low} to {high}" if is_number else kind.__name__
    what = "missing" if value is None else f"{found}, not {wanted}"
    raise Problem(f"{MANIFEST} is incomplete or damaged: {key} is {what}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Checked as far as the search for an interpreter needs it, which goes without numpy."""
    data = read_file(folder / MANIFEST, "run.py must stay in its bundle", MANIFEST_LIMIT)
    try:
        manifest = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise Problem(f"{MANIFEST} is damaged: {e}") from e
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise Problem(f"{MANIFEST} is not a bundle's manifest")
    version = field(manifest, "schema_version", int)
    if version != SCHEMA_VERSION:
        what = f"{MANIFEST} has schema version {version}, this run.py reads {SCHEMA_VERSION}"
        raise Problem(what, "use the run.py that came with this bundle")
    # It becomes part of a command that people paste.
    if not re.fullmatch(r"[0-9][0-9A-Za-z.+]{0,60}", field(manifest, "reference_version", str)):
        raise Problem(f"{MANIFEST} is damaged: reference_version is no version")
    return manifest


def read_bundle(folder: Path, manifest: dict[str, Any]) -> Bundle:
    """Files have fixed places: nothing is opened because the manifest names it."""
    facts, digests = field(manifest, "golden", dict), field(manifest, "files", dict)
    ports, golden = [], []
    for side, prefix in (("inputs", "in"), ("outputs", "out")):
        ports.append([read_port(entry) for entry in field(manifest, side, list)])
        if not ports[-1]:
            raise Problem(f"{MANIFEST} is incomplete or damaged: it has no {side}")
        name, keys = f"golden/{side}.npz", [f"{prefix}_{i}" for i in range(len(ports[-1]))]
        golden.append(unpack(checked_file(folder, name, digests), name, keys, AGAIN))
        for port, array in pairs(ports[-1], golden[-1]):
            wanted = replace(port, shape=(field(facts, "count", int, 1), *port.shape))
            found = replace(port, shape=array.shape, dtype=str(array.dtype))
            if found != wanted:
                raise Problem(f"{name}: {found}, the manifest says {wanted}")
    image = field(manifest, "preprocessing", dict).get("image")
    return Bundle(
        name=show(field(manifest, "name", str)),
        digests=digests,
        model=checked_file(folder, MODEL, digests),
        inputs=ports[0],
        outputs=ports[1],
        labels=[show(label) for label in field(manifest, "labels", list)],
        image=image
        and (field(image, "mean", float, -1e30, 1e30), field(image, "std", float, 1e-30, 1e30)),
        reference_version=manifest["reference_version"],
        exact=field(facts, "exact", bool),
        samples=list(zip(*golden[0])),  # noqa: B905
        golden=golden[1],
    )


def read_port(entry: Any) -> Port:
    dtype, scale, zero_point = field(entry, "dtype", str), None, 0
    if dtype in QUANTIZED and entry.get("scale") is not None:
        limits = np.iinfo(dtype)
        scale = field(entry, "scale", float, 1e-45, 4e38)
        zero_point = field(entry, "zero_point", int, int(limits.min), int(limits.max))
    return Port(
        name=show(field(entry, "name", str)),
        shape=tuple(field({"shape": n}, "shape", int, 1) for n in field(entry, "shape", list)),
        dtype=show(dtype),
        scale=scale,
        zero_point=zero_point,
        tolerance=field({"tolerance_steps": 0, **entry}, "tolerance_steps", int),
    )


def unpack(data: bytes, name: str, wanted: list[str], hint: str) -> list[Any]:
    """The arrays `wanted` of an .npz, or the one array of an .npy."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return [found]
        missing = [key for key in wanted if key not in found.files]
        if missing:
            raise ValueError(f"it has no array {missing[0]}")
        if sum(entry.file_size for entry in found.zip.infolist()) > FILE_LIMIT:
            raise ValueError(f"it unpacks to more than {FILE_LIMIT} bytes")
        return [found[key] for key in wanted]
    except Exception as e:  # zipfile, zlib and numpy each have errors of their own for damage
        raise Problem(f"{name}: {reason(e)}", hint) from e


def pairs(left: list[Any], right: list[Any]) -> list[tuple[Any, Any]]:
    """zip(strict=True), which Python 3.9 does not have."""
    if len(left) != len(right):
        raise Problem(f"there are {len(right)} inputs or outputs, the manifest has {len(left)}")
    return list(zip(left, right))  # noqa: B905


# --- The interpreter ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Runtime:
    """The first interpreter package that could be imported."""

    package: str
    version: str
    title: str
    module: Any


def find_runtime(litert_version: str) -> Runtime:
    broken = ""
    for package, name, title in PACKAGES:
        try:
            module = importlib.import_module(name)
        except Exception as e:  # a build for another numpy or glibc fails in ways of its own
            missing = isinstance(e, ModuleNotFoundError) and (e.name or "").split(".")[0]
            if missing != name.split(".")[0]:
                broken += f"; {package} cannot be imported: {type(e).__name__}: {e}"
            continue
        # Imports, then fails in the first call.
        if package == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            broken += f"; {package} needs numpy<2, and numpy {np.__version__} is installed"
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "of unknown version"  # tensorflow comes under several names
        return Runtime(package, version, f"{title} {version}", module)
    what = f"no TFLite interpreter can be used here{broken}"
    raise Problem(what, install_hint(litert_version), 2)


def install_hint(litert_version: str) -> str:
    """The line that installs an interpreter for this Python on this machine."""
    system, machine, bits = platform.system(), platform.machine().lower(), 8 * calcsize("P")
    packages = packages_for(sys.version_info[:2], system, machine, bits, litert_version)
    if packages is None:
        return (
            "none is published for this Python: a 64-bit system with Python 3.10 or later has one, "
            "so has 32-bit Arm Linux with Python 3.9 to 3.11"
        )
    if sys.prefix != sys.base_prefix:
        return f"{sys.executable} -m pip install {packages}"
    # 32-bit Arm has no numpy on PyPI; the system's is seen through --system-site-packages.
    option = " --system-site-packages" if "tflite-runtime" in packages else ""
    install = f"venv/bin/pip install {packages} && venv/bin/python run.py"
    return f"{sys.executable} -m venv{option} venv && {install}"


def packages_for(
    python: tuple[int, ...], system: str, machine: str, bits: int, litert_version: str
) -> str | None:
    """What to install, by the wheels that PyPI has; None when it has none."""
    place = f"{system}-{machine}"
    if bits == 64 and place in WHEELS and python >= (3, 10):
        return f"ai-edge-litert=={litert_version} numpy"
    # A 32-bit Python reports the kernel's machine, which on a Raspberry Pi is often aarch64.
    small = bits == 32 and re.match("Linux-(arm|aarch64)", place) and (3, 9) <= python <= (3, 11)
    old = bits == 64 and place in WHEELS[:3] and python == (3, 9)
    return "tflite-runtime==2.14.0 'numpy<2'" if small or old else None


class Network:
    """The model in an interpreter, with fast kernels or with the portable reference kernels."""

    def __init__(self, runtime: Runtime, bundle: Bundle, reference: bool, threads: int) -> None:
        options: dict[str, Any] = {"model_content": bundle.model, "num_threads": threads}
        self._title = runtime.title
        with self._errors():
            if reference:
                resolvers = runtime.module.OpResolverType
                options["experimental_op_resolver_type"] = resolvers.BUILTIN_REF
            self._interpreter = runtime.module.Interpreter(**options)
            self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        for port, detail in pairs(bundle.inputs, inputs) + pairs(bundle.outputs, outputs):
            found = replace(
                port, dtype=str(np.dtype(detail["dtype"])), shape=tuple(map(int, detail["shape"]))
            )
            if found != port:
                raise Problem(f"{found} is in the model, the manifest says {port}")
        self._inputs = [int(detail["index"]) for detail in inputs]
        self._outputs = [int(detail["index"]) for detail in outputs]
        self._shapes = [port.shape for port in bundle.outputs]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, RuntimeError, TypeError, AttributeError, SystemError) as e:
            hint = "it may be too old: install the packages of requirements.txt"
            raise Problem(f"{self._title} cannot run this model: {e}", hint) from e

    def load(self, inputs: list[Any]) -> None:
        # A network with state starts every sample from the same state, as it did for the golden
        # outputs.
        self._interpreter.reset_all_variables()
        for i, index in enumerate(self._inputs):
            self._interpreter.set_tensor(index, inputs[i])

    def invoke(self) -> None:
        self._interpreter.invoke()

    def run(self, inputs: list[Any]) -> list[Any]:
        with self._errors():
            self.load(inputs)
            self.invoke()
            outputs = [self._interpreter.get_tensor(index) for index in self._outputs]
            if [values.shape for values in outputs] != self._shapes:
                raise ValueError("its outputs change their shapes")
            return outputs


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
    kernels = f"{runtime.title}, {'reference' if reference else 'fast'} kernels"
    network = Network(runtime, bundle, reference, threads)
    steps = [step_of(golden) for golden in bundle.golden]
    largest = 0.0
    for sample, inputs in enumerate(bundle.samples):
        for i, got in enumerate(network.run(inputs)):
            expected, port = bundle.golden[i][sample], bundle.outputs[i]
            apart = difference(expected, got, steps[i])
            wrong = bits(expected) != bits(got) if exact else apart > port.tolerance
            if wrong.any():
                first = tuple(map(int, np.unravel_index(int(wrong.argmax()), wrong.shape)))
                print(
                    f"FAIL  {kernels}: sample {sample}, output {i} ({port.name}), index "
                    f"{list(first)}: expected {expected[first]}"
                    f"{'' if exact else f' within {port.tolerance} steps'}, got {got[first]} "
                    f"({int(wrong.sum())} of {wrong.size} values are wrong)"
                )
                return False
            largest = max(largest, float(apart.max()))
    allowed = max(port.tolerance for port in bundle.outputs)
    verdict = f"at most {largest:.4g} steps from the golden outputs (allowed: {allowed})"
    verdict = "every byte equal" if exact else verdict
    print(f"PASS  {kernels}: {len(bundle.samples)} samples, {verdict}")
    return True


def step_of(golden: Any) -> float:
    """One quantization step of an output, in its stored values."""
    if golden.dtype.kind != "f":
        return 1.0
    finite = golden[np.isfinite(golden)].astype(np.float64)
    return float(finite.max(initial=0.0) - finite.min(initial=0.0)) / FLOAT_STEPS or 1 / FLOAT_STEPS


def difference(expected: Any, got: Any, step: float) -> Any:
    """How many steps apart, element by element. NaN is equal to NaN, far from all else."""
    a, b = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(all="ignore"):
        steps = np.abs(a - b) / step
    steps = np.where((expected == got) | (np.isnan(a) & np.isnan(b)), 0.0, steps)
    return np.where(np.isnan(steps), np.inf, steps)


def bits(values: Any) -> Any:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").reshape(values.shape)


def bench(bundle: Bundle, runtime: Runtime, options: argparse.Namespace) -> bool:
    with contextlib.redirect_stdout(sys.stderr if options.json == "-" else sys.stdout):
        if not check(bundle, runtime, options.num_threads):
            print("not timed: the outputs are wrong")
            return False
        samples = _time(bundle.name, bundle, runtime, options)
        summary, baseline = summarize(samples), None
        if BASELINE in bundle.digests:
            original = float_baseline(bundle)
            baseline = summarize(_time("float32 baseline", original, runtime, options))
            ratio = baseline["median_ms"] / summary["median_ms"]
            print(f"{bundle.name} is {ratio:.2f} times as fast as its float32 baseline")
    if options.json:
        document = {
            "schema": "edgeq.run",
            "schema_version": 1,
            "name": bundle.name,
            "model_sha256": hashlib.sha256(bundle.model).hexdigest(),
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
            print(text, end="")
            return True
        try:
            Path(options.json).write_text(text, encoding="utf-8")
        except OSError as e:
            hint = "what is there is incomplete: choose another file for --json"
            raise Problem(f"{options.json}: {reason(e)}", hint) from e
    return True


def float_baseline(bundle: Bundle) -> Bundle:
    """The float model of the same network, with the same samples as real numbers."""
    ports = [
        [replace(p, dtype="float32", scale=None) if p.quantized else p for p in side]
        for side in (bundle.inputs, bundle.outputs)
    ]
    samples = [
        tuple(dequantize(stored, port) for port, stored in pairs(bundle.inputs, sample))
        for sample in bundle.samples
    ]
    model = checked_file(HERE, BASELINE, bundle.digests)
    return replace(bundle, model=model, inputs=ports[0], outputs=ports[1], samples=samples)


def _time(title: str, bundle: Bundle, runtime: Runtime, options: argparse.Namespace) -> list[int]:
    """Nanoseconds of each timed inference, after the warm-up."""
    network = Network(runtime, bundle, False, options.num_threads)
    started = time.perf_counter()
    for run in range(options.warmup_runs):
        network.run(bundle.samples[run % len(bundle.samples)])
        if time.perf_counter() - started >= options.max_secs:
            break
    samples: list[int] = []
    started = time.perf_counter()
    while True:
        elapsed = time.perf_counter() - started
        enough = len(samples) >= options.num_runs and elapsed >= options.min_secs
        if samples and (enough or elapsed >= options.max_secs):
            break
        network.load(bundle.samples[len(samples) % len(bundle.samples)])
        before = time.perf_counter_ns()
        network.invoke()
        samples.append(time.perf_counter_ns() - before)
    numbers = ", ".join(f"{k[:-3]} {v:.3f} ms" for k, v in summarize(samples).items())
    print(
        f"{title}: {runtime.title}, {options.num_threads} thread(s): {numbers}, {len(samples)} runs"
    )
    return samples


def summarize(samples: list[int]) -> dict[str, float]:
    """Nanoseconds to milliseconds. p95 is the smallest sample that 95 % do not exceed."""
    ordered = sorted(samples)
    values = {
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "min_ms": ordered[0],
        "max_ms": ordered[-1],
    }
    return {key: value / 1e6 for key, value in values.items()}


def classify(bundle: Bundle, runtime: Runtime, files: list[str]) -> None:
    inputs = read_inputs(bundle, [Path(name) for name in files])
    outputs = Network(runtime, bundle, False, 1).run(inputs)
    for port, stored in pairs(bundle.outputs, outputs):
        if len(outputs) > 1:
            print(f"{port.name}:")
        values = dequantize(stored, port).reshape(-1).astype(np.float64)
        if values.size == 1:
            print(f"{values[0]:.4f}")  # A single number is no ranking.
            continue
        named = len(bundle.labels) == values.size
        for rank, index in enumerate(np.argsort(-values, kind="stable")[:TOP]):
            label = bundle.labels[index] if named else f"class {index}"
            print(f"{rank + 1}. {values[index]:9.4f}  {label}")


# --- Inputs -------------------------------------------------------------------------------------


def read_inputs(bundle: Bundle, paths: list[Path]) -> list[Any]:
    """One stored array for each input of the model, from .npy files, one .npz, or an image."""
    ports, names = bundle.inputs, [port.name for port in bundle.inputs]
    if len(paths) == 1 and paths[0].suffix == ".npz":
        hint = f"name its arrays after the inputs: {', '.join(names)}"
        arrays = unpack(read_file(paths[0], hint), str(paths[0]), names, hint)
        return [store(f"{paths[0]}", a, port) for port, a in pairs(ports, arrays)]
    if len(paths) != len(ports):
        hint = f"in this order: {', '.join(map(str, ports))}"
        raise Problem(f"{len(paths)} files for {len(ports)} inputs", hint, 2)
    stored = []
    for port, path in pairs(ports, paths):
        if path.suffix == ".npy":
            values = unpack(read_file(path, NPY), str(path), ["arr_0"], NPY)[0]
        else:
            values = read_image(bundle.image, port, path)
        stored.append(store(str(path), values, port))
    return stored


def store(name: str, values: Any, port: Port) -> Any:
    """`values` as the model stores them: quantized unless they already are."""
    shape = port.shape
    if values.dtype.kind not in "fiub":
        raise Problem(f"{name} holds {values.dtype}, not numbers", "np.save() numbers")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise Problem(f"{name} holds NaN, which is no number", "check how the sample was made")
    # The batch of one and a last dimension of one may be left out, as in calibration data.
    if shape[:1] == (1,) and values.shape in (shape[1:], shape[1:-1] if shape[-1] == 1 else None):
        values = values.reshape(shape)
    if values.shape != shape:
        what = f"{name} has the shape {list(values.shape)}, input {port.name} needs {list(shape)}"
        raise Problem(what, "one sample at a time, in the shape that the network was trained on")
    with np.errstate(all="ignore"):
        if port.quantized:
            return quantize(values, port)
        stored = values.astype(port.dtype)
    if stored.dtype.kind != "f" and not np.array_equal(stored, values):
        raise Problem(f"{name} holds values that {port} does not", NPY)
    return stored


def read_image(scaling: tuple[float, float] | None, port: Port, path: Path) -> Any:
    try:
        _, height, width, channels = port.shape
        mode = {1: "L", 3: "RGB"}[channels]
        mean, std = map(np.float32, scaling or ())
    except (ValueError, KeyError) as e:
        raise Problem(f"{path}: nothing says how pixels become {port}", NPY, 2) from e
    try:
        from PIL import Image
    except ImportError as e:
        hint = f"{sys.executable} -m pip install pillow"
        raise Problem("reading images needs Pillow", hint, 2) from e
    hint = "INPUT is an image, an .npy or an .npz"
    data = read_file(path, hint)
    try:
        with Image.open(io.BytesIO(data)) as picture:
            converted = picture.convert(mode)
            if converted.size != (width, height):
                # Image.BILINEAR, and not Image.Resampling, for the Pillow 8 of older systems.
                converted = converted.resize((width, height), getattr(Image, "BILINEAR", 2))
            pixels = np.asarray(converted, np.float32)
    except Exception as e:  # each of Pillow's formats has errors of its own
        raise Problem(f"{path}: no readable image: {reason(e)}", hint) from e
    return ((pixels - mean) / std).reshape(1, height, width, channels)


def quantize(values: Any, port: Port) -> Any:
    """clamp(round(value / scale) + zero point), halves away from zero, as TFLite rounds.

    Values of the input's own type are taken as stored; not so uint8, which pixels have too.
    """
    dtype = np.dtype(port.dtype)
    if values.dtype == dtype and dtype != np.uint8:
        return values
    with np.errstate(all="ignore"):
        wide = (values.astype(np.float32) / np.float32(port.scale)).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(wide) + 0.5), wide) + port.zero_point
    rounded = np.where(np.isnan(rounded), port.zero_point, rounded)
    limits = np.iinfo(dtype)
    beyond = float(np.mean((rounded < limits.min - 1) | (rounded > limits.max + 1)))
    if beyond > MOST_CLIPPED:
        what = f"{beyond:.0%} of {port.name}'s values are outside of what it holds"
        print(f"warning: {what}; were they scaled as in training?", file=sys.stderr)
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def dequantize(values: Any, port: Port) -> Any:
    """Real numbers; what is not quantized stays as it is."""
    if not port.quantized:
        return values
    return (values.astype(np.int64) - port.zero_point).astype(np.float32) * np.float32(port.scale)


# --- The command line ---------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Problem(message, f"{self.prog} --help", 2)

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)  # argparse's own hides a failed write.


def number(kind: type, low: float, high: float) -> Any:
    def parse(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: not from {low} to {high}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"  # argparse says "invalid ..."
    return parse


def parser() -> Parser:
    parser = Parser(prog="run.py", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", parser_class=Parser)
    checking = commands.add_parser("check", help="compare with the golden outputs (the default)")
    timing = commands.add_parser("bench", help="check, then measure the time of an inference")
    options: list[tuple[str, Any, float, str]] = [
        ("num-threads", number(int, 1, MOST_THREADS), 1, "processors to use"),
        ("num-runs", number(int, 1, sys.maxsize), 50, "at least so many"),
        ("warmup-runs", number(int, 0, sys.maxsize), 1, "untimed"),
        ("min-secs", number(float, 0, 1e9), 1.0, "at least"),
        ("max-secs", number(float, 0, 1e9), 150.0, "at most"),
    ]
    for command, count in ((checking, 1), (timing, len(options))):
        for name, kind, default, text in options[:count]:
            # As edgeq spells them and, with underscores, benchmark_model.
            names, about = (f"--{name}", f"--{name.replace('-', '_')}"), f"{text} (%(default)s)"
            command.add_argument(*names, type=kind, default=default, help=about)
    timing.add_argument("--json", metavar="FILE", help="write every sample there; - is stdout")
    using = commands.add_parser("classify", help="run one input and print the best classes")
    using.add_argument("input", nargs="+", metavar="INPUT", help=".npy, .npz or an image")
    return parser


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    manifest = read_manifest(HERE)
    litert_version = manifest["reference_version"]
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


def guarded(arguments: list[str]) -> int:
    """main, with one error and its hint on stderr for all that can go wrong."""
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        try:
            return main(arguments)
        finally:
            sys.stdout.flush()
    except Problem as e:
        problem = e
    except MemoryError:
        problem = Problem("there is not enough memory for this network", "use a larger device")
    except OSError as e:  # Files have errors of their own; what is left is the standard output.
        problem = Problem(f"standard output: {reason(e)}", "send it to a place that takes it")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more when it ends.
    print(f"error: {show(problem)}\nhint:  {show(problem.hint)}", file=sys.stderr)
    return problem.code


if __name__ == "__main__":
    for stream in filter(None, (sys.stdout, sys.stderr)):  # A closed one is None.
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]
    sys.exit(guarded(sys.argv[1:]))
