"""Result files: --result_file_path of both programs, and --result_json of LiteRT's Python tool."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgeq.errors import Garbage

MAX_FILE = 1 << 20
_AGAIN = "was the file damaged on its way? run benchmark_model again"


@dataclass(frozen=True)
class ResultFile:
    """tflite.tools.benchmark.BenchmarkResult, None for what a build does not write. Its floats
    have seven digits. Footprints are in KiB, and the peak in MiB."""

    name: str | None = None
    mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_inference_ms: float | None = None
    warmup_mean_ms: float | None = None
    init_footprint_kib: int | None = None
    overall_footprint_kib: int | None = None
    peak_mib: float | None = None
    model_size_mb: float | None = None
    runs: int | None = None
    warmup_runs: int | None = None
    throughput_mb_s: float | None = None


_LATENCY = (
    "mean_ms min_ms max_ms std_ms median_ms p5_ms p95_ms init_ms first_inference_ms warmup_mean_ms"
).split()
_MEMORY = ("init_footprint_kib", "overall_footprint_kib", "peak_mib")
_MISC = ("model_size_mb", "runs", "warmup_runs", "throughput_mb_s")
_MESSAGES = {2: _LATENCY, 3: _MEMORY, 4: _MISC}
"""Field number of the message: the names of its fields 1, 2, …"""

_INTEGERS = {"init_footprint_kib", "overall_footprint_kib", "runs", "warmup_runs"}


def parse_result_file(data: bytes) -> ResultFile:
    """A BenchmarkResult in protobuf's wire format. Raises Garbage; unknown fields are skipped."""
    if len(data) > MAX_FILE:
        raise Garbage(f"a result file of {len(data)} bytes", hint=_AGAIN)
    values: dict[str, Any] = {}
    for number, value in _wire(data):
        if number == 1 and isinstance(value, bytes):
            values["name"] = value.decode("utf-8", "replace")
        elif number in _MESSAGES and isinstance(value, bytes):
            for inner, content in _wire(value):
                if 1 <= inner <= len(_MESSAGES[number]):
                    name = _MESSAGES[number][inner - 1]
                    values[name] = _typed(name, content)
    return ResultFile(**values)


def _typed(name: str, value: int | float | bytes) -> int | float | None:
    if isinstance(value, bytes) or isinstance(value, float) == (name in _INTEGERS):
        raise Garbage(f"a result file whose {name} is of another type", hint=_AGAIN)
    if isinstance(value, int):
        return value - (1 << 64) if value >> 63 else value  # int32 and int64, two's complement.
    return value if math.isfinite(value) else None


def _wire(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field number and value: int of a varint, float of 32 bits, bytes of the rest."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise Garbage(f"a result file with wire type {kind} at byte {at}", hint=_AGAIN)
        if size > len(data) - at:
            raise Garbage(f"a result file that is cut short at byte {at}", hint=_AGAIN)
        content = data[at : at + size]
        at += size
        yield number, struct.unpack("<f", content)[0] if kind == 5 else content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & (1 << 64) - 1, at + i + 1
    raise Garbage(f"a result file with a broken number at byte {at}", hint=_AGAIN)


@dataclass(frozen=True)
class ResultJson:
    """What the Python tool writes; all times are rounded to 0.01 ms."""

    model: str | None = None
    model_size_mb: float | None = None
    accelerators: tuple[str, ...] = ()
    signature: str | None = None
    fully_accelerated: bool | None = None
    threads: int | None = None
    init_ms: float | None = None
    warmup_first_ms: float | None = None
    warmup_mean_ms: float | None = None
    warmup_runs: int | None = None
    mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    runs: int | None = None
    throughput_mb_s: float | None = None


_RENAMED = {
    "num_threads": "threads",
    "warmup_avg_ms": "warmup_mean_ms",
    "num_warmup_runs": "warmup_runs",
    "avg_ms": "mean_ms",
    "num_runs": "runs",
}
_WHOLE = {"threads", "warmup_runs", "runs"}
_TEXT = {"model", "signature"}


def parse_result_json(text: str) -> ResultJson:
    """The JSON of ai_edge_litert/tools/benchmark_litert_model.py. Raises Garbage."""
    if len(text) > MAX_FILE:
        raise Garbage(f"a result file of {len(text)} characters", hint=_AGAIN)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise Garbage("a result file that is not JSON", hint=_AGAIN) from e
    if not isinstance(data, dict) or not isinstance(data.get("latency"), dict):
        raise Garbage("a result file without latency", hint=_AGAIN)
    values: dict[str, Any] = {}
    for key, value in {**data, **data["latency"]}.items():
        name = _RENAMED.get(key, key)
        if name in _NAMES:
            values[name] = _checked(name, value)
    return ResultJson(**values)


_NAMES = {field.name for field in fields(ResultJson)}


def _checked(name: str, value: Any) -> Any:
    if name == "accelerators":
        right = isinstance(value, list) and all(isinstance(v, str) for v in value)
        value = tuple(value) if right else value
    elif name in _TEXT:
        right = isinstance(value, str)
    elif name == "fully_accelerated":
        right = isinstance(value, bool)
    elif name in _WHOLE:
        right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    else:
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        right = right and (isinstance(value, int) or math.isfinite(value)) and abs(value) < 1e15
        value = float(value) if right else value
    if not right:
        raise Garbage(f"a result file whose {name} is {str(value)[:40]!r}", hint=_AGAIN)
    return value


def agrees(found: Mapping[str, float | None], wanted: Mapping[str, float | None]) -> str | None:
    """The first key that both have with values more than 1e-4 apart; None when they agree."""
    for key, value in found.items():
        other = wanted.get(key)
        if value is None or other is None:
            continue
        if not math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-6):
            return key
    return None
