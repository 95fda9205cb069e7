"""A folder of images: which there are, their classes, and how pixels become numbers."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeq.documents import nearest, read_text
from edgeq.errors import DataError, UsageError
from edgeq.graph import Port

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 100_000_000

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow goes by content, and would give a PostScript file to Ghostscript."""


@dataclass(frozen=True)
class ImageOptions:
    """How pixels become numbers: value = (pixel - mean) / std, pixels being 0 to 255.

    `size` is (height, width), `channels` 1 or 3; both default to what the model's input says.
    """

    mean: float
    std: float
    size: tuple[int, int] | None = None
    channels: int | None = None


def parse_scaling(text: str) -> tuple[float, float]:
    """ "0..1", "-1..1", "0..255" or "MEAN,STD" -> (mean, std) of value = (pixel - mean) / std."""
    number = r"\s*(-?\d{1,30}(?:\.\d+)?)\s*"
    if match := re.fullmatch(rf"{number}\.\.{number}", text, re.ASCII):
        low, high = float(match[1]), float(match[2])
        if high > low:
            std = 255 / (high - low)
            return 0.0 - low * std, std
    elif match := re.fullmatch(rf"{number},{number}", text, re.ASCII):
        mean, std = float(match[1]), float(match[2])
        if std > 0:
            return mean, std
    raise UsageError(
        f"image scaling {text!r} is not understood",
        hint="write the range that the network was trained on, as 0..1, -1..1 or 0..255, "
        "or MEAN,STD in pixel values",
    )


def find_images(folder: Path) -> list[Path]:
    """The images in `folder` and below, in the order of their paths. Raises DataError for none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise DataError(f"{folder}: no images in it", hint=f"it reads {' '.join(sorted(SUFFIXES))}")
    return files


def image_shape(port: Port, options: ImageOptions) -> tuple[int, int, int]:
    """(height, width, channels) for the input `port`. Raises DataError when it takes no images."""
    shape = port.tensor.shape
    if len(shape) != 4:
        raise DataError(
            f"images need an input of shape (1, height, width, channels), {port.name!r} has {shape}"
        )
    height, width = shape[1:3]
    if options.size not in (None, (height, width)):
        assert options.size
        raise DataError(
            f"images of {options.size[0]}x{options.size[1]} do not fit input {port.name!r} of "
            f"shape {shape}",
            hint="leave --image-size out: it is the model's input by default",
        )
    channels = options.channels or shape[3]
    if channels not in (1, 3):
        raise DataError(
            f"an image has 1 or 3 channels, input {port.name!r} has {channels}",
            hint="give the data as .npy",
        )
    return height, width, channels


def read_image(
    path: Path, shape: tuple[int, int, int], options: ImageOptions
) -> NDArray[np.float32]:
    """The image as (1, height, width, channels), scaled. Raises DataError."""
    height, width, channels = shape
    pixels = _pixels(path, (width, height), "L" if channels == 1 else "RGB")
    values = (pixels - np.float32(options.mean)) / np.float32(options.std)
    return values.reshape(1, height, width, channels).astype(np.float32)


def _pixels(path: Path, size: tuple[int, int], mode: str) -> NDArray[np.float32]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of metadata, mostly; the pixels are what counts.
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{path.name}: {image.width}x{image.height}, over {MAX_PIXELS} pixels",
                        hint="scale it down, or remove it",
                    )
                if image.mode.startswith(("I", "F")):
                    raise DataError(
                        f"{path.name}: has more than 8 bits a pixel (mode {image.mode}), which "
                        "scaling from 0..255 would clip",
                        hint="give such data as .npy",
                    )
                converted = image.convert(mode)
                if converted.size != size:
                    converted = converted.resize(size, Image.Resampling.BILINEAR)
                return np.asarray(converted, np.float32)
    except DataError:
        raise
    except Exception as e:  # Pillow's readers each have errors of their own for damage
        raise DataError(
            f"{path.name}: not a readable image: {e}", hint="remove or replace it"
        ) from e


@dataclass(frozen=True)
class Classes:
    """The class number of each image, and what was taken for the classes' order.

    `guessed` are the names that the numbers come from when nothing says in which order the model
    has them: the alphabetical one.
    """

    numbers: NDArray[np.int64]
    guessed: tuple[str, ...] = ()


def image_classes(
    folder: Path, files: list[Path], table: str | Path | None, names: Sequence[str] = ()
) -> Classes | None:
    """Classes from a CSV of file,class, else from sub-folders when every image is in one.

    `names` are those of the model's classes in its own order, where known.
    """
    if table is None:
        groups = [f.relative_to(folder).parts[0] for f in files if f.parent != folder]
        if len(groups) != len(files) or len(set(groups)) < 2:
            return None
        return _numbered(groups, str(folder), names)
    path = Path(table)
    text = read_text(path, DataError).removeprefix("\ufeff")
    try:
        lines = csv.reader(io.StringIO(text))
        rows = {row[0].strip(): row[1].strip() for row in lines if len(row) >= 2}
    except csv.Error as e:
        raise DataError(f"{path}: not a readable CSV: {e}") from e
    classes = []
    for file in files:
        key = file.relative_to(folder).as_posix()
        value = rows.get(key, rows.get(file.name))
        if value is None:
            raise DataError(f"{path.name}: no class for {key}", hint="one row file,class an image")
        classes.append(value)
    return _numbered(classes, path.name, names)


def _numbered(classes: list[str], source: str, names: Sequence[str]) -> Classes:
    if names and set(classes) & set(names):
        return _named(classes, source, names)
    numbers = [c for c in classes if re.fullmatch(r"[0-9]{1,9}", c)]
    if len(numbers) == len(classes):
        return Classes(np.array([int(c) for c in classes], np.int64))
    odd = [c for c in classes if re.fullmatch(r"[-+.\d]+", c)]
    if odd:
        raise DataError(
            f"{source}: the class {odd[0]!r} stands beside names, or is no class number",
            hint="write 0, 1, 2, … for all of them, or names for all of them",
        )
    if names:
        return _named(classes, source, names)
    order = sorted(set(classes))
    numbered = {name: number for number, name in enumerate(order)}
    return Classes(np.array([numbered[c] for c in classes], np.int64), tuple(order))


def _named(classes: list[str], source: str, names: Sequence[str]) -> Classes:
    numbered = {name: number for number, name in enumerate(names)}
    unknown = next((c for c in classes if c not in numbered), None)
    if unknown is not None:
        guess = nearest(unknown, names)
        raise DataError(
            f"{source}: {unknown!r} is none of the model's labels",
            hint=f"did you mean {guess}?" if guess else f"they are {', '.join(names)}",
        )
    return Classes(np.array([numbered[c] for c in classes], np.int64))
