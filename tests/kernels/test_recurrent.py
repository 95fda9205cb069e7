"""SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM against TFLM, over several calls and resets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_program import Batch, export_of, options
from make_model import Maker
from sequences import check_sequence

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit


def svdf(
    batch: Batch,
    batches: int = 1,
    input_size: int = 6,
    units: int = 4,
    rank: int = 2,
    memory: int = 5,
    *,
    scales: Sequence[float] = (0.02, 0.01, 0.0005, 0.0003, 0.05),
    zero_points: Sequence[int] = (3, -5),
    plain: bool = False,
    state_type: Any = np.int16,
) -> None:
    """`scales` of input, feature weights, state, time weights, output; `plain`: weights are 1."""
    random = np.random.default_rng(len(batch.cases))
    case = ", ".join(f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random"))

    def make(m: Maker) -> tuple[list[int], list[int]]:
        filters = units * rank
        x = m.tensor("x", (batches, input_size), np.int8, scales[0], zero_points[0])
        form = (filters, input_size)
        features = np.ones(form) if plain else random.integers(-127, 128, form)
        f = m.tensor("f", form, np.int8, scales[1], data=features)
        times = random.integers(-32767, 32768, (filters, memory)) ** (not plain)
        t = m.tensor("t", (filters, memory), np.int16, scales[3], data=times)
        bias = random.integers(-100000, 100000, units) * (not plain)
        b = m.tensor("b", (units,), np.int32, scales[2] * scales[3], data=bias)
        state = m.tensor("s", (batches, filters * memory), state_type, scales[2])
        m.tensors[state].isVariable = True
        y = m.tensor("y", (batches, units), np.int8, scales[4], zero_points[1])
        m.op("SVDF", [x, f, t, b, state], [y], options("SVDF", rank=rank), version=3)
        return [x], [y]

    batch.add(case, make)


def test_svdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch()
    for batches in (1, 2, 3):
        for units, rank in ((1, 1), (4, 1), (4, 2), (7, 3), (17, 1), (5, 7)):
            svdf(batch, batches, units=units, rank=rank)
    for memory in (1, 2, 3, 9, 32):
        for input_size in (1, 4, 17):
            svdf(batch, input_size=input_size, memory=memory)
    for zero_points in ((-128, -128), (127, 127), (-128, 127), (0, 0)):
        for factor in (1e-3, 0.1, 1.0, 30.0):
            scales = (0.02, 0.01 * factor, 0.0005, 0.0003, 0.05)
            svdf(batch, scales=scales, zero_points=zero_points)
            svdf(batch, scales=(*scales[:4], 0.05 * factor), zero_points=zero_points)
    # Factors that are halves in float32 and not quite in float64.
    for a, b, c in ((0.5, 0.56, 0.112), (0.45, 0.3, 0.054), (0.65, 0.51, 0.1326)):
        for scales in ((a, b, c, 1.0, c), (1.0, a, a, b, c)):
            svdf(batch, 1, 1, 1, 1, 1, scales=scales, zero_points=(0, 0), plain=True)
    check_sequence(batch, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (dict(state_type=np.int8), "its state is int8"),
        (dict(scales=(0.02, 0.01, 1e-14, 0.0003, 0.05)), "scales its output up"),
    ],
)
def test_svdf_that_is_refused(values: dict[str, Any], reason: str) -> None:
    batch = Batch()
    svdf(batch, **values)
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))


def add_lstm(
    batch: Batch,
    batches: int = 1,
    times: int = 4,
    input_size: int = 5,
    units: int = 6,
    *,
    time_major: bool = False,
    clip: float = 0.0,
    cell_power: int = -11,
    scales: Sequence[float] = (0.02, 1 / 128),
    weight_scales: Sequence[float] = (0.004, 0.006),
    zero_points: Sequence[int] = (3, -5),
    bias: int = 3000,
    activation: int = schema.ActivationFunctionType.TANH,
    peephole: bool = False,
    cell_scale: float | None = None,
    dtype: Any = np.int8,
) -> None:
    """`scales` and `zero_points` of input and hidden state, for int8; `bias` the largest."""
    random = np.random.default_rng(len(batch.cases))
    wide = dtype is np.int16
    if wide:
        scales, zero_points = [s / 256 for s in scales], (0, 0)
    case = ", ".join(
        f"{k}={v}" for k, v in locals().items() if k not in ("batch", "random", "wide")
    )

    def make(m: Maker) -> tuple[list[int], list[int]]:
        def weights(size: int, scale: float) -> int:
            data = random.integers(-127, 128, (units, size))
            scale *= random.uniform(0.7, 1.3)
            return int(m.tensor("w", (units, size), np.int8, scale, data=data))

        sides = (times, batches) if time_major else (batches, times)
        x = m.tensor("x", (*sides, input_size), dtype, scales[0], zero_points[0])
        inputs = [x]
        inputs += [weights(input_size, weight_scales[0]) for _ in range(4)]
        inputs += [weights(units, weight_scales[1]) for _ in range(4)]
        inputs += [weights(units, 0.1) if peephole else -1] * 3
        for _ in range(4):
            data = random.integers(-bias, bias + 1, units) * (256 if wide else 1)
            inputs.append(m.tensor("b", (units,), np.int64 if wide else np.int32, 1e-4, data=data))
        hidden = m.tensor("h", (batches, units), dtype, scales[1], zero_points[1])
        cell = m.tensor("c", (batches, units), np.int16, cell_scale or 2.0**cell_power)
        for state in (hidden, cell):
            m.tensors[state].isVariable = True
        inputs += [-1, -1, hidden, cell, -1, -1, -1, -1]
        y = m.tensor("y", (*sides, units), dtype, scales[1], zero_points[1])
        chosen = options(
            "UnidirectionalSequenceLSTM",
            fusedActivationFunction=activation,
            timeMajor=time_major,
            cellClip=clip,
        )
        m.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [y], chosen)
        return [x], [y]

    batch.add(case, make)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_lstm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    batch = Batch()
    lstm = partial(add_lstm, dtype=dtype)
    for batches in (1, 2, 3):
        for times in (1, 2, 7):
            for time_major in (False, True):
                lstm(batch, batches, times, time_major=time_major)
    for units in (1, 2, 15, 16, 17, 33):
        for input_size in (1, 4, 9):
            lstm(batch, input_size=input_size, units=units)
    for cell_power in (-15, -14, -13, -12, -9, -5):
        for clip in (0.0, 0.01, 0.5, 10.0):
            lstm(batch, cell_power=cell_power, clip=clip)
    for cell_power in (-20, -18, -17, -16, 0, 1):
        lstm(batch, cell_power=cell_power, weight_scales=(0.1, 0.2), bias=100)
    for zero_points in ((-128, -128), (127, 127), (-128, 127), (0, 0)):
        for factor in (1e-3, 0.3, 3.0, 50.0):
            weight_scales = (0.004 * factor, 0.006 * factor)
            lstm(batch, zero_points=zero_points, weight_scales=weight_scales)
        lstm(batch, zero_points=zero_points, scales=(0.1, 0.002), bias=1 << 30)
    check_sequence(batch, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (dict(activation=schema.ActivationFunctionType.RELU), "its activation is RELU"),
        (dict(peephole=True), "it has peephole weights"),
        (dict(cell_scale=0.0003), "no power of two"),
        (dict(cell_power=3), "out of range"),
        (dict(dtype=np.int16, weight_scales=(1e6, 1.0)), "scales its output up"),
        (dict(dtype=np.int16, bias=1 << 40), "exceed 47 bits"),
    ],
)
def test_lstm_that_is_refused(values: dict[str, Any], reason: str) -> None:
    batch = Batch()
    add_lstm(batch, **values)
    with pytest.raises(DoesNotFit, match=reason):
        compile_graph(export_of(batch.maker.bytes(batch.inputs, batch.outputs)))
