"""`edgeq flash`: write a bundle's firmware to the board."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.bundle import open_bundle
from edgeq.cli.console import note, say
from edgeq.flashers import FLASHERS, firmware_image, flash
from edgeq.targets import load_target


@click.command("flash")
@click.argument("folder", metavar="BUNDLE")
@click.argument("arguments", nargs=-1)
@click.option("-t", "--target", help="Another target than the bundle's: a file of your own, say.")
@click.option("--flasher", help=f"Another program than the target's: {', '.join(FLASHERS)}.")
@click.option("--image", type=Path, help="Another image than the bundle's own.")
@click.option("--port", help="The board's serial port, for bossac.")
def command(
    folder: str,
    arguments: tuple[str, ...],
    target: str | None,
    flasher: str | None,
    image: Path | None,
    port: str | None,
) -> None:
    """Write the firmware in BUNDLE to its board, verify it and start it.

    ARGUMENTS after -- go to the flasher's program.

    \b
    edgeq flash build/nucleo-f446re
    edgeq flash build/my_board -- -f board/st_nucleo_f4.cfg
    """
    bundle = open_bundle(Path(folder))
    board = load_target(target or str(bundle.manifest["target"]))
    found = image or firmware_image(bundle)
    note(f"{board.title}: {found}")
    used = flash(board, found, flasher=flasher, arguments=arguments, port=port)
    say(f"{bundle.name} is on the board ({used.name}).")
