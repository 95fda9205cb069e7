"""Repairs on the layers of Keras models: small networks, one for each, all the way to integers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeq.errors import ModelError, WorkerCrash
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.integers import find_violations
from edgeq.interpreters import litert, run, tflm
from edgeq.models import open_model
from edgeq.operators import find_gaps, load_table
from edgeq.pipeline import Data, Opening, prepare
from edgeq.repairs import KERAS_REPAIRS, REPAIRS

HERE = Path(__file__).parent
TABLES = [load_table(name) for name in ("tflm", "aot")]

NETWORKS = {
    "argmax": ("argmax", None, {"ARG_MAX": 1}),
    "causal": ("attention", None, {"SOFTMAX": 1}),
    "embedding": ("embedding", None, {"GATHER": 1}),
    "half": ("float32", None, {"CONV_2D": 1}),
    "spread": ("layernorm", None, {"L2_NORMALIZATION": 1}),
    "lstm": ("lstm", None, {"UNIDIRECTIONAL_SEQUENCE_LSTM": 2}),
    "stateful": ("lstm", None, {"UNIDIRECTIONAL_SEQUENCE_LSTM": 1}),
    "joined": ("lstm", None, {"UNIDIRECTIONAL_SEQUENCE_LSTM": 2}),
    "nested": ("lstm", None, {"UNIDIRECTIONAL_SEQUENCE_LSTM": 1}),
    "upsampling": ("nearest-resize", None, {"RESIZE_NEAREST_NEIGHBOR": 1}),
    "selu": ("selu", None, {"ELU": 1}),
    "unit": ("unitnorm", None, {"L2_NORMALIZATION": 1}),
    "both_ways": ("unroll", None, {}),
    "exponential": ("exponential", None, {"ELU": 1}),
    "gelu": ("gelu", 0.001, {"LOGISTIC": 1}),
    "mish": ("softplus", 0.002, {"LOGISTIC": 3}),
}
"""File -> (repair, largest error that it may show, operators that it must come to)."""


def problems(graph):
    return len(find_violations(graph)) + sum(len(find_gaps(graph, t)) for t in TABLES)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("repairs")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    script = HERE / "keras_repairs_models.py"
    command = [sys.executable, script, made]
    subprocess.run(command, check=True, timeout=240, env=environment, capture_output=True)
    return made


def prepared(folder, name, tensorflow, scheme="int8", **opening):
    return prepare(
        folder / f"{name}.keras",
        opening=Opening(**opening),
        data=Data(calibration=folder / f"{name}.npz", calibration_method="minmax"),
        scheme=scheme,
        problems=problems,
        tensorflow=tensorflow,
    )


def judged(folder, name, conversion):
    """(median SQNR of a sample in dB against Keras, largest steps between LiteRT and TFLM)."""
    graph = conversion.graph
    test = np.load(folder / f"{name}_test.npz")
    samples = [stored_inputs((x[None],), graph.inputs) for x in test["x"]]
    with litert(conversion.tflite) as network:
        fast = list(run(network, samples))
    with tflm(conversion.tflite, graph) as network:
        exact = list(run(network, samples))
    pairs = zip(fast, exact, strict=True)
    steps = max(int(np.abs(a[0].astype(int) - b[0]).max()) for a, b in pairs)
    made = np.concatenate([real_outputs(o, graph.outputs)[0] for o in fast]).astype(float)
    wanted = test["y"].astype(float)
    axes = tuple(range(1, wanted.ndim))
    signal, noise = (wanted**2).sum(axes), ((made - wanted) ** 2).sum(axes)
    return float(np.median(10 * np.log10((signal + 1e-30) / (noise + 1e-30)))), steps


def check_lstms(graph):
    """Its layer's name; a state at its output's scale, also where that is joined with another's; a
    cell of at least 2^-15, below which kernels compute garbage."""
    found = [op for op in graph.main.ops if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    for op in found:
        state, cell = (graph.main.tensors[op.inputs[i]] for i in (18, 19))
        output = graph.main.tensors[op.outputs[0]]
        assert output.name.endswith("/lstm")
        assert state.quantization == output.quantization
        assert cell.quantization.scale >= 2**-15


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_becomes_integer_and_stays_itself(name, folder, tensorflow):
    repair, most, operators = NETWORKS[name]
    result = prepared(folder, name, tensorflow)
    conversion = result.conversion
    assert find_violations(conversion.graph) == []
    assert problems(conversion.graph) == 0
    done = {r.name: r for r in result.model.repairs}
    assert repair in done and done[repair].layers and done[repair].what
    error = done[repair].largest_error
    assert error is None if most is None else 0 < error < most
    names = [op.name for op in conversion.graph.main.ops]
    assert {o: names.count(o) for o in operators} == operators
    check_lstms(conversion.graph)
    level, steps = judged(folder, name, conversion)
    assert level > 20
    assert steps <= 20 if repair == "layernorm" else steps <= 3


def test_an_lstm_is_unrolled_where_the_scheme_has_no_operator_for_it(folder, tensorflow):
    result = prepared(folder, "lstm", tensorflow, "int16x8")
    assert [r.name for r in result.model.repairs] == ["unroll"]
    assert find_violations(result.conversion.graph) == []
    assert judged(folder, "lstm", result.conversion)[0] > 30


def test_a_repair_waits_until_it_is_needed(folder, tensorflow):
    """LiteRT has GELU in int8, so a target that runs it keeps the function as it is."""
    result = prepare(
        folder / "gelu.keras",
        data=Data(calibration=folder / "gelu.npz", calibration_method="minmax"),
        tensorflow=tensorflow,
    )
    assert result.model.repairs == () and result.model.offered == ("gelu",)
    assert "GELU" in [op.name for op in result.conversion.graph.main.ops]


def test_logits_only_on_request(folder, tensorflow):
    scores = prepared(folder, "logits", tensorflow)
    assert "SOFTMAX" in [op.name for op in scores.conversion.graph.main.ops]
    logits = prepared(folder, "logits", tensorflow, repairs=frozenset({"logits"}))
    assert [op.name for op in logits.conversion.graph.main.ops] == ["FULLY_CONNECTED"]
    assert [r.name for r in logits.model.repairs] == ["logits"]


def test_what_would_be_too_long_is_refused_with_layer_reason_and_cure(folder, tensorflow):
    with pytest.raises(ModelError, match="'far', a GRU over 200 time steps") as caught:
        open_model(folder / "long.keras", tensorflow=tensorflow)
    assert "LSTM" in caught.value.hint
    with pytest.raises(ModelError, match="'onward', a GRU, keeps its state"):
        open_model(folder / "onward.keras", tensorflow=tensorflow)
    loop = open_model(folder / "long.keras", repairs=frozenset(), tensorflow=tensorflow)
    assert "WHILE" in [op.name for op in loop.graph.main.ops]


class Crashing:
    """A TensorFlow session that dies of whatever is repaired."""

    def __init__(self, session):
        self._session = session

    def call(self, method, *arguments, time_limit):
        if method == "export_repaired":
            raise WorkerCrash("tensorflow: export_repaired died: SIGSEGV")
        return self._session.call(method, *arguments, time_limit=time_limit)


def test_a_crash_moves_on_to_the_next_way(folder, tensorflow):
    model = open_model(folder / "selu.keras", tensorflow=Crashing(tensorflow))
    assert model.repairs == () and model.route == "frozen graph"
    assert any("SIGSEGV" in line for line in model.failed)


def test_a_wrong_repair_is_undone_and_named(folder):
    """Run where Keras is: a pass that promises the same function and breaks it."""
    code = """
