"""Calibration and evaluation data: .npy, .npz, a folder of images, or a Python file.

Every source becomes a `Samples`: numbered, read one at a time, never all in memory (an .npy is
mapped, images are decoded when asked for, what a Python file yields is spooled to disk).
"""

from __future__ import annotations

import csv
import math
import mmap
import re
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError, UsageError
from edgeq.graph import Port

Arrays = tuple[NDArray[Any], ...]

LABELS = ("labels", "y")
"""What the array of an .npz may be called that holds the class of each sample."""

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_IMAGE_PIXELS = 100_000_000
MAX_YIELDED = 100_000
FUNCTIONS = ("representative_dataset", "get_calibration_data")


@dataclass(frozen=True)
class ImageOptions:
    """How pixels become numbers: value = (pixel - mean) / std, pixels being 0 to 255.

    `size` is (height, width), `channels` 1 or 3; both default to what the model's input says.
    """

    mean: float
    std: float
    size: tuple[int, int] | None = None
    channels: int | None = None


@dataclass(frozen=True)
class Samples:
    """`get(i)` gives sample i: one array for each input of the model, in its order, with batch 1.

    The arrays are as they were found (any dtype, any shape); calibration.lint judges them.
    `labels` holds the class number of each sample, where known; `describe(i)` names sample i as
    its owner knows it, however the samples were picked.
    """

    source: str
    count: int
    get: Callable[[int], Arrays]
    labels: NDArray[np.int64] | None = None
    describe: Callable[[int], str] = "sample {}".format

    def __len__(self) -> int:
        return self.count

    def pick(self, indexes: Sequence[int]) -> Samples:
        """The samples `indexes`, renumbered from 0."""
        return Samples(
            self.source,
            len(indexes),
            lambda i: self.get(indexes[i]),
            None if self.labels is None else self.labels[list(indexes)],
            lambda i: self.describe(indexes[i]),
        )

    def __iter__(self) -> Iterator[Arrays]:
        return (self.get(i) for i in range(self.count))


Source = (
    str
    | Path
    | Samples
    | NDArray[Any]
    | Mapping[str, NDArray[Any]]
    | Iterable[Any]
    | Callable[[], Any]
)


def open_samples(
    source: Source,
    inputs: Sequence[Port],
    *,
    images: ImageOptions | None = None,
    labels: str | Path | None = None,
) -> Samples:
    """Samples for a model with these `inputs`, from a path or from arrays in memory.

    A path is an .npy (one input), an .npz (arrays by input name, and `labels`), a folder of
    images (`images` says how to scale them, `labels` is a CSV of file,class), or `file.py` or
    `file.py:function`, whose function yields arrays, lists or dictionaries. In memory: an array,
    arrays by input name, or samples one by one (a list, a generator, or a function that gives one).

    Raises DataError when it cannot be read or does not fit the inputs' names.
    """
    if isinstance(source, Samples):
        return source
    if isinstance(source, np.ndarray):
        return _from_arrays("array", {_only(inputs, "an array").name: source}, inputs)
    if isinstance(source, Mapping):
        return _from_arrays("arrays", dict(source), inputs)
    if callable(source):
        return _spool("the function's samples", source(), inputs)
    if not isinstance(source, str | Path):
        return _spool("the given samples", source, inputs)
    path, function = _split_function(str(source))
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", hint="check the path to the data")
    if path.is_dir():
        return _from_images(path, _only(inputs, "a folder of images"), images, labels)
    if labels is not None:
        raise UsageError(
            "--labels-csv goes with a folder of images",
            hint="in an .npz, add the classes as an array named 'labels'",
        )
    if path.suffix == ".npy":
        return _from_arrays(path.name, {_only(inputs, "an .npy").name: _load(path)}, inputs)
    if path.suffix == ".npz":
        return _from_npz(path, inputs)
    if path.suffix == ".py":
        return _from_function(path, function, inputs)
    raise DataError(
        f"{path.name}: no data that edgeq reads",
        hint="it reads .npy, .npz, a folder of images, or file.py with representative_dataset()",
    )


def _only(inputs: Sequence[Port], what: str) -> Port:
    if len(inputs) != 1:
        raise DataError(
            f"{what} holds one input, the model has {len(inputs)}",
            hint=f"give an .npz with the arrays {', '.join(p.name for p in inputs)}",
        )
    return inputs[0]


# --- Arrays ------------------------------------------------------------------------------------


