"""The interpreter on a machine: a bundle's requirements, in a virtual environment of edgeq's own.

    python = venvs.install(machine, requirements, notice=print)
    machine.start(f"exec {shlex.quote(python)} serve.py", folder)

It is made at the first use and stays, under a name that changes with the requirements and the
machine's Python. It gets its name when it is complete, so that a half-made one is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from edgeq.errors import BundleError, DeviceError, DeviceFault, EdgeqError, MissingProgram
from edgeq.protocol import printable
from edgeq.transports import process
from edgeq.transports.machine import Machine, Pushed

Notice = Callable[[str], None]

INSTALL_LIMIT = 1800.0
"""Seconds: a Pi Zero 2 W writes 140 MB to a slow card."""

DOWNLOAD_LIMIT = 900.0
_ASK_LIMIT = 60.0
_REMOVE_LIMIT = 120.0
_LEAST_KB = 64 * 1024
"""Free space below which that is why venv failed: it does not pass on what its pip says."""

_DF = r"^\S+ +\d+ +-?\d+ +(-?\d+) +\d+% .*$"

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)((?:[=<>!~]=?|===)[A-Za-z0-9.*+!,<>=~]+)?")
"""A name and its versions: no option of pip, no path, no URL."""

_ASK = (
    "import json,platform,struct,sys;print(json.dumps([platform.python_version(),"
    "platform.machine(),struct.calcsize('P')*8,platform.libc_ver()[1]]))"
)
_ANSWER = re.compile(
    r'\["(?P<python>\d+\.\d+\.\d+)[^"]{0,20}", "(?P<machine>[a-z0-9_]{1,20})", '
    r'(?P<bits>32|64), "(?P<libc>\d+\.\d+)?[^"]{0,20}"\]'
)


@dataclass(frozen=True)
class Python:
    """A machine's python3: its version, and what wheels call the processor that it is built for.

    `glibc` is the minor version of glibc 2; None for another C library.
    """

    version: str
    arch: str
    glibc: int | None

    @property
    def short(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def takes_system_packages(self) -> bool:
        """PyPI has no NumPy for 32-bit Arm: there it is the system's (python3-numpy)."""
        return self.arch == "armv7l"


def install(
    machine: Machine,
    requirements: str,
    *,
    notice: Notice,
    offline_wheels: bool = False,
    pushed: Pushed | None = None,
) -> str:
    """The path of the Python on `machine` that has `requirements` (a requirements.txt).

    `notice` is told when it has to be made first. With `offline_wheels` this computer fetches the
    packages, for a machine without internet. Raises DeviceFault for what the machine lacks.
    """
    lines = _lines(requirements)
    python = ask_python(machine)
    digest = hashlib.sha256("\n".join([*lines, python.version, python.arch]).encode()).hexdigest()
    venv = f"{machine.folder}/venv-{digest[:16]}"
    path = f"{venv}/bin/python"
    if machine.run(f"{shlex.quote(path)} -c ''", _ASK_LIMIT).code == 0:
        return path
    notice(
        f"{machine.name}: first use: installing {', '.join(lines)} into {venv}; later runs use it "
        "again"
    )
    wheels = download_wheels(lines, python) if offline_wheels else None
    part = f"{venv}.{secrets.token_hex(4)}.part"
    try:
        _make(machine, lines, python, part, wheels, pushed)
        target = shlex.quote(venv)
        # Another edgeq may have been quicker: then its is there, and as good.
        script = f"if {shlex.quote(path)} -c '' 2>/dev/null; then exit 0; fi; "
        script += f"rm -rf {target}.old; mv {target} {target}.old 2>/dev/null; "
        script += f"mv {shlex.quote(part)} {target}; code=$?; rm -rf {target}.old; exit $code"
        if machine.run(script, _REMOVE_LIMIT).code:
            raise DeviceFault(f"{machine.name}: {venv} cannot be made", hint="look at it there")
    finally:
        with contextlib.suppress(DeviceError):
            machine.run(f"rm -rf {shlex.quote(part)}", _REMOVE_LIMIT)
    return path


def ask_python(machine: Machine) -> Python:
    """What python3 is there. Raises DeviceFault when there is none."""
    ended = machine.run(f"python3 -c {shlex.quote(_ASK)}", _ASK_LIMIT)
    found = _ANSWER.fullmatch(ended.output.decode("ascii", errors="replace").strip())
    if not found:
        raise DeviceFault(
            f"{machine.name}: has no python3 that answers",
            hint="there: sudo apt install python3-venv; or build with --engine aot, which needs no "
            "Python",
        )
    arch = found["machine"]
    if found["bits"] == "32" and arch in ("aarch64", "armv8l"):
        arch = "armv7l"  # A 32-bit system under a 64-bit kernel, as Raspberry Pi OS often is.
    libc = found["libc"]
    glibc = int(libc.partition(".")[2]) if libc and libc.startswith("2.") else None
    return Python(found["python"], arch, glibc)


def download_wheels(lines: Sequence[str], python: Python) -> dict[str, bytes]:
    """The wheels of `lines` and of what they need, for `python`, fetched by this computer's pip.

    They are kept in this user's cache folder. Raises MissingProgram without pip, EdgeqError.
    """
    digest = hashlib.sha256("\n".join([*lines, repr(python)]).encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("edgeq")) / "wheels" / digest
    if not folder.is_dir():
        part = folder.with_name(f"{digest}.{secrets.token_hex(4)}.part")
        part.mkdir(parents=True)
        try:
            _download(lines, python, part)
            with contextlib.suppress(OSError):  # Another edgeq was quicker.
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.whl"))}


