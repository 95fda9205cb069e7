"""Operators of int16 that move values, and a network of int16, against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from host_program import Batch, assert_equals_tflm, options
from make_model import Maker, convolution


def test_reshape_squeeze_expand_dims(tmp_path: Path) -> None:
    batch = Batch()

    def case(name: str, shape: Sequence[int], after: Sequence[int], axis: int = 0) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int16, 1e-3, 0)
            inputs, chosen = [x], None
            if name == "SQUEEZE":
                chosen = options("Squeeze", squeezeDims=[axis])
            elif name == "EXPAND_DIMS":
                inputs.append(m.tensor("axis", (1,), np.int32, data=np.array([axis])))
            else:
                chosen = options("Reshape", newShape=list(after))
            y = m.tensor("y", after, np.int16, 1e-3, 0)
            m.op(name, inputs, [y], chosen)
            return [x], [y]

        batch.add(f"{name} {shape} {after}", make)

    case("RESHAPE", (1, 4, 3, 2), (1, 24))
    case("RESHAPE", (6,), (2, 3))
    case("SQUEEZE", (1, 4, 1, 2), (1, 4, 2), 2)
    case("EXPAND_DIMS", (4, 3), (1, 4, 3), 0)
    case("EXPAND_DIMS", (4, 3), (4, 3, 1), -1)
    batch.check(tmp_path)


def test_pad(tmp_path: Path) -> None:
    batch = Batch()

    def case(shape: Sequence[int], paddings: Sequence[Sequence[int]]) -> None:
        def make(m: Maker) -> tuple[list[int], list[int]]:
            x = m.tensor("x", shape, np.int16, 1e-3, 0)
            how = m.tensor("paddings", (len(shape), 2), np.int32, data=np.array(paddings))
            after = [s + a + b for s, (a, b) in zip(shape, paddings, strict=True)]
            y = m.tensor("y", after, np.int16, 1e-3, 0)
            m.op("PAD", [x, how], [y], options("Pad"), version=2)
            return [x], [y]

        batch.add(f"{shape} {paddings}", make)

    none, one = (0, 0), (1, 1)
    for shape in ((1, 4, 5, 3), (2, 3, 1, 2), (1, 1, 1, 1), (3, 2, 2, 5), (1, 7, 2, 1)):
        for paddings in (
            (none, one, one, none),
            (none, (0, 1), (2, 0), none),
            (none, none, (1, 3), none),
            (none, (2, 1), none, none),
            (none, none, none, (1, 2)),
            (none, one, none, one),
            (none, (4, 0), (0, 3), one),
            (none, (0, 3), none, none),
            (one, none, one, none),
            (one, (1, 2), (3, 1), (2, 5)),
            (none, none, none, none),
        ):
            case(shape, paddings)
    case((5,), ((2, 3),))
    case((2, 3), ((0, 1), (1, 0)))
    case((2, 3), ((1, 0), none))
    case((2, 3, 4), (none, (1, 1), (0, 2)))
    case((2, 1, 3, 2, 2), (one, (0, 1), none, (2, 2), (1, 0)))
    batch.check(tmp_path)


@pytest.mark.parametrize("bias_type", [np.int64, np.int32])
def test_a_network(tmp_path: Path, bias_type: type) -> None:
    """Layers that lie over each other in the arena, a residual among them."""
    random = np.random.default_rng(9)
    m = Maker()

    def biased(name: str, x: int, form: Sequence[int], size: Sequence[int], axis: int) -> int:
        channels = form[axis]
        scales = list(random.uniform(0.004, 0.01, channels))
        data = random.integers(-127, 128, form)
        w = m.tensor("w", form, np.int8, scales, axis=axis, data=data)
        form_ = np.int64 if name == "DEPTHWISE_CONV_2D" else bias_type
        bias = random.integers(-50000, 50000, channels)
        b = m.tensor("b", (channels,), form_, [1e-4 * s for s in scales], data=bias)
        y = m.tensor("y", size, np.int16, 1e-4, 0)
        chosen = {
            "CONV_2D": convolution(fusedActivationFunction=1),
            "DEPTHWISE_CONV_2D": options(
                "DepthwiseConv2D", depthMultiplier=1, strideH=1, strideW=1,
                dilationHFactor=1, dilationWFactor=1,
            ),
            "FULLY_CONNECTED": options("FullyConnected"),
        }[name]  # fmt: skip
        m.op(name, [x, w, b], [y], chosen, version=4)
        return y

    image = m.tensor("image", (1, 12, 12, 3), np.int16, 1e-4, 0)
    first = biased("CONV_2D", image, (8, 3, 3, 3), (1, 12, 12, 8), 0)
    deep = biased("DEPTHWISE_CONV_2D", first, (1, 3, 3, 8), (1, 12, 12, 8), 3)
    mixed = biased("CONV_2D", deep, (8, 1, 1, 8), (1, 12, 12, 8), 0)
    total = m.tensor("total", (1, 12, 12, 8), np.int16, 2e-4, 0)
    m.op("ADD", [first, mixed], [total], options("Add", potScaleInt16=False), version=3)
    bent = m.tensor("bent", (1, 12, 12, 8), np.int16, 2.0**-15, 0)
    m.op("TANH", [total], [bent], version=3)
    pooled = m.tensor("pooled", (1, 6, 6, 8), np.int16, 2.0**-15, 0)
    chosen = options("Pool2D", padding=0, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    m.op("AVERAGE_POOL_2D", [bent], [pooled], chosen, version=3)
    flat = m.tensor("flat", (1, 288), np.int16, 2.0**-15, 0)
    m.op("RESHAPE", [pooled], [flat], options("Reshape", newShape=[1, 288]))
    logits = biased("FULLY_CONNECTED", flat, (10, 288), (1, 10), 0)
    scores = m.tensor("scores", (1, 10), np.int16, 2.0**-15, 0)
    m.op("SOFTMAX", [logits], [scores], options("Softmax", beta=1.0), version=3)
    compiled = assert_equals_tflm(m.bytes([image], [scores]), tmp_path, samples=30)
    assert compiled.plan.size < 3 * 12 * 12 * 8 * 2
