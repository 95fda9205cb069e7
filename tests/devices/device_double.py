"""A device that speaks runtime/PROTOCOL.md, in Python: a test double for FAULTS only.

It proves nothing about the harness in C (test_firmware.py drives that one). It is here because
it restarts, hangs, lies and stays silent at a word, which firmware should not.
"""

from __future__ import annotations

import hashlib
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

BOOT = [b"m-timestamp-mode-performance", b"m-lap-us-0", b"m-init-done", b"m-ready"]

TICK_STEP, TICK_REST = 997, 17
"""Every count of ticks is one of these: a changed digit gives a number that no test accepts."""


def is_tick(value: int) -> bool:
    return value % TICK_STEP == TICK_REST


def text(value: str) -> str:
    """TEXT of the protocol."""
    safe = (chr(b) if 0x20 < b < 0x7F and b not in b"%,[]" else f"%{b:02x}" for b in value.encode())
    return "".join(safe)


def answer(number: str, lines: list[str]) -> list[bytes]:
    """`lines`, each the part behind m-eq-, as the device sends them."""
    raw = [f"m-eq-{line}".encode() for line in lines]
    crc = zlib.crc32(b"".join(line + b"\r\n" for line in raw))
    return [*raw, f"m-eq-done-[{number},{len(raw)},{crc:08x}]".encode(), b"m-ready"]


@dataclass
class Network:
    """A network that hashes: any wrong byte of input gives other outputs. `state` is its past."""

    name: str = "tiny"
    sha256: str = hashlib.sha256(b"tiny").hexdigest()
    inputs: tuple[int, ...] = (300, 40)
    outputs: tuple[int, ...] = (12, 1500)
    layers: int = 20
    keeps_state: bool = False

    def run(self, inputs: list[bytes], state: int) -> list[bytes]:
        seed = b"".join(inputs) + bytes([state if self.keeps_state else 0])
        return [hashlib.shake_128(seed + bytes([i])).digest(n) for i, n in enumerate(self.outputs)]

    def layer_crcs(self, inputs: list[bytes]) -> list[int]:
        seed = b"".join(inputs)
        return [zlib.crc32(seed + bytes([i])) for i in range(self.layers)]


@dataclass
class Behaviour:
    """What is wrong with it. Commands are counted from the first `eq model` on, which is number 1:
    how many it takes to get into step depends on how fast the machine is."""

    restart_at: set[int] = field(default_factory=set)
    restart_without_banner: bool = False
    fault: str | None = None
    silent: bool = False
    hang_at: int = 0
    noise: bytes = b""
    wrong_layer: int | None = None
    wrong_output_at: int = 0
    boot_seconds: float = 0.0
    seconds_an_inference: float = 0.0
    clock_stands: bool = False
    version: int = 1
    status: int = 0
    other: dict[str, str] = field(default_factory=dict)
    only_mlperf: bool = False
    talk: bytes = b""
    lies: dict[str, Callable[[list[str]], list[str]]] = field(default_factory=dict)
    """Verb -> what it answers instead of its lines."""


