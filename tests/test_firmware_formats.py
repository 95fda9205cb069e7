"""Images as flashers take them, held to binutils, and ELF files that are none."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from edgeq.errors import FlashError
from edgeq.firmware_formats import Segment, load_segments, to_binary, to_hex, to_uf2

OBJCOPY = "arm-none-eabi-objcopy"

PARTS = [
    Segment(0x10000003, bytes(range(200)) * 3),
    Segment(0x1000FFF8, b"across a border of 64 KiB"),
]


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """A program with code, constants and initialised variables, which lie in flash at first."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs arm-none-eabi-gcc")
    (tmp_path / "a.c").write_text(
        'int counter = 7;\nconst char text[] = "constant";\n'
        "void start(void) { counter += text[0]; }\n"
    )
    (tmp_path / "a.ld").write_text(
        "MEMORY { F (rx) : ORIGIN = 0x08000000, LENGTH = 64K\n"
        "  R (rw) : ORIGIN = 0x20000000, LENGTH = 8K }\n"
        "SECTIONS { .text : { *(.text*) *(.rodata*) } > F  .data : { *(.data*) } > R AT > F }\n"
    )
    made = tmp_path / "a.elf"
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-nostdlib", "-Wl,-e,start"]
    subprocess.run([*command, "-T", "a.ld", "a.c", "-o", made], cwd=tmp_path, check=True)
    return made


def objcopy(source: Path, kind: str, target: Path, *options: str) -> bytes:
    subprocess.run([OBJCOPY, *options, "-O", kind, source, target], check=True)
    return target.read_bytes()


def test_hex_and_binary_are_what_objcopy_makes(elf, tmp_path):
    segments = load_segments(elf.read_bytes(), "a.elf")
    assert to_binary(segments, "a.elf") == objcopy(elf, "binary", tmp_path / "a.bin")
    ours = tmp_path / "ours.hex"
    ours.write_bytes(to_hex(segments))
    assert objcopy(ours, "binary", tmp_path / "b.bin", "-I", "ihex") == to_binary(segments, "")


def test_hex_crosses_borders_of_64_kib(tmp_path):
    if shutil.which(OBJCOPY) is None:
        pytest.skip("needs binutils for ARM")
    ours = tmp_path / "ours.hex"
    ours.write_bytes(to_hex(PARTS))
    got = objcopy(ours, "binary", tmp_path / "b.bin", "-I", "ihex", "--gap-fill", "0xff")
    assert got == to_binary(PARTS, "")


def test_uf2_has_every_byte_in_numbered_blocks_of_its_family():
    made = to_uf2(PARTS, 0xE48BFF56)
    memory: dict[int, int] = {}
    blocks = [made[i : i + 512] for i in range(0, len(made), 512)]
    for number, block in enumerate(blocks):
        first, second, flags, address, size, index, count, family = struct.unpack_from("<8I", block)
        assert (first, second, flags, family) == (0x0A324655, 0x9E5D5157, 0x2000, 0xE48BFF56)
        assert (index, count, size, address % 256) == (number, len(blocks), 256, 0)
        assert block[508:] == bytes.fromhex("306fb10a")
        memory |= {address + i: byte for i, byte in enumerate(block[32:288])}
    for part in PARTS:
        assert bytes(memory[part.address + i] for i in range(len(part.data))) == part.data


def test_parts_too_far_apart_are_no_binary():
    with pytest.raises(FlashError, match="too far for a raw image"):
        to_binary([Segment(0, b"a"), Segment(0x20000000, b"b")], "fw.elf")


@pytest.mark.parametrize("size", [0, 3, 20, 52, 60, 84, 90])
def test_a_damaged_elf_file_is_one_error(elf, size):
    with pytest.raises(FlashError, match=r"a\.elf: "):
        load_segments(elf.read_bytes()[:size], "a.elf")


def test_bytes_flipped_in_an_elf_file_never_end_in_a_traceback(elf):
    whole = elf.read_bytes()
    for place in range(84 + 64):
        for value in (0, 0x7F, 0xFF):
            damaged = bytearray(whole)
            damaged[place] = value
            try:
                load_segments(bytes(damaged), "a.elf")
            except FlashError:
                pass
