"""Calibration and evaluation data: .npy, .npz, a folder of images, or a Python file.

Every source becomes a `Samples`: numbered, read one at a time, never all in memory (an .npy is
mapped, images are decoded when asked for, what a Python file yields is spooled to disk; only an
.npz is unpacked).
"""

from __future__ import annotations

import math
import mmap
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgeq.array_files import (
    Header,
    half_of_memory,
    map_npy,
    npz_headers,
    read_npz,
    refuse_other_than_numbers,
)
from edgeq.documents import printable
from edgeq.errors import DataError, UsageError, WorkerCrash, WorkerTimeout
from edgeq.graph import Port
from edgeq.images import ImageOptions, find_images, image_classes, image_shape, read_image
from edgeq.isolation import Worker

Arrays = tuple[NDArray[Any], ...]

LABELS = ("labels", "y")
"""What the array of an .npz may be called that holds the class of each sample."""

MAX_YIELDED = 100_000
MAX_SPOOLED_BYTES = 8 * 1024**3

SPREAD = 5
"""A generator is read to this many times the samples asked for: data may be sorted by class."""

OPEN_LIMIT = 300.0
"""Seconds that a Python file may take to run, up to its generator."""

YIELD_LIMIT = 120.0
"""Seconds that it may take for one sample; the first often loads all of them."""

FUNCTIONS = ("representative_dataset", "get_calibration_data")


@dataclass(frozen=True)
class Samples:
    """`get(i)` gives sample i: one array for each input of the model, in its order, with batch 1.

    The arrays are as they were found (any dtype, any shape); calibration.lint judges them.
    `labels` holds the class number of each sample, where known; `describe(i)` names sample i as
    its owner knows it, however the samples were picked. `unread` says that the source had more.
    `guessed` are classes' names that were numbered by the alphabet, for want of anything better.
    """

    source: str
    count: int
    get: Callable[[int], Arrays]
    labels: NDArray[np.int64] | None = None
    describe: Callable[[int], str] = "sample {}".format
    unread: bool = False
    guessed: tuple[str, ...] = ()

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
            self.unread,
            self.guessed,
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
    names: Sequence[str] = (),
    asked: int | None = None,
) -> Samples:
    """Samples for a model with these `inputs`, from a path or from arrays in memory.

    A path is an .npy (one input), an .npz (arrays by input name, and `labels`), a folder of
    images (`images` says how to scale them, `labels` is a CSV of file,class, `names` are those of
    the classes in the model's order), or `file.py` or
    `file.py:function`, whose function yields arrays, lists or dictionaries. In memory: an array,
    arrays by input name, or samples one by one (a list, a generator, or a function that gives one).

    `asked` says how many samples are of use, None all of them. What yields is read to SPREAD times
    that, since it may have no end.

    Raises DataError when it cannot be read, is empty, or does not fit the inputs' names.
    """
    if isinstance(source, Samples):
        return source
    samples = _open(source, inputs, images, labels, names, asked)
    if not len(samples):
        raise DataError(f"{samples.source}: no samples in it", hint="give 100 to 200")
    return samples


