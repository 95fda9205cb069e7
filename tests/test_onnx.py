"""ONNX models as sources."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from sources import to_the_board, written

from edgeq.errors import ConversionError, EdgeqError, MissingProgram, ModelError
from edgeq.models import open_model
from edgeq.pipeline import Data, prepare

_MISSING = find_spec("onnx") is None or find_spec("onnxruntime") is None

pytestmark = [
    pytest.mark.sources,
    pytest.mark.skipif(
        _MISSING or not shutil.which(os.environ.get("EDGEQ_ONNX2TF", "onnx2tf")),
        reason="onnx, onnxruntime or onnx2tf is not installed: make test-sources",
    ),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("onnx", tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("torch") is None:
        pytest.skip("PyTorch, which trains and writes the networks, is not installed")
    return written("torch", tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least_db"), [("cnn", 30), ("unet", 30), ("lstm", 25), ("transformer", 20)]
)
def test_a_model_runs_on_the_emulated_board(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    least_db: float,
) -> None:
    found = to_the_board(str(trained / f"{name}.onnx"), trained, name, tmp_path / "out")
    assert found["sqnr_db"] > least_db and found["same_top"] >= 0.95
    assert "of ONNX Runtime on 32 samples" in capsys.readouterr().out
    assert [p.name for p in found["graph"].outputs] == ["scores"]
    shape = found["graph"].inputs[0].tensor.shape
    assert shape == ((1, 16, 16, 1) if name in ("cnn", "unet") else (1, 8, 8))


def test_padding_by_infinity_becomes_the_mirrored_edge(folder: Path) -> None:
    model = open_model(folder / "pool.onnx")
    assert [op.name for op in model.graph.main.ops] == ["MIRROR_PAD", "MAX_POOL_2D"]
    assert "within 0 of ONNX Runtime" in model.route


def test_a_normalization_divides_by_no_root(folder: Path) -> None:
    names = [op.name for op in open_model(folder / "norm.onnx").graph.main.ops]
    assert "RSQRT" in names and not {"SQRT", "DIV"} & {*names}


def test_open_dimensions(folder: Path) -> None:
    model = open_model(folder / "open_batch.onnx")
    assert model.graph.inputs[0].tensor.shape == (1, 5, 4, 3)
    with pytest.raises(ModelError, match="dimension 2 is not fixed") as e:
        open_model(folder / "open_height.onnx")
    assert e.value.hint and "--input-shape x=1,3,N,4" in e.value.hint
    model = open_model(folder / "open_height.onnx", input_shapes={"x": (1, 3, 6, 4)})
    assert model.graph.inputs[0].tensor.shape == (1, 6, 4, 3)
    with pytest.raises(ModelError, match=r"the file has \(1,3,\?,4\)"):
        open_model(folder / "open_height.onnx", input_shapes={"x": (1, 6, 4, 3)})


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("det.onnx", ConversionError, "operator Det.*has no form in TFLite"),
        ("foreign.onnx", ConversionError, r"my\.ops\.Foo"),
        ("escape.onnx", ModelError, "outside of the model's folder"),
        ("absent.onnx", ModelError, "'absent.bin' is missing"),
        ("short.onnx", ModelError, "damaged ONNX file"),
    ],
)
def test_what_is_refused(folder: Path, name: str, kind: type[EdgeqError], said: str) -> None:
    with pytest.raises(kind, match=said):
        open_model(folder / name)


def test_learned_ranges_are_kept(folder: Path) -> None:
    """Input and ReLU have the scales and zero points of the file, whatever the samples say."""
    made = prepare(folder / "qdq.onnx", data=Data(folder / "qdq.npy"))
    assert made.choice and made.choice.method == "learned"
    graph = made.conversion.graph
    assert [op.name for op in graph.main.ops] == ["CONV_2D", "AVERAGE_POOL_2D"]
    found = [graph.main.tensors[graph.main.inputs[0]]]
    found += [graph.main.output_tensors(op)[0] for op in graph.main.ops]
    assert [t.quantization.scale for t in found if t.quantization] == pytest.approx(
        [0.02, 0.013, 0.013], rel=1e-6
    )
    assert [t.quantization.zero_point for t in found if t.quantization] == [3, -128, -128]


def test_without_the_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_ONNX2TF", "/nowhere/onnx2tf")
    with pytest.raises(MissingProgram, match="EDGEQ_ONNX2TF names '/nowhere/onnx2tf'") as e:
        open_model(folder / "qdq.onnx")
    assert e.value.hint and "pipx install" in e.value.hint
