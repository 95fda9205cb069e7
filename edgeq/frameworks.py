"""ONNX and PyTorch models: the tool that makes a float .tflite of each, and whether that computes
what the source computes in its own framework."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ConversionError, MissingProgram
from edgeq.extras import ONNX2TF, ONNX2TF_INSTALL, install_line
from edgeq.graph import Graph
from edgeq.interpreters import inference_limit, litert
from edgeq.isolation import Worker
from edgeq.pytorch_files import factory_of
from edgeq.repairs import Repair

Arrays = tuple[NDArray[Any], ...]

NAMES = {"onnx": "ONNX Runtime", "pt2": "PyTorch", "pytorch": "PyTorch"}
"""What runs a source of each format."""

AGREEMENT = 1e-3
"""Largest difference to the source, as a share of the output's largest value. A quarter of an int8
step; float rounding in another order of sums stays a hundred times below."""

SAMPLES = 32
"""Real samples to compare on, at most."""

EXPORT_LIMIT = 900.0
"""Seconds that the way to a .tflite may take; small networks take 2 to 5."""


@dataclass(frozen=True)
class Exported:
    """A float .tflite, the names of its ports in their order, and what made it.

    `repairs` are those that were made in the framework; `largest_error` of each is measured later.
    `learned` has the (min, max) of tensors by index that quantization-aware training left.
    """

    tflite: bytes = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    route: str
    repairs: tuple[Repair, ...] = ()
    learned: Mapping[int, tuple[float, float]] = field(default_factory=dict)


def form_of(source: str | Path) -> str | None:
    """Which of NAMES `source` is, as far as its name tells."""
    if factory_of(source):
        return "pytorch"
    suffix = Path(source).suffix
    return {".onnx": "onnx", ".pt2": "pt2"}.get(suffix) if Path(source).is_file() else None


def framework_session(form: str) -> Worker:
    """A process with the framework of `form`, importing in the background; for export().

    Raises MissingProgram when a package is not installed.
    """
    wanted, extra = (
        (("onnx", "onnxruntime"), "onnx")
        if form == "onnx"
        else (("torch", "litert_torch"), "torch")
    )
    missing = [name.replace("_", "-") for name in wanted if find_spec(name) is None]
    if missing:
        raise MissingProgram(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; "
            f"{'ONNX' if form == 'onnx' else 'PyTorch'} models need {' and '.join(wanted)}",
            hint=install_line(extra),
        )
    environment = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if form == "onnx":
        return Worker("edgeq.workers.onnx:Session", _onnx2tf(), environment=environment)
    return Worker("edgeq.workers.torch:Session", environment=environment)


def _onnx2tf() -> str:
    asked = os.environ.get(ONNX2TF)
    found = shutil.which(asked or "onnx2tf")
    if found is None:
        what = f"{ONNX2TF} names {asked!r}, which is no program" if asked else "not found"
        raise MissingProgram(f"onnx2tf, which converts ONNX models: {what}", hint=ONNX2TF_INSTALL)
    return os.path.abspath(found)


def export(
    session: Worker,
    path: Path,
    form: str,
    input_shapes: Mapping[str, Sequence[int]],
    repairs: frozenset[str],
) -> Exported:
    """The model at `path` as a .tflite; the session then runs its source, for disagreement().

    Raises ModelError and ConversionError.
    """
    file, function = factory_of(path) or (path, None)
    shapes = {name: tuple(shape) for name, shape in input_shapes.items()}
    arguments = (str(file.absolute()), function, shapes, repairs)
    made: Exported = session.call("export", *arguments, time_limit=EXPORT_LIMIT)
    return made


@dataclass(frozen=True)
class Comparison:
    """Largest differences of any output, in its own units: of the .tflite to what was exported,
    and of that, where repairs or learned ranges changed it, to the source."""

    samples: int
    rounding: float
    change: float


def compare(
    session: Worker,
    tflite: bytes,
    graph: Graph,
    form: str,
    source: str,
    samples: Sequence[Arrays] | None,
) -> Comparison:
    """Run `samples` (None: the source's example, or seeded random ones) through both.

    Raises ConversionError for a difference that is more than float rounding.
    """
    framework = NAMES[form]
    limit = EXPORT_LIMIT + inference_limit(graph, SAMPLES)
    if samples is None:
        samples = session.call("examples", time_limit=limit)
    expected: list[tuple[Arrays, Arrays]] = session.call("run", list(samples), time_limit=limit)
    with litert(tflite, "builtin") as network:
        got = [outputs for s in samples for outputs in network.infer("run", [s])]
    rounding = change = 0.0
    for i, port in enumerate(graph.outputs):
        exported = np.stack([e[0][i] for e in expected]).astype(np.float64)
        original = np.stack([e[1][i] for e in expected]).astype(np.float64)
        made = np.stack([g[i] for g in got]).astype(np.float64)
        if made.shape != exported.shape:
            raise ConversionError(
                f"{source}: output {port.name!r} of the .tflite has shape {made.shape[1:]}, in "
                f"{framework} it has {exported.shape[1:]}",
                hint="this is a bug of the converter; another format of the model may do",
            )
        worst, peak = float(np.abs(made - exported).max()), float(np.abs(exported).max())
        if not np.isfinite(worst) or worst > AGREEMENT * max(peak, 1e-6):
            raise ConversionError(
                f"{source}: the .tflite does not compute what {framework} does: output "
                f"{port.name!r} differs by {worst:.3g}, its largest value is {peak:.3g}",
                hint="was the model exported in eval() mode, and does it draw no random numbers? "
                "else this is a bug of the converter, and another format of the model may do",
            )
        rounding, change = max(rounding, worst), max(change, float(abs(exported - original).max()))
    return Comparison(len(samples), rounding, change)
