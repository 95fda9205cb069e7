"""The --result_json of ai_edge_litert/tools/benchmark_litert_model.py, LiteRT's tool in Python."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from edgeq.errors import MeasurementError

MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class ToolLatency:
    """Milliseconds, rounded to 0.01 by the tool: a network of 35 µs shows 0.04 here."""

    avg_ms: float
    num_runs: int
    init_ms: float | None = None
    warmup_first_ms: float | None = None
    warmup_avg_ms: float | None = None
    num_warmup_runs: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class ToolResult:
    """One run of the tool, under its own keys."""

    model: str
    latency: ToolLatency
    model_size_mb: float | None = None
    accelerators: tuple[str, ...] = ()
    signature: str | int | None = None
    fully_accelerated: bool | None = None
    num_threads: int | None = None
    throughput_mb_s: float | None = None


def parse_tool_json(text: bytes) -> ToolResult:
    """Keys that are not known are skipped. Raises MeasurementError."""
    try:
        if len(text) > MOST_BYTES:
            raise ValueError(f"{len(text)} bytes")
        data = json.loads(text, parse_float=_finite, parse_constant=_finite, parse_int=_integer)
        return msgspec.convert(data, ToolResult)
    except (ValueError, RecursionError, msgspec.ValidationError) as e:
        raise MeasurementError(
            f"not a result of benchmark_litert_model.py: {str(e)[:200]}",
            hint="its --result_json writes one",
        ) from e


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that is not finite")
    return value


def _integer(text: str) -> Any:
    if len(text) > 18:
        raise ValueError("an integer beyond 64 bits")
    return int(text)
