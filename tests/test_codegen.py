"""The generators: what compilers, linkers and readers make of their output."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeq import resources
from edgeq.codegen import Export, generate, generate_family, readme
from edgeq.codegen.kotlin import object_name
from edgeq.codegen.python_runner import requirements
from edgeq.codegen.text import c_string, comment, float_literal, kotlin_string, markdown, prose
from edgeq.errors import DoesNotFit, ModelError, UsageError
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Graph, Op, Quantization, Signature, Subgraph, Tensor
from edgeq.operators import load_table
from edgeq.quantization import dequantize, quantize
from edgeq.targets import list_targets, load_target

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


@pytest.fixture(scope="module")
def nasty() -> Export:
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


# --- Rounding -----------------------------------------------------------------------------------

QUANTIZE_PROGRAM = r"""
#include <stdio.h>
#include "edgeq_quantize.h"
/* type scale zero_point count, then floats; out come int32: stored, then float32: real again */
int main(void) {
    unsigned header[3];
    float scale;
    while (fread(header, sizeof header, 1, stdin) == 1) {
        if (fread(&scale, sizeof scale, 1, stdin) != 1) return 1;
        const int32_t zero_point = (int32_t)header[1];
        for (unsigned i = 0; i < header[2]; ++i) {
            float real, again;
            int32_t stored;
            if (fread(&real, sizeof real, 1, stdin) != 1) return 1;
            if (header[0] == 0) {
                int8_t one;
                eq_quantize_all_int8(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_int8(&one, &again, 1, scale, zero_point);
                stored = one;
            } else if (header[0] == 1) {
                uint8_t one;
                eq_quantize_all_uint8(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_uint8(&one, &again, 1, scale, zero_point);
                stored = one;
            } else {
                int16_t one;
                eq_quantize_all_int16(&real, &one, 1, scale, zero_point);
                eq_dequantize_all_int16(&one, &again, 1, scale, zero_point);
                stored = one;
            }
            fwrite(&stored, sizeof stored, 1, stdout);
            fwrite(&again, sizeof again, 1, stdout);
        }
    }
    return 0;
}
"""

SCALES = (1.0, 0.0078125, 0.5847029, 0.003921569, 0.1, 3.0517578e-05, 1e-30, 1e-42, 3e38, 7.0)
ZERO_POINTS = {"int8": (-128, 0, 5, 127), "uint8": (0, 128, 255), "int16": (0, -32768, 32767, 77)}


def real_values(scale: float, rng: np.random.Generator) -> np.ndarray:
    """Every float pattern's neighbourhood, all halves of the int8 range, and the awkward ones."""
    bits = rng.integers(0, 1 << 32, 4000, np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        halves = (np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)) * np.float32(scale)
        large = (np.arange(-32770, 32770, 13, dtype=np.float32) + np.float32(0.5)) * np.float32(
            scale
        )
    edge = np.array(
        [0.0, -0.0, 0.49999997, -0.49999997, 1e-45, -1e-45, np.inf, -np.inf], np.float32
    )
    near = np.concatenate([np.nextafter(halves, np.float32(s)) for s in (np.inf, -np.inf)])
    values = np.concatenate([bits, halves, near, large, edge, edge * np.float32(scale)])
    return np.asarray(values[~np.isnan(values)], np.float32)


@pytest.mark.parametrize("language", ["c", "cc"])
def test_quantize_header_rounds_as_the_host_does(tmp_path: Path, language: str) -> None:
    write(
        tmp_path,
        {
            "edgeq_quantize.h": resources.path(
                "runtime", "include", "edgeq_quantize.h"
            ).read_text(),
            f"q.{language}": QUANTIZE_PROGRAM,
        },
    )
    sanitizers = "-fsanitize=address,undefined,float-cast-overflow"
    compile_ok(
        HOST[language], tmp_path, "-O1", sanitizers, "-fno-sanitize-recover=all", f"q.{language}",
        "-o", "q",
    )  # fmt: skip
    rng = np.random.default_rng(3)
    question, expected_stored, expected_real = b"", [], []
    for number, dtype in enumerate(ZERO_POINTS):
        for zero_point, scale in itertools.product(ZERO_POINTS[dtype], SCALES):
            tensor = port(0, dtype, (1,), scale, zero_point)
            values = real_values(scale, rng)
            with np.errstate(over="ignore", under="ignore"):
                stored = quantize(values, tensor)
                real = dequantize(stored, tensor)
            values = np.append(values, np.array([np.nan, -np.nan], np.float32))
            stored = np.append(stored, np.array([zero_point] * 2, stored.dtype))
            real = np.append(real, np.zeros(2, np.float32))
            header = np.array([number, zero_point & 0xFFFFFFFF, values.size], np.uint32)
            question += header.tobytes() + np.float32(scale).tobytes() + values.tobytes()
            expected_stored.append(stored.astype(np.int32))
            expected_real.append(real)
    done = run([tmp_path / "q"], input=question)
    assert done.returncode == 0, done.stderr.decode()
    answer = np.frombuffer(done.stdout, np.dtype([("stored", "<i4"), ("real", "<f4")]))
    np.testing.assert_array_equal(answer["stored"], np.concatenate(expected_stored))
    np.testing.assert_array_equal(
        answer["real"].view(np.uint32) & 0x7FFFFFFF,
        np.concatenate(expected_real).view(np.uint32) & 0x7FFFFFFF,
    )


# --- C and C++ ----------------------------------------------------------------------------------

READER = """
#include <stdio.h>
#include "tiny_io.h"
#include "tiny_golden.h"
#include "tiny_model_data.h"
static void text(const char* s) {{ fwrite(s, 1, strlen(s) + 1, stdout); }}
int main(void) {{
    {body}
    return kTensorArenaSize == {arena} ? 0 : 1;
}}
"""


@pytest.mark.parametrize("compilers", COMPILERS)
def test_everything_compiles_without_a_warning(
    tmp_path: Path, nasty: Export, compilers: Mapping[str, Sequence[str]]
) -> None:
    for folder, export in (("nasty", nasty), ("plain", make_export(arena=None))):
        write(tmp_path / folder, tflm_files(export))
        write_stubs(tmp_path / folder)
        users = {
            "use.c": '#include "tiny_golden.h"\n#include "tiny_io.h"\nint use(void);\n'
            "int use(void) { return TINY_GOLDEN_COUNT; }\n",
            "use.cc": '#include "edgeq_network.h"\nint use();\nint use() { return 0; }\n',
        }
        write(tmp_path / folder, users)
        for source in ("use.c", "use.cc", "tiny_model_data.c", "tiny_model_data.cc"):
            compile_ok(compilers[source.split(".")[-1]], tmp_path / folder, "-fsyntax-only", source)
        c11 = [a.replace("c99", "c11") for a in compilers["c"]]
        compile_ok(c11, tmp_path / folder, "-fsyntax-only", "tiny_model_data.c")
    compile_ok(compilers["cc"], tmp_path / "nasty", "-O2", "-c", "main.cc", "-o", "main.o")


@pytest.mark.parametrize("language", ["c", "cc"])
def test_c_reads_back_the_strings_numbers_and_golden_vectors(
    tmp_path: Path, nasty: Export, language: str
) -> None:
    ports = [("input", i, p) for i, p in enumerate(nasty.graph.inputs)]
    ports += [("output", i, p) for i, p in enumerate(nasty.graph.outputs)]
    lines = ["for (int i = 0; i < TINY_LABEL_COUNT; ++i) text(tiny_labels[i]);"]
    expected = [_c_text(label) for label in nasty.labels]
    for side, i, p in ports:
        macro = f"TINY_{side.upper()}_{i}"
        lines.append(f"text({macro}_NAME); text({macro}_DTYPE);")
        expected += [_c_text(p.name), p.tensor.dtype.encode() + b"\0"]
        lines.append(
            f"{{ const int shape[] = {macro}_SHAPE; const int facts[] = {{{macro}_RANK, "
            f"{macro}_ELEMENTS, {macro}_BYTES, (int)sizeof(tiny_{side}_{i}_t)}}; "
            "fwrite(shape, sizeof shape, 1, stdout); fwrite(facts, sizeof facts, 1, stdout); }"
        )
        t = p.tensor
        facts = [*(t.shape or (1,)), len(t.shape), t.elements, t.bytes, t.bytes // t.elements]
        expected.append(np.array(facts, np.int32).tobytes())
        if t.quantization is not None:
            lines.append(
                f"{{ const float scale = {macro}_SCALE; const int zero = {macro}_ZERO_POINT; "
                "fwrite(&scale, 4, 1, stdout); fwrite(&zero, 4, 1, stdout); }"
            )
            expected.append(np.float32(t.quantization.scale).tobytes())
            expected.append(np.int32(t.quantization.zero_point).tobytes())
        array = f"tiny_golden_{side}_{i}"
        lines.append(f"fwrite({array}, sizeof {array}, 1, stdout);")
        samples = nasty.golden.inputs if side == "input" else nasty.golden.outputs
        expected.append(b"".join(sample[i].tobytes() for sample in samples))
    lines.append("text(TINY_GOLDEN_REFERENCE); text(TINY_MODEL_SHA256);")
    expected += [_c_text(nasty.golden.reference), nasty.sha256.encode() + b"\0"]
    lines.append("fwrite(g_tiny_model_data, g_tiny_model_data_len, 1, stdout);")
    expected.append(nasty.tflite)
    program = READER.format(body="\n    ".join(lines), arena=Arena().size)
    write(tmp_path, {**tflm_files(nasty), f"read.{language}": "#include <string.h>\n" + program})
    compile_ok(
        HOST[language],
        tmp_path,
        f"read.{language}",
        f"tiny_model_data.{language}",
        "-o",
        "read",
    )
    done = run([tmp_path / "read"])
    assert done.returncode == 0
    assert done.stdout == b"".join(expected)


def _c_text(text: str) -> bytes:
    """What a C program sees of it: up to a NUL, which ends a string."""
    return text.encode("utf-8", "replace").split(b"\0")[0] + b"\0"


@pytest.mark.parametrize("compilers", COMPILERS)
@pytest.mark.parametrize("language", ["c", "cc"])
def test_the_array_is_aligned_and_read_only_in_the_linked_image(
    tmp_path: Path, compilers: Mapping[str, Sequence[str]], language: str
) -> None:
    # An odd constant before it in the same section would move an array without alignment.
    write(
        tmp_path,
        {
            **tflm_files(make_export()),
            "main.c": '#include "tiny_model_data.h"\nconst char odd[3] = "ab";\n'
            "int main(void);\nvoid _start(void);\nint main(void) {\n"
            "  return odd[g_tiny_model_data[3] & 1] + (int)g_tiny_model_data_size;\n}\n"
            "void _start(void) { main(); }\n",
        },
    )
    compiler, source = compilers[language], f"tiny_model_data.{language}"
    prefix = "arm-none-eabi-" if compilers is CROSS else ""
    for section in ("", '-DEQ_MODEL_SECTION=__attribute__((section(".qspi")))'):
        compile_ok(
            compiler, tmp_path, "-c", source, "-o", "data.o", *([section] if section else [])
        )
        compile_ok(compilers["c"], tmp_path, "-c", "main.c", "-o", "main.o")
        linked = run(
            [compilers["c"][0], *compilers["c"][2:], "-nostdlib", "-no-pie", "main.o", "data.o",
             "-o", "image"] , cwd=tmp_path,
        )  # fmt: skip
        assert linked.returncode == 0, linked.stderr.decode()
        symbol = _symbol(f"{prefix}readelf", tmp_path / "image", "g_tiny_model_data")
        assert symbol.address % 16 == 0
        assert symbol.size == len(make_export().tflite)
        name, flags, _ = symbol.section
        assert name == (".qspi" if section else ".rodata")
        assert "A" in flags and "W" not in flags
        in_object = _symbol(f"{prefix}readelf", tmp_path / "data.o", "g_tiny_model_data")
        assert in_object.section[2] % 16 == 0
        length = _symbol(f"{prefix}readelf", tmp_path / "image", "g_tiny_model_data_len")
        assert length.size == 4 and "W" not in length.section[1]


@dataclass(frozen=True)
class Symbol:
    address: int
    size: int
    section: tuple[str, str, int]
    """Name, flags, alignment."""


def _symbol(readelf: str, image: Path, name: str) -> Symbol:
    text = run([readelf, "-sSW", image]).stdout.decode()
    sections = {
        int(m[1]): (m[2], m[3], int(m[4]))
        for m in re.finditer(
            r"^\s*\[ *(\d+)\] (\S+)\s+\S+\s+\S+ \S+ \S+ \S+ +([A-Z]*) +\d+ +\d+ +(\d+)$", text, re.M
        )
    }
    line = next(s for s in text.splitlines() if s.split()[-1:] == [name]).split()
    return Symbol(int(line[1], 16), int(line[2], 0), sections[int(line[6])])


@pytest.mark.parametrize("size", [16, 300])
@pytest.mark.parametrize("language", ["c", "cc"])
def test_files_of_two_builds_do_not_compile_together(
    tmp_path: Path, language: str, size: int
) -> None:
    write(tmp_path, tflm_files(make_export()))
    other = tflm_files(make_export(tflite=bytes(size)))
    write(tmp_path, {f"tiny_model_data.{language}": other[f"tiny_model_data.{language}"]})
    done = run([*HOST[language], "-fsyntax-only", f"tiny_model_data.{language}"], cwd=tmp_path)
    assert done.returncode != 0
    assert b"tiny_model_data" in done.stderr


def test_a_header_of_another_quantize_version_does_not_compile(tmp_path: Path) -> None:
    files = tflm_files(make_export())
    older = str(files["edgeq_quantize.h"]).replace("QUANTIZE_VERSION 1", "QUANTIZE_VERSION 0")
    write(tmp_path, {**files, "edgeq_quantize.h": older})
    done = run(["gcc", "-fsyntax-only", "-x", "c", "tiny_io.h"], cwd=tmp_path)
    assert b"take both from one bundle" in done.stderr


@pytest.mark.parametrize("name", ["eq", "eq_network", "edgeq", "int", "class", "main", "EQ", "_x"])
def test_awkward_names_compile(tmp_path: Path, name: str) -> None:
    write(tmp_path, tflm_files(make_export(name=name)))
    write_stubs(tmp_path)
    compile_ok(HOST["cc"], tmp_path, "-fsyntax-only", "main.cc")
    compile_ok(HOST["c"], tmp_path, "-fsyntax-only", f"{name}_model_data.c")


def test_two_networks_meet_in_one_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, tflm_files(make_export(name=name)))
    write_stubs(tmp_path)
    headers = "".join(
        f'#include "{n}_{part}.h"\n' for n in ("one", "two") for part in ("golden", "ops")
    )
    write(tmp_path, {"use.cc": "#define EQ_NO_SHORT_NAMES\n" + headers + "int unused;\n"})
    compile_ok(HOST["cc"], tmp_path, "-fsyntax-only", "use.cc")


@pytest.mark.parametrize("name", ["", "a-b", "1x", "a b", "x\n", "é", "../x"])
def test_a_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        tflm_files(make_export(name=name))


# --- Operators and the golden check, against a stand-in for TFLM --------------------------------

STUB = r"""
#pragma once
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteNoType, kTfLiteInt8, kTfLiteInt16, kTfLiteInt64 };
struct TfLiteIntArray { int size; int data[4]; };
union TfLitePtrUnion { void* data; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; TfLiteIntArray* dims; size_t bytes; };
#define TF_LITE_ENSURE_STATUS(a) \
  do { const TfLiteStatus s = (a); if (s != kTfLiteOk) return s; } while (0)
#define TFLITE_SCHEMA_VERSION (3)
#ifndef FAULT
#define FAULT 0
#endif
inline void MicroPrintf(const char* format, ...) {
  va_list a; va_start(a, format); std::vprintf(format, a); va_end(a); std::printf("\n");
}
namespace tflite {
struct Model { unsigned version() const { return FAULT == 1 ? 4 : 3; } };
inline const Model* GetModel(const void*) { static Model model; return &model; }
inline void InitializeTarget() {}
template <unsigned N> struct MicroMutableOpResolver {
  unsigned used = 0;
  TfLiteStatus Add() { return (FAULT == 2 && used == 1) || used++ >= N ? kTfLiteError : kTfLiteOk; }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddSoftmax() { return Add(); }
  TfLiteStatus AddRelu() { return Add(); }
};
struct MicroAllocator {
  static MicroAllocator* Create(uint8_t*, size_t) {
    static MicroAllocator one;
    return FAULT == 3 ? nullptr : &one;
  }
};
struct MicroResourceVariables {
  static MicroResourceVariables* Create(MicroAllocator*, int) { return nullptr; }
};
struct MicroInterpreter {
  TfLiteIntArray dims{2, {1, 4, 0, 0}};
  int8_t in[4], out[4];
  TfLiteTensor input_{kTfLiteInt8, {in}, &dims, 4}, output_{kTfLiteInt8, {out}, &dims, 4};
  int runs = 0;
  bool fresh = false;
  template <typename R>
  MicroInterpreter(const Model*, R&, MicroAllocator*, MicroResourceVariables*) {}
  TfLiteStatus AllocateTensors() { return FAULT == 4 ? kTfLiteError : kTfLiteOk; }
  TfLiteStatus Reset() { fresh = true; return kTfLiteOk; }
  TfLiteStatus Invoke() {
    for (int i = 0; i < 4; ++i) out[i] = static_cast<int8_t>(in[i] ^ 0x55);
    if (FAULT == 5 && runs == 1) { out[2] = static_cast<int8_t>(out[2] ^ 1); out[3] = 0; }
    ++runs;
    const bool was_fresh = fresh;
    fresh = false;
    return FAULT == 6 || !was_fresh ? kTfLiteError : kTfLiteOk;
  }
  size_t inputs_size() const { return FAULT == 7 ? 2 : 1; }
  size_t outputs_size() const { return 1; }
  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return 1234; }
};
}  // namespace tflite
"""


def write_stubs(folder: Path) -> None:
    names = [
        f"micro/{n}"
        for n in (
            "micro_allocator micro_interpreter micro_log micro_mutable_op_resolver "
            "micro_resource_variable system_setup"
        ).split()
    ]
    for name in (*names, "c/common", "schema/schema_generated"):
        write(folder, {f"tensorflow/lite/{name}.h": '#include "stub.h"\n'})
    write(folder, {"stub.h": STUB})


def checkable() -> Export:
    """An export whose golden outputs are what the stand-in interpreter computes."""
    export = make_export()
    outputs = tuple((i[0] ^ np.int8(0x55),) for i in export.golden.inputs)
    return replace(export, golden=replace(export.golden, outputs=outputs))


@pytest.fixture(scope="module")
def check_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("check"), tflm_files(checkable()))
    write_stubs(folder)
    compile_ok(HOST["cc"], folder, "-c", "tiny_model_data.cc", "-o", "data.o")
    return folder


@pytest.mark.parametrize(
    ("fault", "code", "expected"),
    [
        (0, 0, "PASS: 3 samples, every output byte as in the reference"),
        (1, 1, "FAIL: the model's schema version"),
        (2, 1, "FAIL: an operator could not be registered"),
        (3, 1, "FAIL: the arena is too small"),
        (4, 1, "FAIL: AllocateTensors() failed"),
        (5, 1, "sample 1, output 0, index 2: expected {e}, got {g} (2 of 4 values differ)"),
        (6, 1, "FAIL: Invoke() failed"),
        (7, 1, "FAIL: the golden vectors are not this model's"),
    ],
)
def test_the_golden_check_says_what_is_wrong(
    check_folder: Path, fault: int, code: int, expected: str
) -> None:
    program = check_folder / f"check{fault}"
    compile_ok(HOST["cc"], check_folder, f"-DFAULT={fault}", "main.cc", "data.o", "-o", program)
    done = run([program])
    text = done.stdout.decode()
    value = int(checkable().golden.outputs[1][0].reshape(-1)[2])
    assert expected.format(e=value, g=value ^ 1) in text
    assert done.returncode == code
    assert ("arena: 1234 of 2048 bytes used" in text) == (fault in (0, 5))
    if fault == 5:
        assert "FAIL: 1 of 3 samples differ" in text


def test_the_arena_must_be_known_or_given(tmp_path: Path) -> None:
    write(tmp_path, tflm_files(make_export(arena=None)))
    write_stubs(tmp_path)
    without = run([*HOST["cc"], "-I.", "-fsyntax-only", "main.cc"], cwd=tmp_path)
    assert b"the arena of this network was not measured" in without.stderr
    compile_ok(HOST["cc"], tmp_path, "-DEQ_NETWORK_ARENA_SIZE=4096", "-fsyntax-only", "main.cc")
    compile_ok(HOST["cc"], tmp_path, "-DTINY_TENSOR_ARENA_SIZE=4096", "-fsyntax-only", "main.cc")


def test_the_resolver_has_exactly_the_operators_of_all_subgraphs() -> None:
    export = make_export(ops=("SOFTMAX", "WHILE", "SOFTMAX"))
    main = export.graph.main
    body = replace(main, ops=(Op(0, "RELU", 1, (0,), (1,)),))
    loop = replace(main.ops[1], subgraphs=(1,))
    main = replace(main, ops=(main.ops[0], loop, main.ops[2]))
    export = replace(export, graph=replace(export.graph, subgraphs=(main, body)))
    adders = {**ADDERS, "WHILE": "AddWhile"}
    text = str(generate_family("cortex-m", export, adders=adders)["tiny_ops.h"])
    calls = re.findall(r"TF_LITE_ENSURE_STATUS\(resolver\.(\w+)\(\)\);", text)
    assert calls == ["AddRelu", "AddSoftmax", "AddWhile"]
    assert "#define TINY_NUMBER_OPERATORS 3\n" in text
    assert text.count("resolver.Add") == 3


def test_an_operator_that_tflm_lacks_is_refused_by_name() -> None:
    with pytest.raises(DoesNotFit, match="CUSTOM:<U\\+000A>x"):
        tflm_files(make_export(ops=("SOFTMAX", "CUSTOM:\nx")))
    assert DoesNotFit.exit_code == 3


def test_every_method_of_the_operator_table_is_an_identifier() -> None:
    for operator in load_table("tflm").operators.values():
        assert re.fullmatch(r"Add\w+", str(operator.resolver))


# --- What generated code cannot hold ------------------------------------------------------------


@pytest.mark.parametrize("family", ["cortex-m", "android", "host"])
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (port(0, zero_point=300), "zero point 300"),
        (port(0, "int16", zero_point=40000), "zero point 40000"),
        (port(0, "string", scale=None), "type string"),
        (port(0, "complex64", scale=None), "type complex64"),
        (port(0, shape=(1, 0)), "no elements"),
        (
            Tensor(0, "t", (1, 4), "int8", Quantization((1.0, 2.0, 3.0, 4.0), (0,) * 4, 1)),
            "scale per channel",
        ),
    ],
)
def test_inputs_that_code_cannot_hold_are_refused(
    family: str, tensor: Tensor, message: str
) -> None:
    plain = make_export()
    subgraph = replace(plain.graph.main, tensors=(tensor, plain.graph.main.tensors[1]))
    export = replace(plain, graph=replace(plain.graph, subgraphs=(subgraph,)))
    with pytest.raises(ModelError, match=message):
        generate_family(family, export, adders=ADDERS)


