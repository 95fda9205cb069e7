"""The operators and the golden check of the TensorFlow Lite Micro export."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exports import ADDERS, HOST, compile_ok, make_export, run, tflm_files, write
from tflm_stub import write_stubs

from edgeq.codegen import Export, generate_family
from edgeq.errors import DoesNotFit
from edgeq.graph import Op
from edgeq.operators import load_table


def checkable() -> Export:
    """An export whose golden outputs are what the stand-in interpreter computes."""
    export = make_export()
    outputs = tuple((i[0] ^ np.int8(0x55),) for i in export.golden.inputs)
    return replace(export, golden=replace(export.golden, outputs=outputs))


@pytest.fixture(scope="module")
def check_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("check"), tflm_files(checkable()))
    write_stubs(folder)
    compile_ok(HOST["cc"], folder, "-c", "tiny_model_data.cc", "-o", "data.o")
    return folder


@pytest.mark.parametrize(
    ("fault", "code", "expected"),
    [
        (0, 0, "PASS: 3 samples, every output byte as in the reference"),
        (1, 1, "FAIL: the model's schema version"),
        (2, 1, "FAIL: an operator could not be registered"),
        (3, 1, "FAIL: the arena is too small"),
        (4, 1, "FAIL: AllocateTensors() failed"),
        (5, 1, "sample 1, output 0, index 2: expected {e}, got {g} (2 of 4 values differ)"),
        (6, 1, "FAIL: Invoke() failed"),
        (7, 1, "FAIL: the golden vectors are not this model's"),
    ],
)
def test_the_golden_check_says_what_is_wrong(
    check_folder: Path, fault: int, code: int, expected: str
) -> None:
    program = check_folder / f"check{fault}"
    compile_ok(HOST["cc"], check_folder, f"-DFAULT={fault}", "main.cc", "data.o", "-o", program)
    done = run([program])
    text = done.stdout.decode()
    value = int(checkable().golden.outputs[1][0].reshape(-1)[2])
    assert expected.format(e=value, g=value ^ 1) in text
    assert done.returncode == code
    assert ("arena: 1234 of 2048 bytes used" in text) == (fault in (0, 5))
    if fault == 5:
        assert "FAIL: 1 of 3 samples differ" in text


def test_the_arena_must_be_known_or_given(tmp_path: Path) -> None:
    write(tmp_path, tflm_files(make_export(arena=None)))
    write_stubs(tmp_path)
    without = run([*HOST["cc"], "-I.", "-fsyntax-only", "main.cc"], cwd=tmp_path)
    assert b"the arena of this network was not measured" in without.stderr
    compile_ok(HOST["cc"], tmp_path, "-DEQ_NETWORK_ARENA_SIZE=4096", "-fsyntax-only", "main.cc")
    compile_ok(HOST["cc"], tmp_path, "-DTINY_TENSOR_ARENA_SIZE=4096", "-fsyntax-only", "main.cc")


def test_the_resolver_has_exactly_the_operators_of_all_subgraphs() -> None:
    export = make_export(ops=("SOFTMAX", "WHILE", "SOFTMAX"))
    main = export.graph.main
    body = replace(main, ops=(Op(0, "RELU", 1, (0,), (1,)),))
    loop = replace(main.ops[1], subgraphs=(1,))
    main = replace(main, ops=(main.ops[0], loop, main.ops[2]))
    export = replace(export, graph=replace(export.graph, subgraphs=(main, body)))
    adders = {**ADDERS, "WHILE": "AddWhile"}
    text = str(generate_family("cortex-m", export, adders=adders)["tiny_ops.h"])
    calls = re.findall(r"TF_LITE_ENSURE_STATUS\(resolver\.(\w+)\(\)\);", text)
    assert calls == ["AddRelu", "AddSoftmax", "AddWhile"]
    assert "#define TINY_NUMBER_OPERATORS 3\n" in text
    assert text.count("resolver.Add") == 3


def test_an_operator_that_tflm_lacks_is_refused_by_name() -> None:
    with pytest.raises(DoesNotFit, match="CUSTOM:<U\\+000A>x"):
        tflm_files(make_export(ops=("SOFTMAX", "CUSTOM:\nx")))
    assert DoesNotFit.exit_code == 3


def test_every_method_of_the_operator_table_is_an_identifier() -> None:
    for operator in load_table("tflm").operators.values():
        assert re.fullmatch(r"Add\w+", str(operator.resolver))
