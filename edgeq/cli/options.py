"""Options that several commands have in common, and how they meet edgeq.toml: the command line
wins over the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeq.errors import UsageError
from edgeq.images import ImageOptions, parse_scaling
from edgeq.pipeline import EVALUATION_SAMPLES, Data, Opening
from edgeq.project import Project, find_project, load_project
from edgeq.repairs import DEFAULT, repairs_named

F = TypeVar("F", bound=Callable[..., Any])


def model_options(function: F) -> F:
    """How the model is opened."""
    for option in reversed(
        (
            click.option("--name", help="Name of bundles and C arrays (default: the file's)."),
            click.option(
                "--input-shape",
                "input_shapes",
                multiple=True,
                metavar="NAME=1,H,W,C",
                help="Fix a dynamic input shape, batch included. May be repeated.",
            ),
            click.option("--signature-key", help="Which signature of a SavedModel to use."),
            click.option(
                "--allow-lambda",
                is_flag=True,
                help="Run the Python code of Lambda layers in the model file. Only for files "
                "that you trust.",
            ),
        )
    ):
        function = option(function)
    return function


def repair_options(function: F) -> F:
    """Which repairs the converter may make."""
    for option in reversed(
        (
            click.option(
                "--repair",
                "repairs",
                multiple=True,
                metavar="NAME",
                help="Make only this repair to what does not quantize; 'default' stands for all "
                "that need not be asked for. May be repeated.",
            ),
            click.option("--no-repair", is_flag=True, help="Make no repair."),
        )
    ):
        function = option(function)
    return function


project_option = click.option(
    "--project",
    "project_file",
    metavar="FILE",
    help="Read this file in place of the nearest edgeq.toml.",
)


def data_options(function: F) -> F:
    """How samples are found and read."""
    for option in reversed(
        (
            click.option(
                "--calibration-data",
                metavar="PATH",
                help="Real samples to learn ranges from: .npy, .npz, a folder of images, or "
                "file.py with representative_dataset().",
            ),
            click.option(
                "--calibration-samples",
                type=int,
                metavar="N",
                help="Use at most N of them, evenly spread (default 200).",
            ),
            click.option(
                "--calibration",
                "calibration_method",
                metavar="METHOD",
                help="Ranges for int8 and int16x8: auto (default) keeps the best on held-out "
                "samples of minmax, percentile, percentile-99.9, mse, entropy.",
            ),
            click.option(
                "--labels-csv",
                metavar="FILE",
                help="Rows of file,class for a folder of images.",
            ),
            click.option(
                "--image-scaling",
                metavar="RANGE",
                help="How pixels become numbers: 0..1, -1..1, 0..255 or MEAN,STD.",
            ),
            click.option("--image-size", metavar="HxW", help="Default: the model's input."),
            click.option(
                "--image-channels", type=click.Choice(["1", "3"]), help="1 grey, 3 colour."
            ),
        )
    ):
        function = option(function)
    return function


def board_options(function: F) -> F:
    """Where a board is, and where what is built for it goes."""
    for option in reversed(
        (
            click.option(
                "--sim", is_flag=True, help="In the target's emulator (QEMU): counts instructions."
            ),
            click.option(
                "--port", metavar="URL", help="On the board at this port: /dev/ttyACM0, COM7, auto."
            ),
            click.option(
                "--baud",
                type=click.IntRange(1),
                metavar="N",
                help="Bits a second of that port (default 115200).",
            ),
            click.option("--trace", is_flag=True, help="Show the board's lines with their times."),
            click.option("--engine", help="With --target: which of its engines runs the model."),
            click.option(
                "-o", "--output", metavar="DIR", help="With --target: keep the bundles in DIR."
            ),
        )
    ):
        function = option(function)
    return function


def device_options(function: F) -> F:
    """How a phone or a Pi is to be used."""
    for option in reversed(
        (
            click.option(
                "--cores", metavar="CORES", help="On a phone or Pi: big, little, or a mask in hex."
            ),
            click.option(
                "--keep", is_flag=True, help="On a phone or Pi: leave the files there afterwards."
            ),
            click.option(
                "--offline-wheels",
                is_flag=True,
                help="For a Pi without internet: fetch its Python packages here.",
            ),
            click.option(
                "--litert-lib",
                metavar="FILE",
                help="For a phone: your own Android build of libLiteRt.so.",
            ),
        )
    ):
        function = option(function)
    return function


DEVICE_HELP = (
    "On it: adb:SERIAL, adb:auto, ssh:pi@HOST, console:PORT, serial:PORT, sim, local, or a name "
    "of [devices]."
)


@dataclass(frozen=True)
class Request:
    """What is asked for, from the command line and the project file together."""

    source: Path
    opening: Opening
    data: Data
    project: Project | None

    @property
    def files(self) -> list[Any]:
        """The files and folders that are read, None among them."""
        data = self.data
        project = self.project.source if self.project else None
        return [self.source, project, data.calibration, data.evaluation, data.labels_csv]


def gather(
    model: str | None,
    *,
    name: str | None,
    input_shapes: Sequence[str],
    signature_key: str | None,
    allow_lambda: bool,
    repairs: Sequence[str],
    no_repair: bool,
    calibration_data: str | None,
    calibration_samples: int | None,
    calibration_method: str | None,
    labels_csv: str | None,
    image_scaling: str | None,
    image_size: str | None,
    image_channels: str | None,
    project_file: str | None,
    evaluation: str | None = None,
    evaluation_samples: int | None = EVALUATION_SAMPLES,
) -> Request:
    """One Request. Without a `model`, `project_file` or the nearest edgeq.toml, in this folder or
    above, is read."""
    _refuse_empty(
        {
            "MODEL": model,
            "--project": project_file,
            "--calibration-data": calibration_data,
            "--calibration": calibration_method,
            "the evaluation data": evaluation,
            "--labels-csv": labels_csv,
            "--image-scaling": image_scaling,
            "--image-size": image_size,
        }
    )
    if model is not None and project_file is not None:
        raise UsageError("MODEL and --project exclude each other", hint="give one of them")
    project = None if model is not None else _project(project_file)
    source = Path(model) if model is not None else None
    if project is not None:
        source = project.model
    assert source is not None
    opening = Opening(
        name=name or (project.name if project else None),
        signature_key=signature_key or (project.signature_key if project else None),
        input_shapes={
            **(project.input.shapes if project else {}),
            **dict(parse_shape(text) for text in input_shapes),
        },
        output_names=project.output_names if project else (),
        allow_lambda=allow_lambda or bool(project and project.allow_lambda),
        repairs=_repairs(repairs, no_repair),
    )
    data = Data(
        calibration=calibration_data or (project.calibration.data if project else None),
        calibration_samples=_first(
            calibration_samples, project and project.calibration.samples, Data.calibration_samples
        ),
        calibration_method=calibration_method or (project.calibration.method if project else None),
        evaluation=evaluation or (project.evaluation.data if project else None),
        evaluation_samples=evaluation_samples,
        images=_images(image_scaling, image_size, image_channels, project),
        labels_csv=labels_csv or (project.evaluation.labels if project else None),
        class_names=project.labels if project else (),
    )
    return Request(source, opening, data, project)


def _repairs(names: Sequence[str], none: bool) -> frozenset[str]:
    if names and none:
        raise UsageError("--repair and --no-repair exclude each other", hint="give one of them")
    return frozenset() if none else repairs_named(names or (DEFAULT,))


def _refuse_empty(values: dict[str, str | None]) -> None:
    """An option that is there but empty would pass for one that is not there."""
    for name, value in values.items():
        if value == "":
            raise UsageError(f"{name} is empty", hint="is a variable of the shell not set?")


def _project(file: str | None) -> Project:
    path = Path(file) if file is not None else find_project(Path.cwd())
    if path is None:
        raise UsageError(
            "no MODEL given, and no edgeq.toml in this folder or above",
            hint="name a model file, or write a project file: edgeq init MODEL",
        )
    return load_project(path)


def _first(*values: Any) -> Any:
    return next(v for v in values if v is not None)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """ "image=1,28,28,1" -> ("image", (1, 28, 28, 1))."""
    name, equals, sizes = text.rpartition("=")
    shape: tuple[int, ...] = ()
    if re.fullmatch(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*", sizes):
        shape = tuple(int(s) for s in sizes.split(","))
    if not equals or not name or not shape:
        raise UsageError(
            f"--input-shape {text!r} is not understood",
            hint="write NAME=1,224,224,3 with the batch of 1 first",
        )
    return name, shape


def _images(
    scaling: str | None, size: str | None, channels: str | None, project: Project | None
) -> ImageOptions | None:
    settings = project.input if project else None
    scaling = scaling or (settings.image_scaling if settings else None)
    if scaling is None:
        if size or channels:
            raise UsageError(
                "--image-size and --image-channels go with --image-scaling",
                hint="say how pixels become numbers: --image-scaling 0..1",
            )
        return None
    mean, std = parse_scaling(scaling)
    return ImageOptions(
        mean=mean,
        std=std,
        size=_size(size) if size else (settings.image_size if settings else None),
        channels=int(channels) if channels else (settings.image_channels if settings else None),
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if not found:
        raise UsageError(f"--image-size {text!r} is not understood", hint="write 96x96")
    return int(found[1]), int(found[2])
