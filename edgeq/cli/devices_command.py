"""`edgeq devices`: serial ports, phones and ssh hosts, and what to do next with each."""

from __future__ import annotations

import shlex
from typing import Any

import click

from edgeq.cli.console import note, say, table, write_json
from edgeq.cli.destinations import check_destinations
from edgeq.devices import list_devices
from edgeq.documents import encode
from edgeq.errors import EdgeqError
from edgeq.transports.adb import AdbDevice, list_adb
from edgeq.transports.openssh import configured_hosts

SCHEMA = "edgeq.devices"
SCHEMA_VERSION = 1


@click.command("devices")
@click.option("--json", "destination", metavar="FILE", help="Write the same as JSON; - is stdout.")
def command(destination: str | None) -> None:
    """List the serial ports and phones of this computer, and the hosts of ~/.ssh/config.

    A port's USB id often names the debug probe, so it may be any of several boards. No port is
    opened, and no host is reached.
    """
    check_destinations({"--json": destination})
    devices, (phones, trouble), hosts = list_devices(), _phones(), configured_hosts()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "devices": [encode(d) for d in devices],
        "phones": [{"address": p.address, **encode(p)} for p in phones],
        "hosts": [encode(h) for h in hosts],
    }
    if destination and not write_json(destination, document):
        return
    if devices:
        rows = [
            (d.port, d.usb_id, d.serial_number, d.description, ", ".join(d.targets) or "unknown")
            for d in devices
        ]
        table(("port", "USB id", "serial number", "description", "may be"), rows)
    else:
        say("No serial port is here. Is the board plugged in, with a cable that carries data?")
    if phones:
        say()
        columns = ("phone", "model", "state", "what to do next")
        table(columns, [(p.address, p.model, p.state, _next(p)) for p in phones])
    elif trouble is None:
        say("No phone is here by adb. Is USB debugging on (Settings, Developer options)?")
    if hosts:
        say()
        heads = ("host of ~/.ssh/config", "what to do next")
        table(heads, [(h.address, h.next_step) for h in hosts])
    if trouble:
        note(f"phones were not looked for: {trouble}")


def _phones() -> tuple[list[AdbDevice], str | None]:
    """What adb has, or why that is not known."""
    try:
        return list_adb(), None
    except EdgeqError as e:
        return [], f"{e.message}; {e.hint}" if e.hint else e.message


def _next(phone: AdbDevice) -> str:
    return phone.next_step or f"edgeq bench build/android --device {shlex.quote(phone.address)}"
