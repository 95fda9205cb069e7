"""Every operator of engine aot on every emulated core: the reference's bytes, on a serial line."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path

import agreement
import pytest
from agreement import BOARDS, SAMPLES, equal_outputs, make_reference
from every_operator import networks
from make_model import tiny_int8

from edgeq.codegen.aot.compiler import TABLE
from edgeq.codegen.facts import Export
from edgeq.operators import load_table, main_type
from edgeq.tflite.reader import read_graph

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)


@functools.cache
def reference(name: str) -> Export:
    return make_reference(networks()[name], name)


def test_the_networks_use_every_operator_with_every_type() -> None:
    graphs = [read_graph(tflite, name).main for name, tflite in networks().items()]
    used = {(op.name, main_type(op, graph)) for graph in graphs for op in graph.ops}
    table = load_table(TABLE).operators
    assert used == {(name, dtype) for name in table for dtype in table[name].types}


def test_no_output_is_the_same_for_every_input() -> None:
    """Else a kernel that always saturates would pass."""
    for name in networks():
        outputs = reference(name).golden.outputs
        for position, first in enumerate(outputs[0]):
            assert any((sample[position] != first).any() for sample in outputs), (name, position)


def test_tflm_is_the_reference_where_it_has_the_operators() -> None:
    for name in networks():
        title = reference(name).golden.reference
        assert title.startswith("LiteRT" if name == "without_tflm" else "TFLM"), name


def test_conversions_and_states_on_a_cortex_m4() -> None:
    assert equal_outputs(reference("rest"), "mps2-an386") == [True] * SAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("name", networks())
def test_every_core_gives_the_bytes_of_the_reference(name: str, board: str) -> None:
    assert equal_outputs(reference(name), board) == [True] * SAMPLES


def test_one_wrong_byte_is_seen() -> None:
    export = make_reference(tiny_int8(), samples=3)
    wrong = export.golden.outputs[1][0].copy()
    wrong[0, 2] ^= 1
    outputs = (export.golden.outputs[0], (wrong,), export.golden.outputs[2])
    golden = dataclasses.replace(export.golden, outputs=outputs)
    export = dataclasses.replace(export, golden=golden)
    assert equal_outputs(export, "mps2-an386") == [True, False, True]


def test_the_program(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agreement.main([str(tiny_model), "--board", "microbit", "--samples", "2"]) == 0
    assert "2 of 2 equal TFLM (tflite-micro" in capsys.readouterr().out
