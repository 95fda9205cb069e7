"""A bundle on a phone, a Raspberry Pi or this computer: its runner is put there, served from
there, and taken away again.

A runner is a program that speaks the lines of runtime/PROTOCOL.md on its stdin and stdout, so that
everything from there on (edgeq.session) is as on a microcontroller.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from edgeq.bundle import Bundle
from edgeq.errors import (
    BundleError,
    DeviceError,
    DeviceFault,
    Garbage,
    NoReply,
    StaleFirmware,
    UsageError,
)
from edgeq.link import Limits, Trace
from edgeq.probe import Facts, probe, read_state
from edgeq.session import Session, Surroundings
from edgeq.targets import Target
from edgeq.transports.machine import Machine, Pushed

Notice = Callable[[str], None]

FILE_LIMIT = 30.0

START_LIMIT = 60.0
"""Seconds for a runner to answer: LiteRT compiles the network first, on a Pi from a slow card."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Runner:
    """`files` (name: content) to put into one folder, and what to run there.

    `engine_version` is the engine's where it does not say so itself; `notes` are for the reader of
    its results.
    """

    files: Mapping[str, bytes]
    argv: tuple[str, ...]
    engine_version: str | None = None
    notes: tuple[str, ...] = ()


MakeRunner = Callable[[Machine, Facts, Bundle, Target], Runner]
"""What runs the bundle for the target on that machine, which was opened and asked."""


@dataclass(frozen=True)
class MachinePlace:
    """A way to a computer, and how a bundle is to be run there.

    `cores` is "big", "little" or a mask in hex: which cores to keep the runner on. With `keep` the
    files stay on the machine.
    """

    machine: Machine
    make_runner: MakeRunner
    cores: str | None = None
    keep: bool = False

    def check(self, target: Target) -> None:
        """Raise UsageError for a target that no computer runs."""
        if target.core is not None:
            raise UsageError(
                f"{target.name} is a microcontroller, and {self.machine.name} is a computer",
                hint="--port, or --sim for an emulator",
            )

    @contextlib.contextmanager
    def session(
        self,
        target: Target,
        bundle: Bundle,
        *,
        limits: Limits | None = None,
        trace: Trace | None = None,
        notice: Notice | None = None,
        pushed: Pushed | None = None,
    ) -> Iterator[Session]:
        """A session with the bundle's runner, open; files and processes are gone after it."""
        self.check(target)
        machine = self.machine
        try:
            machine.open()
            facts = probe(machine)
            _require_arch(machine, facts, target)
            pinned = pinned_cores(self.cores, facts, machine) if self.cores else None
            runner = self.make_runner(machine, facts, bundle, target)
            folder = folder_of(machine, runner.files)
            try:
                deploy(machine, runner.files, folder, pushed)
                mask = f"taskset {pinned.mask:x} " if pinned else ""
                transport = machine.start(f"exec {mask}{shlex.join(runner.argv)}", folder)
                session = Session(
                    target,
                    transport,
                    limits=replace(limits or Limits(), open=START_LIMIT),
                    trace=trace,
                    notice=notice,
                    surroundings=_surroundings(machine, facts, runner, pinned),
                )
                with _opened(session):
                    yield session
            finally:
                if not self.keep:
                    remove(machine, folder)
        finally:
            machine.close()


@contextlib.contextmanager
def _opened(session: Session) -> Iterator[None]:
    """The session, open. What does not answer is a program here: no cable, no port, no flash."""
    try:
        session.open()
    except (NoReply, Garbage, StaleFirmware) as e:
        raise type(e)(
            e.message,
            hint="the bundle's runner does not answer as this edgeq's do: build it again; --trace "
            "shows what it says",
        ) from e
    with contextlib.closing(session):
        yield


