"""The assembly of the kernels by blocks and lines, on emulated cores: many odd shapes, each byte
that of TensorFlow Lite Micro. Other tests run their twins in C, on the host."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from agreement import equal_outputs, make_reference
from host_program import Batch
from test_convolutions import NONE, RELU, conv, fully_connected, lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
        reason="needs arm-none-eabi-gcc and qemu-system-arm",
    ),
]

SAMPLES = 3


def depthwise(batch: Batch) -> None:
    lines(batch, activation=RELU, zero_points=(5, -128), scales=(0.02, 0.2))


def depthwise_planes(batch: Batch) -> None:
    """Planes that are too large for the scratch of one."""
    values = {"depthwise": True, "activation": RELU, "zero_points": (5, -128)}
    for stride in (1, 2):
        strides = (stride, stride)
        conv(batch, (1, 33, 40, 9), (3, 3), 9, strides=strides, scales=(0.02, 0.2), **values)
        conv(batch, (1, 20, 20, 9), (3, 3), 9, strides=strides, scales=(0.5, 0.2), **values)


def convolutions(batch: Batch, zero_points: tuple[int, int]) -> None:
    activation = RELU if zero_points[1] == -128 else NONE
    values = {"activation": activation, "zero_points": zero_points, "scales": (0.02, 0.4)}
    for depth in (1, 2, 3, 4, 7, 8, 12, 20, 36, 64, 68, 72, 84):
        for channels in (2, 3, 4, 7):
            conv(batch, (1, 3, 3, depth), (1, 1), channels, **values)
            conv(batch, (1, 4, 5, depth), (3, 2), channels, **values)


def dense(batch: Batch) -> None:
    for depth in (4, 5, 16, 31, 64, 129, 300):
        for channels in (1, 2, 3, 4, 5, 6, 7, 8, 17):
            fully_connected(batch, (1,), depth, channels, activation=RELU, zero_points=(3, -128))
            fully_connected(batch, (2,), depth, channels)


FAMILIES = {
    "depthwise": depthwise,
    "planes": depthwise_planes,
    "positive": lambda batch: convolutions(batch, (-128, -128)),
    "exact": lambda batch: convolutions(batch, (5, 9)),
    "dense": dense,
}


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an505"])
@pytest.mark.parametrize("family", FAMILIES)
def test_odd_shapes(family: str, board: str) -> None:
    fill: Callable[[Batch], None] = FAMILIES[family]
    batch = Batch()
    fill(batch)
    tflite = batch.maker.bytes(batch.inputs, batch.outputs, named=False)
    assert (
        equal_outputs(make_reference(tflite, f"net_{family}", SAMPLES), board) == [True] * SAMPLES
    )