class DeviceDouble:
    """`fd` is the host's end of the line."""

    def __init__(self, network: Network | None = None, behaviour: Behaviour | None = None) -> None:
        self.network = network or Network()
        self.behaviour = behaviour or Behaviour()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.commands = 0
        self.inferences = 0
        self.restarts = 0
        self.restart_now = False
        self._stop = threading.Event()
        self._forget()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def fd(self) -> int:
        return self._theirs.fileno()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._ours.close()
        self._theirs.close()

    def _forget(self) -> None:
        self._line = bytearray()
        self._inputs = [bytearray(n) for n in self.network.inputs]
        self._last: list[bytes] | None = None
        self._state = 0

    def _run(self) -> None:
        if self.behaviour.boot_seconds:
            self._boot()
        while not self._stop.is_set():
            if self.restart_now:
                self.restart_now = False
                self._boot()
            if self.behaviour.noise:
                self._send(self.behaviour.noise)
            ready, _, _ = select.select([self._ours], [], [], 0.02)
            data = self._ours.recv(4096) if ready else b""
            if ready and not data:
                return
            for byte in data:
                if self.behaviour.talk and not self.behaviour.silent:
                    self._send(self.behaviour.talk)
                elif byte == 0x25:
                    line, self._line = bytes(self._line), bytearray()
                    self._command(line)
                elif byte not in b"\r\n":
                    self._line.append(byte)

    def _send(self, data: bytes) -> None:
        while data and not self._stop.is_set():
            _, ready, _ = select.select([], [self._ours], [], 0.02)
            if ready:
                data = data[self._ours.send(data) :]

    def _answer(self, lines: list[bytes]) -> None:
        self._send(b"".join(line + b"\r\n" for line in lines))

    def _boot(self) -> None:
        self.restarts += 1
        self._forget()
        if self.behaviour.fault:
            self._answer([b"", f"e-[Fault: {self.behaviour.fault}]".encode()])
        time.sleep(self.behaviour.boot_seconds)
        if not self.behaviour.restart_without_banner:
            self._answer(BOOT)

    def _command(self, line: bytes) -> None:
        self.commands += self.commands > 0 or line.startswith(b"eq model ")
        b = self.behaviour
        if b.silent or (b.hang_at and self.commands >= b.hang_at):
            return
        if self.commands in b.restart_at:
            self._send(b"m-eq-ticks-[0,12")  # It was in the middle of a line.
            self._boot()
            return
        words = line.decode("latin-1").split()
        if not words:
            self._answer([b"m-ready"])
        elif words == ["name"]:
            self._answer([b"m-name-dut-[edgeq]", b"m-ready"])
        elif words[0] != "eq" or b.only_mlperf:
            shown = "".join(c if " " <= c <= "~" else "?" for c in words[0])
            self._answer([f"e-[Unknown command: {shown}]".encode(), b"m-ready"])
        else:
            self._extension(line, words)

    def _extension(self, line: bytes, words: list[str]) -> None:
        number = "-"
        if words[-1].startswith("#"):
            head, _, crc = line.rpartition(b"*")
            try:
                good = int(crc, 16) == zlib.crc32(head) and len(crc) == 8
            except ValueError:
                good = False
            if not good:
                self._answer(answer("-", ["error-[-15,CRC]"]))
                return
            number = words.pop()[1:].partition("*")[0]
        verb, *arguments = words[1:] or ["help"]
        made = getattr(self, f"_eq_{verb}", None)
        try:
            lines = made(*arguments) if made else ["error-[-10,no%20such%20command]"]
            lines = self.behaviour.lies.get(verb, list)(lines)
        except (TypeError, ValueError, IndexError):
            lines = ["error-[-13,out%20of%20range]"]
        self._answer(answer(number, lines))

    def _eq_info(self) -> list[str]:
        b = self.behaviour
        facts = {
            "protocol": str(b.version),
            "abi": "1",
            "status": f"{b.status},{text('ok' if b.status == 0 else 'arena too small')}",
            "engine": "aot",
            "target": "nucleo-f446re",
            "board": text("double [of, a] board"),
            "tick-source": "dwt",
            "tick-unit": "cycles",
            "tick-hz": "480000000",
            "tick-bits": "32",
            "tick-overhead": "1",
            "tick-moves": "0" if b.clock_stands else "1",
            "line": "640",
            "chunk": "128",
            "batch": "16",
            "input-kind": "raw",
            "a-line-of-the-future": "1,2,3",
        }
        return [f"{k}-[{v}]" for k, v in {**facts, **b.other}.items()]

    def _eq_model(self) -> list[str]:
        n = self.network
        lines = [f"name-[{text(n.name)}]", f"sha256-[{n.sha256}]", f"layers-[{n.layers}]"]
        lines += ["arena-[1000]", "weights-[2000]"]
        scale = struct.pack(">f", 0.5).hex()
        for kind, sizes in (("input", n.inputs), ("output", n.outputs)):
            for i, size in enumerate(sizes):
                lines.append(f"{kind}-[{i},int8,{size},1x{size},{scale},-3,{kind}%20{i}]")
        return lines

    def _eq_load(self, index: str, offset: str, digits: str, crc: str) -> list[str]:
        data = bytes.fromhex(digits)
        start = int(offset)
        if int(crc, 16) != zlib.crc32(data):
            return ["error-[-15,CRC]"]
        target = self._inputs[int(index)]
        if start + len(data) > len(target):
            return ["error-[-13,out%20of%20range]"]
        target[start : start + len(data)] = data
        return [f"loaded-[{index},{offset},{len(data)}]"]

    def _infer(self) -> list[bytes]:
        time.sleep(self.behaviour.seconds_an_inference)
        self.inferences += 1
        self._last = self.network.run([bytes(i) for i in self._inputs], self._state)
        if self.inferences == self.behaviour.wrong_output_at:
            self._last[0] = bytes(reversed(self._last[0]))
        if self.behaviour.wrong_layer is not None:
            self._last[1] = bytes([self._last[1][0] ^ 1]) + self._last[1][1:]
        self._state = (self._state + 1) % 256
        return self._last

    def _inputs_crc(self) -> str:
        return f"{zlib.crc32(b''.join(self._inputs)):08x}"

    def _eq_run(self, count: str, warmup: str = "0") -> list[str]:
        if self.behaviour.clock_stands:
            return ["error-[-16,the%20clock%20stands]"]
        lines = [f"run-[{count},{warmup},{self._inputs_crc()}]"]
        for _ in range(int(warmup)):
            self._infer()
        crcs, ticks = [], []
        for k in range(int(count)):
            crcs.append(zlib.crc32(b"".join(self._infer())))
            ticks.append(str((100 + k % 3) * TICK_STEP + TICK_REST))
        for k in range(0, len(ticks), 8):
            lines.append(f"ticks-[{k},{','.join(ticks[k : k + 8])}]")
        return [*lines, f"same-[{crcs.count(crcs[0])},{crcs[0]:08x}]"]

    def _eq_prof(self, count: str) -> list[str]:
        n = self.network
        lines = [f"prof-[{count},{n.layers},{self._inputs_crc()}]"]
        lines += [f"layer-[{i},{i * 100},64,CONV_2D,conv%20{i}]" for i in range(n.layers)]
        for k in range(int(count)):
            self._infer()
            for i in range(0, n.layers, 8):
                some = ",".join(str((i + j) * 10) for j in range(min(8, n.layers - i)))
                lines.append(f"layer-ticks-[{k},{i},{some}]")
        assert self._last
        return [*lines, f"same-[{count},{zlib.crc32(b''.join(self._last)):08x}]"]

    def _eq_layers(self) -> list[str]:
        self._infer()
        crcs = self.network.layer_crcs([bytes(i) for i in self._inputs])
        wrong = self.behaviour.wrong_layer
        if wrong is not None:
            crcs[wrong:] = [c ^ 1 for c in crcs[wrong:]]
        lines = [f"layers-[{len(crcs)},{self._inputs_crc()}]"]
        return lines + [f"layer-crc-[{i},64,{crc:08x}]" for i, crc in enumerate(crcs)]

    def _eq_out(self, index: str, offset: str = "0", count: str | None = None) -> list[str]:
        if self._last is None:
            return ["error-[-17,no%20inference]"]
        start = int(offset)
        data = self._last[int(index)][start:]
        data = data if count is None else data[: int(count)]
        lines = [
            f"out-[{index},{start + i},{data[i : i + 64].hex()}]" for i in range(0, len(data), 64)
        ]
        return [*lines, f"out-crc-[{index},{start},{len(data)},{zlib.crc32(data):08x}]"]

    def _eq_mem(self) -> list[str]:
        lines = ["arena-[1000]", "weights-[2000]", "harness-[1500]", "stack-[500,4096]"]
        return [*lines, "flash-[30000,524288]", "ram-[9000,131072]", "data-[0]", "bss-[4000]"]

    def _eq_reset(self) -> list[str]:
        self._state = 0
        return [f"reset-[{int(self.network.keeps_state)}]"]
