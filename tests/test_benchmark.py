"""Real models, built here, through LiteRT in its child processes: checked, timed, side by side."""

import hashlib
import json
import subprocess
import sys
import time

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeq.benchmark import (
    BenchOptions,
    Subject,
    bench,
    check_outputs,
    measure,
    measure_model,
    random_inputs,
    scheme_of,
    translate_inputs,
)
from edgeq.errors import DataError, ModelError, UsageError, VerificationError
from edgeq.golden import Golden
from edgeq.isolation import Worker
from edgeq.measurement import Results
from edgeq.results import from_json, to_json
from edgeq.tflite import read_graph

TYPES = {"int8": (9, "INT8"), "float32": (0, "FLOAT32"), "int32": (2, "INT32"), "int16": (7, "")}
SCALE = 0.5
QUICK = BenchOptions(num_runs=60, warmup_runs=2, warmup_min_secs=0, min_secs=0)


def dense(weights, dtype="int8", input_type=None):
    """One FULLY_CONNECTED of `weights` [outputs, inputs]; every int8 scale is 0.5."""
    buffers = [schema.BufferT()]

    def tensor(name, shape, kind, scale=SCALE, data=None):
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), TYPES[kind][0], 0
        if kind != "float32":
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale, t.quantization.zeroPoint = [scale], [0]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            t.buffer = len(buffers)
            buffers.append(buffer)
        return t

    outputs, inputs = weights.shape
    kind = "float32" if dtype == "float32" else "int32"
    bias = np.zeros(outputs, "float32" if dtype == "float32" else "int32")
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("serving_default_x:0", (1, inputs), input_type or dtype),
        tensor("w", weights.shape, dtype, SCALE, weights.astype(dtype)),
        tensor("b", (outputs,), kind, SCALE * SCALE, bias),
        tensor("scores", (1, outputs), dtype),
    ]
    graph.inputs, graph.outputs = [0], [3]
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3]
    op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    op.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [op]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = 9
    code.version = 4 if dtype == "int8" else 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


WEIGHTS = np.random.default_rng(0).integers(-2, 3, (4, 16))
SMALL = dense(WEIGHTS)
X = np.arange(-8, 8, dtype=np.int8).reshape(1, 16)
# real = 0.5 q on all three: out = (0.5 x)(0.5 w) / 0.5, halves up, within int8.
Y = np.clip(np.floor(X.astype(int) @ WEIGHTS.T * SCALE + 0.5), -128, 127).astype(np.int8)


def golden(outputs=Y, tolerance=1):
    return Golden(((X,), (X,)), ((outputs,), (outputs,)), "numpy", (tolerance,))


def test_a_model_is_checked_then_timed():
    steps = []
    m = measure_model(
        "tiny",
        SMALL,
        [(X,)],
        scheme="int8",
        target="host",
        options=QUICK,
        golden=golden(),
        progress=lambda *step: steps.append(step),
    )
    assert (m.model, m.scheme, m.engine, m.unit, m.tick_hz) == (
        "tiny",
        "int8",
        "litert",
        "ns",
        1e9,
    )
    assert m.model_sha256 == hashlib.sha256(SMALL).hexdigest()
    assert m.checks.count == 2
    assert m.checks.max_difference <= 1
    assert m.checks.reference == "numpy"
    assert len(m.samples) == m.summary.count == 60
    assert m.blocks == (6,) * 10
    assert m.warmup_runs == 2
    assert all(0 < s < 1e9 for s in m.samples)
    assert m.init > 0
    assert m.first > m.summary.min
    assert m.environment.threads == 1
    assert m.environment.engine_version
    assert m.delegated.operators == 1
    assert steps[0] == ("golden check", 1, 2)
    assert steps[-1] == ("timing", 10, 10)
    assert from_json(json.loads(to_json(Results((m,)))), "x").measurements == (m,)


def test_wrong_outputs_name_the_place_and_nothing_is_timed():
    steps = []
    wrong = Y.copy()
    wrong[0, 2] -= 7
    with pytest.raises(VerificationError) as caught:
        measure_model(
            "tiny",
            SMALL,
            [(X,)],
            scheme="int8",
            target="host",
            options=QUICK,
            golden=golden(wrong),
            progress=lambda *step: steps.append(step[0]),
        )
    text = str(caught.value)
    assert "golden input 0, output scores, index [0, 2]" in text
    assert f"expected {wrong[0, 2]}, got " in text
    assert "2 of 2" in text
    assert "timing" not in steps