def test_golden_vectors_of_another_shape_are_a_bug() -> None:
    export = make_export()
    wrong = replace(export.golden, outputs=((np.zeros(4, np.int8),),) * 3)
    with pytest.raises(ValueError, match="not of the model's shapes"):
        tflm_files(replace(export, golden=wrong))
    with pytest.raises(ValueError, match="need samples"):
        tflm_files(replace(export, golden=Golden((), (), "r", (1,))))


# --- All families -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", list_targets(), ids=lambda t: t.name)
def test_every_target_gets_its_files_the_same_each_time(target: Any, nasty: Export) -> None:
    first = generate(target, nasty, proof=["fully integer", *NASTY])
    again = generate(target, nasty, proof=["fully integer", *NASTY])
    assert first == again and list(first) == list(again)
    for name, content in first.items():
        assert not Path(name).is_absolute() and ".." not in Path(name).parts
        if isinstance(content, str):
            assert content.isascii()
            assert content.endswith("\n")
            assert str(resources.path("runtime")) not in content
            assert not re.search(r"\b20\d\d-\d\d-\d\d\b", content)
            assert "\r" not in content and "\x1b" not in content and "\t" not in content
    assert "README.md" in first


def test_what_is_generated_opens_with_version_hash_and_command() -> None:
    export = make_export(labels=("a",))
    for target in ("cortex-m4", "rpi", "android"):
        for name, content in generate(load_target(target), export).items():
            if name in VERBATIM or not isinstance(content, str) or name == "README.md":
                continue
            head = content.splitlines()[:3]
            assert "Generated by edgeq 1.2.3" in head[0], name
            assert export.sha256 in head[1] and export.command in head[2], name


