"""What the harness answers to each command of the extension, as facts. runtime/PROTOCOL.md has it.

Every decoder gives its facts or raises ProtocolError, whatever the answer holds.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeq.errors import ProtocolError
from edgeq.measurement import MAX_TICK_HZ
from edgeq.protocol import Answer, parse_crc, parse_number, parse_signed, parse_text, values_of

MAX_LAYERS = 65535

MAX_BYTES = 2**40
"""Of any memory: 1 TiB."""

MAX_FACTS = 64

_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8}


@dataclass(frozen=True)
class Info:
    """`eq info`: the harness and the clock that it counts with. Sizes in bytes.

    `line` is the longest command, `chunk` the most bytes of one `eq load`, `batch` how many
    inferences run between two lines. `status` 0 means that the model started. `facts` are what
    the engine says of itself beyond that, the first MAX_FACTS.
    """

    abi: int
    status: int
    status_text: str
    engine: str
    target: str
    board: str
    tick_source: str
    tick_unit: str
    tick_hz: int
    tick_bits: int
    tick_overhead: int
    tick_moves: bool
    line: int
    chunk: int
    batch: int
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorFacts:
    """An input or output of the device's model. `scale` is 0 where there is none."""

    name: str
    dtype: str
    bytes: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class ModelFacts:
    """`eq model`: what the firmware was built from."""

    name: str
    sha256: str
    layers: int
    arena: int
    weights: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


@dataclass(frozen=True)
class Run:
    """`eq run`: ticks of every timed inference. `inputs`, `outputs` are CRC-32 of all bytes.

    `outputs` are those after the first timed inference; `same` of the inferences had just these.
    """

    warmup: int
    inputs: int
    ticks: tuple[int, ...]
    same: int
    outputs: int


@dataclass(frozen=True)
class LayerFacts:
    """A layer of the device's model. `bytes` are of its first output."""

    op: str
    name: str
    macs: int
    bytes: int


@dataclass(frozen=True)
class LayerTicks:
    """`eq prof`: `ticks[k][layer]` of inference k. Their sum is no latency: the clock is read
    between layers."""

    inputs: int
    layers: tuple[LayerFacts, ...]
    ticks: tuple[tuple[int, ...], ...]
    same: int
    outputs: int


@dataclass(frozen=True)
class LayerCrcs:
    """`eq layers`: CRC-32 of each layer's first output, in order."""

    inputs: int
    crcs: tuple[int, ...]


@dataclass(frozen=True)
class DeviceMemory:
    """`eq mem`, in bytes; None for what the port does not know.

    `stack_used` is the most since the start; `flash_used` and `ram_used` are the whole
    firmware's, the harness included.
    """

    arena: int | None
    weights: int | None
    harness: int | None
    stack_used: int | None
    stack_size: int | None
    flash_used: int | None
    flash_size: int | None
    ram_used: int | None
    ram_size: int | None
    data: int | None
    bss: int | None


def decode_version(answer: Answer) -> int:
    """PROTOCOL_VERSION of the device; what else `eq info` says may mean anything in another."""
    return parse_number(_one(answer, "protocol", 1)[0])


def decode_info(answer: Answer) -> Info:
    status, status_text = _one(answer, "status", 2)
    unit = _one(answer, "tick-unit", 1)[0]
    if unit not in ("cycles", "ns"):
        raise ProtocolError(f"unknown tick unit {unit!r}")
    info = Info(
        abi=_only_number(answer, "abi"),
        status=parse_signed(status),
        status_text=parse_text(status_text),
        engine=_only_text(answer, "engine"),
        target=_only_text(answer, "target"),
        board=_only_text(answer, "board"),
        tick_source=_only_text(answer, "tick-source"),
        tick_unit=unit,
        tick_hz=_only_number(answer, "tick-hz"),
        tick_bits=_only_number(answer, "tick-bits"),
        tick_overhead=_only_number(answer, "tick-overhead"),
        tick_moves=_only_number(answer, "tick-moves") != 0,
        line=_only_number(answer, "line"),
        chunk=_only_number(answer, "chunk"),
        batch=_only_number(answer, "batch"),
        facts={parse_text(n): parse_text(t) for n, t in _all(answer, "fact", 2)[:MAX_FACTS]},
    )
    if not 1 <= info.tick_hz <= MAX_TICK_HZ:
        raise ProtocolError(f"{info.tick_hz} ticks a second, which no clock has")
    if not (0 < info.tick_bits <= 64 and info.chunk and info.batch):
        raise ProtocolError("a clock of no bits or more than 64, or a buffer of size 0")
    return info


