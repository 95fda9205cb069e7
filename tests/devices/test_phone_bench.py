"""edgeq bench on a phone's stand-in by the real adb, and on three kinds of devices at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_model import tiny_int8
from phone.stand_in import Adb, Phone
from pi.stand_in import Pi
from processes import assert_gone

from edgeq.building import build
from edgeq.cli import run as edgeq
from edgeq.targets import load_target

pytestmark = pytest.mark.devices

RUNS = ["--num-runs", "5", "--min-secs", "0"]


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Adb, Phone]]:
    folder = tmp_path_factory.mktemp("phone")
    with Adb(folder / "adb") as adb, Phone(adb, folder / "phone") as phone:
        yield adb, phone


@pytest.fixture
def phone(switched_on, monkeypatch) -> Phone:
    adb, phone = switched_on
    adb.use(monkeypatch)
    return phone


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("phone_bundles")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    targets = {"aot": ["android", "rpi", "mps2-an386"], "litert": ["android"]}
    return {
        engine: {
            built.target.name: built.folder
            for built in build(
                folder / "tiny.tflite",
                [load_target(name) for name in names],
                output=folder / engine,
                engine=engine,
            )
        }
        for engine, names in targets.items()
    }


def bench(tmp_path: Path, *arguments: str) -> tuple[int, list[dict]]:
    result = tmp_path / "r.json"
    code = edgeq(["bench", *arguments, *RUNS, "--json", str(result)])
    found = json.loads(result.read_text())["measurements"] if result.exists() else []
    return code, found


@pytest.mark.parametrize("engine", ["aot", "litert"])
def test_bench(phone, bundles, engine, tmp_path, capsys):
    code, found = bench(tmp_path, str(bundles[engine]["android"]), "--device", phone.address)
    assert code == 0, capsys.readouterr().err
    (m,) = found
    assert (m["engine"], m["target"], m["unit"]) == (engine, "android", "ns")
    assert m["checks"]["count"] == 8 and m["checks"]["max_difference"] <= 1
    e = m["environment"]
    assert e["device"] == "QEMU's qemu-aarch64 as edgeq Emulated Phone"
    assert (e["abi"], e["sdk"], e["soc"], e["os"].split(",")[0]) == (
        "arm64-v8a", 34, "EQ1000", "Android 14",
    )  # fmt: skip
    assert not m["verdict"]["valid"]
    if engine == "aot":
        assert m["checks"]["equal"] == 8
    else:
        assert e["kernels"] == "XNNPACK" and e["engine_version"]
        assert any("unverified on hardware" in note for note in m["verdict"]["notes"])
    for pid in phone.processes("runner"):
        assert_gone(pid)
    assert not list((phone.files / "data/local/tmp").iterdir())


def test_big_cores(phone, bundles, tmp_path, capsys):
    bundle = str(bundles["aot"]["android"])
    code, found = bench(tmp_path, bundle, "--device", phone.address, "--cores", "big")
    assert code == 0, capsys.readouterr().err
    assert found[0]["environment"]["pinned"]


def test_three_devices_at_once(phone, bundles, tmp_path, tmp_path_factory, monkeypatch, capsys):
    built = bundles["aot"]
    with Pi("arm64", tmp_path_factory.mktemp("third")) as pi:
        pi.client(monkeypatch)
        where = ["--device", phone.address, "--device", pi.address, "--device", "sim"]
        code, found = bench(tmp_path, *map(str, built.values()), *where)
        assert code == 0, capsys.readouterr().err
        assert [(m["target"], m["unit"], m["checks"]["equal"]) for m in found] == [
            ("android", "ns", 8), ("rpi", "ns", 8), ("mps2-an386", "instructions", 8),
        ]  # fmt: skip
        table = capsys.readouterr().out
        assert all(name in table for name in ("android", "rpi", "mps2-an386"))
        before = tmp_path / "before.json"
        before.write_text((tmp_path / "r.json").read_text())
        bench(tmp_path, *map(str, built.values()), *where)
        capsys.readouterr()
        compared = edgeq(["compare", str(before), str(tmp_path / "r.json")])
        assert compared in (0, 1), "times of an emulator vary"
        said = capsys.readouterr().out
        assert all(name in said for name in ("android", "rpi", "mps2-an386"))

        pi.switch_off()
        code, found = bench(tmp_path, *map(str, built.values()), *where)
        assert code == 1 and [m["target"] for m in found] == ["android", "mps2-an386"]
        assert pi.address in capsys.readouterr().err


def test_a_project_names_its_devices(phone, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.tflite").write_bytes(tiny_int8())
    (tmp_path / "edgeq.toml").write_text(
        'name = "tiny"\nmodel = "tiny.tflite"\nengine = "aot"\n'
        f'[devices.phone]\ntarget = "android"\naddress = "{phone.address}"\n'
        '[devices.board]\ntarget = "mps2-an386"\naddress = "sim"\n'
    )
    monkeypatch.chdir(tmp_path)
    code, found = bench(
        tmp_path, "tiny.tflite", "--device", "phone", "--device", "board", "--engine", "aot"
    )
    assert code == 0, capsys.readouterr().err
    assert [m["target"] for m in found] == ["android", "mps2-an386"]