VERBATIM = {
    "main.cc": ("tflm", "main.cc"),
    "edgeq_quantize.h": ("include", "edgeq_quantize.h"),
    "run.py": ("runners", "python", "run.py"),
    "Quantize.kt": ("android", "Quantize.kt"),
}


def test_runtime_files_are_copied_as_they_are(nasty: Export) -> None:
    seen = set()
    for target in ("cortex-m4", "host", "android"):
        for name, content in generate(load_target(target), nasty).items():
            if name in VERBATIM:
                seen.add(name)
                assert content == resources.path("runtime", *VERBATIM[name]).read_text()
    assert seen == set(VERBATIM)


def test_an_unknown_family_or_interpreter_is_refused() -> None:
    with pytest.raises(UsageError, match="family 'fpga'"):
        generate_family("fpga", make_export())
    with pytest.raises(UsageError, match="interpreter 'torch'"):
        generate_family("linux", make_export(), interpreter="torch")


def test_requirements_are_those_of_the_system_and_python() -> None:
    text = requirements("litert", ["3.11", "3.13"])
    assert "Python 3.10 to 3.14 (its system has 3.11 or 3.13)" in text
    assert [s for s in text.splitlines() if s[0] != "#"] == ["ai-edge-litert==2.3.0", "numpy>=1.26"]
    assert "ai-edge-litert==2.1.4\n" in requirements("litert", (), "2.1.4")
    old = requirements("tflite-runtime", ["3.11"])
    assert [s for s in old.splitlines() if s[0] != "#"] == ["tflite-runtime==2.14.0", "numpy<2"]
    assert "python3-numpy" in old and "--system-site-packages" in old


