#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Serve a .tflite on standard input and output: runtime/PROTOCOL.md's lines, engine "litert".

    python serve.py MODEL TARGET [--name NAME] [--threads N] [--kernels xnnpack|builtin]

For a computer that has an interpreter for Python and no library for C. What is timed is one
invoke(), by time.perf_counter_ns; inputs are copied before it, outputs after it. Needs Python 3.9
or later, numpy, and one of ai-edge-litert and tflite-runtime. Ends with 0 when its input ends, with
1 and one line on standard error when something is wrong, with 2 for a wrong command line.

Of MLPerf's commands it has name, timestamp and profile.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import platform
import re
import select
import signal
import stat
import struct
import time
import zlib
from typing import Any, NoReturn

PROTOCOL_VERSION, ABI_VERSION = 1, 1
LINE, BATCH = 4096, 1024
"""Bytes of a command, and inferences between two prints."""
CHUNK = (LINE - (25 + 9 + 21)) // 2
FILE_LIMIT, PORTS_LIMIT, BYTES_LIMIT = 1 << 31, 1000, 1 << 31
THREADS_LIMIT, RUN_LIMIT, PROFILE_LIMIT, TEXT_LIMIT, ECHO_LIMIT = 512, 1_000_000, 10_000, 96, 80

DTYPES = ("int8", "int16", "int32", "int64", "uint8", "bool", "float32")
PACKAGES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)
# Operators that keep something between inferences.
STATEFUL = re.compile(
    r"(UNIDIRECTIONAL_|BIDIRECTIONAL_)?(SEQUENCE_)?(LSTM|RNN)|SVDF|CALL_ONCE|VAR_HANDLE"
)
ERRORS = {
    -10: "no such eq command",
    -11: "wrong number of words",
    -12: "not a number",
    -13: "out of range",
    -14: "bad hex digits",
    -15: "CRC does not match",
    -16: "the tick source stands still",
    -17: "no inference has run yet",
    -19: "interrupted by a byte from the host",
}

# Libraries print what is no answer of ours, and no error either: reasons are in their exceptions.
COMPLAINTS, ANSWERS = 2, 1


def take_streams() -> None:
    global COMPLAINTS, ANSWERS
    COMPLAINTS, ANSWERS = os.dup(2), os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


# How many words may follow each.
COMMANDS = {
    "info": (0, 0), "model": (0, 0), "load": (4, 4), "run": (1, 2), "prof": (1, 1),
    "layers": (0, 0), "out": (1, 3), "mem": (0, 0), "reset": (0, 0), "help": (0, 0),
}  # fmt: skip


class Refused(Exception):
    """The number of an error of the extension."""


def die(text: str, code: int = 1) -> NoReturn:
    """End at once: threads of an interpreter may hang."""
    shown = "".join(c if c.isprintable() else "?" for c in text)[:1000]
    os.write(COMPLAINTS, f"serve.py: {shown}\n".encode(errors="replace"))
    os._exit(code)


# --- The network --------------------------------------------------------------------------------


def find_interpreter() -> tuple[Any, str, str]:
    """The module with Interpreter, its package and that one's version."""
    reasons = []
    for package, module in PACKAGES:
        try:
            found = importlib.import_module(module)
            return found, package, importlib.metadata.version(package)
        except ImportError as e:
            reasons.append(str(e))
    die(f"no interpreter: {'; '.join(reasons)}")


class Port:
    """An input or output as `eq model` describes it."""

    def __init__(self, details: Any) -> None:
        self.index, self.name = int(details["index"]), str(details["name"])
        self.dtype = details["dtype"]
        self.kind = getattr(self.dtype, "__name__", str(self.dtype)).rstrip("_")
        if self.kind not in DTYPES:
            die(f"tensor {self.name} is {self.kind}, which nothing here reads")
        self.shape = tuple(int(n) for n in details["shape"])
        scale, zero_point = details["quantization"]
        self.scale, self.zero_point = float(scale), int(zero_point)
        self.bytes = int(np.dtype(self.dtype).itemsize)
        for dimension in self.shape:
            self.bytes *= dimension
        if not 0 <= self.bytes <= BYTES_LIMIT:
            die(f"tensor {self.name} has a size beyond 2 GiB")

    def facts(self, index: int) -> str:
        shape = "x".join(map(str, self.shape))
        (scale,) = struct.unpack(">I", struct.pack(">f", self.scale))
        numbers = f"{index},{self.kind},{self.bytes},{shape},{scale:08x},{self.zero_point}"
        return f"{numbers},{quoted(self.name)}"


