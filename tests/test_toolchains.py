"""Which compiler makes programs for a computer, and what it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from make_model import tiny_int8

from edgeq import resources, toolchains
from edgeq.bundle import open_bundle
from edgeq.cli import run
from edgeq.errors import MissingProgram
from edgeq.runner import command_line
from edgeq.toolchains import ARCHITECTURES, Toolchain, find_toolchain, host_arch, require_toolchain


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, and no zig and no NDK."""
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchains, "find_spec", lambda name: None)
    monkeypatch.setattr(toolchains, "host_arch", lambda: "x86_64")
    return tmp_path


def compiler(path: Path, library: str = "/usr/lib/libc.a") -> Path:
    """A program that says where its C library is, and does nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {library}\n")
    path.chmod(0o755)
    return path


def test_debian_s_cross_compilers(folder):
    compiler(folder / "aarch64-linux-gnu-gcc")
    compiler(folder / "arm-linux-gnueabihf-gcc")
    assert find_toolchain("aarch64") == Toolchain(
        "aarch64-linux-gnu-gcc", ("aarch64-linux-gnu-gcc",)
    )
    assert find_toolchain("armv7") == Toolchain(
        "arm-linux-gnueabihf-gcc",
        ("arm-linux-gnueabihf-gcc", "-march=armv7-a", "-mfpu=neon", "-mfloat-abi=hard"),
    )
    assert find_toolchain("x86_64") is None


def test_this_computer_s_own_compiler_is_for_this_computer_only(folder):
    compiler(folder / "cc")
    assert find_toolchain("x86_64") == Toolchain("cc", ("cc",))
    assert find_toolchain("aarch64") is None
    compiler(folder / "gcc")
    assert find_toolchain("x86_64") == Toolchain("gcc", ("gcc",))


def test_a_compiler_without_its_static_library_will_not_do(folder):
    """GCC prints the bare name of what it does not find."""
    compiler(folder / "gcc", "libc.a")
    assert find_toolchain("x86_64") is None


def test_the_ndk_comes_first(folder, monkeypatch):
    compiler(folder / "aarch64-linux-gnu-gcc")
    binaries = folder / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin"
    clang = compiler(binaries / "aarch64-linux-android21-clang")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(folder / "ndk"))
    found = Toolchain("aarch64-linux-android21-clang", (str(clang),))
    assert find_toolchain("aarch64") == found
    assert find_toolchain("armv7") is None
    clang = compiler(binaries / "armv7a-linux-androideabi21-clang")
    assert find_toolchain("armv7") == Toolchain("armv7a-linux-androideabi21-clang", (str(clang),))


def test_an_ndk_that_is_not_there_is_no_obstacle(folder, monkeypatch):
    compiler(folder / "aarch64-linux-gnu-gcc")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(folder / "nowhere"))
    assert find_toolchain("aarch64").name == "aarch64-linux-gnu-gcc"


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("aarch64", ("-target", "aarch64-linux-musl")),
        ("armv7", ("-target", "arm-linux-musleabihf", "-mcpu=generic+v7a+neon")),
        ("x86_64", ("-target", "x86_64-linux-musl")),
    ],
)
def test_zig_comes_last(folder, monkeypatch, arch, options):
    monkeypatch.setattr(toolchains, "find_spec", lambda name: name == "ziglang" or None)
    argv = (sys.executable, "-m", "ziglang", "cc", *options)
    assert find_toolchain(arch) == Toolchain("zig cc", argv)
    names = {"aarch64": "aarch64-linux-gnu-gcc", "armv7": "arm-linux-gnueabihf-gcc"}
    compiler(folder / names.get(arch, "gcc"))
    assert find_toolchain(arch).name != "zig cc"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_missing_is_said_with_what_to_install(folder, arch):
    with pytest.raises(MissingProgram, match=f"no C compiler for {arch}") as e:
        require_toolchain(arch)
    packages = {
        "aarch64": "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        "armv7": "apt-get install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
        "x86_64": "apt-get install gcc libc6-dev",
    }
    assert packages[arch] in e.value.hint
    assert "ANDROID_NDK_HOME" in e.value.hint and "pip install" in e.value.hint


@pytest.mark.parametrize(
    ("system", "machine", "largest", "arch"),
    [
        ("linux", "x86_64", 2**63 - 1, "x86_64"),
        ("linux", "aarch64", 2**63 - 1, "aarch64"),
        ("linux", "aarch64", 2**31 - 1, "armv7"),
        ("linux", "armv7l", 2**31 - 1, "armv7"),
        ("linux", "riscv64", 2**63 - 1, None),
        ("darwin", "arm64", 2**63 - 1, None),
    ],
)
def test_this_computer(monkeypatch, system, machine, largest, arch):
    monkeypatch.setattr("edgeq.toolchains.platform.machine", lambda: machine)
    monkeypatch.setattr("edgeq.toolchains.sys.platform", system)
    monkeypatch.setattr("edgeq.toolchains.sys.maxsize", largest)
    assert host_arch() == arch


def test_the_command_line():
    runtime = resources.path("runtime")
    made = command_line(
        Toolchain("gcc", ("gcc", "-march=x")),
        Path("/f"),
        ("net.c", "eq_model.c"),
        Path("/f/runner"),
    )
    harness = [str(p) for p in sorted((runtime / "harness").glob("*.c"))]
    assert made == [
        *("gcc", "-march=x", "-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra"),
        *("-ffunction-sections", "-fdata-sections", "-static", "-Wl,--gc-sections", "-s"),
        *("-DEDGEQ_LINE_SIZE=4096", "-DEDGEQ_TICK_COUNT=1024"),
        *(f"-I{runtime}/include", f"-I{runtime}/harness", f"-I{runtime}/ports", "-I/f"),
        *(f"{runtime}/ports/main.c", f"{runtime}/runners/posix/board.c", *harness),
        *("/f/net.c", "/f/eq_model.c", "-o", "/f/runner"),
    ]
    assert harness


def build(tmp_path: Path, *targets: str) -> Path:
    (tmp_path / "net.tflite").write_bytes(tiny_int8())
    command = ["build", str(tmp_path / "net.tflite"), "--engine", "aot", "-o", str(tmp_path / "b")]
    assert run([*command, *(word for t in targets for word in ("-t", t))]) == 0
    return tmp_path / "b"


def test_a_bundle_has_its_runner_and_says_what_made_it(tmp_path, capfd):
    if find_toolchain("aarch64") is None:
        pytest.skip("needs a C compiler for aarch64")
    bundles = build(tmp_path, "rpi", "android")
    for name, address in (("rpi", "ssh:pi@raspberrypi"), ("android", "adb:auto")):
        bundle = open_bundle(bundles / name)
        assert bundle.manifest["engine"] == "aot" and bundle.manifest["golden"]["exact"]
        assert "TensorFlow Lite Micro" in bundle.manifest["golden"]["reference"]
        facts = bundle.manifest["runner"]
        assert (facts["file"], facts["arch"]) == ("runner", "aarch64") and facts["compiler"]
        assert (bundle.folder / "runner").read_bytes().startswith(b"\x7fELF")
        readme = (bundle.folder / "README.md").read_text()
        assert f"edgeq bench {name} --device {address} --profile" in readme
        assert "--engine aot" in readme and "arm-none-eabi" not in readme
        files = {p.name for p in bundle.folder.iterdir()}
        assert files == {
            "README.md", "aot", "golden", "manifest.json", "model.tflite", "runner"
        }  # fmt: skip
    assert "a program for aarch64 that answers on stdin and stdout" in capfd.readouterr().out


def test_the_network_in_c_of_a_bundle_builds_alone(tmp_path):
    if host_arch() is None or find_toolchain(host_arch()) is None:
        pytest.skip("needs a C compiler")
    folder = build(tmp_path, "host") / "host" / "aot"
    flags = "CFLAGS=-O2 -ffp-contract=off -Werror"
    subprocess.run(["make", "-C", folder, flags], check=True, capture_output=True, timeout=120)
    assert (folder / "libnet_network.a").is_file()
    (folder / "main.c").write_text(
        '#include "net_io.h"\n#include "net_golden.h"\nint main(void) { return 0; }\n'
    )
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "main.c", "-o", "main.o"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_there_is_a_bundle_without_a_runner(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("edgeq.building.find_toolchain", lambda arch: None)
    bundle = open_bundle(build(tmp_path, "rpi-armv7") / "rpi-armv7")
    assert bundle.manifest["runner"] is None and not (bundle.folder / "runner").exists()
    assert (bundle.folder / "aot" / "net.c").is_file()
    said = capfd.readouterr().err
    assert "no runner: no C compiler for armv7 is installed" in said
    assert "gcc-arm-linux-gnueabihf" in said
    assert "edgeq bench" not in (bundle.folder / "README.md").read_text()


def test_a_runner_that_the_manifest_does_not_list_is_refused(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("edgeq.building.find_toolchain", lambda arch: None)
    folder = build(tmp_path, "rpi") / "rpi"
    (folder / "runner").write_bytes(b"x")
    assert run(["bench", str(folder)]) == 1
    assert "runner: not in manifest.json" in capfd.readouterr().err


def test_litert_stays_the_default(tmp_path):
    (tmp_path / "net.tflite").write_bytes(tiny_int8())
    command = ["build", str(tmp_path / "net.tflite"), "-o", str(tmp_path / "b"), "-t", "rpi"]
    assert run(command) == 0
    bundle = open_bundle(tmp_path / "b" / "rpi")
    assert bundle.manifest["engine"] == "litert" and bundle.manifest["runner"] is None
    assert (bundle.folder / "run.py").is_file() and not (bundle.folder / "aot").exists()
