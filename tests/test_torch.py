"""PyTorch models as sources: exported programs, and a person's own function."""

from __future__ import annotations

import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from sources import to_the_board, written

from edgeq.cli import run
from edgeq.errors import ModelError
from edgeq.models import open_model
from edgeq.pytorch_files import check_exported

pytestmark = [
    pytest.mark.sources,
    pytest.mark.skipif(
        find_spec("torch") is None or find_spec("litert_torch") is None,
        reason="PyTorch and litert-torch are not installed: make test-sources",
    ),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written("torch", tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "suffix", "least_db", "least_same"),
    [
        ("cnn", ".pt2", 30, 0.98),
        ("lstm", ".pt2", 20, 0.95),
        ("transformer", ".pt2", 20, 0.95),
    ],
)
def test_a_program_runs_on_the_emulated_board(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    suffix: str,
    least_db: float,
    least_same: float,
) -> None:
    source = str(folder / f"{name}{suffix}")
    found = to_the_board(source, folder, name, tmp_path / "out")
    assert found["sqnr_db"] > least_db and found["same_top"] >= least_same
    shown = capsys.readouterr()
    assert "of PyTorch on 32 samples" in shown.out
    assert ("repaired, gelu" in shown.err) == (name == "transformer")
    assert [p.name for p in found["graph"].inputs] == ["rows" if name != "cnn" else "image"]


def test_an_image_has_its_channels_last(folder: Path) -> None:
    model = open_model(folder / "unet.pt2")
    assert [p.tensor.shape for p in model.graph.inputs] == [(1, 16, 16, 1)]
    assert [p.tensor.shape for p in model.graph.outputs] == [(1, 16, 16, 1)]
    assert not [op for op in model.graph.main.ops if op.name == "TRANSPOSE"]
    assert "of PyTorch on 4 inputs that are not real" in model.route
    assert open_model(folder / "unet.pt2").tflite == model.tflite


def test_a_function_of_ones_own(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = open_model(f"{folder}/own.py:make")
    assert model.name == "own" and [p.name for p in model.graph.inputs] == ["rows"]
    for function, said in (
        ("wrong", "returns no (module, example input)"),
        ("broken", "ValueError: no weights here (line"),
        ("absent", "no function absent()"),
    ):
        assert run(["inspect", f"{folder}/own.py:{function}"]) == 1
        assert said in capfd.readouterr().err


def test_a_pickle_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("w.pt", "w.pth", "w.pt2"):
        shutil.copy(folder / "cnn.weights.pt", tmp_path / name)
        with pytest.raises(ModelError, match="pickled PyTorch file"):
            open_model(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("torch.ops.aten.conv2d.default", "torch.os.system", "'torch.os.system'"),
        ("torch.ops.aten.conv2d.default", "torch.ops.load_library", "load_library"),
        ('"use_pickle": false', '"use_pickle": true', "pickled tensor"),
    ],
)
def test_a_program_that_calls_what_is_no_operator(
    folder: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(folder / "cnn.pt2") as source, zipfile.ZipFile(path, "w") as made:
        for name in source.namelist():
            data = source.read(name)
            made.writestr(name, data.replace(old.encode(), new.encode()))
    with pytest.raises(ModelError, match=said):
        check_exported(path)


def test_damaged_programs(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "cnn.pt2").read_bytes()
    for cut in (30, len(whole) // 2, len(whole) - 40):
        (tmp_path / "m.pt2").write_bytes(whole[:cut])
        with pytest.raises(ModelError, match=r"m\.pt2"):
            open_model(tmp_path / "m.pt2")
