import dataclasses

import numpy as np
import pytest
from make_model import Maker, convolution, schema, softmax, tiny_float, tiny_int8

from edgeq.arena import cmsis_nn_scratch, find_arena
from edgeq.calibration import calibrate
from edgeq.complexity import live_bytes, parameters, total_macs
from edgeq.conversion import Conversion, convert
from edgeq.errors import ConversionError, DataError, UsageError, VerificationError
from edgeq.interpreters import litert, run, tflm
from edgeq.isolation import Worker
from edgeq.models import open_model
from edgeq.reference import golden_count, make_golden
from edgeq.samples import open_samples
from edgeq.targets import load_target
from edgeq.tflite import read_graph
from edgeq.verification import (
    Gates,
    MissedGate,
    compare_engines,
    find_violations,
    layer_errors,
    measure_accuracy,
    measure_fidelity,
    missed_gate,
    verify,
)
from edgeq.verification.fidelity import decibels
from edgeq.verification.proof import fresh_inputs

TINY = tiny_int8()


def reasons(data):
    return [v.why for v in find_violations(read_graph(data))]


def test_an_integer_model_has_no_violation():
    assert reasons(TINY) == []


def test_float_operators_are_listed_with_their_share_of_the_work():
    violations = find_violations(read_graph(tiny_float()))
    assert [(v.op_index, v.op_name) for v in violations] == [
        (0, "FULLY_CONNECTED"),
        (1, "ELU"),
        (2, "FULLY_CONNECTED"),
    ]
    assert [round(v.share, 2) for v in violations] == [0.67, 0, 0.33]
    assert "ReLU" in violations[1].cure


def test_hybrid_operators_are_told_apart():
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 2))
    w = m.tensor("w", (2, 4), np.int8, 0.1, data=np.ones((2, 4)))
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    assert "hybrid" in reasons(m.bytes([x], [y]))[0]


def test_an_island_is_found_at_both_shores():
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    a, b = m.tensor("a", (1, 4)), m.tensor("b", (1, 4))
    m.op("DEQUANTIZE", [x], [a])
    m.op("ELU", [a], [b])
    m.op("QUANTIZE", [b], [y])
    violations = find_violations(read_graph(m.bytes([x], [y])))
    assert [v.op_name for v in violations] == ["DEQUANTIZE", "ELU", "QUANTIZE"]
    assert "ReLU" in violations[0].cure  # The cure is the float operator's, not the shore's.


def quantized_around(*operators):
    """RELU in int8, DEQUANTIZE, the float `operators`, QUANTIZE, RELU in int8; all of 1x4."""
    m = Maker()
    made = [m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("relu", (1, 4), np.int8, 0.1)]
    m.op("RELU", made[:1], made[1:])
    for name in ("DEQUANTIZE", *operators):
        made.append(m.tensor(name.lower(), (1, 4)))
        m.op(name, [made[-2]], [made[-1]])
    for name in ("QUANTIZE", "RELU"):
        made.append(m.tensor(f"last_{name}", (1, 4), np.int8, 0.1))
        m.op(name, [made[-2]], [made[-1]])
    return m.bytes([made[0]], [made[-1]])


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        (["ELU"], "ELU stayed float: use ReLU"),
        (["SQUEEZE", "ELU", "SQUEEZE"], "ELU stayed float: use ReLU"),
        (["SIN", "SQUEEZE"], "SIN beside it stayed float"),
        (["SQUEEZE"], "SQUEEZE beside it stayed float"),
    ],
)
def test_both_shores_name_the_operator_that_stayed_float_not_their_integer_neighbour(
    operators, said
):
    violations = find_violations(read_graph(quantized_around(*operators)))
    shores = [v for v in violations if v.op_name in ("DEQUANTIZE", "QUANTIZE")]
    assert len(shores) == 2 and all(said in v.cure for v in shores)


