"""What is installed of all that some command needs. Imports none of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from edgeq.extras import ONNX2TF, ONNX2TF_INSTALL, install_line

PROGRAM_LIMIT = 2.0
"""Seconds that a program may take to tell its version."""


@dataclass(frozen=True)
class Need:
    """A program or Python package, the versions that do, and what it is for.

    `commands` use it; it is `required` when they cannot do without. `extra` is edgeq's own that
    brings a package; `system` has a program's packages by the system's installer, `page` where to
    get it otherwise. A `variable` may name the program, or the folder that is needed.
    """

    name: str
    purpose: str
    commands: tuple[str, ...]
    required: bool = False
    wanted: str = ""
    module: str | None = None
    distributions: tuple[str, ...] = ()
    extra: str | None = None
    system: tuple[tuple[str, str], ...] = ()
    page: str = ""
    variable: str | None = None


_ARM_PAGE = "https://developer.arm.com/downloads/-/arm-gnu-toolchain-downloads"

_ARM_GCC = (
    ("apt-get", "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib"),
    ("dnf", "arm-none-eabi-gcc-cs-c++ arm-none-eabi-newlib"),
    ("pacman", "arm-none-eabi-gcc arm-none-eabi-newlib"),
    ("brew", "--cask gcc-arm-embedded"),
)

_QEMU = (
    ("apt-get", "qemu-system-arm"),
    ("dnf", "qemu-system-arm"),
    ("pacman", "qemu-system-arm"),
    ("brew", "qemu"),
)
_QEMU_PAGE = "https://www.qemu.org/download"

_INSTALLERS = {
    "apt-get": "sudo apt-get install",
    "dnf": "sudo dnf install",
    "pacman": "sudo pacman -S",
    "brew": "brew install",
}

NEEDS = (
    Need(
        "numpy",
        "all work on data",
        ("build", "bench", "eval", "inspect"),
        required=True,
        wanted=">=1.26",
        module="numpy",
    ),
    Need(
        "ai-edge-litert",
        "running models on this computer",
        ("build", "bench", "eval"),
        required=True,
        wanted=">=2.1",
        module="ai_edge_litert",
    ),
    Need(
        "flatbuffers",
        "writing .tflite files",
        ("build",),
        required=True,
        wanted=">=24.3",
        module="flatbuffers",
    ),
    Need(
        "pillow",
        "data that is a folder of images",
        ("build", "eval"),
        required=True,
        wanted=">=10.3",
        module="PIL",
    ),
    Need(
        "tensorflow",
        "opening Keras models and SavedModels; quantizing",
        ("init", "build", "bench", "eval", "inspect"),
        wanted=">=2.19,<2.22",
        module="tensorflow",
        distributions=("tensorflow", "tensorflow-cpu", "tensorflow-macos"),
        extra="tensorflow",
    ),
    Need(
        "litert-quantizer",
        "the schemes dynamic and float16",
        ("build",),
        wanted=">=0.11",
        module="litert_quantizer",
        extra="tensorflow",
    ),
    Need(
        "tflite-micro",
        "exact reference and arena size for microcontrollers",
        ("build", "eval"),
        wanted="==0.dev20261023182759",
        module="tflite_micro",
        extra="tflm",
    ),
    Need(
        "onnx",
        "opening ONNX models",
        ("init", "build", "bench", "eval", "inspect"),
        wanted=">=1.17",
        module="onnx",
        extra="onnx",
    ),
    Need(
        "onnxruntime",
        "what ONNX models are compared with",
        ("init", "build", "bench", "eval", "inspect"),
        wanted=">=1.20",
        module="onnxruntime",
        extra="onnx",
    ),
    Need(
        "onnx2tf",
        "converting ONNX models",
        ("init", "build", "bench", "eval", "inspect"),
        page=ONNX2TF_INSTALL,
        variable=ONNX2TF,
    ),
    Need(
        "torch",
        "opening PyTorch models, and what they are compared with",
        ("init", "build", "bench", "eval", "inspect"),
        wanted=">=2.9",
        module="torch",
        extra="torch",
    ),
    Need(
        "litert-torch",
        "converting PyTorch models",
        ("init", "build", "bench", "eval", "inspect"),
        wanted=">=0.10,<0.11",
        module="litert_torch",
        extra="torch",
    ),
    Need(
        "pyserial",
        "boards on a serial port",
        ("bench", "devices", "flash"),
        required=True,
        wanted=">=3.5",
        module="serial",
    ),
    Need(
        "adb",
        "phones",
        ("bench", "devices"),
        system=(
            ("apt-get", "adb"),
            ("dnf", "android-tools"),
            ("pacman", "android-tools"),
            ("brew", "android-platform-tools"),
        ),
        page="https://developer.android.com/tools/releases/platform-tools",
    ),
    Need(
        "ssh",
        "Raspberry Pis in the network",
        ("bench", "devices"),
        system=(
            ("apt-get", "openssh-client"),
            ("dnf", "openssh-clients"),
            ("pacman", "openssh"),
        ),
        page="https://www.openssh.com/portable.html",
    ),
    Need(
        "arm-none-eabi-gcc",
        "firmware images for microcontrollers",
        ("build",),
        wanted=">=12",
        system=_ARM_GCC,
        page=_ARM_PAGE,
    ),
    Need(
        "qemu-system-arm",
        "running firmware without a board",
        ("bench",),
        wanted=">=7",
        system=_QEMU,
        page=_QEMU_PAGE,
    ),
    Need(
        "arm-none-eabi-g++",
        "you: compiling the C++ of a cortex-m bundle",
        (),
        wanted=">=12",
        system=_ARM_GCC,
        page=_ARM_PAGE,
    ),
    Need(
        "gcc",
        "runners (engine aot) for this computer",
        ("build",),
        system=(("apt-get", "gcc libc6-dev"), ("pacman", "gcc")),
    ),
    Need(
        "aarch64-linux-gnu-gcc",
        "runners (engine aot) for 64-bit phones and Raspberry Pis",
        ("build",),
        system=(("apt-get", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),),
    ),
    Need(
        "arm-linux-gnueabihf-gcc",
        "runners (engine aot) for 32-bit phones and Raspberry Pis",
        ("build",),
        system=(("apt-get", "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"),),
    ),
    Need(
        "ziglang",
        "runners (engine aot) for all of these, in place of their compilers",
        ("build",),
        wanted=">=0.13",
        module="ziglang",
        extra="zig",
    ),
    Need(
        "distributed",
        "trials on a Dask cluster (--workers)",
        ("tune",),
        wanted=">=2024.8",
        module="distributed",
        extra="dask",
    ),
    Need(
        "Android NDK",
        "runners (engine aot) for phones, preferred where it is there",
        ("build",),
        page="https://developer.android.com/ndk/downloads, then ANDROID_NDK_HOME=FOLDER",
        variable="ANDROID_NDK_HOME",
    ),
)


@dataclass(frozen=True)
class Item:
    """A Need as it was found here. `fits` says whether it is there in a version that does.

    `version` is None when it is missing, or does not tell. `install` is the line that gets it.
    """

    name: str
    purpose: str
    commands: tuple[str, ...]
    required: bool
    found: bool
    version: str | None
    wanted: str
    fits: bool
    install: str


def examine(needs: Sequence[Need] = NEEDS) -> list[Item]:
    """Look for everything in `needs`, and for Python itself. Takes well under a second."""
    python = platform.python_version()
    items = [
        Item(
            name="python",
            purpose="everything",
            commands=("all",),
            required=True,
            found=True,
            version=python,
            wanted=">=3.11",
            fits=satisfies(python, ">=3.11"),
            install="https://www.python.org/downloads/",
        )
    ]
    for need in needs:
        found, version = _look_for(need)
        items.append(
            Item(
                name=need.name,
                purpose=need.purpose,
                commands=need.commands,
                required=need.required,
                found=found,
                version=version,
                wanted=need.wanted,
                fits=found and (version is None or satisfies(version, need.wanted)),
                install=_install_line(need),
            )
        )
    return items


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` is in `wanted`, as ">=2.19,<2.22" or "==1.0"; anything is in ""."""
    for bound in filter(None, wanted.split(",")):
        match = re.fullmatch(r"(>=|<|==)(.+)", bound)
        assert match, bound
        operator, limit = match.groups()
        if operator == "==" and version != limit:
            return False
        if operator == ">=" and _numbers(version) < _numbers(limit):
            return False
        if operator == "<" and _numbers(version) >= _numbers(limit):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """The release of "2.21.0rc1": (2, 21), without trailing zeros, so that 2.0 equals 2."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(n) for n in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _look_for(need: Need) -> tuple[bool, str | None]:
    if need.module:
        return _package(need)
    if need.variable:
        named = os.environ.get(need.variable) or need.name
        return os.path.isdir(named) or shutil.which(named) is not None, None
    return _program(need.name)


def _package(need: Need) -> tuple[bool, str | None]:
    """Whether Python finds the package, and its version; nothing is imported."""
    assert need.module
    if find_spec(need.module) is None:
        return False, None
    for distribution in need.distributions or (need.name,):
        try:
            return True, importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return True, None


def _program(name: str) -> tuple[bool, str | None]:
    path = shutil.which(name)
    if path is None:
        return False, None
    # "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205": the distribution's own comes first.
    line = re.sub(r"\([^)]*\)", "", _first_line([path, "--version"]))
    match = re.search(r"\d+\.\d+(?:\.\d+)*", line)
    return True, match[0] if match else None


def _first_line(command: list[str]) -> str:
    """The first line that `command` prints; nothing when it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROGRAM_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").partition("\n")[0]


def _install_line(need: Need) -> str:
    if need.extra:
        return install_line(need.extra)
    if need.module:
        return f"pip install '{need.name}{need.wanted}'"
    for installer, packages in need.system:
        if shutil.which(installer):
            return f"{_INSTALLERS[installer]} {packages}"
    return need.page or install_line("zig")
