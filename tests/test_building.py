"""edgeq build, bench, eval and inspect, end to end on real files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from make_model import Maker, tiny_int8

import edgeq
from edgeq.bundle import open_bundle
from edgeq.cli import run
from edgeq.errors import UsageError, VerificationError
from edgeq.schemes import scheme_of
from edgeq.tflite import read_graph

OPTIONS = edgeq.BenchOptions(num_runs=20, min_secs=0.05, warmup_min_secs=0.0)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def built(keras_folder, tmp_path_factory):
    """The digits-like network for a Pi, this computer, a phone and a Cortex-M4, by the command."""
    folder = tmp_path_factory.mktemp("built")
    command = ["build", str(keras_folder / "digits-like.keras"), "-o", str(folder)]
    for target in ("rpi", "host", "android", "cortex-m4"):
        command += ["-t", target]
    command += ["--calibration-data", str(keras_folder / "calibration.npz")]
    command += ["--evaluation-data", str(keras_folder / "test.npz"), "--max-accuracy-drop", "2"]
    assert run([*command, "--json", str(folder / "facts.json")]) == 0
    return folder


def test_every_target_gets_what_its_family_needs(built):
    wanted = {
        "rpi": ["run.py", "requirements.txt", "baseline_float32.tflite"],
        "host": ["run.py"],
        "android": ["Quantize.kt"],
        "cortex-m4": ["digits_like_io.h", "digits_like_model_data.c", "main.cc"],
    }
    for target, names in wanted.items():
        found = everything(built / target)
        assert {"manifest.json", "model.tflite", "README.md", "golden/inputs.npz"} <= set(found)
        assert set(names) <= set(found), target
        edgeq.open_bundle(built / target)


def test_the_manifest_tells_the_proof(built):
    manifest = json.loads((built / "cortex-m4" / "manifest.json").read_text())
    assert manifest["proof"]["fully_integer"] is True
    assert manifest["proof"]["fidelity"][0]["accuracy"] > 0.8
    assert manifest["arena"]["size"] == manifest["arena"]["measured"] + manifest["arena"]["scratch"]
    assert "TensorFlow Lite Micro" in manifest["golden"]["reference"]
    facts = json.loads((built / "facts.json").read_text())
    assert {f["target"] for f in facts} == {"rpi", "host", "android", "cortex-m4"}
    assert facts[0]["verification"]["violations"] == []


@pytest.mark.parametrize("repeated", [False, True])
def test_samples_that_were_calibrated_with_are_not_called_held_out(
    repeated, keras_folder, tmp_path, capfd
):
    """The same file twice, or a file whose copies fall on both sides of the split."""
    images = np.load(keras_folder / "calibration.npz")["image"][:24]
    data = tmp_path / "samples.npz"
    np.savez(data, image=np.repeat(images, 5 if repeated else 1, axis=0))
    command = ["build", str(keras_folder / "digits-like.tflite"), "-t", "host", "-o", str(tmp_path)]
    command += ["--calibration-data", str(data)]
    command += [] if repeated else ["--evaluation-data", str(shutil.copy(data, tmp_path / "b.npz"))]
    assert run(command) == 0
    shown, shared = capfd.readouterr().out, 24 if repeated else 20
    assert "held-out" not in shown and "also used for calibration" in shown
    proof = json.loads((tmp_path / "host" / "manifest.json").read_text())["proof"]
    assert (proof["held_out"], proof["also_calibrated"]) == (False, shared)
    assert proof["fidelity"][0]["samples"] == 24


def test_two_builds_from_different_places_have_the_same_bytes(built, keras_folder, tmp_path):
    """The second from a copy elsewhere, by another process, into another folder."""
    place = tmp_path / "another" / "machine"
    place.mkdir(parents=True)
    for name in ("digits-like.keras", "calibration.npz", "test.npz"):
        shutil.copy(keras_folder / name, place)
    command = [sys.executable, "-m", "edgeq", "build", "digits-like.keras", "-o", "out"]
    for target in ("rpi", "cortex-m4"):
        command += ["-t", target]
    command += ["--calibration-data", "calibration.npz", "--evaluation-data", "test.npz"]
    subprocess.run(
        command, cwd=place, check=True, timeout=240, capture_output=True,
        env={**__import__("os").environ, "TMPDIR": str(place), "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    for target in ("rpi", "cortex-m4"):
        assert everything(place / "out" / target) == everything(built / target)


def test_bench_checks_first_and_measures_int8_beside_float(built):
    results = edgeq.bench(built / "host", OPTIONS)
    integer, baseline = results.measurements
    assert (integer.scheme, baseline.scheme) == ("int8", "float32")
    assert integer.checks.count == 8 and integer.checks.equal >= 0
    assert integer.unit == "ns" and len(integer.samples) >= 20
    assert integer.speedup is not None and integer.speedup.baseline_scheme == "float32"


def test_bench_refuses_a_model_whose_outputs_are_not_the_golden_ones(built, tmp_path):
    """A bundle whose model was exchanged, and whose hashes were made to fit."""
    import hashlib

    folder = tmp_path / "host"
    shutil.copytree(built / "host", folder)
    data = bytearray((folder / "model.tflite").read_bytes())
    graph = edgeq.read_graph(bytes(data))
    dense = next(op for op in graph.main.ops if op.name == "FULLY_CONNECTED")
    weights = graph.main.tensors[dense.inputs[1]].data
    place = bytes(data).find(weights.tobytes())
    data[place : place + 200] = bytes(200)
    (folder / "model.tflite").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(data).hexdigest()
    manifest["files"]["model.tflite"] = manifest["model"]["sha256"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VerificationError, match="golden input 0, output output_0"):
        edgeq.bench(folder, OPTIONS)


@pytest.mark.parametrize("target", ["host", "cortex-m4"])
@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "{}", "-t", "host"],
        ["bench", "{}"],
        ["bench", "{}", "--sim"],
        ["eval", "{}", "--data", "{}/golden/inputs.npz"],
        ["flash", "{}"],
    ],
)
def test_no_command_takes_a_bundle_that_was_changed(built, tmp_path, capfd, command, target):
    folder = tmp_path / target
    shutil.copytree(built / target, folder)
    data = bytearray((folder / "model.tflite").read_bytes())
    data[-100] ^= 1
    (folder / "model.tflite").write_bytes(data)
    assert run([word.format(folder) for word in command]) == 1
    out, err = capfd.readouterr()
    assert out == "" and "model.tflite was changed after the build" in err


def test_inspect_calls_a_bundle_by_its_name(built, capfd):
    assert run(["inspect", str(built / "host"), "-t", "host"]) == 0
    assert capfd.readouterr().out.startswith("digits_like: int8")


def test_the_bench_command_writes_json_and_csv_that_compare_reads(built, tmp_path, capfd):
    command = ["bench", str(built / "host"), "--num-runs", "20", "--min_secs", "0.05"]
    for name in ("a", "b"):
        out = ["--json", str(tmp_path / f"{name}.json"), "--csv", str(tmp_path / f"{name}.csv")]
        assert run([*command, *out]) == 0
    assert "int8" in capfd.readouterr().out
    assert (tmp_path / "a.csv").read_text().count("\n") == 3
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert run(["compare", *files, "--fail-above", "900%"]) == 0


def test_bench_takes_any_model(tiny_model):
    (only,) = edgeq.bench(tiny_model, OPTIONS).measurements
    assert only.checks.count == 0 and only.scheme == "int8"


def test_eval_shows_float_beside_int8(built, keras_folder, capfd):
    assert run(["eval", str(built / "rpi"), "--data", str(keras_folder / "test.npz")]) == 0
    out = capfd.readouterr().out
    assert "float32" in out and "int8" in out and "points" in out


def test_what_looks_wrong_in_the_data_that_judges_is_said(built, keras_folder, tmp_path, capfd):
    with np.load(keras_folder / "test.npz") as data:
        np.savez(tmp_path / "raw.npz", image=255 * data["image"], labels=data["labels"])
    raw = str(tmp_path / "raw.npz")
    assert run(["eval", str(built / "rpi"), "--data", raw]) == 0
    assert "clip" in capfd.readouterr().err
    command = ["build", str(keras_folder / "digits-like.keras"), "-t", "host", "-o", str(tmp_path)]
    command += ["--calibration-data", str(keras_folder / "calibration.npz")]
    assert run([*command, "--evaluation-data", raw]) == 0
    assert "warning: raw.npz, input 'image'" in capfd.readouterr().err


def test_a_missing_compiler_is_said(tiny_model, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("edgeq.building.has_compiler", lambda: False)
    assert run(["build", str(tiny_model), "-t", "mps2-an386", "-o", str(tmp_path)]) == 0
    assert "no firmware image: arm-none-eabi-gcc is not installed" in capfd.readouterr().err
    assert run(["bench", str(tmp_path / "mps2-an386")]) == 1
    assert "has no firmware image" in capfd.readouterr().err


def test_eval_of_a_trained_model_converts_it_first(keras_folder, capfd):
    command = ["eval", str(keras_folder / "digits-like.keras"), "--json", "-"]
    command += ["--data", str(keras_folder / "test.npz")]
    command += ["--calibration-data", str(keras_folder / "calibration.npz")]
    assert run(command) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["scheme"] == "int8" and facts["samples"] == 597
    assert abs(facts["accuracy"] - facts["float_accuracy"]) <= 0.01


def test_inspect_tells_operators_memory_and_what_targets_say(tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "-t", "microbit", "--json", "-"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert [o["name"] for o in facts["operators"]][:2] == ["CONV_2D", "RESHAPE"]
    assert facts["macs"] == 3072 and facts["peak_live_bytes"] == 512
    assert facts["targets"][0]["gaps"] == []
    assert run(["inspect", str(tiny_model)]) == 0
    assert "fully integer" in capfd.readouterr().out


def test_a_project_builds_its_own_targets(keras_folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "edgeq.toml").write_text(
        f"""
