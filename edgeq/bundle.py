"""A bundle: the folder that edgeq build hands over, and all that a device session needs.

    manifest.json      what it is, what was proved, and the SHA-256 of every other file
    model.tflite       the converted model
    golden/            inputs as stored, and the exact outputs of the host's reference
    …                  what the target's family needs (edgeq.codegen)

docs/bundle.md describes the manifest key by key.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.array_files import npz_headers, read_npz
from edgeq.documents import read_json, to_json
from edgeq.errors import BundleError, DataError
from edgeq.folders import MANIFEST, SCHEMA, write_folders
from edgeq.golden import Golden

SCHEMA_VERSION = 1
MODEL = "model.tflite"
BASELINE = "baseline_float32.tflite"
FIRMWARE = "firmware/firmware.elf"
RUNNER = "runner"
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

    @property
    def runner(self) -> bytes | None:
        """The program that serves the network on a phone, a Pi or this computer (engine aot)."""
        path = self.folder / RUNNER
        return path.read_bytes() if path.exists() else None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes in the order of the first output; empty when not known."""
        labels = self.manifest.get("labels")
        return tuple(str(label) for label in labels) if isinstance(labels, list) else ()

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
    files, model = manifest.get("files"), manifest.get("model")
    complete = all(isinstance(manifest.get(k), str) for k in ("name", "target", "engine", "scheme"))
    complete &= all(key in manifest for key in ("inputs", "outputs", "golden"))
    if not complete or not isinstance(files, dict) or not isinstance(model, dict):
        raise BundleError(f"{folder / MANIFEST}: incomplete", hint="build it again")
    for name, digest in files.items():
        _check_file(folder, name, digest)
    for name in (MODEL, GOLDEN_INPUTS, GOLDEN_OUTPUTS):
        if name not in files:
            raise BundleError(
                f"{folder / MANIFEST}: incomplete: does not list {name}", hint="build it again"
            )
    for name in (BASELINE, FIRMWARE, RUNNER):
        if name not in files and os.path.lexists(folder / name):
            raise BundleError(
                f"{folder / name}: not in {MANIFEST}, so nothing vouches for it",
                hint="build it again, or move that file away",
            )
    if model.get("sha256") != files[MODEL]:
        raise BundleError(
            f"{folder / MANIFEST}: its model.sha256 is not that of {MODEL}", hint="build it again"
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


@dataclass(frozen=True)
class Draft:
    """A bundle to write into `folder`: its `files`, its manifest but for their SHA-256."""

    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, str | bytes]


def write_bundle(
    folder: Path, manifest: Mapping[str, Any], files: Mapping[str, str | bytes]
) -> Bundle:
    """Write one bundle, as `write_bundles` does."""
    return write_bundles([Draft(folder, manifest, files)])[0]


def write_bundles(drafts: Sequence[Draft]) -> list[Bundle]:
    """Write all of `drafts`, or none of them: edgeq.folders has how. Raises BundleError."""
    folders, bundles = {}, []
    for draft in drafts:
        contents = {n: t.encode() if isinstance(t, str) else t for n, t in draft.files.items()}
        digests = {n: hashlib.sha256(contents[n]).hexdigest() for n in sorted(contents)}
        bundles.append(Bundle(draft.folder.absolute(), {**draft.manifest, "files": digests}))
        contents[MANIFEST] = to_json(bundles[-1].manifest).encode()
        folders[bundles[-1].folder] = contents
    write_folders(folders)
    return bundles


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
