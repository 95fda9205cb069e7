"""`edgeq init`: write a commented edgeq.toml for a model."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from edgeq.cli.console import note, say
from edgeq.errors import UsageError
from edgeq.project import FILE_NAME, load_project, project_template


@click.command("init")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    default=FILE_NAME,
    show_default=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
def command(model: str, output: str, force: bool) -> None:
    """Write a commented edgeq.toml for MODEL, with its own names and shapes."""
    path = Path(output)
    if path.exists() and not force:
        raise UsageError(f"{path}: there already, and not changed", hint="--force replaces it")
    from edgeq.conversion import scheme_of
    from edgeq.models import open_model

    opened = open_model(model)
    text = project_template(
        opened.name,
        os.path.relpath(model, path.absolute().parent),
        opened.graph.inputs,
        opened.graph.outputs,
        scheme=scheme_of(opened.graph) if opened.is_quantized else None,
    )
    _write(path, text)
    project = load_project(path)
    say(f"{path}: written for {project.name}, {len(opened.graph.main.ops)} operators")
    missing = "" if opened.is_quantized else "set [calibration] data in it, then "
    note(f"next: {missing}run 'edgeq build' in {path.absolute().parent}")


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as e:
        raise UsageError(
            f"{path}: cannot be written: {e.strerror or e}", hint="-o names another place"
        ) from e