class Network:
    """The model in an interpreter. `data` are its inputs, which stay until others come."""

    def __init__(self, path: str, threads: int, kernels: str) -> None:
        try:
            facts = os.stat(path)
            if not stat.S_ISREG(facts.st_mode) or not 0 < facts.st_size < FILE_LIMIT:
                die(f"{path}: empty, beyond 2 GiB, or no file")
            with open(path, "rb") as file:
                self._model = file.read(facts.st_size)
        except OSError as e:
            die(f"{path}: {e.strerror or e}")
        except MemoryError:
            die(f"{path}: {facts.st_size} bytes are more than there is memory for")
        self.sha256 = hashlib.sha256(self._model).hexdigest()
        self._module, self.package, self.version = find_interpreter()
        self._options: dict[str, Any] = {"num_threads": threads}
        resolver = self._module.OpResolverType
        if kernels == "builtin":
            plain = resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._options["experimental_op_resolver_type"] = plain
        self._path = path
        self._open()
        self.inputs = [Port(d) for d in self._interpreter.get_input_details()]
        self.outputs = [Port(d) for d in self._interpreter.get_output_details()]
        if not self.outputs or len(self.inputs) + len(self.outputs) > PORTS_LIMIT:
            die(f"{path}: {len(self.inputs)} inputs and {len(self.outputs)} outputs")
        self.data = [bytearray(port.bytes) for port in self.inputs]
        self.operators, self.delegated = None, None
        self.keeps_state = True
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # Not public.
            nodes = self._interpreter._get_ops_details()
            self.operators, self.delegated = count_operators(nodes)
            self.keeps_state = any(STATEFUL.fullmatch(str(n["op_name"])) for n in nodes)

    def _open(self) -> None:
        try:
            self._interpreter = self._module.Interpreter(model_content=self._model, **self._options)
            self._interpreter.allocate_tensors()
        except (MemoryError, RuntimeError, TypeError, ValueError) as e:
            die(f"{self._path}: {self.package} {self.version} refuses the model: {e}")
        self._used = False

    def reset(self) -> None:
        """Variables and resources both begin anew with a new interpreter only."""
        if self.keeps_state and self._used:
            self._open()

    def infer(self) -> int:
        """One inference on the inputs, in ns."""
        for place, port in enumerate(self.inputs):
            value = np.frombuffer(self.data[place], port.dtype).reshape(port.shape)
            self._interpreter.set_tensor(port.index, value)
        self._used = True
        invoke, clock = self._interpreter.invoke, time.perf_counter_ns
        try:
            start = clock()
            invoke()
            return clock() - start
        except (RuntimeError, ValueError) as e:
            die(f"an inference failed: {e}")

    def output(self, index: int) -> bytes:
        port = self.outputs[index]
        data: bytes = self._interpreter.get_tensor(port.index).tobytes()
        if len(data) != port.bytes:
            die(f"output {port.name} has {len(data)} bytes, not {port.bytes}")
        return data

    def inputs_crc(self) -> str:
        return crc_of(*self.data)

    def outputs_crc(self) -> str:
        return crc_of(*map(self.output, range(len(self.outputs))))


