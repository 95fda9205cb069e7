"""The files for TensorFlow Lite Micro: what compilers and linkers make of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from exports import (
    COMPILERS,
    CROSS,
    HOST,
    Arena,
    compile_ok,
    make_export,
    nasty_export,
    run,
    tflm_files,
    write,
)
from tflm_stub import write_stubs

from edgeq.codegen import Export


@pytest.fixture(scope="module")
def nasty() -> Export:
    return nasty_export()


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
