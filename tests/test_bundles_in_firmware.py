"""Bundles in a firmware: two networks by make, by CMake and as files; the C that READMEs show."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from make_model import Maker, convolution, tiny_int8

from edgeq.codegen import Export, generate
from edgeq.codegen.aot import compile_graph
from edgeq.golden import Golden
from edgeq.interpreters import run, tflm
from edgeq.targets import load_target

sys.path.insert(0, str(Path(__file__).with_name("kernels")))
from host_program import export_of, options, random_samples  # noqa: E402

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")
needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")

# What a person writes who has both bundles: every golden vector of each, one after the other.
MAIN = """\
#define EQ_NO_SHORT_NAMES
#include <string.h>
#include "one.h"
#include "one_golden.h"
#include "one_io.h"
#include "two.h"
#include "two_golden.h"
#include "two_io.h"

static uint8_t arena[ONE_ARENA_SIZE > TWO_ARENA_SIZE ? ONE_ARENA_SIZE : TWO_ARENA_SIZE] EQ_ALIGNED;

static int differs(const eq_model_t* model, const void* input, const void* output) {
    if (eq_model_init(model, arena, sizeof arena) != EQ_OK) {
        return 1;
    }
    memcpy(eq_model_input(model, arena, 0), input, model->inputs[0].bytes);
    eq_model_invoke(model, arena);
    return memcmp(eq_model_output(model, arena, 0), output, model->outputs[0].bytes) != 0;
}

int main(void) {
    int8_t one[3], two[1 * 4 * 4 * 4];
    for (int i = 0; i < ONE_GOLDEN_COUNT; i++) {
        one_run(one_golden_input_0[i], one);
        two_run(two_golden_input_0[i], two);
        if (memcmp(one, one_golden_output_0[i], sizeof one) != 0) return 1;
        if (memcmp(two, two_golden_output_0[i], sizeof two) != 0) return 2;
        if (differs(&one_model, one_golden_input_0[i], one_golden_output_0[i])) return 3;
        if (differs(&two_model, two_golden_input_0[i], two_golden_output_0[i])) return 4;
    }
    return 0;
}
"""


def pooled() -> bytes:
    """int8 8x8x2 -> conv 3x3x4 -> depthwise 3x3 -> average of 2x2: one kernel of tiny_int8's."""
    random = np.random.default_rng(5)
    m = Maker()
    image = m.tensor("image", (1, 8, 8, 2), np.int8, 0.05, 3)
    filters = m.tensor("filters", (4, 3, 3, 2), np.int8, 0.01, data=random.integers(-9, 9, 72))
    features = m.tensor("features", (1, 8, 8, 4), np.int8, 0.02, -5)
    taps = m.tensor("taps", (1, 3, 3, 4), np.int8, 0.01, data=random.integers(-50, 50, 36))
    bias = m.tensor("bias", (4,), np.int32, 0.0002, data=random.integers(-900, 900, 4))
    mixed = m.tensor("mixed", (1, 8, 8, 4), np.int8, 0.02, 7)
    means = m.tensor("means", (1, 4, 4, 4), np.int8, 0.02, 7)
    m.op("CONV_2D", [image, filters], [features], convolution(), version=3)
    same = schema.Padding.SAME
    steps = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    depthwise = options("DepthwiseConv2D", padding=same, depthMultiplier=1, **steps)
    m.op("DEPTHWISE_CONV_2D", [features, taps, bias], [mixed], depthwise, version=3)
    window = {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    m.op("AVERAGE_POOL_2D", [mixed], [means], options("Pool2D", padding=same, **window), version=2)
    return m.bytes([image], [means])


def bundled(tflite: bytes, name: str, folder: Path) -> Path:
    """The files of a Cortex-M bundle, with golden outputs of TensorFlow Lite Micro's."""
    export = export_of(tflite, name)
    inputs = random_samples(export.graph, 5)
    with tflm(tflite, export.graph) as network:
        outputs = list(run(network, inputs))
    export = replace(export, golden=Golden(tuple(inputs), tuple(outputs), "TFLM", (0,)))
    for file, text in files_of(export).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text if isinstance(text, str) else text.decode())
    return folder


def files_of(export: Export) -> dict[str, str | bytes]:
    return generate(load_target("cortex-m4"), export, compile_graph(export))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """one/ and two/, bundles whose networks have some kernels in common."""
    folder = tmp_path_factory.mktemp("bundles")
    bundled(tiny_int8(), "one", folder / "one")
    bundled(pooled(), "two", folder / "two")
    kernels = [{p.name for p in (folder / n / "aot").glob("eq_*.c")} for n in ("one", "two")]
    assert kernels[0] & kernels[1] and kernels[0] - kernels[1] and kernels[1] - kernels[0]
    return folder


@pytest.fixture
def folder(bundles: Path, tmp_path: Path) -> Path:
    """Those of `bundles`, and main.c."""
    shutil.copytree(bundles, tmp_path, dirs_exist_ok=True)
    (tmp_path / "main.c").write_text(MAIN)
    return tmp_path


