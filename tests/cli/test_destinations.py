"""No command writes its results over what it reads, or into a bundle's own files."""

import os
from pathlib import Path

import numpy as np
import pytest
from make_model import tiny_int8

from edgeq.cli import run

SPEED = ["--num-runs", "20", "--min-secs", "0", "--warmup-min-secs", "0"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, data for it, its bundle and the results of a bench."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "m.tflite").write_bytes(tiny_int8())
    samples = np.random.default_rng(0).random((9, 8, 8, 1), np.float32)
    np.savez(folder / "d.npz", image=samples, labels=np.arange(9) % 3)
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"precious")
    (folder / "data.py").write_text("def representative_dataset():\n    yield from ()\n")
    target = (Path(__file__).parents[2] / "targets" / "host.toml").read_text()
    (folder / "mine.toml").write_text(target.replace('name = "host"', 'name = "mine"'))
    (folder / "edgeq.toml").write_text('name = "m"\nmodel = "m.tflite"\n')
    os.link(folder / "m.tflite", folder / "hard.tflite")
    (folder / "soft.tflite").symlink_to("m.tflite")
    build = ["build", f"{folder}/m.tflite", "-t", "host", "-o", f"{folder}/build"]
    assert run(build) == 0
    assert run(["bench", f"{folder}/m.tflite", *SPEED, "--json", f"{folder}/r.json"]) == 0
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


BUILD = ["build", "m.tflite", "-t", "host"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "build/host", "--json", "build/host/manifest.json"], "a file of the bundle"),
        (["bench", "build/host", "--csv", "build/host/model.tflite"], "a file of the bundle"),
        (["bench", "m.tflite", "--csv", "build/host/golden/inputs.npz"], "a file of the bundle"),
        (["bench", "m.tflite", "--json", "m.tflite"], "would overwrite what is read, m.tflite"),
        (["bench", "m.tflite", "--json", "hard.tflite"], "would overwrite what is read"),
        (["bench", "m.tflite", "--json", "soft.tflite"], "would overwrite what is read"),
        (["bench", "m.tflite", "--json", "build/../m.tflite"], "would overwrite what is read"),
        (["bench", "m.tflite", "--json", ""], "--json: an empty name"),
        (["bench", "m.tflite", "--json", "x", "--csv", "x"], "--csv goes there too"),
        (["bench", "m.tflite", "--json", "-", "--csv", "-"], "--json -: --csv goes there too"),
        (["inspect", "m.tflite", "--memory-svg", "m.tflite"], "what is read, m.tflite"),
        (["inspect", "m.tflite", "--memory-svg", "build/host/README.md"], "a file of the bundle"),
        (
            ["bench", "m.tflite", "-t", "rpi", "-o", "kept", "--json", "kept/rpi/r.json"],
            "a bundle that is about to be written",
        ),
        (
            ["eval", "m.tflite", "--data", "d.npz", "-t", "mps2-an386", "--sim", "-o", "kept"]
            + ["--json", "kept/mps2-an386/r.json"],
            "a bundle that is about to be written",
        ),
        (["bench", "build/host", "--baseline", "m.tflite", "--csv", "m.tflite"], "is read"),
        ([*BUILD, "--json", "m.tflite"], "would overwrite what is read"),
        ([*BUILD, "--json", "build/host/README.md"], "a file of the bundle"),
        ([*BUILD, "--json", "build/host/facts.json"], "a bundle that is about to be written"),
        ([*BUILD, "--calibration-data", "d.npz", "--json", "d.npz"], "what is read, d.npz"),
        ([*BUILD, "--evaluation-data", "d.npz", "--json", "d.npz"], "what is read, d.npz"),
        (["build", "m.tflite", "-t", "./mine.toml", "--json", "mine.toml"], "what is read"),
        (
            [*BUILD, "--calibration-data", "data.py:representative_dataset", "--json", "data.py"],
            "what is read, data.py:representative_dataset",
        ),
        (["build", "-t", "host", "--json", "edgeq.toml"], "would overwrite what is read"),
        (["build", "saved", "-t", "host", "--json", "saved/saved_model.pb"], "what is read, saved"),
        (["eval", "build/host", "--data", "d.npz", "--json", "d.npz"], "what is read, d.npz"),
        (["eval", "m.tflite", "--data", "d.npz", "--json", "m.tflite"], "what is read, m.tflite"),
        (["inspect", "m.tflite", "--json", "m.tflite"], "what is read, m.tflite"),
        (["inspect", "build/host", "--json", "build/host/model.tflite"], "a file of the bundle"),
        (["compare", "r.json", "r.json", "--json", "r.json"], "what is read, r.json"),
        (["targets", "--check", "mine.toml", "--json", "mine.toml"], "what is read, mine.toml"),
        (["doctor", "--json", "build/host/manifest.json"], "a file of the bundle"),
        (["devices", "--json", "build/host/manifest.json"], "a file of the bundle"),
        (["init", "m.tflite", "--force", "-o", "m.tflite"], "what is read, m.tflite"),
        (["init", "m.tflite", "--force", "-o", "build/host/run.py"], "a file of the bundle"),
        (["build", "build/host/model.tflite", "-t", "host"], "the bundle that would be replaced"),
        ([*BUILD, "--evaluation-data", "build/host/golden/inputs.npz"], "would be replaced"),
    ],
)
def test_what_would_be_destroyed_is_not_written_to(made, monkeypatch, capfd, arguments, said):
    monkeypatch.chdir(made)
    before = everything(made)
    assert run(arguments) == 2
    out, err = capfd.readouterr()
    assert said in err and "hint:" in err and out == ""
    assert everything(made) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "build/host", *SPEED, "--json", "build/host/mine.json"],
        ["inspect", "build/host", "-t", "host", "--json", "build/host/mine.json"],
        ["inspect", "m.tflite", "-t", "host", "--json", "/dev/null"],
        ["compare", "r.json", "r.json", "--json", "old.json"],
    ],
)
def test_what_nobody_reads_may_be_written_to_twice(made, monkeypatch, capfd, arguments):
    monkeypatch.chdir(made)
    (made / "old.json").write_text("old")
    for _ in range(2):
        assert run(arguments) == 0, capfd.readouterr().err
