"""How far from float: SQNR, largest error and agreement per output, and per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.conversion import Conversion
from edgeq.errors import DataError, ModelError, UsageError, VerificationError
from edgeq.graph import Graph, Port, Tensor
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.interpreters import batches, litert, run
from edgeq.models import Model
from edgeq.quantization import dequantize
from edgeq.samples import Samples
from edgeq.tflite import read_graph

LAYER_SAMPLES = 16
WORST_DB = -999.0
"""Stands for minus infinity: outputs that are NaN or infinite, or a float output of zeros alone."""


@dataclass(frozen=True)
class Fidelity:
    """One output of the converted model against the float model, over `samples` samples.

    sqnr_db = 10 log10(sum float^2 / sum (float - converted)^2); None when they are equal.
    `max_error` is in the output's own unit, `max_error_steps` in steps of its quantization (None
    for a float output). `top1_agreement` (0 to 1) is there when the output looks like scores of
    classes, the accuracies when labels are known.
    """

    output: str
    samples: int
    sqnr_db: float | None
    max_error: float
    max_error_steps: float | None
    top1_agreement: float | None = None
    float_accuracy: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Gates:
    """Limits that fail a build. Accuracies are percent, the drop in percentage points.

    Raises UsageError for a number that cannot be meant.
    """

    min_accuracy: float | None = None
    max_accuracy_drop: float | None = None
    min_sqnr_db: float | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("min-accuracy", self.min_accuracy),
            ("max-accuracy-drop", self.max_accuracy_drop),
        ):
            if value is not None and not 0 <= value <= 100:
                raise UsageError(f"--{name} {value:g} is not between 0 and 100", "it is in percent")
        if self.min_accuracy is not None and 0 < self.min_accuracy <= 1:
            raise UsageError(
                f"--min-accuracy {self.min_accuracy:g} would let almost anything pass",
                hint=f"it is in percent: {100 * self.min_accuracy:g} for that share",
            )
        if self.min_sqnr_db is not None and not math.isfinite(self.min_sqnr_db):
            raise UsageError("--min-sqnr is not a number of dB", hint="20, say")


@dataclass(frozen=True)
class LayerError:
    """One operator's output against the float model's tensor of the same name.

    `lost_db` is how much worse it is than the worst of its inputs: the layer to blame is the one
    that loses most, not the one at the end of a chain of losses. Negative: the layer averages
    errors away. Measured with LiteRT's kernels without XNNPACK, on LAYER_SAMPLES samples.
    """

    op_index: int
    op_name: str
    layer: str
    sqnr_db: float | None
    lost_db: float


def measure_fidelity(
    float_tflite: bytes, tflite: bytes, graph: Graph, samples: Samples
) -> list[Fidelity]:
    """The float model and the converted one (whose `graph` it is) on `samples`, which should not
    have been used for calibration."""
    check_labels(samples, graph)
    inputs, outputs = graph.inputs, graph.outputs
    original = read_graph(float_tflite, "the float model")
    check_shapes(original, graph)
    tallies = [Tally(port) for port in outputs]
    with litert(float_tflite) as reference, litert(tflite) as converted:
        expected = run(reference, (stored_inputs(s, original.inputs) for s in samples))
        got = run(converted, (stored_inputs(s, inputs) for s in samples))
        for number, (a, b) in enumerate(zip(expected, got, strict=True)):
            label = None if samples.labels is None else int(samples.labels[number])
            for tally, x, y in zip(tallies, a, real_outputs(b, outputs), strict=True):
                # Labels are of the first output's classes.
                known = label if tally is tallies[0] else None
                tally.add(x.astype(np.float64), y.astype(np.float64), known)
    return [t.result() for t in tallies]


def measure_accuracy(tflite: bytes, graph: Graph, samples: Samples) -> float:
    """The share (0 to 1) of `samples` whose label is the top class of the first output.

    Raises DataError without labels, or when the output is no vector of class scores.
    """
    shape = graph.outputs[0].tensor.shape
    if samples.labels is None:
        raise DataError(
            f"{samples.source}: has no labels, so accuracy cannot be measured",
            hint="add a 'labels' array to the .npz, or --labels-csv for images",
        )
    if len(shape) != 2 or shape[-1] < 2:
        raise DataError(
            f"output {graph.outputs[0].name!r} of shape {shape} is no vector of class scores",
            hint="accuracy needs an output of shape (1, classes)",
        )
    check_labels(samples, graph)
    with litert(tflite) as network:
        outputs = run(network, (stored_inputs(s, graph.inputs) for s in samples))
        right = sum(
            int(o[0].argmax()) == int(label)
            for o, label in zip(outputs, samples.labels, strict=True)
        )
    return right / len(samples)


def check_shapes(original: Graph, graph: Graph) -> None:
    """Raise VerificationError when the float model and the converted one differ in their ports."""
    for side in ("inputs", "outputs"):
        wanted, found = (
            [list(p.tensor.shape) for p in getattr(g, side)] for g in (original, graph)
        )
        if wanted != found:
            raise VerificationError(
                f"the converted model's {side} have the shapes {found}, the float model's {wanted}",
                hint="export the model again with fixed shapes",
            )


def check_labels(samples: Samples, graph: Graph) -> None:
    """Raise DataError for a label that is no class of the first output."""
    shape = graph.outputs[0].tensor.shape
    if samples.labels is None or len(shape) != 2 or shape[-1] < 2:
        return
    if samples.guessed and len(samples.guessed) != shape[-1]:
        raise DataError(
            f"{samples.source}: {len(samples.guessed)} names of classes, and the model has "
            f"{shape[-1]}: which name is which class is not known",
            hint="give the model's `labels` in edgeq.toml, in the order of its output, or call the "
            "classes by their numbers",
        )
    wrong = np.flatnonzero((samples.labels < 0) | (samples.labels >= shape[-1]))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{samples.source}, {samples.describe(first)}: label {samples.labels[first]}, but the "
            f"model has the classes 0 to {shape[-1] - 1} ({wrong.size} labels like this)",
            hint="number the classes from 0, in the order of the model's output",
        )


def missed_gate(
    results: Sequence[Fidelity], accuracy: float | None, gates: Gates
) -> tuple[str, str] | None:
    """The first limit that is passed, or that cannot be judged, with a hint; None when all hold.

    `accuracy` (0 to 1) is that of a model without a float original to compare with.
    """
    first = results[0] if results else None
    found = first.accuracy if first else accuracy
    before = first.float_accuracy if first else None
    if gates.min_accuracy is not None or gates.max_accuracy_drop is not None:
        if first and first.top1_agreement is None:
            return (
                f"an accuracy limit is set, but output {first.output!r} is no vector of class "
                "scores",
                "accuracy is that of a first output of shape (1, classes); limit its distance from "
                "float by --min-sqnr",
            )
        if found is None:
            return (
                "an accuracy limit is set, but the data has no labels to measure accuracy with",
                "add a 'labels' array to the .npz, or --labels-csv for images",
            )
    if not results and (gates.min_sqnr_db is not None or gates.max_accuracy_drop is not None):
        return (
            "a limit on the distance from float is set, but there is no float model to measure it "
            "with, or no data",
            "start from the float model, and give --evaluation-data",
        )
    for r in results:
        if (
            gates.min_sqnr_db is not None
            and r.sqnr_db is not None
            and r.sqnr_db < gates.min_sqnr_db
        ):
            return (
                f"output {r.output!r}: SQNR {r.sqnr_db:.1f} dB, under the limit of "
                f"{gates.min_sqnr_db:g} dB",
                "--layers names the layer to blame; --scheme int16x8 is closer to float",
            )
    if found is None:
        return None
    if gates.min_accuracy is not None and 100 * found < gates.min_accuracy:
        return (
            f"accuracy {100 * found:.2f} %, under the limit of {gates.min_accuracy:g} %",
            "train longer, or give more typical calibration data"
            if before is None
            else f"the float model reaches {100 * before:.2f} %",
        )
    drop = 0.0 if before is None else 100 * (before - found)
    if (
        gates.max_accuracy_drop is not None
        and before is not None
        and drop > gates.max_accuracy_drop
    ):
        return (
            f"accuracy falls from {100 * before:.2f} % to {100 * found:.2f} %, by more than "
            f"{gates.max_accuracy_drop:g} points",
            "--layers names the layer to blame; --scheme int16x8 is closer to float",
        )
    return None


def layer_errors(model: Model, conversion: Conversion, samples: Samples) -> list[LayerError]:
    """Every operator whose output both models have, worst first (by what it loses itself)."""
    pairs = _matching(model.graph, conversion.graph)
    signal = dict.fromkeys(pairs, 0.0)
    noise = dict.fromkeys(pairs, 0.0)
    chosen = samples.pick(range(min(LAYER_SAMPLES, len(samples))))
    inputs = conversion.graph.inputs
    tensors = conversion.graph.main.tensors
    with (
        litert(model.tflite, "builtin", all_tensors=True) as reference,
        litert(conversion.tflite, "builtin", all_tensors=True) as converted,
    ):
        for batch in batches(chosen, reference.batch):
            plain = [stored_inputs(s, model.graph.inputs) for s in batch]
            stored = [stored_inputs(s, inputs) for s in batch]
            a = reference.infer("tensors", plain, list(pairs.values()))
            b = converted.infer("tensors", stored, list(pairs))
            for wanted, found in zip(a, b, strict=True):
                for index, x, q in zip(pairs, wanted, found, strict=True):
                    y = dequantize(q, tensors[index]).astype(np.float64)
                    if x.size != y.size:
                        raise ModelError(
                            f"tensor {tensors[index].name} is {list(x.shape)} when computed in "
                            f"float and {list(y.shape)} when converted, other than in the file",
                            hint="export the model again with fixed shapes",
                        )
                    x = x.astype(np.float64).reshape(y.shape)
                    signal[index] += float(np.sum(x * x))
                    noise[index] += float(np.sum((x - y) ** 2))
    level = {i: decibels(signal[i], noise[i]) for i in pairs}
    errors = []
    for op in conversion.graph.main.ops:
        for i in op.outputs:
            if i in level:
                before = min((level[k] for k in op.inputs if k in level), default=math.inf)
                lost = min(before, 99.0) - min(level[i], 99.0)
                shown = None if math.isinf(level[i]) else round(level[i], 2)
                errors.append(LayerError(op.index, op.name, tensors[i].name, shown, round(lost, 2)))
    return sorted(errors, key=lambda e: (-e.lost_db, e.op_index))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite without noise, minus infinite when either is no number."""
    if noise == 0:
        return math.inf
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return -math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _matching(float_graph: Graph, graph: Graph) -> dict[int, int]:
    """Converted tensor -> float tensor of the same name and size; inputs and outputs by place."""
    by_name = {t.name: t for t in float_graph.main.tensors if not t.is_constant and t.is_float}
    pairs: dict[int, int] = {}
    for tensor in _activations(graph):
        other = by_name.get(tensor.name)
        if other is not None and other.elements == tensor.elements:
            pairs[tensor.index] = other.index
    edges = [*zip(graph.inputs, float_graph.inputs, strict=True)]
    edges += zip(graph.outputs, float_graph.outputs, strict=True)
    for a, b in edges:
        if a.tensor.elements == b.tensor.elements and b.tensor.is_float:
            pairs[a.tensor.index] = b.tensor.index
    return pairs


