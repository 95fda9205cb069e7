"""The files that training reads, judged before TensorFlow is started."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import DataError, ModelError, UsageError

_MAGIC = {"keras": b"PK\x03\x04", "h5": b"\x89HDF\r\n\x1a\n"}
_FORMS = {".keras": "keras", ".h5": "h5", ".hdf5": "h5"}


@dataclass(frozen=True)
class KerasFile:
    """A Keras model's file; `form` is "keras" or "h5"."""

    path: Path
    form: str
    sha256: str


def keras_file(path: Path) -> KerasFile:
    """The file at `path`. Raises ModelError when it is none that can be trained."""
    if path.is_dir():
        raise ModelError(
            f"{path}: a folder; training needs a model with its layers",
            hint="save it with model.save('net.keras'), not export()",
        )
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: no regular file", hint="check the path")
    try:
        content = path.read_bytes()
    except OSError as e:
        raise ModelError(f"{path}: {e.strerror or e}", hint="check the path") from e
    form = _FORMS.get(path.suffix)
    if content[4:8] == b"TFL3" or path.suffix == ".tflite":
        raise ModelError(
            f"{path.name}: a .tflite has no layers that can be trained",
            hint="give the .keras file that it was made of",
        )
    if form is None or not content.startswith(_MAGIC[form]):
        raise ModelError(
            f"{path.name}: no Keras model (.keras or .h5)",
            hint="save it with model.save('net.keras')",
        )
    return KerasFile(path, form, hashlib.sha256(content).hexdigest())


def data_file(text: str) -> tuple[Path, str | None]:
    """ "train.py:dataset" -> its path and function; an .npz has none. Raises DataError."""
    found = re.fullmatch(r"(.+\.py)(?::(\w+))?", text)
    path = Path(found[1] if found else text)
    if not found and path.suffix != ".npz":
        raise DataError(
            f"{text}: no training set that edgeq reads",
            hint="an .npz with inputs and `labels` (or `targets`), or train.py:dataset, a function "
            "that returns (x, y) or a tf.data.Dataset",
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint="check the path")
    return path, (found[2] or "dataset") if found else None


def output_file(text: str) -> Path:
    """Where a .keras file is to go. Raises UsageError when none can be written there."""
    path = Path(text)
    if path.suffix != ".keras":
        raise UsageError(f"-o {text}: a Keras model's name ends in .keras", hint=f"-o {text}.keras")
    if path.exists() and not path.is_file():
        raise UsageError(f"-o {text}: no regular file", hint="name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"-o {text}: there is no folder {path.parent}", hint=f"mkdir -p {path.parent}"
        )
    return path
