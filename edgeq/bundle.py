"""A bundle: the folder that edgeq build hands over, and all that a device session needs.

    manifest.json      what it is, what was proved, and the SHA-256 of every other file
    model.tflite       the converted model
    golden/            inputs as stored, and the exact outputs of the host's reference
    …                  what the target's family needs (edgeq.codegen)

docs/bundle.md describes the manifest key by key. It is written to a temporary folder beside its
place and renamed, so that an interrupted build leaves what was there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.array_files import npz_headers, read_npz
from edgeq.documents import read_json, to_json
from edgeq.errors import BundleError, DataError
from edgeq.golden import Golden

if sys.platform != "win32":
    import fcntl

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
    for name in (BASELINE, FIRMWARE):
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


def bundle_with(path: Path) -> Path | None:
    """The folder of the bundle that has a file at `path`; None when that is no bundle's file."""
    path = Path(os.path.realpath(path))
    for folder in path.parents:
        if path.relative_to(folder).as_posix() in (_listed(folder) or ()):
            return folder
    return None


def _listed(folder: Path) -> set[str] | None:
    """The files of the bundle in `folder`; None when its manifest is none of edgeq's."""
    try:
        manifest = read_json(folder / MANIFEST, BundleError)
        if manifest["schema"] == SCHEMA:
            return {MANIFEST, *map(str, manifest["files"])}
    except (BundleError, KeyError, TypeError):
        pass
    return None


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
    """Write all of `drafts`, or none: first beside their places, then they are swapped in.

    Earlier bundles are replaced; any other folder that is not empty is left alone. Of two writers
    to one place the later one wins. Raises BundleError when something is in the way or the disk
    refuses, and nothing is left behind then, nor after an interruption.
    """
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    places = [_Place.of(draft.folder.absolute(), token) for draft in drafts]
    made: list[Path] = []
    with _signals_held() as came:
        try:
            bundles = [_stage(d, p, made, came) for d, p in zip(drafts, places, strict=True)]
            with _turns(places, came):
                _swap(places)
            for place in places:
                shutil.rmtree(place.old, ignore_errors=True)
            return bundles
        except BaseException:
            for place in places:
                shutil.rmtree(place.temporary, ignore_errors=True)
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


@dataclass(frozen=True)
class _Place:
    """Where a bundle goes; where it is until then; where what it replaces is meanwhile."""

    folder: Path
    temporary: Path
    old: Path

    @staticmethod
    def of(folder: Path, token: str) -> _Place:
        return _Place(
            folder,
            folder.with_name(f".{folder.name}.new.{token}"),
            folder.with_name(f".{folder.name}.old.{token}"),
        )


def _stage(draft: Draft, place: _Place, made: list[Path], came: list[int]) -> Bundle:
    """Write `draft` beside its place. `made` gets the folders above it that were not there."""
    check_place(place.folder)
    contents = {n: t.encode() if isinstance(t, str) else t for n, t in draft.files.items()}
    digests = {n: hashlib.sha256(contents[n]).hexdigest() for n in sorted(contents)}
    manifest = {**draft.manifest, "files": digests}
    contents[MANIFEST] = to_json(manifest).encode()
    try:
        made += [parent for parent in place.folder.parents if not parent.exists()][::-1]
        place.folder.parent.mkdir(parents=True, exist_ok=True)
        place.temporary.mkdir()
        for name, content in contents.items():
            _stop_for(came)
            path = place.temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as e:
        raise _write_error(place.folder, e) from e
    return Bundle(place.folder, manifest)


def check_place(folder: Path) -> None:
    """Raise BundleError when a bundle at `folder` would delete anything edgeq did not write."""
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise BundleError(f"{folder}: is in the way and no folder", hint="choose another -o")
        if not folder.is_dir() or not any(folder.iterdir()):
            return
        listed = _listed(folder)
        found = {
            p.relative_to(folder).as_posix()
            for p in folder.rglob("*")
            if p.is_symlink() or not p.is_dir()
        }
    except OSError as e:
        raise _write_error(folder, e) from e
    if listed is None:
        raise BundleError(
            f"{folder}: not empty, and no bundle of edgeq's, so it is left alone",
            hint="choose another -o, or remove it yourself",
        )
    foreign = sorted(found - listed)
    if foreign:
        raise BundleError(
            f"{folder}: has files that are not the bundle's ({foreign[0]}"
            + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            + "), so it is left alone",
            hint="move them elsewhere, or choose another -o",
        )


def _swap(places: Sequence[_Place]) -> None:
    """Move every bundle into its folder. When one will not go, all is put back as it was."""
    begun: list[_Place] = []
    try:
        for place in places:
            check_place(place.folder)
            begun.append(place)
            if place.folder.exists():
                os.rename(place.folder, place.old)
            os.rename(place.temporary, place.folder)
    except (OSError, BundleError) as e:
        lost = [place for place in reversed(begun) if not _put_back(place)]
        if lost:
            reason = e.strerror if isinstance(e, OSError) else e
            raise BundleError(
                f"{place.folder}: {reason}. Not everything could be put back: "
                + ", ".join(f"what was in {p.folder} is now in {p.old}" for p in lost),
                hint="rename it yourself, or build again once the disk can be written",
            ) from e
        if isinstance(e, OSError):
            raise _write_error(place.folder, e) from e
        raise


def _put_back(place: _Place) -> bool:
    try:
        if not place.temporary.exists():
            os.rename(place.folder, place.temporary)
        if place.old.exists():
            os.rename(place.old, place.folder)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _turns(places: Sequence[_Place], came: list[int]) -> Iterator[None]:
    """Wait for others that swap bundles there, where the system can lock folders (POSIX)."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            for folder in sorted({place.folder.parent for place in places}):
                with contextlib.suppress(OSError):
                    opened = os.open(folder, os.O_RDONLY)
                    stack.callback(os.close, opened)
                    while not _is_locked(opened):
                        _stop_for(came)
                        time.sleep(0.01)
        yield


def _is_locked(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _signals_held() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM wait until the block is done; the list gets those that came."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for held in handlers:
            signal.signal(held, lambda number, frame: came.append(number))
        yield came
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _stop_for(came: list[int]) -> None:
    if came:
        raise KeyboardInterrupt


def _write_error(folder: Path, error: OSError) -> BundleError:
    if error.errno == errno.ENOSPC:
        return BundleError(
            f"{folder}: no space left on the disk; nothing was changed", hint="free some, or use -o"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return BundleError(
            f"{folder}: cannot be written ({error.strerror}); nothing was changed",
            hint="choose another folder with -o",
        )
    return BundleError(
        f"{folder}: cannot be written: {error.strerror or error}; nothing was changed",
        hint="check the disk, or choose another folder with -o",
    )


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
