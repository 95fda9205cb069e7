import random
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_model import Maker, convolution, outside, pack, schema, tiny_float, tiny_int8

from edgeq.errors import ModelError
from edgeq.tflite import opcodes, read_graph
from edgeq.tflite.writer import with_batch_of_one, with_ranges, with_signature

MODEL = tiny_int8()


def test_operators_shapes_and_quantization_are_read():
    graph = read_graph(MODEL)
    assert [op.name for op in graph.main.ops] == [
        "CONV_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    (image,) = graph.inputs
    assert (image.name, image.tensor.shape, image.tensor.dtype) == ("image", (1, 8, 8, 1), "int8")
    assert image.tensor.quantization.scale == pytest.approx(1 / 255)
    assert image.tensor.quantization.zero_point == -128
    convolution = graph.main.ops[0]
    assert convolution.version == 3
    assert convolution.options["padding"] == "SAME"
    assert convolution.options["activation"] == "RELU"
    filters = graph.main.tensors[convolution.inputs[1]]
    assert filters.quantization.per_channel and filters.data.shape == (4, 3, 3, 1)


def test_operator_numbers_are_the_schema_s():
    numbers = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert [numbers[i] for i in range(len(numbers))] == list(opcodes.OPERATORS)
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    assert [types[i] for i in range(len(types))] == list(opcodes.TENSOR_TYPES)


def test_option_tables_are_the_schema_s():
    for tag, fields in opcodes.OPTIONS.items():
        kind = next(k for k, v in vars(schema.BuiltinOptions).items() if v == tag)
        attributes = vars(getattr(schema, f"{kind}T")())
        known = [f for f in fields if f != "-"]
        assert len(known) <= len(attributes), kind


@pytest.mark.parametrize("length", [0, 1, 7, 8, 20, 100, 1000, len(MODEL) // 2, len(MODEL) - 50])
def test_a_truncated_file_is_refused(length):
    with pytest.raises(ModelError):
        read_graph(MODEL[:length])


def test_another_kind_of_file_is_refused_with_what_it_begins_with():
    with pytest.raises(ModelError, match="not a .tflite"):
        read_graph(b"<!DOCTYPE html><html>")


def test_noise_behind_the_magic_is_refused():
    for seed in range(50):
        noise = random.Random(seed).randbytes(2000)
        with pytest.raises(ModelError):
            read_graph(noise[:4] + b"TFL3" + noise[8:])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), max_size=12))
def test_no_damage_does_more_than_raise_a_model_error(changes):
    data = bytearray(MODEL)
    for place, value in changes:
        data[place] = value
    try:
        read_graph(bytes(data))
    except ModelError:
        pass


UNNAMED = tiny_float(named=False)
EDITS = {
    "signature": lambda data: with_signature(data, "serve", ["in"], ["out"], "m.tflite"),
    "ranges": lambda data: with_ranges(data, {0: (-1, 1)}, "m.tflite"),
    "batch": lambda data: with_batch_of_one(data, "m.tflite"),
}


def edited(edit, data):
    """The edit's result; None where the file is refused before, or by the edit."""
    try:
        ports = read_graph(data).main
        return EDITS[edit](data) if len(ports.inputs) == len(ports.outputs) == 1 else None
    except ModelError:
        return None


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_what_the_reader_does_not_look_at_refuses_damage(edit):
    """The reader passes over tables that it has no use for; the writer has to copy them."""
    passed = refused = 0
    for place in range(8, len(UNNAMED)):
        data = UNNAMED[:place] + b"\xff" + UNNAMED[place + 1 :]
        try:
            read_graph(data)
        except ModelError:
            continue
        made = edited(edit, data)
        passed, refused = passed + (made is not None), refused + (made is None)
    assert passed > 100 and refused > 0


@pytest.mark.parametrize("edit", EDITS)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(8, len(UNNAMED) - 1), st.integers(0, 255)), max_size=4))
def test_no_damage_makes_an_edit_do_more_than_raise_a_model_error(edit, changes):
    data = bytearray(UNNAMED)
    for place, value in changes:
        data[place] = value
    edited(edit, bytes(data))


@pytest.mark.parametrize("edit", EDITS)
def test_constants_behind_the_flatbuffer_survive_an_edit(edit):
    far = outside(UNNAMED)
    for graph in (read_graph(far), read_graph(EDITS[edit](far))):
        for a, b in zip(read_graph(UNNAMED).main.tensors, graph.main.tensors, strict=True):
            assert (a.data is None) == (b.data is None)
            assert a.data is None or np.array_equal(a.data, b.data)


def test_a_cut_constant_behind_the_flatbuffer_is_refused():
    with pytest.raises(ModelError, match="runs past its end"):
        read_graph(outside(UNNAMED)[:-1])


def test_a_model_without_inputs_gets_a_signature():
    m = Maker()
    k, y = m.tensor("k", (1, 2), data=np.ones((1, 2))), m.tensor("y", (1, 2))
    m.op("RELU", [k], [y])
    model = m.model([], [y], named=False)
    model.subgraphs[0].inputs = None
    assert read_graph(with_signature(pack(model), "serve", [], ["out"])).signatures[0].inputs == ()


def test_a_subgraph_without_tensors_is_left_alone():
    m = Maker()
    x, y = m.tensor("x", (1, 2)), m.tensor("y", (1, 2))
    m.op("RELU", [x], [y])
    m.callees.append((m.callee(), [], []))
    model = m.model([x], [y])
    model.subgraphs[1].tensors = None
    assert len(read_graph(with_batch_of_one(pack(model))).subgraphs) == 2


