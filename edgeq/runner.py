"""A program that serves one compiled network on its standard input and output: the other end of
edgeq bench on a phone, a Raspberry Pi or this computer.

runtime/ports/main.c as in firmware, with runtime/runners/posix for a board. One static file: it
needs no library on the device, neither its C library nor Android's.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeq import resources
from edgeq.codegen.aot import Compiled
from edgeq.codegen.facts import Export
from edgeq.compiling import HEADER, call, header
from edgeq.targets import Target
from edgeq.toolchains import Toolchain, host_arch, version_of

# No fused multiply-add, which rounds once where Cortex-M and the reference round twice: AArch64
# has one, and C lets a compiler use it.
_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra")
_LINK = ("-ffunction-sections", "-fdata-sections", "-static", "-Wl,--gc-sections", "-s")
_SIZES = ("-DEDGEQ_LINE_SIZE=4096", "-DEDGEQ_TICK_COUNT=1024")
"""Bytes of a command, and inferences between two lines: RAM is plenty here."""


@dataclass(frozen=True)
class CompiledRunner:
    """The program, the architecture that it is for, and the compiler that made it."""

    program: bytes
    arch: str
    compiler: str


def runner_arch(target: Target) -> str | None:
    """The architecture of a runner for `target`; None where there is none, as on Cortex-M."""
    if target.core is not None:
        return None
    return target.arch or host_arch()


def build_runner(
    target: Target,
    arch: str,
    toolchain: Toolchain,
    export: Export,
    compiled: Compiled,
    mlperf: str | None = None,
) -> CompiledRunner:
    """Compile and link the network with the harness and the posix board.

    With `mlperf`, one of compiling.BENCHMARKS, MLPerf Tiny's runner takes it for that benchmark's
    device. Raises ConversionError when the compiler refuses.
    """
    with tempfile.TemporaryDirectory(prefix="edgeq-runner-") as name:
        folder = Path(name)
        for file, text in compiled.files.items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / HEADER).write_text(header(target, export, mlperf), encoding="utf-8")
        program = folder / "runner"
        call(command_line(toolchain, folder, compiled.sources, program))
        return CompiledRunner(program.read_bytes(), arch, version_of(toolchain))


def command_line(
    toolchain: Toolchain, folder: Path, sources: tuple[str, ...], program: Path
) -> list[str]:
    """What compiles `program` of the network's `sources` and HEADER, which are in `folder`."""
    runtime = resources.path("runtime")
    return [
        *toolchain.command,
        *_FLAGS,
        *_LINK,
        *_SIZES,
        *(f"-I{runtime / i}" for i in ("include", "harness", "ports")),
        f"-I{folder}",
        str(runtime / "ports" / "main.c"),
        str(runtime / "runners" / "posix" / "board.c"),
        *map(str, sorted((runtime / "harness").glob("*.c"))),
        *(str(folder / source) for source in sources),
        *("-o", str(program)),
    ]
