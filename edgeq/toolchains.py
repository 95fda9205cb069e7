"""Which compiler makes static programs for a computer: a phone, a Raspberry Pi, this one.

In this order: clang of the Android NDK that ANDROID_NDK_HOME names; GCC, this computer's own or
Debian's cross compiler; zig from PyPI (the extra "zig"), which brings a C library for each.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgeq.errors import MissingProgram
from edgeq.extras import install_line
from edgeq.transports.process import run

NDK = "ANDROID_NDK_HOME"

_ASK_LIMIT = 10.0


@dataclass(frozen=True)
class Toolchain:
    """A C compiler: `command` is its argv up to where the user's options begin, with those that
    choose the processor."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class _Makers:
    """What makes programs for one architecture, by who brings it."""

    ndk: str
    gcc: str
    packages: str
    gcc_flags: tuple[str, ...]
    zig_flags: tuple[str, ...]


_MAKERS = {
    "aarch64": _Makers(
        ndk="aarch64-linux-android21-clang",
        gcc="aarch64-linux-gnu-gcc",
        packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        gcc_flags=(),
        zig_flags=("-target", "aarch64-linux-musl"),
    ),
    # Armv7-A with NEON: all Raspberry Pis from the 2 on, and all phones that Android 5 runs on but
    # those with a Tegra 2. No integer division: Cortex-A8 and A9 have none.
    "armv7": _Makers(
        ndk="armv7a-linux-androideabi21-clang",
        gcc="arm-linux-gnueabihf-gcc",
        packages="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
        gcc_flags=("-march=armv7-a", "-mfpu=neon", "-mfloat-abi=hard"),
        zig_flags=("-target", "arm-linux-musleabihf", "-mcpu=generic+v7a+neon"),
    ),
    "x86_64": _Makers(
        ndk="x86_64-linux-android21-clang",
        gcc="x86_64-linux-gnu-gcc",
        packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross",
        gcc_flags=(),
        zig_flags=("-target", "x86_64-linux-musl"),
    ),
}

ARCHITECTURES = tuple(_MAKERS)
"""Of the computers that programs can be made for."""

_MACHINES = {"aarch64": "aarch64", "arm64": "aarch64", "armv7l": "armv7", "x86_64": "x86_64"}
"""`uname -m` in our words."""


def host_arch() -> str | None:
    """The architecture of this computer's programs; None where none of ours runs on it."""
    if sys.platform != "linux":
        return None
    arch = _MACHINES.get(platform.machine())
    # A 32-bit system on a 64-bit kernel, as Raspberry Pi OS had it for a while.
    return "armv7" if arch == "aarch64" and sys.maxsize < 2**32 else arch


def find_toolchain(arch: str) -> Toolchain | None:
    """What makes static programs for `arch`, one of ARCHITECTURES; None when there is nothing."""
    makers = _MAKERS[arch]
    ndk = _ndk_compiler(makers.ndk)
    if ndk is not None:
        return Toolchain(makers.ndk, (ndk,))
    names = (makers.gcc, "gcc", "cc") if arch == host_arch() else (makers.gcc,)
    for name in names:
        if _links_statically(name):
            return Toolchain(name, (name, *makers.gcc_flags))
    if find_spec("ziglang") is not None:
        return Toolchain("zig cc", (sys.executable, "-m", "ziglang", "cc", *makers.zig_flags))
    return None


def require_toolchain(arch: str) -> Toolchain:
    """As find_toolchain. Raises MissingProgram, with what to install, when there is nothing."""
    found = find_toolchain(arch)
    if found is None:
        raise MissingProgram(f"no C compiler for {arch} is installed", hint=how_to_install(arch))
    return found


def how_to_install(arch: str) -> str:
    """What would make programs for `arch`, for a hint."""
    packages = "gcc libc6-dev" if arch == host_arch() else _MAKERS[arch].packages
    return (
        f"{install_line('zig')} (any system); or sudo apt-get install {packages} (Debian); or set "
        f"{NDK} to the folder of the Android NDK"
    )


def version_of(toolchain: Toolchain) -> str:
    """What the compiler calls itself: one line."""
    done = run(
        [*toolchain.command, "--version"], install=install_line("zig"), time_limit=_ASK_LIMIT
    )
    lines = done.output.splitlines()
    return lines[0] if done.code == 0 and lines else toolchain.name


def _ndk_compiler(name: str) -> str | None:
    folder = os.environ.get(NDK)
    if not folder:
        return None
    found = sorted(Path(folder).glob(f"toolchains/llvm/prebuilt/*/bin/{name}"))
    return str(found[0]) if found else None


def _links_statically(compiler: str) -> bool:
    """Whether the compiler is there, with the C library for static programs: on Fedora and others
    that is a package of its own."""
    if shutil.which(compiler) is None:
        return False
    argv = [compiler, "-print-file-name=libc.a"]
    done = run(argv, install=install_line("zig"), time_limit=_ASK_LIMIT)
    return done.code == 0 and os.path.isabs(done.output)
