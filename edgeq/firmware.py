"""A firmware image that serves one compiled network on a serial line: edgeq bench's other end.

The network and its kernels are compiled at -O2, the harness and the board's own code at -Os.
runtime/ports/README.md has the same by hand. No debug information: the image holds no paths, so
the same compiler makes the same bytes anywhere.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeq import resources
from edgeq.codegen.aot import Compiled
from edgeq.codegen.facts import Export
from edgeq.compiling import HEADER, call, header
from edgeq.documents import decode, read_toml
from edgeq.errors import EdgeqError
from edgeq.targets import Core, Target

COMPILER = "arm-none-eabi-gcc"
_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-ffunction-sections", "-fdata-sections")


@dataclass(frozen=True)
class Port:
    """A board's own code: runtime/ports/<board>/port.toml, paths in runtime/.

    `core` is the board's. Firmware is compiled for the target's, which may be another one that
    runs there.
    """

    core: str
    sources: tuple[str, ...]
    includes: tuple[str, ...]
    linker_script: str
    linker_paths: tuple[str, ...]
    emulator: str | None = None


@dataclass(frozen=True)
class Firmware:
    """An ELF image, and the compiler that made it."""

    image: bytes
    compiler: str


def find_port(target: Target) -> Port | None:
    """The port of `target`, or of the virtual board that emulates it; None when there is none."""
    for name in (target.name, target.sim):
        path = resources.path("runtime", "ports") / str(name) / "port.toml"
        if name and path.is_file():
            return decode(read_toml(path, EdgeqError), Port, str(path), EdgeqError)
    return None


def has_compiler() -> bool:
    return shutil.which(COMPILER) is not None


def compiler_version() -> str:
    return call([COMPILER, "--version"]).splitlines()[0]


def build_firmware(
    target: Target, port: Port, export: Export, compiled: Compiled, mlperf: str | None = None
) -> Firmware:
    """Compile and link the network with the harness and `port`.

    With `mlperf`, one of compiling.BENCHMARKS, MLPerf Tiny's runner takes it for that benchmark's
    device. Raises DoesNotFit when the linker runs out of flash or RAM, MissingProgram without the
    compiler, ConversionError for anything else that the compiler says.
    """
    assert target.core is not None  # Only microcontrollers have ports.
    core = target.core
    with tempfile.TemporaryDirectory(prefix="edgeq-firmware-") as name:
        folder = Path(name)
        for file, text in compiled.files.items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / HEADER).write_text(header(target, export, mlperf), encoding="utf-8")
        objects = [compile_source(folder, source, core) for source in compiled.sources]
        image = folder / "firmware.elf"
        call(_link_line(folder, port, core, objects, image), target)
        return Firmware(image.read_bytes(), compiler_version())


def compile_source(folder: Path, source: str, core: Core, *options: str) -> Path:
    """The object file of one of a network's files, all of which are in `folder`."""
    made = folder / f"{source}.o"
    argv = [COMPILER, *core.cflags, *_FLAGS, "-O2", *options, f"-I{folder}"]
    call([*argv, "-c", str(folder / source), "-o", str(made)])
    return made


def _link_line(folder: Path, port: Port, core: Core, objects: list[Path], image: Path) -> list[str]:
    runtime = resources.path("runtime")
    includes = ("include", "harness", *port.includes)
    harness = sorted((runtime / "harness").glob("*.c"))
    return [
        COMPILER,
        *core.cflags,
        *_FLAGS,
        "-Os",
        *(f"-I{runtime / i}" for i in includes),
        f"-I{folder}",
        *(str(runtime / s) for s in port.sources),
        *map(str, harness),
        *map(str, objects),
        *("-nostartfiles", "-Wl,--gc-sections"),
        *(f"-L{runtime / p}" for p in port.linker_paths),
        *("-T", str(runtime / port.linker_script)),
        *("-o", str(image)),
    ]
