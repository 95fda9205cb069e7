"""What must be on a computer for engine litert, and how it is started there.

    aarch64 Linux    litert-runner (C), with libLiteRt.so of the machine's ai-edge-litert, or ours
    Android          the same two, glibc's loader and the libraries they need: LiteRT publishes no
                     library for Android on PyPI; or the user's own library and the NDK's compiler
    armv7 Linux      serve.py, with the interpreter for Python that the machine has

Where files come from is one thing (`fetch_library`, `build_runner`, `glibc_files`), a Runner of
them another (`on_linux`, `on_android`, `in_python`): these touch nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from edgeq import resources
from edgeq.compiling import call
from edgeq.elf import read_elf, require_arch
from edgeq.errors import MissingProgram, UsageError
from edgeq.extras import install_line
from edgeq.graph import Graph
from edgeq.machines import Runner
from edgeq.toolchains import NDK, Toolchain, find_toolchain, host_arch
from edgeq.transports.process import run

PACKAGE = "ai-edge-litert"
LIBRARY = "libLiteRt.so"
RUNNER = "litert-runner"
SERVER = "serve.py"
MODEL = "model.tflite"
LOADER = "ld-linux-aarch64.so.1"

UNVERIFIED = (
    "LiteRT's library for Linux ran with glibc's loader; this way is unverified on hardware, and "
    "an app on the same phone uses another build of LiteRT"
)

_FETCH_LIMIT = 300.0
_ASK_LIMIT = 10.0
_MAX_LIBRARY = 1 << 28
_INSTALL = "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
_FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-s")
_ZIG = {"aarch64": "aarch64-linux-gnu.2.31", "x86_64": "x86_64-linux-gnu.2.31"}
"""An older glibc than any that LiteRT's library takes."""


@dataclass(frozen=True)
class Library:
    """libLiteRt.so, and LiteRT's version where it is known."""

    content: bytes
    version: str | None


def cache_folder() -> Path:
    """Where what was fetched or compiled is kept: edgeq's folder in this user's cache."""
    return Path(platformdirs.user_cache_dir("edgeq"))


# --- The library --------------------------------------------------------------------------------


def fetch_library(wanted: str | None = None, cache: Path | None = None) -> Library:
    """LiteRT's library for aarch64, of the wheel `wanted`, else of this computer's version.

    From the cache, or by pip, which holds the wheel to the index's SHA-256. Raises UsageError.
    """
    wanted = wanted or version(PACKAGE)
    folder = (cache or cache_folder()) / "litert"
    path = folder / f"{PACKAGE}-{wanted}-aarch64.so"
    kept = _read_kept(path)
    if kept is not None:
        return Library(kept, wanted)
    content = _from_wheel(wanted)
    require_arch(read_elf(content, f"{LIBRARY} of {PACKAGE} {wanted}"), "aarch64", LIBRARY)
    _keep(path, content)
    return Library(content, wanted)


def user_library(path: Path, arch: str) -> Library:
    """The user's own library, for Android. Raises UsageError for what `arch` cannot load."""
    try:
        if path.exists() and not path.is_file():
            raise UsageError(
                f"{path} cannot be read: it is no file", hint=f"--litert-lib takes {LIBRARY}"
            )
        if path.stat().st_size > _MAX_LIBRARY:
            raise UsageError(f"{path}: beyond {_MAX_LIBRARY >> 20} MiB", hint=f"is it {LIBRARY}?")
        content = path.read_bytes()
    except OSError as e:
        raise UsageError(
            f"{path}: cannot be read: {e.strerror or e}", hint="--litert-lib takes libLiteRt.so"
        ) from e
    elf = read_elf(content, str(path))
    require_arch(elf, arch, str(path))
    if "libc.so.6" in elf.needed:
        raise UsageError(
            f"{path} is a library for Linux, not for Android",
            hint="leave --litert-lib out: edgeq brings a loader for that one",
        )
    return Library(content, None)


