"""The tensor arena that TensorFlow Lite Micro needs, found by running it and not by its report.

What TFLM reports can be too small to run (MLPerf Tiny's ad01 reports 3,984 bytes and needs 4,640),
so the size is bisected over AllocateTensors() and Invoke() on this computer.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import ConversionError, WorkerCrash
from edgeq.graph import Graph, Op, Subgraph
from edgeq.interpreters import Arrays, ample_arena, require_tflm
from edgeq.isolation import Worker
from edgeq.targets import Core

ALIGNMENT = 16
PROBE_LIMIT = 300.0

_MVE_DEPTHWISE_CHANNELS = 124
"""CH_IN_BLOCK_MVE of CMSIS-NN's Include/arm_nnsupportfunctions.h."""


@dataclass(frozen=True)
class Arena:
    """`size` is for kTensorArenaSize: what ran on this computer, plus CMSIS-NN's scratch.

    `measured` is what the reference kernels needed here, with 64-bit pointers, which is more
    than they need on a 32-bit core; `scratch` is the most that CMSIS-NN may add on that core.
    """

    size: int
    measured: int
    scratch: int

    def lines(self) -> tuple[str, ...]:
        """How the size was found, for the generated header and the README."""
        return (
            f"{self.measured} bytes: the smallest arena in which TensorFlow Lite Micro's reference",
            "kernels allocated and ran on the build computer. Its pointers are 64 bits wide, so a",
            "32-bit core needs less.",
            f"{self.scratch} bytes: the most that CMSIS-NN's kernels add on this core.",
        )


def find_arena(tflite: bytes, graph: Graph, core: Core, sample: Arrays) -> Arena:
    """The arena for `graph` on `core`; `sample` holds inputs as stored, to invoke it with.

    Raises MissingProgram without the tflite-micro wheel, ConversionError when TFLM cannot run
    the model at all.
    """
    require_tflm()
    with Worker("edgeq.workers.tflm:ArenaProbe", tflite, sample) as probe:
        ample = _aligned(ample_arena(graph))
        if not _works(probe, "invokes", ample):
            raise ConversionError(
                "TensorFlow Lite Micro refuses this model on the build computer",
                hint="edgeq inspect --target cortex-m4 shows which operator it lacks",
            )
        measured = _smallest(probe, "allocates", ALIGNMENT, ample)
        if not _works(probe, "invokes", measured):
            measured = _smallest(probe, "invokes", measured, ample)
    scratch = _aligned(cmsis_nn_scratch(graph, core))
    return Arena(measured + scratch, measured, scratch)


def cmsis_nn_scratch(graph: Graph, core: Core) -> int:
    """The most bytes that CMSIS-NN's int8 kernels take beside what the reference kernels do.

    Scratch buffers live only while their operator runs, so the largest counts once; MVE's fully
    connected kernels keep sums of their weights for good, so these add up. The formulas are those
    of arm_*_get_buffer_size*() in CMSIS-NN's Source/ (July 2026).
    """
    subgraph = graph.main
    largest = max((_scratch(subgraph, op, core) for op in subgraph.ops), default=0)
    if not core.has("mve"):
        return largest
    sums = [
        _aligned(4 * subgraph.tensors[op.inputs[1]].shape[0])
        for op in subgraph.ops
        if op.name == "FULLY_CONNECTED"
    ]
    return largest + sum(sums)


def _scratch(subgraph: Subgraph, op: Op, core: Core) -> int:
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        return 0
    filters = subgraph.tensors[op.inputs[1]].shape
    if len(filters) != 4:
        return 0
    first, height, width, last = filters
    if op.name == "CONV_2D":
        return _im2col(height * width * last, core)
    if op.name == "DEPTHWISE_CONV_2D":
        channels = _MVE_DEPTHWISE_CHANNELS * 4 if core.has("mve") else 2 * last
        return height * width * channels
    columns = subgraph.tensors[op.inputs[2]].shape[2]
    stride_w, stride_h = int(op.options["stride_w"]), int(op.options["stride_h"])
    reversed_weights = first * height * width * last
    rows = ((columns - 1) * stride_w + max(width, stride_w)) * first * max(height, stride_h) * 4
    return max(rows, reversed_weights + _im2col(height * width * last, core))


def _im2col(columns: int, core: Core) -> int:
    if core.has("mve"):
        return 4 * 16 * ((columns + 15) // 16)
    return 2 * 2 * (4 * ((columns + 3) // 4))


def _smallest(probe: Worker, test: str, low: int, high: int) -> int:
    """The smallest multiple of ALIGNMENT in (low, high] that passes; `high` is known to."""
    below, above = (low - 1) // ALIGNMENT, high // ALIGNMENT
    while above - below > 1:
        middle = (below + above) // 2
        if _works(probe, test, middle * ALIGNMENT):
            above = middle
        else:
            below = middle
    return above * ALIGNMENT


def _works(probe: Worker, test: str, size: int) -> bool:
    try:
        return bool(probe.call(test, size, time_limit=PROBE_LIMIT))
    except WorkerCrash:
        return False  # An arena can be so small that TFLM does not survive the attempt.


def _aligned(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
