"""What `--device` means: names and addresses, and the way to each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from edgeq.boards import AnyPlace
from edgeq.cli import console
from edgeq.documents import plain
from edgeq.errors import UsageError
from edgeq.labs import Device, find_device, known_devices
from edgeq.places import MachineOptions, place_of
from edgeq.project import Project, find_project, load_project
from edgeq.targets import Target


def named_devices(texts: Sequence[str], project_file: str | None) -> list[Device]:
    """The devices that a person named, in that order. Raises UsageError."""
    if not texts:
        return []
    project = _project(project_file)
    known = known_devices(project.devices if project else {}, project.source if project else None)
    found = [find_device(text, known) for text in texts]
    for device in found:
        if [d.address for d in found].count(device.address) > 1 and device.kind != "sim":
            raise UsageError(
                f"{device.address} is named twice", hint="each device runs one bundle at a time"
            )
    return found


def way_to(device: Device, target: Target, options: MachineOptions) -> AnyPlace:
    """edgeq.places.place_of, with notes and password prompts on this terminal."""
    return place_of(device, target, options, notice=console.note, ask=_ask)


def machine_options(
    cores: str | None,
    threads: int,
    keep: bool,
    offline_wheels: bool,
    litert_lib: str | None,
) -> MachineOptions:
    if cores == "":
        raise UsageError("--cores is empty", hint="is a variable of the shell not set?")
    return MachineOptions(
        cores=cores,
        threads=threads,
        keep=keep,
        offline_wheels=offline_wheels,
        litert_lib=Path(litert_lib) if litert_lib is not None else None,
    )


def _project(file: str | None) -> Project | None:
    """The project whose [devices] count: the file named, or the nearest one, if there is one."""
    path = Path(file) if file is not None else find_project(Path.cwd())
    return load_project(path) if path is not None else None


def _ask(question: str) -> str:
    return str(click.prompt(plain(question), hide_input=True, err=True))
