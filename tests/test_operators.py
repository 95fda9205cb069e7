"""Operator tables, and what of a graph an engine lacks."""

from __future__ import annotations

import pytest

from edgeq.errors import UsageError
from edgeq.graph import Graph, Op, Subgraph, Tensor
from edgeq.operators import Gap, find_gaps, load_table, notes, table_for, table_names
from edgeq.targets import list_targets, load_target
from edgeq.tflite.opcodes import OPERATORS, TENSOR_TYPES

TFLM = load_table("tflm")
LITERT = load_table("litert")
OLD = load_table("tflite-runtime")


def graph_of(*ops: tuple[str, int, list[str]]) -> Graph:
    """A graph of independent operators (name, version, dtypes of the inputs), int8 outputs."""
    return Graph((subgraph_of(*ops),), (), "", 3, 0)


def subgraph_of(*ops: tuple[str, int, list[str]], calls: tuple[int, ...] = ()) -> Subgraph:
    tensors: list[Tensor] = []

    def tensor(dtype: str) -> int:
        tensors.append(Tensor(len(tensors), f"t{len(tensors)}", (1, 4), dtype))
        return len(tensors) - 1

    made = tuple(
        Op(
            i,
            name,
            version,
            tuple(tensor(d) if d else -1 for d in dtypes),
            (tensor("int8"),),
            subgraphs=calls if name in ("IF", "WHILE") else (),
        )
        for i, (name, version, dtypes) in enumerate(ops)
    )
    return Subgraph("main", tuple(tensors), (), (), made)


def only_gap(op: tuple[str, int, list[str]], table: object) -> Gap:
    assert isinstance(table, type(TFLM))
    gaps = find_gaps(graph_of(op), table)
    assert len(gaps) == 1
    return gaps[0]


# --- The tables ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", table_names())
def test_table_is_sound(name: str) -> None:
    table = load_table(name)
    assert table.name == name
    assert table.title and table.source
    assert len(table.operators) >= 50
    assert list(table.operators) == sorted(table.operators)
    for op_name, operator in table.operators.items():
        assert op_name in OPERATORS, op_name
        assert set(operator.types) <= set(TENSOR_TYPES), op_name
        if operator.versions:
            assert 1 <= operator.versions[0] <= operator.versions[1], op_name


def test_tflm_names_a_resolver_method_for_every_operator() -> None:
    assert all(o.resolver and o.resolver.startswith("Add") for o in TFLM.operators.values())
    assert len({o.resolver for o in TFLM.operators.values()}) == len(TFLM.operators)


def test_litert_is_not_older_than_tflite_runtime() -> None:
    for name, old in OLD.operators.items():
        new = LITERT.operators[name]
        assert new.versions and old.versions and new.versions[1] >= old.versions[1], name


def test_unknown_table() -> None:
    with pytest.raises(UsageError) as error:
        load_table("tfml")
    assert error.value.hint == "did you mean tflm?"


def test_every_target_has_a_table_for_each_engine() -> None:
    for target in list_targets():
        for engine in target.engines:
            assert table_for(target, engine).operators
        assert table_for(target) is table_for(target, target.default_engine)


@pytest.mark.parametrize(
    ("target", "table"),
    [
        ("cortex-m4", "aot"),
        ("rpi", "litert"),
        ("rpi-armv7", "tflite-runtime"),
        ("android", "litert"),
        ("host", "litert"),
    ],
)
def test_table_for(target: str, table: str) -> None:
    assert table_for(load_target(target)).name == table


def test_engine_aot_has_the_same_operators_on_every_target() -> None:
    for name in ("rpi", "rpi-armv7", "android", "host", "cortex-m4"):
        assert table_for(load_target(name), "aot") is load_table("aot")


def test_table_for_refuses_an_engine_that_the_target_lacks() -> None:
    with pytest.raises(UsageError, match="rpi has no engine 'tflm'"):
        table_for(load_target("rpi"), "tflm")


# --- Gaps ------------------------------------------------------------------------------------


def test_a_plain_int8_network_runs_everywhere() -> None:
    graph = graph_of(
        ("CONV_2D", 3, ["int8", "int8", "int32"]),
        ("MAX_POOL_2D", 2, ["int8"]),
        ("RESHAPE", 1, ["int8", "int32"]),
        ("FULLY_CONNECTED", 4, ["int8", "int8", ""]),
        ("SOFTMAX", 2, ["int8"]),
    )
    for table in (TFLM, LITERT, OLD):
        assert find_gaps(graph, table) == []


def test_a_missing_operator_names_who_has_it() -> None:
    gap = only_gap(("GELU", 2, ["int8"]), TFLM)
    assert (gap.op_index, gap.op_name, gap.version, gap.dtype) == (0, "GELU", 2, "int8")
    assert gap.reason == "TensorFlow Lite Micro has no GELU"
    assert "LiteRT 2.3 and tflite-runtime 2.14 have it" in gap.hint
    assert "replace the layer" in gap.hint


