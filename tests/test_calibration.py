import dataclasses
import re

import numpy as np
import pytest
from make_model import Maker, convolution, schema, tiny_float, tiny_int8

from edgeq.calibration import calibrate
from edgeq.errors import ConversionError, DataError
from edgeq.lint import Lint
from edgeq.models import open_model
from edgeq.pipeline import checked
from edgeq.samples import open_samples
from edgeq.tflite import read_graph

GOOD = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)


@pytest.fixture
def model(float_model):
    return open_model(float_model)


def messages(calibration):
    return " | ".join(f.message for f in calibration.findings)


def test_ranges_are_the_exact_minima_and_maxima(model):
    calibration = calibrate(model, GOOD)
    weights = {t.name: t.data for t in model.graph.main.tensors if t.is_constant}
    hidden = GOOD @ weights["w1"].T + weights["b1"]
    elu = np.where(hidden > 0, hidden, np.expm1(hidden))
    expected = {"x": GOOD, "h": hidden, "e": elu, "y": elu @ weights["w2"].T + weights["b2"]}
    found = {model.graph.main.tensors[i].name: r for i, r in calibration.ranges.items()}
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx((values.min(), values.max()), rel=1e-5)
    assert calibration.samples == 60
    assert messages(calibration) == ""


def test_features_of_very_different_ranges_are_said(model):
    uneven = GOOD * np.float32([1, 1, 1, 1000])
    assert "a quarter of the features span" in messages(calibrate(model, uneven))
    assert "normalize each feature" in calibrate(model, uneven).findings[0].hint
    assert messages(calibrate(model, GOOD * np.float32([1, 1, 1, 20]))) == ""
    assert messages(calibrate(model, GOOD * np.float32([0, 1, 1, 1]))) == ""


def test_the_same_data_gives_the_same_calibration(model):
    assert calibrate(model, GOOD) == calibrate(model, GOOD.copy())
    assert calibrate(model, GOOD).sha256 != calibrate(model, GOOD[::-1]).sha256


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stop_with_sample_input_and_place(model, value):
    data = GOOD.copy()
    data[17, 2] = value
    with pytest.raises(DataError, match=r"sample 17, input 'x': 1 value is NaN or infinite.*2"):
        calibrate(model, data)


def test_a_wrong_shape_names_both_shapes(model):
    with pytest.raises(DataError, match=r"sample 0, input 'x': shape \(5,\).*\(1, 4\)"):
        calibrate(model, np.zeros((60, 5), np.float32))


def image_model(divide: bool):
    m = Maker()
    x = m.tensor("image", (1, 6, 8, 3))
    y = m.tensor("y", (1, 6, 8, 3))
    factor = m.tensor("factor", (), data=np.float32(1 / 255 if divide else 3.0))
    m.op("MUL", [x, factor], [y], schema.MulOptionsT())
    return m.bytes([x], [y])


@pytest.fixture
def images(tmp_path):
    def make(divide=False):
        (tmp_path / "m.tflite").write_bytes(image_model(divide))
        return open_model(tmp_path / "m.tflite")

    return make


def test_channels_first_is_recognised(images):
    data = np.random.default_rng(0).random((60, 3, 6, 8)).astype(np.float32)
    with pytest.raises(DataError, match="NCHW") as caught:
        calibrate(images(), data)
    assert "moveaxis" in caught.value.hint


def test_raw_pixels_for_a_network_that_does_not_rescale_are_reported(images):
    data = np.random.default_rng(0).integers(0, 256, (60, 6, 8, 3), dtype=np.uint8)
    assert "look like raw pixels" in messages(calibrate(images(), data))
    assert messages(calibrate(images(divide=True), data)) == ""


def test_scaled_data_for_a_network_that_rescales_is_reported(images):
    data = np.random.default_rng(0).random((60, 6, 8, 3)).astype(np.float32)
    assert "divides by 255" in messages(calibrate(images(divide=True), data))
    assert messages(calibrate(images(), data)) == ""


def folded(tmp_path, scale):
    """A convolution behind a MUL that the converter has folded into its weights: times `scale`."""
    m = Maker()
    x, y = m.tensor("x", (1, 6, 8, 3)), m.tensor("y", (1, 6, 8, 4))
    weights = scale * np.random.default_rng(0).normal(0, 0.3, (4, 3, 3, 3))
    m.op("CONV_2D", [x, m.tensor("w", (4, 3, 3, 3), data=weights),
                     m.tensor("b", (4,), data=np.zeros(4))], [y], convolution())  # fmt: skip
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    return open_model(tmp_path / "m.tflite")


PIXELS = np.random.default_rng(0).uniform(0, 255, (60, 6, 8, 3))


def test_a_rescaling_that_is_folded_into_the_weights_is_seen_there(tmp_path):
    model = folded(tmp_path, 1 / 255)
    for right in (PIXELS.astype(np.float32), PIXELS.astype(np.uint8), np.round(PIXELS)):
        assert messages(calibrate(model, right)) == ""
    (finding,) = calibrate(model, PIXELS / 255).findings
    assert "as if scaled twice" in finding.message and "0 to 255" in finding.hint


@pytest.mark.parametrize(
    "wrong",
    [
        PIXELS,  # Resized, so not whole.
        np.round(PIXELS),
        (PIXELS / 3).astype(np.uint8),
        (PIXELS - 128).astype(np.int8),
        PIXELS - 127.5,
    ],
)
def test_pixels_of_every_form_are_large_for_weights_that_take_small_numbers(wrong, tmp_path):
    model = folded(tmp_path, 1)
    assert messages(calibrate(model, PIXELS / 255)) == ""
    (finding,) = calibrate(model, wrong).findings
    assert "look like raw pixels" in finding.message
    assert "trained on raw pixels" in finding.hint  # It may be so, and then nothing is wrong.