name = "numbers"
model = "{keras_folder}/digits-like.tflite"
targets = ["host"]
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
output_names = ["scores"]
[calibration]
data = "{keras_folder}/calibration.npz"
[evaluation]
data = "{keras_folder}/test.npz"
min_accuracy = 80
"""
    )
    monkeypatch.chdir(tmp_path / "deep")
    assert run(["build"]) == 0
    manifest = json.loads((tmp_path / "build" / "host" / "manifest.json").read_text())
    assert manifest["name"] == "numbers" and manifest["labels"][9] == "9"
    assert manifest["outputs"][0]["name"] == "scores"
    assert "accuracy" in capfd.readouterr().out


def test_labels_that_do_not_fit_the_output_are_refused(tiny_model, tmp_path):
    with pytest.raises(UsageError, match="2 labels"):
        edgeq.build(tiny_model, [edgeq.load_target("host")], output=tmp_path, labels=["a", "b"])


def test_images_become_preprocessing_in_the_manifest(tiny_model, tmp_path):
    from PIL import Image

    (tmp_path / "pics").mkdir()
    for i in range(6):
        Image.new("L", (20, 20), 40 * i).save(tmp_path / "pics" / f"{i}.png")
    (built,) = edgeq.build(
        tiny_model,
        [edgeq.load_target("host")],
        output=tmp_path / "out",
        data=edgeq.Data(evaluation=tmp_path / "pics", images=edgeq.ImageOptions(mean=0, std=255)),
    )
    manifest = edgeq.open_bundle(built.folder).manifest
    assert manifest["preprocessing"]["image"] == {
        "mean": 0,
        "std": 255,
        "size": [8, 8],
        "channels": 1,
    }
    golden = edgeq.open_bundle(built.folder).golden()
    assert golden.inputs[1][0].flatten()[0] == 40 - 128  # pixel 40 at scale 1/255


def test_a_labels_csv_belongs_to_the_samples_that_are_judged(tiny_model, tmp_path, capfd):
    """Not to the calibration images, which have no labels."""
    from PIL import Image

    for name in ("calibrate", "judge"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.new("L", (8, 8), 40 * i).save(tmp_path / name / f"{name}{i}.png")
    rows = "".join(f"judge{i}.png,{i % 3}\n" for i in range(6))
    (tmp_path / "labels.csv").write_text(rows)
    command = ["build", str(tiny_model), "-t", "host", "-o", str(tmp_path / "out")]
    command += ["--calibration-data", str(tmp_path / "calibrate"), "--image-scaling", "0..1"]
    command += ["--evaluation-data", str(tmp_path / "judge")]
    assert run([*command, "--labels-csv", str(tmp_path / "labels.csv")]) == 0
    assert "accuracy" in capfd.readouterr().out


def test_a_missed_limit_still_shows_the_proof(tiny_model, keras_folder, tmp_path, capfd):
    command = ["build", str(keras_folder / "digits-like.tflite"), "-t", "host"]
    command += ["-o", str(tmp_path / "out"), "--layers", "--min-sqnr", "90"]
    command += ["--calibration-data", str(keras_folder / "calibration.npz")]
    assert run(command) == 1
    out, err = capfd.readouterr()
    assert "SQNR" in out and "lost here" in out and "under the limit of 90 dB" in err
    assert not (tmp_path / "out").exists()
    assert run([*command, "--json", "-"]) == 1
    assert json.loads(capfd.readouterr().out)["fidelity"]


def test_eval_of_a_float_model_without_calibration_judges_it_as_it_is(keras_folder, capfd):
    command = ["eval", str(keras_folder / "digits-like.tflite")]
    assert run([*command, "--data", str(keras_folder / "test.npz"), "--json", "-"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["scheme"] == "float32" and facts["accuracy"] > 0.8
    assert "float_accuracy" not in facts


@pytest.mark.parametrize(
    ("file", "scheme", "made", "baseline"),
    [
        ("digits-dynamic.tflite", None, "dynamic", False),
        ("digits-half.tflite", "float16", "float16", False),
        ("digits-half.tflite", None, "int8", True),
    ],
)
def test_a_baseline_is_float32_whatever_weights_the_source_has(
    file, scheme, made, baseline, keras_folder, tmp_path, capfd
):
    command = ["build", str(keras_folder / file), "-t", "host", "-o", str(tmp_path),
               "--calibration-data", str(keras_folder / "calibration.npz")]  # fmt: skip
    assert run([*command, *(["--scheme", scheme] if scheme else [])]) == 0
    said = capfd.readouterr().out
    assert f"→ {made}" in said and ("widened to float32" in said) == baseline
    bundle = open_bundle(tmp_path / "host")
    assert bundle.manifest["scheme"] == made
    assert bool(bundle.manifest["proof"]["fidelity"]) == baseline
    assert (bundle.baseline is not None) == baseline
    assert not baseline or scheme_of(read_graph(bundle.baseline)) == "float32"


def test_float_activations_of_a_file_are_no_layers_to_replace(keras_folder, tmp_path, capfd):
    file = str(keras_folder / "digits-dynamic.tflite")
    assert run(["build", file, "-t", "cortex-m4", "-o", str(tmp_path)]) == 1
    said = " ".join(capfd.readouterr().err.split())
    assert "quantized already, as dynamic" in said and "start from the float model" in said


@pytest.mark.parametrize(
    ("file", "scheme"), [("digits-half.tflite", "float16"), ("digits-dynamic.tflite", "dynamic")]
)
def test_eval_without_calibration_judges_a_file_as_it_is(file, scheme, keras_folder, capfd):
    test = str(keras_folder / "test.npz")
    assert run(["eval", str(keras_folder / file), "--data", test]) == 0
    assert scheme in capfd.readouterr().out


def test_json_goes_to_a_pipe_alone(built, tmp_path, capfd):
    command = ["bench", str(built / "host"), "--num-runs", "20", "--min-secs", "0.05"]
    assert run([*command, "--json", "-"]) == 0
    results = capfd.readouterr().out
    assert json.loads(results)["schema"] == "edgeq.measurement"
    (tmp_path / "r.json").write_text(results)
    assert run(["compare", str(tmp_path / "r.json"), str(tmp_path / "r.json"), "--json", "-"]) == 0
    assert json.loads(capfd.readouterr().out)["changes"]


def test_a_bundle_is_no_model(built, capfd):
    assert run(["build", str(built / "host"), "-t", "host"]) == 1
    assert "a finished bundle" in capfd.readouterr().err


def test_what_is_printed_of_a_model_is_short(tiny_model):
    assert len(repr(edgeq.open_model(tiny_model))) < 300


def test_allow_float_takes_an_island_where_the_target_can(keras_folder, tmp_path):
    arguments = dict(
        data=edgeq.Data(calibration=np.random.default_rng(0).standard_normal((60, 8, 8, 3))),
        opening=edgeq.Opening(repairs=frozenset()),
        output=tmp_path,
    )
    host = [edgeq.load_target("host")]
    with pytest.raises(VerificationError, match="ELU"):
        edgeq.build(keras_folder / "elu.keras", host, **arguments)
    assert not any(tmp_path.iterdir())
    (built,) = edgeq.build(keras_folder / "elu.keras", host, allow_float=True, **arguments)
    assert not built.verification.is_integer
    with pytest.raises(VerificationError, match="runs integers only"):
        edgeq.build(
            keras_folder / "elu.keras",
            [edgeq.load_target("cortex-m4")],
            allow_float=True,
            **arguments,
        )


def test_an_operator_that_only_aot_has_is_held_to_litert(tmp_path):
    """TFLM has no NEG of integers. LiteRT rounds other operators in another way: not exactly."""
    m = Maker()
    x, y = (m.tensor(name, (1, 8), np.int8, 0.1, 0) for name in "xy")
    m.op("NEG", [x], [y], schema.NegOptionsT())
    (tmp_path / "neg.tflite").write_bytes(m.bytes([x], [y]))
    target = edgeq.load_target("mps2-an386")
    (made,) = edgeq.build(tmp_path / "neg.tflite", [target], output=tmp_path / "out")
    golden = edgeq.open_bundle(made.folder).golden()
    assert golden.reference.startswith("LiteRT") and not golden.exact
    for (given,), (expected,) in zip(golden.inputs, golden.outputs, strict=True):
        assert (expected == -given).all()


def test_nothing_is_written_when_one_of_two_targets_fails(tiny_model, tmp_path):
    board = tmp_path / "tight.toml"
    board.write_text(
        'name = "tight"\ntitle = "Tight"\nfamily = "cortex-m"\ncore = "cortex-m4"\n'
        'engines = ["tflm"]\nflash = 100000\nram = 1000\n'
    )
    targets = [edgeq.load_target("host"), edgeq.load_target(str(board))]
    with pytest.raises(edgeq.EdgeqError, match="the tensor arena alone needs") as caught:
        edgeq.build(tiny_model, targets, output=tmp_path / "out")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_when_one_of_two_places_is_taken(tiny_model, tmp_path):
    output = tmp_path / "out"
    (output / "rpi").mkdir(parents=True)
    (output / "rpi" / "mine").write_text("precious")
    targets = [edgeq.load_target("host"), edgeq.load_target("rpi")]
    with pytest.raises(edgeq.EdgeqError, match="left alone"):
        edgeq.build(tiny_model, targets, output=output)
    assert everything(output) == {"rpi/mine": b"precious"}


def test_nothing_is_written_when_the_disk_is_full_for_the_second(small_disk, tiny_model):
    """The first is small enough, the second has the firmware of a microcontroller too."""
    targets = [edgeq.load_target(name) for name in ("host", "cortex-m4")]
    with pytest.raises(edgeq.EdgeqError, match="no space left.*nothing was changed") as caught:
        edgeq.build(tiny_model, targets, output=small_disk / "out")
    assert "cortex-m4" in str(caught.value)
    assert not any(small_disk.iterdir())
    edgeq.build(tiny_model, targets[:1], output=small_disk / "out")


def test_two_targets_of_one_name_are_refused(tiny_model, tmp_path):
    with pytest.raises(UsageError, match="two targets are called host"):
        edgeq.build(tiny_model, [edgeq.load_target("host")] * 2, output=tmp_path)


def test_the_public_names_are_there_and_documented():
    for name in edgeq.__all__:
        assert getattr(edgeq, name).__doc__, name
    with pytest.raises(AttributeError):
        edgeq.nothing  # noqa: B018


def test_the_tiny_model_is_the_same_every_time():
    assert tiny_int8() == tiny_int8()
