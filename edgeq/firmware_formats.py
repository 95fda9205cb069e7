"""Firmware images in the formats that flashers take: an ELF file as Intel HEX, raw bytes or UF2.

Each holds what the ELF file loads, at the addresses where it lies in the chip before it runs
(p_paddr): initial values of variables in flash, not in RAM.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgeq.errors import FlashError

MAX_BINARY = 64 << 20
"""Bytes of a raw image; more means that its parts lie far apart, as flash and RAM do."""

_HEX_ROW = 16
_UF2_PAYLOAD = 256
_REBUILD = "build the firmware again"


@dataclass(frozen=True)
class Segment:
    """Bytes that belong at `address`."""

    address: int
    data: bytes


def load_segments(elf: bytes, where: str) -> list[Segment]:
    """What the ELF file `elf` puts into the chip, by address. Raises FlashError."""
    from elftools.common.exceptions import ELFError
    from elftools.construct.core import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        found = [
            (int(s["p_paddr"]), s.data(), int(s["p_filesz"]))
            for s in ELFFile(io.BytesIO(elf)).iter_segments("PT_LOAD")
            if s["p_filesz"]
        ]
    except (ELFError, ConstructError, OverflowError, ValueError) as e:
        raise FlashError(f"{where}: not an ELF image, or damaged: {e}", _REBUILD) from e
    if not found or any(len(data) != size for _, data, size in found):
        raise FlashError(f"{where}: an ELF file with nothing to load, or cut short", _REBUILD)
    found.sort(key=lambda part: part[0])
    for (address, data, _), (after, _, _) in zip(found, found[1:], strict=False):
        if address + len(data) > after:
            raise FlashError(f"{where}: two parts overlap at {after:#x}", _REBUILD)
    if found[-1][0] + len(found[-1][1]) > 1 << 32:
        raise FlashError(f"{where}: goes beyond 32-bit addresses", _REBUILD)
    return [Segment(address, data) for address, data, _ in found]


def to_hex(segments: list[Segment]) -> bytes:
    """Intel HEX (Intel's specification of 1988): records of 16 bytes, 32-bit addresses."""
    lines = []
    upper = 0
    for address, data in _rows(segments, _HEX_ROW):
        if address >> 16 != upper:
            upper = address >> 16
            lines.append(_record(0, 4, upper.to_bytes(2, "big")))
        lines.append(_record(address & 0xFFFF, 0, data))
    lines.append(_record(0, 1, b""))
    return "".join(f"{line}\n" for line in lines).encode()


def to_binary(segments: list[Segment], where: str) -> bytes:
    """Raw bytes from the first address on, gaps as 0xFF, which is what erased flash holds."""
    start = segments[0].address
    size = segments[-1].address + len(segments[-1].data) - start
    if size > MAX_BINARY:
        raise FlashError(
            f"{where}: its parts lie {size:,} bytes apart, too far for a raw image",
            hint="use a flasher that takes .elf or .hex",
        )
    made = bytearray(b"\xff" * size)
    for segment in segments:
        offset = segment.address - start
        made[offset : offset + len(segment.data)] = segment.data
    return bytes(made)


def to_uf2(segments: list[Segment], family: int) -> bytes:
    """UF2 (github.com/microsoft/uf2): blocks of 512 bytes that carry 256, on 256-byte borders.

    `family` is the chip's family ID in Microsoft's list; boot loaders refuse other chips' files.
    """
    pages: dict[int, bytearray] = {}
    for address, data in _rows(segments, _UF2_PAYLOAD):
        start = address & -_UF2_PAYLOAD
        page = pages.setdefault(start, bytearray(_UF2_PAYLOAD))
        page[address - start : address - start + len(data)] = data
    blocks = []
    for number, (address, page) in enumerate(sorted(pages.items())):
        head = (0x0A324655, 0x9E5D5157, 0x2000, address, _UF2_PAYLOAD, number, len(pages), family)
        blocks.append(struct.pack("<8I476sI", *head, bytes(page), 0x0AB16F30))
    return b"".join(blocks)


def _rows(segments: list[Segment], size: int) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of pieces that do not cross multiples of `size`."""
    for segment in segments:
        done = 0
        while done < len(segment.data):
            address = segment.address + done
            count = size - address % size
            yield address, segment.data[done : done + count]
            done += count


def _record(address: int, kind: int, data: bytes) -> str:
    body = struct.pack(">BHB", len(data), address, kind) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}"
