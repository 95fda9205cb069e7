"""A person's own Python file that yields samples, in a child process.

It is trusted, as any script is that one runs, but it may print, change folders, or never end.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import DataError


class DataFile:
    """The first of `functions` in the file at `path`; nothing is written beside it."""

    def __init__(self, path: str, functions: Sequence[str]) -> None:
        self._path = Path(path)
        self._functions = tuple(functions)
        self._values: Iterator[Any] = iter(())

    def open(self) -> None:
        """Run the file as a script of its own folder would run, and call the function."""
        self._own(self._open)

    def value(self) -> Any:
        """What the function returns, as it is: for use in this process."""
        return self._own(self._called)

    def next(self) -> Any:
        """What it yields next, as arrays (one, a list, or by name); None at its end."""
        return self._own(self._next)

    def _open(self) -> None:
        self._values = iter(self._called())

    def _called(self) -> Any:
        sys.path.insert(0, str(self._path.parent.resolve()))
        found = runpy.run_path(str(self._path), run_name=f"edgeq_data_{self._path.stem}")
        chosen = next((found[n] for n in self._functions if callable(found.get(n))), None)
        if chosen is None:
            raise DataError(
                f"{self._path.name}: no function {' or '.join(f'{n}()' for n in self._functions)}",
                hint="write a generator that yields one list of arrays a sample",
            )
        return chosen()

    def _next(self) -> Any:
        for value in self._values:
            return _plain(value, self._path.name)
        return None

    def _own(self, function: Any) -> Any:
        try:
            return function()
        except DataError:
            raise
        except (Exception, SystemExit) as e:
            raise DataError(
                f"{self._path.name}: {type(e).__name__}: {e}{self._place(e)}",
                hint="the error is in this file's own code",
            ) from None

    def _place(self, error: BaseException) -> str:
        """ " (line 7)", where the error passed through the file last."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if f.filename == str(self._path)]
        return f" (line {lines[-1]})" if lines else ""


def _plain(value: Any, source: str) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _array(v, source) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_array(v, source) for v in value]
    return _array(value, source)


def _array(value: Any, source: str) -> Any:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise DataError(
            f"{source}: a sample holds {type(value).__name__}, which is no array of numbers",
            hint="yield NumPy arrays, a list of them, or a dictionary by input name",
        )
    return array
