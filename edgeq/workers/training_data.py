"""Training sets: arrays of an .npz, or what a function of a person's own Python file returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.array_files import half_of_memory, npz_headers, read_npz
from edgeq.errors import DataError
from edgeq.workers.data_file import DataFile

TARGETS = ("labels", "y", "targets")
"""What the array of an .npz may be called that holds what the network has to learn."""

_HINT = "return (x, y), two arrays with one row for each sample, or a tf.data.Dataset of such pairs"


@dataclass(frozen=True)
class Arrays:
    """A training set: one array for each input of the model, and what it has to answer."""

    inputs: tuple[NDArray[Any], ...]
    targets: NDArray[Any]

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (*self.inputs, self.targets):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load(path: str, function: str | None, inputs: Sequence[Any]) -> Arrays:
    """The training set for a Keras model with these `inputs`.

    Raises DataError when it cannot be read or does not fit them.
    """
    source = Path(path)
    names = [t.name for t in inputs]
    if source.suffix == ".npz":
        found, targets = _of_npz(source, names)
    else:
        value = DataFile(path, [function or "dataset"]).value()
        found, targets = _of_value(value, source.name, names, [len(t.shape) for t in inputs])
    arrays = tuple(_fitting(a, t, source.name) for a, t in zip(found, inputs, strict=True))
    targets = np.asarray(targets)
    if targets.dtype.kind not in "biuf":
        raise DataError(
            f"{source.name}: what is to be learnt is {targets.dtype}",
            hint="give whole numbers for classes, or float32",
        )
    counts = {len(a) for a in arrays} | {len(targets) if targets.ndim else 0}
    if len(counts) != 1:
        raise DataError(
            f"{source.name}: {' and '.join(str(len(a)) for a in arrays)} samples, but "
            f"{len(targets) if targets.ndim else 0} of what is to be learnt",
            hint="one row of each for each sample",
        )
    if len(targets) < 10:
        raise DataError(f"{source.name}: {len(targets)} samples", hint="give hundreds at least")
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise DataError(f"{source.name}: what is to be learnt has NaN or infinity in it")
    return Arrays(arrays, targets)


def _of_npz(path: Path, names: list[str]) -> tuple[list[Any], Any]:
    held = npz_headers(path)
    key = next((t for t in TARGETS if t in held), None)
    if key is None:
        raise DataError(
            f"{path.name}: has {', '.join(held) or 'nothing'}, but no `labels` to learn",
            hint="np.savez(path, x=x, labels=classes), or targets=numbers for regression",
        )
    others = [n for n in held if n not in TARGETS]
    wanted = others if len(names) == 1 and len(others) == 1 else names
    missing = [n for n in wanted if n not in held]
    if missing:
        raise DataError(
            f"{path.name}: no array {missing[0]!r}, which is an input of the model",
            hint=f"it has {', '.join(others) or 'labels only'}; name arrays as the inputs: "
            + ", ".join(names),
        )
    arrays = read_npz(path, [*wanted, key], half_of_memory())
    return [arrays[n] for n in wanted], arrays[key]


def _of_value(value: Any, source: str, names: list[str], ranks: list[int]) -> tuple[list[Any], Any]:
    if isinstance(value, tf.data.Dataset):
        value = _collected(value, source, ranks)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        kind = type(value).__name__
        if isinstance(value, (tuple, list)):
            kind += f" of {len(value)}"
        raise DataError(f"{source}: the function returned a {kind}", hint=_HINT)
    x, y = value
    if isinstance(x, Mapping):
        missing = [n for n in names if n not in x]
        if missing:
            raise DataError(
                f"{source}: nothing for input {missing[0]!r}", hint=f"it gives {', '.join(x)}"
            )
        x = [x[n] for n in names]
    elif not isinstance(x, (tuple, list)):
        x = [x]
    if len(x) != len(names):
        raise DataError(
            f"{source}: {len(x)} arrays for the model's {len(names)} inputs",
            hint=f"one for each of {', '.join(names)}",
        )
    return list(x), y


def _collected(dataset: Any, source: str, ranks: list[int]) -> tuple[Any, Any]:
    """All of a tf.data.Dataset in memory, whether it yields samples or batches."""
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise DataError(f"{source}: the tf.data.Dataset does not yield pairs", hint=_HINT)
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise DataError(
            f"{source}: the tf.data.Dataset has no end", hint="leave repeat() out, or take(n)"
        )
    leaves = tf.nest.flatten(spec[0])
    batched = leaves[0].shape.rank == ranks[0]
    rows: list[list[Any]] = []
    size = 0
    for element in dataset:
        arrays = [np.asarray(t) for t in tf.nest.flatten(element)]
        size += sum(a.nbytes for a in arrays)
        if size > half_of_memory():
            raise DataError(
                f"{source}: the tf.data.Dataset takes more than half of this computer's memory",
                hint="take(n) fewer samples",
            )
        rows.append(arrays)
    if not rows:
        raise DataError(f"{source}: the tf.data.Dataset is empty")
    joined = [
        (np.concatenate if batched else np.stack)(column) for column in zip(*rows, strict=True)
    ]
    packed = tf.nest.pack_sequence_as(spec[0], joined[: len(leaves)])
    return packed, joined[len(leaves)]


def _fitting(value: Any, tensor: Any, source: str) -> NDArray[Any]:
    array = np.asarray(value)
    wanted = tuple(tensor.shape[1:])
    fits = array.ndim == len(wanted) + 1 and all(
        w is None or w == n for w, n in zip(wanted, array.shape[1:], strict=True)
    )
    if array.dtype.kind not in "biuf" or not fits:
        shown = ", ".join("?" if n is None else str(n) for n in wanted)
        hint = f"give one of shape (samples, {shown})"
        if wanted and wanted[-1] == 1 and array.shape[1:] == wanted[:-1]:
            hint += ": x[..., None] adds the last axis"
        raise DataError(
            f"{source}: input {tensor.name!r} gets {array.dtype} {list(array.shape)}", hint=hint
        )
    array = array.astype(np.dtype(tensor.dtype))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(
            f"{source}: input {tensor.name!r} has NaN or infinity in it",
            hint="leave those samples out, or fill them in",
        )
    return array
