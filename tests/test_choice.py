"""Ranges by several methods, biases corrected, and the best kept, by what a build then shows."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from make_model import Maker, convolution, schema

import edgeq.calibration
import edgeq.choice
from edgeq.biases import with_corrected_biases
from edgeq.calibration import calibrate, judges, split
from edgeq.choice import choose
from edgeq.cli import run
from edgeq.conversion import convert
from edgeq.errors import UsageError
from edgeq.interpreters import litert
from edgeq.judging import Measured, gain_db, objection
from edgeq.models import open_model
from edgeq.ranges import AUTO, BINS, METHODS, Histogram, method_named, ranges_by
from edgeq.samples import open_samples
from edgeq.tflite import read_graph
from edgeq.verification import Fidelity, measure_fidelity
from edgeq.workers.histograms import Histograms

RANDOM = np.random.default_rng(3)


def pointwise() -> bytes:
    """float32 16x16x4 -> 1x1 convolution to 8, ReLU -> 1x1 convolution to 4."""
    random = np.random.default_rng(1)
    m = Maker()
    x, h, y = (m.tensor(n, (1, 16, 16, c)) for n, c in (("x", 4), ("h", 8), ("y", 4)))
    w1, w2 = random.standard_normal((8, 1, 1, 4)), random.standard_normal((4, 1, 1, 8))
    relu = convolution(fusedActivationFunction=schema.ActivationFunctionType.RELU)
    weights = m.tensor("w1", w1.shape, data=w1), m.tensor("b1", (8,), data=np.zeros(8))
    m.op("CONV_2D", [x, *weights], [h], relu)
    weights = m.tensor("w2", w2.shape, data=w2), m.tensor("b2", (4,), data=np.ones(4))
    m.op("CONV_2D", [h, *weights], [y], convolution())
    return m.bytes([x], [y])


def flipped() -> bytes:
    """float32 64 -> dense with weights 1 and -1, which integers hold exactly."""
    m = Maker()
    x, y = m.tensor("x", (1, 64)), m.tensor("y", (1, 64))
    weights = np.diag(np.where(np.arange(64) % 2, 1.0, -1.0))
    w, b = m.tensor("w", (64, 64), data=weights), m.tensor("b", (64,), data=np.zeros(64))
    m.op("FULLY_CONNECTED", [x, w, b], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y])


def offset() -> bytes:
    """float32 64 -> dense 8: for inputs near 1, errors of the weights shift the output."""
    m = Maker()
    x, y = m.tensor("x", (1, 64)), m.tensor("y", (1, 8))
    weights = np.random.default_rng(1).standard_normal((8, 64))
    weights[:, 0] = 12
    w, b = m.tensor("w", (8, 64), data=weights), m.tensor("b", (8,), data=np.arange(8))
    m.op("FULLY_CONNECTED", [x, w, b], [y], schema.FullyConnectedOptionsT())
    return m.bytes([x], [y])


def glitches(count: int = 100) -> np.ndarray:
    """Normal data, but for one pixel of one sample that is calibrated with."""
    data = np.random.default_rng(2).standard_normal((count, 16, 16, 4)).astype(np.float32)
    data[12, 5, 5] = 150
    return data


NETWORKS = {
    "glitches": (pointwise, glitches()),
    "even": (flipped, RANDOM.uniform(-1, 1, (100, 64)).astype(np.float32)),
    "offset": (offset, RANDOM.uniform(0.9, 1.1, (100, 64)).astype(np.float32)),
}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, tensorflow):
    @functools.cache
    def make(name, scheme="int8", method=AUTO, samples=None, labelled=False):
        network, data = NETWORKS[name]
        path = tmp_path_factory.mktemp("net") / "net.tflite"
        path.write_bytes(network())
        model = open_model(path)
        data = open_samples(data[:samples], model.graph.inputs)
        if labelled:
            data = replace(data, labels=np.abs(NETWORKS[name][1]).argmax(1))
        calibration = calibrate(model, split(data)[0], distributions=True)
        arguments = (model, calibration, scheme, judges(data))
        model, made, choice = choose(*arguments, method=method, tensorflow=tensorflow)
        return model, made, choice

    return make


def levels(choice):
    return {t.name: t.sqnr_db for t in choice.trials}


def test_with_outliers_percentiles_beat_min_max_and_are_kept(chosen):
    model, made, choice = chosen("glitches")
    found = levels(choice)
    assert found["percentile"] > found["minmax"] + 10
    assert choice.method.startswith("percentile") and choice.samples == 20
    kept = next(t for t in choice.trials if t.way == choice.way)
    assert kept.sqnr_db >= found["percentile"]
    fresh = np.random.default_rng(9).standard_normal((50, 16, 16, 4)).astype(np.float32)
    (measured,) = measure_fidelity(
        model.tflite, made.tflite, made.graph, open_samples(fresh, model.graph.inputs)
    )
    assert measured.sqnr_db > found["minmax"] + 10


def test_where_min_max_is_best_it_stays(chosen, tensorflow):
    model, made, choice = chosen("even")
    assert (choice.method, choice.bias_correction) == ("minmax", False)
    assert set(levels(choice)) >= set(METHODS)
    assert levels(choice)["percentile-99.9"] <= levels(choice)["minmax"] + 0.5
    plain = calibrate(model, split(open_samples(NETWORKS["even"][1], model.graph.inputs))[0])
    assert made.tflite == convert(model, plain, tensorflow=tensorflow).tflite


def test_a_large_network_is_tried_by_fewer_methods(chosen, monkeypatch):
    monkeypatch.setattr("edgeq.choice.LARGE", 1.0)
    _, _, choice = chosen("glitches", samples=95)
    assert {t.way.method for t in choice.trials} == {"minmax", "percentile-99.9"}
    assert choice.method == "percentile-99.9"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_what_is_kept_is_never_worse_than_min_max(name, scheme, chosen):
    _, made, choice = chosen(name, scheme)
    assert made.scheme == scheme
    kept = next(t for t in choice.trials if t.way == choice.way)
    assert kept.sqnr_db >= levels(choice)["minmax"]


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_biases_are_corrected_where_that_helps(scheme, chosen):
    _, made, choice = chosen("offset", scheme)
    found = levels(choice)
    assert choice.bias_correction
    assert found[f"{choice.method} + bias correction"] > found[choice.method] + 0.5
    assert not any(t.failed for t in choice.trials)


def test_biases_are_measured_in_a_small_network_and_computed_in_a_large_one(chosen, monkeypatch):
    found = {}
    for work in (0, edgeq.choice.CORRECTION_WORK):
        monkeypatch.setattr(edgeq.choice, "CORRECTION_WORK", work)
        _, made, choice = chosen.__wrapped__("offset")
        assert choice.bias_correction
        found[work] = made.tflite
    assert len(set(found.values())) == 2


def test_a_correction_changes_biases_and_nothing_else(chosen):
    model, made, _ = chosen("offset", method="minmax")
    means = {model.graph.inputs[0].tensor.index: np.ones(64)}
    better = with_corrected_biases(made.tflite, model.graph, means)
    assert better is not None and len(better) == len(made.tflite)
    before, after = (read_graph(t).main.tensors for t in (made.tflite, better))
    for a, b in zip(before, after, strict=True):
        same = a.data is None or np.array_equal(a.data, b.data)
        assert same == (a.dtype != "int32") and a.quantization == b.quantization
    with litert(better) as network:
        assert network.call("run", [], time_limit=60) == []


def test_one_method_is_taken_as_it_is_and_shown_beside_min_max(chosen):
    _, _, choice = chosen("even", method="entropy")
    assert choice.method == "entropy"
    assert list(levels(choice))[:2] == ["minmax", "entropy"]


def test_too_few_held_out_samples_choose_nothing(chosen):
    _, _, choice = chosen("glitches", samples=30)
    assert choice.method == "minmax" and choice.trials == ()
    assert "6 samples are held out" in choice.note


def test_more_right_answers_come_first(chosen):
    _, _, choice = chosen("even", labelled=True)
    assert all(t.accuracy is not None for t in choice.trials)
    kept = next(t for t in choice.trials if t.way == choice.way)
    assert kept.accuracy >= choice.trials[0].accuracy
    assert kept.sqnr_db >= choice.trials[0].sqnr_db


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / "net.tflite").write_bytes(pointwise())
    model, found = open_model(tmp_path / "net.tflite"), []
    for count in (1, 3):
        monkeypatch.setattr(edgeq.calibration, "threads", lambda count=count: count)
        seen = calibrate(model, glitches(50), distributions=True).distributions
        found.append(
            [(h.counts.tobytes(), h.exponent) for h in seen.histograms.values()]
            + [m.tobytes() for m in seen.means.values()]
        )
    assert found[0] == found[1]


# --- What decides ------------------------------------------------------------------------------


def measured(noise, right=None):
    """Of one output with a signal of 1 in each sample."""
    noise = np.asarray(noise, np.float64)[None]
    fidelity = (Fidelity("y", noise.size, None, 0.0, None),)
    return Measured(fidelity, np.ones_like(noise), noise, right)


def test_a_gain_must_be_large_and_beyond_chance():
    base = np.full(100, 0.01)
    assert objection(measured(base), measured(base / 2)) is None
    assert "less than 0.5 dB" in objection(measured(base), measured(base / 1.1))
    assert "less than 0.5 dB" in objection(measured(base), measured(base * 2))
    lucky = base.copy()
    lucky[7] = 1  # All of the gain is in one sample.
    assert "within chance" in objection(measured(lucky), measured(base))
    gain, error = gain_db(measured(base), measured(base / 2))
    assert gain == pytest.approx(3.01, abs=0.01) and error == pytest.approx(0, abs=1e-6)


def test_the_standard_error_is_that_of_other_samples():
    """Gains on many sets of samples from one distribution spread as each set says by itself."""
    random = np.random.default_rng(0)
    gains, errors = [], []
    for _ in range(400):
        shared = random.gamma(1, 1, 100)
        a, b = (shared * random.gamma(3, 1 / 3, 100) for _ in range(2))
        gain, error = gain_db(measured(a), measured(b))
        gains.append(gain)
        errors.append(error)
    assert np.std(gains) == pytest.approx(np.mean(errors), rel=0.15)


@pytest.mark.parametrize(
    ("lost", "won", "vetoed"),
    [(0, 0, False), (2, 0, False), (3, 0, True), (6, 2, True), (5, 3, False), (0, 9, False)],
)
def test_answers_veto_where_chance_does_not_explain_them(lost, won, vetoed):
    before, after = np.ones(100, bool), np.ones(100, bool)
    after[:lost] = False
    before[lost : lost + won] = False
    base = np.full(100, 0.01)
    why = objection(measured(base, before), measured(base / 4, after))
    assert (why is not None) == vetoed
    assert not vetoed or why == f"{lost} answers turn wrong and {won} right"


def test_a_worse_output_is_an_objection():
    fidelity = tuple(Fidelity(n, 10, None, 0.0, None) for n in ("a", "b"))
    signal = np.ones((2, 10))
    before = Measured(fidelity, signal, np.stack([signal[0] * 0.1, signal[0] * 0.001]), None)
    after = Measured(fidelity, signal, np.stack([signal[0] * 0.05, signal[0] * 0.002]), None)
    assert objection(before, after) == "loses 3.0 dB in output b"


def classifier() -> bytes:
    """float32 64 -> dense 8 -> softmax so sharp that nearly all probabilities are 0 or 1."""
    m = Maker()
    x, h, y = m.tensor("x", (1, 64)), m.tensor("h", (1, 8)), m.tensor("y", (1, 8))
    weights = 9 * np.random.default_rng(1).standard_normal((8, 64))
    w, b = m.tensor("w", (8, 64), data=weights), m.tensor("b", (8,), data=np.arange(8))
    m.op("FULLY_CONNECTED", [x, w, b], [h], schema.FullyConnectedOptionsT())
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    m.op("SOFTMAX", [h], [y], options)
    return m.bytes([x], [y])


def test_what_a_softmax_reads_is_compared(tmp_path, tensorflow):
    (tmp_path / "net.tflite").write_bytes(classifier())
    model = open_model(tmp_path / "net.tflite")
    data = np.random.default_rng(2).uniform(0.9, 1.1, (120, 64)).astype(np.float32)
    data[5, 3] = 300
    samples = open_samples(data, model.graph.inputs)
    calibration = calibrate(model, split(samples)[0], distributions=True)
    _, made, choice = choose(model, calibration, "int8", judges(samples), tensorflow=tensorflow)
    assert choice.before_softmax and choice.facts()["before_softmax"]
    found = levels(choice)
    assert choice.way.method == "percentile-99.9"
    assert found[choice.way.name] > found["minmax"] + 5
    assert [op.name for op in made.graph.main.ops][-1] == "SOFTMAX"


# --- Ranges of one tensor ----------------------------------------------------------------------


def histogram(values) -> Histogram:
    made = Histograms(1)
    for part in np.array_split(np.asarray(values, np.float32), 7 + len(values) // 4096):
        if part.size:
            made.add(0, part)
    return Histogram(made.counts[0], int(made.exponents[0]))


def test_a_histogram_does_not_depend_on_the_order_of_values():
    values = RANDOM.standard_normal(20_000) * np.exp(RANDOM.uniform(-30, 9, 20_000))
    up, down = histogram(np.sort(values)), histogram(np.sort(values)[::-1])
    assert up.exponent == down.exponent and up.counts.sum() == 20_000
    assert np.array_equal(up.counts, down.counts)
    edges = (np.arange(BINS + 1) - BINS // 2) * up.width
    assert np.array_equal(up.counts, np.histogram(values.astype(np.float32), edges)[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0], [-3.0] * 9, [2.5] * 9, [1e-30, -1e-30], [1e30, 1]])
def test_every_method_stays_within_what_was_seen(method, values):
    extremes = min(values), max(values)
    made = ranges_by(method, {4: extremes}, {4: histogram(values)}, "int8")[4]
    assert extremes[0] <= made[0] <= made[1] <= extremes[1]


@pytest.mark.parametrize(("method", "inside"), [("percentile", 0.9998), ("percentile-99.9", 0.998)])
def test_percentiles_leave_out_their_share(method, inside):
    values = RANDOM.standard_normal(28_000).astype(np.float32)
    extremes = float(values.min()), float(values.max())
    low, high = ranges_by(method, {0: extremes}, {0: histogram(values)}, "int8")[0]
    share = np.mean((values >= low) & (values <= high))
    assert share == pytest.approx(inside, abs=0.0003)


def test_rare_large_values_are_clipped_where_steps_are_worth_more():
    values = np.append(RANDOM.standard_normal(800_000), [9.0] * 2).astype(np.float32)
    extremes = float(values.min()), float(values.max())
    low, high = ranges_by("mse", {0: extremes}, {0: histogram(values)}, "int8")[0]
    assert low < -2.5 and 2.5 < high < 7

    def error(a, b):
        step = (b - a) / 255
        return np.mean((np.round(np.clip(values, a, b) / step) * step - values) ** 2)

    assert error(low, high) < error(*extremes)


@pytest.mark.parametrize("zeros", [0, 800_000])
def test_entropy_shortens_a_long_tail_whether_or_not_half_the_values_are_zero(zeros):
    """Zero is exact in integers, so how many there are has no say."""
    tail = np.random.default_rng(5).exponential(1.0, 800_000)
    values = np.random.default_rng(6).permutation(np.append(tail, np.zeros(zeros)))
    extremes = 0.0, float(values.max())
    made = ranges_by("entropy", {0: extremes}, {0: histogram(values)}, "int8")[0]
    assert made[0] == 0 and 0.4 * extremes[1] < made[1] < extremes[1]


def test_entropy_leaves_a_sparse_histogram_alone():
    values = RANDOM.standard_normal(2000).astype(np.float32)
    extremes = float(values.min()), float(values.max())
    assert ranges_by("entropy", {0: extremes}, {0: histogram(values)}, "int8")[0] == extremes


def test_an_unknown_method_suggests_the_nearest():
    assert method_named("mse") == "mse"
    with pytest.raises(UsageError, match="unknown calibration method 'percentil'") as caught:
        method_named("percentil")
    assert "percentile" in caught.value.hint


# --- The command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "net.tflite").write_bytes(pointwise())
    np.save(folder / "data.npy", glitches())
    return folder


def test_the_table_is_shown_and_is_in_manifest_and_json(files, tmp_path, capfd):
    command = ["build", str(files / "net.tflite"), "-t", "host", "-o", str(tmp_path)]
    command += ["--calibration-data", str(files / "data.npy")]
    assert run([*command, "--json", str(tmp_path / "facts.json")]) == 0
    shown = capfd.readouterr().out
    assert "calibration, on 20 samples that no range is from" in shown
    assert all(f"\n{method} " in shown for method in METHODS) and "kept" in shown
    manifest = json.loads((tmp_path / "host" / "manifest.json").read_text())
    facts = manifest["conversion"]["calibration"]
    assert facts["asked"] == "auto" and facts["method"].startswith("percentile")
    assert [t["method"] for t in facts["trials"]][: len(METHODS)] == list(METHODS)
    assert facts["trials"][0]["outputs"][0]["sqnr_db"] < 40
    assert json.loads((tmp_path / "facts.json").read_text())[0]["calibration"] == facts
    first = (tmp_path / "host" / "model.tflite").read_bytes()
    assert run(command) == 0
    assert (tmp_path / "host" / "model.tflite").read_bytes() == first


def test_min_max_alone_measures_nothing(files, tmp_path, capfd):
    command = ["build", str(files / "net.tflite"), "-t", "host", "-o", str(tmp_path)]
    command += ["--calibration-data", str(files / "data.npy"), "--calibration", "minmax"]
    assert run(command) == 0
    assert "no range is from" not in capfd.readouterr().out
    bundle = tmp_path / "host"
    facts = json.loads((bundle / "manifest.json").read_text())["conversion"]["calibration"]
    assert (facts["method"], facts["trials"]) == ("minmax", [])
    assert "--calibration minmax" in (bundle / "README.md").read_text()


def test_bad_methods_are_refused_in_words(files, tiny_model, tmp_path, capfd):
    build = ["build", "-t", "host", "-o", str(tmp_path / "out")]
    data = ["--calibration-data", str(files / "data.npy")]
    for arguments, said in (
        ([str(files / "net.tflite"), *data, "--calibration", "kl"], "unknown calibration method"),
        ([str(files / "net.tflite"), *data, "--calibration", ""], "--calibration is empty"),
        ([str(tiny_model), "--calibration", "mse"], "quantized already"),
        (
            [str(files / "net.tflite"), "--scheme", "float16", "--calibration", "mse"],
            "float16 has no ranges",
        ),
        ([str(files / "net.tflite"), "--calibration", "mse"], "needs calibration data"),
    ):
        assert run([*build, *arguments]) in (1, 2)
        assert said in " ".join(capfd.readouterr().err.split())
    assert not (tmp_path / "out").exists()
