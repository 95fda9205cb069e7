"""The way from a model file to a converted model, which build and eval have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.calibration import DEFAULT_SAMPLES, Calibration, calibrate, judges, split, thin
from edgeq.choice import Choice, choose
from edgeq.conversion import Conversion, convert
from edgeq.equalization import NAME as EQUALIZATION
from edgeq.errors import ConversionError, EdgeqError, UsageError
from edgeq.frameworks import SAMPLES, form_of, framework_session
from edgeq.graph import Graph
from edgeq.images import ImageOptions
from edgeq.integers import find_violations
from edgeq.isolation import Worker
from edgeq.lint import Lint
from edgeq.mending import mended
from edgeq.mixed import layers_named, mixed
from edgeq.models import (
    Model,
    check_ports,
    compared,
    needs_tensorflow,
    open_model,
    tensorflow_session,
    widened,
)
from edgeq.ranges import AUTO, method_named
from edgeq.repairs import KERAS_REPAIRS, Repair, repairs_named
from edgeq.samples import Arrays, Samples, open_samples
from edgeq.schemes import INTEGER_SCHEMES, scheme_named

EVALUATION_SAMPLES = 1000
"""More held-out samples change an accuracy by less than its own uncertainty (1 point at 90 %)."""

COMPARED = 32
"""Samples that a repaired Keras model and the original are compared on."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Data:
    """Where samples come from and how they are read; calibration and evaluation alike.

    `calibration_method` is AUTO or a key of ranges.METHODS, None the default, which is AUTO.
    `evaluation_samples` of None means all. Paths are as for samples.open_samples, `class_names`
    those of the model's classes in its order.
    """

    calibration: str | Path | None = None
    calibration_samples: int = DEFAULT_SAMPLES
    calibration_method: str | None = None
    evaluation: str | Path | None = None
    evaluation_samples: int | None = EVALUATION_SAMPLES
    images: ImageOptions | None = None
    labels_csv: str | Path | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """How the model file is opened; the arguments of models.open_model."""

    name: str | None = None
    signature_key: str | None = None
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    output_names: Mapping[str, str] | Sequence[str] = ()
    allow_lambda: bool = False
    repairs: frozenset[str] = field(default_factory=repairs_named)


@dataclass(frozen=True)
class Prepared:
    """A converted model, and the samples to judge it on.

    `choice` says how the ranges were chosen, where there was a calibration.
    `lint` has judged the evaluation data, where it was given apart, as far as it has been read.
    """

    model: Model
    conversion: Conversion
    calibration: Calibration | None
    evaluation: Samples | None
    lint: Lint | None = None
    choice: Choice | None = None

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Of the model, then of its conversion."""
        return self.model.repairs + self.conversion.repairs


def _not_integer(graph: Graph) -> int:
    return len(find_violations(graph))


def prepare(
    source: str | Path,
    *,
    opening: Opening | None = None,
    data: Data | None = None,
    scheme: str | None = None,
    default_scheme: str | None = "int8",
    problems: Callable[[Graph], int] = _not_integer,
    tensorflow: Worker | None = None,
    int16: Sequence[str] = (),
    progress: Progress | None = None,
) -> Prepared:
    """Open `source`, calibrate it on `data` and convert it.

    Without a `scheme` it is what a quantized .tflite already is, else the `default_scheme` (None:
    nothing is converted). Float16 weights are widened to float32 for every scheme but their own.
    `tensorflow` is a models.tensorflow_session() to use; without one it is opened when needed.
    Repairs of a Keras model that wait to be needed are made where a conversion without them has
    `problems`, a count, and only if there are fewer with them.
    The layers `int16`, named as for mixed.layers_named, become int16x8 in a network of int8; their
    ranges are min-max, and channels stay as they are, since both halves share tensors.
    """
    opening, data = opening or Opening(), data or Data()
    wanted = scheme_named(scheme) if scheme else None
    method = method_named(data.calibration_method or AUTO)
    repairs = opening.repairs - {EQUALIZATION} if int16 else opening.repairs
    with ExitStack() as stack:
        session, framework = tensorflow, None
        if form := form_of(source):
            framework = stack.enter_context(framework_session(form))
        if session is None and needs_tensorflow(source):
            # Importing takes seconds, so it begins before anything else is looked at.
            session = stack.enter_context(tensorflow_session())
        opened = partial(
            open_model,
            source,
            name=opening.name,
            signature_key=opening.signature_key,
            input_shapes=opening.input_shapes,
            output_names=opening.output_names,
            allow_lambda=opening.allow_lambda,
            repairs=opening.repairs,
            scheme=wanted or default_scheme or "float32",
            tensorflow=session,
            framework=framework,
        )
        model = opened()
        check_ports(model.graph, model.source)
        wanted = wanted or default_scheme or model.scheme
        _check_int16(model, wanted, int16)
        if wanted != "float16":
            model = widened(model)
        if scheme is None and model.is_quantized:
            wanted = model.scheme
        if data.calibration_method is not None:
            _refuse_method(model, wanted, method)
        if session is None and not model.is_quantized and wanted != "float32":
            session = stack.enter_context(tensorflow_session())
        samples, evaluation, unseen = _open_data(model, data)
        if framework is not None:
            model = compared(model, framework, _some(samples or evaluation, model.graph))
            framework.close()
        calibration = choice = None
        if samples is not None and wanted in INTEGER_SCHEMES and not model.is_quantized:
            assert session is not None
            by_name = _some_by_name(samples, model.graph)
            repaired = any(r.name in KERAS_REPAIRS for r in model.repairs)
            if framework is None and (repaired or model.offered):
                # What was compared on random numbers before.
                model = widened(opened(samples=by_name))
            quantize = partial(
                _quantized,
                samples=samples,
                unseen=unseen,
                scheme=wanted,
                method=method,
                repairs=repairs,
                tensorflow=session,
                progress=progress,
            )
            with_offered = partial(opened, samples=by_name, approximate=True)
            model, calibration, conversion, choice = _with_fewest(
                problems, quantize, model, with_offered
            )
            if int16:
                parts = convert(model, calibration, "int16x8", repairs=repairs, tensorflow=session)
                layers = layers_named(model.graph, int16)
                conversion = mixed(model.graph, conversion, parts, layers)
        else:
            conversion = convert(
                model, calibration, wanted, repairs=opening.repairs, tensorflow=session
            )
    lint = None
    if evaluation is not None:
        evaluation, lint = checked(evaluation, model.graph)
    apart = data.evaluation is not None
    return Prepared(model, conversion, calibration, evaluation, lint if apart else None, choice)


def _some(samples: Samples | None, graph: Graph) -> list[Arrays] | None:
    if samples is None:
        return None
    return list(checked(samples.pick(thin(range(len(samples)), SAMPLES)), graph)[0])


_Quantized = tuple[Model, Calibration, Conversion, Choice]


def _with_fewest(
    problems: Callable[[Graph], int],
    quantize: Callable[[Model], _Quantized],
    model: Model,
    with_offered: Callable[[], Model],
) -> _Quantized:
    """`model` quantized, or the one with its offered repairs, if that leaves fewer `problems`."""
    made = quantize(model)
    model, _, conversion, _ = made
    before = problems(conversion.graph)
    if not model.offered or not before:
        return made
    try:
        other = quantize(widened(with_offered()))
    except EdgeqError as e:
        line = f"repairs {', '.join(model.offered)}: {e.message}"
        return replace(model, failed=(*model.failed, line)), *made[1:]
    return other if problems(other[2].graph) < before else made


def _quantized(
    model: Model,
    *,
    samples: Samples,
    unseen: Samples | None,
    scheme: str,
    method: str,
    repairs: frozenset[str],
    tensorflow: Worker,
    progress: Progress | None,
) -> _Quantized:
    model = mended(model, samples, repairs, scheme)
    wider = method != "minmax" and not model.learned
    calibration = calibrate(model, samples, distributions=wider, progress=progress)
    model, conversion, choice = choose(
        model,
        calibration,
        scheme,
        checked(unseen, model.graph)[0] if unseen else None,
        method=method,
        repairs=repairs,
        tensorflow=tensorflow,
        progress=progress,
    )
    return model, calibration, conversion, choice


def _some_by_name(samples: Samples, graph: Graph) -> list[dict[str, NDArray[Any]]]:
    """A few, evenly spread, by the names of the model's inputs."""
    return [
        {p.name: np.asarray(v) for p, v in zip(graph.inputs, samples.get(i), strict=True)}
        for i in thin(range(len(samples)), COMPARED)
    ]


def _check_int16(model: Model, scheme: str, names: Sequence[str]) -> None:
    """Raise for layers that are asked to be int16 where none can be, or that there are none of."""
    if not names:
        return
    if model.is_quantized and model.scheme != "float16":
        raise ConversionError(
            f"{model.source} is quantized already, as {model.scheme}: no layer of it can become "
            "int16",
            hint="leave --int16 out, or start from the float model",
        )
    if scheme != "int8":
        raise UsageError(
            f"--int16 takes single layers of an int8 network to int16; the scheme is {scheme}",
            hint="leave --int16 or --scheme out; --scheme int16x8 is int16 for all layers",
        )
    layers_named(model.graph, names)


def _refuse_method(model: Model, scheme: str, method: str) -> None:
    """A method that was asked for, where there is nothing to calibrate."""
    if model.is_quantized:
        raise ConversionError(
            f"{model.source} is quantized already, as {model.scheme}: its ranges are fixed, so "
            f"--calibration {method} can do nothing",
            hint="leave the option and `method` in edgeq.toml out, or start from the float model",
        )
    if scheme not in INTEGER_SCHEMES and method != AUTO:
        raise UsageError(
            f"--calibration {method}: scheme {scheme} has no ranges to calibrate",
            hint="leave the option and `method` in edgeq.toml out; it is for int8 and int16x8",
        )


def _open_data(model: Model, data: Data) -> tuple[Samples | None, Samples | None, Samples | None]:
    """(for calibration, for evaluation, to choose ranges on); the first two are the same object,
    and there is no third, when there are too few to hold any out."""
    if data.calibration_samples < 1:
        raise UsageError("--calibration-samples must be at least 1")

    def opened(source: str | Path, labels: str | Path | None, asked: int | None) -> Samples:
        return open_samples(
            source,
            model.graph.inputs,
            images=data.images,
            labels=labels,
            names=data.class_names,
            asked=asked,
        )

    samples = evaluation = unseen = None
    if data.calibration is not None:
        # The labels are of the samples that are judged: these, unless others are given for it.
        labels = data.labels_csv if data.evaluation is None else None
        asked = max(data.calibration_samples, data.evaluation_samples or 0)
        found = opened(data.calibration, labels, asked)
        samples, evaluation = split(found, data.calibration_samples)
        unseen = judges(found, data.calibration_samples)
    if data.evaluation is not None:
        evaluation = opened(data.evaluation, data.labels_csv, data.evaluation_samples)
    limit = data.evaluation_samples
    if evaluation is not None and limit is not None and len(evaluation) > limit:
        evaluation = evaluation.pick(thin(range(len(evaluation)), limit))
    return samples, evaluation, unseen


def evaluation_source(data: Data) -> str | Path:
    """Where the samples to judge on are. Raises UsageError when nothing says so."""
    if data.evaluation is None:
        raise UsageError("no data to evaluate on", hint="--data test.npz, with a 'labels' array")
    return data.evaluation


def open_evaluation(data: Data, graph: Graph, names: Sequence[str] = ()) -> tuple[Samples, Lint]:
    """The samples to judge `graph` on, as its inputs take them, and the lint that sees them.

    `names` are those of the model's classes, where it brings any.
    """
    samples = open_samples(
        evaluation_source(data),
        graph.inputs,
        images=data.images,
        labels=data.labels_csv,
        names=names or data.class_names,
    )
    return checked(samples, graph)


def checked(samples: Samples, graph: Graph) -> tuple[Samples, Lint]:
    """The samples as the graph's inputs take them; one that cannot be right raises DataError.

    The lint sees each as it is read.
    """
    lint = Lint(graph, samples)
    return replace(samples, get=lambda i: lint.check(i, samples.get(i))), lint
