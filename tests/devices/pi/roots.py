"""Debian roots for Arm, from packages: what a Raspberry Pi's OS is made of.

    python tests/devices/pi/roots.py arm64

They are fetched by an apt with folders of its own and unpacked by dpkg-deb. Nothing is emulated
for that, and no maintainer script runs: what those would have made, and what the tests need, is
written here. The result stays in a cache folder, under a name that changes with this file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
CORES = 4

_KEPT = 7 * 86400
"""Seconds that the root of another recipe stays: another checkout may use it."""

_PACKAGES = (
    "bash coreutils dash findutils gawk grep gzip hostname libc-bin libgomp1 libstdc++6 "
    "ncurses-base openssh-server procps python3 python3-pip python3-venv sed tar util-linux"
).split()


@dataclass(frozen=True)
class Architecture:
    """`name` as Debian has it. `wheels` are arguments of pip download; `links` are made by hand."""

    name: str
    machine: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()


ARCHITECTURES = {
    "arm64": Architecture(
        "arm64",
        "aarch64",
        (),
        (
            *(f"--platform=manylinux_2_{n}_aarch64" for n in (28, 27, 17)),
            "--platform=manylinux2014_aarch64",
            "ai-edge-litert==2.3.0",
            "numpy>=1.26",
            "pillow",
        ),
    ),
    "armhf": Architecture(
        "armhf",
        "armv7l",
        ("python3-numpy",),
        ("--platform=manylinux_2_34_armv7l", "--no-deps", "tflite-runtime==2.14.0"),
        # Which of several BLAS it is: update-alternatives, in a maintainer script.
        tuple(
            (f"usr/lib/arm-linux-gnueabihf/{name}.so.3", f"{folder}/{name}.so.3")
            for name, folder in (("libblas", "blas"), ("liblapack", "lapack"))
        ),
    ),
}

_SOURCE = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    "http://deb.debian.org/debian bookworm main\n"
)
"""Raspberry Pi OS of that name is made of it."""

_PASSWD = """\
root:x:0:0:root:/root:/bin/bash
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
pi:x:1000:1000:pi:/home/pi:/bin/bash
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
_GROUP = "root:x:0:\ntty:x:5:\npi:x:1000:\nnogroup:x:65534:\n"

_PIP = """\
[global]
no-index = true
find-links = /opt/wheels
disable-pip-version-check = true
"""
"""So that an install needs no network; the wheels are what PyPI has."""

_VCGENCMD = """\
#!/bin/sh
# Stands in for the Pi's own: the firmware is asked through a device that is not here.
case $1 in
get_throttled) echo "throttled=$(cat /etc/edgeq-test/throttled)" ;;
measure_temp) echo "temp=$(cat /etc/edgeq-test/temp)'C" ;;
*) echo 'error=1 error_msg="Command not registered"'; exit 255 ;;
esac
"""


def cache() -> Path:
    """Where what tests make stays between runs: EDGEQ_TEST_CACHE or ~/.cache/edgeq-tests."""
    folder = os.environ.get("EDGEQ_TEST_CACHE") or Path.home() / ".cache" / "edgeq-tests"
    return Path(folder)


