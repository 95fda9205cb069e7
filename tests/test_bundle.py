import contextlib
import fcntl
import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeq import folders
from edgeq.bundle import Draft, golden_files, open_bundle, write_bundle, write_bundles
from edgeq.errors import BundleError
from edgeq.folders import bundle_with
from edgeq.golden import Golden

GOLDEN = Golden(
    inputs=tuple((np.full((1, 2), i, np.int8),) for i in range(3)),
    outputs=tuple((np.full((1, 1), i, np.int8),) for i in range(3)),
    reference="by hand",
    tolerance=(1,),
)
MANIFEST = {
    "schema": "edgeq.bundle",
    "schema_version": 1,
    "name": "tiny",
    "target": "host",
    "engine": "litert",
    "scheme": "int8",
    "inputs": [{"name": "x"}],
    "outputs": [{"name": "y", "tolerance_steps": 1}],
    "model": {"sha256": hashlib.sha256(b"model").hexdigest()},
    "golden": {"count": 3, "reference": "by hand", "exact": True},
}
FILES = {"model.tflite": b"model", "docs/note.txt": "hello\n", **golden_files(GOLDEN)}


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "out" / "tiny", MANIFEST, FILES)
    return tmp_path / "out" / "tiny"


def version(model: bytes):
    """Manifest and files of a bundle with this model."""
    digest = hashlib.sha256(model).hexdigest()
    return {**MANIFEST, "model": {"sha256": digest}}, {**FILES, "model.tflite": model}


def everything(folder: Path):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_what_is_written_opens_again(folder):
    bundle = open_bundle(folder)
    assert bundle.name == "tiny" and bundle.tflite == b"model" and bundle.baseline is None
    golden = bundle.golden()
    assert golden.tolerance == (1,) and len(golden.inputs) == 3
    assert np.array_equal(golden.inputs[2][0], [[2, 2]])