def test_packed_constants_have_their_size_checked():
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 3), np.int8, 0.1)
    w = m.tensor("w", (3, 4), "int4", 0.1, data=bytes(5))
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    with pytest.raises(ModelError, match="int4.*5 bytes of data"):
        read_graph(m.bytes([x], [y]))


def test_overlapping_tables_cannot_unfold_into_a_flood():
    """A million offsets to one subgraph of a thousand operators would be a billion operators."""
    m = Maker()
    tensor = m.tensor("t", (1,))
    for _ in range(1000):
        m.op("RELU", [tensor], [tensor])
    data = bytearray(m.bytes([tensor], [tensor]))
    (root,) = struct.unpack_from("<I", data, 0)
    vtable = root - struct.unpack_from("<i", data, root)[0]
    field = root + struct.unpack_from("<H", data, vtable + 4 + 2 * 2)[0]
    old = field + struct.unpack_from("<I", data, field)[0]
    subgraph = old + 4 + struct.unpack_from("<I", data, old + 4)[0]
    count = 200_000
    start = len(data)
    data += struct.pack("<I", count)
    # Offsets are unsigned and point forward: let them reach a copy placed at the end.
    end = start + 4 + 4 * count
    data += b"".join(struct.pack("<I", end + 64 - (start + 4 + 4 * i)) for i in range(count))
    data += bytes(64) + bytes(data[subgraph - 64 : subgraph + 4096])
    struct.pack_into("<I", data, field, start - field)
    begin = time.monotonic()
    with pytest.raises(ModelError):
        read_graph(bytes(data))
    assert time.monotonic() - begin < 20


def test_a_loop_through_tensors_is_refused():
    m = Maker()
    a, b = m.tensor("a", (1, 2)), m.tensor("b", (1, 2))
    m.op("RELU", [b], [a])
    m.op("RELU", [a], [b])
    with pytest.raises(ModelError, match="before anything has written it"):
        read_graph(m.bytes([], [b]))


def test_subgraphs_that_call_each_other_are_refused():
    m = Maker()
    x = m.tensor("x", (1,))
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    m.op("WHILE", [x], [x], options)
    with pytest.raises(ModelError, match="circle"):
        read_graph(m.bytes([x], [x]))


def test_a_constant_of_the_wrong_size_is_refused():
    m = Maker()
    x, w, y = (
        m.tensor("x", (1, 2)),
        m.tensor("w", (2, 2), data=np.ones((2, 1))),
        m.tensor("y", (1, 2)),
    )
    m.op("FULLY_CONNECTED", [x, w, -1], [y], schema.FullyConnectedOptionsT())
    with pytest.raises(ModelError, match="bytes of data"):
        read_graph(m.bytes([x], [y]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    m = Maker()
    x, y = m.tensor("x", (1,), np.int8, scale), m.tensor("y", (1,), np.int8, 1.0)
    m.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="scale"):
        read_graph(m.bytes([x], [y]))


def test_scales_that_do_not_fit_the_axis_are_refused():
    m = Maker()
    x, y = m.tensor("x", (1, 1, 1, 1), np.int8, 1.0), m.tensor("y", (1, 1, 1, 2), np.int8, 1.0)
    w = m.tensor("w", (2, 1, 1, 1), np.int8, [1.0, 1.0, 1.0], data=np.ones((2, 1, 1, 1)))
    m.op("CONV_2D", [x, w, -1], [y], convolution())
    with pytest.raises(ModelError, match="3 scales on axis 0"):
        read_graph(m.bytes([x], [y]))


def test_ports_without_a_signature_get_plain_names():
    m = Maker()
    x, y = m.tensor("serving_default_image:0", (1,)), m.tensor("model/dense/BiasAdd", (1,))
    m.op("RELU", [x], [y])
    graph = read_graph(m.bytes([x], [y], named=False))
    assert [p.name for p in graph.inputs + graph.outputs] == ["image", "BiasAdd"]


def test_a_written_signature_names_ports_and_tensors():
    graph = read_graph(with_signature(tiny_float(), "serve", ["in"], ["out"]))
    assert graph.signatures[0].key == "serve"
    assert [(p.name, p.tensor.name) for p in graph.inputs + graph.outputs] == [
        ("in", "in"),
        ("out", "out"),
    ]


def test_written_ranges_change_nothing_else():
    before, after = read_graph(tiny_float()), read_graph(with_ranges(tiny_float(), {0: (-1, 1)}))
    assert before.main.ops == after.main.ops
    for a, b in zip(before.main.tensors, after.main.tensors, strict=True):
        assert (a.name, a.shape, a.quantization) == (b.name, b.shape, b.quantization)
        assert (a.data is None) == (b.data is None)
        assert a.data is None or np.array_equal(a.data, b.data)


def test_a_dynamic_batch_becomes_one():
    m = Maker()
    x, y = m.tensor("x", (1, 3)), m.tensor("y", (1, 3))
    for t in m.tensors:
        t.shapeSignature = np.array([-1, 3], np.int32)
    m.op("RELU", [x], [y])
    data = m.bytes([x], [y])
    assert read_graph(data).inputs[0].tensor.dynamic_dims == (0,)
    fixed = read_graph(with_batch_of_one(data)).inputs[0].tensor
    assert fixed.dynamic_dims == () and fixed.shape == (1, 3)


def test_more_operators_or_inputs_than_any_network_has_are_refused():
    m = Maker()
    x, y = m.tensor("x", (1,)), m.tensor("y", (1,))
    for _ in range(20_001):
        m.op("RELU", [x], [y])
    with pytest.raises(ModelError, match="more than any network"):
        read_graph(m.bytes([x], [y]))
