"""Engine aot: what it compiles, the files that it writes, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from make_model import Maker, convolution, tiny_int8

from edgeq.codegen.aot import Compiled, compile_graph
from edgeq.codegen.aot.compiler import TABLE
from edgeq.codegen.aot.names import check_name
from edgeq.codegen.aot.registry import EMITTERS
from edgeq.codegen.aot.source import ABI_VERSION
from edgeq.errors import DoesNotFit, ModelError
from edgeq.operators import load_table
from edgeq.resources import path

sys.path.insert(0, str(Path(__file__).with_name("kernels")))
from host_program import export_of  # noqa: E402

WARNINGS = "-std=c99 -Wall -Wextra -pedantic -Wconversion -Wshadow -Werror".split()


@pytest.fixture(scope="module")
def tiny() -> Compiled:
    return compile_graph(export_of(tiny_int8(), "tiny"))


def one_convolution(name: str = "net", *, weights: Any = None, dtype: Any = np.int8) -> bytes:
    m = Maker()
    x = m.tensor("x", (1, 4, 4, 2), dtype, 0.1, 0)
    data = np.ones((3, 1, 1, 2)) if weights is None else weights
    w = m.tensor("w", (3, 1, 1, 2), np.int8, 0.1, data=data)
    y = m.tensor(name, (1, 4, 4, 3), dtype, 0.1, 0)
    m.op("CONV_2D", [x, w], [y], convolution(), version=3)
    return m.bytes([x], [y])


def test_the_table_is_what_the_emitters_can_do() -> None:
    listed = {
        (name, dtype)
        for name, operator in load_table(TABLE).operators.items()
        for dtype in operator.types
    }
    assert listed == EMITTERS.keys()


def test_abi_version_is_the_header_s() -> None:
    text = path("runtime", "include", "edgeq.h").read_text()
    assert re.search(r"#define EQ_ABI_VERSION (\d+)", text)[1] == str(ABI_VERSION)  # type: ignore[index]


def test_files_are_those_that_the_network_needs(tiny: Compiled) -> None:
    assert tiny.files.keys() == {
        "tiny.h", "tiny.c", "tiny_run.c", "edgeq.h", "eq_model.c",
        "eq_channels.h", "eq_conv.h", "eq_conv_body.h", "eq_dot.h", "eq_fixed_point.h",
        "eq_requantize.h", "eq_softmax.h", "eq_window.h",
        "eq_channels_s8.c", "eq_conv_s8.c", "eq_dot_s8.c", "eq_fully_connected_s8.c",
        "eq_softmax_row.c", "eq_softmax_s8.c", "eq_window.c",
    }  # fmt: skip
    for name, text in tiny.files.items():
        for included in re.findall(r'#include "(.*)"', text):
            assert included in tiny.files, f"{name} includes {included}"


def test_every_file_that_is_copied_is_named_by_an_include_or_compiled(tiny: Compiled) -> None:
    included = {i for text in tiny.files.values() for i in re.findall(r'#include "(.*)"', text)}
    assert tiny.files.keys() == included | {*tiny.sources, "tiny_run.c"}


def test_the_same_model_gives_the_same_bytes(tiny: Compiled) -> None:
    assert compile_graph(export_of(tiny_int8(), "tiny")).files == tiny.files


def test_code_has_no_paths_or_dates_and_is_ascii(tiny: Compiled) -> None:
    for name in ("tiny.h", "tiny.c", "tiny_run.c"):
        text = tiny.files[name]
        assert text.isascii() and "/tmp" not in text and "\t" not in text
        assert not re.search(r"20\d\d-\d\d", text)


def test_all_c_compiles_without_a_warning(tiny: Compiled, tmp_path: Path) -> None:
    for name, text in tiny.files.items():
        (tmp_path / name).write_text(text)
    for source in (*tiny.sources, "tiny_run.c"):
        subprocess.run(["gcc", *WARNINGS, "-c", source], cwd=tmp_path, check=True)
    subprocess.run(
        ["g++", "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
         "-x", "c++", "tiny.h"],
        cwd=tmp_path, check=True,
    )  # fmt: skip


def test_every_kernel_compiles_without_a_warning(tmp_path: Path) -> None:
    for source in sorted(path("runtime", "kernels").glob("*.c")):
        include = f"-I{path('runtime', 'include')}"
        subprocess.run(["gcc", *WARNINGS, "-O2", include, "-c", source], cwd=tmp_path, check=True)


def test_kernels_call_nothing_but_the_memory_functions(tmp_path: Path) -> None:
    for source in sorted(path("runtime", "kernels").glob("*.c")):
        include = f"-I{path('runtime', 'include')}"
        compile_ = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2", include]
        subprocess.run([*compile_, "-c", source, "-o", "kernel.o"], cwd=tmp_path, check=True)
        names = subprocess.run(
            ["arm-none-eabi-nm", "kernel.o"], cwd=tmp_path, check=True, capture_output=True
        ).stdout.decode()
        for kind, name in re.findall(r"([A-Za-z]) (\w+)$", names, re.MULTILINE):
            if kind == "U":
                assert name.startswith("eq_") or name in ("memcpy", "memset", "memmove"), name
            assert kind not in "dDbBC", f"{source.name}: {name} is no constant"


def test_a_wrong_abi_does_not_compile(tiny: Compiled, tmp_path: Path) -> None:
    for name, text in tiny.files.items():
        text = text.replace(f"EQ_ABI_VERSION {ABI_VERSION}", f"EQ_ABI_VERSION {ABI_VERSION + 1}")
        (tmp_path / name).write_text(text)
    done = subprocess.run(["gcc", "-c", "tiny.c"], cwd=tmp_path, capture_output=True)
    assert b"take both from one bundle" in done.stderr
    assert done.returncode != 0


def test_the_run_function_is_all_that_a_program_needs(tiny: Compiled, tmp_path: Path) -> None:
    for name, text in tiny.files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.c").write_text(
        '#include "tiny.h"\n'
        "int main(void) {\n"
        "    static int8_t image[64], scores[3];\n"
        "    tiny_run(image, scores);\n"
        "    return scores[0] + scores[1] + scores[2] + 3 * 128 >= 250 ? 0 : 1;\n"
        "}\n"
    )
    sources = ["main.c", "tiny_run.c", *tiny.sources]
    subprocess.run(["gcc", *sources, "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


def test_two_models_fit_into_one_image(tmp_path: Path) -> None:
    sources = set()
    for name, seed in (("one", 0), ("two", 1)):
        compiled = compile_graph(export_of(tiny_int8(seed), name))
        for file, text in compiled.files.items():
            (tmp_path / file).write_text(text)
        sources |= {*compiled.sources, f"{name}_run.c"}
    (tmp_path / "main.c").write_text(
        '#include "one.h"\n#include "two.h"\n'
        "int main(void) {\n"
        "    int8_t image[64] = {0}, scores[3];\n"
        "    one_run(image, scores);\n"
        "    two_run(image, scores);\n"
        "    return 0;\n"
        "}\n"
    )
    subprocess.run(["gcc", "main.c", *sorted(sources), "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", ['*/ } "; \\', "a\nb", "??/", "\u65e5\u672c", "x" * 300])
def test_strange_names_do_no_harm(name: str, tmp_path: Path) -> None:
    compiled = compile_graph(export_of(one_convolution(name)))
    for file, text in compiled.files.items():
        (tmp_path / file).write_text(text)
    subprocess.run(["gcc", *WARNINGS, "-c", "net.c"], cwd=tmp_path, check=True)


def test_infinite_and_undefined_constants(tmp_path: Path) -> None:
    """A mask of minus infinity, say."""
    m = Maker()
    x = m.tensor("x", (3,), np.float32)
    mask = m.tensor("mask", (3,), np.float32, data=np.float32([np.inf, -np.inf, np.nan]))
    y = m.tensor("y", (6,), np.float32)
    m.op("CONCATENATION", [x, mask], [y], schema.ConcatenationOptionsT())
    compiled = compile_graph(export_of(m.bytes([x], [y])))
    for file, text in compiled.files.items():
        (tmp_path / file).write_text(text)
    subprocess.run(["gcc", *WARNINGS, "-c", "net.c"], cwd=tmp_path, check=True)
    assert "INFINITY, -INFINITY, NAN," in compiled.files["net.c"]
    assert "math.h" not in compile_graph(export_of(tiny_int8())).files["net.c"]


# --- What it refuses ----------------------------------------------------------------------------


def graph_with(operator: str, dtype: Any = np.int8) -> bytes:
    m = Maker()
    x = m.tensor("x", (1, 8), dtype, 0.1, 0)
    y = m.tensor("y", (1, 8), dtype, 0.1, 0)
    m.op(operator, [x], [y])
    return m.bytes([x], [y])


def test_a_missing_operator_says_who_has_it() -> None:
    with pytest.raises(DoesNotFit, match="operator 0 CEIL: edgeq's engine aot has no CEIL") as e:
        compile_graph(export_of(graph_with("CEIL", np.float32)))
    assert e.value.hint and "TensorFlow Lite Micro" in e.value.hint


def test_an_operator_that_nobody_has() -> None:
    with pytest.raises(DoesNotFit, match="has no GELU") as e:
        compile_graph(export_of(graph_with("GELU")))
    assert e.value.hint and "TensorFlow Lite Micro" not in e.value.hint


def test_a_type_that_no_kernel_has() -> None:
    with pytest.raises(DoesNotFit, match="has SOFTMAX for .*int8.*, not for uint8"):
        compile_graph(export_of(graph_with("SOFTMAX", np.uint8)))


def test_weights_that_are_computed() -> None:
    m = Maker()
    x = m.tensor("x", (1, 4, 4, 2), np.int8, 0.1, 0)
    w = m.tensor("w", (3, 1, 1, 2), np.int8, 0.1)
    y = m.tensor("y", (1, 4, 4, 3), np.int8, 0.1, 0)
    m.op("CONV_2D", [x, w], [y], convolution(), version=3)
    with pytest.raises(DoesNotFit, match="input 1 is computed") as e:
        compile_graph(export_of(m.bytes([x, w], [y])))
    assert e.value.hint == "build with --engine tflm"


def test_a_constant_output() -> None:
    m = Maker()
    x = m.tensor("x", (1, 8), np.int8, 0.1, 0)
    y = m.tensor("y", (1, 8), np.int8, 0.1, 0)
    c = m.tensor("c", (1, 8), np.int8, 0.1, 0, data=np.zeros(8))
    m.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="output 1 .* is a constant"):
        compile_graph(export_of(m.bytes([x], [y, c])))


def test_a_model_without_operators() -> None:
    m = Maker()
    x = m.tensor("x", (1, 8), np.int8, 0.1, 0)
    with pytest.raises(ModelError, match="no operators"):
        compile_graph(export_of(m.bytes([x], [x])))


@pytest.mark.parametrize(
    "name",
    ["edgeq", "edgeq_quantize", "edgeq_firmware", "eq_conv_s8", "eq_svdf_s8", "eq_model", "board"],
)
def test_a_name_that_the_runtime_uses(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot be called '{name}': the runtime has"):
        compile_graph(export_of(tiny_int8(), name))


@pytest.mark.parametrize("name", ["stdint", "string", "String", "strings", "features", "time"])
def test_a_name_of_the_c_library(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot be called '{name}': the C library has") as e:
        compile_graph(export_of(tiny_int8(), name))
    assert e.value.hint and "--name" in e.value.hint


@pytest.mark.parametrize("compiler", ["gcc", "arm-none-eabi-gcc"])
def test_no_header_of_the_c_library_can_be_covered(compiler: str, tmp_path: Path) -> None:
    """Whatever <string.h> and the like include, a network of that name is refused."""
    headers = ("limits", "math", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string")
    text = "".join(f"#include <{name}.h>\n" for name in headers)
    done = subprocess.run(
        [compiler, "-M", "-x", "c", "-"], input=text, capture_output=True, text=True, check=True
    )
    found = [Path(p) for p in done.stdout.split() if p.endswith(".h")]
    assert len(found) > len(headers)
    inner = {"sys", "bits", "machine", "gnu", "asm", "asm-generic", "linux"}
    for header in found:
        if not inner & {*header.parts} and re.fullmatch(r"[a-z]\w*", header.stem):
            with pytest.raises(ModelError, match="the C library has"):
                check_name(header.stem)
