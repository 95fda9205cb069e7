"""edgeq bench and eval on a Raspberry Pi's stand-in, with both engines, by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from make_model import tiny_int8
from pi.stand_in import Pi
from processes import assert_gone

from edgeq.building import build
from edgeq.bundle import open_bundle
from edgeq.cli import run as edgeq
from edgeq.targets import load_target

pytestmark = pytest.mark.devices

RUNS = ["--num-runs", "5", "--min-secs", "0"]


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pi]]:
    folder = tmp_path_factory.mktemp("pis")
    with Pi("arm64", folder / "arm64") as arm64, Pi("armhf", folder / "armhf") as armhf:
        yield {"rpi": arm64, "rpi-armv7": armhf}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("pi_bundles")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    targets = [load_target("rpi"), load_target("rpi-armv7")]
    return {
        (built.target.name, engine): built.folder
        for engine in ("aot", "litert")
        for built in build(folder / "tiny.tflite", targets, output=folder / engine, engine=engine)
    }


@pytest.mark.parametrize("target", ["rpi", "rpi-armv7"])
@pytest.mark.parametrize("engine", ["aot", "litert"])
def test_bench(switched_on, bundles, target, engine, tmp_path, monkeypatch, capsys):
    pi = switched_on[target]
    pi.client(monkeypatch)
    result = tmp_path / "r.json"
    bundle = bundles[target, engine]
    offline = ["--offline-wheels"] if engine == "litert" else []
    command = ["bench", str(bundle), "--device", pi.address, *RUNS, *offline]
    assert edgeq([*command, "--json", str(result)]) == 0, capsys.readouterr().err
    (m,) = json.loads(result.read_text())["measurements"]
    assert (m["engine"], m["target"], m["unit"]) == (engine, target, "ns")
    assert m["checks"]["count"] == 8 and m["checks"]["max_difference"] <= 1
    if engine == "aot":
        assert m["checks"]["equal"] == 8
    else:
        assert m["environment"]["engine_version"] and m["environment"]["kernels"] == "XNNPACK"
    assert m["environment"]["device"].startswith("QEMU's qemu-")
    assert "Raspberry Pi 4" in m["environment"]["device"]
    assert not m["verdict"]["valid"]
    assert any("emulated by QEMU" in reason for reason in m["verdict"]["reasons"])
    assert (
        m["environment"]["before"]["temperature_c"] and "pi_throttled" in m["environment"]["after"]
    )
    for pid in (*pi.processes("runner"), *pi.processes("serve.py")):
        assert_gone(pid)
    left = [p.name for p in (pi.files / "home/pi/.cache/edgeq").glob("*")]
    assert all(name.startswith("venv-") for name in left), left


def test_eval(switched_on, bundles, tmp_path, monkeypatch, capsys):
    pi = switched_on["rpi"]
    pi.client(monkeypatch)
    bundle = bundles["rpi", "aot"]
    inputs = [sample[0] for sample in open_bundle(bundle).golden().inputs]
    np.savez(tmp_path / "d.npz", x=np.concatenate(inputs).astype(np.float32))
    command = ["eval", str(bundle), "--data", str(tmp_path / "d.npz"), "--device", pi.address]
    assert edgeq(command) == 0, capsys.readouterr().err
    assert "8 of 8 equal those of TensorFlow Lite Micro" in capsys.readouterr().out


def test_a_bundle_for_the_other_pi_is_refused(switched_on, bundles, monkeypatch, capsys):
    pi = switched_on["rpi-armv7"]
    pi.client(monkeypatch)
    assert edgeq(["bench", str(bundles["rpi", "aot"]), "--device", pi.address, *RUNS]) == 2
    said = capsys.readouterr().err
    assert "armv7l, and rpi is for aarch64" in said and "--target rpi-armv7" in said
