import io
import json
import os
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeq.bundle import golden_files, open_bundle, write_bundle
from edgeq.errors import BundleError
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
    "inputs": [{"name": "x"}],
    "outputs": [{"name": "y", "tolerance_steps": 1}],
    "model": {},
    "golden": {"count": 3, "reference": "by hand", "exact": True},
}
FILES = {"model.tflite": b"model", "docs/note.txt": "hello\n", **golden_files(GOLDEN)}


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "out" / "tiny", MANIFEST, FILES)
    return tmp_path / "out" / "tiny"


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
    write_bundle(folder, MANIFEST, {**FILES, "model.tflite": b"newer"})
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


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_old_bundle_whole(small_disk):
    write_bundle(small_disk / "tiny", MANIFEST, FILES)
    before = everything(small_disk)
    with pytest.raises(BundleError, match="no space left"):
        write_bundle(small_disk / "tiny", MANIFEST, {**FILES, "big": bytes(200_000)})
    assert everything(small_disk) == before
    open_bundle(small_disk / "tiny")


def test_an_interruption_leaves_the_old_bundle_whole(folder, monkeypatch):
    before = everything(folder.parent)
    written = []

    def interrupted(self, content):
        written.append(self)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(folder, MANIFEST, {**FILES, "model.tflite": b"newer"})
    monkeypatch.undo()
    assert everything(folder.parent) == before


def test_a_failing_rename_puts_the_old_bundle_back(folder, monkeypatch):
    before = everything(folder.parent)
    real, calls = os.rename, []

    def rename(a, b):
        calls.append(a)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(a, b)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(BundleError, match="Input/output error"):
        write_bundle(folder, MANIFEST, {**FILES, "model.tflite": b"newer"})
    monkeypatch.undo()
    assert everything(folder.parent) == before


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
    ],
)
def test_a_damaged_bundle_is_refused_in_words(folder, damage, said):
    damage(folder)
    with pytest.raises(BundleError, match=said):
        open_bundle(folder).golden()


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
