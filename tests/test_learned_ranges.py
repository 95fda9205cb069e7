"""Ranges that quantization-aware training has left in a TensorFlow model are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.isolation import Worker
from edgeq.models import open_model
from edgeq.pipeline import Data, prepare


@pytest.mark.parametrize("name", ["learned", "learned.tflite"])
def test_fake_quantization_becomes_the_scales(
    name: str, keras_folder: Path, tensorflow: Worker
) -> None:
    data = Data(keras_folder / "learned.npy")
    made = prepare(keras_folder / name, data=data, tensorflow=tensorflow)
    assert made.choice and made.choice.method == "learned"
    assert made.choice.note and "ranges of 3 activations" in made.choice.note
    assert made.model.scheme == "float32" and "3 learned ranges" in made.model.route
    graph = made.conversion.graph
    assert [op.name for op in graph.main.ops] == ["CONV_2D", "AVERAGE_POOL_2D"]
    found = [graph.main.tensors[graph.main.inputs[0]]]
    found += [graph.main.output_tensors(op)[0] for op in graph.main.ops]
    scales = [t.quantization.scale for t in found if t.quantization]
    assert scales == pytest.approx([4 / 255, 3 / 255, 3 / 255], rel=1e-6)
    zero_points = [t.quantization.zero_point for t in found if t.quantization]
    assert zero_points == [0, -128, -128]


def test_what_is_between_the_pairs_is_not_touched(keras_folder: Path) -> None:
    """Weights that are stored as integers alone are no training for integers."""
    assert open_model(keras_folder / "digits-dynamic.tflite").scheme == "dynamic"
    assert not open_model(keras_folder / "digits-like.tflite").learned
