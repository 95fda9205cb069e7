"""Fixtures that several test modules use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from make_model import tiny_float, tiny_int8

from edgeq.isolation import Worker
from edgeq.models import tensorflow_session

HERE = Path(__file__).parent


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A file with a small int8 model: 8x8x1 image to 3 scores."""
    path = tmp_path / "tiny_int8.tflite"
    path.write_bytes(tiny_int8())
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    """A file with a small float model, dense - ELU - dense, 4 to 2."""
    path = tmp_path / "tiny_float.tflite"
    path.write_bytes(tiny_float())
    return path


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """An .npy with 80 samples for `float_model`."""
    path = tmp_path / "vectors.npy"
    np.save(path, np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32))
    return path


@pytest.fixture(scope="session")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of keras_models.py, saved once for all of pytest's workers."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # Then it is a worker's own, in that of the run.
        run = run.parent
    folder, making = run / "keras_models", run / "keras_models.new"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            making.mkdir()
            subprocess.run(
                [sys.executable, HERE / "keras_models.py", making],
                check=True,
                timeout=240,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
                capture_output=True,
            )
            making.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[Worker]:
    """One TensorFlow process, since importing it takes seconds."""
    with tensorflow_session() as session:
        yield session
