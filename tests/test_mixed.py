"""Single layers of an int8 network in int16: fully integer, and the same in all engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, convolution, schema, softmax

from edgeq.calibration import calibrate
from edgeq.cli import run
from edgeq.conversion import Conversion, convert
from edgeq.errors import UsageError
from edgeq.integers import find_violations
from edgeq.interpreters import litert, tflm
from edgeq.interpreters import run as run_network
from edgeq.mixed import layers_named, mixed, shortest_names
from edgeq.models import Model, open_model, tensorflow_session
from edgeq.operators import find_gaps, load_table
from edgeq.verification.proof import fresh_inputs


def branches() -> bytes:
    """float32 6x6x3 -> two convolutions, one added to the other -> dense -> softmax."""
    random = np.random.default_rng(5)
    m = Maker()
    x, a, b, c = (
        m.tensor(n, (1, 6, 6, 3)) for n in ("x", "net/a/Relu;net/a/Conv", "net/b/Relu", "net/c/Add")
    )
    flat, d, y = (
        m.tensor("net/flat", (1, 108)),
        m.tensor("net/d/MatMul", (1, 4)),
        m.tensor("y", (1, 4)),
    )
    relu = convolution(fusedActivationFunction=schema.ActivationFunctionType.RELU)
    for source, made, name in ((x, a, "wa"), (a, b, "wb")):
        w = m.tensor(name, (3, 1, 1, 3), data=random.standard_normal((3, 1, 1, 3)))
        m.op("CONV_2D", [source, w, m.tensor(name + "_b", (3,), data=np.ones(3))], [made], relu)
    m.op("ADD", [a, b], [c], schema.AddOptionsT())
    m.op("RESHAPE", [c, m.tensor("shape", (2,), np.int32, data=np.array([1, 108]))], [flat])
    w = m.tensor("wd", (4, 108), data=0.1 * random.standard_normal((4, 108)))
    bias = m.tensor("bd", (4,), data=np.zeros(4))
    m.op("FULLY_CONNECTED", [flat, w, bias], [d], schema.FullyConnectedOptionsT())
    m.op("SOFTMAX", [d], [y], softmax())
    return m.bytes([x], [y])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Conversion, Conversion]:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "net.tflite").write_bytes(branches())
    model = open_model(folder / "net.tflite")
    data = np.random.default_rng(1).standard_normal((40, 6, 6, 3)).astype(np.float32)
    calibration = calibrate(model, data)
    with tensorflow_session() as session:
        eight = convert(model, calibration, "int8", tensorflow=session)
        return model, eight, convert(model, calibration, "int16x8", tensorflow=session)


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        (["a"], ("int16", "int8")),
        (["b"], ("int8", "int8")),
        (["c", "net/flat"], ("int8", "int8")),
        (["d", "y"], ("int8", "int16")),
        (["a", "d"], ("int16", "int8")),
    ],
)
def test_every_mix_is_integer_and_the_same_in_both_references(
    made: tuple[Model, Conversion, Conversion], names: list[str], ends: tuple[str, str]
) -> None:
    model, eight, sixteen = made
    both = mixed(model.graph, eight, sixteen, layers_named(model.graph, names))
    assert not find_violations(both.graph)
    assert not find_gaps(both.graph, load_table("aot"))
    assert not find_gaps(both.graph, load_table("tflm"))
    assert (both.graph.inputs[0].tensor.dtype, both.graph.outputs[0].tensor.dtype) == ends
    assert [p.name for p in both.graph.inputs] == [p.name for p in eight.graph.inputs]
    inputs = fresh_inputs(both.graph, None, 8)
    with litert(both.tflite, "reference") as a, tflm(both.tflite, both.graph) as b:
        for x, y in zip(run_network(a, inputs), run_network(b, inputs), strict=True):
            assert np.array_equal(x[0], y[0])
    assert mixed(model.graph, eight, sixteen, both.int16).tflite == both.tflite


def test_layers_are_named_as_people_do(made: tuple[Model, Conversion, Conversion]) -> None:
    graph = made[0].graph
    assert layers_named(graph, ["a"]) == ("net/a/Relu;net/a/Conv",)
    assert layers_named(graph, ["y", "net/a/Relu"]) == ("net/a/Relu;net/a/Conv", "y")
    assert len(layers_named(graph, ["net"])) == 5
    assert shortest_names(graph, ["net/a/Relu;net/a/Conv", "net/flat", "y"]) == (
        "a",
        "net/flat",
        "y",
    )
    with pytest.raises(UsageError, match="no operator makes 'flatt'") as caught:
        layers_named(graph, ["flatt"])
    assert caught.value.hint == "did you mean flat?"


def test_a_build_says_what_is_int16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.tflite").write_bytes(branches())
    np.save("d.npy", np.random.default_rng(1).standard_normal((40, 6, 6, 3)).astype(np.float32))
    words = ["build", "net.tflite", "-t", "cortex-m4", "--calibration-data", "d.npy"]
    words += ["--calibration", "minmax", "--int16", "d"]
    assert run(words) == 0, capfd.readouterr().err
    assert "in int16: net/d/MatMul" in capfd.readouterr().out
    manifest = json.loads(Path("build/cortex-m4/manifest.json").read_text())
    assert manifest["conversion"]["int16"] == ["net/d/MatMul"]
    assert "--int16 d " in Path("build/cortex-m4/README.md").read_text()
    assert run([*words, "--scheme", "int16x8"]) == 2
    assert "single layers of an int8 network" in capfd.readouterr().err
