"""The file of benchmark_model's --result_file_path: one protobuf message, BenchmarkResult.

Decoded here by its wire format (https://protobuf.dev/programming-guides/encoding): four messages
of numbers need no library.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeq.errors import MeasurementError
from edgeq.protocol import printable

MOST_BYTES = 1 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class ResultFile:
    """What the file has, each None where it has not. Times are milliseconds (32-bit floats)."""

    name: str | None = None
    avg_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    warmup_avg_ms: float | None = None
    init_footprint_kb: int | None = None
    overall_footprint_kb: int | None = None
    peak_memory_mb: float | None = None
    model_size_mb: float | None = None
    runs: int | None = None
    warmup_runs: int | None = None
    throughput_mb_per_s: float | None = None


_LATENCY = (
    "avg_ms",
    "min_ms",
    "max_ms",
    "std_ms",
    "median_ms",
    "p5_ms",
    "p95_ms",
    "init_ms",
    "first_ms",
    "warmup_avg_ms",
)
_MESSAGES = {
    2: dict(enumerate(_LATENCY, 1)),
    3: {1: "init_footprint_kb", 2: "overall_footprint_kb", 3: "peak_memory_mb"},
    4: {1: "model_size_mb", 2: "runs", 3: "warmup_runs", 4: "throughput_mb_per_s"},
}
_INTEGERS = {"init_footprint_kb", "overall_footprint_kb", "runs", "warmup_runs"}


def parse_result_file(data: bytes) -> ResultFile:
    """The message in `data`; fields that are not known are skipped. Raises MeasurementError."""
    found: dict[str, Any] = {}
    if len(data) > MOST_BYTES:
        raise _damaged(f"{len(data)} bytes")
    for number, kind, value in _fields(data):
        if number == 1 and kind == _BYTES:
            found["name"] = printable(value[:200])
        elif number in _MESSAGES and kind == _BYTES:
            for part, part_kind, part_value in _fields(value):
                name = _MESSAGES[number].get(part)
                if name:
                    found[name] = _value(name, part_kind, part_value)
    if not found:
        raise _damaged("nothing in it")
    return ResultFile(**found)


def _value(name: str, kind: int, raw: Any) -> float | int:
    if name in _INTEGERS:
        if kind != _VARINT:
            raise _damaged(f"{name} is no integer")
        return int(raw) - (1 << 64) if raw >> 63 else int(raw)
    if kind != _FIXED32:
        raise _damaged(f"{name} is no float")
    value = float(struct.unpack("<f", raw)[0])
    if not math.isfinite(value):
        raise _damaged(f"{name} is {value}")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type, and an int (varint) or bytes, of every field."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _damaged(f"wire type {kind} at byte {at}")
        if size > len(data) - at:
            raise _damaged(f"it ends within field {number}")
        yield number, kind, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _damaged("it ends within a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (2**64 - 1), at
    raise _damaged(f"no number at byte {at}")


def _damaged(why: str) -> MeasurementError:
    return MeasurementError(
        f"benchmark_model's result file is damaged: {why}",
        hint="is it the file of --result_file_path, and was the device's storage full?",
    )
