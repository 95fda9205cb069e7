"""edgeq bench and edgeq eval on emulated boards: real models, real firmware, the real commands."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from emulated_board import emulated
from fault_proxy import TO_HOST
from make_model import tiny_int8

from edgeq.boards import Place, bench_board
from edgeq.bundle import FIRMWARE, MANIFEST, open_bundle
from edgeq.cli import run
from edgeq.errors import VerificationError
from edgeq.interpreters import run as infer
from edgeq.interpreters import tflm
from edgeq.reference import layer_crcs
from edgeq.results import read_results
from edgeq.tflite import read_graph

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)

BOARD = "mps2-an386"
SAMPLES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.tflite, a bundle of it for BOARD, and data.npz with images, half of the labels right."""
    folder = tmp_path_factory.mktemp("boards")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    images = np.random.default_rng(5).integers(-128, 128, (SAMPLES, 8, 8, 1), np.int8)
    graph = read_graph(tiny_int8(), "tiny")
    with tflm(tiny_int8(), graph) as network:
        outputs = list(infer(network, [(image[np.newaxis],) for image in images]))
    labels = [(int(o[0].argmax()) + i % 2) % 3 for i, o in enumerate(outputs)]
    np.savez(folder / "data.npz", image=images, labels=labels)
    assert run(["build", str(folder / "tiny.tflite"), "-t", BOARD, "-o", str(folder)]) == 0
    return folder


def broken(folder: Path, tensor: str, into: Path) -> Path:
    """The bundle with other firmware in it: one bit of the constant `tensor` is another.

    The firmware says that it is the right one, as flash does that lost a bit.
    """
    good = tiny_int8()
    constant = next(t for t in read_graph(good, "tiny").main.tensors if t.name == tensor)
    place = good.index(constant.data.tobytes()) + 2
    bad = good[:place] + bytes([good[place] ^ 0x80]) + good[place + 1 :]
    (into / "tiny.tflite").write_bytes(bad)
    assert run(["build", str(into / "tiny.tflite"), "-t", BOARD, "-o", str(into / "bad")]) == 0
    image = (into / "bad" / BOARD / FIRMWARE).read_bytes()
    names = [hashlib.sha256(data).hexdigest().encode() for data in (bad, good)]
    assert image.count(names[0]) == 1
    bundle = into / BOARD
    shutil.copytree(folder / BOARD, bundle)
    (bundle / FIRMWARE).write_bytes(image.replace(names[0], names[1]))
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][FIRMWARE] = hashlib.sha256((bundle / FIRMWARE).read_bytes()).hexdigest()
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    return bundle


# --- Every sample on the device --------------------------------------------------------------


@pytest.mark.parametrize("target", [BOARD, "cortex-m4"])
def test_eval_builds_and_runs_every_sample_on_the_device(folder, target, capfd):
    command = ["eval", str(folder / "tiny.tflite"), "--data", str(folder / "data.npz")]
    assert run([*command, "--target", target, "--sim", "--json", str(folder / "e.json")]) == 0
    out, err = capfd.readouterr()
    assert f"outputs: {SAMPLES} of {SAMPLES} equal those of TensorFlow Lite Micro" in out
    assert "accuracy on the device: 50.00 %" in out
    assert "in a temporary folder" in err
    facts = json.loads((folder / "e.json").read_text())
    assert (facts["target"], facts["device"]) == (target, BOARD)
    assert (facts["samples"], facts["equal"], facts["accuracy"]) == (SAMPLES, SAMPLES, 0.5)
    assert facts["engine"] == "aot" and "first_difference" not in facts


def test_eval_of_a_bundle_without_labels_says_no_accuracy(folder, tmp_path, capfd):
    np.save(tmp_path / "x.npy", np.load(folder / "data.npz")["image"][:3])
    assert run(["eval", str(folder / BOARD), "--data", str(tmp_path / "x.npy"), "--sim"]) == 0
    out, _ = capfd.readouterr()
    assert "outputs: 3 of 3 equal" in out and "accuracy" not in out


def test_eval_fails_on_a_device_with_a_broken_constant_and_names_the_layer(folder, tmp_path, capfd):
    bundle = broken(folder, "offsets", tmp_path)
    command = ["eval", str(bundle), "--data", str(folder / "data.npz"), "--sim"]
    assert run([*command, "--json", str(tmp_path / "e.json")]) == 1
    facts = json.loads((tmp_path / "e.json").read_text())
    assert facts["equal"] < facts["samples"] == SAMPLES and facts["max_difference"] >= 1
    first = facts["first_difference"]
    assert first.startswith("sample ") and "expected" in first
    assert "The first layer that differs is 2: FULLY_CONNECTED" in first
    capfd.readouterr()
    assert run(command) == 1
    assert f"outputs: {facts['equal']} of {SAMPLES} equal" in capfd.readouterr().out


def test_eval_over_a_serial_port_whose_line_loses_bytes(folder, tmp_path, capfd):
    image = folder / BOARD / FIRMWARE
    command = ["eval", str(folder / BOARD), "--data", str(folder / "data.npz"), "--baud", "9600"]
    with emulated(BOARD, image, tmp_path) as board:
        for place in (2500, 4500):
            board.proxy.at[TO_HOST][place] = lambda: board.proxy.cut(TO_HOST, 1)
        assert run([*command, "--port", board.proxy.name, "--json", "-"]) == 0
        assert board.proxy.faults == 2
    facts = json.loads(capfd.readouterr().out)
    assert (facts["samples"], facts["equal"], facts["accuracy"]) == (SAMPLES, SAMPLES, 0.5)


