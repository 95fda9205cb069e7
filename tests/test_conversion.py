"""From Keras, H5, SavedModel and .tflite to integers, with the real TensorFlow."""

import contextlib
import json
import zipfile

import numpy as np
import pytest
from make_model import Maker, schema, shared_bias

from edgeq.calibration import calibrate
from edgeq.conversion import ROUTES, convert
from edgeq.errors import ConversionError, DataError, ModelError, UsageError
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.interpreters import litert, run
from edgeq.models import EXPORT_ROUTES, open_model, widened
from edgeq.samples import Samples, open_samples
from edgeq.schemes import SCHEMES, scheme_named, scheme_of
from edgeq.tflite import read_graph
from edgeq.verification import find_violations, verify

FORMS = ["digits-like.keras", "digits-like.h5", "digits-like", "digits-like.tflite"]


def real_samples(graph, count=60):
    def get(i):
        random = np.random.default_rng(i)
        return tuple(
            np.clip(random.standard_normal(p.tensor.shape), -2.5, 2.5).astype(np.float32)
            for p in graph.inputs
        )

    return Samples("made", count, get)


def outputs(tflite, graph, samples):
    with litert(tflite) as network:
        stored = run(network, (stored_inputs(s, graph.inputs) for s in samples))
        return np.stack([real_outputs(o, graph.outputs)[0][0] for o in stored])


@pytest.fixture(scope="module")
def digits(keras_folder, tensorflow):
    return open_model(keras_folder / "digits-like.keras", tensorflow=tensorflow)


@pytest.fixture(scope="module")
def calibration(digits, keras_folder):
    return calibrate(digits, keras_folder / "calibration.npz")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_network_gives_the_same_integers(form, keras_folder, tensorflow, digits):
    model = open_model(keras_folder / form, tensorflow=tensorflow)
    assert [p.name for p in model.graph.inputs] == ["image"]
    assert model.graph.inputs[0].tensor.shape == (1, 8, 8, 1)
    conversion = convert(
        model, calibrate(model, keras_folder / "calibration.npz"), tensorflow=tensorflow
    )
    assert find_violations(conversion.graph) == []
    assert {p.tensor.dtype for p in conversion.graph.inputs + conversion.graph.outputs} == {"int8"}
    test = open_samples(keras_folder / "test.npz", model.graph.inputs)
    want = outputs(digits.tflite, digits.graph, test)
    got = outputs(conversion.tflite, conversion.graph, test)
    accuracy = (got.argmax(1) == test.labels).mean()
    assert accuracy >= (want.argmax(1) == test.labels).mean() - 0.01
    assert abs(want - got).max() < 0.15


@pytest.mark.parametrize("route", EXPORT_ROUTES)
def test_every_export_route_works(route, keras_folder, tensorflow, digits):
    """Routes after the first are there for when it fails; they must not rot."""
    arguments = (str(keras_folder / "digits-like.keras"), "keras", route, None, {}, False)
    tflite = tensorflow.call("export", *arguments, time_limit=120)
    test = open_samples(keras_folder / "test.npz", digits.graph.inputs).pick(range(20))
    want = outputs(digits.tflite, digits.graph, test)
    assert np.allclose(outputs(tflite, digits.graph, test), want, atol=1e-5)


@pytest.mark.parametrize(("scheme", "route"), [(s, r) for s, rs in ROUTES.items() for r in rs])
def test_every_quantizing_route_works(scheme, route, tensorflow, digits, calibration):
    """mlir_quantize and QuantizeModel are no public functions: are they still there?"""
    from edgeq.tflite.writer import with_ranges

    source = with_ranges(digits.tflite, calibration.ranges)
    made = tensorflow.call("quantize", source, scheme, route, time_limit=120)
    assert scheme_of(read_graph(made)) == scheme


@pytest.mark.parametrize(
    ("scheme", "least_db"), [("int8", 30), ("int16x8", 40), ("dynamic", 35), ("float16", 60)]
)
def test_schemes_are_as_close_to_float_as_they_should_be(
    scheme, least_db, keras_folder, tensorflow, digits, calibration
):
    conversion = convert(digits, calibration, scheme, tensorflow=tensorflow)
    assert scheme_of(conversion.graph) == scheme
    proof = verify(digits, conversion, keras_folder / "test.npz", engines=False)
    assert proof.is_integer == (scheme in ("int8", "int16x8"))
    assert proof.fidelity[0].sqnr_db > least_db
    assert conversion.graph.signatures[0].key == "serving_default"
    assert [p.name for p in conversion.graph.inputs] == ["image"]