import dataclasses, sys, keras, numpy as np
from edgeq.workers.keras_repairs import passes
from edgeq.workers.keras_repairs.layers import Change
def broken(scene):
    layer = scene.model.get_layer("scores")
    return "broken", [Change(layer, "activation", keras.activations.relu)], ["scores"]
passes.PASSES = (passes.Pass("selu", broken),)
model = keras.saving.load_model(sys.argv[1])
x = np.random.default_rng(0).normal(size=(1, 6, 6, 3)).astype("float32")
want = np.asarray(model(x))
made = passes.repair(model, frozenset({"selu"}), "int8", False, [[x]])
assert made.repairs == () and made.rejected[0].startswith("selu: undone: output 0"), made
assert np.array_equal(np.asarray(model(x)), want)
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", code, str(folder / "selu.keras")]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_keras_repair_is_known_by_name():
    assert KERAS_REPAIRS <= REPAIRS.keys()


@pytest.mark.slow
def test_two_lstms_on_rows_of_digits_run_on_the_emulated_m4(tmp_path):
    """Four operators, bytes equal to TensorFlow Lite Micro's, accuracy within 0.5 points."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    script = [sys.executable, HERE / "keras_repairs_models.py", tmp_path, "rows"]
    subprocess.run(script, check=True, timeout=280, env=environment, capture_output=True)

    def edgeq(*arguments):
        command = [sys.executable, "-m", "edgeq", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, timeout=280, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    data = ("--calibration-data", "rows.npz", "--evaluation-data", "rows_test.npz")
    gate = ("--max-accuracy-drop", 0.5)
    edgeq("build", "rows.keras", "--target", "cortex-m4", *data, *gate, "--json", "built.json")
    edgeq("bench", "build/cortex-m4", "--sim", "--json", "run.json")
    built, ran = ((tmp_path / f).read_text() for f in ("built.json", "run.json"))
    assert '"lstm"' in built
    graph = open_model(tmp_path / "build" / "cortex-m4" / "model.tflite").graph
    names = [op.name for op in graph.main.ops]
    assert names == [*["UNIDIRECTIONAL_SEQUENCE_LSTM"] * 2, "STRIDED_SLICE", "FULLY_CONNECTED"]
    assert '"valid": true' in ran