def test_eval_on_a_board_with_other_firmware_runs_nothing(folder, tmp_path, capfd):
    (tmp_path / "other.tflite").write_bytes(tiny_int8().replace(b"scores", b"SCORES"))
    kept = tmp_path / "kept"
    command = ["eval", str(tmp_path / "other.tflite"), "--data", str(folder / "data.npz")]
    command += ["--target", BOARD, "-o", str(kept)]
    with emulated(BOARD, folder / BOARD / FIRMWARE, tmp_path) as board:
        assert run([*command, "--port", board.proxy.name]) == 1
    out, err = capfd.readouterr()
    assert "runs another firmware: tiny" in err and str(kept / BOARD) in err
    assert "outputs:" not in out and (kept / BOARD / FIRMWARE).is_file()


def test_eval_without_the_wheel_says_what_the_reference_is(folder, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    code = run(["eval", str(folder / BOARD), "--data", str(folder / "data.npz"), "--sim"])
    out, err = capfd.readouterr()
    equal = int(re.search(rf"outputs: (\d+) of {SAMPLES} equal those of LiteRT", out)[1])
    assert code == (equal < SAMPLES)
    assert "tflite-micro package is not installed" in err and "pip install" in err


# --- The first layer that differs ------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "layer"), [("filters", "0: CONV_2D"), ("offsets", "2: FULLY_CONNECTED")]
)
def test_bench_names_the_layer_of_a_broken_constant_and_times_nothing(
    folder, tmp_path, tensor, layer
):
    bundle = broken(folder, tensor, tmp_path)
    with pytest.raises(VerificationError) as e:
        bench_board(bundle, Place(sim=True))
    assert f"The first layer that differs is {layer}" in e.value.message
    assert "nothing was timed" in e.value.message


def test_a_reference_that_gives_other_outputs_accuses_no_layer(folder):
    bundle = open_bundle(folder / BOARD)
    graph, golden = read_graph(bundle.tflite, "tiny"), bundle.golden()
    arguments = bundle.tflite, graph, "aot", golden.inputs[0]
    crcs = layer_crcs(*arguments, golden.outputs[0])
    assert crcs is not None and len(crcs) == len(graph.main.ops) and None not in crcs
    assert layer_crcs(*arguments, (golden.outputs[0][0] ^ 1,)) is None


def test_bench_shows_the_others_when_one_board_of_several_fails(folder, tmp_path, capfd):
    bad, good = broken(folder, "filters", tmp_path), folder / BOARD
    capfd.readouterr()
    results = tmp_path / "r.json"
    command = ["bench", str(bad), str(good), "--sim", "--num-runs", "20", "--json", str(results)]
    assert run(command) == 1
    out, err = capfd.readouterr()
    assert [line.split()[0] for line in out.splitlines()[1:2]] == [BOARD] and "8 equal" in out
    assert f"error: {bad}: " in err and "golden input 0" in err and "hint:" in err
    assert f"error: {good}: " not in err
    assert len(read_results(results).measurements) == 1


def test_bench_writes_nothing_when_all_boards_fail(folder, tmp_path, capfd):
    bad, results = str(broken(folder, "filters", tmp_path)), tmp_path / "r.json"
    capfd.readouterr()
    assert run(["bench", bad, bad, "--sim", "--num-runs", "20", "--json", str(results)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("error: ") == 2 and not results.exists()


# --- One table -------------------------------------------------------------------------------


def test_bench_of_one_model_on_several_boards_is_one_table(folder, tmp_path, capfd):
    targets = ["cortex-m3", "cortex-m4", "mps3-an547"]
    command = ["bench", "--sim", str(folder / "tiny.tflite"), "--num-runs", "20"]
    for target in targets:
        command += ["--target", target]
    assert run([*command, "--json", str(tmp_path / "r.json")]) == 0
    out, err = capfd.readouterr()
    rows = [line.split() for line in out.splitlines() if line.split()[0] in targets]
    assert [row[:4] for row in rows] == [
        ["cortex-m3", "mps2-an385", "aot", "tiny"],
        ["cortex-m4", "mps2-an386", "aot", "tiny"],
        ["mps3-an547", "mps3-an547", "aot", "tiny"],
    ]
    assert out.count("instructions") == 1 and " ms" not in out
    assert "outputs are held to those of TensorFlow Lite Micro" in out
    measured = read_results(tmp_path / "r.json").measurements
    assert [m.target for m in measured] == targets
    assert all(m.checks.count == m.checks.equal > 0 for m in measured)
    assert not (tmp_path / "build").exists() and "temporary folder" in err


def test_bench_of_several_bundles_keeps_what_it_builds_where_it_is_told_to(folder, tmp_path, capfd):
    command = ["bench", str(folder / "tiny.tflite"), "-t", "cortex-m7", "--sim", "--profile"]
    assert run([*command, "--num-runs", "20", "-o", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "FULLY_CONNECTED" in out and "instructions per MAC" in out
    bundles = [str(folder / BOARD), str(tmp_path / "cortex-m7")]
    assert run(["bench", *bundles, "--sim", "--num-runs", "20", "--csv", "-"]) == 0
    rows = capfd.readouterr().out.splitlines()
    assert len(rows) == 3 and f",{BOARD}," in rows[1] and ",cortex-m7," in rows[2]


def test_bench_builds_what_edgeq_toml_says(folder, tmp_path, capfd, monkeypatch):
    shutil.copy(folder / "tiny.tflite", tmp_path)
    (tmp_path / "edgeq.toml").write_text('name = "mine"\nmodel = "tiny.tflite"\n')
    monkeypatch.chdir(tmp_path)
    assert run(["bench", "--target", BOARD, "--profile", "--num-runs", "20"]) == 0
    assert " mine " in capfd.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["edgeq.toml", "tiny.tflite"]