def test_a_baseline_takes_turns_and_gives_a_speedup_with_its_interval():
    large = np.random.default_rng(1).integers(-2, 3, (512, 512))
    small, big = dense(large[:8, :8], "float32"), dense(large, "float32")
    ones = [(np.ones((1, n), np.float32),) for n in (8, 512)]
    made = measure(
        [Subject("s", small, ones[:1], "float32"), Subject("b", big, ones[1:], "float32")],
        target="host",
        options=QUICK,
    )
    fast, slow = made
    assert fast.speedup.baseline == "b"
    assert fast.speedup.baseline_sha256 == slow.model_sha256
    assert fast.speedup.value > 1.5, "a network 4096 times as large is slower"
    assert fast.speedup.interval.low <= fast.speedup.value <= fast.speedup.interval.high
    assert fast.speedup.interval.confidence > 0.95
    assert slow.speedup is None
    assert fast.blocks == slow.blocks == (6,) * 10


def test_without_golden_outputs_the_result_says_that_nothing_was_checked(tmp_path):
    path = tmp_path / "tiny.tflite"
    path.write_bytes(SMALL)
    (tmp_path / "float.tflite").write_bytes(dense(WEIGHTS, "float32"))
    made = bench(path, QUICK, baseline=tmp_path / "float.tflite").measurements
    assert [(m.model, m.scheme) for m in made] == [("tiny", "int8"), ("float", "float32")]
    assert made[0].checks.count == 0
    assert any("not checked" in note for note in made[0].verdict.notes)


def test_it_lasts_until_both_minimums_are_met_and_not_past_the_maximum():
    def run(**options):
        start = time.monotonic()
        options = BenchOptions(warmup_runs=0, warmup_min_secs=0, **options)
        m = measure_model("m", SMALL, [(X,)], scheme="int8", target="host", options=options)
        return m.summary.count, time.monotonic() - start

    assert run(num_runs=1, min_secs=0)[0] == 1
    assert run(num_runs=7, min_secs=0)[0] == 7
    count, seconds = run(num_runs=10, min_secs=0.3)
    assert count > 100
    assert seconds >= 0.3
    assert run(num_runs=1_000_000, min_secs=0, max_secs=0.2)[0] < 1_000_000


def test_without_warm_up_the_first_inference_is_the_first_sample():
    options = BenchOptions(num_runs=20, warmup_runs=0, warmup_min_secs=0, min_secs=0)
    m = measure_model("m", SMALL, [(X,)], scheme="int8", target="host", options=options)
    assert m.warmup_runs == 0
    assert m.first >= m.summary.min


def test_the_number_of_samples_has_a_limit_too():
    with Worker("edgeq.workers.timing:Timing", SMALL, 1) as timing:
        answer = timing.call("measure", [(X,)], 0, 0.0, 10, 5.0, 60.0, 100, time_limit=60)
    assert len(answer["samples"]) == 100
    assert answer["warmup"] == []


def test_a_damaged_model_is_a_model_error():
    with pytest.raises(ModelError):
        measure_model("m", SMALL[:-40], [(X,)], scheme="int8", target="host", options=QUICK)


def test_a_model_that_litert_refuses_is_a_model_error():
    refused = dense(WEIGHTS, "int8", input_type="float32")
    x = X.astype(np.float32)
    with pytest.raises(ModelError, match="LiteRT .* cannot load"):
        measure_model("m", refused, [(x,)], scheme="int8", target="host", options=QUICK)


@pytest.mark.parametrize("inputs", [[], [(X[:, :3],)], [(X.astype(np.float32),)], [(X, X)]])
def test_inputs_that_do_not_fit_are_named_before_anything_runs(inputs):
    with pytest.raises(DataError, match="tiny"):
        measure_model("tiny", SMALL, inputs, scheme="int8", target="host", options=QUICK)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        bench(tmp_path / "none.tflite", QUICK)


def test_a_baseline_of_another_network_is_refused(tmp_path):
    (tmp_path / "a.tflite").write_bytes(SMALL)
    (tmp_path / "b.tflite").write_bytes(dense(WEIGHTS[:, :5], "float32"))
    with pytest.raises(DataError, match=r"x float32 \[1, 5\] are not the model's x int8 \[1, 16\]"):
        bench(tmp_path / "a.tflite", QUICK, baseline=tmp_path / "b.tflite")


