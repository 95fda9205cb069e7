"""What a compiled network takes of a core, against the real compiler and an emulated M4."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, tiny_int8

import edgeq
from edgeq.codegen import readme
from edgeq.codegen.aot import Compiled, compile_graph
from edgeq.codegen.aot.source import smallest_main
from edgeq.codegen.facts import Export, Footprint
from edgeq.footprint import measure, read_frames, worst_stack
from edgeq.resources import path
from edgeq.targets import load_core

sys.path.insert(0, str(Path(__file__).with_name("kernels")))
from host_program import export_of  # noqa: E402

GCC, QEMU = "arm-none-eabi-gcc", "qemu-system-arm"
needs_compiler = pytest.mark.skipif(not shutil.which(GCC), reason=f"no {GCC}")
CORES = "cortex-m0 cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m33 cortex-m55".split()


@pytest.fixture(scope="module")
def export() -> Export:
    return export_of(tiny_int8(), "tiny")


@pytest.fixture(scope="module")
def compiled(export: Export) -> Compiled:
    return compile_graph(export)


def padded() -> bytes:
    m = Maker()
    x = m.tensor("x", (1, 4, 4, 2), np.int8, 0.1, 0)
    borders = m.tensor("p", (4, 2), np.int32, data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]]))
    y = m.tensor("y", (1, 6, 6, 2), np.int8, 0.1, 0)
    m.op("PAD", [x, borders], [y])
    return m.bytes([x], [y])


@needs_compiler
@pytest.mark.parametrize("core", CORES)
def test_every_core_has_its_numbers(export: Export, compiled: Compiled, core: str) -> None:
    found = measure(export, compiled, load_core(core))
    assert found is not None and found.stack is not None
    assert found.weights == compiled.weights_size
    assert 1000 < found.flash - found.weights < 16_000
    assert compiled.plan.size <= found.ram < compiled.plan.size + 32
    assert 100 < found.stack < 1000 and found.stack % 4 == 0
    assert "12." in found.compiler or "gcc" in found.compiler
    assert found == measure(export, compiled, load_core(core))


@needs_compiler
def test_recursion_of_a_known_depth_has_a_bound() -> None:
    rank = re.search(
        r"#define EQ_PAD_RANK (\d+)", path("runtime", "include", "eq_shape.h").read_text()
    )
    assert rank and rank[1] == "5"
    export = export_of(padded(), "net")
    for core in ("cortex-m0", "cortex-m4"):
        found = measure(export, compile_graph(export), load_core(core))
        assert found is not None and found.stack is not None and found.stack > 200


PROBE = r"""
#include "tiny.h"

#define PAINT 0xA5A5A5A5u
#define DEPTH 1024

int main(void);
static int8_t input[64], output[16];

static void say(const char* text) {
    register int operation __asm__("r0") = 4;
    register const char* argument __asm__("r1") = text;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(argument) : "memory");
}

static void leave(void) {
    register int operation __asm__("r0") = 0x18;
    register int argument __asm__("r1") = 0x20026;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(argument) : "memory");
}