def folder_of(machine: Machine, files: Mapping[str, bytes]) -> str:
    """The folder on the machine for these files: their own, whatever else is there."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    return f"{machine.folder}/{digest.hexdigest()[:32]}"


def deploy(
    machine: Machine, files: Mapping[str, bytes], folder: str, pushed: Pushed | None = None
) -> None:
    """Put `files` into `folder` on the machine; those that are there and right stay.

    Raises DeviceFault when the machine has other bytes afterwards.
    """
    for name in files:
        if not _PLAIN.fullmatch(name):
            raise BundleError(f"{name!r}: no name for a file on a device")
    wrong = _wrong(machine, files, folder)
    if not wrong:
        return
    machine.push({name: files[name] for name in wrong}, folder, pushed)
    wrong = _wrong(machine, files, folder)
    if wrong:
        raise DeviceFault(
            f"{machine.name}: {wrong[0]} is not what was sent",
            hint="its storage may be full or broken: df on the device says",
        )


def remove(machine: Machine, folder: str) -> None:
    """Take `folder` away, and the folder above it when that is empty. A device that is gone keeps
    them: there the error that ended the session says more."""
    above = shlex.quote(machine.folder)
    with contextlib.suppress(DeviceError):
        machine.run(f"rm -rf {shlex.quote(folder)}; rmdir {above} 2>/dev/null", FILE_LIMIT)


def _wrong(machine: Machine, files: Mapping[str, bytes], folder: str) -> list[str]:
    """Which of `files` are not on the machine as they are here, to be executed."""
    names = " ".join(map(shlex.quote, sorted(files)))
    script = (
        f"cd {shlex.quote(folder)} 2>/dev/null || exit 0\n"
        f'for f in {names}; do [ -f "$f" ] && [ -x "$f" ] && sha256sum "$f"; done 2>/dev/null'
    )
    said = machine.run(script, FILE_LIMIT).output.decode("ascii", errors="replace")
    # "<64 hex digits>  NAME"; " *NAME" where a tool thinks it read binary.
    found = {m[2]: m[1] for m in re.finditer(r"^([0-9a-f]{64}) [ *]?(\S+)$", said, re.MULTILINE)}
    return [n for n in files if found.get(n) != hashlib.sha256(files[n]).hexdigest()]


def _require_arch(machine: Machine, facts: Facts, target: Target) -> None:
    if target.arch is None or target.arch == facts.arch:
        return
    raise UsageError(
        f"{machine.name} is {facts.machine or 'unknown'}, and {target.name} is for {target.arch}",
        hint=_other_target(facts),
    )


def _other_target(facts: Facts) -> str:
    names = {
        ("aarch64", True): "android",
        ("armv7", True): "android-armv7",
        ("aarch64", False): "rpi",
        ("armv7", False): "rpi-armv7",
    }
    name = names.get((facts.arch or "", facts.is_android))
    return f"build it for --target {name}" if name else "edgeq targets lists what there is"


@dataclass(frozen=True)
class Pinned:
    """Cores that a process is kept on, as a bit a core."""

    mask: int

    @property
    def text(self) -> str:
        """As Linux lists cores: "4-7", "0,2"."""
        cores = [i for i in range(self.mask.bit_length()) if self.mask >> i & 1]
        parts: list[str] = []
        while cores:
            last = 0
            while last + 1 < len(cores) and cores[last + 1] == cores[last] + 1:
                last += 1
            parts.append(str(cores[0]) if last == 0 else f"{cores[0]}-{cores[last]}")
            cores = cores[last + 1 :]
        return ",".join(parts)


def pinned_cores(cores: str, facts: Facts, machine: Machine) -> Pinned:
    """The cores that the machine lets a process be kept on. Raises UsageError, DeviceFault."""
    pinned = Pinned(core_mask(cores, facts.max_khz, machine.name))
    script = (
        f"taskset {pinned.mask:x} sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status"
    )
    ended = machine.run(script, FILE_LIMIT)
    allowed = ended.output.decode("ascii", errors="replace").strip()
    if allowed != pinned.text:
        raise DeviceFault(
            f"{machine.name}: it does not keep a process on the cores {pinned.text}",
            hint="is taskset there, and are all of these cores online? --cores takes a mask in "
            "hex, f0 for cores 4 to 7",
        )
    return pinned


def core_mask(cores: str, max_khz: Mapping[int, int], where: str) -> int:
    """`cores` as a bit a core: "big" and "little" are those with the highest and the lowest of
    the greatest frequencies `max_khz`, anything else is a mask in hex. Raises UsageError."""
    if cores in ("big", "little"):
        speeds = set(max_khz.values())
        if len(speeds) < 2:
            raise UsageError(
                f"--cores {cores}: {where} has no big and little cores, or does not say so",
                hint="give a mask in hex, or leave it out",
            )
        wanted = max(speeds) if cores == "big" else min(speeds)
        return sum(1 << core for core, khz in max_khz.items() if khz == wanted)
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", cores) or int(cores, 16) == 0:
        raise UsageError(
            f"--cores {cores!r} is not understood", hint="big, little, or a mask in hex such as f0"
        )
    return int(cores, 16)


def _surroundings(
    machine: Machine, facts: Facts, runner: Runner, pinned: Pinned | None
) -> Surroundings:
    environment = replace(
        facts.environment,
        engine_version=runner.engine_version,
        pinned=pinned.text if pinned else None,
    )
    return Surroundings(environment, lambda: read_state(machine), runner.notes)
