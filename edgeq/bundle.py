"""A bundle: the folder that edgeq build hands over, and all that a device session needs.

    manifest.json      what it is, what was proved, and the SHA-256 of every other file
    model.tflite       the converted model
    golden/            inputs as stored, and the exact outputs of the host's reference
    …                  what the target's family needs (edgeq.codegen)

docs/bundle.md describes the manifest key by key. It is written to a temporary folder beside its
place and renamed, so that an interrupted build leaves the old bundle or none.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.array_files import npz_headers, read_npz
from edgeq.documents import read_json, to_json
from edgeq.errors import BundleError, DataError
from edgeq.golden import Golden

SCHEMA = "edgeq.bundle"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MODEL = "model.tflite"
BASELINE = "baseline_float32.tflite"
FIRMWARE = "firmware/firmware.elf"
GOLDEN_INPUTS = "golden/inputs.npz"
GOLDEN_OUTPUTS = "golden/outputs.npz"
_MAX_GOLDEN_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, every file's SHA-256 checked. `manifest` is the parsed JSON."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def tflite(self) -> bytes:
        return (self.folder / MODEL).read_bytes()

    @property
    def baseline(self) -> bytes | None:
        """The float32 model of the same network, in bundles for computers that can run it."""
        path = self.folder / BASELINE
        return path.read_bytes() if path.exists() else None

    def golden(self) -> Golden:
        """The golden inputs and outputs. Raises BundleError when they do not fit together."""
        try:
            count = int(self.manifest["golden"]["count"])
            reference = str(self.manifest["golden"]["reference"])
            exact = bool(self.manifest["golden"]["exact"])
            tolerances = tuple(int(o["tolerance_steps"]) for o in self.manifest["outputs"])
        except (KeyError, TypeError, ValueError) as e:
            raise BundleError(
                f"{self.folder / MANIFEST}: incomplete: {e}", hint="build it again"
            ) from e
        inputs = _columns(self.folder / GOLDEN_INPUTS, "in")
        outputs = _columns(self.folder / GOLDEN_OUTPUTS, "out")
        if any(len(c) != count for c in inputs + outputs) or len(outputs) != len(tolerances):
            raise BundleError(
                f"{self.folder}: its golden vectors do not fit its manifest", hint="build it again"
            )
        return Golden(
            inputs=tuple(tuple(c[i] for c in inputs) for i in range(count)),
            outputs=tuple(tuple(c[i] for c in outputs) for i in range(count)),
            reference=reference,
            tolerance=tolerances,
            exact=exact,
        )


def is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def open_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`. Raises BundleError when it is damaged, changed or too new."""
    if not is_bundle(folder):
        raise BundleError(
            f"{folder}: no bundle (it has no {MANIFEST})", hint="edgeq build makes one"
        )
    manifest = read_json(folder / MANIFEST, BundleError)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise BundleError(f"{folder / MANIFEST}: not a manifest of edgeq's", hint="build it again")
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{folder}: manifest version {version}, this edgeq reads {SCHEMA_VERSION}",
            hint="build it again with this edgeq, or use the edgeq that built it",
        )
    files = manifest.get("files")
    wanted = ("name", "inputs", "outputs", "golden", "model")
    if not isinstance(files, dict) or any(key not in manifest for key in wanted):
        raise BundleError(f"{folder / MANIFEST}: incomplete", hint="build it again")
    for name, digest in files.items():
        _check_file(folder, str(name), digest)
    for name in (MODEL, GOLDEN_INPUTS, GOLDEN_OUTPUTS):
        if name not in files:
            raise BundleError(
                f"{folder / MANIFEST}: incomplete: does not list {name}", hint="build it again"
            )
    return Bundle(folder, manifest)


def _check_file(folder: Path, name: str, digest: Any) -> None:
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts or not parts:
        raise BundleError(f"{folder / MANIFEST}: lists {name!r}, outside of the bundle")
    try:
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: No such file", hint="build it again")
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    except (OSError, ValueError) as e:
        raise BundleError(f"{folder / name}: cannot be read: {e}", hint="build it again") from e
    if found != digest:
        raise BundleError(
            f"{folder / name} was changed after the build (its SHA-256 differs)",
            hint="build it again; a bundle is not meant to be edited",
        )


def write_bundle(
    folder: Path, manifest: Mapping[str, Any], files: Mapping[str, str | bytes]
) -> Bundle:
    """Write `files` and the manifest (with their SHA-256) as the bundle `folder`, or nothing.

    An earlier bundle in its place is replaced; any other non-empty folder is left alone.
    Raises BundleError when that is in the way or the disk refuses.
    """
    folder = folder.absolute()
    check_place(folder)
    contents = {name: t.encode() if isinstance(t, str) else t for name, t in files.items()}
    full = {
        **manifest,
        "files": {n: hashlib.sha256(contents[n]).hexdigest() for n in sorted(contents)},
    }
    contents[MANIFEST] = to_json(full).encode()
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)
        for name, content in contents.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _replace(folder, temporary)
    except OSError as e:
        raise _write_error(folder, e) from e
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return Bundle(folder, full)


def check_place(folder: Path) -> None:
    """Raise BundleError when a bundle at `folder` would delete anything edgeq did not write."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BundleError(f"{folder}: is in the way and no folder", hint="choose another -o")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    listed: set[str] | None = None
    try:
        manifest = read_json(folder / MANIFEST, BundleError)
        if manifest["schema"] == SCHEMA:
            listed = {MANIFEST, *map(str, manifest["files"])}
    except (BundleError, KeyError, TypeError):
        pass
    if listed is None:
        raise BundleError(
            f"{folder}: not empty, and no bundle of edgeq's, so it is left alone",
            hint="choose another -o, or remove it yourself",
        )
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    foreign = sorted(found - listed)
    if foreign:
        raise BundleError(
            f"{folder}: has files that are not the bundle's ({foreign[0]}"
            + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            + "), so it is left alone",
            hint="move them elsewhere, or choose another -o",
        )


def _replace(folder: Path, temporary: Path) -> None:
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / folder.name)
    try:
        os.rename(temporary, folder)
    except BaseException:
        os.rename(old / folder.name, folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_error(folder: Path, error: OSError) -> BundleError:
    if error.errno == errno.ENOSPC:
        return BundleError(
            f"{folder}: no space left on the disk; nothing was changed", hint="free some, or use -o"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BundleError(
            f"{folder}: cannot be written ({error.strerror})", hint="choose another folder with -o"
        )
    return BundleError(f"{folder}: cannot be written: {error.strerror or error}")


def golden_files(golden: Golden) -> dict[str, bytes]:
    """The golden vectors as two .npz files: in_0, in_1, …; out_0, …, samples first."""
    return {
        GOLDEN_INPUTS: _npz("in", golden.inputs),
        GOLDEN_OUTPUTS: _npz("out", golden.outputs),
    }


def _npz(prefix: str, rows: tuple[tuple[NDArray[Any], ...], ...]) -> bytes:
    """An .npz that has the same bytes whenever it is written."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, column in enumerate(zip(*rows, strict=True)):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.stack(column), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{prefix}_{i}.npy", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, array.getvalue(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _columns(path: Path, prefix: str) -> list[NDArray[Any]]:
    try:
        names = [f"{prefix}_{i}" for i in range(len(npz_headers(path)))]
        arrays = read_npz(path, names, _MAX_GOLDEN_BYTES)
    except (DataError, KeyError) as e:
        raise BundleError(f"{path}: not readable: {e}", hint="build the bundle again") from e
    return [arrays[name] for name in names]
