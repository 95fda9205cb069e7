"""Running a .tflite on this computer, in a child process, one batch of samples at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from edgeq.complexity import total_macs
from edgeq.errors import MissingProgram, WorkerTimeout
from edgeq.extras import install_line
from edgeq.graph import Graph
from edgeq.isolation import Worker
from edgeq.tflite import read_graph

Arrays = tuple[NDArray[Any], ...]

BATCH = 16
BATCH_BYTES = 64 * 1024**2
"""Samples and their outputs cross to the child and back a batch at a time; both ends hold it."""

LEAST_LIMIT = 60.0
"""Seconds that any inferences may take: other programs may have the processor, too."""

SECONDS_PER_MAC = 3e-8
"""Reference kernels compute 300 million MACs in half a second; this is 18 times as long."""

SECONDS_PER_ELEMENT = 3e-7
"""The same for each element of an activation, of what operators without MACs do."""

LATE = (
    "a loop in the model that does not end? edgeq inspect lists its WHILE operators; on a computer "
    "that is busy, try again"
)

TFLM_SPARE_BYTES = 4 * 1024 * 1024


def threads() -> int:
    """How many threads heavy work on this computer may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


class Network(Worker):
    """A worker of `graph` in the engine `title`, held to a time that suits the model's size."""

    def __init__(self, title: str, graph: Graph, spec: str, *arguments: Any) -> None:
        super().__init__(spec, *arguments)
        self._title = title
        self._graph = graph

    @property
    def batch(self) -> int:
        """How many samples to give it at a time."""
        size = sum(port.tensor.bytes for port in self._graph.inputs + self._graph.outputs)
        return max(1, min(BATCH, BATCH_BYTES // max(1, size)))

    def infer(self, method: str, batch: Sequence[Arrays], *arguments: Any) -> Any:
        """What `method` answers for `batch`. Raises WorkerTimeout, and what Worker.call does."""
        limit = inference_limit(self._graph, len(batch))
        try:
            return self.call(method, batch, *arguments, time_limit=limit)
        except WorkerTimeout as e:
            raise late(self._title, len(batch), limit) from e


def inference_limit(graph: Graph, count: int) -> float:
    """Seconds after which `count` inferences of `graph` are given up."""
    elements = sum(t.elements for t in graph.main.tensors if not t.is_constant)
    each = total_macs(graph) * SECONDS_PER_MAC + elements * SECONDS_PER_ELEMENT
    return round(LEAST_LIMIT + count * each, 1)


def late(title: str, count: int, limit: float) -> WorkerTimeout:
    """The error for `count` inferences that took longer than `limit` seconds."""
    what = "an inference" if count == 1 else f"{count} inferences"
    return WorkerTimeout(f"{title}: {what} did not finish within {limit:g} s", hint=LATE)


def litert(tflite: bytes, kernels: str = "fast", *, all_tensors: bool = False) -> Network:
    """LiteRT with `kernels` "fast" (XNNPACK), "builtin" or "reference"."""
    arguments = (tflite, kernels, threads(), all_tensors)
    title = f"LiteRT's {kernels} kernels"
    return Network(title, read_graph(tflite), "edgeq.workers.litert:Network", *arguments)


def has_tflm() -> bool:
    return find_spec("tflite_micro") is not None


def require_tflm() -> None:
    """Raise MissingProgram when the tflite-micro wheel is not installed."""
    if not has_tflm():
        raise MissingProgram(
            "the tflite-micro package is not installed: TensorFlow Lite Micro cannot be run here",
            hint=install_line("tflm"),
        )


def tflm(tflite: bytes, graph: Graph, *, all_tensors: bool = False) -> Network:
    """TensorFlow Lite Micro, in a generous arena.

    Raises MissingProgram when the tflite-micro wheel is not installed.
    """
    require_tflm()
    ports = (len(graph.main.inputs), len(graph.main.outputs))
    arguments = (tflite, ample_arena(graph), *ports, all_tensors)
    return Network("TensorFlow Lite Micro", graph, "edgeq.workers.tflm:Network", *arguments)


def ample_arena(graph: Graph) -> int:
    """Bytes that are surely enough for TFLM on this computer."""
    return 2 * sum(t.bytes for t in graph.main.tensors if not t.is_constant) + TFLM_SPARE_BYTES


def run(network: Network, samples: Iterable[Arrays]) -> Iterator[Arrays]:
    """The outputs of each sample, in order, as stored (quantized outputs stay quantized)."""
    for batch in batches(samples, network.batch):
        yield from network.infer("run", batch)


def batches(samples: Iterable[Arrays], size: int) -> Iterator[Sequence[Arrays]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch
