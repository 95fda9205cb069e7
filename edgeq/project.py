"""edgeq.toml: what `edgeq build` builds when no model is named. docs/project.md has the keys."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.documents import decode, read_text, read_toml
from edgeq.errors import UsageError
from edgeq.graph import Port
from edgeq.labs import DeviceSettings
from edgeq.limits import Limits, parse_limits
from edgeq.ranges import method_named
from edgeq.targets import is_path

FILE_NAME = "edgeq.toml"

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MAX_NAME = 63
_SMALLEST_IMAGE = 8


@dataclass(frozen=True)
class InputSettings:
    """[input]: how data becomes what the model takes.

    `image_size` is (height, width) and `image_channels` 1 or 3, for folders of images; None
    means as the model's input says. `image_scaling` is text for samples.parse_scaling.
    `shapes` fixes dynamic dimensions by input name, batch included.
    """

    image_size: tuple[int, int] | None = None
    image_channels: int | None = None
    image_scaling: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationSettings:
    """[calibration]: `data` as for samples.open_samples, `samples` how many to use at most,
    `method` as for ranges.method_named, None the default."""

    data: str | None = None
    samples: int | None = None
    method: str | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """[evaluation]: the data that the integer model is judged on, and when it fails.

    `labels` is the CSV of file,class that goes with a folder of images. `min_accuracy` is in
    percent, `max_accuracy_drop` in points of percent, `min_sqnr` in dB.
    """

    data: str | None = None
    labels: str | None = None
    min_accuracy: float | None = None
    max_accuracy_drop: float | None = None
    min_sqnr: float | None = None


@dataclass(frozen=True)
class Project:
    """One edgeq.toml. Every path in it, also in the settings, has the file's folder before it.

    `targets` are names or paths, `labels` the classes' names in order, and `output_names` are
    new names by the old or in order, as open_model() takes them. A `scheme` or `engine` of None
    means the default; `int16` are layers as for mixed.layers_named. `limits` are for
    edgeq.checking; their baseline's path is as written. `devices` are for labs.known_devices.
    """

    source: Path
    name: str
    model: Path
    targets: tuple[str, ...] = ()
    output: Path = Path("build")
    scheme: str | None = None
    int16: tuple[str, ...] = ()
    engine: str | None = None
    labels: tuple[str, ...] = ()
    output_names: Mapping[str, str] | tuple[str, ...] = ()
    signature_key: str | None = None
    allow_lambda: bool = False
    input: InputSettings = InputSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    limits: Limits = Limits()
    devices: Mapping[str, DeviceSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class _Document:
    """The file as it stands, paths relative to its folder."""

    name: str | None = None
    model: str | None = None
    targets: tuple[str, ...] = ()
    output: str = "build"
    scheme: str | None = None
    int16: tuple[str, ...] = ()
    engine: str | None = None
    labels: tuple[str, ...] | str = ()
    output_names: dict[str, str] | tuple[str, ...] = ()
    signature_key: str | None = None
    allow_lambda: bool = False
    input: InputSettings = InputSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    limits: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, DeviceSettings] = field(default_factory=dict)


_SECTIONS: dict[str, type] = {
    "input": InputSettings,
    "calibration": CalibrationSettings,
    "evaluation": EvaluationSettings,
}


def find_project(start: Path) -> Path | None:
    """The edgeq.toml in the folder `start` or the nearest one above it, or None."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def load_project(path: Path) -> Project:
    """The project in the file `path`. Raises UsageError that names the file and the key.

    Whether the model, the data and the targets exist is for those who open them to say; only a
    file of labels is read here.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="'edgeq init MODEL' writes one")
    tables = read_toml(path, UsageError)
    _refuse_misplaced(tables, path)
    document = decode(tables, _Document, str(path), UsageError)
    name, model = _checked(document, path)
    folder = path.parent
    return Project(
        source=path,
        name=name,
        model=folder / model,
        targets=tuple(str(folder / t) if is_path(t) else t for t in document.targets),
        output=folder / document.output,
        scheme=document.scheme,
        int16=document.int16,
        engine=document.engine,
        labels=_labels(document.labels, folder, path),
        output_names=document.output_names,
        signature_key=document.signature_key,
        allow_lambda=document.allow_lambda,
        input=document.input,
        calibration=dataclasses.replace(
            document.calibration, data=_beside(folder, document.calibration.data)
        ),
        evaluation=dataclasses.replace(
            document.evaluation,
            data=_beside(folder, document.evaluation.data),
            labels=_beside(folder, document.evaluation.labels),
        ),
        limits=parse_limits(document.limits, str(path)),
        devices={name: _device(folder, table) for name, table in document.devices.items()},
    )


def identifier(text: str) -> str:
    """`text` as a project's name, which also names C files and arrays: "my net-2" -> my_net_2."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")
    if not name[:1].isalpha():
        name = f"model_{name}" if name else "model"
    return name[:_MAX_NAME]


# --- Checks ------------------------------------------------------------------------------------


def _refuse_misplaced(tables: Mapping[str, Any], path: Path) -> None:
    """In TOML a key belongs to the [table] above it: the commonest slip in an edited file."""
    top = {f.name for f in dataclasses.fields(_Document)}
    for section, kind in _SECTIONS.items():
        keys = {f.name for f in dataclasses.fields(kind)}
        table = tables.get(section)
        for key, value in table.items() if isinstance(table, dict) else ():
            classes = key == "labels" and isinstance(value, list)
            if key in top - keys or classes:
                raise UsageError(
                    f"{path}: {key} stands below [{section}], so it counts as {section}.{key}",
                    hint=f"move {key} above the first [table]",
                )


def _checked(document: _Document, path: Path) -> tuple[str, str]:
    """The name and model, when every value makes sense."""
    for key in ("name", "model"):
        if not getattr(document, key):
            raise UsageError(
                f"{path}: no key {key}", hint="'edgeq init MODEL' writes a file that has it"
            )
    assert document.name and document.model
    if not _IDENTIFIER.fullmatch(document.name) or len(document.name) > _MAX_NAME:
        raise UsageError(
            f"{path}: name {document.name!r} cannot name C files and arrays",
            hint=f"use letters, digits and _, a letter first: {identifier(document.name)!r}",
        )
    for key, value in _texts(document):
        if not value.strip():
            raise UsageError(f"{path}: {key} is empty", hint="write it, or leave the key out")
        if "\0" in value:
            raise UsageError(f"{path}: {key} has a zero byte in it", hint="remove it")
    for target in document.targets:
        if document.targets.count(target) > 1:
            raise UsageError(f"{path}: targets has {target!r} twice", hint="list it once")
    names = document.output_names
    for new in names.values() if isinstance(names, dict) else names:
        if not _IDENTIFIER.fullmatch(new):
            raise UsageError(
                f"{path}: output_names: {new!r} cannot be a name in C",
                hint=f"use letters, digits and _, a letter first: {identifier(new)!r}",
            )
    _check_input(document.input, path)
    if document.calibration.samples is not None and document.calibration.samples < 1:
        raise UsageError(
            f"{path}: calibration.samples = {document.calibration.samples}",
            hint="100 to 200 are enough",
        )
    if document.calibration.method is not None:
        try:
            method_named(document.calibration.method)
        except UsageError as e:
            raise UsageError(f"{path}: calibration.method: {e.message}", hint=e.hint) from e
    _check_limits(document.evaluation, path)
    return document.name, document.model


def _texts(document: _Document) -> list[tuple[str, str]]:
    """Every single text that must say something."""
    found = [(f"targets[{i}]", target) for i, target in enumerate(document.targets)]
    sections = [("", document)] + [(f"{s}.", getattr(document, s)) for s in _SECTIONS]
    for prefix, settings in sections:
        found += [(prefix + k, v) for k, v in vars(settings).items() if isinstance(v, str)]
    return found


def _check_input(settings: InputSettings, path: Path) -> None:
    if settings.image_size is not None and min(settings.image_size) < 1:
        raise UsageError(
            f"{path}: input.image_size = {list(settings.image_size)}",
            hint="write [height, width] in pixels",
        )
    if settings.image_channels not in (None, 1, 3):
        raise UsageError(
            f"{path}: input.image_channels = {settings.image_channels}",
            hint="1 for grey, 3 for RGB",
        )
    for name, shape in settings.shapes.items():
        if not shape or min(shape) < 1:
            raise UsageError(
                f"{path}: input.shapes.{name} = {list(shape)}",
                hint="write every dimension, the batch of 1 first, as [1, 28, 28, 1]",
            )


def _check_limits(settings: EvaluationSettings, path: Path) -> None:
    for key in ("min_accuracy", "max_accuracy_drop"):
        percent = getattr(settings, key)
        if percent is not None and not 0 <= percent <= 100:
            raise UsageError(
                f"{path}: evaluation.{key} = {percent:g} is not between 0 and 100",
                hint="it is in percent",
            )
    lowest = settings.min_accuracy
    if lowest is not None and 0 < lowest <= 1:
        raise UsageError(
            f"{path}: evaluation.min_accuracy = {lowest:g} would let almost anything pass",
            hint=f"it is in percent: write {100 * lowest:g} for {100 * lowest:g} %",
        )
    if settings.min_sqnr is not None and not math.isfinite(settings.min_sqnr):
        raise UsageError(f"{path}: evaluation.min_sqnr is not a number of dB", hint="20, say")


def _beside(folder: Path, text: str | None) -> str | None:
    """The path `text` (it may end in :function) from the project's `folder`."""
    return None if text is None else str(folder / text)


def _device(folder: Path, table: DeviceSettings) -> DeviceSettings:
    if table.target is None or not is_path(table.target):
        return table
    return dataclasses.replace(table, target=str(folder / table.target))


def _labels(labels: tuple[str, ...] | str, folder: Path, path: Path) -> tuple[str, ...]:
    if isinstance(labels, str):
        source = folder / labels
        if not source.is_file():
            raise UsageError(
                f"{path}: labels: no file {source}",
                hint="write the classes' names in it, one a line, or here as a list",
            )
        labels = tuple(read_text(source, UsageError).lstrip("\ufeff").rstrip().splitlines())
        path = source
    labels = tuple(label.strip() for label in labels)
    for number, label in enumerate(labels):
        if not label or not label.isprintable():
            raise UsageError(
                f"{path}: the label of class {number} is empty or has control characters",
                hint="one name a class, from class 0 on",
            )
    return labels


# --- The file that `edgeq init` writes -----------------------------------------------------------


def project_template(
    name: str,
    model: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    *,
    scheme: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    signature_key: str | None = None,
    allow_lambda: bool = False,
) -> str:
    """A commented edgeq.toml, which loads as it is.

    `model` is the path as the file shall have it, `scheme` what a model that is quantized
    already is in; the others are what it took to open the model, and are set in the file.
    Raises UsageError for a path that is not text.
    """
    if any("\ud800" <= c <= "\udfff" for c in model):
        raise UsageError(f"{model!r}: a path that is not UTF-8", hint="rename the file")
    image = _image_shape(inputs)
    lines = [
        "# What `edgeq build` builds in this folder and those below it. Paths are relative to this",
        "# file. Lines that begin with # are settings with their default or an example.",
        "",
        f"name = {_toml(identifier(name))}  # of the bundle, and of C files and arrays",
        f"model = {_toml(model)}",
        *(f"#   {_describe('input', port)}" for port in inputs),
        *(f"#   {_describe('output', port)}" for port in outputs),
        "",
        "# What to build for; `edgeq targets` lists them all. A board of your own is a path:",
        '# targets = ["rpi", "android", "cortex-m4", "./my_board.toml"]',
        'targets = ["host"]',
        '# output = "build"  # a folder; each target becomes a folder in it',
        "",
        *_scheme_lines(scheme),
        "",
        "# The names of the classes, from class 0 on: a list, or a text file with one a line.",
        '# labels = ["cat", "dog"]',
        '# labels = "labels.txt"',
        "",
        "# Other names for the outputs than the model's own.",
        f"# output_names = {{ {_toml(outputs[0].name)} = {_toml('scores')} }}",
        "",
        "# Which signature of a SavedModel that has several.",
        _setting(signature_key is not None, "signature_key", signature_key or "serving_default"),
        "# Whether to run the Python code of a Keras Lambda layer: only for a file that you trust.",
        f"{'' if allow_lambda else '# '}allow_lambda = true",
        "",
        "[input]",
        *_input_lines(inputs, image, shapes or {}),
        "",
        "[calibration]",
        *_calibration_lines(image is not None, scheme),
        "",
        "[evaluation]",
        "# Data that was not used for training or calibration, in the same forms. Its classes come",
        "# from an array `labels` in the .npz, from sub-folders, or from a CSV of file,class.",
        f"# data = {_toml('images/test' if image else 'test.npz')}",
        *(['# labels = "test.csv"'] if image else []),
        "# The build fails when the integer model is worse than this:",
        "# min_accuracy = 90.0  # percent of right answers",
        "# max_accuracy_drop = 1.0  # points of percent, compared with the float model",
        "# min_sqnr = 20.0  # dB, signal to quantization noise of each output",
        "",
        "[limits]",
        "# What `edgeq check` fails on: a number, or growth over a file that --update writes.",
        '# baseline = "baseline.json"',
        '# instructions = "+1%"',
        '# flash = "+1KB"',
    ]
    return "\n".join(lines) + "\n"


def _scheme_lines(scheme: str | None) -> list[str]:
    if scheme is not None:
        return [f"# The model is quantized already ({scheme}), so it is built as it is."]
    return [
        "# int8 is full integer. Also: int16x8 (finer activations, slower), and, where floats can",
        "# run, dynamic, float16, float32.",
        '# scheme = "int8"',
    ]


def _setting(is_set: bool, key: str, value: str) -> str:
    return f"{'' if is_set else '# '}{key} = {_toml(value)}"


def _input_lines(
    inputs: Sequence[Port],
    image: tuple[int, int, int] | None,
    fixed: Mapping[str, Sequence[int]],
) -> list[str]:
    lines = []
    if image:
        height, width, channels = image
        lines += [
            f"# The input looks like an image of {height} x {width}. For data that is a folder of",
            "# images, say how pixels become numbers, as the network was trained: the range that 0",
            '# to 255 is mapped to, or "MEAN,STD" of value = (pixel - mean) / std.',
            '# image_scaling = "0..1"  # or "-1..1", "0..255", "127.5,64"',
            f"# image_size = [{height}, {width}]  # height, width",
            f"# image_channels = {channels}  # {'grey' if channels == 1 else 'RGB'}",
        ]
    shown = fixed or {p.name: p.tensor.shape for p in inputs}
    shapes = ", ".join(f"{_toml(name)} = {list(shape)}" for name, shape in shown.items())
    return [
        *lines,
        "# Only for a model with dynamic dimensions: the shapes to build it with, batch first.",
        f"{'' if fixed else '# '}shapes = {{ {shapes} }}",
    ]


def _calibration_lines(image: bool, scheme: str | None) -> list[str]:
    if scheme is not None:
        return ["# Nothing to calibrate: the model is quantized already."]
    return [
        "# Real samples, from which the ranges of the activations are learnt; int8 and int16x8",
        "# need them. An .npz (arrays by input name), an .npy, a folder of images, or a Python",
        "# file whose representative_dataset() yields one list of arrays a sample.",
        f"# data = {_toml('images/calibration' if image else 'calibration.npz')}",
        '# data = "calibration.py"',
        "# samples = 200  # at most; 100 to 200 are enough",
        '# method = "auto"  # or minmax, percentile, percentile-99.9, mse, entropy',
    ]


def _image_shape(inputs: Sequence[Port]) -> tuple[int, int, int] | None:
    """(height, width, channels) when the only input is what a picture would fill."""
    if len(inputs) != 1 or len(inputs[0].tensor.shape) != 4:
        return None
    _, height, width, channels = inputs[0].tensor.shape
    if min(height, width) < _SMALLEST_IMAGE or channels not in (1, 3):
        return None
    return height, width, channels


def _describe(side: str, port: Port) -> str:
    return f"{side} {_toml(port.name)}: {port.tensor.dtype} {list(port.tensor.shape)}"


def _toml(text: str) -> str:
    """`text` as a TOML string: JSON's escapes are TOML's, and nothing in it can end the line."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