def count_operators(nodes: Any) -> tuple[int, int]:
    """Operators of the main graph, and those that a delegate took: the way from the outputs of
    its node, which stands beside them in the list, back to its inputs."""
    operators = [n for n in nodes if n["op_name"] != "DELEGATE"]
    makers = {int(tensor): n for n in operators for tensor in n["outputs"]}
    taken = set()
    for delegate in (n for n in nodes if n["op_name"] == "DELEGATE"):
        given = {int(tensor) for tensor in delegate["inputs"]}
        wanted = [int(tensor) for tensor in delegate["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = makers.get(tensor)
            if tensor not in given and maker is not None and maker["index"] not in taken:
                taken.add(maker["index"])
                wanted += [int(i) for i in maker["inputs"]]
    return len(operators), len(taken)


# --- The line -----------------------------------------------------------------------------------


class Line:
    """Bytes from the host and to it. At most one command and one read are kept."""

    def __init__(self) -> None:
        self._received, self._taken = b"", 0
        self._answers = bytearray()

    def write(self, text: str) -> None:
        self._answers += text.encode("ascii")
        if len(self._answers) > 1 << 16:
            self.flush()

    def flush(self) -> None:
        try:
            while self._answers:
                del self._answers[: os.write(ANSWERS, self._answers)]
        except OSError:  # Nobody reads.
            os._exit(1)

    def command(self) -> bytes | None:
        """The next command without its %; None for one that is too long."""
        command, too_long = bytearray(), False
        while True:
            end = self._received.find(b"%", self._taken)
            piece = self._received[self._taken : end if end >= 0 else None]
            kept = piece.translate(None, b"\r\n")
            too_long = too_long or len(command) + len(kept) > LINE
            if not too_long:
                command += kept
            if end >= 0:
                self._taken = end + 1
                return None if too_long else bytes(command)
            self.flush()
            self._receive()

    def is_interrupted(self) -> bool:
        """Whether the host has sent anything but CR and LF."""
        while True:
            self._received = self._received[self._taken :].lstrip(b"\r\n")
            self._taken = 0
            if self._received or not select.select([0], [], [], 0)[0]:
                return bool(self._received)
            self._receive()

    def _receive(self) -> None:
        self._received, self._taken = os.read(0, 1 << 16), 0
        if not self._received:
            self.flush()
            os._exit(0)


def crc_of(*parts: bytes) -> str:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return f"{crc:08x}"


def quoted(text: str) -> str:
    """TEXT of the protocol: percent-encoded, cut at its limit."""
    made = ""
    for byte in text.encode(errors="replace"):
        plain = 0x20 <= byte <= 0x7E and byte not in b"%,[]"
        part = chr(byte) if plain else f"%{byte:02x}"
        if len(made) + len(part) > TEXT_LIMIT:
            break
        made += part
    return made


def number(word: str) -> int:
    if not re.fullmatch("[0-9]+", word) or len(word.lstrip("0")) > 10 or int(word) >= 1 << 32:
        raise Refused(-12)
    return int(word)


# --- The commands -------------------------------------------------------------------------------


class Server:
    def __init__(self, network: Network, arguments: argparse.Namespace) -> None:
        self._network, self._arguments = network, arguments
        self._line = Line()
        self._inferred = False
        self._start = time.perf_counter_ns()
        clock = time.perf_counter_ns
        self._overhead = min(-(clock() - clock()) for _ in range(4))

    def serve(self) -> None:
        self._line.write("m-timestamp-mode-performance\r\n")
        self._timestamp()
        self._line.write("m-init-done\r\nm-ready\r\n")
        while True:
            command = self._line.command()
            if command is None:
                self._line.write("e-[Command too long]\r\n")
            else:
                self._answer(command.decode("latin-1"))
            self._line.write("m-ready\r\n")

    def _answer(self, command: str) -> None:
        first = command.strip(" ").split(" ")[0]
        if first == "eq":
            self._extension(command)
        elif first == "name":
            self._line.write("m-name-dut-[edgeq]\r\n")
        elif first == "timestamp":
            self._timestamp()
        elif first == "profile":
            self._line.write("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[none]\r\n")
        elif first:
            shown = "".join(c if " " < c <= "~" else "?" for c in first[:ECHO_LIMIT])
            self._line.write(f"e-[Unknown command: {shown}]\r\n")

    def _timestamp(self) -> None:
        passed = (time.perf_counter_ns() - self._start) // 1000
        self._line.write(f"m-lap-us-{passed % (1 << 32)}\r\n")

    def _extension(self, command: str) -> None:
        self._crc, self._lines, given = 0, 0, "-"
        try:
            words, given = take_trailer(command)
            verb, *rest = words[1:] or [""]
            if verb not in COMMANDS:
                raise Refused(-10)
            least, most = COMMANDS[verb]
            if not least <= len(rest) <= most:
                raise Refused(-11)
            getattr(self, f"_{verb}")(*rest)
        except Refused as e:
            code = e.args[0]
            self._put("error", f"{code},{ERRORS[code]}")
        self._line.write(f"m-eq-done-[{given},{self._lines},{self._crc:08x}]\r\n")

    def _put(self, name: str, value: object) -> None:
        line = f"m-eq-{name}-[{value}]\r\n"
        self._crc = zlib.crc32(line.encode("ascii"), self._crc)
        self._lines += 1
        self._line.write(line)

    def _info(self) -> None:
        network, arguments = self._network, self._arguments
        facts = [("kernels", arguments.kernels), ("threads", arguments.threads)]
        if network.operators is not None:
            facts += [("operators", network.operators), ("delegated", network.delegated)]
        facts += [("package", network.package), ("version", quoted(network.version))]
        for name, value in [
            ("protocol", PROTOCOL_VERSION), ("abi", ABI_VERSION), ("status", "0,ok"),
            ("engine", "litert"), ("target", quoted(arguments.target)),
            ("board", quoted(f"python {platform.machine()}")),
            ("tick-source", "perf_counter_ns"), ("tick-unit", "ns"), ("tick-hz", 10**9),
            ("tick-bits", 63), ("tick-overhead", self._overhead), ("tick-moves", 1),
            ("line", LINE), ("chunk", CHUNK), ("batch", BATCH), ("input-kind", "raw"),
            *(("fact", f"{name},{value}") for name, value in facts),
        ]:  # fmt: skip
            self._put(name, value)

    def _model(self) -> None:
        network = self._network
        self._put("name", quoted(self._arguments.name))
        self._put("sha256", network.sha256)
        for name, value in (("layers", 1), ("arena", 0), ("weights", 0)):
            self._put(name, value)
        for index, port in enumerate(network.inputs):
            self._put("input", port.facts(index))
        for index, port in enumerate(network.outputs):
            self._put("output", port.facts(index))

    def _load(self, index: str, offset: str, digits: str, crc: str) -> None:
        place, first = number(index), number(offset)
        if not re.fullmatch("[0-9a-fA-F]{8}", crc) or not re.fullmatch("([0-9a-fA-F]{2})+", digits):
            raise Refused(-14)
        data = bytes.fromhex(digits)
        if crc_of(data) != crc.lower():
            raise Refused(-15)
        if place >= len(self._network.data):
            raise Refused(-13)
        whole = self._network.data[place]
        if first + len(data) > len(whole):
            raise Refused(-13)
        whole[first : first + len(data)] = data
        self._put("loaded", f"{place},{first},{len(data)}")

    def _infer(self, is_first: bool) -> int:
        if not is_first and self._line.is_interrupted():
            raise Refused(-19)
        ticks = self._network.infer()
        self._inferred = True
        return ticks

    def _timed(self, is_first: bool) -> int:
        """The same, and whether its outputs are those of the first that was timed."""
        ticks = self._infer(is_first)
        found = self._network.outputs_crc()
        self._outputs = self._outputs or found
        self._same += found == self._outputs
        return ticks

    def _run(self, count: str, before: str = "0") -> None:
        runs, warmup = number(count), number(before)
        if not (1 <= runs <= RUN_LIMIT and warmup <= RUN_LIMIT):
            raise Refused(-13)
        self._put("run", f"{runs},{warmup},{self._network.inputs_crc()}")
        for i in range(warmup):
            self._infer(i == 0)
        self._same, self._outputs = 0, ""
        for first in range(0, runs, BATCH):
            batch = range(first, min(first + BATCH, runs))
            ticks = [self._timed(warmup + i == 0) for i in batch]
            for i in range(0, len(ticks), 8):
                self._put("ticks", ",".join(map(str, [first + i, *ticks[i : i + 8]])))
            if not all(ticks):
                raise Refused(-16)
        self._put("same", f"{self._same},{self._outputs}")

    def _prof(self, count: str) -> None:
        runs = number(count)
        if not 1 <= runs <= PROFILE_LIMIT:
            raise Refused(-13)
        self._put("prof", f"{runs},1,{self._network.inputs_crc()}")
        self._put("layer", f"0,0,{self._network.outputs[0].bytes},NETWORK,the whole network")
        self._same, self._outputs, moved = 0, "", False
        for i in range(runs):
            ticks = self._timed(i == 0)
            moved = moved or ticks > 0
            self._put("layer-ticks", f"{i},0,{ticks}")
        self._put("same", f"{self._same},{self._outputs}")
        if not moved:
            raise Refused(-16)

    def _layers(self) -> None:
        self._put("layers", f"1,{self._network.inputs_crc()}")
        self._infer(True)
        data = self._network.output(0)
        self._put("layer-crc", f"0,{len(data)},{crc_of(data)}")

    def _out(self, index: str, offset: str = "0", count: str | None = None) -> None:
        if not self._inferred:
            raise Refused(-17)
        place, first = number(index), number(offset)
        if place >= len(self._network.outputs):
            raise Refused(-13)
        data = self._network.output(place)
        if first > len(data):
            raise Refused(-13)
        length = len(data) - first if count is None else number(count)
        if first + length > len(data):
            raise Refused(-13)
        data = data[first : first + length]
        for i in range(0, length, 64):
            self._put("out", f"{place},{first + i},{data[i : i + 64].hex()}")
        self._put("out-crc", f"{place},{first},{length},{crc_of(data)}")

    def _mem(self) -> None:
        size = LINE + sum(map(len, self._network.data))
        for name, value in [
            ("arena", 0), ("weights", 0), ("harness", size), ("stack", "0,0"), ("flash", "0,0"),
            ("ram", f"{most_resident()},0"), ("data", 0), ("bss", 0),
        ]:  # fmt: skip
            self._put(name, value)

    def _reset(self) -> None:
        self._network.reset()
        self._put("reset", int(self._network.keeps_state))

    def _help(self) -> None:
        for verb in COMMANDS:
            self._put("help", f"eq {verb}")


def take_trailer(command: str) -> tuple[list[str], str]:
    """The words of a command without its trailer "#NUMBER*CRC", and NUMBER, "-" without one."""
    words = [w for w in command.split(" ") if w]
    if not words[-1].startswith("#"):
        return words, "-"
    match = re.fullmatch(r"#([0-9]+)\*([0-9a-fA-F]{8})", words[-1])
    head = command[: command.rindex("*")] if match else ""
    if match is None or crc_of(head.encode("latin-1")) != match[2].lower():
        raise Refused(-15)
    try:
        return words[:-1], str(number(match[1]))
    except Refused:
        raise Refused(-15) from None


def most_resident() -> int:
    """Bytes of RAM that the process held at most, 0 where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            found = re.search(r"^VmHWM:\s+(\d+) kB", file.read(1 << 16), re.MULTILINE)
            return int(found[1]) * 1024 if found else 0
    return 0


def main() -> None:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("target")
    parser.add_argument("--name", default="model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", choices=["xnnpack", "builtin"], default="xnnpack")
    arguments = parser.parse_args()
    if not 1 <= arguments.threads <= THREADS_LIMIT:
        parser.error(f"--threads {arguments.threads}: from 1 to {THREADS_LIMIT}")
    take_streams()
    Server(Network(arguments.model, arguments.threads, arguments.kernels), arguments).serve()


try:
    import numpy as np
except ImportError as e:
    die(f"no numpy: {e}")

if __name__ == "__main__":
    main()