def _activations(graph: Graph) -> list[Tensor]:
    used = {i for op in graph.main.ops for i in op.outputs}
    return [
        t
        for t in graph.main.tensors
        if t.index in used and (t.is_float or t.quantization is not None)
    ]


class Tally:
    """Sums over the samples for one output."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._count = 0
        self._signal = 0.0
        self._noise = 0.0
        self._largest = 0.0
        self._same_top = 0
        self._right_before = 0
        self._right = 0
        self._labelled = 0
        shape = port.tensor.shape
        self._is_scores = len(shape) == 2 and shape[-1] > 1

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64], label: int | None) -> None:
        for whose, values in (("float", x), ("converted", y)):
            if not np.isfinite(values).all():
                raise VerificationError(
                    f"output {self._port.name!r} of the {whose} model is NaN or infinite on sample "
                    f"{self._count} of those that judge it",
                    hint="check the scaling of the data; a range too wide for float16 does it too",
                )
        self._count += 1
        self._signal += float(np.sum(x * x))
        self._noise += float(np.sum((x - y) ** 2))
        self._largest = max(self._largest, float(np.max(np.abs(x - y), initial=0.0)))
        if self._is_scores:
            before, after = int(x.argmax()), int(y.argmax())
            self._same_top += before == after
            if label is not None:
                self._labelled += 1
                self._right_before += before == label
                self._right += after == label

    def result(self) -> Fidelity:
        level = decibels(self._signal, self._noise)
        quantization = self._port.tensor.quantization
        return Fidelity(
            output=self._port.name,
            samples=self._count,
            # None says "equal", which only no noise at all is; NaN and no signal are the worst.
            sqnr_db=None if self._noise == 0 else round(max(level, WORST_DB), 2),
            max_error=float(f"{self._largest:.6g}"),
            max_error_steps=(
                round(self._largest / quantization.scale, 2) if quantization else None
            ),
            top1_agreement=self._same_top / self._count if self._is_scores else None,
            float_accuracy=self._right_before / self._labelled if self._labelled else None,
            accuracy=self._right / self._labelled if self._labelled else None,
        )