def test_integers_between_float_edges_are_told_to_be_converted_with_integer_edges():
    """What TFLiteConverter writes unless it is told otherwise."""
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    a, b = m.tensor("a", (1, 4), np.int8, 0.1), m.tensor("b", (1, 4), np.int8, 0.1)
    m.op("QUANTIZE", [x], [a])
    m.op("RELU", [a], [b])
    m.op("DEQUANTIZE", [b], [y])
    violations = find_violations(read_graph(m.bytes([x], [y])))
    cure = "convert again with integer inputs and outputs"
    assert [(v.op_name, v.cure) for v in violations] == [("QUANTIZE", cure), ("DEQUANTIZE", cure)]


def test_float_edges_count_even_where_the_middle_is_integer():
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("QUANTIZE", [x], [y])
    assert len(reasons(m.bytes([x], [y]))) == 1


def test_a_float_input_that_nothing_reads_is_told_to_be_left_out():
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    unused = m.tensor("unused", (1, 9))
    m.op("RELU", [x], [y])
    (found,) = find_violations(read_graph(m.bytes([x, unused], [y])))
    assert "'unused' is float32" in found.why and "without it" in found.cure


def dense(weight_zero=0, bias_scale=0.1 * 0.2, out=("FULLY_CONNECTED", 0.3, 0)):
    m = Maker()
    x = m.tensor("x", (1, 4), np.int8, 0.1)
    w = m.tensor("w", (2, 4), np.int8, 0.2, weight_zero, data=np.ones((2, 4)))
    b = m.tensor("b", (2,), np.int32, bias_scale, data=np.ones(2))
    y = m.tensor("y", (1, 2), np.int8, out[1], out[2])
    m.op("FULLY_CONNECTED", [x, w, b], [y], schema.FullyConnectedOptionsT())
    return m, x, y


def test_weights_with_a_zero_point_and_biases_off_their_scale_are_wrong():
    for arguments, said in (({}, []), ({"weight_zero": 3}, ["zero point"]),
                            ({"bias_scale": 0.5}, ["input scale x weight scale"])):  # fmt: skip
        m, x, y = dense(**arguments)
        found = reasons(m.bytes([x], [y]))
        assert len(found) == len(said) and all(s in f for s, f in zip(said, found, strict=True))


def test_integers_of_another_meaning_are_wrong():
    m, x, y = dense()
    m.tensors[x].quantization.zeroPoint[0] = 300
    assert "zero point 300, which is no int8" in reasons(m.bytes([x], [y]))[0]
    m, x, y = dense()
    m.tensors[2].quantization.zeroPoint[0] = 5
    assert "its bias has a zero point other than 0" in reasons(m.bytes([x], [y]))[0]
    for axis, said in ((0, 0), (1, 1)):
        m = Maker()
        x, y = m.tensor("x", (1, 2), np.int8, 0.1), m.tensor("y", (1, 2), np.int8, 0.3)
        w = m.tensor("w", (2, 2), np.int8, [0.2, 0.1], axis=axis, data=np.ones((2, 2)))
        m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
        assert len(reasons(m.bytes([x], [y]))) == said


@pytest.mark.parametrize("name", ["MAXIMUM", "MINIMUM"])
def test_operators_that_choose_values_keep_the_scale(name):
    for scale, said in ((0.1, 0), (0.2, 1)):
        m = Maker()
        x, z = (m.tensor(n, (1, 2), np.int8, 0.1) for n in "xz")
        y = m.tensor("y", (1, 2), np.int8, scale)
        m.op(name, [x, z], [y], schema.MaximumMinimumOptionsT())
        assert len(reasons(m.bytes([x, z], [y]))) == said


def test_a_bias_without_a_scale_is_wrong():
    m, x, y = dense()
    m.tensors[2].quantization = None
    assert reasons(m.bytes([x], [y])) == ["its bias has no scale"]