def test_golden_vectors_that_unpack_to_terabytes_are_refused(tmp_path):
    header = f"{{'descr': '|i1', 'fortran_order': False, 'shape': ({1 << 45},)}}".encode()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("in_0.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    files = {**FILES, "golden/inputs.npz": bomb.getvalue()}
    bundle = write_bundle(tmp_path / "tiny", MANIFEST, files)
    with pytest.raises(BundleError, match="35184372088832 bytes: more than"):
        bundle.golden()


def test_the_same_input_gives_the_same_bytes_anywhere(tmp_path):
    for name in ("here", "there/deeper"):
        write_bundle(tmp_path / name, MANIFEST, FILES)
    assert everything(tmp_path / "here") == everything(tmp_path / "there/deeper")


def test_an_older_bundle_is_replaced_and_nothing_else_left(folder):
    write_bundle(folder, *version(b"newer"))
    assert open_bundle(folder).tflite == b"newer"
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_folder_of_somebody_s_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(BundleError, match="not empty, and no bundle"):
        write_bundle(tmp_path / "photos", MANIFEST, FILES)
    assert everything(tmp_path / "photos") == {"cat.jpg": b"cat"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_left_alone(tmp_path, kind):
    place = tmp_path / "place"
    place.write_text("mine") if kind == "file" else place.symlink_to(tmp_path)
    with pytest.raises(BundleError, match="in the way"):
        write_bundle(place, MANIFEST, FILES)
    assert place.is_symlink() if kind == "link" else place.read_text() == "mine"


def test_a_full_disk_leaves_the_old_bundle_whole(small_disk):
    write_bundle(small_disk / "tiny", MANIFEST, FILES)
    before = everything(small_disk)
    with pytest.raises(BundleError, match="no space left"):
        write_bundle(small_disk / "tiny", MANIFEST, {**FILES, "big": bytes(200_000)})
    assert everything(small_disk) == before
    open_bundle(small_disk / "tiny")


def drafts(folder: Path, model: bytes, **more):
    """Of two bundles, `more` in the second."""
    manifest, files = version(model)
    return [
        Draft(folder / "one", manifest, files),
        Draft(folder / "two", manifest, {**files, **more}),
    ]


@pytest.fixture
def two(tmp_path):
    write_bundles(drafts(tmp_path / "out", b"older"))
    return tmp_path / "out"


def test_a_full_disk_for_the_second_bundle_leaves_the_first_as_it_was(small_disk):
    write_bundles(drafts(small_disk, b"older"))
    before = everything(small_disk)
    with pytest.raises(BundleError, match="two: no space left on the disk; nothing was changed"):
        write_bundles(drafts(small_disk, b"newer", big=bytes(200_000)))
    assert everything(small_disk) == before
    assert sorted(p.name for p in small_disk.iterdir()) == ["one", "two"]


def test_folders_that_were_made_for_nothing_go_again(tmp_path):
    files = {**FILES, "docs/note.txt/below": b""}
    with pytest.raises(BundleError, match="cannot be written: File exists; nothing"):
        write_bundles([Draft(tmp_path / "a" / "b" / "c", MANIFEST, files)])
    assert not any(tmp_path.iterdir())


def test_what_is_in_the_way_of_one_keeps_all_from_being_written(two):
    (two / "two" / "mine").write_text("precious")
    before = everything(two)
    with pytest.raises(BundleError, match="two: has files that are not the bundle's"):
        write_bundles(drafts(two, b"newer"))
    assert everything(two) == before


def failing(monkeypatch, name, first, last, error):
    """Calls `first` to `last` of os.<name> raise."""
    real, calls = getattr(os, name), []

    def call(*arguments):
        calls.append(arguments)
        if first <= len(calls) <= last:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_failing_rename_puts_every_bundle_back(two, monkeypatch, number):
    before = everything(two)
    failing(monkeypatch, "rename", number, number, OSError(5, "Input/output error"))
    with pytest.raises(BundleError, match="Input/output error; nothing was changed"):
        write_bundles(drafts(two, b"newer"))
    monkeypatch.undo()
    assert everything(two) == before
    assert sorted(p.name for p in two.iterdir()) == ["one", "two"]


def test_what_cannot_be_put_back_is_kept_and_said(two, monkeypatch):
    failing(monkeypatch, "rename", 4, 99, OSError(5, "Input/output error"))
    with pytest.raises(BundleError, match="Not everything could be put back") as caught:
        write_bundles(drafts(two, b"newer"))
    monkeypatch.undo()
    old = next(p for p in two.iterdir() if p.name.startswith(".two.old."))
    assert f"what was in {two / 'two'} is now in {old}" in str(caught.value)
    assert "nothing was changed" not in str(caught.value)
    assert open_bundle(old).tflite == b"older"


WRITER = """
import json, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from test_bundle import drafts
from edgeq.bundle import write_bundles
signal.signal(signal.SIGTERM, signal.default_int_handler)
place, model, times = pathlib.Path(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])
print("ready", flush=True)
try:
    for i in range(times):
        write_bundles(drafts(place, model + str(i).encode(), big=bytes(i % 7 * 100_000)))
except KeyboardInterrupt:
    sys.exit(130)
"""


def writer(place: Path, model: str, times: int) -> subprocess.Popen[str]:
    arguments = [str(Path(__file__).parent), str(place), model, str(times)]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def assert_whole(place: Path):
    """Both bundles are there, of one writing, and nothing else."""
    assert sorted(p.name for p in place.iterdir()) == ["one", "two"]
    assert open_bundle(place / "one").tflite == open_bundle(place / "two").tflite


@pytest.mark.parametrize("milliseconds", [1, 3, 7, 15, 32, 64])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_at_any_time_leaves_whole_bundles_and_nothing_else(
    two, number, milliseconds
):
    with writer(two, "newer", 10**9) as process:
        time.sleep(milliseconds / 1000)
        process.send_signal(number)
        time.sleep(0.002)
        process.send_signal(number)  # People press Ctrl-C twice.
        assert process.wait(timeout=30) != 0
    assert_whole(two)


def test_writers_to_one_place_take_turns(tmp_path):
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer(tmp_path / "out", name, 40)) for name in "abc"]
        assert [process.wait(timeout=60) for process in writers] == [0, 0, 0]
    assert_whole(tmp_path / "out")