def _from_wheel(wanted: str) -> bytes:
    digits = f"{sys.version_info.major}{sys.version_info.minor}"
    with tempfile.TemporaryDirectory(prefix="edgeq-wheel-") as name:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        argv += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", name]
        argv += ["--implementation", "cp", "--abi", f"cp{digits}", "--python-version", digits]
        for glibc in ("2_28", "2_27", "2_17"):
            argv += ["--platform", f"manylinux_{glibc}_aarch64"]
        argv.append(f"{PACKAGE}=={wanted}")
        done = run(argv, install="pip is part of Python", time_limit=_FETCH_LIMIT)
        wheels = list(Path(name).glob("*.whl"))
        if done.code != 0 or len(wheels) != 1:
            late = f"pip did not end within {_FETCH_LIMIT:g} s"
            said = late if done.code is None else done.output[-300:]
            raise UsageError(
                f"{PACKAGE} {wanted} for aarch64 could not be fetched: {said}",
                hint=f"on a computer with internet: {done.command[:400]}; or install "
                f"{PACKAGE} on the device",
            )
        return _member(wheels[0])


def _member(wheel: Path) -> bytes:
    inside = f"ai_edge_litert/{LIBRARY}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(inside).file_size > _MAX_LIBRARY:
                raise UsageError(f"{wheel.name}: {inside} is too large", hint="another version?")
            return archive.read(inside)
    except (KeyError, OSError, zipfile.BadZipFile) as e:
        raise UsageError(
            f"{wheel.name}: has no {inside}: {e}", hint=f"use {PACKAGE} 2.1.6 or later"
        ) from e


def c_refuses(graph: Graph) -> str | None:
    """Why LiteRT's C API (2.3) cannot load the network, which its interpreter for Python can."""
    if any(tensor.is_variable for subgraph in graph.subgraphs for tensor in subgraph.tensors):
        return "it has variable tensors (SVDF, LSTM), which LiteRT's C API does not take"
    return None


# --- The runner ---------------------------------------------------------------------------------


