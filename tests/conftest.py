"""Fixtures that several test modules use."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_model import tiny_float, tiny_int8


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A file with a small int8 model: 8x8x1 image to 3 scores."""
    path = tmp_path / "tiny_int8.tflite"
    path.write_bytes(tiny_int8())
    return path


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    """A file with a small float model, dense - ELU - dense, 4 to 2."""
    path = tmp_path / "tiny_float.tflite"
    path.write_bytes(tiny_float())
    return path