def test_fixed_output_scales_are_held_to():
    m, x, y = dense()
    z = m.tensor("z", (1, 2), np.int8, 1 / 255, -128)
    m.op("SOFTMAX", [y], [z], softmax())
    assert "must have scale" in reasons(m.bytes([x], [z]))[0]


def test_copying_operators_cannot_change_the_scale():
    m, x, y = dense()
    shape = m.tensor("s", (2,), np.int32, data=np.array([2, 1]))
    z = m.tensor("z", (2, 1), np.int8, 0.4)
    m.op("RESHAPE", [y, shape], [z], schema.ReshapeOptionsT())
    assert "copies values" in reasons(m.bytes([x], [z]))[0]


def test_unused_float_tensors_do_not_count():
    m, x, y = dense()
    m.tensor("leftover", (1, 4))
    assert reasons(m.bytes([x], [y])) == []


def test_costs_are_counted():
    graph = read_graph(TINY)
    assert total_macs(graph) == 8 * 8 * 4 * 9 + 256 * 3
    assert parameters(graph) == 36 + 4 + 768 + 3
    assert live_bytes(graph) == [64 + 256, 256 + 256, 256 + 3, 3 + 3]


@pytest.fixture
def pair(float_model):
    """A float model, and a worse one (weights rounded) in the place of its conversion."""
    model = open_model(float_model)
    random = np.random.default_rng(1)
    m = Maker()
    x, h, e, y = (m.tensor(n, (1, k)) for n, k in (("x", 4), ("h", 3), ("e", 3), ("y", 2)))
    w1 = m.tensor("w1", (3, 4), data=np.round(random.standard_normal((3, 4)), 1))
    b1 = m.tensor("b1", (3,), data=random.standard_normal(3))
    w2 = m.tensor("w2", (2, 3), data=random.standard_normal((2, 3)))
    b2 = m.tensor("b2", (2,), data=random.standard_normal(2))
    m.op("FULLY_CONNECTED", [x, w1, b1], [h], schema.FullyConnectedOptionsT())
    m.op("ELU", [h], [e])
    m.op("FULLY_CONNECTED", [e, w2, b2], [y], schema.FullyConnectedOptionsT())
    worse = m.bytes([x], [y])
    return model, Conversion(worse, read_graph(worse), "float32", "by hand")


DATA = np.random.default_rng(5).standard_normal((40, 4)).astype(np.float32)


def test_fidelity_is_what_the_formulas_say(pair):
    model, conversion = pair
    samples = open_samples({"x": DATA, "labels": np.arange(40) % 2}, model.graph.inputs)
    (found,) = measure_fidelity(model.tflite, conversion.tflite, conversion.graph, samples)
    with litert(model.tflite) as a, litert(conversion.tflite) as b:
        want = np.concatenate([o[0] for o in run(a, samples)]).astype(float)
        got = np.concatenate([o[0] for o in run(b, samples)]).astype(float)
    assert found.sqnr_db == pytest.approx(
        10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()), abs=0.01
    )
    assert found.max_error == pytest.approx(abs(want - got).max(), rel=1e-4)
    assert found.top1_agreement == (want.argmax(1) == got.argmax(1)).mean()
    assert found.accuracy == (got.argmax(1) == samples.labels).mean()
    assert measure_accuracy(conversion.tflite, conversion.graph, samples) == found.accuracy


def test_a_model_equal_to_float_has_no_sqnr(pair):
    model, conversion = pair
    same = dataclasses.replace(conversion, tflite=model.tflite, graph=model.graph)
    proof = verify(model, same, DATA)
    assert proof.fidelity[0].sqnr_db is None and proof.fidelity[0].max_error == 0


def test_the_layer_to_blame_comes_first(pair):
    model, conversion = pair
    errors = layer_errors(model, conversion, open_samples(DATA, model.graph.inputs))
    assert errors[0].op_index == 0  # Its weights are the rounded ones.
    assert errors[0].lost_db > errors[1].lost_db


