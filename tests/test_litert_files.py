"""What engine litert needs on a Pi and on a phone: files, command lines, and what is refused."""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_elf import header

from edgeq import litert_files
from edgeq.errors import MissingProgram, UsageError
from edgeq.litert_files import (
    UNVERIFIED,
    Job,
    Library,
    build_runner,
    fetch_library,
    in_python,
    on_android,
    on_linux,
    user_library,
)
from edgeq.machines import deploy, folder_of, remove
from edgeq.toolchains import host_arch
from edgeq.transports.local import LocalMachine
from edgeq.transports.process import Finished

JOB = Job(b"TFL3", "a; rm -rf ~", "rpi", threads=4)
OPTIONS = ("model.tflite", "rpi", "--name", "a; rm -rf ~", "--threads", "4", "--kernels", "xnnpack")


def test_a_pi_with_its_own_library():
    runner = on_linux(JOB, b"runner", "/home/pi/v/libLiteRt.so", "2.3.0")

    assert runner.files == {"litert-runner": b"runner", "model.tflite": b"TFL3"}
    assert runner.argv == ("./litert-runner", "/home/pi/v/libLiteRt.so", *OPTIONS)
    assert runner.engine_version == "2.3.0"
    assert runner.notes == ()


def test_a_pi_without_internet_is_given_the_library():
    runner = on_linux(JOB, b"runner", Library(b"lib", "2.3.0"))

    assert runner.files["libLiteRt.so"] == b"lib"
    assert runner.argv[:2] == ("./litert-runner", "./libLiteRt.so")
    assert runner.engine_version == "2.3.0"


def test_a_phone_is_given_a_loader_and_told_that_nobody_tried():
    glibc = {"ld-linux-aarch64.so.1": b"loader", "libc.so.6": b"c"}
    runner = on_android(JOB, b"runner", Library(b"lib", "2.3.0"), glibc)

    assert runner.files.keys() == {"litert-runner", "model.tflite", "libLiteRt.so", *glibc}
    start = ("./ld-linux-aarch64.so.1", "--library-path", ".", "./litert-runner", "./libLiteRt.so")
    assert runner.argv == (*start, *OPTIONS)
    assert runner.notes == (UNVERIFIED,) and "unverified on hardware" in UNVERIFIED


def test_a_phone_with_its_own_library_needs_no_loader():
    runner = on_android(JOB, b"runner", Library(b"lib", None), None)

    assert runner.argv == ("./litert-runner", "./libLiteRt.so", *OPTIONS)
    assert runner.notes == ()


def test_a_pi_with_python():
    job = Job(b"TFL3", "net", "rpi-armv7", kernels="builtin")
    runner = in_python(job, "/home/pi/.cache/edgeq/v/bin/python", "2.14.0")

    assert runner.argv[:3] == ("/home/pi/.cache/edgeq/v/bin/python", "serve.py", "model.tflite")
    assert runner.argv[-2:] == ("--kernels", "builtin")
    assert b"def main" in runner.files["serve.py"]


# --- The compiled runner ------------------------------------------------------------------------


def test_compiled_once(tmp_path, monkeypatch):
    made = build_runner(host_arch(), cache=tmp_path)
    monkeypatch.setattr(litert_files, "call", lambda argv: pytest.fail(f"compiled again: {argv}"))

    assert build_runner(host_arch(), cache=tmp_path) == made
    assert not list(tmp_path.rglob(".part-*"))


def test_a_damaged_cache_is_compiled_again(tmp_path):
    made = build_runner(host_arch(), cache=tmp_path)
    (kept,) = (p for p in tmp_path.rglob("litert-runner-*") if p.suffix != ".sha256")
    kept.write_bytes(made[:-100])

    assert build_runner(host_arch(), cache=tmp_path) == made


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "litert").write_text("in the way")

    assert build_runner(host_arch(), cache=tmp_path)[:4] == b"\x7fELF"


def test_no_compiler_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(litert_files, "find_spec", lambda name: None)

    with pytest.raises(MissingProgram, match="no C compiler for aarch64") as error:
        build_runner("aarch64", cache=tmp_path)
    assert "apt-get install gcc-aarch64-linux-gnu" in str(error.value.hint)


