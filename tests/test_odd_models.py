"""Models that are legal but rare, or that say what is not so: they work, or one error says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, convolution, joined, outside, schema, tiny_float, tiny_int8

from edgeq.cli import run
from edgeq.errors import ModelError, VerificationError, WorkerError
from edgeq.integers import find_violations
from edgeq.interpreters import litert, tflm
from edgeq.interpreters import run as run_network
from edgeq.models import check_ports, open_model
from edgeq.operators import find_gaps, load_table
from edgeq.samples import open_samples
from edgeq.schemes import scheme_of
from edgeq.tflite import read_graph
from edgeq.verification import measure_accuracy, measure_fidelity
from edgeq.verification.proof import compare_engines, fresh_inputs

RANDOM = np.random.default_rng(3)
QUICK = ["--min-secs", "0.02", "--warmup-min-secs", "0", "--num-runs", "5"]


def saved(folder: Path, data: bytes) -> Path:
    (folder / "m.tflite").write_bytes(data)
    return folder / "m.tflite"


def copying(dtype: object, shape: tuple[int, ...], scale: float | None = None) -> bytes:
    """A RESHAPE of `dtype` that changes nothing."""
    m = Maker()
    x, y = m.tensor("x", shape, dtype, scale), m.tensor("y", shape, dtype, scale)
    s = m.tensor("s", (len(shape),), np.int32, data=np.array(shape, np.int32))
    m.op("RESHAPE", [x, s], [y], schema.ReshapeOptionsT())
    return m.bytes([x], [y])


def dense(weights: object, data: np.ndarray | bytes, outputs: int = 2) -> bytes:
    """An int8 dense layer of 4 to 2, whose output says that it has `outputs`."""
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, outputs), np.int8, 0.1)
    w = m.tensor("w", (2, 4), weights, 0.1, data=data)
    version = 10 if weights == "int4" else 4
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT(), version)
    return m.bytes([x], [y])


NIBBLES = bytes([0x17, 0x2A, 0x7F, 0x81])
WRONG_SHAPE = dense(np.int8, RANDOM.integers(-99, 99, (2, 4)), outputs=3)


# --- Output shapes that the file has wrong -----------------------------------------------------


def samples(folder: Path, **more: np.ndarray) -> str:
    np.savez(folder / "d.npz", x=RANDOM.random((60, 4), np.float32), **more)
    return str(folder / "d.npz")


@pytest.mark.parametrize("command", ["build", "eval", "bench"])
def test_a_wrong_output_shape_is_one_error(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    path = str(saved(tmp_path, WRONG_SHAPE))
    data = samples(tmp_path, labels=np.zeros(60, int))
    more = {"build": ["-t", "host"], "eval": ["--data", data], "bench": QUICK}[command]
    assert run([command, path, *more]) == 1
    said = capsys.readouterr().err
    assert "output 'y' has shape [1, 3] in the model file, but LiteRT computes [1, 2]" in said
    assert not (tmp_path / "build").exists()


def test_a_float_model_of_other_shapes_is_not_compared(tmp_path, float_model):
    model, graph = open_model(float_model), read_graph(WRONG_SHAPE)
    data = open_samples(samples(tmp_path), graph.inputs)
    with pytest.raises(VerificationError, match=r"outputs have the shapes \[\[1, 3\]\]"):
        measure_fidelity(model.tflite, WRONG_SHAPE, graph, data)


# --- Types and shapes of inputs and outputs ----------------------------------------------------


@pytest.mark.parametrize(
    ("model", "said"),
    [
        *((copying(t, (1, 4)), f"input 'x' is {t}") for t in
          ("string", "resource", "variant", "int4", "bfloat16", "complex64")),
        (copying(np.float32, (0, 4)), "input 'x' of shape [0, 4] has no elements"),
        (copying(np.int8, (1, 0), 0.1), "input 'x' of shape [1, 0] has no elements"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_shown_and_refused(tmp_path, monkeypatch, capsys, model, said):
    monkeypatch.chdir(tmp_path)
    path, data = str(saved(tmp_path, model)), samples(tmp_path, labels=np.zeros(60, int))
    assert run(["inspect", path, "-t", "host", "--json", "i.json"]) == 0
    assert '"RESHAPE"' in (tmp_path / "i.json").read_text()
    capsys.readouterr()
    for arguments in (
        ["build", path, "-t", "host", "--calibration-data", data],
        ["eval", path, "--data", data],
        ["bench", path, *QUICK],
    ):
        assert run(arguments) == 1
        found = capsys.readouterr().err
        assert said in found and "hint:" in found


@pytest.mark.parametrize("dtype", [np.bool_, np.float64, np.float16, np.int64])
def test_types_that_numpy_knows_are_evaluated(tmp_path, capsys, dtype):
    path = str(saved(tmp_path, copying(dtype, (1, 4))))
    values = (RANDOM.random((60, 4)) > 0.5).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=values, labels=values.argmax(axis=1))
    assert run(["eval", path, "--data", str(tmp_path / "d.npz"), "--scheme", "float32"]) == 0
    assert "100.00 %" in capsys.readouterr().out


def scalar_gain() -> bytes:
    m = Maker()
    x, gain, y = m.tensor("x", (1, 4)), m.tensor("gain", ()), m.tensor("y", (1, 4))
    m.op("MUL", [x, gain], [y], schema.MulOptionsT())
    return m.bytes([x, gain], [y])


def test_a_scalar_input_stays_a_scalar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(saved(tmp_path, scalar_gain()))
    data = samples(tmp_path, gain=RANDOM.random(60, np.float32))
    assert run(["build", path, "-t", "host", "--calibration-data", data]) == 0
    assert run(["bench", "build/host", *QUICK]) == 0


# --- Packed weights and mixed types ------------------------------------------------------------


def test_int4_weights_of_an_int8_network_are_integer():
    graph = read_graph(dense("int4", NIBBLES))
    assert find_violations(graph) == [] and scheme_of(graph) == "int8"
    assert compare_engines(dense("int4", NIBBLES), graph, fresh_inputs(graph, None)).max_steps == 0


def test_an_engine_without_int4_weights_says_so():
    graph = read_graph(dense("int4", NIBBLES))
    assert find_gaps(graph, load_table("tflm")) == find_gaps(graph, load_table("litert")) == []
    (gap,) = find_gaps(graph, load_table("aot"))
    assert gap.reason == (
        "edgeq's engine aot has FULLY_CONNECTED with dense int8 weights, not with int4 ones"
    )
    assert "TensorFlow Lite Micro have it" in gap.hint


def sparse_dense() -> bytes:
    """A dense layer of 2 weights out of 8, as the schema codes them: rows, and their columns."""
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 2), np.int8, 0.1)
    w = m.tensor("w", (2, 4), np.int8, 0.1, data=np.ones(2))
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, 2
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments, columns.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    columns.arraySegments.values = np.array([0, 1, 2], np.int32)
    columns.arrayIndices.values = np.array([0, 3], np.int32)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.array([0, 1], np.int32)
    sparsity.dimMetadata = [rows, columns]
    m.tensors[w].sparsity = sparsity
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT(), 8)
    return m.bytes([x], [y])


@pytest.mark.parametrize("table", ["aot", "tflm"])
def test_sparse_weights_are_no_microcontroller_s(table):
    graph = read_graph(sparse_dense())
    assert find_violations(graph) == [] and find_gaps(graph, load_table("litert")) == []
    assert "not with sparse ones" in find_gaps(graph, load_table(table))[0].reason


def test_int4_weights_are_built_for_what_runs_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = str(saved(tmp_path, dense("int4", NIBBLES)))
    assert run(["build", path, "-t", "host"]) == 0
    assert run(["build", path, "-t", "cortex-m4", "--engine", "tflm"]) == 0
    assert run(["build", path, "-t", "cortex-m4"]) == 3
    assert "not with int4" in capsys.readouterr().err


def test_int4_weights_beside_floats_are_hybrid_and_int4_activations_no_kernel_s():
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 2))
    w = m.tensor("w", (2, 4), "int4", 0.1, data=NIBBLES)
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT(), 10)
    graph = read_graph(m.bytes([x], [y]))
    assert "hybrid: int4 weights" in find_violations(graph)[0].why
    assert scheme_of(graph) == "dynamic"
    packed = read_graph(copying("int4", (1, 4), 0.1))
    assert "works on int4, which no integer kernel takes" in find_violations(packed)[0].why


def mixed(first: object, layer: object, last: object) -> bytes:
    """QUANTIZE - CONV_2D - QUANTIZE, of these types."""
    scales = {np.int8: 0.1, np.int16: 0.001, np.uint8: 0.1}
    m = Maker()
    x, a, b, y = (
        m.tensor(n, (1, 2, 2, 1), t, scales[t])
        for n, t in zip("xaby", (first, layer, layer, last), strict=True)
    )
    w = m.tensor("w", (1, 1, 1, 1), np.int8, 0.1, data=np.ones((1, 1, 1, 1)))
    m.op("QUANTIZE", [x], [a])
    m.op("CONV_2D", [a, w, -1], [b], convolution())
    m.op("QUANTIZE", [b], [y])
    return m.bytes([x], [y])


@pytest.mark.parametrize(
    ("types", "scheme"),
    [
        ((np.int8, np.int8, np.int16), "int8"),
        ((np.int16, np.int8, np.int16), "int8"),
        ((np.uint8, np.int8, np.uint8), "int8"),
        ((np.int8, np.int16, np.int8), "int16x8"),
        ((np.int16, np.int16, np.int16), "int16x8"),
        ((np.uint8, np.uint8, np.uint8), "uint8"),
    ],
)
def test_the_layers_name_the_scheme_not_a_single_tensor(types, scheme):
    assert scheme_of(read_graph(mixed(*types))) == scheme


def test_without_weights_most_activations_name_the_scheme_then_the_input():
    m = Maker()
    x, a, b = (m.tensor(n, (1, 4), np.int8, 0.1) for n in "xab")
    y = m.tensor("y", (1, 4), np.int16, 0.001)
    m.op("RELU", [x], [a])
    m.op("RELU", [a], [b])
    m.op("QUANTIZE", [b], [y])
    assert scheme_of(read_graph(m.bytes([x], [y]))) == "int8"
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int16, 0.001), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("QUANTIZE", [x], [y])
    assert scheme_of(read_graph(m.bytes([x], [y]))) == "int16x8"


# --- Ports and subgraphs -----------------------------------------------------------------------


def all_at_once() -> bytes:
    """int8: two outputs called y, one of them twice, the input an output too, one input unused."""
    m = Maker()
    x, unused = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("unused", (1, 9), np.int8, 0.1)
    y, other = m.tensor("y", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("RELU", [x], [y])
    m.op("RELU6", [x], [other])
    return m.bytes([x, unused], [y, other, y, x])


def test_doubled_names_and_outputs_work_under_names_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = str(saved(tmp_path, all_at_once()))
    names = [p.name for p in read_graph(all_at_once()).outputs]
    assert names == ["y_0", "y_1", "y_2", "x"]
    assert run(["build", path, "-t", "host", "-t", "cortex-m4"]) == 0
    assert run(["bench", "build/host", *QUICK]) == 0
    manifest = (tmp_path / "build" / "cortex-m4" / "manifest.json").read_text()
    assert all(f'"{name}"' in manifest for name in names)


@pytest.mark.parametrize("named", [True, False])
def test_constants_behind_the_flatbuffer_are_brought_in(tmp_path, named):
    """TensorFlow Lite Micro does not look there."""
    near, far = tiny_int8(), outside(tiny_int8())
    model = open_model(saved(tmp_path, far))
    graph = model.graph
    assert "constants moved into the flatbuffer" in model.route
    pairs = zip(read_graph(near).main.tensors, graph.main.tensors, strict=True)
    same = [np.array_equal(a.data, b.data) for a, b in pairs if a.data is not None]
    assert same and all(same)
    assert compare_engines(model.tflite, graph, fresh_inputs(graph, None)).max_steps <= 1
    open_model(saved(tmp_path, outside(tiny_float(named))))


def control_flow(name: str, options: object, bodies: int) -> tuple[Maker, int, int]:
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    condition = m.tensor("c", (1,), np.bool_, data=np.array([True]))
    m.op(name, [condition, x] if name == "IF" else [x], [y], options)
    for _ in range(bodies):
        part = m.callee()
        a, b = (part.tensor(n, (1, 4), np.int8, 0.1) for n in "ab")
        part.op("RELU", [a], [b])
        m.callees.append((part, [a], [b]))
    return m, x, y


def test_a_branch_works_where_the_engine_has_it_and_is_named_where_not(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    m, x, y = control_flow("IF", options, 2)
    path = str(saved(tmp_path, m.bytes([x], [y])))
    assert run(["build", path, "-t", "host"]) == 0
    assert run(["build", path, "-t", "cortex-m4"]) == 3
    assert "has no IF" in capsys.readouterr().err


def test_a_call_is_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = schema.CallOptionsT()
    options.subgraph = 1
    m, x, y = control_flow("CALL", options, 1)
    path = str(saved(tmp_path, m.bytes([x], [y])))
    assert run(["inspect", path]) == 0
    for arguments in (["build", path, "-t", "host"], ["bench", path, *QUICK]):
        assert run(arguments) in (1, 3)
        assert "CALL" in capsys.readouterr().err


def test_what_call_once_calls_may_have_no_outputs():
    options = schema.CallOnceOptionsT()
    options.initSubgraphIndex = 1
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    m.op("CALL_ONCE", [], [], options)
    m.op("RELU", [x], [y])
    part = m.callee()
    part.op("RELU", [part.tensor("k", (1,), data=np.ones(1))], [part.tensor("r", (1,))])
    m.callees.append((part, [], []))
    assert len(read_graph(m.bytes([x], [y])).subgraphs) == 2


def relu(inputs: list[int], constant: bool = False) -> bytes:
    m = Maker()
    x = m.tensor("x", (1, 4), np.int8, 0.1, data=np.ones((1, 4)) if constant else None)
    y = m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("RELU", [x], [y])
    return m.bytes(inputs, [y])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: relu([0, 0]), "lists tensor 0 .x. twice as an input"),
        (lambda: relu([0], constant=True), "input 'x' is a constant"),
        (lambda: relu([], constant=True), "has no inputs"),
    ],
)
def test_inputs_that_can_take_no_values_are_refused(make: Callable[[], bytes], said: str):
    with pytest.raises(ModelError) as caught:
        check_ports(read_graph(make()), "m.tflite")
    assert re.search(said, caught.value.message) and caught.value.hint


def test_an_operator_that_litert_refuses_is_one_error_with_a_hint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("RELU", [x], [y])
    m.op("RELU6", [x], [])
    path, data = (
        str(saved(tmp_path, m.bytes([x], [y]))),
        samples(tmp_path, labels=np.zeros(60, int)),
    )
    for arguments in (["build", path, "-t", "host"], ["eval", path, "--data", data]):
        assert run(arguments) == 1
        said = capsys.readouterr().err
        assert "cannot load the model" in said and "hint:" in said


def test_an_output_without_elements_is_one_error():
    """WHERE finds nothing above 0 in zeros."""
    m = Maker()
    x, zero = m.tensor("x", (1, 4)), m.tensor("zero", (1,), data=np.zeros(1))
    above, y = m.tensor("above", (1, 4), np.bool_), m.tensor("y", (1, 2), np.int64)
    m.op("GREATER", [x, zero], [above], schema.GreaterOptionsT())
    m.op("WHERE", [above], [y], schema.WhereOptionsT())
    with litert(m.bytes([x], [y])) as network, pytest.raises(ModelError) as caught:
        list(run_network(network, [(np.zeros((1, 4), np.float32),)]))
    assert "[1, 2] in the model file, but LiteRT computes [0, 2]" in caught.value.message


def test_what_tflm_cannot_run_is_said_with_a_hint():
    """Its ARG_MAX has an int32 output only, which no table of types shows."""
    m = Maker()
    x, axis = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("axis", (), np.int32, data=np.array(1))
    y = m.tensor("y", (1,), np.int64)
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT64
    m.op("ARG_MAX", [x, axis], [y], options)
    data = m.bytes([x], [y])
    with tflm(data, read_graph(data)) as network, pytest.raises(WorkerError) as caught:
        list(run_network(network, [(np.zeros((1, 4), np.int8),)]))
    assert "TensorFlow Lite Micro cannot" in caught.value.message and caught.value.hint


def test_accuracy_of_a_model_that_lies_about_its_output_is_not_measured(tmp_path):
    graph = read_graph(WRONG_SHAPE)
    data = open_samples(samples(tmp_path, labels=np.zeros(60, int)), graph.inputs)
    with pytest.raises(ModelError, match="LiteRT computes"):
        measure_accuracy(WRONG_SHAPE, graph, data)


def test_a_file_of_two_networks_is_refused_with_their_names(tmp_path, capfd):
    path = saved(tmp_path, joined(tiny_float(), tiny_float(), keys=["one", "two"]))
    assert run(["build", str(path), "-t", "host"]) == 1
    assert "several networks, one for each signature: one, two" in capfd.readouterr().err


def test_a_signature_that_a_tflite_lacks_is_refused(tmp_path):
    path = saved(tmp_path, tiny_float())
    (key,) = [s.key for s in read_graph(tiny_float()).signatures]
    assert open_model(path, signature_key=key).name
    with pytest.raises(ModelError, match="no signature 'train'") as e:
        open_model(path, signature_key="train")
    assert key in e.value.hint