def test_gates_fail_with_the_number_and_the_limit(pair):
    model, conversion = pair
    samples = open_samples({"x": DATA, "labels": np.arange(40) % 2}, model.graph.inputs)
    results = measure_fidelity(model.tflite, conversion.tflite, conversion.graph, samples)
    wide = Gates(min_accuracy=2, max_accuracy_drop=100, min_sqnr_db=1)
    assert missed_gate(results, None, wide) is None
    for gates in (Gates(min_accuracy=99.9), Gates(min_sqnr_db=90)):
        assert "under the limit of" in missed_gate(results, None, gates)[0]
    worse = [dataclasses.replace(results[0], accuracy=0.1, float_accuracy=0.9)]
    missed = missed_gate(worse, None, Gates(max_accuracy_drop=2))
    assert "from 90.00 % to 10.00 %, by more than 2 points" in missed[0]


def test_a_missed_gate_brings_the_whole_proof(pair):
    model, conversion = pair
    with pytest.raises(MissedGate) as caught:
        verify(model, conversion, DATA, gates=Gates(min_sqnr_db=90), layers=True)
    assert caught.value.verification.layers and caught.value.verification.fidelity


@pytest.mark.parametrize(
    "limits",
    [{"min_accuracy": 0.9}, {"min_accuracy": 101}, {"max_accuracy_drop": -1},
     {"min_accuracy": float("nan")}, {"min_sqnr_db": float("nan")}],
)  # fmt: skip
def test_limits_that_cannot_be_meant_are_refused(limits):
    with pytest.raises(UsageError):
        Gates(**limits)


def test_a_quantized_model_is_judged_by_its_labels_alone(tiny_model):
    model = open_model(tiny_model)
    conversion = convert(model, None, "int8")
    images = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
    data = open_samples({"image": images, "labels": np.zeros(30, int)}, model.graph.inputs)
    proof = verify(model, conversion, data, engines=False)
    assert proof.fidelity == () and 0 <= proof.accuracy <= 1
    assert any("accuracy" in line and "30 samples" in line for line in proof.lines())
    with pytest.raises(MissedGate, match="under the limit"):
        verify(model, conversion, data, engines=False, gates=Gates(min_accuracy=100))
    with pytest.raises(MissedGate, match="no float model"):
        verify(model, conversion, data, engines=False, gates=Gates(min_sqnr_db=20))