def test_few_duplicate_and_constant_samples_are_reported(model):
    data = GOOD[:20].copy()
    data[5] = data[2]
    data[7] = 0.25
    said = messages(calibrate(model, data))
    assert "only 20 samples" in said
    assert "sample 5 is sample 2 again" in said
    assert "sample 7" in said and "one value throughout" in said


def test_no_samples_stop(model):
    with pytest.raises(DataError, match="no samples"):
        calibrate(model, np.zeros((0, 4), np.float32))


def test_a_generator_that_was_not_read_to_its_end_is_reported(model):
    rows = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    samples = open_samples(iter(rows), model.graph.inputs, asked=20)
    assert "yields more samples than were read" in messages(calibrate(model, samples))


@pytest.mark.parametrize(
    ("shape", "said"),
    [((8, 4), "batch dimension"), ((8, 3, 2), "another order"), ((8, 6), r"\.reshape\(-1, 2, 3\)")],
)
def test_a_wrong_shape_says_what_puts_it_right(shape, said):
    m = Maker()
    x, y = m.tensor("x", (1, 2, 3)), m.tensor("y", (1, 2, 3))
    m.op("ABS", [x], [y])
    graph = read_graph(m.bytes([x], [y]))
    samples, _ = checked(open_samples(np.ones(shape), graph.inputs), graph)
    with pytest.raises(DataError) as caught:
        samples.get(0)
    assert re.search(said, caught.value.hint)


def test_a_fixed_batch_says_how_it_becomes_one():
    m = Maker()
    x, y = m.tensor("x", (4, 8)), m.tensor("y", (4, 8))
    m.op("ABS", [x], [y])
    graph = read_graph(m.bytes([x], [y]))
    samples, _ = checked(open_samples(np.ones((9, 8)), graph.inputs), graph)
    with pytest.raises(DataError) as caught:
        samples.get(0)
    assert "--input-shape x=1,8" in caught.value.hint


def test_what_no_token_can_be_stops():
    m = Maker()
    x, y = m.tensor("tokens", (1, 4), np.int32), m.tensor("y", (1, 4), np.int32)
    m.op("RELU", [x], [y])
    graph = read_graph(m.bytes([x], [y]))
    for value in (np.nan, np.inf, 0.5, 1e30):
        samples, _ = checked(open_samples(np.full((3, 4), value), graph.inputs), graph)
        with pytest.raises(DataError, match="does not fit the model's int32"):
            samples.get(0)


def test_text_and_complex_numbers_stop(model):
    for data in (np.full((60, 4), "a"), np.zeros((60, 4), np.complex64)):
        with pytest.raises(DataError, match="sample 0|holds text"):
            calibrate(model, data)


def test_a_range_beyond_a_quantized_input_is_reported(tmp_path):
    graph = read_graph(tiny_int8())
    data = np.random.default_rng(0).random((60, 8, 8, 1)).astype(np.float32) * 255
    samples = open_samples(data, graph.inputs)
    lint = Lint(graph, samples)
    list(lint.checked(samples))
    assert any("clipped" in f.hint for f in lint.findings())


def test_a_network_that_overflows_is_told_apart_from_bad_data(tmp_path):
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    m.op("EXP", [x], [y])
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    with pytest.raises(DataError, match="computes NaN or infinity"):
        calibrate(open_model(tmp_path / "m.tflite"), GOOD * 1000)


def test_a_quantized_model_has_nothing_to_calibrate(tiny_model):
    with pytest.raises(ConversionError, match="quantized already"):
        calibrate(open_model(tiny_model), np.zeros((60, 8, 8, 1), np.float32))


def test_a_loop_is_refused_by_name(model):
    op = dataclasses.replace(model.graph.main.ops[0], name="WHILE", subgraphs=(1,))
    main = dataclasses.replace(model.graph.main, ops=(op, *model.graph.main.ops[1:]))
    graph = dataclasses.replace(model.graph, subgraphs=(main,))
    with pytest.raises(ConversionError, match="operator 0 is WHILE") as caught:
        calibrate(dataclasses.replace(model, graph=graph), GOOD)
    assert "unroll=True" in caught.value.hint


def test_checked_samples_are_what_the_input_takes(model):
    samples, _ = checked(open_samples(GOOD.astype(np.float64), model.graph.inputs), model.graph)
    assert samples.get(0)[0].dtype == np.float32


def test_whole_numbers_are_needed_where_the_model_takes_indices(tmp_path):
    m = Maker()
    table, x = m.tensor("table", (9, 2), data=np.ones((9, 2))), m.tensor("ids", (1, 3), np.int32)
    y = m.tensor("y", (1, 3, 2))
    m.op("GATHER", [table, x], [y], schema.GatherOptionsT())
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    model = open_model(tmp_path / "m.tflite")
    assert calibrate(model, np.tile(np.arange(3.0), (60, 1)) + np.arange(60)[:, None] % 6).samples
    with pytest.raises(DataError, match="does not fit the model's int32"):
        calibrate(model, np.full((60, 3), 0.5))


def test_tiny_float_is_what_these_tests_think():
    assert [op.name for op in read_graph(tiny_float()).main.ops] == [
        "FULLY_CONNECTED",
        "ELU",
        "FULLY_CONNECTED",
    ]
