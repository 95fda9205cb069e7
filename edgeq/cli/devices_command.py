"""`edgeq devices`: list the serial ports, and which targets they may be."""

from __future__ import annotations

import click

from edgeq.cli.console import say, table, write_json
from edgeq.cli.destinations import check_destinations
from edgeq.devices import list_devices
from edgeq.documents import encode

SCHEMA = "edgeq.devices"
SCHEMA_VERSION = 1


@click.command("devices")
@click.option("--json", "destination", metavar="FILE", help="Write the same as JSON; - is stdout.")
def command(destination: str | None) -> None:
    """List the serial ports of this computer, with their USB ids and the targets that have them.

    A USB id often names the debug probe, so one port may be any of several boards. Nothing is
    opened.
    """
    check_destinations({"--json": destination})
    devices = list_devices()
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "devices": [encode(d) for d in devices],
    }
    if destination and not write_json(destination, document):
        return
    if not devices:
        say("No serial port is here. Is the board plugged in, with a cable that carries data?")
        return
    rows = [
        (d.port, d.usb_id, d.serial_number, d.description, ", ".join(d.targets) or "unknown")
        for d in devices
    ]
    table(("port", "USB id", "serial number", "description", "may be"), rows)