FLOATS = np.random.default_rng(2).standard_normal((24, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("judged", "shared", "words"),
    [
        (FLOATS[16:], 0, "8 held-out samples"),
        (FLOATS[:8].astype(np.float64), 8, "8 samples, all also used for calibration"),
        (FLOATS[12:], 4, "12 samples, 4 of them also used for calibration"),
        (np.concatenate([FLOATS[:1]] * 3 + [FLOATS[20:]]), 3, "7 samples, 3 of them also used"),
    ],
)
def test_samples_that_were_calibrated_with_are_counted(
    judged, shared, words, float_model, tensorflow
):
    model = open_model(float_model)
    calibration = calibrate(model, FLOATS[:16])
    conversion = convert(model, calibration, tensorflow=tensorflow)
    proof = verify(model, conversion, judged, engines=False)
    assert (proof.also_calibrated, proof.held_out) == (shared, not shared)
    assert any(words in line for line in proof.lines())


def test_what_was_not_calibrated_is_held_out_though_the_data_was_given(float_model, tensorflow):
    model = open_model(float_model)
    conversion = convert(model, calibrate(model, FLOATS), "dynamic", tensorflow=tensorflow)
    assert verify(model, conversion, FLOATS, engines=False).held_out


def test_an_accuracy_gate_without_labels_is_an_error(pair):
    model, conversion = pair
    with pytest.raises(VerificationError, match="no labels"):
        verify(model, conversion, DATA, gates=Gates(min_accuracy=50))


def test_accuracy_without_labels_is_a_data_error(pair):
    model, conversion = pair
    with pytest.raises(DataError, match="no labels"):
        measure_accuracy(model.tflite, model.graph, open_samples(DATA, model.graph.inputs))


def test_engines_are_compared_and_the_first_difference_named():
    graph = read_graph(TINY)
    agreement = compare_engines(TINY, graph, fresh_inputs(graph, None))
    assert agreement.inputs == 8 and agreement.max_steps <= 1 and agreement.same_network
    assert "equal bytes" in agreement.line()


def test_a_model_that_tflm_lacks_an_operator_for_is_refused_not_crashed(tmp_path):
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("GELU", [x], [y], schema.GeluOptionsT())
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    model = open_model(tmp_path / "m.tflite")
    proof = verify(model, Conversion(model.tflite, model.graph, "int8", "by hand"))
    assert proof.agreement is None and "GELU" in proof.refusal


def test_golden_vectors_are_the_reference_s_bytes():
    graph = read_graph(TINY)
    inputs = fresh_inputs(graph, None, golden_count(graph))
    for engine, network in (("tflm", tflm(TINY, graph)), ("litert", litert(TINY, "reference"))):
        golden = make_golden(TINY, graph, engine, inputs)
        with network:
            again = list(run(network, inputs))
        assert all(
            np.array_equal(a, b)
            for x, y in zip(golden.outputs, again, strict=True)
            for a, b in zip(x, y, strict=True)
        )
        assert len(golden.inputs) == 8 and golden.tolerance == (1,)


def test_the_tolerance_for_an_old_interpreter_counts_its_roundings():
    """tflite-runtime 2.14 rounds twice where LiteRT 2 rounds once, as TFLM does: in a chain of
    fully connected layers that adds up."""
    m, rng = Maker(), np.random.default_rng(0)
    first = x = m.tensor("x", (1, 32), np.int8, 0.05)
    for layer in range(8):
        weights = rng.integers(-127, 128, (32, 32)).astype(np.int8)
        w = m.tensor(f"w{layer}", (32, 32), np.int8, 0.0045, data=weights)
        y = m.tensor(f"y{layer}", (1, 32), np.int8, 0.05)
        m.op("FULLY_CONNECTED", [x, w], [y], schema.FullyConnectedOptionsT())
        x = y
    data = m.bytes([first], [x])
    graph = read_graph(data)
    inputs = fresh_inputs(graph, None, golden_count(graph))
    golden = make_golden(data, graph, "litert", inputs, interpreter="tflite-runtime")
    with tflm(data, graph) as network:
        older = list(run(network, inputs))
    apart = max(
        int(np.abs(a.astype(int) - b.astype(int)).max())
        for (a,), (b,) in zip(golden.outputs, older, strict=True)
    )
    assert apart > 1 and golden.tolerance == (apart,)
    assert make_golden(data, graph, "litert", inputs).tolerance < golden.tolerance


def test_the_arena_is_the_smallest_that_invokes():
    graph = read_graph(TINY)
    core = load_target("cortex-m4").core
    (sample,) = fresh_inputs(graph, None, 1)
    arena = find_arena(TINY, graph, core, sample)
    assert arena.size == arena.measured + arena.scratch and arena.size % 16 == 0
    with Worker("edgeq.workers.tflm:ArenaProbe", TINY, sample) as probe:
        assert probe.call("invokes", arena.measured, time_limit=60)
        assert not probe.call("invokes", arena.measured - 16, time_limit=60)


def test_a_model_that_tflm_cannot_run_has_no_arena():
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("GELU", [x], [y], schema.GeluOptionsT())
    data = m.bytes([x], [y])
    graph = read_graph(data)
    with pytest.raises(ConversionError, match="refuses this model"):
        find_arena(data, graph, load_target("cortex-m4").core, fresh_inputs(graph, None, 1)[0])


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        # 2 columns of int16, each 3 x 3 x 1 rounded up to 4
        ("cortex-m4", 2 * 2 * 12),
        # 4 columns of 16 int8; the dense layer's sums of 3 outputs, rounded up to 16
        ("cortex-m55", 4 * 16 + 16),
    ],
)
def test_cmsis_nn_scratch_follows_its_own_formulas(core, expected):
    assert cmsis_nn_scratch(read_graph(TINY), load_target(core).core) == expected


