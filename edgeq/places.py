"""From a device's address to the way there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeq.boards import AnyPlace, Place
from edgeq.bundle import RUNNER, Bundle
from edgeq.elf import read_elf, require_arch
from edgeq.errors import UsageError
from edgeq.labs import NO_ADDRESS, Device
from edgeq.litert_runner import litert_runner
from edgeq.machines import MachinePlace, Runner
from edgeq.probe import Facts
from edgeq.targets import Target
from edgeq.transports.machine import Machine

_ELF = b"\x7fELF"

Ask = Callable[[str], str]
"""Asks a person for a password, which is not echoed."""


@dataclass(frozen=True)
class MachineOptions:
    """How phones and Pis are used, whatever edgeq.toml says of each: edgeq bench's options."""

    cores: str | None = None
    threads: int = 1
    keep: bool = False
    offline_wheels: bool = False
    litert_lib: Path | None = None


def place_of(
    device: Device,
    target: Target,
    options: MachineOptions,
    *,
    notice: Callable[[str], None],
    ask: Ask | None = None,
) -> AnyPlace:
    """The way to `device`, which stands for `target`. Connects to nothing yet.

    Raises UsageError for an address that is none.
    """
    if device.kind in ("serial", "sim"):
        _tell(notice, device.name, "a board", {"--cores": options.cores, "--keep": options.keep})
    if device.kind == "serial":
        return Place(port=device.place, baud=device.baud)
    if device.kind == "sim":
        return Place(sim=True)
    threads = device.threads or options.threads

    def runner(machine: Machine, facts: Facts, bundle: Bundle, target: Target) -> Runner:
        if bundle.manifest["engine"] == "aot":
            ignored = {
                "--num-threads": threads > 1,
                "--offline-wheels": options.offline_wheels,
                "--litert-lib": options.litert_lib,
            }
            _tell(notice, machine.name, "engine aot, which is one thread of its own", ignored)
            return _aot_runner(bundle, target, facts)
        return litert_runner(
            machine,
            facts,
            bundle,
            target,
            threads=threads,
            offline_wheels=options.offline_wheels,
            litert_lib=options.litert_lib,
            notice=notice,
        )

    cores = options.cores or device.cores
    return MachinePlace(_machine(device, ask), runner, cores, options.keep)


def _tell(
    notice: Callable[[str], None], name: str, what: str, options: Mapping[str, object]
) -> None:
    """Say which of `options` were given, and are nothing to what runs there."""
    given = [flag for flag, value in options.items() if value]
    if given:
        notice(f"{name}: {', '.join(given)} left out: nothing to {what}")


def _machine(device: Device, ask: Ask | None) -> Machine:
    if device.kind == "adb":
        from edgeq.transports.adb import AdbMachine

        return AdbMachine(device.place)
    if device.kind == "ssh":
        from edgeq.transports.ssh import SshMachine

        return SshMachine(device.place)
    if device.kind == "console":
        from edgeq.transports.console import ConsoleMachine

        return ConsoleMachine(device.place, ask)
    if device.kind == "local":
        from edgeq.transports.local import LocalMachine

        return LocalMachine()
    raise UsageError(f"{device.address}: no address of a device", hint=NO_ADDRESS)


def _aot_runner(bundle: Bundle, target: Target, facts: Facts) -> Runner:
    if bundle.runner is None:
        raise UsageError(
            f"{bundle.folder}: has no runner for {target.name}",
            hint="'edgeq build' makes it where a compiler for that processor is: edgeq doctor",
        )
    if facts.arch and bundle.runner.startswith(_ELF):
        where = str(bundle.folder / RUNNER)
        require_arch(read_elf(bundle.runner, where), facts.arch, where)
    return Runner({RUNNER: bundle.runner}, (f"./{RUNNER}",))
