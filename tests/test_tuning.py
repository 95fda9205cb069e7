"""edgeq tune: what counts as better, a journal that outlives a kill, and whole searches."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import xml.dom.minidom
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_mixed import branches

from edgeq.cli import run
from edgeq.errors import UsageError
from edgeq.tuning.blame import INT8, INT16, proposals
from edgeq.tuning.cluster import check_address
from edgeq.tuning.drawing import draw_front
from edgeq.tuning.journal import NAME, Journal
from edgeq.tuning.points import Candidate, Limits, Outcome, front, nearest


def outcome(name: str, level: float, ram: int, steps: int, accuracy: float = 0.9) -> Outcome:
    return Outcome(
        Candidate("int8", (name,)), sqnr_db=level, ram=ram, instructions=steps, flash=1000,
        accuracy=accuracy, float_accuracy=0.92,
    )  # fmt: skip


CHEAP = outcome("cheap", 40, 1000, 1000)
CLOSER = outcome("closer", 46, 1000, 1500)


def test_the_front_has_what_is_worth_its_cost() -> None:
    hardly = outcome("hardly", 40.3, 1000, 1100)
    worse = outcome("worse", 39, 2000, 1600)
    small = outcome("small", 40, 500, 1700)
    broken = Outcome(Candidate("int16x8"), failed="no")
    found = front([worse, CLOSER, hardly, broken, CHEAP, small])
    assert found == [CHEAP, CLOSER, small]


def test_limits_say_what_is_passed_and_the_nearest_is_found() -> None:
    limits = Limits(max_accuracy_drop=1.0, max_ram=900, max_instructions=1200)
    assert limits.misses(CHEAP) == ["RAM 1,000 > 900 bytes", "accuracy drop 2 > 1 points"]
    assert nearest([CLOSER, CHEAP], limits) is CHEAP
    assert Limits(min_sqnr_db=45).misses(CLOSER) == []


def test_proposals_begin_with_the_most_blamed() -> None:
    network = [("a",), ("b",), ("c",)]
    assert proposals(network, {}) == [INT8, INT16]
    base = Outcome(INT8, sqnr_db=30, blame=(("a", 1.0), ("b", 9.0), ("c", 3.0)))
    order = [c.int16 for c in proposals(network, {INT8: base})[2:]]
    assert order[:3] == [("b",), ("c",), ("a",)]


def test_a_journal_survives_a_torn_line_and_refuses_another_search(tmp_path: Path) -> None:
    with Journal(tmp_path, "one") as journal:
        journal.add(CHEAP)
        journal.add(CLOSER)
        with pytest.raises(UsageError, match="another edgeq tune is at work"):
            Journal(tmp_path, "one")
    with open(tmp_path / NAME, "ab") as file:
        file.write(b'{"candidate": {"sch')
    with Journal(tmp_path, "one") as journal:
        assert list(journal.done.values()) == [CHEAP, CLOSER]
    with pytest.raises(UsageError, match="another search"):
        Journal(tmp_path, "two")
    with Journal(tmp_path, "two", restart=True) as journal:
        assert not journal.done


def test_the_picture_is_sound_and_says_what_it_shows() -> None:
    text = draw_front("a <b>", [CHEAP, CLOSER], {CHEAP: 1, CLOSER: 2}, {CHEAP})
    document = xml.dom.minidom.parseString(text)
    assert "point 2" in document.getElementsByTagName("desc")[0].firstChild.data  # type: ignore[union-attr]
    assert len(document.getElementsByTagName("title")) == 1 + 3 * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "localhost"], "no address of a Dask scheduler"),
        (["--max-ram", "lots"], "not understood"),
        (["--max-latency", "5ms"], "is not timed here"),
        (["--time-limit", "0"], "not understood"),
        (["--jobs", "2", "--workers", "tcp://a:1"], "exclude each other"),
        (["-o", "net.tflite"], "cannot be written|overwrite"),
        ([], "needs calibration data"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.tflite").write_bytes(branches())
    np.save("d.npy", np.ones((40, 6, 6, 3), np.float32))
    data = ["--calibration-data", "d.npy"] if words else []
    code = run(["tune", "net.tflite", "-t", "cortex-m4", *data, *words])
    assert code in (1, 2)
    error = capfd.readouterr().err
    assert any(part in error for part in message.split("|")), error


@pytest.mark.skipif(find_spec("distributed") is not None, reason="distributed is installed")
def test_without_dask_the_line_that_installs_it_is_named() -> None:
    with pytest.raises(UsageError, match="not installed"):
        check_address("tcp://localhost:8786")


# --- Whole searches ----------------------------------------------------------------------------


def _prepare(folder: Path) -> list[str]:
    (folder / "net.tflite").write_bytes(branches())
    data = np.random.default_rng(1).standard_normal((60, 6, 6, 3)).astype(np.float32)
    np.save(folder / "d.npy", data)
    words = [sys.executable, "-m", "edgeq", "tune", "net.tflite", "-t", "cortex-m4"]
    return [*words, "--calibration-data", "d.npy", "--json", "t.json"]


def _lines(folder: Path) -> int:
    journal = folder / "tuning" / NAME
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@pytest.mark.slow
def test_a_killed_search_goes_on_and_its_points_can_be_rebuilt(tmp_path: Path) -> None:
    words = _prepare(tmp_path)
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 200
    while _lines(tmp_path) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    kept = _lines(tmp_path)
    assert kept >= 3
    subprocess.run(words, cwd=tmp_path, check=True, timeout=280, capture_output=True)
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["resumed"] == kept - 1 and found["complete"]
    assert len(found["points"]) >= 2
    mixes = [p for p in found["trials"] if p["int16"] and "failed" not in p]
    assert len(mixes) >= 3
    for point in found["points"][:2]:
        command = [sys.executable, "-m", *point["command"]]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
        tflite = (tmp_path / "build" / "cortex-m4" / "model.tflite").read_bytes()
        assert hashlib.sha256(tflite).hexdigest() == point["sha256"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")
def test_a_dask_cluster_finds_the_same_although_a_worker_dies(tmp_path: Path) -> None:
    words = _prepare(tmp_path)
    python = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    file = tmp_path / "scheduler.json"
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    worker = [*python, "distributed.cli.dask_worker", *options, "--nthreads", "1", "--no-nanny"]
    started = [subprocess.Popen([*scheduler, *options], **quiet)]  # type: ignore[call-overload]
    try:
        started += [subprocess.Popen(worker, **quiet) for _ in range(2)]  # type: ignore[call-overload]
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)
        address = json.loads(file.read_text())["address"]
        search = subprocess.Popen([*words, "--workers", address], cwd=tmp_path, env=os.environ)
        started.append(search)
        end = time.monotonic() + 200
        while _lines(tmp_path) < 3 and search.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        started[1].kill()
        assert search.wait(250) == 0
    finally:
        for process in started:
            process.kill()
            process.wait(20)
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["complete"] and len(found["points"]) >= 2
    assert not [t for t in found["trials"] if "twice" in t.get("failed", "")]
