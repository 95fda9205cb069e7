"""QUANTIZE, DEQUANTIZE and CAST against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_program import Batch, assert_equals_tflm, export_of, options
from make_model import TYPES, Maker

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit

SHAPE = (4, 259)
"""Random samples of a thousand values leave no int8 value out."""

SCALES = (
    (0.1, 0.1), (0.1, 0.05), (0.05, 0.1), (1.0, 1e-3), (1e-3, 1.0), (0.3, 0.2), (0.7, 0.2),
    (1 / 256, 1 / 32768), (1 / 32768, 1 / 256), (1e-6, 2.0), (0.5, 0.25), (0.9, 3.6),
)  # fmt: skip


def convert(
    batch: Batch, name: str, types: Sequence[Any], scales: Sequence[float],
    zero_points: Sequence[int], shape: Sequence[int] = SHAPE,
) -> None:  # fmt: skip
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = (
            m.tensor("xy"[i], shape, types[i], None if t is np.float32 else scales[i],
                     zero_points[i])
            for i, t in enumerate(types)
        )  # fmt: skip
        m.op(name, [x], [y], options("Quantize" if name == "QUANTIZE" else "Dequantize"), version=2)
        return [x], [y]

    kinds = [t.__name__ for t in types]
    batch.add(f"{name} {kinds} {scales} {zero_points} {shape}", make)


ENDS = {
    np.int8: (-128, 0, 127), np.uint8: (0, 128, 255), np.int16: (0,), np.int32: (0,),
    np.float32: (0,),
}  # fmt: skip


@pytest.mark.parametrize(
    "types",
    [
        (np.int8, np.int8),
        (np.int8, np.int16),
        (np.int8, np.uint8),
        (np.uint8, np.int8),
        (np.int16, np.int8),
        (np.int16, np.int16),
        (np.int8, np.int32),
        (np.int16, np.int32),
        (np.int32, np.int8),
        (np.int32, np.int16),
    ],
)
def test_quantize_between_integers(tmp_path: Path, types: Sequence[Any]) -> None:
    batch = Batch()
    for scales in SCALES:
        for a in ENDS[types[0]]:
            for b in ENDS[types[1]]:
                convert(batch, "QUANTIZE", types, scales, (a, b))
                if types[0] is np.int32:  # Small factors, so that not every value is a limit.
                    for factor in (1e-5, 3e-8, 1e-9):
                        scaled = (scales[0] * factor, scales[1])
                        convert(batch, "QUANTIZE", types, scaled, (a, b))
    convert(batch, "QUANTIZE", types, (0.1, 0.2), (0, 0), (1,))
    if types == (np.int16, np.int16):
        for zero_points in ((-32768, 32767), (300, -5000), (7, 7)):
            convert(batch, "QUANTIZE", types, (0.3, 0.2), zero_points)
            convert(batch, "QUANTIZE", types, (0.2, 0.2), zero_points)
    batch.check(tmp_path, samples=8)


def test_quantize_from_float(tmp_path: Path) -> None:
    batch = Batch()
    for scale in (0.01, 0.025, 0.1, 1 / 3, 0.5, 1.0, 1e-5, 30.0):
        for zero_point in (-128, -1, 0, 127):
            convert(batch, "QUANTIZE", (np.float32, np.int8), (0, scale), (0, zero_point))
        convert(batch, "QUANTIZE", (np.float32, np.int16), (0, scale), (0, 0))
        if scale > 1e-4:  # Quotients beyond int32 are undefined in TFLM; ours are limited.
            convert(batch, "QUANTIZE", (np.float32, np.int16), (0, scale / 3000), (0, 0))
    batch.check(tmp_path, samples=12)


def test_halves_of_what_float_gives_round_away_from_zero(tmp_path: Path) -> None:
    """Constants that are halves, just below and just above, and far outside."""
    halves = np.arange(-140, 140, dtype=np.float32) + np.float32(0.5)
    near = [np.nextafter(halves, np.float32(side)) for side in (-1e9, 1e9)]
    values = np.concatenate([halves, *near, np.float32([0, -0.0, 1e6, -1e6, 1e9, 1e-40])])
    m = Maker()
    x = m.tensor("x", values.shape, np.float32, data=values)
    outputs = []
    for scale, zero_point in ((1.0, 0), (1.0, -128), (1.0, 127), (0.5, 3)):
        outputs.append(m.tensor("y", values.shape, np.int8, scale, zero_point))
        m.op("QUANTIZE", [x], [outputs[-1]], options("Quantize"))
    z, w = m.tensor("z", (1, 1), np.int8, 0.1, 0), m.tensor("w", (1, 1), np.int8, 0.2, 0)
    m.op("QUANTIZE", [z], [w], options("Quantize"))
    assert_equals_tflm(m.bytes([z], [*outputs, w], named=False), tmp_path, 1)


def test_dequantize(tmp_path: Path) -> None:
    batch = Batch()
    for kind in (np.int8, np.uint8, np.int16):
        for scale in (0.01, 0.1, 1 / 3, 0.7, 1.0, 1e-5, 123.4, 1 / 32768):
            for zero_point in ENDS[kind]:
                convert(batch, "DEQUANTIZE", (kind, np.float32), (scale, 0), (zero_point, 0))
        convert(batch, "DEQUANTIZE", (kind, np.float32), (1e-40, 0), (0, 0))
    batch.check(tmp_path, samples=6)


def test_the_edges_of_a_network_in_float(tmp_path: Path) -> None:
    """float32 -> int8 -> int16 -> int8 -> uint8 -> int8 -> float32, one over the other."""
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        first = last = m.tensor("x", (1, 300), np.float32)
        for kind, scale, zero_point in (
            (np.int8, 0.05, 3), (np.int16, 0.001, 0), (np.int8, 0.1, -7), (np.uint8, 0.1, 121),
            (np.int8, 0.07, 0),
        ):  # fmt: skip
            y = m.tensor("y", (1, 300), kind, scale, zero_point)
            m.op("QUANTIZE", [last], [y], options("Quantize"), version=2)
            last = y
        y = m.tensor("y", (1, 300), np.float32)
        m.op("DEQUANTIZE", [last], [y], options("Dequantize"), version=2)
        return [first], [y]

    batch.add("edges", make)
    batch.check(tmp_path, samples=30)


def cast(batch: Batch, types: Sequence[Any], shape: Sequence[int]) -> None:
    def make(m: Maker) -> tuple[list[int], list[int]]:
        x, y = (m.tensor("xy"[i], shape, t) for i, t in enumerate(types))
        kinds = [TYPES[np.dtype(t)] for t in types]
        chosen = options("Cast", inDataType=kinds[0], outDataType=kinds[1])
        m.op("CAST", [x], [y], chosen)
        return [x], [y]

    batch.add(f"CAST {[t.__name__ for t in types]} {shape}", make)


def test_cast(tmp_path: Path) -> None:
    batch = Batch()
    integers = (np.int8, np.int16, np.int32)
    pairs = [(a, b) for a in (*integers, np.bool_) for b in integers]
    pairs += [(a, np.float32) for a in (*integers, np.bool_)]
    pairs += [(np.float32, a) for a in integers]
    for types in pairs:
        for shape in ((), (1,), (7, 5), (1, 300), (2, 3, 4, 5)):
            cast(batch, types, shape)
    batch.check(tmp_path, samples=8)


def test_casts_of_what_no_integer_holds(tmp_path: Path) -> None:
    """Fractions go, the rest is limited, NaN becomes 0."""
    values = [0.99, -0.99, 127.9, -128.9, 129, -32769, 32767.5, 70000, 2147483520, 2.0**31, -1e30]
    values = np.float32([*values, -(2.0**31), np.inf, -np.inf, np.nan])
    m = Maker()
    x = m.tensor("x", values.shape, np.float32, data=values)
    outputs = []
    for dtype in (np.int8, np.int16, np.int32):
        outputs.append(m.tensor("y", values.shape, dtype))
        m.op("CAST", [x], [outputs[-1]], options("Cast"))
    z, w = m.tensor("z", (2,), np.int8, 0.1), m.tensor("w", (2,), np.int8, 0.1)
    m.op("RELU", [z], [w])
    assert_equals_tflm(m.bytes([z], [*outputs, w], named=False), tmp_path, 1)


def test_casts_in_place(tmp_path: Path) -> None:
    batch = Batch()

    def make(m: Maker) -> tuple[list[int], list[int]]:
        first = last = m.tensor("x", (1, 100), np.int8)
        for kind in (np.int32, np.int16, np.int32, np.float32, np.int8, np.int16, np.float32):
            y = m.tensor("y", (1, 100), kind)
            m.op("CAST", [last], [y], options("Cast"))
            last = y
        return [first], [last]

    batch.add("casts", make)
    batch.check(tmp_path, samples=10)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("QUANTIZE", (np.int16, np.uint8)),
        ("QUANTIZE", (np.uint8, np.uint8)),
        ("QUANTIZE", (np.int32, np.uint8)),
        ("QUANTIZE", (np.float32, np.uint8)),
        ("CAST", (np.float32, np.uint8)),
        ("CAST", (np.int8, np.bool_)),
    ],
)
def test_what_it_refuses(name: str, types: Sequence[Any]) -> None:
    batch = Batch()
    if name == "CAST":
        cast(batch, types, (3,))
    else:
        convert(batch, name, types, (0.1, 0.2), (0, 0))
    with pytest.raises(DoesNotFit, match="no kernel takes"):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
