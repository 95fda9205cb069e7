"""What an ELF file is for: processor, width, kind, and what starts it. Nothing in it is run."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from edgeq.errors import UsageError

_ARCHES = {
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "armv7",
    ("EM_X86_64", 64): "x86_64",
    ("EM_386", 32): "x86",
    ("EM_RISCV", 64): "riscv64",
}
_KINDS = {"ET_EXEC": "program", "ET_DYN": "program or library", "ET_REL": "object"}
_MOST_NEEDED = 1000


@dataclass(frozen=True)
class Elf:
    """`arch` as in targets/ (`armv7` for any 32-bit Arm), or ELF's own name where there is none.

    `interpreter` is the loader that starts it (`/system/bin/linker64` on Android), None for a
    static program or a library; `needed` are the shared libraries that it names.
    """

    arch: str
    bits: int
    little_endian: bool
    kind: str
    interpreter: str | None
    needed: tuple[str, ...]

    @property
    def is_static(self) -> bool:
        """Whether it starts without a loader and shared libraries."""
        return self.interpreter is None and not self.needed


def read_elf(data: bytes, where: str) -> Elf:
    """What the header of `data` says. Raises UsageError, which calls the file `where`."""
    from elftools.common.exceptions import ELFError
    from elftools.construct.core import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        header: Any = elf.header
        interpreter, needed = None, []
        segments: Any = elf.iter_segments()
        for segment in segments:
            if segment["p_type"] == "PT_INTERP":
                interpreter = str(segment.get_interp_name())
            elif segment["p_type"] == "PT_DYNAMIC":
                for tag in segment.iter_tags("DT_NEEDED"):
                    needed.append(str(tag.needed))
                    if len(needed) > _MOST_NEEDED:
                        raise ValueError("it needs too many libraries")
        machine = str(header["e_machine"])
        kind = _KINDS.get(str(header["e_type"]), str(header["e_type"]))
    except (
        *(ELFError, ConstructError, ArithmeticError, AssertionError, AttributeError, LookupError),
        *(TypeError, ValueError),
    ) as e:
        raise UsageError(
            f"{where}: not an ELF file, or damaged: {e}",
            hint="a program or library for Linux or Android is one; `file` says what this is",
        ) from e
    arch = _ARCHES.get((machine, elf.elfclass), machine.removeprefix("EM_").lower())
    return Elf(arch, elf.elfclass, elf.little_endian, kind, interpreter, tuple(needed))


def require_arch(elf: Elf, arch: str, where: str) -> None:
    """Refuse what the processors of `arch` cannot run. Raises UsageError."""
    if elf.arch != arch or not elf.little_endian:
        order = "" if elf.little_endian else ", big-endian"
        raise UsageError(
            f"{where} is for {elf.arch} ({elf.bits} bits{order}); the device is {arch}",
            hint=f"use the file that was built for {arch}",
        )
