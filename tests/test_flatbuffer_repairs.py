"""Repairs on a .tflite: what each changes, what it leaves, and that the outputs stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from make_model import Maker, convolution, schema, tiny_float

import edgeq.mending
from edgeq.calibration import calibrate
from edgeq.cli import run
from edgeq.conversion import convert
from edgeq.errors import ModelError
from edgeq.flatbuffer_repairs import FLOAT_PASSES, FloatPass, repair_float
from edgeq.flatbuffer_repairs.islands import fold_islands, scale_of_range
from edgeq.flatbuffer_repairs.transposes import merged
from edgeq.integers import find_violations
from edgeq.interpreters import litert, tflm
from edgeq.interpreters import run as run_all
from edgeq.mending import mended
from edgeq.models import open_model
from edgeq.repairs import REPAIRS
from edgeq.samples import open_samples
from edgeq.tflite import read_graph

RANDOM = np.random.default_rng(4)


def operators(tflite: bytes) -> list[str]:
    return [op.name for op in read_graph(tflite).main.ops]


def outputs(tflite: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(
        model_content=tflite,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def repaired(tflite: bytes, name: str) -> bytes:
    """After the repair, which must leave the outputs what they are, on random inputs."""
    made, repair = repair_float(tflite, name)
    assert repair is not None and repair.name == name and repair.layers
    ports = read_graph(tflite).inputs
    assert [p.name for p in read_graph(made).inputs] == [p.name for p in ports]
    inputs = [RANDOM.standard_normal(p.tensor.shape).astype(np.float32) for p in ports]
    for a, b in zip(outputs(tflite, *inputs), outputs(made, *inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return made


def left_alone(tflite: bytes, name: str) -> bool:
    made, repair = repair_float(tflite, name)
    return repair is None and made == tflite


def one(operator: str, shape: Sequence[int], made: Sequence[int], *constants: np.ndarray,
        options: object = None) -> bytes:  # fmt: skip
    """A float network of a single operator."""
    m = Maker()
    x, y = m.tensor("x", shape), m.tensor("y", made)
    extra = [m.tensor(f"c{i}", c.shape, c.dtype, data=c) for i, c in enumerate(constants)]
    m.op(operator, [x, *extra], [y], options)
    return m.bytes([x], [y])


def int32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def test_each_has_a_line_and_a_name():
    assert FLOAT_PASSES.keys() < REPAIRS.keys()
    assert {"islands", "batch-of-one", "signature"} < REPAIRS.keys()


# --- Before quantization ------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["NEG", "SQUARE"])
def test_products(operator):
    assert operators(repaired(one(operator, (1, 4, 5), (1, 4, 5)), "products")) == ["MUL"]


@pytest.mark.parametrize("operator", ["HARD_SWISH", "PRELU", "SQUARED_DIFFERENCE"])
def test_operators_without_an_int16_form(operator):
    other = [] if operator == "HARD_SWISH" else [RANDOM.standard_normal((1, 1, 5), np.float32)]
    made = operators(repaired(one(operator, (1, 4, 5), (1, 4, 5), *other), "int16"))
    assert set(made) <= {"ADD", "MUL", "RELU", "SUB"}


def enlargement(down: int, across: int) -> bytes:
    """What UpSampling2D becomes, (1, 3, 5, 2)."""
    m = Maker()
    shapes = [(1, 3, 1, 5, 2), (1, 3, down, 5, 2), (1, 3 * down, 5, 1, 2),
              (1, 3 * down, 5, across, 2), (1, 3 * down, 5 * across, 2)]  # fmt: skip
    x = at = m.tensor("x", (1, 3, 5, 2))
    for i, shape in enumerate(shapes):
        times = (1, 1, down, 1, 1) if i == 1 else (1, 1, 1, across, 1)
        constant = m.tensor(f"c{i}", (5 if i % 2 else len(shape),), np.int32,
                            data=int32(*(times if i % 2 else shape)))  # fmt: skip
        made = m.tensor(f"t{i}", shape)
        m.op("TILE" if i % 2 else "RESHAPE", [at, constant], [made])
        at = made
    return m.bytes([x], [at])


def test_an_enlargement_is_one_operator():
    assert operators(repaired(enlargement(2, 3), "tile")) == ["RESIZE_NEAREST_NEIGHBOR"]


def test_another_tile_is_a_concatenation_for_each_dimension():
    made = repaired(one("TILE", (1, 2, 3), (1, 4, 9), int32(1, 2, 3)), "tile")
    assert operators(made) == ["CONCATENATION", "CONCATENATION"]


def test_more_copies_than_microcontrollers_take_stay_a_tile():
    assert left_alone(one("TILE", (1, 2), (1, 22), int32(1, 11)), "tile")


def test_a_transpose_of_six_dimensions_becomes_one_of_fewer():
    tflite = one("TRANSPOSE", (1, 4, 2, 4, 2, 8), (1, 4, 4, 2, 2, 8), int32(0, 1, 3, 2, 4, 5))
    graph = read_graph(repaired(tflite, "transpose"))
    assert [op.name for op in graph.main.ops] == ["RESHAPE", "TRANSPOSE", "RESHAPE"]
    assert graph.main.tensors[graph.main.ops[1].inputs[0]].shape == (4, 2, 4, 16)


def test_a_transpose_that_has_to_have_its_dimensions_stays():
    assert left_alone(one("TRANSPOSE", (2, 3, 4, 5, 6), (6, 5, 4, 3, 2), int32(4, 3, 2, 1, 0)),
                      "transpose")  # fmt: skip
    assert left_alone(one("TRANSPOSE", (1, 2, 3), (1, 3, 2), int32(0, 2, 1)), "transpose")


@pytest.mark.parametrize("seed", range(12))
def test_merged_dimensions_move_the_same_values(seed):
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.choice([1, 2, 3], 6))
    order = [int(axis) for axis in random.permutation(6)]
    values = np.arange(np.prod(shape))
    sizes, moved = merged(shape, order)
    expected = values.reshape(shape).transpose(order).ravel()
    assert np.array_equal(values.reshape(sizes).transpose(moved).ravel(), expected)


def padded(around: np.ndarray, size: int, made: int, operator: str = "CONV_2D",
           relu: bool = False, shared: bool = False) -> bytes:  # fmt: skip
    """PAD, then 3x3 windows in steps of 2 on (1, size, size, 2)."""
    m = Maker()
    x = source = m.tensor("x", (1, size, size, 2))
    if relu:
        source = m.tensor("r", (1, size, size, 2))
        m.op("RELU", [x], [source])
    sizes = m.tensor("around", (4, 2), np.int32, data=around)
    wide = [n + sum(pair) for n, pair in zip((1, size, size, 2), around.tolist(), strict=True)]
    p, y = m.tensor("p", wide), m.tensor("y", (1, made, made, 2))
    m.op("PAD", [source, sizes], [p], schema.PadOptionsT())
    valid = {"padding": schema.Padding.VALID, "strideH": 2, "strideW": 2}
    if operator == "CONV_2D":
        w = m.tensor("w", (2, 3, 3, 2), data=RANDOM.standard_normal((2, 3, 3, 2)))
        b = m.tensor("b", (2,), data=np.ones(2))
        m.op(operator, [p, w, b], [y], convolution(**valid))
    elif operator == "DEPTHWISE_CONV_2D":
        w = m.tensor("w", (1, 3, 3, 2), data=RANDOM.standard_normal((1, 3, 3, 2)))
        b = m.tensor("b", (2,), data=np.ones(2))
        options = schema.DepthwiseConv2DOptionsT(**valid, depthMultiplier=1,
                                                 dilationHFactor=1, dilationWFactor=1)  # fmt: skip
        m.op(operator, [p, w, b], [y], options)
    else:
        m.op(operator, [p], [y], schema.Pool2DOptionsT(**valid, filterHeight=3, filterWidth=3))
    ends = [y]
    if shared:
        ends.append(m.tensor("a", wide))
        m.op("ABS", [p], [ends[1]])
    return m.bytes([x], ends)


BEHIND = np.array([[0, 0], [0, 1], [0, 1], [0, 0]])
AROUND = np.array([[0, 0], [1, 1], [1, 1], [0, 0]])


@pytest.mark.parametrize("operator", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_padding_joins_a_convolution_whose_same_it_is(operator):
    graph = read_graph(repaired(padded(BEHIND, 8, 4, operator), "pad"))
    (op,) = graph.main.ops
    assert op.name == operator and op.options["padding"] == "SAME"
    assert operators(repaired(padded(AROUND, 7, 4, operator), "pad")) == [operator]


def test_padding_on_other_sides_than_same_stays():
    assert left_alone(padded(AROUND, 8, 4), "pad")


def test_padding_joins_a_maximum_only_of_what_is_never_negative():
    assert operators(repaired(padded(BEHIND, 8, 4, "MAX_POOL_2D", relu=True), "pad")) == [
        "RELU",
        "MAX_POOL_2D",
    ]
    assert left_alone(padded(BEHIND, 8, 4, "MAX_POOL_2D"), "pad")
    assert left_alone(padded(BEHIND, 8, 4, "AVERAGE_POOL_2D", relu=True), "pad")


def test_padding_that_another_reads_stays_for_it():
    made = repaired(padded(BEHIND, 8, 4, shared=True), "pad")
    assert operators(made) == ["PAD", "CONV_2D", "ABS"]


def chain(shape: Sequence[int], *steps: tuple[str, Sequence[int], np.ndarray | None]) -> bytes:
    """RELU, the `steps` (operator, shape of its output, constant), RELU."""
    m = Maker()
    x, at = m.tensor("x", shape), m.tensor("r", shape)
    m.op("RELU", [x], [at])
    for i, (operator, made, constant) in enumerate(steps):
        extra = [] if constant is None else [
            m.tensor(f"c{i}", constant.shape, np.int32, data=constant)]  # fmt: skip
        to = m.tensor(f"t{i}", made)
        options = schema.CastOptionsT() if operator == "CAST" else None
        m.op(operator, [at, *extra], [to], options)
        at = to
    y = m.tensor("y", m.tensors[at].shape)
    m.op("RELU", [at], [y])
    return m.bytes([x], [y])


@pytest.mark.parametrize(
    ("tflite", "left"),
    [
        (chain((1, 6), ("RESHAPE", (1, 6), int32(1, 6))), []),
        (chain((1, 6), ("CAST", (1, 6), None)), []),
        (chain((1, 6), ("SLICE", (1, 6), int32(0, 0))), None),
        (chain((2, 3), ("TRANSPOSE", (2, 3), int32(0, 1))), []),
        (chain((2, 3), ("TRANSPOSE", (3, 2), int32(1, 0)), ("TRANSPOSE", (2, 3), int32(1, 0))), []),
        (chain((2, 3), ("TRANSPOSE", (3, 2), int32(1, 0))), None),
        (chain((1, 6), ("RESHAPE", (2, 3), int32(2, 3)), ("RESHAPE", (3, 2), int32(3, 2))),
         ["RESHAPE"]),
        (chain((1, 6), ("RESHAPE", (2, 3), int32(2, 3)), ("RESHAPE", (1, 6), int32(1, 6))), []),
        (chain((1, 2, 3), ("TRANSPOSE", (2, 1, 3), int32(1, 0, 2))), ["RESHAPE"]),
        (chain((1, 2, 2, 3), ("TRANSPOSE", (1, 3, 2, 2), int32(0, 3, 1, 2)),
               ("TRANSPOSE", (1, 2, 3, 2), int32(0, 2, 1, 3))), ["TRANSPOSE"]),
        (chain((2, 3), ("PAD", (2, 3), np.zeros((2, 2), np.int32))), []),
        (chain((2, 3), ("PAD", (2, 4), int32([0, 0], [0, 1]))), None),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_taken_out(tflite, left):
    if left is None:
        assert "SLICE" in operators(tflite) or left_alone(tflite, "identity")
    else:
        assert operators(repaired(tflite, "identity")) == ["RELU", *left, "RELU"]


def test_a_copy_at_the_end_leaves_the_output_its_name():
    m = Maker()
    x, r, y = m.tensor("x", (1, 6)), m.tensor("r", (1, 6)), m.tensor("y", (1, 6))
    shape = m.tensor("shape", (2,), np.int32, data=int32(1, 6))
    m.op("RELU", [x], [r])
    m.op("RESHAPE", [r, shape], [y])
    made = repaired(m.bytes([x], [y]), "identity")
    assert operators(made) == ["RELU"]
    assert [p.name for p in read_graph(made).outputs] == ["y"]


def test_a_copy_from_an_input_to_an_output_stays():
    assert left_alone(one("RESHAPE", (1, 6), (1, 6), int32(1, 6)), "identity")


CONVOLUTIONS_3D = {
    "same": ((1, 4, 5, 6, 2), (3, 3, 3), {}, (1, 4, 5, 6, 3)),
    "valid": ((1, 4, 5, 6, 2), (3, 2, 3), {"padding": 1}, (1, 2, 4, 4, 3)),
    "strides": ((1, 5, 5, 6, 2), (3, 3, 3), {"strideD": 2, "strideH": 2, "strideW": 3},
                (1, 3, 3, 2, 3)),
    "one frame": ((1, 3, 5, 5, 2), (1, 3, 3), {"fusedActivationFunction": 1}, (1, 3, 5, 5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS_3D)
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_convolution_over_frames(case, has_bias):
    shape, kernel, values, made = CONVOLUTIONS_3D[case]
    ones = {f"{kind}{axis}": 1 for kind in ("stride",) for axis in "DHW"}
    ones |= {f"dilation{axis}Factor": 1 for axis in "DHW"}
    m = Maker()
    x, y = m.tensor("x", shape), m.tensor("y", made)
    w = m.tensor("w", (*kernel, 2, 3), data=RANDOM.standard_normal((*kernel, 2, 3)))
    b = m.tensor("b", (3,), data=int32(1, 2, 3).astype(np.float32)) if has_bias else -1
    m.op("CONV_3D", [x, w, b], [y], schema.Conv3DOptionsT(**ones | values))
    made_of = operators(repaired(m.bytes([x], [y]), "conv3d"))
    assert made_of.count("CONV_2D") == 1 and "CONV_3D" not in made_of


# --- After it -----------------------------------------------------------------------------------

Make = Callable[[Maker, int], list[int]]


def simple(operator: str, *constants: np.ndarray, made: Sequence[int] = (1, 256),
           options: object = None, first: bool = True, count: int = 1) -> Make:  # fmt: skip
    def make(m: Maker, x: int) -> list[int]:
        extra = [m.tensor(f"{operator}{i}", c.shape, c.dtype, data=c)
                 for i, c in enumerate(constants)]  # fmt: skip
        results = [m.tensor(f"{operator}/y{i}", made) for i in range(count)]
        m.op(operator, [x, *extra] if first else [*extra, x], results, options)
        return results

    return make


def twice(operator: str, options: object = None) -> Make:
    """Of the value with itself."""

    def make(m: Maker, x: int) -> list[int]:
        y = m.tensor(f"{operator}/twice", (1, 256))
        m.op(operator, [x, x], [y], options)
        return [y]

    return make


SLOPES = np.linspace(-0.5, 0.5, 256, dtype=np.float32)[None]
HALF = np.full((1, 256), 0.5, np.float32)
ISLANDS: dict[str, tuple[Make, tuple[float, float]]] = {
    "ABS": (simple("ABS"), (0, 6.4)),
    "ADD": (simple("ADD", HALF, options=schema.AddOptionsT()), (-5.9, 6.9)),
    "ELU": (simple("ELU"), (-1, 6.4)),
    "LEAKY_RELU": (simple("LEAKY_RELU", options=schema.LeakyReluOptionsT(alpha=0.2)), (-1.3, 6.4)),
    "MAXIMUM": (simple("MAXIMUM", HALF, options=schema.MaximumMinimumOptionsT()), (0, 6.4)),
    "MINIMUM": (simple("MINIMUM", HALF, options=schema.MaximumMinimumOptionsT()), (-6.4, 0.5)),
    "MUL": (simple("MUL", HALF, options=schema.MulOptionsT()), (-3.2, 3.2)),
    "NEG": (simple("NEG"), (-6.4, 6.4)),
    "PRELU": (simple("PRELU", SLOPES), (-3.2, 6.4)),
    "REDUCE_MAX": (
        simple("REDUCE_MAX", int32(1), made=(1, 1), options=schema.ReducerOptionsT(keepDims=True)),
        (-6.4, 6.4)),
    "RELU": (simple("RELU"), (0, 6.4)),
    "RELU6": (simple("RELU6"), (0, 6)),
    "SPLIT": (simple("SPLIT", np.array(1, np.int32), made=(1, 128), first=False, count=2,
                     options=schema.SplitOptionsT(numSplits=2)), (-6.4, 6.4)),
    "SQUARE": (simple("SQUARE"), (0, 41)),
    "SQUARED_DIFFERENCE": (simple("SQUARED_DIFFERENCE", HALF), (0, 47.7)),
    "SUB": (twice("SUB", schema.SubOptionsT()), (-1, 1)),
    "TILE": (simple("TILE", int32(1, 2), made=(1, 512)), (-6.4, 6.4)),
    "TRANSPOSE": (simple("TRANSPOSE", int32(1, 0), made=(256, 1)), (-6.4, 6.4)),
}  # fmt: skip


def island(*names: str) -> bytes:
    """int8 in [-6.4, 6.4] -> DEQUANTIZE, each operator of `names` and a QUANTIZE."""
    m = Maker()
    x = m.tensor("x", (1, 256), np.int8, 0.05, 0)
    f = m.tensor("f", (1, 256))
    m.op("DEQUANTIZE", [x], [f], version=2)
    ends = []
    for name in names:
        make, limits = ISLANDS[name]
        for middle in make(m, f):
            scale, zero_point = scale_of_range(*limits)
            end = m.tensor(
                f"{name}{len(ends)}", m.tensors[middle].shape, np.int8, scale, zero_point
            )
            m.op("QUANTIZE", [middle], [end])
            ends.append(end)
    return m.bytes([x], ends)


EVERY_VALUE = np.arange(-128, 128).astype(np.int8)[None]


@pytest.mark.parametrize("name", ISLANDS)
def test_an_island_becomes_one_operator_that_computes_the_same(name):
    tflite = island(name)
    made, repair = fold_islands(tflite, {})
    assert repair is not None and repair.layers
    assert not find_violations(read_graph(made))
    for a, b in zip(outputs(tflite, EVERY_VALUE), outputs(made, EVERY_VALUE), strict=True):
        assert np.max(np.abs(a.astype(int) - b)) <= (0 if name in ("SPLIT", "TILE") else 2)


def test_microcontrollers_have_the_operators_too():
    made, _ = fold_islands(island(*(name for name in ISLANDS if name != "TILE")), {})
    graph = read_graph(made)
    with tflm(made, graph) as network:
        (found,) = run_all(network, [(EVERY_VALUE,)])
    with litert(made, "builtin") as network:
        (expected,) = run_all(network, [(EVERY_VALUE,)])
    for a, b in zip(expected, found, strict=True):
        assert np.max(np.abs(a.astype(int) - b)) <= 1


def elus() -> bytes:
    """int8 -> DEQUANTIZE, ELU, ELU, QUANTIZE."""
    m = Maker()
    x = m.tensor("x", (1, 256), np.int8, 0.05, 0)
    f, middle, last = (m.tensor(n, (1, 256)) for n in ("f", "middle", "last"))
    y = m.tensor("y", (1, 256), np.int8, *scale_of_range(-0.64, 6.4))
    m.op("DEQUANTIZE", [x], [f], version=2)
    m.op("ELU", [f], [middle])
    m.op("ELU", [middle], [last])
    m.op("QUANTIZE", [last], [y])
    return m.bytes([x], [y])


def test_a_chain_needs_the_range_of_what_is_between():
    made, repair = fold_islands(elus(), {"middle": (-1.0, 6.4)})
    assert operators(made) == ["ELU", "ELU"] and repair is not None
    (before,), (after,) = outputs(elus(), EVERY_VALUE), outputs(made, EVERY_VALUE)
    assert np.max(np.abs(before.astype(int) - after)) <= 2
    assert fold_islands(elus(), {}) == (elus(), None)


def test_only_folded_operators_get_another_version():
    m = Maker()
    x = m.tensor("x", (1, 256), np.int8, 0.05, 0)
    f, a, b, g = (m.tensor(n, (1, 256)) for n in "fabg")
    y = m.tensor("y", (1, 256), np.int8, 0.05, -128)
    m.op("DEQUANTIZE", [x], [f], version=2)
    m.op("ABS", [f], [a])
    m.op("QUANTIZE", [a], [y])
    m.op("CEIL", [f], [g])
    m.op("ABS", [g], [b])
    made, _ = fold_islands(m.bytes([x], [y, b]), {})
    assert [op.version for op in read_graph(made).main.ops if op.name == "ABS"] == [2, 1]
    assert "CEIL" in operators(made)


def test_a_model_without_islands_stays_as_it_is():
    assert fold_islands(tiny_float(), {}) == (tiny_float(), None)


@pytest.mark.parametrize("repair", [*FLOAT_PASSES, "islands"])
def test_a_damaged_file_is_one_error(repair):
    tflite = bytearray(one("NEG", (1, 4), (1, 4)) if repair != "islands" else island("ABS"))
    tflite[8:40] = bytes(range(32))
    with pytest.raises(ModelError, match="damaged"):
        if repair == "islands":
            fold_islands(bytes(tflite), {})
        else:
            repair_float(bytes(tflite), repair)


# --- Believed only after a comparison -----------------------------------------------------------


@pytest.fixture
def negation(tmp_path):
    """A model of one NEG, and samples."""
    path = tmp_path / "negation.tflite"
    path.write_bytes(one("NEG", (1, 4), (1, 4)))
    model = open_model(path)
    data = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    return model, open_samples(data, model.graph.inputs)


def test_a_repair_is_made_only_where_its_name_is_among_those_allowed(negation):
    model, samples = negation
    assert mended(model, samples, frozenset({"tile", "islands"})) is model
    made = mended(model, samples, frozenset(REPAIRS))
    assert [repair.name for repair in made.repairs] == ["products"]
    assert operators(made.tflite) == ["MUL"] and made.failed == ()


def test_what_is_for_int16x8_is_left_alone_in_int8(tmp_path):
    path = tmp_path / "swish.tflite"
    path.write_bytes(one("HARD_SWISH", (1, 4), (1, 4)))
    model = open_model(path)
    samples = open_samples(np.eye(4, dtype=np.float32), model.graph.inputs)
    assert mended(model, samples, frozenset(REPAIRS)) is model
    made = mended(model, samples, frozenset(REPAIRS), "int16x8")
    assert [repair.name for repair in made.repairs] == ["int16"]


def test_a_repair_that_computes_something_else_is_dropped_and_told_of(negation, monkeypatch):
    def wrong(editor):
        (op,) = editor.ops
        editor.become(op, "ABS")
        return ["y"]

    monkeypatch.setitem(FLOAT_PASSES, "products", FloatPass(wrong, "broken"))
    model, samples = negation
    made = mended(model, samples, frozenset({"products"}))
    assert made.tflite == model.tflite and made.repairs == ()
    assert made.failed[0].startswith("repair products, dropped: output 0 differs by ")


def test_a_repair_that_no_engine_runs_is_dropped_and_told_of(negation, monkeypatch):
    def impossible(editor):
        (op,) = editor.ops
        editor.become(op, "CONV_2D")
        return ["y"]

    monkeypatch.setitem(FLOAT_PASSES, "products", FloatPass(impossible, "broken"))
    made = mended(*negation, frozenset({"products"}))
    assert made.repairs == () and "dropped: LiteRT" in made.failed[0]


def test_islands_that_cost_more_than_rounding_are_left(float_model, tensorflow, monkeypatch):
    model = open_model(float_model)
    data = np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32)
    calibration = calibrate(model, data)
    good = convert(model, calibration, tensorflow=tensorflow)
    assert [r.name for r in good.repairs] == ["islands"] and not find_violations(good.graph)
    others = convert(model, calibration, repairs=frozenset({"pad"}), tensorflow=tensorflow)
    assert find_violations(others.graph) and others.repairs == ()

    def coarse(tflite, ranges, name):
        made, repair = fold_islands(tflite, ranges, name)
        elu = read_graph(made).main.ops[1]
        scale = np.float32(read_graph(made).main.tensors[elu.outputs[0]].quantization.scale)
        return made.replace(scale.tobytes(), np.float32(scale * 9).tobytes()), repair

    monkeypatch.setattr(edgeq.mending, "fold_islands", coarse)
    kept = convert(model, calibration, tensorflow=tensorflow)
    assert find_violations(kept.graph) and kept.repairs == ()
    assert any(line.startswith("repair islands, dropped: output 0 falls") for line in kept.failed)


def test_what_opening_a_tflite_mends_can_be_switched_off(tmp_path):
    m = Maker()
    x, y = m.tensor("x", (1, 4)), m.tensor("y", (1, 4))
    for tensor in m.tensors:
        tensor.shapeSignature = int32(-1, 4)
    m.op("RELU", [x], [y])
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(m.bytes([x], [y], named=False))
    model = open_model(path)
    assert [r.name for r in model.repairs] == ["batch-of-one", "signature"]
    assert model.graph.signatures and not model.graph.inputs[0].tensor.dynamic_dims
    unnamed = open_model(path, repairs=frozenset({"batch-of-one"}))
    assert not unnamed.graph.signatures
    with pytest.raises(ModelError, match="dynamic dimension") as caught:
        open_model(path, repairs=frozenset())
    assert "batch-of-one" in (caught.value.hint or "")


def test_the_build_says_what_was_repaired(float_model, vectors, tmp_path, capfd):
    command = ["build", str(float_model), "-t", "host", "--calibration-data", str(vectors)]
    command += ["--calibration", "minmax", "-o", str(tmp_path / "build"), "--repair", "islands"]
    assert run(command) == 0
    assert "repaired, islands: " in capfd.readouterr().err