# --- Kotlin -------------------------------------------------------------------------------------


def test_kotlin_golden_files_hold_the_samples_in_a_row(nasty: Export) -> None:
    files = generate_family("android", nasty)
    for prefix, samples in (("in", nasty.golden.inputs), ("out", nasty.golden.outputs)):
        for i in range(len(samples[0])):
            data = files[f"golden/{prefix}_{i}.bin"]
            assert data == b"".join(sample[i].tobytes() for sample in samples)
    text = str(files["TinyModel.kt"])
    assert 'val GOLDEN_INPUTS = listOf("golden/in_0.bin", "golden/in_1.bin"' in text
    assert f'const val SHA256 = "{nasty.sha256}"' in text
    assert "const val SCALE = 0.584702909f" in text and "const val ZERO_POINT = -128" in text


def test_kotlin_many_labels_are_split_into_lists() -> None:
    labels = tuple(f"class {i}" for i in range(1200))
    text = str(generate_family("android", make_export(labels=labels))["TinyModel.kt"])
    assert "val LABELS: List<String> = labels0() + labels1() + labels2()" in text
    assert re.findall(r'^        "(class \d+)",$', text, re.M) == list(labels)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kws", "KwsModel"),
        ("kws_ref", "KwsRefModel"),
        ("_", "NetworkModel"),
        ("_1a", "Network1aModel"),
    ],
)
def test_kotlin_object_names(name: str, expected: str) -> None:
    assert object_name(name) == expected