int main(void) {
    char digits[] = "00000\n";
    volatile unsigned* bottom;
    unsigned used = 0;
    *(volatile unsigned*)0xE000ED88 |= 0xFu << 20; /* the FPU */
    __asm__ volatile("mov %0, sp" : "=r"(bottom));
    for (int i = 1; i <= DEPTH; i++) bottom[-i] = PAINT;
    tiny_run(input, output);
    for (unsigned i = 1; i <= DEPTH; i++) if (bottom[-(int)i] != PAINT) used = 4 * i;
    for (int i = 4; i >= 0; i--, used /= 10) digits[i] = (char)('0' + used % 10);
    say(digits);
    leave();
    for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void* const vectors[] = {
    (void*)0x20100000, (void*)main};
"""


@needs_compiler
@pytest.mark.skipif(not shutil.which(QEMU), reason=f"no {QEMU}")
def test_the_bound_holds_on_an_emulated_core(
    export: Export, compiled: Compiled, tmp_path: Path
) -> None:
    """The painted stack shows what a real call took: near the bound and never more."""
    for name, text in {**compiled.files, "probe.c": PROBE}.items():
        (tmp_path / name).write_text(text)
    core = load_core("cortex-m4")
    sources = [*compiled.sources, "tiny_run.c", "probe.c"]
    places = ("--section-start=.vectors=0", "-Ttext=0x400", "-Tdata=0x20000000", "-Tbss=0x20010000")
    subprocess.run(
        [GCC, *core.cflags, "-std=gnu99", "-O2", "-ffunction-sections", "-nostartfiles"]
        + [*(f"-Wl,{p}" for p in places), "-Wl,-e,main", *sources, "-o", "probe.elf"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    done = subprocess.run(
        [QEMU, "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native"]
        + ["-kernel", str(tmp_path / "probe.elf")],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    used = int((done.stdout + done.stderr).strip())
    found = measure(export, compiled, core)
    assert found is not None and found.stack is not None
    assert used <= found.stack <= used + 64


@needs_compiler
def test_the_smallest_main_compiles(export: Export, compiled: Compiled, tmp_path: Path) -> None:
    for name, text in {**compiled.files, "main.c": smallest_main(export)}.items():
        (tmp_path / name).write_text(text)
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]
    command = [GCC, *load_core("cortex-m4").cflags, *flags, "-c", "main.c"]
    subprocess.run(command, cwd=tmp_path, check=True)


@needs_compiler
def test_a_bundle_says_what_was_measured_and_how(tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tiny_int8())
    target = [edgeq.load_target("cortex-m4")]
    first, again = (
        edgeq.build(tmp_path / "tiny.tflite", target, output=tmp_path / o)[0] for o in ("a", "b")
    )
    for name in ("README.md", "manifest.json"):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()
    facts = edgeq.open_bundle(first.folder).manifest["aot"]["footprint"]
    text = (first.folder / "README.md").read_text()
    assert "        tiny_run(input, output);\n" in text
    assert f"| flash | {facts['flash']} bytes: {facts['weights']} of weights, " in text
    assert f"| RAM | {facts['ram']} bytes" in text and f"| stack | {facts['stack']} bytes |" in text
    assert f"Measured with {facts['compiler']}" in text
    assert str(tmp_path) not in text + str(facts)


def test_the_readme_tells_what_a_call_takes(export: Export, compiled: Compiled) -> None:
    known = Footprint(9000, compiled.weights_size, 300, 240, "gcc 12", ("-O2",))

    def text(footprint: Footprint | None) -> str:
        return readme("cortex-m", export, target="x", compiled=compiled, footprint=footprint)

    code = 9000 - compiled.weights_size
    assert f"9000 bytes: {compiled.weights_size} of weights, {code} of code" in text(known)
    assert f"| RAM | 300 bytes, of which the arena is {compiled.plan.size} |" in text(known)
    assert "| stack | 240 bytes |" in text(known) and "Measured with gcc 12" in text(known)
    assert "| stack | not known: " in text(replace(known, stack=None))
    assert "not measured" in text(None) and "| stack |" not in text(None)


def test_without_the_compiler_a_bundle_says_how_to_get_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.tflite").write_bytes(tiny_int8())
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + "/nowhere")
    target = [edgeq.load_target("cortex-m4")]
    (built,) = edgeq.build(tmp_path / "tiny.tflite", target, output=tmp_path / "out")
    assert built.footprint is None
    assert edgeq.open_bundle(built.folder).manifest["aot"]["footprint"] is None
    text = (built.folder / "README.md").read_text()
    assert "Code\nand stack were not measured" in text and "edgeq doctor" in text


# --- The stack, of listings ---------------------------------------------------------------------


def listing(**functions: str) -> str:
    """objdump's form; a function is 16 bytes, its instructions are given with ; between."""
    text = "image.elf:     file format elf32-littlearm\n\n\nDisassembly of section .text:\n"
    for i, (name, body) in enumerate(functions.items()):
        text += f"\n{16 * i:08x} <{name}>:\n"
        for j, line in enumerate(body.split("; ")):
            text += f"{16 * i + 2 * j:8x}:\t{line.replace(' ', chr(9), 1)}\n"
    return text


@pytest.mark.parametrize(
    ("body", "stack"),
    [
        ("bx lr", 100),
        ("push {r4, r5, lr}; pop {r4, r5, pc}", 112),
        ("push {r4, lr}; sub sp, #24; add sp, #24; pop {r4, pc}", 132),
        ("stmdb sp!, {r4, r5, r6, sl, fp, lr}; sub.w sp, sp, #1024", 1148),
        ("vpush {d8-d11}; str.w lr, [sp, #-4]!; ldr.w pc, [sp], #4", 136),
        ("strd r4, r5, [sp, #-16]!", 116),
        ("b.n 20 <library>", 100),
        ("cbz r0, 22 <library+0x2>", 100),
        ("bl 20 <library>", None),  # recursion
        ("sub sp, r3", None),
        ("mov sp, r7", None),
        ("blx r3", None),
        ("bx r3", None),
        ("ldr.w pc, [r3, r2, lsl #2]", None),
        ("mov pc, r3", None),
        ("b.w 30 <nowhere>", None),
    ],
)
def test_what_instructions_take_and_call(body: str, stack: int | None) -> None:
    text = listing(net_run="bl 10 <kernel>; bx lr", kernel="b.w 20 <library>", library=body)
    frames = read_frames(["a.c:1:1:net_run\t40\tstatic\n", "b.c:1:1:kernel\t60\tdynamic,bounded\n"])
    assert worst_stack(text, frames, "net_run") == stack


def test_frames_of_clones_and_of_static_functions_with_one_name() -> None:
    reports = ["a.c:1:1:one.isra\t20\tstatic\n", "b.c:1:1:side\t8\tstatic\n"]
    frames = read_frames([*reports, "c.c:1:1:side\t80\tstatic\n", "d.c:1:1:wild\t8\tdynamic\n"])
    assert frames == {"one.isra": 20, "side": 80, "wild": None}
    text = listing(**{"net_run": "bl 10 <one.isra.0>", "one.isra.0": "bx lr"})
    assert worst_stack(text, {**frames, "net_run": 8}, "net_run") == 28


def test_the_network_s_own_pointers_are_followed() -> None:
    text = listing(net_run="bl 10 <eq_model_invoke>", eq_model_invoke="blx r4", run="blx r4")
    assert worst_stack(text, {"net_run": 8, "eq_model_invoke": 16, "run": 32}, "net_run") == 56