@pytest.mark.parametrize(("scheme", "least_db"), [("int8", 30), ("int16x8", 40)])
def test_layers_that_share_a_bias_each_get_its_scale(scheme, least_db, tmp_path, tensorflow):
    (tmp_path / "net.tflite").write_bytes(shared_bias())
    model = open_model(tmp_path / "net.tflite")
    samples = real_samples(model.graph)
    conversion = convert(model, calibrate(model, samples), scheme, tensorflow=tensorflow)
    assert not find_violations(conversion.graph)
    assert verify(model, conversion, samples, engines=False).fidelity[0].sqnr_db > least_db


def test_float32_is_the_model_itself(digits):
    assert convert(digits, None, "float32").tflite is digits.tflite


def test_without_calibration_an_integer_scheme_stops_and_explains(digits, tensorflow):
    with pytest.raises(DataError, match="needs calibration data") as caught:
        convert(digits, None, "int8", tensorflow=tensorflow)
    assert "random numbers" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "batch_norm", "conv1d", "depthwise", "gru_unrolled", "lstm_unrolled", "residual",
        "transposed", "two_inputs", "two_outputs",
    ],
)  # fmt: skip
def test_networks_become_fully_integer_and_agree_with_float(name, keras_folder, tensorflow):
    model = open_model(keras_folder / f"{name}.keras", tensorflow=tensorflow)
    samples = real_samples(model.graph)
    conversion = convert(model, calibrate(model, samples), tensorflow=tensorflow)
    proof = verify(model, conversion, samples.pick(range(8)))
    assert proof.violations == ()
    assert all(f.sqnr_db is None or f.sqnr_db > 15 for f in proof.fidelity)
    assert proof.agreement is not None and proof.agreement.same_network


def test_several_inputs_and_outputs_keep_names_and_order(keras_folder, tensorflow):
    two = open_model(keras_folder / "two_inputs.keras", tensorflow=tensorflow).graph
    assert [(p.name, p.tensor.shape) for p in two.inputs] == [("left", (1, 8)), ("right", (1, 12))]
    outs = open_model(keras_folder / "two_outputs.keras", tensorflow=tensorflow).graph.outputs
    assert [(p.name, p.tensor.shape) for p in outs] == [("scores", (1, 4)), ("size", (1, 2))]


def test_outputs_can_be_renamed(keras_folder, tensorflow):
    path = keras_folder / "two_outputs.keras"
    model = open_model(path, tensorflow=tensorflow, output_names={"size": "metres"})
    assert [p.name for p in model.graph.outputs] == ["scores", "metres"]
    with pytest.raises(ModelError, match="no output 'sise'") as caught:
        open_model(path, tensorflow=tensorflow, output_names={"sise": "metres"})
    assert "size" in caught.value.hint


@pytest.mark.parametrize("name", ["gru_loop", "lstm_loop"])
def test_recurrent_loops_are_refused_by_operator(name, keras_folder, tensorflow):
    model = open_model(keras_folder / f"{name}.keras", tensorflow=tensorflow)
    with pytest.raises(ConversionError, match="WHILE"):
        calibrate(model, real_samples(model.graph))


def test_a_float_island_is_found_with_its_operator(keras_folder, tensorflow):
    model = open_model(keras_folder / "elu.keras", tensorflow=tensorflow)
    calibration = calibrate(model, real_samples(model.graph))
    conversion = convert(model, calibration, repairs=frozenset(), tensorflow=tensorflow)
    assert {v.op_name for v in find_violations(conversion.graph)} == {
        "DEQUANTIZE",
        "ELU",
        "QUANTIZE",
    }


def test_a_lambda_is_refused_by_name_and_runs_only_when_allowed(keras_folder, tensorflow):
    path = keras_folder / "lambda.keras"
    with pytest.raises(ModelError, match="'secret' is a Lambda") as caught:
        open_model(path, tensorflow=tensorflow)
    assert "--allow-lambda" in caught.value.hint
    assert open_model(path, tensorflow=tensorflow, allow_lambda=True).graph.inputs


def test_a_dynamic_dimension_is_refused_or_fixed(keras_folder, tensorflow):
    path = keras_folder / "dynamic.keras"
    with pytest.raises(ModelError, match=r"'photo' has a dynamic shape \(1,\?,\?,3\)") as caught:
        open_model(path, tensorflow=tensorflow)
    assert "--input-shape photo=1,N,N,3" in caught.value.hint
    fixed = open_model(path, tensorflow=tensorflow, input_shapes={"photo": (1, 12, 9, 3)})
    assert fixed.graph.inputs[0].tensor.shape == (1, 12, 9, 3)
    with pytest.raises(ModelError, match="no input 'foto'"):
        open_model(path, tensorflow=tensorflow, input_shapes={"foto": (1, 12, 9, 3)})


