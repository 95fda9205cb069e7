"""edgeq prune, on networks with every way of tying channels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgeq.cli import run
from edgeq.complexity import total_macs
from edgeq.errors import DataError, ModelError, UsageError
from edgeq.models import open_model, tensorflow_session
from edgeq.results import read_results
from edgeq.training import Schedule
from edgeq.training.goals import parse_macs, parse_size
from edgeq.training.prune import PRUNER

HERE = Path(__file__).parent
QUICK = ["--steps", "2", "--step-epochs", "1", "--epochs", "1", "--batch-size", "64"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pruning")
    subprocess.run(
        [sys.executable, HERE / "pruning_models.py", folder],
        check=True,
        timeout=240,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Path:
    """What keras_models.py trains digits-like on."""
    data = load_digits()
    path = tmp_path_factory.mktemp("data") / "training.npz"
    x = (data.images / 16).astype(np.float32)[..., None]
    np.savez(path, image=x[:1200], labels=data.target[:1200])
    return path


def outputs(model: Path, inputs: np.ndarray) -> np.ndarray:
    """What LiteRT makes of `inputs` with the float .tflite of a Keras model."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=open_model(model).tflite)
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    rows = [next(iter(runner(**{name: row[None]}).values()))[0] for row in inputs]
    return np.array(rows)


def test_dead_channels_go_and_the_outputs_stay(models, tmp_path, capfd):
    lean, facts = tmp_path / "lean.keras", tmp_path / "lean.json"
    command = ["prune", str(models / "dying.keras"), "--dead-only", "-o", str(lean)]
    assert run([*command, "--data", str(models / "data.npz"), "--json", str(facts)]) == 0
    assert "channels had no effect" in capfd.readouterr().out
    found = json.loads(facts.read_text())
    assert found["dead"] == 4 and found["samples"] == 128
    assert found["float64_difference"] < 1e-12
    assert found["channels"]["squeeze"] == [4, 3]
    assert found["channels"]["last"] == [8, 7]
    assert found["channels"]["hidden"] == [12, 10]
    with np.load(models / "data.npz") as data:
        samples = data["image"][:16]
    np.testing.assert_allclose(
        outputs(lean, samples), outputs(models / "dying.keras", samples), atol=2e-6
    )


def test_every_way_of_tying_channels_is_pruned_to_the_target(models, tmp_path, capfd):
    small, facts = tmp_path / "small.keras", tmp_path / "small.json"
    command = ["prune", str(models / "mixed.keras"), "--data", str(models / "data.npz")]
    command += ["-o", str(small), "--target-macs", "30%", "--json", str(facts)]
    assert run([*command, *QUICK]) == 0
    assert "edgeq build" in capfd.readouterr().out
    found = json.loads(facts.read_text())
    before, after = found["before"]["macs"], found["after"]["macs"]
    assert before == total_macs(open_model(models / "mixed.keras").graph)
    assert after == total_macs(open_model(small).graph) <= 0.3 * before
    assert not (tmp_path / "small.checkpoints").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(keras_folder, training, tmp_path):
    model = shutil.copy(keras_folder / "digits-like.keras", tmp_path)
    command = [sys.executable, "-m", "edgeq", "prune", str(model), "--data", str(training)]
    command += ["--target-size", "50%", *QUICK[:-1], "16", "--step-epochs", "3"]
    subprocess.run([*command, "-o", str(tmp_path / "whole.keras")], check=True, timeout=200)
    place = tmp_path / "killed.keras"
    state = tmp_path / "killed.checkpoints" / "state.json"
    ended = subprocess.Popen([*command, "-o", str(place)])
    end = time.monotonic() + 200
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.02)
    ended.send_signal(signal.SIGKILL)
    ended.wait(timeout=30)
    assert state.exists() and not place.exists()
    again = subprocess.run([*command, "-o", str(place)], capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr
    other = [*command, "-o", str(place), "--resume", "--seed", "1"]
    refused = subprocess.run(other, capture_output=True, text=True)
    assert refused.returncode == 2 and "another options" in refused.stderr
    subprocess.run([*command, "-o", str(place), "--resume"], check=True, timeout=200)
    assert place.read_bytes() == (tmp_path / "whole.keras").read_bytes()


def test_it_stops_before_too_much_accuracy_is_lost(keras_folder, training, tmp_path, capfd):
    command = ["prune", str(keras_folder / "digits-like.keras"), "--data", str(training)]
    place = tmp_path / "small.keras"
    command += ["-o", str(place), "--target-size", "130", *QUICK, "--json", "-"]
    code = run([*command, "--steps", "8", "--max-accuracy-drop", "4"])
    captured = capfd.readouterr()
    assert code == 1
    if "the first step alone" not in captured.err:
        found = json.loads(captured.out)
        assert found["stopped"] and place.exists()
        lost = found["score_before"]["accuracy"] - found["score_after"]["accuracy"]
        assert lost <= 0.04 + 1e-9


@pytest.fixture(scope="module")
def pruner(keras_folder):
    with tensorflow_session(
        PRUNER, str(keras_folder / "digits-like.keras"), "keras", Schedule()
    ) as worker:
        yield worker


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"image": np.zeros((20, 8, 8)), "labels": np.zeros(20, int)}, "gets float64"),
        ({"image": np.zeros((20, 8, 8, 1)), "labels": np.arange(20)}, "the model has 10 classes"),
        ({"image": np.zeros((20, 8, 8, 1)), "labels": np.zeros(19, int)}, "19 of what"),
        ({"image": np.full((20, 8, 8, 1), np.nan), "labels": np.zeros(20, int)}, "has NaN"),
        ({"image": np.zeros((20, 8, 8, 1))}, "no `labels`"),
    ],
)
def test_data_that_does_not_fit_is_one_error(pruner, tmp_path, arrays, said):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=said):
        pruner.call("open", str(tmp_path / "data.npz"), None, time_limit=120)


