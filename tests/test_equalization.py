"""Channels scaled between layers: the float function stays, to the last bit, and integers gain."""

from __future__ import annotations

import numpy as np
import pytest
from make_model import Maker, convolution, schema

from edgeq.calibration import calibrate, judges, rescaled, split
from edgeq.choice import Way, choose
from edgeq.equalization import equalized, find_groups
from edgeq.interpreters import litert, run
from edgeq.models import open_model
from edgeq.pipeline import Data, prepare
from edgeq.repairs import repairs_named
from edgeq.samples import open_samples
from edgeq.tflite import read_graph
from edgeq.tflite.constants import lone_constants, with_constants
from edgeq.verification import measure_fidelity

RELU = schema.ActivationFunctionType.RELU
RELU6 = schema.ActivationFunctionType.RELU6
FACTORS = 2.0 ** np.array([-3, 3, 0, 2, -2, 1, -1, 3])


class Net(Maker):
    """Layers one after the other, with the given spread of their channels between them."""

    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(8)

    def weights(self, name, shape, before=1.0, after=1.0, data=None):
        """`before` divides along the last dimension, `after` multiplies along the first."""
        data = self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        rows = np.broadcast_to(after, shape[:1]).reshape(-1, *[1] * (len(shape) - 1))
        bias = self.random.standard_normal(shape[0]) * rows.reshape(-1)
        made = self.tensor(name, shape, data=data * rows / before)
        return made, self.tensor(f"{name}_b", shape[:1], data=bias)

    def conv(self, x, y, shape, before=1.0, after=1.0, act=RELU):
        weights = self.weights(f"w{len(self.ops)}", shape, before, after)
        options = convolution(fusedActivationFunction=act)
        self.op("CONV_2D", [x, *weights], [y], options)

    def dense(self, x, y, shape, before=1.0):
        weights = self.weights(f"w{len(self.ops)}", shape, before)
        self.op("FULLY_CONNECTED", [x, *weights], [y], schema.FullyConnectedOptionsT())


def chain(act=RELU) -> bytes:
    """Convolution to unequal channels, depthwise, pooled, flattened, dense."""
    m = Net()
    x, a, b = (m.tensor(n, (1, 8, 8, c)) for n, c in (("x", 4), ("a", 8), ("b", 8)))
    p, f, y = m.tensor("p", (1, 4, 4, 8)), m.tensor("f", (1, 128)), m.tensor("y", (1, 10))
    m.conv(x, a, (8, 1, 1, 4), after=FACTORS, act=act)
    kernel = m.random.standard_normal((1, 3, 3, 8)) * FACTORS[::-1] / FACTORS / 3
    options = schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.depthMultiplier = 1
    options.fusedActivationFunction = act
    bias = m.random.standard_normal(8) * FACTORS[::-1]
    weights = m.tensor("wd", (1, 3, 3, 8), data=kernel), m.tensor("wd_b", (8,), data=bias)
    m.op("DEPTHWISE_CONV_2D", [a, *weights], [b], options)
    pool = schema.Pool2DOptionsT()
    pool.strideW = pool.strideH = pool.filterWidth = pool.filterHeight = 2
    pool.padding = schema.Padding.VALID
    m.op("AVERAGE_POOL_2D", [b], [p], pool)
    shape = m.tensor("shape", (2,), np.int32, data=np.array([1, 128]))
    m.op("RESHAPE", [p, shape], [f], schema.ReshapeOptionsT())
    m.dense(f, y, (10, 128), before=np.tile(FACTORS[::-1], 16))
    return m.bytes([x], [y])


def residual() -> bytes:
    """What two convolutions make is added: both must have the same factors."""
    m = Net()
    x, y = m.tensor("x", (1, 8, 8, 4)), m.tensor("y", (1, 8, 8, 4))
    a, h, b, s = (m.tensor(n, (1, 8, 8, 8)) for n in "ahbs")
    none = schema.ActivationFunctionType.NONE
    m.conv(x, a, (8, 1, 1, 4), after=FACTORS, act=none)
    m.conv(a, h, (8, 1, 1, 8), before=FACTORS)
    m.conv(h, b, (8, 1, 1, 8), after=FACTORS, act=none)
    m.op("ADD", [a, b], [s], schema.AddOptionsT())
    m.conv(s, y, (4, 1, 1, 8), before=FACTORS, act=none)
    return m.bytes([x], [y])


def data(count=120):
    return np.random.default_rng(3).standard_normal((count, 8, 8, 4)).astype(np.float32)


@pytest.fixture
def opened(tmp_path):
    def open_bytes(tflite):
        path = tmp_path / "net.tflite"
        path.write_bytes(tflite)
        return open_model(path)

    return open_bytes


def outputs(tflite, samples):
    with litert(tflite) as network:
        return [o for (o,) in run(network, ((s[None],) for s in samples))]


def names(graph, group):
    return {graph.main.tensors[i].name for i in group.tensors}


@pytest.mark.parametrize("make", [chain, residual])
def test_outputs_stay_equal_to_the_last_bit_and_channels_become_alike(make, opened):
    model = opened(make())
    calibration = calibrate(model, data(), distributions=True)
    seen = calibration.distributions
    made = equalized(model.tflite, model.graph, seen.groups, seen.spans)
    assert made is not None and made.tflite != model.tflite
    fresh = np.random.default_rng(5).standard_normal((20, 8, 8, 4)).astype(np.float32)
    for before, after in zip(
        outputs(model.tflite, fresh), outputs(made.tflite, fresh), strict=True
    ):
        assert np.array_equal(before, after)
    better = opened(made.tflite)
    again = calibrate(better, data(), distributions=True)
    for index in made.factors:
        spreads = []
        for spans in (seen.spans, again.distributions.spans):
            low, high = spans[index]
            reach = np.maximum(-low, high)
            spreads.append(reach.max() / reach[reach > 0].min())
        assert spreads[1] < spreads[0] / 3