def _load(path: Path) -> Any:
    _refuse_special(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as e:
        raise _unreadable(path, e) from e


def _refuse_special(path: Path) -> None:
    """A pipe or a device would be waited for without end."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: no regular file", hint="save the data to a file")


def _unreadable(path: Path, error: Exception) -> DataError:
    if "pickle" in str(error) or "Python objects" in str(error):
        return DataError(
            f"{path.name}: holds pickled objects, which could run code",
            hint="save plain numbers: np.save(path, np.asarray(x, dtype=np.float32))",
        )
    return DataError(f"{path.name}: not a readable array file: {error}", hint="save it again")


def _from_npz(path: Path, inputs: Sequence[Port]) -> Samples:
    _refuse_special(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as e:  # zipfile, zlib and numpy each have errors of their own for damage
        if isinstance(e, MemoryError):
            raise
        raise _unreadable(path, e) from e
    return _from_arrays(path.name, arrays, inputs)


def _from_arrays(source: str, arrays: dict[str, NDArray[Any]], inputs: Sequence[Port]) -> Samples:
    names = [p.name for p in inputs]
    called = next((n for n in LABELS if n in arrays and n not in names), None)
    labels = arrays.pop(called) if called else None
    if len(inputs) == len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    missing = [n for n in names if n not in arrays]
    if missing:
        raise DataError(
            f"{source}: no array for input {missing[0]!r} (it has: {', '.join(sorted(arrays))})",
            hint=f"name the arrays after the inputs: {', '.join(names)}",
        )
    columns = [arrays[n] for n in names]
    counts = {len(c) if c.ndim else 0 for c in columns}
    if labels is not None:
        counts.add(len(labels))
    if len(counts) != 1:
        raise DataError(
            f"{source}: arrays of different lengths: "
            + ", ".join(f"{n} {len(arrays[n])}" for n in names)
            + (f", labels {len(labels)}" if labels is not None else ""),
            hint="sample i is row i of every array",
        )

    def get(i: int) -> Arrays:
        return tuple(_with_batch(np.asarray(c[i]), p) for c, p in zip(columns, inputs, strict=True))

    return Samples(source, counts.pop(), get, _classes(labels, source))


def _classes(labels: NDArray[Any] | None, source: str) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    if not np.issubdtype(labels.dtype, np.integer) and np.any(labels != np.round(labels)):
        raise DataError(f"{source}: labels are not class numbers", hint="use 0, 1, 2, …")
    return labels.reshape(len(labels)).astype(np.int64)


def _with_batch(value: NDArray[Any], port: Port) -> NDArray[Any]:
    """A sample without its batch dimension gets it; anything else is left for the lint."""
    shape = port.tensor.shape
    if value.shape == shape[1:] and shape[:1] == (1,):
        return value[np.newaxis]
    if value.shape + (1,) == shape[1:]:
        return value[np.newaxis, ..., np.newaxis]
    return value


# --- Images ------------------------------------------------------------------------------------


def parse_scaling(text: str) -> tuple[float, float]:
    """ "0..1", "-1..1", "0..255" or "MEAN,STD" -> (mean, std) of value = (pixel - mean) / std."""
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    if match := re.fullmatch(rf"{number}\.\.{number}", text):
        low, high = float(match[1]), float(match[2])
        if high > low:
            std = 255 / (high - low)
            return 0.0 - low * std, std
    elif match := re.fullmatch(rf"{number},{number}", text):
        mean, std = float(match[1]), float(match[2])
        if std > 0:
            return mean, std
    raise UsageError(
        f"image scaling {text!r} is not understood",
        hint="write the range that the network was trained on, as 0..1, -1..1 or 0..255, "
        "or MEAN,STD in pixel values",
    )


def _from_images(
    folder: Path, port: Port, options: ImageOptions | None, labels: str | Path | None
) -> Samples:
    if options is None:
        raise UsageError(
            f"{folder}: say how pixels become numbers",
            hint="--image-scaling 0..1 (or -1..1, 0..255, MEAN,STD), as the network was trained",
        )
    files = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    )
    if not files:
        raise DataError(
            f"{folder}: no images in it", hint=f"it reads {' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    size, channels = _image_shape(port, options)

    def get(i: int) -> Arrays:
        return (_decode(files[i], size, channels, options),)

    def describe(i: int) -> str:
        return f"sample {i} ({files[i].relative_to(folder)})"

    classes = _image_labels(folder, files, labels)
    return Samples(folder.name, len(files), get, classes, describe)


def _image_shape(port: Port, options: ImageOptions) -> tuple[tuple[int, int], int]:
    shape = port.tensor.shape
    if len(shape) != 4:
        raise DataError(
            f"images need an input of shape (1, height, width, channels), {port.name!r} has {shape}"
        )
    size = options.size or (shape[1], shape[2])
    channels = options.channels or shape[3]
    if channels not in (1, 3):
        raise DataError(
            f"an image has 1 or 3 channels, input {port.name!r} has {channels}",
            hint="give the data as .npy",
        )
    return size, channels


def _decode(
    path: Path, size: tuple[int, int], channels: int, options: ImageOptions
) -> NDArray[np.float32]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise DataError(f"{path.name}: over {MAX_IMAGE_PIXELS} pixels")
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path.name}: has more than 8 bits a pixel (mode {image.mode}), which "
                    "scaling from 0..255 would clip",
                    hint="give such data as .npy",
                )
            converted = image.convert("L" if channels == 1 else "RGB")
            if converted.size != (size[1], size[0]):
                converted = converted.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(converted, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise DataError(
            f"{path.name}: not a readable image: {e}", hint="remove or replace it"
        ) from e
    values = (pixels - np.float32(options.mean)) / np.float32(options.std)
    return values.reshape(1, size[0], size[1], channels).astype(np.float32)


def _image_labels(
    folder: Path, files: list[Path], table: str | Path | None
) -> NDArray[np.int64] | None:
    """Classes from a CSV of file,class, else from sub-folders when every image is in one."""
    if table is None:
        groups = [f.relative_to(folder).parts[0] for f in files if f.parent != folder]
        if len(groups) != len(files) or len(set(groups)) < 2:
            return None
        return _numbered(groups, str(folder))
    path = Path(table)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = {row[0].strip(): row[1].strip() for row in csv.reader(stream) if len(row) >= 2}
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{path}: not a readable CSV: {e}") from e
    classes = []
    for file in files:
        key = file.relative_to(folder).as_posix()
        value = rows.get(key, rows.get(file.name))
        if value is None:
            raise DataError(f"{path.name}: no class for {key}", hint="one row file,class an image")
        classes.append(value)
    return _numbered(classes, path.name)


def _numbered(classes: list[str], source: str) -> NDArray[np.int64]:
    """Class numbers where all are such, else numbers by alphabetical order of the names."""
    numbers = [c for c in classes if re.fullmatch(r"\d{1,9}", c)]
    if len(numbers) == len(classes):
        return np.array([int(c) for c in classes], np.int64)
    odd = [c for c in classes if re.fullmatch(r"[-+.\d]+", c)]
    if odd:
        raise DataError(
            f"{source}: the class {odd[0]!r} stands beside names, or is no class number",
            hint="write 0, 1, 2, … for all of them, or names for all of them",
        )
    order = sorted(set(classes))
    return np.array([order.index(c) for c in classes], np.int64)


# --- A Python file -----------------------------------------------------------------------------


def _split_function(source: str) -> tuple[Path, str | None]:
    match = re.fullmatch(r"(.+\.py):(\w+)", source)
    return (Path(match[1]), match[2]) if match else (Path(source), None)


def _from_function(path: Path, function: str | None, inputs: Sequence[Port]) -> Samples:
    """Runs the file as a script of its own folder would run; nothing is written beside it."""
    names = (function,) if function else FUNCTIONS
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        found = runpy.run_path(str(path), run_name=f"edgeq_data_{path.stem}")
        chosen = next((found[n] for n in names if callable(found.get(n))), None)
        if chosen is None:
            raise DataError(
                f"{path.name}: no function {' or '.join(f'{n}()' for n in names)}",
                hint="write a generator that yields one list of arrays a sample",
            )
        return _spool(path.name, chosen(), inputs)
    except DataError:
        raise
    except (Exception, SystemExit) as e:
        raise DataError(
            f"{path.name}: {type(e).__name__}: {e}", hint="the error is in this file's own code"
        ) from e
    finally:
        sys.path.pop(0)


def _spool(source: str, values: Iterable[Any], inputs: Sequence[Port]) -> Samples:
    """Everything that is yielded, kept in a mapped temporary file without a name."""
    places: list[list[tuple[int, np.dtype[Any], tuple[int, ...]]]] = []
    with tempfile.TemporaryFile() as file:
        for value in values:
            if len(places) == MAX_YIELDED:
                raise DataError(f"{source}: yields over {MAX_YIELDED} samples", hint="end the loop")
            entry = []
            for array in _yielded(value, inputs, f"{source}, sample {len(places)}"):
                entry.append((file.tell(), array.dtype, array.shape))
                file.write(array.tobytes())
            places.append(entry)
        file.flush()
        # The mapping outlives the file; an empty one cannot be mapped.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""

    def get(i: int) -> Arrays:
        return tuple(
            np.frombuffer(mapped, dtype, math.prod(shape), offset).reshape(shape)
            for offset, dtype, shape in places[i]
        )

    return Samples(source, len(places), get)


def _yielded(value: Any, inputs: Sequence[Port], where: str) -> Arrays:
    if isinstance(value, Mapping):
        missing = [p.name for p in inputs if p.name not in value]
        if missing:
            raise DataError(f"{where}: no value for input {missing[0]!r}")
        items = [value[p.name] for p in inputs]
    elif isinstance(value, list | tuple) and (len(value) == len(inputs) or len(inputs) > 1):
        items = list(value)
    else:
        items = [value]  # One input, not wrapped in a list.
    if len(items) != len(inputs):
        raise DataError(
            f"{where}: {len(items)} arrays for {len(inputs)} inputs",
            hint=f"yield them in this order: {', '.join(p.name for p in inputs)}",
        )
    arrays = [np.asarray(v) for v in items]
    if any(a.dtype == object for a in arrays):
        raise DataError(f"{where}: not an array of numbers")
    return tuple(_with_batch(a, p) for a, p in zip(arrays, inputs, strict=True))
