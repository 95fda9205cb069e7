"""The folders of bundles: whose files are whose, and how folders are replaced.

All folders of a build are written beside their places and then renamed, so that one that fails or
is interrupted leaves what was there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.documents import read_json
from edgeq.errors import BundleError

if sys.platform != "win32":
    import fcntl

SCHEMA = "edgeq.bundle"
MANIFEST = "manifest.json"

TURN_LIMIT = 60.0
"""Seconds to wait for another edgeq that replaces bundles in the same folder."""


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


def check_place(folder: Path) -> None:
    """Raise BundleError when a bundle at `folder` would delete anything edgeq did not write.

    While another edgeq writes there, it waits.
    """
    with _turns([folder], []):
        _check(folder)


def _check(folder: Path) -> None:
    """`check_place` for who has the turn."""
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


def write_folders(folders: Mapping[Path, Mapping[str, bytes]]) -> None:
    """Write all of `folders`, with contents by file name, or none of them.

    They are written beside their places first, then swapped in. Earlier bundles are replaced; any
    other folder that is not empty is left alone. Of two writers to one place the later one wins.
    Raises BundleError when something is in the way or the disk refuses; nothing is left behind
    then, nor after an interruption.
    """
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    places = {_Place.of(folder.absolute(), token): files for folder, files in folders.items()}
    made: list[Path] = []
    with _signals_held() as came:
        try:
            for place, files in places.items():
                _stage(place, files, made, came)
            with _turns([place.folder for place in places], came):
                _swap(places)
            for place in places:
                shutil.rmtree(place.old, ignore_errors=True)
        except BaseException:
            for place in places:
                shutil.rmtree(place.temporary, ignore_errors=True)
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


@dataclass(frozen=True)
class _Place:
    """Where a folder goes; where it is until then; where what it replaces is meanwhile."""

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


def _stage(place: _Place, files: Mapping[str, bytes], made: list[Path], came: list[int]) -> None:
    """Write `files` beside their place. `made` gets the folders above it that were not there."""
    with _turns([place.folder], came):
        _check(place.folder)
    try:
        made += [parent for parent in place.folder.parents if not parent.exists()][::-1]
        place.folder.parent.mkdir(parents=True, exist_ok=True)
        place.temporary.mkdir()
        for name, content in files.items():
            _stop_for(came)
            path = place.temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as e:
        raise _write_error(place.folder, e) from e


def _swap(places: Iterable[_Place]) -> None:
    """Move every bundle into its folder. When one will not go, all is put back as it was."""
    begun: list[_Place] = []
    try:
        for place in places:
            _check(place.folder)
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
def _turns(folders: Iterable[Path], came: list[int]) -> Iterator[None]:
    """Wait for others that swap bundles there, where the system can lock folders (POSIX)."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            for parent in sorted({folder.absolute().parent for folder in folders}):
                with contextlib.suppress(OSError):
                    opened = os.open(parent, os.O_RDONLY)
                    stack.callback(os.close, opened)
                    _wait_for(opened, parent, came)
        yield


def _wait_for(opened: int, parent: Path, came: list[int]) -> None:
    end = time.monotonic() + TURN_LIMIT
    while not _is_locked(opened):
        _stop_for(came)
        if time.monotonic() > end:
            raise BundleError(
                f"{parent}: another edgeq has been writing there for {TURN_LIMIT:g} s",
                hint="wait for it, end it, or choose another -o",
            )
        time.sleep(0.01)


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
