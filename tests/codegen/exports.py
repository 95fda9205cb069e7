"""Networks to generate code for, and what compiles it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeq.codegen import Export, generate_family
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Graph, Op, Quantization, Signature, Subgraph, Tensor

WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")
ARM = shutil.which("arm-none-eabi-gcc")
HOST = {"c": ("gcc", "-std=c99"), "cc": ("g++", "-std=c++11")}
CROSS = {
    "c": ("arm-none-eabi-gcc", "-std=c99", "-mcpu=cortex-m4", "-mthumb"),
    "cc": ("arm-none-eabi-g++", "-std=c++11", "-mcpu=cortex-m4", "-mthumb", "-fno-exceptions"),
}
COMPILERS = [
    pytest.param(HOST, id="host"),
    pytest.param(CROSS, id="arm", marks=pytest.mark.skipif(not ARM, reason="no arm-none-eabi-gcc")),
]
ADDERS = {"FULLY_CONNECTED": "AddFullyConnected", "SOFTMAX": "AddSoftmax", "RELU": "AddRelu"}

NASTY = (
    "*/ #error out /*",
    "// line\\",
    "trailing backslash \\",
    "??/",
    "a??/\nb",
    '"); abort(); ("',
    "line one\nline two\r\x00nul\x1b[31m",
    "h\u00e9llo \u2192 \U0001d518 \u202e gnp",
    "%s%n%08x",
    "\\x41\\u0041 \\",
    "${boom} $name `code` | cell | <img src=x> [l](javascript:x)",
    "\udcff surrogate",
    "",
    "#include </etc/passwd>",
    "???/ ????/ */*/ /*/",
)


@dataclass(frozen=True)
class Arena:
    size: int = 2048

    def lines(self) -> tuple[str, ...]:
        return ("1024 bytes: measured */ here \\", "1024 bytes: more ??/")


def port(
    index: int,
    dtype: str = "int8",
    shape: tuple[int, ...] = (1, 4),
    scale: float | None = 0.0078125,
    zero_point: int = 3,
    name: str = "t",
) -> Tensor:
    quantization = None if scale is None else Quantization((scale,), (zero_point,))
    return Tensor(index, name, shape, dtype, quantization)


def make_export(
    inputs: Sequence[Tensor] = (),
    outputs: Sequence[Tensor] = (),
    *,
    names: Sequence[str] = (),
    ops: Sequence[str] = ("FULLY_CONNECTED", "SOFTMAX", "FULLY_CONNECTED"),
    samples: int = 3,
    tflite: bytes = bytes(range(256)) + b"\x00TFL3 odd length",
    **changes: Any,
) -> Export:
    inputs = tuple(inputs) or (port(0, name="image"),)
    outputs = tuple(outputs) or (port(len(inputs), name="score"),)
    tensors = (*inputs, *outputs)
    first = tuple(t.index for t in inputs)
    last = tuple(t.index for t in outputs)
    subgraph = Subgraph(
        "main",
        tensors,
        first,
        last,
        tuple(Op(i, op, 1, first, last) for i, op in enumerate(ops)),
    )
    labelled = [names[i % len(names)] if names else t.name for i, t in enumerate(tensors)]
    pairs = list(zip(labelled, (t.index for t in tensors), strict=True))
    signature = Signature("s", 0, tuple(pairs[: len(first)]), tuple(pairs[len(first) :]))
    graph = Graph((subgraph,), (signature,), "", 3, len(tflite))
    rng = np.random.default_rng(7)
    values: dict[str, Any] = {
        "name": "tiny",
        "graph": graph,
        "tflite": tflite,
        "sha256": "ab" * 32,
        "labels": (),
        "command": "edgeq build tiny.tflite --target cortex-m4",
        "version": "1.2.3",
        "golden": Golden(
            tuple(tuple(values_of(rng, t) for t in inputs) for _ in range(samples)),
            tuple(tuple(values_of(rng, t) for t in outputs) for _ in range(samples)),
            "the reference",
            (1,) * len(outputs),
        ),
        "arena": Arena(),
    }
    return Export(**(values | changes))


def values_of(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    """Random values, the type's extremes (or NaN, infinity and -0) first."""
    dtype = np.dtype(NUMPY_TYPES[tensor.dtype])
    raw = rng.integers(0, 256, tensor.bytes, np.uint8)
    if dtype.kind == "b":
        return (raw & 1).astype(dtype).reshape(tensor.shape)
    values = raw.view(dtype).copy()
    if dtype.kind == "f":
        special = [-0.0, np.inf, np.nan]
    else:
        limits = np.iinfo(dtype)  # type: ignore[type-var]
        special = [limits.min, limits.max]
    values[: len(special)] = special[: values.size]
    return values.reshape(tensor.shape)


MANY_INPUTS = (
    port(0, "int8", (2, 3), 0.5847029, -128),
    port(1, "uint8", (), 1.0, 255),
    port(2, "int16", (1, 4), 3.0517578e-05, 0),
    port(3, "int32", (5,), None),
    port(4, "int64", (3,), None),
    port(5, "float32", (4,), None),
    port(6, "float16", (4,), None),
    port(7, "bool", (3,), None),
)
MANY_OUTPUTS = (
    port(8, "int8", (40,), 1e-40, 127),
    port(9, "uint16", (2,), None),
    port(10, "uint32", (2,), None),
    port(11, "uint64", (2,), None),
    port(12, "float64", (4,), None),
    port(13, "int16", (1,), 3.4e38, -5),
)


def nasty_export() -> Export:
    """Every type, and names that try to break out of comments and strings."""
    return make_export(
        MANY_INPUTS,
        MANY_OUTPUTS,
        names=NASTY,
        labels=NASTY,
        command="edgeq build '*/\n#error out' \\",
        version="1 */ \\",
        golden=replace(make_export(MANY_INPUTS, MANY_OUTPUTS).golden, reference='ref "??/ */\n\\'),
    )


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(c) for c in command], capture_output=True, timeout=60, **options)


def compile_ok(compiler: Sequence[str], folder: Path, *arguments: str | Path) -> None:
    done = run([*compiler, *WARNINGS, f"-I{folder}", *arguments], cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def tflm_files(export: Export) -> dict[str, str | bytes]:
    return generate_family("cortex-m", export, adders=ADDERS)
