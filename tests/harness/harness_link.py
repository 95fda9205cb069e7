"""A harness at the other end of two descriptors, asked line by line."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

BANNER = [b"m-timestamp-mode-performance", b"m-lap-us-", b"m-init-done"]


class Reply(NamedTuple):
    """The m-eq- lines of an answer as (name, text between the brackets), and its number."""

    fields: list[tuple[str, str]]
    number: str

    def one(self, name: str) -> str:
        (text,) = self.all(name)
        return text

    def all(self, name: str) -> list[str]:
        return [text for n, text in self.fields if n == name]

    @property
    def error(self) -> int | None:
        errors = self.all("error")
        return int(errors[0].split(",")[0]) if errors else None


class Link:
    def __init__(self, receive: int, send: int) -> None:
        self._receive, self._send = receive, send
        self._buffer = b""

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._send, data[:65536]) :]

    def read(self, time_limit: float = 10.0, end: bytes = b"m-ready\r\n") -> bytes:
        """All bytes up to a line `end`; fails when it does not come."""
        deadline = time.monotonic() + time_limit
        while not (found := re.search(rb"^" + end, self._buffer, re.MULTILINE)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._receive], [], [], left)[0]:
                raise AssertionError(f"no {end!r} in {self._buffer[-2000:]!r}")
            data = os.read(self._receive, 65536)
            assert data, f"the link was closed after {self._buffer[-2000:]!r}"
            self._buffer += data
        answer, self._buffer = self._buffer[: found.end()], self._buffer[found.end() :]
        return answer

    def command(self, text: str | bytes, time_limit: float = 10.0) -> list[bytes]:
        """The lines that answer `text`, without the last, m-ready."""
        self.send((text.encode() if isinstance(text, str) else text) + b"%")
        return self.lines(time_limit)

    def lines(self, time_limit: float = 10.0) -> list[bytes]:
        answer = self.read(time_limit)
        assert answer.endswith(b"m-ready\r\n")
        return [line.removesuffix(b"\r") for line in answer.split(b"\n")[:-2]]

    def eq(self, text: str, time_limit: float = 10.0) -> Reply:
        return reply(self.command(f"eq {text}", time_limit))

    def load(self, data: bytes, index: int = 0, offset: int = 0) -> Reply:
        return self.eq(f"load {index} {offset} {data.hex()} {zlib.crc32(data):08x}")

    def out(self, index: int = 0) -> bytes:
        answer = self.eq(f"out {index}")
        data = b"".join(bytes.fromhex(t.split(",")[2]) for t in answer.all("out"))
        assert answer.one("out-crc") == f"{index},0,{len(data)},{zlib.crc32(data):08x}"
        return data


def reply(lines: list[bytes]) -> Reply:
    """Checks form, count and CRC of an answer to an eq command."""
    *body, last = lines
    for line in lines:
        assert len(line) + 2 <= 255 and line.isascii() and line.decode().isprintable(), line
        assert line.startswith(b"m-eq-") and line.endswith(b"]"), line
    assert last.startswith(b"m-eq-done-[")
    number, count, crc = last[11:-1].decode().split(",")
    assert int(count) == len(body)
    assert int(crc, 16) == zlib.crc32(b"".join(line + b"\r\n" for line in body))
    assert crc == crc.lower() and len(crc) == 8
    fields = []
    for line in body:
        name, _, text = line.decode()[5:-1].partition("-[")
        fields.append((name, text))
    return Reply(fields, number)


@contextmanager
def process(argv: list[str]) -> Iterator[Link]:
    """A program whose standard input and output are the link. It must end well when that ends."""
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin and running.stdout and running.stderr
        try:
            yield Link(running.stdout.fileno(), running.stdin.fileno())
        except BaseException:
            running.kill()
            print(running.stderr.read().decode(errors="replace"))
            raise
        running.stdin.close()
        complaints = running.stderr.read().decode(errors="replace")
        assert running.wait(10) == 0 and complaints == "", complaints


@contextmanager
def emulator(machine: str, image: Path) -> Iterator[Link]:
    """QEMU's `machine` running `image`; the link is its first serial port."""
    ours, theirs = socket.socketpair()
    argv = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none"]
    argv += ["-icount", "shift=0", "-kernel", str(image)]
    argv += ["-chardev", f"socket,id=s0,fd={theirs.fileno()}", "-serial", "chardev:s0"]
    with ours, subprocess.Popen(argv, pass_fds=[theirs.fileno()]) as running:
        theirs.close()
        try:
            yield Link(ours.fileno(), ours.fileno())
        finally:
            running.kill()


def compile_host(output: Path, sources: list[Path], *flags: str) -> Path:
    """By the machine's own compiler, with both sanitizers."""
    argv = ["gcc", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    argv += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    argv += [*map(str, sources), "-o", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.fail(done.stderr)
    return output
