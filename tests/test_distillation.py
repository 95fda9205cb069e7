"""edgeq distill: a small network taught by a larger one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgeq.cli import run

STUDENT = """
import keras, sys
L = keras.layers
keras.utils.set_random_seed(3)
first = [keras.Input((8, 8, 1), name="image"), L.Conv2D(8, 3, strides=2, activation="relu")]
keras.Sequential([*first, L.Flatten(), L.Dense(10, name="scores")]).save("student.keras")
keras.Sequential([*first, L.Flatten(), L.Dense(4, name="scores")]).save("other.keras")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distillation")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run(
        [sys.executable, "-c", STUDENT],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=200,
    )
    data = load_digits()
    x = (data.images / 16).astype(np.float32)[..., None]
    np.savez(folder / "training.npz", image=x[:1200], labels=data.target[:1200])
    return folder


def test_a_student_learns_from_its_teacher_alone(keras_folder, folder, tmp_path, capfd):
    """With --alpha 1 the labels say nothing, so what it knows is the teacher's."""
    command = ["distill", str(keras_folder / "digits-like.keras"), str(folder / "student.keras")]
    command += ["--data", str(folder / "training.npz"), "-o", str(tmp_path / "taught.keras")]
    command += ["--alpha", "1", "--epochs", "6", "--learning-rate", "0.005", "--json", "-"]
    assert run(command) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["score_before"]["accuracy"] < 0.3
    assert found["score_after"]["accuracy"] > 0.75
    assert found["student_size"]["macs"] < found["teacher_size"]["macs"]
    assert (tmp_path / "taught.keras").exists()
    assert not (tmp_path / "taught.checkpoints").exists()


def test_models_that_do_not_go_together_are_one_error(keras_folder, folder, tmp_path, capfd):
    command = ["distill", str(keras_folder / "digits-like.keras"), str(folder / "other.keras")]
    command += ["--data", str(folder / "training.npz"), "-o", str(tmp_path / "taught.keras")]
    assert run(command) == 1
    assert "the teacher's output is [10], the student's [4]" in capfd.readouterr().err
    assert run([*command, "--temperature", "0"]) == 2
    assert run([*command, "--alpha", "2"]) == 2
    assert not list(tmp_path.iterdir())
