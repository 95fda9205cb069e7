"""Files that are wrong, each in its own way."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from make_model import Maker, schema, tiny_int8

IMAGES = np.zeros((9, 8, 8, 1), np.float32)
HUGE = (1, 2**31 - 1)
LONG = "x" * 300
GOOD = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def array(name: str, value: np.ndarray, **more: np.ndarray) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        if name.endswith(".npz"):
            np.savez(folder / name, x=value, **more)
        else:
            np.save(folder / name, value)

    return make


def npy_header(fields: str) -> bytes:
    """An .npy of a header alone."""
    return b"\x93NUMPY\x02\0" + struct.pack("<I", len(fields)) + fields.encode()


def npz_bomb(shape: str) -> Callable[[Path], None]:
    """An .npz that declares float32 of `shape` and holds no element of it."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / "d.npz", "w") as archive:
            fields = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
            archive.writestr("x.npy", npy_header(fields))

    return make


def image_bomb(folder: Path) -> None:
    """A .png of some bytes that declares 12000x12000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sealed = kind + data
        return struct.pack(">I", len(data)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    (folder / "pics").mkdir()
    (folder / "classes.csv").write_text("a.png,1\n")
    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (folder / "pics" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def files(folder: Path) -> set[str]:
    """All that is in it, by relative path."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def nothing(folder: Path) -> None:
    pass


def with_value(value: float) -> np.ndarray:
    data = GOOD.copy()
    data[7, 1] = value
    return data


def huge_offset() -> bytes:
    data = bytearray(tiny_int8())
    struct.pack_into("<I", data, 0, 0xFFFFFFF0)
    return bytes(data)


def cyclic_graph() -> bytes:
    m = Maker()
    a, b = m.tensor("a", (1, 2)), m.tensor("b", (1, 2))
    m.op("RELU", [b], [a])
    m.op("RELU", [a], [b])
    return m.bytes([], [b])


def big_model() -> bytes:
    """A dense layer with 600,000 weights, too many for the flash of most boards."""
    m = Maker()
    x, y = m.tensor("x", (1, 1000), np.int8, 0.1), m.tensor("y", (1, 600), np.int8, 0.1)
    w = m.tensor("w", (600, 1000), np.int8, 0.1, data=np.ones((600, 1000)))
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y])


def hungry_model() -> bytes:
    """Activations of 320,000 bytes at once."""
    m = Maker()
    x, y = m.tensor("x", (1, 160_000), np.int8, 0.1), m.tensor("y", (1, 160_000), np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes([x], [y])


def no_outputs() -> bytes:
    m = Maker()
    x, y = m.tensor("x", (1, 2), np.int8, 0.1), m.tensor("y", (1, 2), np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes([x], [])


def gelu_model() -> bytes:
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("GELU", [x], [y], schema.GeluOptionsT())
    return m.bytes([x], [y])


def keras_bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (80 * 1024 * 1024))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")