@pytest.mark.parametrize("make", [chain, residual])
def test_what_a_second_calibration_would_see_is_known_without_it(make, opened):
    model = opened(make())
    calibration = calibrate(model, data(), distributions=True)
    seen = calibration.distributions
    made = equalized(model.tflite, model.graph, seen.groups, seen.spans)
    derived = rescaled(calibration, made.factors)
    again = calibrate(opened(made.tflite), data(), distributions=True)
    assert derived.ranges == again.ranges
    for index, mean in again.distributions.means.items():
        assert np.allclose(derived.distributions.means[index], mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [chain, residual])
def test_auto_equalizes_where_channels_are_unequal(make, opened, tensorflow):
    model = opened(make())
    samples = open_samples(data(), model.graph.inputs)
    calibration = calibrate(model, split(samples)[0], distributions=True)
    arguments = (model, calibration, "int8", judges(samples))
    used, made, choice = choose(*arguments, tensorflow=tensorflow)
    levels = {t.way: t.sqnr_db for t in choice.trials}
    assert choice.way.equalized and levels[choice.way] > levels[Way()] + 3
    (repair,) = used.repairs
    assert repair.name == "equalization" and repair.largest_error is None and repair.layers
    fresh = np.random.default_rng(6).standard_normal((40, 8, 8, 4)).astype(np.float32)
    fresh = open_samples(fresh, model.graph.inputs)
    (measured,) = measure_fidelity(model.tflite, made.tflite, made.graph, fresh)
    assert measured.sqnr_db > levels[Way()] + 3
    plain = repairs_named(["default"]) - {"equalization"}
    used, _, choice = choose(*arguments, repairs=plain, tensorflow=tensorflow)
    assert used is model and not any(t.way.equalized for t in choice.trials)


def test_layers_in_int16_share_tensors_with_others_so_nothing_is_scaled(tmp_path, tensorflow):
    (tmp_path / "net.tflite").write_bytes(chain())
    np.save(tmp_path / "data.npy", data())
    source, samples = tmp_path / "net.tflite", Data(calibration=tmp_path / "data.npy")
    scaled = prepare(source, data=samples, tensorflow=tensorflow)
    assert [r.name for r in scaled.repairs if r.name == "equalization"]
    made = prepare(source, data=samples, int16=["b"], tensorflow=tensorflow)
    assert not [r.name for r in made.repairs if r.name == "equalization"]
    fresh = np.random.default_rng(6).standard_normal((40, 8, 8, 4)).astype(np.float32)
    fresh = open_samples(fresh, made.model.graph.inputs)
    graph = made.conversion.graph
    (measured,) = measure_fidelity(made.model.tflite, made.conversion.tflite, graph, fresh)
    assert measured.sqnr_db > 5


def test_what_has_the_same_factors_is_one_group(opened):
    model = opened(residual())
    found = [names(model.graph, group) for group in find_groups(model.graph)]
    assert {"a", "b", "s"} in found and {"h"} in found and len(found) == 2
    model = opened(chain())
    found = {frozenset(names(model.graph, g)): g for g in find_groups(model.graph)}
    assert set(found) == {frozenset("a"), frozenset("bpf")}
    assert found[frozenset("bpf")].channels == 8


def test_relu6_cannot_be_scaled_and_is_left_alone(opened):
    """It cuts every channel off at 6: divided by a factor, it would have to be at 6 / factor."""
    model = opened(chain(RELU6))
    assert find_groups(model.graph) == []


def test_equal_channels_stay_as_they_are(opened):
    m = Net()
    x, a, y = m.tensor("x", (1, 4)), m.tensor("a", (1, 4)), m.tensor("y", (1, 4))
    for source, made in ((x, a), (a, y)):
        w = m.tensor(f"w{made}", (4, 4), data=np.eye(4))
        b = m.tensor(f"b{made}", (4,), data=np.zeros(4))
        m.op("FULLY_CONNECTED", [source, w, b], [made], schema.FullyConnectedOptionsT())
    model = opened(m.bytes([x], [y]))
    samples = np.concatenate([np.eye(4), -np.eye(4)] * 8).astype(np.float32)
    seen = calibrate(model, samples, distributions=True).distributions
    assert len(seen.groups) == 1
    assert equalized(model.tflite, model.graph, seen.groups, seen.spans) is None


def test_weights_that_two_layers_share_are_left_alone(opened):
    m = Net()
    x, a, y = m.tensor("x", (1, 4)), m.tensor("a", (1, 4)), m.tensor("y", (1, 4))
    w = m.tensor("w", (4, 4), data=np.diag([8.0, 1, 1, 1]))
    b = m.tensor("b", (4,), data=np.ones(4))
    for source, made in ((x, a), (a, y)):
        m.op("FULLY_CONNECTED", [source, w, b], [made], schema.FullyConnectedOptionsT())
    model = opened(m.bytes([x], [y]))
    assert find_groups(model.graph) == []
    assert not lone_constants(model.graph) & {w, b}


def test_constants_are_replaced_in_place(opened):
    model = opened(chain())
    tensors = model.graph.main.tensors
    weights = next(t for t in tensors if t.name == "wd")
    changed = with_constants(model.tflite, {weights.index: 2 * weights.data})
    assert len(changed) == len(model.tflite)
    for a, b in zip(tensors, read_graph(changed).main.tensors, strict=True):
        if a.data is not None:
            factor = 2 if a.name == "wd" else 1
            assert np.array_equal(factor * a.data, b.data)
