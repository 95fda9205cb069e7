"""Where runtime/ and targets/ are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import EdgeqError

_PACKAGE = Path(__file__).resolve().parent


def path(*parts: str) -> Path:
    """The folder or file `parts` of the data that travels with edgeq, e.g. path("targets")."""
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    raise EdgeqError(
        f"edgeq's own file {'/'.join(parts)} is missing from this installation",
        hint="reinstall it: pip install --force-reinstall edgeq",
    )
