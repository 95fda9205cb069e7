"""Running a .tflite on this computer, in a child process, one batch of samples at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from edgeq.errors import MissingProgram
from edgeq.extras import install_line
from edgeq.graph import Graph
from edgeq.isolation import Worker

Arrays = tuple[NDArray[Any], ...]

BATCH = 16
BATCH_LIMIT = 300.0
"""Seconds that one batch may take: reference kernels need half a second per 300 million MACs."""

TFLM_SPARE_BYTES = 4 * 1024 * 1024


def threads() -> int:
    """How many threads heavy work on this computer may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def litert(tflite: bytes, kernels: str = "fast", *, all_tensors: bool = False) -> Worker:
    """LiteRT with `kernels` "fast" (XNNPACK), "builtin" or "reference"."""
    return Worker("edgeq.workers.litert:Network", tflite, kernels, threads(), all_tensors)


def has_tflm() -> bool:
    return find_spec("tflite_micro") is not None


def require_tflm() -> None:
    """Raise MissingProgram when the tflite-micro wheel is not installed."""
    if not has_tflm():
        raise MissingProgram(
            "the tflite-micro package is not installed: TensorFlow Lite Micro cannot be run here",
            hint=install_line("tflm"),
        )


def tflm(tflite: bytes, graph: Graph, *, all_tensors: bool = False) -> Worker:
    """TensorFlow Lite Micro, in a generous arena.

    Raises MissingProgram when the tflite-micro wheel is not installed.
    """
    require_tflm()
    ports = (len(graph.main.inputs), len(graph.main.outputs))
    return Worker("edgeq.workers.tflm:Network", tflite, ample_arena(graph), *ports, all_tensors)


def ample_arena(graph: Graph) -> int:
    """Bytes that are surely enough for TFLM on this computer."""
    return 2 * sum(t.bytes for t in graph.main.tensors if not t.is_constant) + TFLM_SPARE_BYTES


def run(network: Worker, samples: Iterable[Arrays]) -> Iterator[Arrays]:
    """The outputs of each sample, in order, as stored (quantized outputs stay quantized)."""
    for batch in batches(samples):
        yield from network.call("run", batch, time_limit=BATCH_LIMIT)


def batches(samples: Iterable[Arrays]) -> Iterator[Sequence[Arrays]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, BATCH)):
        yield batch
