"""edgeq prune and edgeq distill, with real training of small Keras models."""

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

from edgeq.cli import run as edgeq
from edgeq.models import open_model
from edgeq.reference import open_reference

ROOT = Path(__file__).resolve().parent.parent
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruning")
    script = ROOT / "tests" / "pruning_models.py"
    command = [sys.executable, str(script), str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **QUIET})
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for file in made.iterdir():
        os.symlink(file, tmp_path / file.name)
    return tmp_path


def outputs(path: Path, samples: np.ndarray) -> np.ndarray:
    """Of the float model, by LiteRT."""
    model = open_model(path)
    network, _ = open_reference(model.tflite, model.graph, "litert")
    with network:
        found = network.infer("run", [(sample[None],) for sample in samples])
    return np.array([output[0] for (output,) in found])


def test_dead_channels_go_and_the_outputs_stay(here, capsys):
    command = ["prune", "dying.keras", "--dead-only", "-o", "lean.keras", "--json", "lean.json"]
    assert edgeq(command) == 0
    told = capsys.readouterr().out
    facts = json.loads((here / "lean.json").read_text())
    assert facts["dead"] >= 4 and "edgeq build lean.keras" in told
    assert facts["after"]["parameters"] < facts["before"]["parameters"]
    assert facts["float64_difference"] < 1e-9
    with np.load(here / "data.npz") as data:
        samples = data["image"][:16]
    np.testing.assert_allclose(
        outputs(here / "lean.keras", samples), outputs(here / "dying.keras", samples), atol=1e-5
    )


def test_pruning_reaches_the_target_with_every_way_of_tying_channels(here, capsys):
    command = ["prune", "mixed.keras", "--data", "data.npz", "-o", "small.keras"]
    options = ["--target-macs", "60%", "--steps", "2", "--step-epochs", "1", "--epochs", "1"]
    assert edgeq([*command, *options, "--json", "small.json"]) == 0
    facts = json.loads((here / "small.json").read_text())
    assert facts["after"]["macs"] <= 0.6 * facts["before"]["macs"]
    assert [p.name for p in open_model(here / "small.keras").graph.inputs] == ["image"]
    # The same seed gives the same model; the checkpoints of a finished run are gone.
    assert not (here / "small.checkpoints").exists()
    capsys.readouterr()


def test_regression_distils(here, capsys):
    command = ["distill", "regression.keras", "regression.keras", "--data", "line.npz"]
    assert edgeq([*command, "-o", "taught.keras", "--epochs", "2", "--json", "-"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts and (here / "taught.keras").is_file()


MISTAKES = [
    (["prune", "mixed.keras", "-o", "x.keras", "--target-macs", "50%"], "--data"),
    (["prune", "mixed.keras", "--data", "data.npz", "-o", "x.keras"], "--target"),
    (
        ["prune", "mixed.keras", "--data", "line.npz", "-o", "x.keras", "--target-macs", "50%"],
        "image",
    ),
    (["prune", "lone.keras", "--data", "line.npz", "-o", "x.keras", "--target-macs", "50%"], ""),
    (["prune", "mixed.keras", "--data", "data.npz", "-o", "x.h5", "--target-macs", "50%"], "-o"),
    (["prune", "mixed.keras", "--data", "data.npz", "-o", "x.keras", "--target-macs", "1"], "1"),
    (
        ["prune", "none.keras", "--data", "data.npz", "-o", "x.keras", "--target-macs", "50%"],
        "none",
    ),
    (["prune", "net.tflite", "--data", "data.npz", "-o", "x.keras", "--target-macs", "50%"], "net"),
    (["distill", "mixed.keras", "lone.keras", "--data", "data.npz", "-o", "x.keras"], ""),
    (["distill", "mixed.keras", "mixed.keras", "--data", "d.csv", "-o", "x.keras"], "d.csv"),
]


@pytest.mark.parametrize(("command", "named"), MISTAKES)
def test_a_mistake_is_one_error_and_leaves_nothing(command, named, here, tiny_model, capfd):
    shutil.copy(tiny_model, here / "net.tflite")
    assert edgeq(command) in (1, 2)
    said = capfd.readouterr().err
    assert "error: " in said and "Traceback" not in said and named in said
    assert not (here / "x.keras").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(here, capsys):
    command = ["prune", "mixed.keras", "--data", "data.npz", "--target-macs", "50%", "--steps", "3"]
    options = ["--step-epochs", "1", "--epochs", "2"]
    assert edgeq([*command, *options, "-o", "whole.keras", "--json", "whole.json"]) == 0
    argv = [sys.executable, "-m", "edgeq", *command, *options, "-o", "parts.keras"]
    child = subprocess.Popen(
        argv,
        env={**os.environ, **QUIET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    state, deadline = here / "parts.checkpoints" / "state.json", time.monotonic() + 120
    while not state.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)
    assert state.exists() and not (here / "parts.keras").exists()
    assert edgeq([*command, *options, "-o", "parts.keras", "--resume", "--json", "p.json"]) == 0
    whole, parts = (json.loads((here / name).read_text()) for name in ("whole.json", "p.json"))
    assert parts["after"] == whole["after"] and parts["channels"] == whole["channels"]
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm: make test installs them",
)
def test_half_of_the_digits_network_is_as_good_and_faster_on_an_m4(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "examples" / "digits", folder, ignore=shutil.ignore_patterns("build"))
    train = [sys.executable, "train.py"]
    subprocess.run(train, check=True, cwd=folder, capture_output=True, env={**os.environ, **QUIET})
    monkeypatch.chdir(folder)
    command = ["prune", "digits.keras", "--data", "train.py:dataset", "-o", "small.keras"]
    assert edgeq([*command, "--target-macs", "50%", "--json", "p.json"]) == 0
    facts = json.loads((folder / "p.json").read_text())
    assert facts["after"]["macs"] <= facts["before"]["macs"] / 2
    accuracy, counts = [], []
    for name in ("digits", "small"):
        build = ["build", f"{name}.keras", "-t", "mps2-an386", "-o", name, "--json", "b.json"]
        data = ["--calibration-data", "calibration.npz", "--evaluation-data", "test.npz"]
        assert edgeq([*build, *data]) == 0
        (built,) = json.loads(Path("b.json").read_text())
        accuracy.append(built["verification"]["fidelity"][0]["accuracy"])
        bench = ["bench", f"{name}/mps2-an386", "--sim", "--json", "r.json"]
        assert edgeq(bench) == 0
        (measured,) = json.loads(Path("r.json").read_text())["measurements"]
        counts.append(measured["summary"]["median"])
    assert accuracy[1] >= accuracy[0] - 0.01
    assert counts[1] < 0.65 * counts[0]
    capsys.readouterr()