@pytest.mark.parametrize(
    "options",
    [
        {"num_runs": 0},
        {"warmup_runs": -1},
        {"min_secs": -0.1},
        {"max_secs": 0},
        {"max_secs": float("nan")},
        {"num_threads": 0},
        {"min_secs": 10, "max_secs": 5},
    ],
)
def test_impossible_options_are_refused_with_a_hint(options):
    with pytest.raises(UsageError) as caught:
        BenchOptions(**options)
    assert caught.value.hint
    assert str(caught.value).startswith("--")


def test_random_inputs_are_the_same_at_every_call_and_fill_their_type():
    graph = read_graph(dense(np.ones((1, 4000))))
    a, b = (random_inputs(graph, 2) for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a[0] + a[1], b[0] + b[1], strict=True))
    assert not np.array_equal(a[0][0], a[1][0])
    assert (a[0][0].dtype, a[0][0].min(), a[0][0].max()) == (np.int8, -128, 127)
    floats = random_inputs(read_graph(dense(np.ones((1, 4000)), "float32")))[0][0]
    assert floats.dtype == np.float32
    assert -1 <= floats.min() < -0.9 < 0.9 < floats.max() < 1


def test_inputs_are_the_same_numbers_for_the_baseline():
    int8, float32 = read_graph(SMALL), read_graph(dense(WEIGHTS, "float32"))
    (values,) = translate_inputs([(X,)], int8, float32)
    assert values[0].dtype == np.float32
    assert np.array_equal(values[0], X * np.float32(SCALE))
    (back,) = translate_inputs([values], float32, int8)
    assert np.array_equal(back[0], X)


def test_schemes_are_told_apart():
    assert scheme_of(read_graph(SMALL)) == "int8"
    assert scheme_of(read_graph(dense(WEIGHTS, "float32"))) == "float32"
    assert scheme_of(read_graph(dense(WEIGHTS, "int16"))) == "int16x8"


INT = np.array([[1, 2, 3]], np.int8)
FLOAT = np.array([[1.0, np.nan, np.inf]], np.float32)


def test_equal_outputs_pass_and_are_counted():
    check = check_outputs([(INT, FLOAT)] * 3, [(INT, FLOAT)] * 3, ("a", "b"))
    assert (check.count, check.equal, check.max_difference) == (3, 3, 0)


def test_each_output_has_its_own_tolerance():
    near = INT + np.array([[0, 2, 0]], np.int8)
    check = check_outputs([(INT, INT)], [(near, INT)], ("a", "b"), (2, 0))
    assert (check.count, check.equal, check.max_difference) == (1, 0, 2)
    with pytest.raises(VerificationError, match=r"output b, index \[0, 1\]: expected 2, got 4"):
        check_outputs([(INT, INT)], [(INT, near)], ("a", "b"), (2, 0))


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ([(INT,)], [(INT + np.int8(1),)], r"golden input 0, output a, index \[0, 0\]"),
        ([(INT,), (INT,)], [(INT,), (INT[:, ::-1],)], "golden input 1.*expected 1, got 3"),
        ([(INT,)], [(INT.astype(np.uint8),)], "uint8.*expected int8"),
        ([(INT,)], [(INT[:, :2],)], r"\[1, 2\], expected int8 \[1, 3\]"),
        ([(INT,)], [(INT, INT)], "golden input 0, 2 outputs, 1 expected"),
        ([(INT,)], [], "0 outputs for 1"),
        ([(FLOAT,)], [(np.nan_to_num(FLOAT, posinf=np.inf),)], "expected nan, got 0.0"),
        ([(FLOAT,)], [(-FLOAT,)], "apart"),
    ],
)
def test_other_outputs_are_refused(expected, got, message):
    with pytest.raises(VerificationError, match=message) as caught:
        check_outputs(expected, got, ("a",), (0,))
    assert caught.value.hint


def test_int8_extremes_do_not_wrap():
    low, high = np.array([-128], np.int8), np.array([127], np.int8)
    with pytest.raises(VerificationError, match="up to 255 apart"):
        check_outputs([(low,)], [(high,)], ("a",), (100,))


def test_the_parent_never_loads_the_interpreter():
    code = "import edgeq.benchmark, sys; sys.exit('ai_edge_litert' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
