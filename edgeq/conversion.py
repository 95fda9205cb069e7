"""A float model and its calibrated ranges to a .tflite in one of five schemes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edgeq.calibration import Calibration
from edgeq.errors import ConversionError, DataError, EdgeqError
from edgeq.graph import Graph
from edgeq.integers import find_violations
from edgeq.isolation import Worker
from edgeq.mending import folded
from edgeq.models import Model, tensorflow_session
from edgeq.repairs import Repair, repairs_named
from edgeq.schemes import INTEGER_SCHEMES, scheme_named
from edgeq.tflite import read_graph
from edgeq.tflite.lstm import cell_states, with_lstm_ranges
from edgeq.tflite.writer import with_ranges

ROUTES = {
    "int8": ("MLIR quantizer", "flatbuffer quantizer"),
    "int16x8": ("flatbuffer quantizer",),
    "dynamic": ("litert-quantizer",),
    "float16": ("litert-quantizer",),
    "float32": (),
}
"""How each scheme is made, in the order tried."""

QUANTIZE_LIMIT = 600.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Conversion:
    """`tflite` in `scheme`, its `graph`, how it was made, and which routes failed before.

    `calibrated` has the fingerprints of the samples that its ranges were learnt from, `int16` the
    names of the float model's tensors that are made in int16x8 while all else is int8.
    """

    tflite: bytes = field(repr=False)
    graph: Graph = field(repr=False)
    scheme: str
    route: str
    failed: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    calibrated: frozenset[bytes] = field(default=frozenset(), repr=False)
    int16: tuple[str, ...] = ()


def convert(
    model: Model,
    calibration: Calibration | None = None,
    scheme: str = "int8",
    *,
    repairs: frozenset[str] | None = None,
    tensorflow: Worker | None = None,
) -> Conversion:
    """`model` in `scheme`. The integer schemes need a `calibration`; there is no random one.

    A model that is quantized already, be it its weights alone, passes unchanged, if it is in that
    scheme; models.widened() makes a float32 model of one with float16 weights. `repairs` are the
    names of those that may be made, None those of repairs_named().
    Raises DataError without calibration, ConversionError when no route works.
    """
    if scheme != model.scheme:
        scheme = scheme_named(scheme)
    if model.is_quantized:
        return _as_it_is(model, scheme)
    if scheme == "float32":
        return Conversion(model.tflite, model.graph, scheme, "nothing to convert")
    tflite, calibrated = model.tflite, frozenset[bytes]()
    if scheme in INTEGER_SCHEMES:
        if calibration is None:
            raise DataError(
                f"{scheme} needs calibration data: without it nobody knows the activations' ranges",
                hint="--calibration-data, or data in [calibration] of edgeq.toml, with 100 to 200 "
                "real samples (.npz, .npy, a folder of images, or file.py); random numbers would "
                "ruin the model, so edgeq makes none",
            )
        ranges = {i: _some(*limits) for i, limits in calibration.ranges.items()}
        if scheme == "int8" and cell_states(model.graph):
            tflite = with_lstm_ranges(tflite, ranges, model.source)
        tflite = with_ranges(tflite, ranges, model.source)
        calibrated = calibration.fingerprints
    if tensorflow is not None:
        made = _quantize(tensorflow, tflite, scheme, model.source)
    else:
        with tensorflow_session() as session:
            made = _quantize(session, tflite, scheme, model.source)
    made = replace(made, calibrated=calibrated)
    allowed = repairs_named() if repairs is None else repairs
    if calibration is None or scheme != "int8" or "islands" not in allowed:
        return made
    return _without_islands(made, model, calibration)


def _some(low: float, high: float) -> tuple[float, float]:
    """A range that is no point: of values that are always 0, quantizers make a scale near 0, which
    engines refuse, or 0 itself."""
    return (0.0, 1.0) if low == high == 0 else (low, high)


def _without_islands(made: Conversion, model: Model, calibration: Calibration) -> Conversion:
    if not find_violations(made.graph):
        return made
    tflite, repair, failure = folded(made.tflite, model, calibration.ranges, calibration.examples)
    if repair is None:
        return replace(made, failed=made.failed + ((failure,) if failure else ()))
    return replace(made, tflite=tflite, graph=read_graph(tflite, model.source), repairs=(repair,))


def _as_it_is(model: Model, scheme: str) -> Conversion:
    if model.scheme != scheme:
        what = " with int8 weights" if model.scheme == "dynamic" else ""
        raise ConversionError(
            f"{model.source} is quantized already, as {model.scheme}{what}; "
            f"it cannot become {scheme}",
            hint="start from the float model, or build it as it is, without --scheme",
        )
    return Conversion(model.tflite, model.graph, scheme, "quantized already")


def _quantize(session: Worker, tflite: bytes, scheme: str, source: str) -> Conversion:
    """By the first route that leaves nothing float; else by the one that leaves least."""
    failed: list[str] = []
    best: tuple[int, Conversion] | None = None
    for route in _routes(read_graph(tflite, source), scheme):
        try:
            made = session.call("quantize", tflite, scheme, route, time_limit=QUANTIZE_LIMIT)
            graph = read_graph(made, f"{source} ({route})")
        except EdgeqError as e:
            failed.append(f"{route}: {e.message}")
            continue
        left = len(find_violations(graph)) if scheme in INTEGER_SCHEMES else 0
        if best is None or left < best[0]:
            best = left, Conversion(made, graph, scheme, route, tuple(failed))
        if left == 0:
            break
        failed.append(f"{route}: {left} operators are not integer")
    if best is None:
        raise _no_way(read_graph(tflite, source), scheme, source, failed)
    return best[1]


def _no_way(graph: Graph, scheme: str, source: str, failed: list[str]) -> ConversionError:
    names = {n for line in failed for n in re.findall(r"not yet supported for op: '(\w+)'", line)}
    ops = [op for op in graph.main.ops if op.name in names]
    if not ops:
        return ConversionError(
            f"{source}: no way to {scheme} worked:\n  " + "\n  ".join(failed),
            hint="edgeq inspect shows the operators; try --scheme dynamic to see whether the "
            "float model itself is sound",
        )
    tensors = graph.main.tensors
    listed = [f"  operator {o.index} {o.name} ({tensors[o.outputs[0]].name})" for o in ops]
    return ConversionError(
        f"{source}: TensorFlow makes no {scheme} of:\n" + "\n".join(listed),
        hint="build with --scheme int8, or replace these layers",
    )


def _routes(graph: Graph, scheme: str) -> tuple[str, ...]:
    """The scheme's routes in the order to try.

    The MLIR quantizer visits the outputs of an operator that has several (SPLIT in a recurrent
    layer) in an order that changes from run to run, and makes other bytes, sometimes a float
    island, of the same model. The flatbuffer quantizer does not, so there it comes first.
    """
    routes = ROUTES[scheme]
    several = any(len(op.outputs) > 1 for op in graph.main.ops)
    return tuple(reversed(routes)) if several else routes
