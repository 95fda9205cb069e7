"""What kind of model a path is, told before anything is opened that could hold code."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgeq.documents import printable
from edgeq.errors import ModelError
from edgeq.pytorch_files import check_exported, factory_of, is_exported, refusal

MAX_MODEL_BYTES = 2 * 1024**3

FORMATS = {
    "keras": ".keras",
    "h5": ".h5",
    "saved_model": "SavedModel folder",
    "tflite": ".tflite",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "pytorch": "net.py:make",
}
"""Name of the format -> what its files are called."""


def format_of(path: Path) -> str:
    """Which of FORMATS `path` is, by its content and its name. Raises ModelError."""
    factory = factory_of(path)
    if factory is not None:
        if not factory[0].is_file():
            raise ModelError(f"{printable(factory[0])}: no such file", hint="check the path")
        return "pytorch"
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model"
        if (path / "model.tflite").is_file():
            raise ModelError(
                f"{path}: a finished bundle, no model", hint=f"open {path / 'model.tflite'}"
            )
        raise ModelError(f"{path}: a folder without saved_model.pb is no SavedModel")
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: neither a file nor a folder", hint="check the path")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as e:
        raise ModelError(f"{path}: {e.strerror or e}", hint="check the path") from e
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"PK\x03\x04":
        if path.suffix in (".pt2", ".pt", ".pth"):
            if is_exported(path):
                check_exported(path)
                return _agreeing(path, "pt2", (".pt2",))
            raise ModelError(
                f"{path.name}: a zip file, but no program that torch.export.save() wrote",
                hint="torch.export.save(torch.export.export(model.eval(), (example,)), file)",
            )
        return _agreeing(path, "keras", (".keras",))
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return _agreeing(path, "h5", (".h5", ".hdf5"))
    if path.suffix == ".onnx":
        return "onnx"
    if path.suffix in (".pt", ".pth") or (path.suffix == ".pt2" and head[:2] == b"\x80\x02"):
        raise refusal(path)
    if path.suffix == ".py":
        raise ModelError(
            f"{path.name}: a Python file: which function makes the model?",
            hint=f"{path}:make, where make() returns a PyTorch module and an example input",
        )
    if path.suffix == ".tflite":
        raise ModelError(
            f"{path.name}: not a .tflite file (bytes 4 to 7 are {head[4:8]!r}, not b'TFL3')",
            hint="the file is damaged, or a text page was downloaded in its place",
        )
    raise ModelError(
        f"{path.name}: no model file that edgeq knows (it begins with {head[:8]!r})",
        hint=f"edgeq opens: {', '.join(FORMATS.values())}",
    )


def _agreeing(path: Path, form: str, suffixes: tuple[str, ...]) -> str:
    """`form`, when the name says so too: Keras goes by the name, and must read what was checked."""
    if path.suffix in suffixes:
        return form
    raise ModelError(
        f"{path.name}: its content is that of a {suffixes[0]} file, its name says otherwise",
        hint=f"if you trust it, rename it: {path.stem}{suffixes[0]}",
    )


def read(path: Path) -> bytes:
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise ModelError(f"{path.name}: over 2 GB, too large for a device")
    return path.read_bytes()


def sha256_of(path: Path) -> str:
    """Of the file, or of a folder's relative paths and contents."""
    digest = hashlib.sha256()
    factory = factory_of(path)
    path = factory[0] if factory else path
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(os.fsencode(file.relative_to(path).as_posix()) + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    else:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