def test_a_rescaling_layer_is_seen_by_the_lint(keras_folder, tensorflow):
    model = open_model(keras_folder / "rescaling.keras", tensorflow=tensorflow)
    data = np.random.default_rng(0).random((60, 8, 8, 1)).astype(np.float32)
    assert any("divides by 255" in f.message for f in calibrate(model, data).findings)


def test_a_signature_that_is_not_there_is_refused(keras_folder, tensorflow):
    with pytest.raises(ModelError, match="no signature 'train'") as caught:
        open_model(keras_folder / "digits-like", tensorflow=tensorflow, signature_key="train")
    assert "serve" in caught.value.hint


def test_of_two_signatures_one_must_be_named(keras_folder, tensorflow):
    with pytest.raises(ModelError, match="has several signatures") as caught:
        open_model(keras_folder / "pair", tensorflow=tensorflow)
    assert "double, triple" in caught.value.hint
    model = open_model(keras_folder / "pair", signature_key="triple", tensorflow=tensorflow)
    assert outputs(model.tflite, model.graph, [(np.ones((1, 4), np.float32),)]).tolist() == [
        [3] * 4
    ]


def test_a_quantized_model_cannot_become_another_scheme(tiny_model):
    model = open_model(tiny_model)
    assert convert(model, None, "int8").tflite == model.tflite
    assert convert(model, None, "static_wi8_ai8").scheme == "int8"
    with pytest.raises(ConversionError, match="as int8; it cannot become int16x8"):
        convert(model, None, "int16x8")


def test_int8_weights_alone_are_quantized_already_and_never_called_float(keras_folder, digits):
    model = open_model(keras_folder / "digits-dynamic.tflite")
    assert model.is_quantized and model.scheme == "dynamic"
    assert convert(model, None, "dynamic").tflite == model.tflite
    for scheme in ("int8", "float32", "float16"):
        with pytest.raises(ConversionError, match="as dynamic with int8 weights; it cannot"):
            convert(model, None, scheme)
    proof = verify(model, convert(model, None, "dynamic"), keras_folder / "test.npz")
    assert proof.fidelity == () and proof.accuracy > 0.8


@pytest.mark.parametrize("maker", ["TFLiteConverter", "edgeq"])
def test_float16_weights_are_widened_without_changing_a_bit(maker, keras_folder, tmp_path, digits):
    path = keras_folder / "digits-half.tflite"
    if maker == "edgeq":
        path = tmp_path / "half.tflite"
        path.write_bytes(convert(digits, None, "float16").tflite)
    half = open_model(path)
    wide = widened(half)
    assert (half.scheme, wide.scheme) == ("float16", "float32")
    assert "float16 weights widened to float32" in wide.route
    assert widened(wide) is wide
    assert not any(op.name == "DEQUANTIZE" for op in wide.graph.main.ops)
    found = {t.data.tobytes() for t in wide.graph.main.tensors if t.is_constant}
    halves = [t.data for t in half.graph.main.tensors if t.dtype == "float16"]
    assert halves and all(h.astype(np.float32).tobytes() in found for h in halves)
    test = open_samples(keras_folder / "test.npz", half.graph.inputs).pick(range(40))
    want, got = (outputs(m.tflite, m.graph, test) for m in (half, wide))
    assert np.allclose(want, got, atol=1e-6)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "dynamic"])
def test_float16_weights_become_what_the_float_model_becomes(scheme, keras_folder, tensorflow):
    wide = widened(open_model(keras_folder / "digits-half.tflite"))
    calibration = calibrate(wide, keras_folder / "calibration.npz")
    conversion = convert(wide, calibration, scheme, tensorflow=tensorflow)
    assert scheme_of(conversion.graph) == scheme
    proof = verify(wide, conversion, keras_folder / "test.npz", engines=False)
    assert proof.is_integer == (scheme != "dynamic")
    assert proof.fidelity[0].sqnr_db > 30


def half_weights(computes_in_half):
    """Two layers with the same weights, each widened by a DEQUANTIZE, and an offset that is, or
    else is added in float16."""
    m = Maker()
    x = m.tensor("x", (1, 2))
    half = m.tensor("half", (2, 2), np.float16, data=np.array([[1, 2], [3, 0.1]]))
    layer = x
    for name in "ab":
        wide, made = m.tensor(f"{name}.wide", (2, 2)), m.tensor(name, (1, 2))
        m.op("DEQUANTIZE", [half], [wide], version=3)
        m.op("FULLY_CONNECTED", [layer, wide, -1], [made], schema.FullyConnectedOptionsT())
        layer = made
    offset = m.tensor("offset", (1, 2), np.float16, data=[1, 2])
    if not computes_in_half:
        m.op("DEQUANTIZE", [offset], [m.tensor("offset.wide", (1, 2))], version=3)
        offset += 1
    y = m.tensor("y", (1, 2), np.float16 if computes_in_half else np.float32)
    m.op("ADD", [layer, offset], [y], schema.AddOptionsT())
    return m.bytes([x], [y])