def root(name: str) -> Path:
    """The root of the architecture `name`, made when it is not there yet."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    made = cache() / "pi" / f"{name}-{recipe}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{made.parent / name}.lock", timeout=280):
        if not made.exists():
            for old in made.parent.glob(f"{name}-*"):
                if time.time() - old.stat().st_mtime > _KEPT:
                    shutil.rmtree(old)
            new = made.parent / f"{name}-new"
            shutil.rmtree(new, ignore_errors=True)
            _make(ARCHITECTURES[name], new)
            new.rename(made)
    return made


def _make(architecture: Architecture, new: Path) -> None:
    archives = _download(architecture)
    for folder in ("usr/bin", "usr/lib", "usr/sbin", "proc", "dev", "tmp", "run/sshd", "root"):
        (new / folder).mkdir(parents=True)
    for folder in ("bin", "lib", "sbin"):
        (new / folder).symlink_to(f"usr/{folder}")
    (new / "tmp").chmod(0o1777)
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink'
    for archive in archives:
        _run("sh", "-c", unpack, "sh", str(archive), str(new))
    for link, target in architecture.links:
        (new / link).symlink_to(target)
    if not (new / "bin/sh").exists():
        (new / "bin/sh").symlink_to("dash")
    _write(new, "etc/passwd", _PASSWD)
    _write(new, "etc/group", _GROUP)
    _write(new, "etc/hostname", "raspberrypi\n")
    _write(new, "etc/pip.conf", _PIP)
    _write(new, "usr/bin/vcgencmd", _VCGENCMD).chmod(0o755)
    _write(new, "etc/edgeq-test/throttled", "0x0\n")
    _write(new, "etc/edgeq-test/temp", "47.2\n")
    _write(new, "etc/edgeq-test/cpuinfo", _cpuinfo(architecture))
    _make_sys(new / "sys")
    home = new / "home/pi"
    home.mkdir(parents=True)
    os.chown(home, 1000, 1000)
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
        *("--python-version=3.11", f"--dest={new / 'opt/wheels'}", *architecture.wheels),
    )

    _compile(new / "usr/lib")


def _compile(folder: Path) -> None:
    """Python's own modules, as its maintainer script would: emulated, that takes seconds a start.

    Only the same Python's files are of use there.
    """
    if sys.version_info[:2] == (3, 11):
        _run(sys.executable, "-m", "compileall", "-q", "-j2", f"-s{folder.parents[1]}", str(folder))


def _download(architecture: Architecture) -> list[Path]:
    """The packages' archives. This computer's own apt and dpkg are not touched."""
    folder = cache() / "pi" / f"apt-{architecture.name}"
    for each in ("lists/partial", "cache/archives/partial"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    name = architecture.name
    sources = _write(folder, "sources.list", _SOURCE)
    config = _write(
        folder,
        "apt.conf",
        f'APT::Architecture "{name}"; APT::Architectures {{"{name}";}};\n'
        f'Dir::State "{folder}"; Dir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache"; Dir::Etc::sourcelist "{sources}";\n'
        'Dir::Etc::sourceparts "/dev/null";\n'
        'APT::Sandbox::User "root"; APT::Install-Recommends "false";\n',
    )
    apt = ["env", f"APT_CONFIG={config}", "apt-get", "-qq", "-y"]
    _run(*apt, "update")
    archives = folder / "cache/archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    _run(*apt, "install", "--download-only", *_PACKAGES, *architecture.packages)
    return sorted(archives.glob("*.deb"))


def _cpuinfo(architecture: Architecture) -> str:
    """A Pi 4's: LiteRT reads it, and does not survive this computer's."""
    arm64 = architecture.name == "arm64"
    features = (
        "fp asimd evtstrm crc32 cpuid"
        if arm64
        else "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
    )
    core = (
        "processor\t: {}\nBogoMIPS\t: 108.00\n"
        f"Features\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: {8 if arm64 else 7}\n"
        "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    )
    board = "Hardware\t: BCM2711\nRevision\t: c03114\nSerial\t\t: 10000000abcdef01\n"
    cores = "".join(core.format(number) for number in range(CORES))
    return f"{cores}{board}Model\t\t: Raspberry Pi 4 Model B Rev 1.4\n"


def _make_sys(folder: Path) -> None:
    cpu = "devices/system/cpu"
    for name in ("online", "possible", "present"):
        _write(folder, f"{cpu}/{name}", f"0-{CORES - 1}\n")
    for number in range(CORES):
        frequency = f"{cpu}/cpu{number}/cpufreq"
        _write(folder, f"{frequency}/scaling_governor", "ondemand\n")
        _write(folder, f"{frequency}/cpuinfo_min_freq", "600000\n")
        _write(folder, f"{frequency}/cpuinfo_max_freq", "1800000\n")
        _write(folder, f"{frequency}/scaling_cur_freq", "1500000\n")
    _write(folder, "class/thermal/thermal_zone0/type", "cpu-thermal\n")
    _write(folder, "class/thermal/thermal_zone0/temp", "47226\n")


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    if done.returncode:
        raise RuntimeError(f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    print(root(sys.argv[1]))
