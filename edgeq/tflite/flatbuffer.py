"""A cursor over a flatbuffer that nobody vouches for.

Every read is checked against the file's end, and a budget bounds how much one file can make us
read: offsets may point many times to the same place, which would let a small file unfold into a
huge tree. The encoding: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ModelError

_MAX_BUDGET = 8_000_000  # about four seconds of reading
_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_SCALARS = {
    "i8": struct.Struct("<b"),
    "u8": struct.Struct("<B"),
    "bool": struct.Struct("<?"),
    "i32": _I32,
    "u32": _U32,
    "u64": struct.Struct("<Q"),
    "f32": struct.Struct("<f"),
}


class File:
    """The bytes of a flatbuffer, the name to use in errors, and what reading may still cost."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self._budget = min(4 * len(data) + 4096, _MAX_BUDGET)

    def unpack(self, form: struct.Struct, at: int) -> Any:
        if at < 0 or at + form.size > len(self.data):
            raise self.damaged(f"an offset points to byte {at}, beyond its {len(self.data)} bytes")
        return form.unpack_from(self.data, at)[0]

    def spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise self.damaged("its tables overlap and unfold into more than the file can hold")

    def damaged(self, how: str) -> ModelError:
        return ModelError(
            f"{self.name}: damaged .tflite: {how}",
            hint="export or download the model again; compare the file's size and SHA-256",
        )

    def root(self) -> Table:
        return Table(self, self.unpack(_U32, 0))


class Table:
    """One table of a File; fields are addressed by their slot, their place in the schema."""

    def __init__(self, file: File, at: int) -> None:
        self._file = file
        self._at = at
        self._vtable = at - file.unpack(_I32, at)
        self._slots = (file.unpack(_U16, self._vtable) - 4) // 2
        file.spend(4)

    def scalar(self, slot: int, kind: str, default: Any = 0) -> Any:
        at = self._field(slot)
        return default if at is None else self._file.unpack(_SCALARS[kind], at)

    def text(self, slot: int) -> str:
        raw = self.vector(slot, "u1")
        self._file.spend(raw.size // 4)
        return raw.tobytes().decode("utf-8", errors="replace")

    def table(self, slot: int) -> Table | None:
        at = self._field(slot)
        return None if at is None else Table(self._file, self._follow(at))

    def tables(self, slot: int) -> Iterator[Table]:
        start, length = self._vector(slot)
        for i in range(length):
            yield Table(self._file, self._follow(start + 4 * i))

    def vector(self, slot: int, dtype: str) -> NDArray[Any]:
        """A vector of numbers as a read-only array; empty when it is absent."""
        start, length = self._vector(slot)
        form = np.dtype(dtype).newbyteorder("<")
        if dtype != "u1":  # Bytes are viewed and cost nothing; numbers become Python objects.
            self._file.spend(length)
        if start + length * form.itemsize > len(self._file.data):
            raise self._file.damaged(
                f"a vector of {length} items at byte {start} runs past its end"
            )
        return np.frombuffer(self._file.data, form, count=length, offset=start)

    def has(self, slot: int) -> bool:
        return self._field(slot) is not None

    def _field(self, slot: int) -> int | None:
        if slot >= self._slots:
            return None
        offset = self._file.unpack(_U16, self._vtable + 4 + 2 * slot)
        return self._at + offset if offset else None

    def _follow(self, at: int) -> int:
        return at + int(self._file.unpack(_U32, at))

    def _vector(self, slot: int) -> tuple[int, int]:
        at = self._field(slot)
        if at is None:
            return 0, 0
        start = self._follow(at)
        length = int(self._file.unpack(_U32, start))
        if length > len(self._file.data):
            raise self._file.damaged(f"a vector at byte {start} claims {length} items")
        return start + 4, length
