"""What a PyTorch file is, from its table of contents and its JSON: nothing in it is run.

torch.export.load() would: it unpickles what a file asks it to, and calls any function below
`torch` that a node names. What passes check_exported() holds tensors and operators only.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeq.errors import ModelError

MAX_JSON_BYTES = 256 * 1024**2

_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|prim|higher_order|quantized_decomposed)\.\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(floor|ceil|trunc|sqrt)"
    r"|torch\.sym_(int|float|max|min|ite|not|sum)"
)
_EXPRESSION = re.compile(r"(?!.*__)[A-Za-z0-9_ ()+\-*/,<>=]*")
"""Sizes such as "2*s77 + 1": what SymPy reads is evaluated as Python."""

_AGAIN = "write it again, in eval() mode: torch.export.save(torch.export.export(model, args), file)"


def factory_of(source: str | Path) -> tuple[Path, str] | None:
    """("net.py", "make") of "net.py:make", a function that makes a module; None for all else."""
    found = re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", str(source))
    return (Path(found[1]), found[2]) if found else None


def is_exported(path: Path) -> bool:
    """Whether the zip file at `path` is an exported program of torch.export.save().

    Raises ModelError for the other files of PyTorch, which hold code, or weights without a network.
    """
    names = _names(path)
    if any(re.fullmatch(r"([^/]+/)?models/[^/]+\.json", n) for n in names):
        return True
    if any(re.fullmatch(r"[^/]+/data\.pkl|data\.pkl", n) for n in names):
        raise refusal(path)
    if any(n.endswith("serialized_exported_program.json") for n in names):
        raise ModelError(f"{path.name}: an exported program of PyTorch 2.7 or older", hint=_AGAIN)
    return False


def refusal(path: Path) -> ModelError:
    """The error for a pickle."""
    return ModelError(
        f"{path.name}: a pickled PyTorch file: opening it would run whatever code it holds, and "
        "weights alone are no network",
        hint="in Python, torch.export.save(torch.export.export(model.eval(), (example,)), "
        "'model.pt2'); or build from net.py:make, a function that returns the module and an "
        "example input",
    )


def check_exported(path: Path) -> None:
    """Raise ModelError where the program at `path` asks for more than tensors and operators."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                if name.endswith(".json"):
                    if info.file_size > MAX_JSON_BYTES:
                        raise ModelError(f"{path.name}: {name} is over 256 MB", hint=_AGAIN)
                    _check(json.loads(archive.read(info)), path.name)
                if re.search(r"/(aotinductor|custom_obj|opaque_obj)", name) or name.endswith(".so"):
                    raise ModelError(
                        f"{path.name}: holds compiled code or objects ({name})", hint=_AGAIN
                    )
    except (OSError, ValueError, RecursionError, NotImplementedError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path.name}: damaged .pt2 file: {e}", hint=_AGAIN) from e


def _check(document: Any, name: str) -> None:
    for key, value in _entries(document):
        if key == "target" and isinstance(value, str) and not _TARGETS.fullmatch(value):
            raise ModelError(
                f"{name}: calls {value!r}, which is no operator of PyTorch's own",
                hint="express it by PyTorch's operators and export the model again",
            )
        if key == "expr_str" and not (isinstance(value, str) and _EXPRESSION.fullmatch(value)):
            raise ModelError(f"{name}: a size is the expression {value!r}", hint=_AGAIN)
        if key == "use_pickle" and value:
            raise ModelError(
                f"{name}: holds a pickled tensor, which could run code",
                hint="export plain dense tensors, without subclasses",
            )


def _entries(document: Any) -> Iterator[tuple[str, Any]]:
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value.items()
            pending += value.values()
        elif isinstance(value, list):
            pending += value


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as e:
        raise ModelError(
            f"{path.name}: damaged zip file: {e}", hint="save or download it again"
        ) from e