@pytest.mark.skipif(not shutil.which("kotlinc"), reason="no kotlinc")
def test_kotlin_compiles(tmp_path: Path, nasty: Export) -> None:
    write(tmp_path, generate_family("android", nasty))
    done = run(["kotlinc", "-Werror", "TinyModel.kt", "Quantize.kt", "-d", "out.jar"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


# --- Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", NASTY)
def test_nothing_breaks_out_of_a_comment_string_or_cell(text: str) -> None:
    for made in (comment(text), c_string(text), kotlin_string(text), markdown(text), prose(text)):
        assert made.isascii() and made.isprintable()
    for sign in ("*/", "/*", "??", "\\"):
        assert sign not in comment(text)
    assert re.fullmatch(r'"(?:[^"\\?]|\\["\\?]|\\[0-7]{3})*"', c_string(text))
    assert re.fullmatch(r'"(?:[^"\\$]|\\["\\$]|\\u[0-9a-f]{4})*"', kotlin_string(text))
    assert re.fullmatch(r"`[^`|]*`", markdown(text))
    assert "<" not in prose(text) and not re.search(r"(?<!\\)[`\[|]", prose(text))


def test_endless_names_are_cut() -> None:
    assert len(c_string("\u2192" * 5000)) < 4 * 4000 + 3
    assert len(comment("x" * 10**6)) < 1100
    decoded = c_string("\u2192" * 5000).strip('"').encode().decode("unicode_escape")
    assert set(decoded.encode("latin-1").decode()) == {"\u2192"}


@pytest.mark.parametrize("value", [1.0, 0.1, 0.5847029089927673, 1e-40, 3.4e38, 1e10, 123456789.0])
def test_float_literals_read_back_as_the_same_float32(value: float) -> None:
    literal = float_literal(value)
    assert literal.endswith("f") and ("." in literal or "e" in literal)
    assert np.float32(literal[:-1]) == np.float32(value)


def test_readme_has_the_commands_and_the_facts() -> None:
    export = make_export(labels=tuple(f"c{i}" for i in range(30)))
    pi = readme("linux", export, target="A Pi", proof=["SQNR 40 dB"])
    assert "venv/bin/python run.py\n" in pi and "- SQNR 40 dB\n" in pi
    assert "| input 0 | `image` | int8 [1, 4], scale 0.0078125, zero point 3 |" in pi
    assert "`c19`, and 10 more." in pi
    assert "--system-site-packages" in readme(
        "linux", export, target="Old", interpreter="tflite-runtime"
    )
    flags = load_target("cortex-m4").core.cflags  # type: ignore[union-attr]
    board = readme("cortex-m", export, target="A board", cflags=flags)
    assert "TARGET_ARCH=cortex-m4+fp " in board and "Tensor arena: 2048 bytes" in board
    assert "Nothing was verified" in board
    assert "TinyModel.kt" in readme("android", export, target="A phone")


def test_readme_tables_survive_nasty_names(nasty: Export) -> None:
    text = readme("cortex-m", nasty, target="x", proof=NASTY)
    rows = [s for s in text.splitlines() if re.match(r"\| (in|out)put \d", s)]
    assert len(rows) == len(MANY_INPUTS) + len(MANY_OUTPUTS)
    assert all(row.count("|") == 4 for row in rows)
    assert len([s for s in text.splitlines() if s.startswith("- ")]) == len(NASTY)
    assert "<img" not in re.sub(r"`[^`]*`", "", text)