@pytest.mark.parametrize(
    ("target", "choice"), [("cortex-m4", "tflm"), ("rpi", "litert"), ("rpi-armv7", "litert")]
)
def test_another_engine_of_the_target_is_named_by_its_option(target: str, choice: str) -> None:
    aot = load_table("aot")
    name = next(
        n
        for n in sorted(TFLM.operators)
        if n not in aot.operators and n in LITERT.operators and n in OLD.operators
    )
    (gap,) = find_gaps(graph_of((name, 1, [])), aot, load_target(target))
    assert "TensorFlow Lite Micro" in gap.hint and f"here: --engine {choice}, or " in gap.hint
    assert "--engine" not in only_gap((name, 1, []), aot).hint


def test_an_operator_that_nobody_has() -> None:
    gap = only_gap(("STABLEHLO_CBRT", 1, ["float32"]), TFLM)
    assert gap.hint.startswith("no engine of edgeq's has it")


def test_a_custom_operator() -> None:
    gap = only_gap(("CUSTOM:FlexErf", 1, ["float32"]), LITERT)
    assert gap.reason == "FlexErf is a custom operator, outside TFLite's set"
    assert "Select TF" in gap.hint


@pytest.mark.parametrize(
    ("op", "dtype", "hint"),
    [
        (("RESIZE_BILINEAR", 3, ["int16", "int32"]), "int16", "--scheme int8"),
        (("CONV_2D", 1, ["uint8", "uint8", "int32"]), "uint8", "int8 the present one"),
        (("EXP", 2, ["int8"]), "int8", "LiteRT 2.3 and tflite-runtime 2.14 have it"),
    ],
)
def test_a_type_that_the_engine_lacks(
    op: tuple[str, int, list[str]], dtype: str, hint: str
) -> None:
    gap = only_gap(op, TFLM)
    assert gap.dtype == dtype
    assert gap.reason.endswith(f"not for {dtype}")
    assert hint in gap.hint
    assert find_gaps(graph_of(op), LITERT) == []


def test_a_version_beyond_the_engine() -> None:
    assert LITERT.operators["FULLY_CONNECTED"].versions == (1, 14)
    gap = only_gap(("FULLY_CONNECTED", 14, ["int8", "int8"]), OLD)
    assert gap.reason.startswith("tflite-runtime 2.14 knows versions 1 to ")
    assert gap.reason.endswith("the model has version 14")
    assert "LiteRT 2.3" in gap.hint and "older TensorFlow" in gap.hint
    assert find_gaps(graph_of(("FULLY_CONNECTED", 14, ["int8", "int8"])), LITERT) == []


def test_a_version_below_the_engines_lowest() -> None:
    assert only_gap(("BROADCAST_TO", 1, ["int8"]), LITERT).reason == (
        "LiteRT 2.3 knows versions 2 to 4 of BROADCAST_TO, the model has version 1"
    )


def test_tflm_looks_at_no_versions() -> None:
    assert find_gaps(graph_of(("CONV_2D", 99, ["int8"])), TFLM) == []


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("TRANSPOSE_CONV", ["int32", "int8", "int8"]),
        ("SPLIT", ["int32", "int8"]),
        ("SELECT_V2", ["bool", "int8", "int8"]),
        ("FILL", ["int32", "int8"]),
        ("EMBEDDING_LOOKUP", ["int32", "int8"]),
        ("ASSIGN_VARIABLE", ["resource", "int8"]),
        ("READ_VARIABLE", ["resource"]),
        ("GATHER", ["int8", "int32"]),
        ("VAR_HANDLE", []),
        ("CALL_ONCE", []),
    ],
)
def test_the_value_counts_not_the_axis_or_condition(name: str, inputs: list[str]) -> None:
    assert find_gaps(graph_of((name, 1, inputs)), TFLM) == []


def test_a_transposed_convolution_of_uint8_is_found() -> None:
    """The other way round: the first input alone, an int32 shape, would say nothing."""
    assert only_gap(("TRANSPOSE_CONV", 1, ["int32", "uint8", "uint8"]), TFLM).dtype == "uint8"


def test_subgraphs_that_a_run_enters_are_walked_and_others_are_not() -> None:
    graph = Graph(
        (
            subgraph_of(("ADD", 1, ["int8"]), ("IF", 1, ["bool", "int8"]), calls=(1,)),
            subgraph_of(("ADD", 1, ["int8"]), ("GELU", 1, ["int8"])),
            subgraph_of(("ERF", 1, ["int8"])),
        ),
        (),
        "",
        3,
        0,
    )
    (gap,) = find_gaps(graph, TFLM)
    assert (gap.subgraph, gap.op_index, gap.op_name) == (1, 1, "GELU")


def test_notes_are_those_of_the_operators_used() -> None:
    found = notes(graph_of(("SOFTMAX", 1, ["int8"]), ("CEIL", 1, ["int8"]), ("ADD", 1, [])), TFLM)
    assert list(found) == ["ADD", "SOFTMAX"]
    assert found["SOFTMAX"] == TFLM.operators["SOFTMAX"].note
    assert notes(graph_of(("GELU", 1, ["int8"])), TFLM) == {}