def edit(folder, **changes):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "model.tflite").write_bytes(b"other"), "was changed after the build"),
        (lambda f: (f / "model.tflite").unlink(), "No such file"),
        (lambda f: (f / "manifest.json").unlink(), "no bundle"),
        (lambda f: (f / "manifest.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda f: edit(f, schema="other"), "not a manifest of edgeq"),
        (lambda f: edit(f, schema_version=2), "manifest version 2"),
        (lambda f: edit(f, files=None), "incomplete"),
        (lambda f: edit(f, files={}), "does not list model.tflite"),
        (lambda f: edit(f, files={"../../etc/passwd": "0"}), "outside of the bundle"),
        (lambda f: edit(f, files={"/etc/passwd": "0"}), "outside of the bundle"),
        (lambda f: edit(f, golden={"count": 9, "reference": "", "exact": True}), "do not fit"),
        (lambda f: edit(f, golden={}), "incomplete"),
        (lambda f: edit(f, outputs=[{}]), "incomplete"),
        (lambda f: edit(f, outputs=3), "incomplete"),
        (lambda f: edit(f, model={}), "model.sha256 is not that of model.tflite"),
        (lambda f: edit(f, model={"sha256": "0" * 64}), "model.sha256 is not that of model.tflite"),
        (lambda f: edit(f, model="model.tflite"), "incomplete"),
        (lambda f: edit(f, target=None), "incomplete"),
        (lambda f: edit(f, scheme=["int8"]), "incomplete"),
        (lambda f: (f / "baseline_float32.tflite").write_bytes(b""), "nothing vouches for it"),
    ],
)
def test_a_damaged_bundle_is_refused_in_words(folder, damage, said):
    damage(folder)
    with pytest.raises(BundleError, match=said):
        open_bundle(folder).golden()


def test_a_file_of_a_bundle_is_known(folder, tmp_path):
    for name in ("manifest.json", "model.tflite", "docs/note.txt"):
        assert bundle_with(folder / name) == folder.resolve()
    (tmp_path / "link").symlink_to(folder / "model.tflite")
    assert bundle_with(tmp_path / "link") == folder.resolve()
    for path in (folder / "mine.json", folder.parent / "mine.json", Path("/")):
        assert bundle_with(path) is None


def test_a_web_extension_s_manifest_makes_no_bundle(tmp_path):
    mine = tmp_path / "android"
    (mine / "src").mkdir(parents=True)
    (mine / "manifest.json").write_text("{}")
    (mine / "src" / "work").write_text("precious")
    with pytest.raises(BundleError, match="left alone"):
        write_bundle(mine, MANIFEST, FILES)
    assert (mine / "src" / "work").read_text() == "precious"


def test_files_that_somebody_put_into_a_bundle_are_not_deleted(folder):
    (folder / "venv").mkdir()
    (folder / "venv" / "mine").write_text("precious")
    with pytest.raises(BundleError, match="venv/mine"):
        write_bundle(folder, MANIFEST, {**FILES, "model.tflite": b"newer"})
    assert (folder / "venv" / "mine").read_text() == "precious"


def test_one_who_keeps_a_place_to_himself_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "TURN_LIMIT", 0.2)
    opened = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(BundleError, match="another edgeq has been writing there for 0.2 s"):
            write_bundles(drafts(tmp_path, b"model"))
    finally:
        os.close(opened)
    assert not any(tmp_path.iterdir())
