"""A network that engine aot takes channels from: its layers, on an emulated board, are those of the
reference without these channels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from make_model import Maker, convolution

from edgeq.bundle import open_bundle
from edgeq.cli import run
from edgeq.codegen.aot import kept_channels
from edgeq.expected import expected_of
from edgeq.flashers import firmware_image
from edgeq.reference import layer_crcs
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.tflite import read_graph
from edgeq.transports.simulator import SimulatorTransport

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)

BOARD = "mps2-an386"


def sparse() -> bytes:
    """Two convolutions; three of the six channels between them are zero whatever the input is."""
    random = np.random.default_rng(0)
    m = Maker()
    x = m.tensor("x", (1, 6, 6, 2), np.int8, 0.05, 3)
    y = m.tensor("y", (1, 6, 6, 6), np.int8, 0.05, -128)
    z = m.tensor("z", (1, 6, 6, 3), np.int8, 0.05, 0)
    weights = random.integers(-127, 128, (6, 3, 3, 2))
    weights[[1, 2, 4]] = 0
    relu = convolution(fusedActivationFunction=schema.ActivationFunctionType.RELU)
    for source, target, values, options in (
        (x, y, weights, relu),
        (y, z, random.integers(-127, 128, (3, 1, 1, 6)), convolution()),
    ):
        w = m.tensor("w", values.shape, np.int8, 0.005, data=values)
        bias = np.where((values == 0).all((1, 2, 3)), -9000, 100)
        b = m.tensor("b", bias.shape, np.int32, 0.00025, data=bias)
        m.op("CONV_2D", [source, w, b], [target], options, version=3)
    return m.bytes([x], [z])


def test_the_layers_on_the_device_are_the_reference_s(tmp_path: Path) -> None:
    (tmp_path / "sparse.tflite").write_bytes(sparse())
    assert run(["build", str(tmp_path / "sparse.tflite"), "-t", BOARD, "-o", str(tmp_path)]) == 0
    bundle = open_bundle(tmp_path / BOARD)
    graph, golden = read_graph(bundle.tflite, "sparse"), bundle.golden()
    kept = kept_channels(graph)
    assert [mask.tolist() for mask in kept.values()] == [[True, False, False, True, False, True]]
    wanted = layer_crcs(bundle.tflite, graph, "aot", golden.inputs[0], golden.outputs[0], kept)
    with Session(
        load_target(BOARD), SimulatorTransport(load_target(BOARD), firmware_image(bundle))
    ) as session:
        session.check(expected_of(bundle, "build it again"))
        assert list(session.layer_crcs(golden.inputs[0])) == wanted