def test_a_python_file_gives_arrays_or_a_dataset(pruner, tmp_path):
    text = "import numpy as np\nimport tensorflow as tf\n"
    text += "x, y = np.zeros((40, 8, 8, 1), np.float32), np.arange(40) % 10\n"
    text += "def pair(): return x, y\n"
    text += "def batches(): return tf.data.Dataset.from_tensor_slices((x, y)).batch(7)\n"
    text += "def endless(): return batches().repeat()\n"
    text += "def broken(): return x\n"
    path = tmp_path / "train.py"
    path.write_text(text)
    pair, batches = (
        pruner.call("open", str(path), name, time_limit=120) for name in ("pair", "batches")
    )
    assert pair.data == batches.data and pair.training_samples == 32
    for name, said in (("endless", "no end"), ("broken", "returned a"), ("none", "no function")):
        with pytest.raises(DataError, match=said):
            pruner.call("open", str(path), name, time_limit=120)


def test_what_cannot_be_pruned_is_one_error(models, tmp_path, tiny_model, capfd):
    data = ["--data", str(models / "line.npz")]
    place = ["-o", str(tmp_path / "out.keras")]
    half = ["--target-size", "50%"]
    for command, code, said in (
        ([str(tiny_model), *data, *place, *half], 1, "a .tflite has no layers"),
        ([str(models / "lone.keras"), *data, *place, *half], 1, "no layer of this model"),
        ([str(models / "regression.keras"), *data, *place, "--target-size", "3"], 2, "are left"),
        ([str(models / "regression.keras"), *data, *place], 2, "needs one target"),
        ([str(models / "regression.keras"), *place, *half], 2, "needs a training set"),
        ([str(models / "regression.keras"), *data, "-o", "a.h5", *half], 2, "ends in .keras"),
    ):
        assert run(["prune", *command]) == code, command
        assert said in capfd.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_a_loss_that_is_no_number_is_one_error(models, tmp_path, capfd):
    command = ["prune", str(models / "regression.keras"), "--data", str(models / "line.npz")]
    command += ["-o", str(tmp_path / "out.keras"), "--target-size", "50%", "--loss", "mse"]
    with np.load(models / "line.npz") as held:
        np.savez(tmp_path / "huge.npz", x=held["x"] * 1e18, targets=held["targets"])
    command[3] = str(tmp_path / "huge.npz")
    assert run([*command, *QUICK]) == 1
    assert "loss" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "measure", "value"),
    [("20k", "parameters", 20000), ("40KiB", "bytes", 40960), ("50%", "parameters", 0.5)],
)
def test_sizes_are_read_as_people_write_them(text, measure, value):
    goal = parse_size(text)
    assert (goal.measure, goal.value) == (measure, value)


@pytest.mark.parametrize("text", ["", "0", "150%", "-5", "40KB", "many"])
def test_what_is_no_number_of_macs_is_refused(text):
    with pytest.raises(UsageError, match="--target-macs"):
        parse_macs(text)


def test_a_folder_is_no_model(tmp_path):
    from edgeq.training import remove_dead

    with pytest.raises(ModelError, match="a folder"):
        remove_dead(tmp_path, tmp_path / "out.keras")


@pytest.mark.slow
def test_half_the_digits_network_is_as_good_and_faster(tmp_path):
    """Issue 5's sixth acceptance: held-out digits, and instructions of an emulated Cortex-M4."""
    shutil.copy(HERE.parent / "examples/digits/train.py", tmp_path)
    edgeq = [sys.executable, "-m", "edgeq"]
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, capture_output=True)
    command = [*edgeq, "prune", "digits.keras", "--data", "train.py:dataset", "-o", "half.keras"]
    command += ["--target-macs", "50%", "--json", "half.json"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=290)
    found = json.loads((tmp_path / "half.json").read_text())
    assert found["after"]["macs"] <= found["before"]["macs"] / 2
    accuracy, instructions = {}, {}
    for name in ("digits", "half"):
        build = [*edgeq, "build", f"{name}.keras", "-t", "cortex-m4", "-o", name]
        build += ["--calibration-data", "calibration.npz", "--evaluation-data", "test.npz"]
        subprocess.run(build, cwd=tmp_path, check=True, timeout=290)
        bundle = f"{name}/cortex-m4"
        for command, file in (
            ([*edgeq, "eval", bundle, "--data", "test.npz"], "eval.json"),
            ([*edgeq, "bench", bundle, "--sim"], "bench.json"),
        ):
            command += ["--json", f"{name}-{file}"]
            subprocess.run(command, cwd=tmp_path, check=True, timeout=290)
        accuracy[name] = json.loads((tmp_path / f"{name}-eval.json").read_text())["accuracy"]
        (measured,) = read_results(tmp_path / f"{name}-bench.json").measurements
        instructions[name] = measured.summary.median
    assert accuracy["half"] >= accuracy["digits"] - 0.01
    assert instructions["half"] < 0.7 * instructions["digits"]
