"""What an ELF file is for."""

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq.elf import read_elf, require_arch
from edgeq.errors import UsageError


def header(machine, bits, order="<", kind=2):
    """An ELF header without segments (System V ABI, chapter 4)."""
    wide = bits == 64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    rest = struct.pack(
        f"{order}HHI{'QQQ' if wide else 'III'}IHHHHHH",
        *(kind, machine, 1, 0, 0, 0, 0, 64 if wide else 52, 0, 0, 0, 0, 0),
    )
    return ident + rest


@pytest.mark.parametrize(
    "machine, bits, arch",
    [(183, 64, "aarch64"), (40, 32, "armv7"), (62, 64, "x86_64"), (3, 32, "x86"), (8, 32, "mips")],
)
def test_processor_and_width(machine, bits, arch):
    elf = read_elf(header(machine, bits), "runner")

    assert (elf.arch, elf.bits, elf.kind) == (arch, bits, "program")
    assert elf.is_static
    require_arch(elf, arch, "runner")


def test_another_processor_is_refused_by_name():
    elf = read_elf(header(62, 64), "benchmark_model")

    with pytest.raises(UsageError) as error:
        require_arch(elf, "aarch64", "benchmark_model")

    assert str(error.value) == "benchmark_model is for x86_64 (64 bits); the device is aarch64"


def test_big_endian_is_another_processor():
    with pytest.raises(UsageError, match="64 bits, big-endian"):
        require_arch(read_elf(header(183, 64, ">"), "x"), "aarch64", "x")


@pytest.mark.parametrize("static", [True, False])
def test_what_starts_a_program(tmp_path, static):
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(
        ["gcc", *(["-static"] if static else []), "-o", str(program), str(source)], check=True
    )

    elf = read_elf(program.read_bytes(), "p")

    assert elf.is_static == static
    assert static or "libc.so.6" in elf.needed
    assert static or (elf.interpreter and "ld-linux" in elf.interpreter)


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(20), b"\x7fELF" * 99]
)
def test_what_is_none_is_refused(data):
    with pytest.raises(UsageError, match="^tool: not an ELF file"):
        read_elf(data, "tool")


def test_damaged_files_are_refused_or_read():
    """No byte of a header may end in anything but an answer or a UsageError."""
    data = bytearray(Path(sys.executable).read_bytes()[:4096])
    for place in range(0, 256):
        for value in (0x00, 0x41, 0xFF):
            bad = bytearray(data)
            bad[place] = value
            try:
                read_elf(bytes(bad), "bad")
            except UsageError:
                pass


def test_a_damaged_table_of_libraries_is_no_traceback():
    data = bytearray(Path("/bin/sh").resolve().read_bytes())
    (at,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for segment in range(count):
        (kind,) = struct.unpack_from("<I", data, at + 56 * segment)
        if kind == 2:  # PT_DYNAMIC: its first tag becomes one that an interpreter's name needs.
            (place,) = struct.unpack_from("<Q", data, at + 56 * segment + 8)
            for offset in range(place, place + 400, 16):
                damaged = bytearray(data)
                struct.pack_into("<qQ", damaged, offset, 1, 1 << 63)
                with contextlib.suppress(UsageError):
                    read_elf(bytes(damaged), "sh")