def test_androids_own_library_needs_the_ndk(monkeypatch):
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    with pytest.raises(MissingProgram, match="Android NDK"):
        build_runner("aarch64", for_android=True)


# --- The library --------------------------------------------------------------------------------


def wheel(folder: Path, content: bytes, inside: str = "ai_edge_litert/libLiteRt.so") -> None:
    with zipfile.ZipFile(folder / "ai_edge_litert-9-py3-none-any.whl", "w") as archive:
        archive.writestr(inside, content)


def pip(monkeypatch, write, code=0, output="") -> list[list[str]]:
    """What stands for pip, and the command lines that it got."""
    seen: list[list[str]] = []

    def run(argv, **_):
        seen.append(list(argv))
        if write:
            write(Path(argv[argv.index("--dest") + 1]))
        return Finished(" ".join(argv), code, output)

    monkeypatch.setattr(litert_files, "run", run)
    return seen


def test_the_library_is_fetched_once_and_for_this_version(tmp_path, monkeypatch):
    content = header(183, 64, kind=3)
    seen = pip(monkeypatch, lambda folder: wheel(folder, content))

    found = [fetch_library(cache=tmp_path) for _ in range(2)]

    assert found == [Library(content, version("ai-edge-litert"))] * 2
    (argv,) = seen
    assert argv[:4] == [sys.executable, "-m", "pip", "download"]
    assert argv[-1] == f"ai-edge-litert=={version('ai-edge-litert')}"
    assert "--only-binary=:all:" in argv and "manylinux_2_28_aarch64" in argv


def test_offline_is_told_with_what_to_do(tmp_path, monkeypatch):
    pip(monkeypatch, None, code=1, output="ERROR: No matching distribution found")
    with pytest.raises(UsageError, match="could not be fetched: ERROR: No matching") as error:
        fetch_library("2.3.0", tmp_path)
    assert "install ai-edge-litert on the device" in str(error.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_pip_that_hangs_is_told(tmp_path, monkeypatch):
    pip(monkeypatch, None, code=None)
    with pytest.raises(UsageError, match="did not end within 300 s"):
        fetch_library("2.3.0", tmp_path)


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda f: wheel(f, header(62, 64)), "libLiteRt.so is for x86_64"),
        (lambda f: wheel(f, b"text"), "not an ELF file"),
        (lambda f: wheel(f, b"", "other"), "has no ai_edge_litert/libLiteRt.so"),
        (lambda f: (f / "x.whl").write_bytes(b"PK"), "has no ai_edge_litert/libLiteRt.so"),
    ],
    ids=["x86", "text", "without", "damaged"],
)
def test_another_wheel_is_refused_and_not_kept(write, message, tmp_path, monkeypatch):
    pip(monkeypatch, write)
    with pytest.raises(UsageError, match=message):
        fetch_library("2.3.0", tmp_path)
    assert not list(tmp_path.rglob("*.so"))


def test_the_users_own_library(tmp_path):
    path = tmp_path / "libLiteRt.so"
    path.write_bytes(header(183, 64, kind=3))
    assert user_library(path, "aarch64") == Library(path.read_bytes(), None)

    path.write_bytes(header(40, 32, kind=3))
    with pytest.raises(UsageError, match="is for armv7 .*the device is aarch64"):
        user_library(path, "aarch64")
    with pytest.raises(UsageError, match="cannot be read"):
        user_library(tmp_path, "aarch64")
    with pytest.raises(UsageError, match="cannot be read"):
        user_library(tmp_path / "none", "aarch64")


def test_a_library_for_linux_is_none_for_android():
    spec = find_spec("ai_edge_litert")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "libLiteRt.so"
    with pytest.raises(UsageError, match="is a library for Linux, not for Android"):
        user_library(path, "x86_64")


def test_names_that_machines_take():
    machine = LocalMachine()
    machine.open()
    names = ("ld-linux-aarch64.so.1", "libstdc++.so.6")
    glibc = {n: n.encode() for n in names}
    files = on_android(JOB, b"r", Library(b"l", None), glibc).files
    try:
        folder = folder_of(machine, files)
        deploy(machine, files, folder)
        assert all((Path(folder) / n).stat().st_mode & stat.S_IXUSR for n in files)
        remove(machine, folder)
    finally:
        machine.close()


def test_a_library_that_never_ends_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="it is no file"):
            user_library(path, "aarch64")
