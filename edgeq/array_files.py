"""Arrays in .npy and .npz files, judged by their headers before anything else is read.

A few kilobytes of .npz can declare, and unpack to, more than any disk holds, and what a zip says
of its members' sizes need not be true. So the members' own headers are read first.
"""

from __future__ import annotations

import ast
import math
import os
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import DataError

MAX_HEADER_BYTES = 10_000
"""As in numpy, whose own headers take 128."""

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"


@dataclass(frozen=True)
class Header:
    """What an array file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def map_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy, mapped and not loaded. Raises DataError when it holds no numbers."""
    refuse_special(path)
    try:
        with path.open("rb") as stream:
            header = _read_header(stream)
        refuse_other_than_numbers(path.name, "its array", header.dtype)
        mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise _unreadable(path, e) from e
    return mapped


def npz_headers(path: Path) -> dict[str, Header]:
    """What each array of an .npz is, by name; none is read."""
    refuse_special(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(_SUFFIX)]
            return {n.removesuffix(_SUFFIX): _member_header(archive, n) for n in names}
    except Exception as e:  # zipfile and zlib each have errors of their own for damage
        raise _unreadable(path, e) from e


def read_npz(path: Path, names: Iterable[str], limit: int) -> dict[str, NDArray[Any]]:
    """The arrays `names` of an .npz, in memory.

    Raises DataError when they would take more than `limit` bytes, or hold no numbers.
    """
    headers = npz_headers(path)
    wanted = {n: headers[n] for n in names}
    for name, header in wanted.items():
        refuse_other_than_numbers(path.name, f"array {name!r}", header.dtype)
    size = sum(h.bytes for h in wanted.values())
    if size > limit:
        raise DataError(
            f"{path.name}: its arrays take {size} bytes: more than {limit}, which is the most that "
            "edgeq loads at once",
            hint="give fewer samples, or an .npy, which is never loaded as a whole",
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {n: file[n] for n in wanted}
    except MemoryError as e:
        raise DataError(
            f"{path.name}: its arrays take {size} bytes, which this computer has not free",
            hint="give fewer samples, or an .npy, which is never loaded as a whole",
        ) from e
    except Exception as e:  # zipfile, zlib and numpy each have errors of their own for damage
        raise _unreadable(path, e) from e


def half_of_memory() -> int:
    """Half of this computer's memory in bytes; 4 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 4 * 1024**3


def refuse_special(path: Path) -> None:
    """A pipe or a device would be waited for without end."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: no regular file", hint="save the data to a file")


def _member_header(archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as stream:
        return _read_header(stream)


def _read_header(stream: IO[bytes]) -> Header:
    """The header of the .npy format (numpy.lib.format). Raises ValueError."""
    start = stream.read(8)
    if len(start) < 8 or start[:6] != _MAGIC or start[6] not in (1, 2, 3):
        raise ValueError("it does not begin as a NumPy array does")
    form = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(form, _exactly(stream, struct.calcsize(form)))
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes: an array of plain numbers takes 128")
    text = _exactly(stream, length).decode("utf-8" if start[6] == 3 else "latin-1")
    try:
        fields = ast.literal_eval(text.strip())
        shape, dtype = fields["shape"], np.lib.format.descr_to_dtype(fields["descr"])
    except (SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError) as e:
        raise ValueError(f"a header that makes no sense: {e}") from e
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"the impossible shape {shape!r}")
    return Header(shape, dtype)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise ValueError("it ends within its header")
    return data


def refuse_other_than_numbers(source: str, what: str, dtype: np.dtype[Any]) -> None:
    """Raise DataError for objects, text, dates and records."""
    if dtype.kind in "biufc":
        return
    kinds = {"U": "text", "S": "text", "M": "dates", "m": "durations"}
    held = f"holds {kinds.get(dtype.kind, dtype)}, numbers are needed"
    if dtype.hasobject:
        held = "holds Python objects; pickled ones could run code"
    raise DataError(
        f"{source}: {what} {held}",
        hint="save plain numbers: np.save(path, np.asarray(x, dtype=np.float32))",
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(f"{path.name}: not a readable array file: {reason}", hint="save it again")
