"""A float model and its calibrated ranges to a .tflite in one of five schemes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.calibration import Calibration
from edgeq.documents import nearest
from edgeq.errors import ConversionError, DataError, EdgeqError, UsageError, WorkerError
from edgeq.graph import Graph
from edgeq.isolation import Worker
from edgeq.models import Model, tensorflow_session
from edgeq.tflite import read_graph
from edgeq.tflite.writer import with_ranges

SCHEMES = {
    "int8": "full integer: int8 weights (per channel) and activations, int8 in and out",
    "int16x8": "full integer: int8 weights, int16 activations, int16 in and out",
    "dynamic": "int8 weights, float activations (hybrid operators)",
    "float16": "float16 weights, float32 computation",
    "float32": "the baseline: nothing quantized",
}

ALIASES = {
    "static_wi8_ai8": "int8",
    "static_wi8_ai16": "int16x8",
    "dynamic_wi8_afp32": "dynamic",
    "16x8": "int16x8",
    "fp16": "float16",
    "fp32": "float32",
    "none": "float32",
}
"""Names that LiteRT's recipes and others use for the same."""

INTEGER_SCHEMES = frozenset({"int8", "int16x8"})

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
    """`tflite` in `scheme`, its `graph`, how it was made, and which routes failed before."""

    tflite: bytes
    graph: Graph
    scheme: str
    route: str
    failed: tuple[str, ...] = ()


def scheme_named(name: str) -> str:
    """The scheme that `name` or one of its aliases stands for. Raises UsageError."""
    scheme = ALIASES.get(name.lower(), name.lower())
    if scheme not in SCHEMES:
        guess = nearest(name.lower(), [*SCHEMES, *ALIASES])
        raise UsageError(
            f"unknown scheme {name!r}",
            hint=f"did you mean {guess}?" if guess else f"one of: {', '.join(SCHEMES)}",
        )
    return scheme


def scheme_of(graph: Graph) -> str:
    """The scheme that a finished .tflite is in, judged by its operators."""
    activations = {
        s.tensors[i].dtype for _, s in graph.reachable() for op in s.ops for i in op.outputs
    }
    weights = {t.dtype for _, s in graph.reachable() for t in s.tensors if t.data is not None}
    quantized = any(
        t.quantization is not None
        for _, s in graph.reachable()
        for op in s.ops
        for t in s.output_tensors(op)
    )
    if quantized and "int16" in activations:
        return "int16x8"
    if quantized:
        return "int8"
    if "int8" in weights:
        return "dynamic"
    return "float16" if "float16" in weights else "float32"


def convert(
    model: Model,
    calibration: Calibration | None = None,
    scheme: str = "int8",
    *,
    tensorflow: Worker | None = None,
) -> Conversion:
    """`model` in `scheme`. The integer schemes need a `calibration`; there is no random one.

    A model that is quantized already passes unchanged, if it is in that scheme.
    Raises DataError without calibration, ConversionError when no route works.
    """
    scheme = scheme_named(scheme)
    if model.is_quantized:
        return _as_it_is(model, scheme)
    if scheme == "float32":
        return Conversion(model.tflite, model.graph, scheme, "nothing to convert")
    tflite = model.tflite
    if scheme in INTEGER_SCHEMES:
        if calibration is None:
            raise DataError(
                f"{scheme} needs calibration data: without it nobody knows the activations' ranges",
                hint="--calibration-data with 100 to 200 real samples (.npz, .npy, a folder of "
                "images, or file.py); random numbers would ruin the model, so edgeq makes none",
            )
        tflite = with_ranges(tflite, calibration.ranges)
    if tensorflow is not None:
        return _quantize(tensorflow, tflite, scheme, model.source)
    with tensorflow_session() as session:
        return _quantize(session, tflite, scheme, model.source)


def _as_it_is(model: Model, scheme: str) -> Conversion:
    found = scheme_of(model.graph)
    if found != scheme:
        raise ConversionError(
            f"{model.source} is quantized already, as {found}; it cannot become {scheme}",
            hint="start from the float model, or build it as it is, without --scheme",
        )
    return Conversion(model.tflite, model.graph, scheme, "quantized already")


def _quantize(session: Worker, tflite: bytes, scheme: str, source: str) -> Conversion:
    failed: list[str] = []
    for route in ROUTES[scheme]:
        try:
            made = session.call("quantize", tflite, scheme, route, time_limit=QUANTIZE_LIMIT)
            graph = read_graph(made, f"{source} ({route})")
        except (WorkerError, EdgeqError) as e:
            failed.append(f"{route}: {e.message}")
            continue
        return Conversion(made, graph, scheme, route, tuple(failed))
    raise ConversionError(
        f"{source}: no way to {scheme} worked:\n  " + "\n  ".join(failed),
        hint="edgeq inspect shows the operators; try --scheme dynamic to see whether the float "
        "model itself is sound",
    )
