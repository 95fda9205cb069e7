"""Firmware images of the ports, for tests, by the line of runtime/ports/README.md."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNTIME = ROOT / "runtime"
COMPILER = "arm-none-eabi-gcc"
FLAGS = [
    *("-std=c99", "-Os", "-Wall", "-Wextra", "-pedantic", "-Werror"),
    *("-ffunction-sections", "-fdata-sections"),
]


def ports() -> list[str]:
    return sorted(p.parent.name for p in RUNTIME.glob("ports/*/port.toml"))


def port(name: str) -> dict[str, object]:
    return tomllib.loads((RUNTIME / "ports" / name / "port.toml").read_text())


def command(name: str, image: Path, extra: list[str], sources: list[Path]) -> list[str]:
    """The compiler's command line for the port `name`."""
    facts = port(name)
    cores = tomllib.loads((ROOT / "targets" / "cores.toml").read_text())
    includes = ["include", "harness", *facts["includes"]]
    return [
        COMPILER,
        *cores[facts["core"]]["cflags"],
        *FLAGS,
        *(f"-I{RUNTIME / p}" for p in includes),
        *extra,
        *(str(RUNTIME / p) for p in facts["sources"]),
        *(str(p) for p in sorted((RUNTIME / "harness").glob("*.c"))),
        *(str(p) for p in sorted((RUNTIME / "core").glob("*.c"))),
        *(str(p) for p in sources),
        *("-nostartfiles", "-Wl,--gc-sections", "-Wl,--fatal-warnings"),
        *(f"-L{RUNTIME / p}" for p in facts["linker_paths"]),
        *("-T", str(RUNTIME / facts["linker_script"])),
        *("-o", str(image)),
    ]


def build(name: str, image: Path, *defines: str) -> Path:
    """The firmware of the port `name` with the stub network."""
    extra = [f"-I{HERE}", f'-DEDGEQ_TARGET="{name}"', *(f"-D{d}" for d in defines)]
    argv = command(name, image, extra, [HERE / "stub_model.c"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return image