def _download(lines: Sequence[str], python: Python, folder: Path) -> None:
    tag = python.short.replace(".", "")
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    argv += ["--disable-pip-version-check", "--only-binary=:all:", f"--dest={folder}"]
    argv += [f"--python-version={python.short}", "--implementation=cp"]
    argv += [f"--abi={abi}" for abi in (f"cp{tag}", "abi3", "none")]
    argv += [f"--platform={name}" for name in _platforms(python)]
    if python.takes_system_packages:
        argv += ["--no-deps"]
        lines = [line for line in lines if not line.startswith("numpy")]
    pip = "install pip for this Python: python -m ensurepip"
    done = process.run([*argv, *lines], install=pip, time_limit=DOWNLOAD_LIMIT, output_limit=8000)
    if done.code == 0:
        return
    if "No module named pip" in done.output:
        raise MissingProgram("pip is not installed here: no wheels can be fetched", hint=pip)
    if done.code is None:
        raise EdgeqError(f"wheels were not fetched within {DOWNLOAD_LIMIT:g} s", hint=_TRY_PIP)
    raise _pip_error("this computer", python, done.output, _TRY_PIP)


def _make(
    machine: Machine,
    lines: Sequence[str],
    python: Python,
    part: str,
    wheels: dict[str, bytes] | None,
    pushed: Pushed | None,
) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    machine.push({"requirements.txt": text}, part, pushed)
    source = ""
    if wheels is not None:
        machine.push(wheels, f"{part}/wheels", pushed)
        source = "--no-index --find-links wheels"
    system = "--system-site-packages" if python.takes_system_packages else ""
    # A Pi's /tmp may be a small one in memory.
    script = (
        f"export LC_ALL=C.UTF-8 TMPDIR={shlex.quote(part)}/tmp\n"
        f"exec 2>&1; cd {shlex.quote(part)} && mkdir -p tmp || exit 1\n"
        f"trap 'df -Pk . | sed -n 2p' EXIT\n"
        f"python3 -m venv {system} . || exit 1\n"
        "bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-cache-dir "
        f"--retries 1 --timeout 20 --only-binary=:all: {source} -r requirements.txt "
        "|| exit 1\n"
        "rm -rf wheels tmp\n"
    )
    ended = machine.run(script, INSTALL_LIMIT)
    if ended.code == 0:
        return
    said = ended.output.decode("utf-8", errors="replace")
    free = re.search(_DF, said, re.MULTILINE)
    if "exit status" in said and free and int(free[1]) < _LEAST_KB:
        raise _no_space(machine.name)
    if re.search(r"ensurepip is not|No module named '?(venv|pip|ensurepip)", said):
        raise DeviceFault(
            f"{machine.name}: its Python {python.short} has no venv and pip",
            hint="there: sudo apt install python3-venv",
        )
    raise _pip_error(machine.name, python, said, _OFFLINE)


_OFFLINE = "--offline-wheels fetches the packages with this computer instead, and sends them"
_TRY_PIP = "check this computer's network, and pip's settings: pip config list"
_NETWORK = (
    "Temporary failure in name resolution|Name or service not known|NewConnectionError|"
    "Connection refused|Network is unreachable|No route to host|ConnectTimeout|Read timed out|"
    "Max retries exceeded|ProxyError"
)


def _pip_error(where: str, python: Python, said: str, without_network: str) -> DeviceFault:
    if "No space left" in said or "Disk quota exceeded" in said:
        return _no_space(where)
    if re.search(_NETWORK, said):
        return DeviceFault(f"{where}: pip reaches no package index", hint=without_network)
    missing = re.findall(r"No matching distribution found for ([\w.<>=!~, -]{1,80})", said)
    if missing:
        wanted = missing[-1].strip()
        numpy = wanted.startswith("numpy") and python.takes_system_packages
        return DeviceFault(
            f"{where}: there is no {wanted} for Python {python.short} on {python.arch}",
            hint="there: sudo apt install python3-numpy"
            if numpy
            else "the bundle's requirements.txt tells which systems and Pythons there are wheels "
            "for; or build with --engine aot, which needs no Python",
        )
    if "Permission denied" in said:
        return DeviceFault(
            f"{where}: the packages may not be written", hint="whose is ~/.cache there?"
        )
    last = [x for x in said.splitlines() if x.strip() and not re.search(_DF, x)][-1:] or [
        "no reason given"
    ]
    text = printable(last[0].encode(errors="replace"))[:300]
    return DeviceFault(f"{where}: pip did not install: {text}", hint="try it by hand there")


def _no_space(where: str) -> DeviceFault:
    return DeviceFault(
        f"{where}: no space left for the packages; nothing was installed",
        hint="they take 150 MB: free some ('df -h' says where), edgeq's own is ~/.cache/edgeq",
    )


def _platforms(python: Python) -> list[str]:
    """The wheels' names for its system: manylinux by glibc 2.N, down to that of 2014."""
    first = [f"manylinux_2_{n}_{python.arch}" for n in range(python.glibc or 17, 16, -1)]
    return [*first, f"manylinux2014_{python.arch}", f"linux_{python.arch}"]


def _lines(requirements: str) -> list[str]:
    """The requirements, without comments. Raises BundleError for what is not a mere package."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in requirements.splitlines()]
    found = [line.replace(" ", "") for line in lines if line]
    for line in found:
        if not _REQUIREMENT.fullmatch(line):
            raise BundleError(
                f"requirements.txt: {line[:80]!r} is not a package and its versions",
                hint="build the bundle again; edgeq installs nothing else on a machine",
            )
    return found
