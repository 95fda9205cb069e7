"""edgeq eval: the accuracy of a model on labelled data, float beside integer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.bundle import is_bundle, open_bundle
from edgeq.graph import Graph
from edgeq.lint import Finding, Lint
from edgeq.models import check_ports
from edgeq.pipeline import Data, Opening, Progress, evaluation_source, open_evaluation, prepare
from edgeq.samples import Samples
from edgeq.schemes import scheme_of
from edgeq.tflite import read_graph
from edgeq.verification import Fidelity, measure_accuracy, measure_fidelity


@dataclass(frozen=True)
class Evaluation:
    """Accuracies are shares from 0 to 1, None where there are no labels or no float model;
    `fidelity` is empty without a float model to compare with; `findings` is what looks wrong in
    the samples."""

    model: str
    scheme: str
    source: str
    samples: int
    accuracy: float | None
    float_accuracy: float | None
    fidelity: tuple[Fidelity, ...]
    findings: tuple[Finding, ...] = ()


def evaluate(
    source: str | Path,
    data: Data,
    *,
    scheme: str | None = None,
    opening: Opening | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run `data.evaluation` through a bundle, a .tflite, or a trained model.

    A float model is converted first when there is calibration data or a `scheme`, else judged as
    it is.

    Raises DataError when there is neither a float model to compare with nor a label.
    """
    evaluation_source(data)
    if is_bundle(Path(source)):
        bundle = open_bundle(Path(source))
        graph = read_graph(bundle.tflite, bundle.name)
        check_ports(graph, bundle.name)
        judged, lint = open_evaluation(data, graph, bundle.labels)
        return _evaluate(bundle.name, bundle.tflite, graph, bundle.baseline, judged, lint)
    prepared = prepare(
        source,
        opening=opening,
        data=data,
        scheme=scheme,
        default_scheme=None if data.calibration is None else "int8",
        progress=progress,
    )
    model, conversion = prepared.model, prepared.conversion
    assert prepared.evaluation is not None
    same = model.is_quantized or conversion.scheme == "float32"
    baseline = None if same else model.tflite
    assert prepared.lint is not None
    return _evaluate(
        model.name,
        conversion.tflite,
        conversion.graph,
        baseline,
        prepared.evaluation,
        prepared.lint,
    )


def _evaluate(
    name: str, tflite: bytes, graph: Graph, baseline: bytes | None, samples: Samples, lint: Lint
) -> Evaluation:
    fidelity: list[Fidelity] = []
    accuracy: float | None
    before: float | None = None
    if baseline is None:
        accuracy = measure_accuracy(tflite, graph, samples)
    else:
        fidelity = measure_fidelity(baseline, tflite, graph, samples)
        accuracy, before = fidelity[0].accuracy, fidelity[0].float_accuracy
    return Evaluation(
        model=name,
        scheme=scheme_of(graph),
        source=samples.source,
        samples=len(samples),
        accuracy=accuracy,
        float_accuracy=before,
        fidelity=tuple(fidelity),
        findings=tuple(lint.data_findings()),
    )