def test_what_computes_in_float16_stays_as_it_is(tmp_path):
    for computes_in_half, scheme in ((True, "float16"), (False, "float32")):
        path = tmp_path / "m.tflite"
        path.write_bytes(half_weights(computes_in_half))
        model = widened(open_model(path))
        assert model.scheme == scheme and read_graph(model.tflite)
    assert len({op.name for op in model.graph.main.ops}) == 2
    assert b"\x66\x2e" not in model.tflite  # 0.1 in float16: its old constant is gone.


@pytest.mark.parametrize(
    ("alias", "scheme"),
    [("static_wi8_ai8", "int8"), ("static_wi8_ai16", "int16x8"), ("dynamic_wi8_afp32", "dynamic")],
)
def test_recipe_names_of_litert_are_understood(alias, scheme):
    assert scheme_named(alias) == scheme


def test_an_unknown_scheme_suggests_the_nearest():
    with pytest.raises(UsageError) as caught:
        scheme_named("in8")
    assert "int8" in caught.value.hint
    assert set(ROUTES) == set(SCHEMES)


@pytest.mark.slow
def test_recurrent_networks_give_the_same_bytes_every_time(keras_folder):
    """The MLIR quantizer alone does not: a SPLIT's outputs come in an order of their own."""
    path, made = keras_folder / "gru_unrolled.keras", set()
    for _ in range(3):
        model = open_model(path)
        calibration = calibrate(model, real_samples(model.graph))
        made.add(convert(model, calibration).tflite)
    assert len(made) == 1


@pytest.mark.parametrize("name", ["writes", "starts"])
def test_a_saved_model_that_writes_files_is_refused_before_it_can(name, keras_folder, tensorflow):
    with pytest.raises(ModelError, match="may touch files"):
        open_model(keras_folder / name, tensorflow=tensorflow)
    assert not (keras_folder / f"{name}.owned").exists()


def test_content_that_its_name_denies_is_refused(keras_folder, tmp_path):
    """Keras goes by the name: what was checked as a .keras would be loaded as an .h5."""
    disguised = tmp_path / "net.h5"
    disguised.write_bytes((keras_folder / "digits-like.keras").read_bytes())
    with pytest.raises(ModelError, match="its name says otherwise"):
        open_model(disguised)


@pytest.mark.parametrize("config", [
    {"class_name": "TFSMLayer", "module": "keras.layers",
     "config": {"name": "other", "filepath": "/somewhere"}},
    {"class_name": "StringLookup", "module": "keras.layers",
     "config": {"name": "words", "vocabulary": "/etc/passwd"}},
])  # fmt: skip
def test_layers_that_read_files_are_refused_even_with_lambdas_allowed(config, tmp_path, tensorflow):
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [config]}}))
    with pytest.raises(ModelError, match="loads another SavedModel|reads a file"):
        open_model(path, tensorflow=tensorflow, allow_lambda=True)


def test_a_saved_model_that_reads_a_file_is_refused_by_its_operation(keras_folder, tensorflow):
    """Converting it would fold the file's bytes into the weights."""
    with pytest.raises(ModelError, match=r"\(ImmutableConst\) is none that a network consists of"):
        open_model(keras_folder / "reads", tensorflow=tensorflow)


def test_foreign_operations_in_an_inner_function_are_refused_by_name(keras_folder, tensorflow):
    for folder in sorted((keras_folder / "foreign").iterdir()):
        with pytest.raises(ModelError, match=rf"'foreign' \({folder.name}\) is none"):
            open_model(folder, tensorflow=tensorflow)


@pytest.mark.parametrize(
    "disguise", ["merges", "called", "by_name", "gradient", "interface", "old", "two"]
)
def test_a_saver_s_name_is_no_licence(disguise, keras_folder, tensorflow):
    """Checkpoint operations are refused wherever loading or running the model may reach them."""
    with pytest.raises(ModelError, match=r"\((MergeV2Checkpoints|RestoreV2|SaveV2|Sharded\w+)\)"):
        open_model(keras_folder / "disguised" / disguise, tensorflow=tensorflow)


@pytest.mark.parametrize("name", ["trained", "augmented", "recurrent", "attention"])
def test_what_networks_consist_of_is_not_refused(name, keras_folder, tensorflow):
    """TensorFlow has no .tflite for exported augmentation and loops, but that is for it to say."""
    with (
        contextlib.nullcontext()
        if name in ("trained", "attention")
        else pytest.raises(ConversionError, match="no way to a .tflite worked")
    ):
        assert open_model(keras_folder / name, tensorflow=tensorflow).graph.outputs
