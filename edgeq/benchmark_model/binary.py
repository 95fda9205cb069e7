"""A person's own build of benchmark_model: what it is for, which flavour, which flags it knows."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeq.elf import Elf, read_elf, require_arch
from edgeq.errors import UsageError
from edgeq.probe import Facts

Flavour = Literal["classic", "litert"]

_MOST_BYTES = 1 << 30
_WHERE_FROM = "build tensorflow/lite/tools/benchmark:benchmark_model, or take Google's nightly one"


@dataclass(frozen=True)
class Binary:
    """The file at `path`, read once: what was checked is what is pushed."""

    path: Path
    content: bytes
    sha256: str
    elf: Elf

    def require_fit(self, facts: Facts) -> None:
        """Raise UsageError for a machine that cannot start it."""
        where = str(self.path)
        require_arch(self.elf, facts.arch or facts.machine or "unknown", where)
        loader = self.elf.interpreter
        if loader and loader.startswith("/system/") != facts.is_android:
            systems = ("Android", "Linux") if not facts.is_android else ("Linux", "Android")
            raise UsageError(
                f"{where} is a program for {systems[0]} (its loader is {loader[:100]!r}); the "
                f"device runs {systems[1]}",
                hint=f"use the file that was built for {systems[1]}, or a static one",
            )


def open_binary(path: Path) -> Binary:
    """Read the program at `path`. Raises UsageError for what is none."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: no regular file", hint=_WHERE_FROM)
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path}: over {_MOST_BYTES} bytes", hint=_WHERE_FROM)
        content = path.read_bytes()
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise UsageError(f"{path}: cannot be read: {reason}", hint=_WHERE_FROM) from e
    elf = read_elf(content, str(path))
    if not elf.kind.startswith("program"):
        raise UsageError(f"{path}: an ELF file, but no program ({elf.kind})", hint=_WHERE_FROM)
    return Binary(path, content, hashlib.sha256(content).hexdigest(), elf)


@dataclass(frozen=True)
class Abilities:
    """What a build can: `flags` are those of _FLAGS that it knows."""

    flavour: Flavour
    flags: frozenset[str]


_FLAGS = (
    "input_layer_value_files",
    "output_filepath",
    "result_file_path",
    "enable_op_profiling",
    "op_profiling_output_file",
    "profiling_output_csv_file",
)
_LITERT = (b"benchmark_litert_model", b"dispatch_library_path", b"BENCHMARK RESULTS")


def abilities_of(binary: Binary, usage: bytes) -> Abilities:
    """From the text in the program, and from `usage`, what it prints for --help.

    Either alone can lack a flag: a compiler may put a short text into instructions, and builds of
    old know no --help. Raises UsageError for another program.
    """
    flags = frozenset(name for name in _FLAGS if _knows(binary.content, usage, name))
    if any(marker in text for marker in _LITERT for text in (binary.content, usage)):
        return Abilities("litert", flags)
    if not _knows(binary.content, usage, "num_runs") or not flags:
        raise UsageError(
            f"{binary.path}: is not Google's benchmark_model, or hides its flags",
            hint=_WHERE_FROM,
        )
    return Abilities("classic", flags)


def _knows(content: bytes, usage: bytes, name: str) -> bool:
    flag = name.encode()
    return flag + b"\0" in content or bool(re.search(rb"--%s\b" % flag, usage))
