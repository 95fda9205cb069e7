"""Files that a person names for results: not those that a command reads, nor a bundle's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgeq.errors import UsageError
from edgeq.folders import MANIFEST, bundle_with


def check_destinations(
    destinations: Mapping[str, str | None],
    inputs: Iterable[str | Path | None] = (),
    bundles: Iterable[Path] = (),
) -> None:
    """Before any work: refuse `destinations`, by option, that would destroy something.

    That is one of `inputs` or a file in one that is a folder, a file of a bundle, anything in
    `bundles`, which are about to be written, or another destination. Raises UsageError.
    """
    given = [Path(str(path)) for path in inputs if path is not None]
    folders = [_real(path) for path in bundles]
    taken: dict[Path, str] = {}
    for option, destination in destinations.items():
        if destination is None or _is_device(destination):
            continue
        if destination == "":
            raise UsageError(f"{option}: an empty name", hint="name a file, or - for stdout")
        place = Path("-") if destination == "-" else _real(Path(destination))
        reason = None if destination == "-" else _reason(place, given, folders)
        if place in taken:
            reason = f"{taken[place]} goes there too"
        if reason:
            raise UsageError(f"{option} {destination}: {reason}", hint="name another file")
        taken[place] = option


def _reason(place: Path, inputs: list[Path], folders: list[Path]) -> str | None:
    """Why nothing may be written to `place`."""
    bundle = bundle_with(place)
    if bundle is not None:
        return f"a file of the bundle {bundle}, which would be damaged"
    for folder in folders:
        if place.is_relative_to(folder):
            return f"in {folder}, a bundle that is about to be written"
    for path in inputs:
        if _is_of(place, path):
            return f"would overwrite what is read, {path}"
    return None


def _is_of(place: Path, path: Path) -> bool:
    """Whether `place` is the file `path`, its FILE.py:function, or a file in the folder `path`."""
    real = _real(Path(re.sub(r"(\.py):\w+$", r"\1", str(path))))
    if not (os.path.exists(place) and os.path.exists(real)):
        return place == real
    # What somebody put beside a bundle's own files is no part of what is read.
    is_inside = place.is_relative_to(real) and bundle_with(real / MANIFEST) is None
    return is_inside or place.samefile(real)


def _is_device(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
