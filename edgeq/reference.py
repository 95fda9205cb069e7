"""Golden vectors: inputs, and the exact outputs of the kernels that a device is held to."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from edgeq.complexity import total_macs
from edgeq.errors import EdgeqError, ModelError, WorkerError, WorkerTimeout
from edgeq.extras import install_line
from edgeq.golden import Golden
from edgeq.graph import Graph
from edgeq.integers import find_violations
from edgeq.interpreters import Arrays, Network, has_tflm, litert, run, tflm
from edgeq.operators import find_gaps, load_table
from edgeq.targets import follows_tflm

MOST = 8
FEWEST = 2
_MACS_TO_SPEND = 1_000_000_000
"""Reference kernels compute about 300 million MACs a second, and every device repeats them."""


def golden_count(graph: Graph) -> int:
    """How many golden vectors a model gets: fewer for a large one."""
    return max(FEWEST, min(MOST, _MACS_TO_SPEND // max(1, total_macs(graph))))


def make_golden(
    tflite: bytes,
    graph: Graph,
    engine: str,
    inputs: Sequence[Arrays],
    *,
    interpreter: str | None = None,
) -> Golden:
    """The golden vectors of `inputs` (as stored) for a device that runs `engine`.

    "tflm", and "aot", which computes the same: TensorFlow Lite Micro itself. Else LiteRT's portable
    reference kernels, which compute the same integers on every processor; where they lack an
    operator, or a float one is left, the vectors are not exact. Nor are they for an operator of
    "aot" that TFLM lacks: LiteRT rounds others of the network in another way. The tolerance is how
    far LiteRT's fast kernels are from them on these inputs, at least one step: processors round in
    different ways. The `interpreter` "tflite-runtime" is from before LiteRT rounded once where it
    had rounded twice: for it, how far TensorFlow Lite Micro is, which still does, counts too.
    """
    exact = not find_violations(graph)
    as_tflm = follows_tflm(engine)
    if as_tflm and not find_gaps(graph, load_table("tflm")):
        with tflm(tflite, graph) as network:
            outputs = list(run(network, inputs))
        reference = _tflm_title()
    else:
        kernels, exact = "reference", exact and not as_tflm
        try:
            outputs = _run_litert(tflite, kernels, inputs)
        except WorkerTimeout:
            raise  # Other kernels would not end either.
        except (ModelError, WorkerError):
            kernels, exact = "builtin", False
            outputs = _run_litert(tflite, kernels, inputs)
        reference = f"LiteRT {version('ai-edge-litert')} {kernels} kernels"
    others = [_run_litert(tflite, "fast", inputs)]
    if interpreter == "tflite-runtime" and _has_tflm_for(graph):
        with tflm(tflite, graph) as network:
            others.append(list(run(network, inputs)))
    tolerances = [_tolerance(outputs, other) for other in others]
    tolerance = tuple(max(steps) for steps in zip(*tolerances, strict=True))
    return Golden(tuple(inputs), tuple(outputs), reference, tolerance, exact)


def open_reference(
    tflite: bytes, graph: Graph, engine: str, *, all_tensors: bool = False
) -> tuple[Network, str]:
    """What a device that runs `engine` is held to on this computer, and what to call it.

    For "aot" and "tflm" it is TensorFlow Lite Micro; without the tflite-micro wheel, or for an
    operator that TFLM lacks, LiteRT's reference kernels, which round in other places.
    """
    has_reference = follows_tflm(engine) and has_tflm()
    if has_reference and not find_gaps(graph, load_table("tflm")):
        return tflm(tflite, graph, all_tensors=all_tensors), _tflm_title()
    title = f"LiteRT {version('ai-edge-litert')} reference kernels"
    return litert(tflite, "reference", all_tensors=all_tensors), title


def reference_doubt(engine: str) -> str | None:
    """Why a device that runs `engine` may differ from the reference here and yet be right."""
    if has_tflm() or not follows_tflm(engine):
        return None
    return (
        "the tflite-micro package is not installed: LiteRT's reference kernels, which round in "
        f"other places, stand in for TensorFlow Lite Micro; {install_line('tflm')}"
    )


def layer_crcs(
    tflite: bytes,
    graph: Graph,
    engine: str,
    sample: Arrays,
    outputs: Arrays,
    kept: Mapping[int, NDArray[np.bool_]] | None = None,
) -> list[int | None] | None:
    """CRC-32 of each operator's first output, as stored, for one `sample`, in their order.

    `kept` has, by tensor, the channels (along the last axis) that the device computes, where these
    are not all. None for an output that is a constant. None altogether when the reference here
    does not give the `outputs`, bit for bit: then its layers prove nothing about the device's.
    """
    tensors = graph.main.tensors
    indexes = [op.outputs[0] for op in graph.main.ops]
    wanted = [i for i in indexes if not tensors[i].is_constant and tensors[i].bytes > 0]
    ends = [port.tensor.index for port in graph.outputs]
    try:
        network, _ = open_reference(tflite, graph, engine, all_tensors=True)
        with network:
            (values,) = network.infer("tensors", [sample], [*wanted, *ends])
    except EdgeqError:  # It is asked when something is wrong already, and must not hide that.
        return None
    if [v.tobytes() for v in values[len(wanted) :]] != [v.tobytes() for v in outputs]:
        return None
    found = dict(zip(wanted, values, strict=False))
    found |= {i: found[i][..., mask] for i, mask in (kept or {}).items() if i in found}
    crcs = {i: zlib.crc32(np.ascontiguousarray(v).tobytes()) for i, v in found.items()}
    return [crcs.get(i) for i in indexes]


def _has_tflm_for(graph: Graph) -> bool:
    return has_tflm() and not find_gaps(graph, load_table("tflm"))


def _tflm_title() -> str:
    return f"TensorFlow Lite Micro (tflite-micro {version('tflite-micro')})"


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
