"""Golden vectors: inputs, and the exact outputs of the kernels that a device is held to."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from edgeq.complexity import total_macs
from edgeq.errors import ModelError, WorkerError
from edgeq.golden import Golden
from edgeq.graph import Graph
from edgeq.integers import find_violations
from edgeq.interpreters import Arrays, litert, run, tflm

MOST = 8
FEWEST = 2
_MACS_TO_SPEND = 1_000_000_000
"""Reference kernels compute about 300 million MACs a second, and every device repeats them."""


def golden_count(graph: Graph) -> int:
    """How many golden vectors a model gets: fewer for a large one."""
    return max(FEWEST, min(MOST, _MACS_TO_SPEND // max(1, total_macs(graph))))


def make_golden(tflite: bytes, graph: Graph, engine: str, inputs: Sequence[Arrays]) -> Golden:
    """The golden vectors of `inputs` (as stored) for a device that runs `engine`.

    "tflm", and "aot", which computes the same: TensorFlow Lite Micro itself. Else LiteRT's portable
    reference kernels, which compute the same integers on every processor; where they lack an
    operator, or a float one is left, the vectors are not exact. The tolerance is how far LiteRT's
    fast kernels are from them on these inputs, at least one step: processors round in different
    ways.
    """
    exact = not find_violations(graph)
    if engine in ("aot", "tflm"):
        with tflm(tflite, graph) as network:
            outputs = list(run(network, inputs))
        reference = f"TensorFlow Lite Micro (tflite-micro {version('tflite-micro')})"
    else:
        kernels = "reference"
        try:
            outputs = _run_litert(tflite, kernels, inputs)
        except (ModelError, WorkerError):
            kernels, exact = "builtin", False
            outputs = _run_litert(tflite, kernels, inputs)
        reference = f"LiteRT {version('ai-edge-litert')} {kernels} kernels"
    fast = _run_litert(tflite, "fast", inputs)
    return Golden(tuple(inputs), tuple(outputs), reference, _tolerance(outputs, fast), exact)


def _run_litert(tflite: bytes, kernels: str, inputs: Sequence[Arrays]) -> list[Arrays]:
    with litert(tflite, kernels) as network:
        return list(run(network, inputs))


def _tolerance(exact: Sequence[Arrays], fast: Sequence[Arrays]) -> tuple[int, ...]:
    worst = [1] * len(exact[0])
    for a, b in zip(exact, fast, strict=True):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            if x.dtype.kind in "iu":
                difference = np.abs(x.astype(np.int64) - y.astype(np.int64))
                worst[i] = max(worst[i], int(difference.max(initial=0)))
    return tuple(worst)