def decode_model(answer: Answer) -> ModelFacts:
    sha256 = _one(answer, "sha256", 1)[0]
    if not _SHA256.fullmatch(sha256):
        raise ProtocolError("a SHA-256 that is none")
    return ModelFacts(
        name=_only_text(answer, "name"),
        sha256=sha256,
        layers=parse_number(_one(answer, "layers", 1)[0], MAX_LAYERS),
        arena=_only_size(answer, "arena"),
        weights=_only_size(answer, "weights"),
        inputs=_tensors(answer, "input"),
        outputs=_tensors(answer, "output"),
    )


def decode_loaded(answer: Answer) -> tuple[int, int, int]:
    """Input, offset and count of the bytes that `eq load` wrote."""
    index, offset, count = (parse_number(v) for v in _one(answer, "loaded", 3))
    return index, offset, count


def decode_run(answer: Answer) -> Run:
    count, warmup, inputs = _one(answer, "run", 3)
    ticks: list[int] = []
    for values in _all(answer, "ticks"):
        if not 2 <= len(values) <= 9 or parse_number(values[0]) != len(ticks):
            raise ProtocolError("ticks out of order")
        ticks += [parse_number(v) for v in values[1:]]
    if len(ticks) != parse_number(count) or not all(ticks):
        raise ProtocolError(f"{len(ticks)} ticks of {count}, or one that is 0")
    same, outputs = _same(answer, len(ticks))
    return Run(parse_number(warmup), parse_crc(inputs), tuple(ticks), same, outputs)


def decode_profile(answer: Answer) -> LayerTicks:
    runs_text, layers_text, inputs = _one(answer, "prof", 3)
    runs, count = parse_number(runs_text, 10_000), parse_number(layers_text, MAX_LAYERS)
    layers: list[LayerFacts] = []
    for values in _all(answer, "layer", 5):
        if parse_number(values[0]) != len(layers):
            raise ProtocolError("layers out of order")
        layers.append(
            LayerFacts(
                parse_text(values[3]),
                parse_text(values[4]),
                parse_number(values[1]),
                parse_number(values[2]),
            )
        )
    if len(layers) != count:
        raise ProtocolError(f"{len(layers)} layers of {count}")
    found: dict[tuple[int, int], int] = {}
    for values in _all(answer, "layer-ticks"):
        if not 3 <= len(values) <= 10:
            raise ProtocolError("a malformed line of ticks")
        run, first = parse_number(values[0]), parse_number(values[1])
        for layer, ticks in enumerate(values[2:], first):
            if run >= runs or layer >= count or (run, layer) in found:
                raise ProtocolError("ticks of no layer, or twice")
            found[run, layer] = parse_number(ticks)
    if len(found) != runs * count:
        raise ProtocolError(f"{len(found)} ticks of {runs * count}")
    if count and not any(found.values()):
        raise ProtocolError("ticks that are all 0")
    same, outputs = _same(answer, runs, least=min(1, count))
    return LayerTicks(
        inputs=parse_crc(inputs),
        layers=tuple(layers),
        ticks=tuple(tuple(found[k, i] for i in range(count)) for k in range(runs)),
        same=same,
        outputs=outputs,
    )


def decode_layers(answer: Answer) -> LayerCrcs:
    count, inputs = _one(answer, "layers", 2)
    crcs: list[int] = []
    for index, _, crc in _all(answer, "layer-crc", 3):
        if parse_number(index) != len(crcs):
            raise ProtocolError("layers out of order")
        crcs.append(parse_crc(crc))
    if len(crcs) != parse_number(count):
        raise ProtocolError(f"{len(crcs)} layers of {count}")
    return LayerCrcs(parse_crc(inputs), tuple(crcs))


def decode_out(answer: Answer, index: int, offset: int, count: int) -> bytes:
    """The `count` bytes from `offset` on of output `index`."""
    data = bytearray()
    for found, place, digits in _all(answer, "out", 3):
        if parse_number(found) != index or parse_number(place) != offset + len(data):
            raise ProtocolError("bytes out of order")
        data += _hex(digits)
    *where, crc = _one(answer, "out-crc", 4)
    if [parse_number(v) for v in where] != [index, offset, count] or len(data) != count:
        raise ProtocolError(f"{len(data)} bytes of {count}")
    if parse_crc(crc) != zlib.crc32(data):
        raise ProtocolError("the CRC does not match")
    return bytes(data)


def decode_memory(answer: Answer) -> DeviceMemory:
    stack, flash, ram = (_pair(answer, name) for name in ("stack", "flash", "ram"))
    return DeviceMemory(
        arena=_only_size(answer, "arena") or None,
        weights=_only_size(answer, "weights") or None,
        harness=_only_size(answer, "harness") or None,
        stack_used=stack[0],
        stack_size=stack[1],
        flash_used=flash[0],
        flash_size=flash[1],
        ram_used=ram[0],
        ram_size=ram[1],
        data=_only_size(answer, "data") or None,
        bss=_only_size(answer, "bss") or None,
    )


def decode_reset(answer: Answer) -> bool:
    """Whether the network keeps anything between inferences."""
    return _only_number(answer, "reset") != 0


def _all(answer: Answer, name: str, count: int | None = None) -> list[tuple[str, ...]]:
    found = [f for f in answer.fields if f.name == name]
    return [f.values if count is None else values_of(f, count) for f in found]


def _one(answer: Answer, name: str, count: int) -> tuple[str, ...]:
    found = _all(answer, name, count)
    if len(found) != 1:
        raise ProtocolError(f"an answer with {len(found)} lines m-eq-{name}, not one")
    return found[0]


def _only_number(answer: Answer, name: str) -> int:
    return parse_number(_one(answer, name, 1)[0])


def _only_size(answer: Answer, name: str) -> int:
    return parse_number(_one(answer, name, 1)[0], MAX_BYTES)


def _only_text(answer: Answer, name: str) -> str:
    return parse_text(_one(answer, name, 1)[0])


def _pair(answer: Answer, name: str) -> tuple[int | None, int | None]:
    """Bytes used and there; None for what is not known."""
    used, size = (parse_number(v, MAX_BYTES) for v in _one(answer, name, 2))
    if 0 < size < used:
        raise ProtocolError(f"m-eq-{name}: {used} of {size} bytes are used")
    return used or None, size or None


def _same(answer: Answer, runs: int, least: int = 1) -> tuple[int, int]:
    """How many of `runs` inferences had the outputs of the first, and the CRC-32 of those."""
    same, outputs = _one(answer, "same", 2)
    count = parse_number(same)
    if not least <= count <= runs:
        raise ProtocolError(f"m-eq-same: {count} of {runs} inferences are like the first")
    return count, parse_crc(outputs)


def _hex(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise ProtocolError(f"not hex digits: {text[:40]!r}")
    return bytes.fromhex(text)


def _tensors(answer: Answer, name: str) -> tuple[TensorFacts, ...]:
    tensors: list[TensorFacts] = []
    for index, dtype, size, shape, scale, zero_point, title in _all(answer, name, 7):
        if parse_number(index) != len(tensors) or dtype not in _ITEM_BYTES:
            raise ProtocolError(f"{name} {index}, {dtype!r}")
        dimensions = tuple(parse_number(d) for d in shape.split("x")) if shape else ()
        (real,) = struct.unpack(">f", parse_crc(scale).to_bytes(4, "big"))
        if math.prod(dimensions) * _ITEM_BYTES[dtype] != parse_number(size) or not math.isfinite(
            real
        ):
            raise ProtocolError(f"{name} {index}: size or scale")
        facts = TensorFacts(
            parse_text(title), dtype, parse_number(size), dimensions, real, parse_signed(zero_point)
        )
        tensors.append(facts)
    return tuple(tensors)
