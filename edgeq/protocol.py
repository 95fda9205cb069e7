"""Lines to and from the harness, as runtime/PROTOCOL.md has them. No I/O here.

    encode(["eq", "run", "50", "1"], 7)     b"eq run 50 1 #7*1f0a…%"
    decode_answer(lines, 7)                 an Answer whose every byte its CRC-32 vouches for

Whatever a device sends, decoding gives a value or raises ProtocolError. A damaged answer is always
that: the CRC covers all of its lines, and the number ties it to its command. What its fields mean
is in edgeq.answers.
"""

from __future__ import annotations

import re
import urllib.parse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.errors import ProtocolError

PROTOCOL_VERSION = 1
"""Of the lines below; `eq info` has the device's."""

MAX_LINE = 255
"""Bytes that a line of the device may have, with its CR LF."""

END = b"%"
"""Ends a command. Alone it is a command too, which does nothing and is answered."""

ABANDON = b" #%"
"""Ends a command that the device may have begun, so that it is refused: as a trailer it is
malformed. Of `eq run 1000000`, left behind by a session before us, END alone would make a run."""

READY = b"m-ready"
"""The last line of every answer."""

CRC_MISMATCH = -15
NO_INFERENCE_YET = -17

_EXTENSION = b"m-eq-"
_BOOT = (b"m-timestamp-mode-", b"m-init-done")
_FAULT = b"e-[Fault: "
_FIELD = re.compile(rb"m-eq-([a-z][a-z0-9-]{0,39}?)-\[([\x20-\x7e]*)\]\r\n")
_UNSIGNED = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNED = re.compile(r"0|-?[1-9][0-9]{0,18}")
_CRC = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Field:
    """One line of an answer: m-eq-NAME-[VALUE,VALUE,…]."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The lines of one answer, and the error that the device reports, as its code and text."""

    fields: tuple[Field, ...]
    error: tuple[int, str] | None = None


class LineReader:
    """Bytes as they come, to lines with their ends. Keeps MAX_LINE bytes at most.

    What is longer than a line may be is no line and is dropped, however long it is; `dropped`
    counts the bytes.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        self._too_long = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        lines = []
        for piece in _pieces(data):
            whole = piece.endswith(b"\n")
            if self._too_long or len(self._begun) + len(piece) > MAX_LINE:
                self.dropped += len(self._begun) + len(piece)
                self._begun.clear()
                self._too_long = not whole
                continue
            self._begun += piece
            if whole:
                lines.append(bytes(self._begun))
                self._begun.clear()
        return lines

    def clear(self) -> None:
        """Forget the line that has begun."""
        self._begun.clear()
        self._too_long = False


def encode(words: Sequence[str], number: int) -> bytes:
    """A command of the extension with its trailer, ready to be sent."""
    assert 0 <= number < 2**32
    head = " ".join([*words, f"#{number}"]).encode("ascii")
    assert END not in head and head.isascii()
    return head + f"*{zlib.crc32(head):08x}".encode() + END


def encode_load(index: int, offset: int, data: bytes) -> list[str]:
    """The words of `eq load`."""
    return ["eq", "load", str(index), str(offset), data.hex(), f"{zlib.crc32(data):08x}"]


def is_ready(line: bytes) -> bool:
    return line.rstrip(b"\r\n") == READY


def is_extension(line: bytes) -> bool:
    """Whether it looks like a line of an answer; decode_answer says whether it is one."""
    return line.startswith(_EXTENSION)


def is_done(line: bytes) -> bool:
    return line.startswith(b"m-eq-done-")


def is_protocol(line: bytes) -> bool:
    """Whether it looks like any line that a device of ours or MLPerf's sends."""
    return line.startswith((b"m-", b"e-["))


def is_boot(line: bytes) -> bool:
    """Whether it is a line of the boot banner, maybe behind the rest of another line."""
    return not _FIELD.fullmatch(line) and any(part in line for part in _BOOT)


def fault_text(line: bytes) -> str | None:
    """What the report of a fault says, maybe behind the rest of another line; None for others."""
    if _FIELD.fullmatch(line):
        return None
    _, found, text = line.partition(_FAULT)
    return printable(text).rstrip("]") if found else None


def error_text(line: bytes) -> str | None:
    """What an error of MLPerf's kind says; None for other lines."""
    text = line.rstrip(b"\r\n")
    if text.startswith(b"e-[") and text.endswith(b"]"):
        return printable(text[3:-1])
    return None


def printable(line: bytes) -> str:
    """A line as a person may see it."""
    return _shown(line.rstrip(b"\r\n").decode("ascii", errors="backslashreplace"))


def done_number(line: bytes) -> int | None:
    """The number of the command that an m-eq-done line ends the answer of; None for "-"."""
    values = _field(line).values
    if len(values) != 3:
        raise ProtocolError(f"malformed line: {printable(line)}")
    return None if values[0] == "-" else parse_number(values[0], 2**32 - 1)


def decode_answer(lines: Sequence[bytes], number: int) -> Answer:
    """The answer to command `number`: its m-eq- lines with their ends, m-eq-done the last.

    Raises ProtocolError when a byte of it is damaged, a line missing or one too many.
    """
    if not lines or not is_done(lines[-1]):
        raise ProtocolError("an answer without its last line")
    *body, last = lines
    if done_number(last) != number:
        raise ProtocolError("an answer to another command")
    _, count, crc = _field(last).values
    if parse_number(count, 2**32 - 1) != len(body):
        raise ProtocolError(f"an answer of {len(body)} lines that had {count}")
    if parse_crc(crc) != zlib.crc32(b"".join(body)):
        raise ProtocolError("an answer whose CRC does not match")
    fields = tuple(_field(line) for line in body)
    errors = [f for f in fields if f.name == "error"]
    if not errors:
        return Answer(fields)
    code, text = values_of(errors[0], 2)
    return Answer(fields, (parse_signed(code), parse_text(text)))


def _pieces(data: bytes) -> list[bytes]:
    """`data` cut behind each LF. (splitlines cuts at a lone CR too.)"""
    pieces = [part + b"\n" for part in data.split(b"\n")]
    pieces[-1] = pieces[-1][:-1]
    return pieces if pieces[-1] else pieces[:-1]


def _field(line: bytes) -> Field:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise ProtocolError(f"malformed line: {printable(line[:MAX_LINE])}")
    return Field(match[1].decode(), tuple(match[2].decode().split(",")))


def values_of(field: Field, count: int) -> tuple[str, ...]:
    if len(field.values) != count:
        raise ProtocolError(f"m-eq-{field.name} with {len(field.values)} values, not {count}")
    return field.values


def parse_number(text: str, most: int = 2**63 - 1) -> int:
    if not _UNSIGNED.fullmatch(text) or int(text) > most:
        raise ProtocolError(f"not a number from 0 to {most}: {text[:40]!r}")
    return int(text)


def parse_signed(text: str) -> int:
    if not _SIGNED.fullmatch(text):
        raise ProtocolError(f"not a number: {text[:40]!r}")
    return int(text)


def parse_crc(text: str) -> int:
    if not _CRC.fullmatch(text):
        raise ProtocolError(f"not a CRC: {text[:40]!r}")
    return int(text, 16)


def parse_text(text: str) -> str:
    """What TEXT says, on one line: control characters are shown as \\x0a is."""
    return _shown(urllib.parse.unquote_to_bytes(text).decode("utf-8", errors="replace"))


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