def build_runner(arch: str, *, for_android: bool = False, cache: Path | None = None) -> bytes:
    """The C runner for `arch`, from the cache when the same command compiled the same sources.

    `for_android` takes the NDK's compiler, for a library of Android's; else it needs a glibc.
    Raises MissingProgram without a compiler, ConversionError when it refuses.
    """
    toolchain = _ndk(arch) if for_android else _glibc_compiler(arch)
    runtime = resources.path("runtime")
    sources = [
        *sorted((runtime / "runners" / "litert").glob("*.c")),
        runtime / "runners" / "posix" / "board.c",
        runtime / "core" / "eq_model.c",
        *sorted((runtime / "harness").glob("*.c")),
    ]
    headers = [
        h
        for d in ("include", "harness", "ports", "runners/litert")
        for h in (runtime / d).glob("*.h")
    ]
    digest = hashlib.sha256("\0".join([*toolchain.command, *_FLAGS]).encode())
    for path in [*sources, *sorted(headers)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    place = (cache or cache_folder()) / "litert" / f"{RUNNER}-{digest.hexdigest()[:32]}"
    kept = _read_kept(place)
    if kept is not None:
        return kept
    with tempfile.TemporaryDirectory(prefix="edgeq-runner-") as name:
        program = Path(name) / RUNNER
        includes = ("include", "harness", "ports", "runners/litert")
        call(
            [
                *toolchain.command,
                *_FLAGS,
                *(f"-I{runtime / i}" for i in includes),
                *map(str, sources),
                *("-o", str(program), "-ldl"),
            ]
        )
        made = program.read_bytes()
    require_arch(read_elf(made, RUNNER), arch, RUNNER)
    _keep(place, made)
    return made


def _ndk(arch: str) -> Toolchain:
    found = find_toolchain(arch) if os.environ.get(NDK) else None
    if found is None or "android" not in found.name:
        raise MissingProgram(
            "a library of Android's own needs a runner built by the Android NDK",
            hint=f"set {NDK} to the NDK's folder, or leave --litert-lib out",
        )
    return found


def _glibc_compiler(arch: str) -> Toolchain:
    gcc = f"{arch}-linux-gnu-gcc"
    for name in (gcc, "gcc") if arch == host_arch() else (gcc,):
        if shutil.which(name):
            return Toolchain(name, (name,))
    if arch in _ZIG and find_spec("ziglang") is not None:
        return Toolchain("zig cc", (sys.executable, "-m", "ziglang", "cc", "-target", _ZIG[arch]))
    raise MissingProgram(
        f"no C compiler for {arch} is installed, which LiteRT's runner needs",
        hint=f"{install_line('zig')} (any system); or sudo {_INSTALL} (Debian)",
    )


# --- glibc --------------------------------------------------------------------------------------


def glibc_files(*programs: bytes) -> dict[str, bytes]:
    """The loader and every library that `programs` (for aarch64) need, each other's included.

    From the cross compiler's own folder. Raises MissingProgram without that compiler.
    """
    gcc = "aarch64-linux-gnu-gcc"
    if shutil.which(gcc) is None:
        raise MissingProgram(
            f"{gcc} is not installed: its C library goes to the phone with LiteRT's",
            hint=f"sudo {_INSTALL} libstdc++6-arm64-cross (Debian); or --litert-lib FILE",
        )
    files: dict[str, bytes] = {}
    wanted = [LOADER, *(n for p in programs for n in read_elf(p, RUNNER).needed)]
    while wanted:
        name = wanted.pop()
        if name in files:
            continue
        done = run([gcc, f"-print-file-name={name}"], install=_INSTALL, time_limit=_ASK_LIMIT)
        path = Path(done.output)
        if done.code != 0 or not path.is_absolute():
            raise MissingProgram(
                f"{name} for aarch64 is not installed: LiteRT needs it",
                hint=f"sudo {_INSTALL} libstdc++6-arm64-cross",
            )
        files[name] = path.read_bytes()
        wanted += read_elf(files[name], name).needed
    return files


# --- On the device ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What is to be served there: `name` is the network's, `target` a name in targets/."""

    tflite: bytes
    name: str
    target: str
    threads: int = 1
    kernels: str = "xnnpack"

    def options(self) -> tuple[str, ...]:
        return (
            *(MODEL, self.target, "--name", self.name),
            *("--threads", str(self.threads), "--kernels", self.kernels),
        )


def on_linux(
    job: Job, runner: bytes, library: Library | str, installed: str | None = None
) -> Runner:
    """The C runner on Linux. `library` is one to be brought, or the path of the machine's own,
    whose version is `installed`."""
    files = {RUNNER: runner, MODEL: job.tflite}
    if isinstance(library, str):
        path = library
    else:
        path, installed = f"./{LIBRARY}", library.version
        files[LIBRARY] = library.content
    return _runner(job, files, (f"./{RUNNER}", path), installed)


def on_android(
    job: Job, runner: bytes, library: Library, glibc: Mapping[str, bytes] | None
) -> Runner:
    """The C runner on Android: with `glibc`, which is brought and starts it, or, for a library and
    a runner of Android's own, without."""
    files = {RUNNER: runner, MODEL: job.tflite, LIBRARY: library.content, **(glibc or {})}
    start: tuple[str, ...] = (f"./{RUNNER}", f"./{LIBRARY}")
    if glibc is not None:
        start = (f"./{LOADER}", "--library-path", ".", *start)
    notes = () if glibc is None else (UNVERIFIED,)
    return _runner(job, files, start, library.version, notes)


def in_python(job: Job, python: str, installed: str | None = None) -> Runner:
    """serve.py in the machine's interpreter `python`, a path there."""
    server = resources.path("runtime", "runners", "python", SERVER).read_bytes()
    notes = ("served by Python: time between inferences, not within them, is longer",)
    return _runner(job, {SERVER: server, MODEL: job.tflite}, (python, SERVER), installed, notes)


def _runner(
    job: Job,
    files: Mapping[str, bytes],
    start: Sequence[str],
    installed: str | None,
    notes: tuple[str, ...] = (),
) -> Runner:
    return Runner(
        files,
        (*start, *job.options()),
        engine_version=installed,
        notes=notes,
    )


# --- The cache ----------------------------------------------------------------------------------


def _read_kept(path: Path) -> bytes | None:
    """What was kept at `path`, if it is still what it was."""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == _digest_of(path).read_text("ascii"):
            return content
    return None


def _keep(path: Path, content: bytes) -> None:
    """Keep it where that is possible; without a cache all works, but slower."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).hexdigest()
        for place, data in ((path, content), (_digest_of(path), digest.encode("ascii"))):
            with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
                whole = Path(part) / place.name
                whole.write_bytes(data)
                whole.replace(place)


def _digest_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
