"""`edgeq doctor`: show what is installed that some command needs, and how to get the rest."""

from __future__ import annotations

import click

from edgeq.cli.console import say, table, write_json
from edgeq.cli.destinations import check_destinations
from edgeq.doctor import Item, examine
from edgeq.documents import encode
from edgeq.errors import MissingProgram

SCHEMA = "edgeq.doctor"
SCHEMA_VERSION = 1


@click.command("doctor")
@click.option("--json", "destination", metavar="FILE", help="Write the same as JSON; - is stdout.")
def command(destination: str | None) -> None:
    """Show the programs and Python packages that some command needs, found or not.

    Exits with 0 when everything required is there; what is optional may be missing.
    """
    check_destinations({"--json": destination})
    items = examine()
    required = [item for item in items if item.required and not item.fits]
    optional = [item for item in items if not item.required and not item.fits]
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "ok": not required,
        "items": [encode(item) for item in items],
    }
    if not destination or write_json(destination, document):
        _show(items, required, optional)
    if required:
        raise MissingProgram(
            f"required, and not here: {', '.join(item.name for item in required)}",
            hint="\n".join(dict.fromkeys(item.install for item in required)),
        )


def _show(items: list[Item], required: list[Item], optional: list[Item]) -> None:
    rows = [
        (
            item.name,
            _state(item),
            item.version,
            item.wanted,
            "required" if item.required else "optional",
            ", ".join(item.commands) or "none",
            item.purpose,
        )
        for item in items
    ]
    table(("name", "state", "version", "needs", "", "commands", "for"), rows)
    say()
    if optional:
        say("Optional, to install when you need it:")
        for line in dict.fromkeys(item.install for item in optional):
            names = ", ".join(item.name for item in optional if item.install == line)
            say(f"  {line}  # {names}")
    if not required:
        say("Everything required is here." if optional else "Everything is here.")


def _state(item: Item) -> str:
    if not item.found:
        return "missing"
    return "found" if item.fits else "wrong version"