def succeed(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr, done.stderr
    return done.stdout


LIBRARIES = ["one/aot/libone_network.a", "two/aot/libtwo_network.a"]
LINK = ["gcc", "-Wall", "-Werror", "-Ione/aot", "-Itwo/aot", "main.c"]


@needs_make
@pytest.mark.parametrize("order", [1, -1])
def test_two_libraries_link_in_any_order(folder: Path, order: int) -> None:
    for name in ("one", "two"):
        succeed(["make", "-C", f"{name}/aot"], folder)
    succeed([*LINK, *LIBRARIES[::order], "-o", "firmware"], folder)
    succeed(["./firmware"], folder)


def test_two_folders_make_one(folder: Path) -> None:
    """By the commands of the bundle's README, but for the other bundle's name."""
    text = (folder / "one" / "README.md").read_text().replace("other", "two")
    commands = re.findall(r"^    (mkdir networks|cp \w+/aot/\S+ networks/)$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        succeed(["sh", "-c", command], folder)
    sources = [str(p) for p in sorted((folder / "networks").glob("*.c"))]
    succeed(["gcc", "-Inetworks", "main.c", *sources, "-o", "firmware"], folder)
    succeed(["./firmware"], folder)


def cmake_project(folder: Path, *more: str) -> None:
    """Of the lines in the bundle's README, but for the other bundle's name."""
    text = (folder / "one" / "README.md").read_text().replace("other", "two")
    lines = re.findall(r"^    (add_subdirectory.*|target_link_libraries.*)$", text, re.MULTILINE)
    assert len(lines) == 3
    (folder / "CMakeLists.txt").write_text(
        "\n".join(
            [
                "cmake_minimum_required(VERSION 3.13)",
                "project(firmware C)",
                "set(CMAKE_EXPORT_COMPILE_COMMANDS ON)",
                *more,
                "add_executable(firmware main.c)",
                *lines,
            ]
        )
        + "\n"
    )


@needs_cmake
def test_two_subdirectories_of_one_cmake_project(folder: Path) -> None:
    cmake_project(folder)
    succeed(["cmake", "-S", ".", "-B", "made"], folder)
    succeed(["cmake", "--build", "made"], folder)
    succeed(["made/firmware"], folder)


@needs_cmake
@pytest.mark.parametrize(
    ("arguments", "lines", "level"),
    [
        ([], [], "-O2"),
        (["-DCMAKE_BUILD_TYPE=MinSizeRel"], [], "-Os"),
        (["-DCMAKE_BUILD_TYPE=Debug"], [], None),
        (["-DCMAKE_C_FLAGS=-O1"], [], "-O1"),
        ([], ["add_compile_options(-O3)"], "-O3"),
    ],
)
def test_cmake_optimises_unless_the_project_says_how(
    folder: Path, arguments: list[str], lines: list[str], level: str | None
) -> None:
    cmake_project(folder, *lines)
    succeed(["cmake", "-S", ".", "-B", "made", *arguments], folder)
    commands = (folder / "made" / "compile_commands.json").read_text().splitlines()
    of_main = [c for c in commands if '"command"' in c and "main.c" in c]
    of_kernels = [c for c in commands if '"command"' in c and "eq_conv_s8.c" in c]
    assert len(of_main) == 1 and len(of_kernels) == 2
    for command in of_kernels:
        assert (re.findall(r" (-O\w+)", command) or [None])[-1] == level
    if level == "-O2":
        assert "-O2" not in of_main[0]


@needs_make
def test_libraries_of_two_runtimes_do_not_link(folder: Path) -> None:
    for path in (folder / "two" / "aot").glob("*.[ch]"):
        text = path.read_text().replace("EQ_ABI_VERSION 1", "EQ_ABI_VERSION 2")
        text = text.replace("EQ_ABI_VERSION != 1", "EQ_ABI_VERSION != 2")
        path.write_text(text.replace("eq_abi_1", "eq_abi_2"))
    for name in ("one", "two"):
        succeed(["make", "-C", f"{name}/aot"], folder)
    (folder / "main.c").write_text(
        "void one_run(const signed char*, signed char*), two_run(const signed char*, signed char*);"
        "int main(void) { one_run(0, 0); two_run(0, 0); return 0; }\n"
    )
    for libraries in (LIBRARIES, LIBRARIES[::-1]):
        command = ["gcc", "main.c", *libraries, "-o", "firmware"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode != 0
        assert "multiple definition of `eq_model_init'" in done.stderr
    (folder / "main.c").write_text(MAIN)
    done = subprocess.run([*LINK, "-fsyntax-only"], cwd=folder, capture_output=True, text=True)
    assert "two was generated for another version of edgeq.h" in re.sub('"', "", done.stderr)


# --- The C that READMEs show --------------------------------------------------------------------

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("readme", "name", "variables"),
    [
        ("one/README.md", "one", "const int8_t stored[64]; const void* result;"),
        ("runtime/README.md", "kws", "const int8_t samples[490];"),
        ("examples/digits/README.md", "digits", "const float pixels[64]; float scores[3];"),
    ],
)
def test_the_calls_in_a_readme_compile(
    bundles: Path, tmp_path: Path, readme: str, name: str, variables: str
) -> None:
    """As they stand: the lines above the blank one at file level, the rest in a function."""
    own = bundles / readme
    text = (own if own.exists() else ROOT / readme).read_text()
    found = re.search(
        rf'^ *#include "{name}\.h"\n((?: *#include .*\n)*)\n( *static uint8_t arena.*)\n\n'
        rf"((?: *\S.*\n)+)",
        text,
        re.MULTILINE,
    )
    assert found is not None
    includes, arena, calls = found.groups()
    calls = calls.split("```")[0].replace("490", "64")
    source = f'#include "{name}.h"\n{includes}{arena}\nvoid f(void);\n'
    declared = "".join(f"extern {v.strip()};\n" for v in variables.split(";") if v.strip())
    source += f"{declared}void f(void) {{\n{calls}}}\n"
    (tmp_path / "use.c").write_text(source.replace(name, "one").replace(name.upper(), "ONE"))
    flags = ["-std=c99", "-Wall", "-Werror", "-Wno-unused-variable", f"-I{bundles / 'one/aot'}"]
    succeed(["gcc", *flags, "-c", "use.c"], tmp_path)