def test_convolution_helper_makes_what_the_reader_reads():
    assert read_graph(TINY).main.ops[0].options["stride_w"] == convolution().strideW


def test_a_composite_is_not_believed_to_be_integer():
    """It may hold a float subgraph in options that the reader does not see."""
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("STABLEHLO_COMPOSITE", [x], [y])
    assert "cannot be proved" in reasons(m.bytes([x], [y]))[0]


def test_an_activation_with_a_scale_per_channel_is_wrong():
    m = Maker()
    x = m.tensor("x", (1, 2), np.int8, [0.1, 0.2], axis=1)
    y = m.tensor("y", (1, 2), np.int8, 0.1)
    m.op("RELU", [x], [y])
    assert "scale per channel" in reasons(m.bytes([x], [y]))[0]


@pytest.mark.parametrize("signal", [0.0, float("nan"), float("inf")])
def test_no_signal_and_no_number_are_never_equal_to_float(signal):
    assert decibels(signal, 1.0) == -np.inf


def test_outputs_that_are_no_numbers_fail_and_are_named(tmp_path):
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    m.op("LOG", [x], [y])
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    model = open_model(tmp_path / "m.tflite")
    same = Conversion(model.tflite, model.graph, "float32", "by hand")
    with pytest.raises(VerificationError, match="'y' of the float model is NaN or infinite"):
        verify(model, same, -np.ones((8, 4), np.float32), engines=False)


@pytest.mark.parametrize("label", [-7, 999])
def test_a_label_that_is_no_class_is_refused_with_its_sample(tiny_model, label):
    model = open_model(tiny_model)
    labels = np.array([0, 1, label, 2])
    images = np.zeros((4, 8, 8, 1), np.float32)
    data = open_samples({"image": images, "labels": labels}, model.graph.inputs)
    with pytest.raises(DataError, match=f"sample 2: label {label}.*classes 0 to 2"):
        measure_accuracy(model.tflite, model.graph, data)


def float_model(folder, *classes):
    """float32: as many outputs as `classes`, each the ABS of an input of so many values."""
    m = Maker()
    xs = [m.tensor(f"x{i}", (1, count)) for i, count in enumerate(classes)]
    ys = [m.tensor(f"y{i}", (1, count)) for i, count in enumerate(classes)]
    for x, y in zip(xs, ys, strict=True):
        m.op("ABS", [x], [y])
    (folder / "m.tflite").write_bytes(m.bytes(xs, ys))
    return open_model(folder / "m.tflite")


def test_labels_are_of_the_first_output_alone(tmp_path):
    model = float_model(tmp_path, 4, 3)
    data = {"x0": np.eye(4), "x1": np.ones((4, 3)), "labels": np.arange(4)}
    samples = open_samples(data, model.graph.inputs)
    first, second = measure_fidelity(model.tflite, model.tflite, model.graph, samples)
    assert first.accuracy == 1 and second.accuracy is None


def test_an_accuracy_gate_on_a_single_score_says_why_it_cannot_hold(tmp_path):
    model = float_model(tmp_path, 1)
    data = {"x0": np.ones((4, 1)), "labels": np.array([0, 1, 1, 0])}
    samples = open_samples(data, model.graph.inputs)
    results = measure_fidelity(model.tflite, model.tflite, model.graph, samples)
    assert "'y0' is no vector of class scores" in missed_gate(results, None, Gates(90))[0]