def _open(
    source: Any,
    inputs: Sequence[Port],
    images: ImageOptions | None,
    labels: str | Path | None,
    names: Sequence[str],
    asked: int | None,
) -> Samples:
    if isinstance(source, np.ndarray):
        return _from_arrays("array", {_only(inputs, "an array").name: source}, inputs)
    if isinstance(source, Mapping):
        return _from_arrays("arrays", {k: _array(v, k) for k, v in source.items()}, inputs)
    if callable(source):
        return _spool("the function's samples", source(), inputs, asked)
    if not isinstance(source, str | Path):
        return _spool("the given samples", source, inputs, asked)
    path, function = _split_function(str(source))
    try:
        found = path.stat()
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        if isinstance(e, FileNotFoundError):
            reason = "no such file or folder"
        raise DataError(f"{printable(path)}: {reason}", hint="check the path to the data") from e
    if stat.S_ISDIR(found.st_mode):
        return _from_images(path, _only(inputs, "a folder of images"), images, labels, names)
    if labels is not None:
        raise UsageError(
            "--labels-csv goes with a folder of images",
            hint="in an .npz, add the classes as an array named 'labels'",
        )
    if path.suffix == ".npy":
        port = _only(inputs, "an .npy")
        return _from_arrays(printable(path.name), {port.name: map_npy(path)}, inputs)
    if path.suffix == ".npz":
        return _from_npz(path, inputs)
    if path.suffix == ".py":
        return _from_function(path, function, inputs, asked)
    raise DataError(
        f"{printable(path.name)}: no data that edgeq reads",
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


def _array(value: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as e:
        raise DataError(f"array {name!r}: {e}", hint="its rows are of different shapes") from e


def _from_npz(path: Path, inputs: Sequence[Port]) -> Samples:
    source, headers = printable(path.name), npz_headers(path)
    wanted = _columns(source, headers, inputs)
    for port, name in zip(inputs, wanted, strict=True):
        _refuse_other_rows(source, name, headers[name], port)
    labels = _labels_in(headers, inputs)
    names = [*wanted, *([labels] if labels else [])]
    return _from_arrays(source, read_npz(path, names, half_of_memory()), inputs)


def _refuse_other_rows(source: str, name: str, header: Header, port: Port) -> None:
    """Before anything is unpacked: a row that can be no sample, however it is turned."""
    refuse_other_than_numbers(source, f"array {name!r}", header.dtype)
    if header.shape and math.prod(header.shape[1:]) != port.tensor.elements:
        raise DataError(
            f"{source}, sample 0, input {port.name!r}: shape {header.shape[1:]}, the model takes "
            f"{port.tensor.shape}",
            hint="give one sample a row, without a batch dimension",
        )


def _labels_in(arrays: Mapping[str, Any], inputs: Sequence[Port]) -> str | None:
    """The name of the array that holds labels; what an input is called holds none."""
    names = [p.name for p in inputs]
    return next((n for n in LABELS if n in arrays and n not in names), None)


def _columns(source: str, arrays: Mapping[str, Any], inputs: Sequence[Port]) -> list[str]:
    """The name of the array for each of `inputs`; a single one may have any."""
    names = [p.name for p in inputs]
    found = [n for n in arrays if n != _labels_in(arrays, inputs)]
    if len(names) == len(found) == 1:
        return found
    missing = [n for n in names if n not in found]
    if missing:
        raise DataError(
            f"{source}: no array for input {missing[0]!r} (it has: "
            f"{', '.join(sorted(arrays)) or 'none'})",
            hint=f"name the arrays after the inputs: {', '.join(names)}",
        )
    return names


def _from_arrays(
    source: str, arrays: Mapping[str, NDArray[Any]], inputs: Sequence[Port]
) -> Samples:
    names = _columns(source, arrays, inputs)
    called = _labels_in(arrays, inputs)
    labels = arrays[called] if called else None
    rows = {n: arrays[n] for n in names} | ({called: arrays[called]} if called else {})
    for name, array in rows.items():
        refuse_other_than_numbers(source, f"array {name!r}", array.dtype)
        if not array.ndim:
            raise DataError(
                f"{source}: array {name!r} is a single number", hint="give one sample a row"
            )
    if len({len(array) for array in rows.values()}) != 1:
        raise DataError(
            f"{source}: arrays of different lengths: "
            + ", ".join(f"{n} {len(array)}" for n, array in rows.items()),
            hint="sample i is row i of every array",
        )
    columns = [arrays[n] for n in names]

    def get(i: int) -> Arrays:
        return tuple(_with_batch(_native(c[i]), p) for c, p in zip(columns, inputs, strict=True))

    return Samples(source, len(columns[0]), get, _classes(labels, source))


def _native(value: Any) -> NDArray[Any]:
    """`value` in this computer's byte order."""
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _classes(labels: NDArray[Any] | None, source: str) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] > 1 and _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    if math.prod(labels.shape[1:]) != 1:
        raise DataError(
            f"{source}: labels of shape {labels.shape} are not one class number a sample",
            hint="use 0, 1, 2, …, or one-hot rows",
        )
    values = labels.reshape(len(labels))
    # NaN is equal to nothing, and what is beyond 32 bits is no class.
    if np.iscomplexobj(values) or not np.all((values == np.trunc(values)) & (abs(values) < 2**31)):
        raise DataError(f"{source}: labels are not class numbers", hint="use 0, 1, 2, …")
    return values.astype(np.int64)


def _is_one_hot(labels: NDArray[Any]) -> bool:
    return bool(np.all(np.isin(labels, (0, 1))) and np.all(labels.sum(axis=1) == 1))


def _with_batch(value: NDArray[Any], port: Port) -> NDArray[Any]:
    """A sample without its batch dimension gets it; anything else is left for the lint."""
    shape = port.tensor.shape
    if value.shape == shape[1:] and shape[:1] == (1,):
        return value[np.newaxis]
    if value.shape + (1,) == shape[1:]:
        return value[np.newaxis, ..., np.newaxis]
    return value


# --- Images ------------------------------------------------------------------------------------


def _from_images(
    folder: Path,
    port: Port,
    options: ImageOptions | None,
    labels: str | Path | None,
    names: Sequence[str],
) -> Samples:
    if options is None:
        raise UsageError(
            f"{folder}: say how pixels become numbers",
            hint="--image-scaling 0..1 (or -1..1, 0..255, MEAN,STD), as the network was trained",
        )
    files, shape = find_images(folder), image_shape(port, options)

    def get(i: int) -> Arrays:
        return (read_image(files[i], shape, options),)

    def describe(i: int) -> str:
        return f"sample {i} ({printable(files[i].relative_to(folder))})"

    classes = image_classes(folder, files, labels, names)
    numbers, guessed = (classes.numbers, classes.guessed) if classes else (None, ())
    source = printable(folder.name)
    return Samples(source, len(files), get, numbers, describe, guessed=guessed)


# --- A Python file -----------------------------------------------------------------------------


def _split_function(source: str) -> tuple[Path, str | None]:
    match = re.fullmatch(r"(.+\.py):(\w+)", source)
    return (Path(match[1]), match[2]) if match else (Path(source), None)


def _from_function(
    path: Path, function: str | None, inputs: Sequence[Port], asked: int | None
) -> Samples:
    """In a child process, whose stdout goes to stderr; a folder that it changes to is its own."""
    functions = (function,) if function else FUNCTIONS
    arguments = (str(path.absolute()), functions)
    with Worker("edgeq.workers.data_file:DataFile", *arguments, quiet=False) as worker:
        return _spool(printable(path.name), _yields(worker, path), inputs, asked)


def _yields(worker: Worker, path: Path) -> Iterator[Any]:
    count, limit, late = 0, OPEN_LIMIT, "did not run to its generator"
    try:
        worker.call("open", time_limit=limit)
        limit, late = YIELD_LIMIT, "gave no next sample"
        while (value := worker.call("next", time_limit=limit)) is not None:
            yield value
            count += 1
    except WorkerTimeout as e:
        after = "1 sample" if count == 1 else f"{count} samples"
        raise DataError(
            f"{printable(path.name)}: {late} within {limit:g} s (after {after})",
            hint="an endless loop? else prepare the samples beforehand: np.savez('samples.npz', …)",
        ) from e
    except WorkerCrash as e:
        raise DataError(
            f"{printable(path.name)}: its process died after {count} samples: {e.message}",
            hint="run it by itself with python to see why",
        ) from e


def _spool(
    source: str, values: Iterable[Any], inputs: Sequence[Port], asked: int | None
) -> Samples:
    """What is yielded, kept in a mapped temporary file without a name."""
    most = MAX_YIELDED if asked is None else min(MAX_YIELDED, SPREAD * asked)
    places: list[list[tuple[int, np.dtype[Any], tuple[int, ...]]]] = []
    unread = False
    with tempfile.TemporaryFile() as file:
        for value in values:
            if len(places) == most or file.tell() > MAX_SPOOLED_BYTES:
                unread = True
                break
            entry = []
            for array in _yielded(value, inputs, f"{source}, sample {len(places)}"):
                entry.append((file.tell(), array.dtype, array.shape))
                _append(file, array, source)
            places.append(entry)
        file.flush()
        # The mapping outlives the file; an empty one cannot be mapped.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""
    if unread and asked is None:
        raise DataError(
            f"{source}: yields over {len(places)} samples",
            hint=f"end the loop, or give an .npy: at most {MAX_YIELDED} samples and "
            f"{MAX_SPOOLED_BYTES} bytes are kept",
        )

    def get(i: int) -> Arrays:
        return tuple(
            np.frombuffer(mapped, dtype, math.prod(shape), offset).reshape(shape)
            for offset, dtype, shape in places[i]
        )

    return Samples(source, len(places), get, unread=unread)


def _append(file: IO[bytes], array: NDArray[Any], source: str) -> None:
    try:
        file.write(array.tobytes())
    except OSError as e:
        raise DataError(
            f"{source}: the samples do not fit on the disk of {tempfile.gettempdir()}: "
            f"{e.strerror}",
            hint="free some, or set TMPDIR to a folder with more room",
        ) from e


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
    arrays = [_native(_array(v, p.name)) for v, p in zip(items, inputs, strict=True)]
    for array in arrays:
        refuse_other_than_numbers(where, "a sample", array.dtype)
    return tuple(_with_batch(a, p) for a, p in zip(arrays, inputs, strict=True))
