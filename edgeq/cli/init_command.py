"""`edgeq init`: write a commented edgeq.toml for a model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgeq.cli.console import note, say
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import model_options, parse_shape
from edgeq.documents import write_text
from edgeq.errors import UsageError
from edgeq.models import open_model, widened
from edgeq.project import FILE_NAME, identifier, project_template


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
@model_options
def command(
    model: str,
    output: str,
    force: bool,
    name: str | None,
    input_shapes: tuple[str, ...],
    signature_key: str | None,
    allow_lambda: bool,
) -> None:
    """Write a commented edgeq.toml for MODEL, with its own names and shapes."""
    path = Path(output)
    if path.exists() and not force:
        raise UsageError(f"{path}: there already, and not changed", hint="--force replaces it")
    check_destinations({"-o": output}, [model])
    shapes = dict(parse_shape(text) for text in input_shapes)
    opened = open_model(
        model,
        name=name,
        input_shapes=shapes,
        signature_key=signature_key,
        allow_lambda=allow_lambda,
    )
    opened = widened(opened)  # As build does, unless it is told otherwise.
    text = project_template(
        opened.name,
        os.path.relpath(model, path.absolute().parent),
        opened.graph.inputs,
        opened.graph.outputs,
        scheme=opened.scheme if opened.is_quantized else None,
        shapes=shapes,
        signature_key=signature_key,
        allow_lambda=allow_lambda,
    )
    write_text(path, text)
    say(f"{path}: written for {identifier(opened.name)}")
    missing = "" if opened.is_quantized else "set [calibration] data in it, then "
    which = "" if path.name == FILE_NAME else f" --project {path.name}"
    note(f"next: {missing}run 'edgeq build{which}' in {path.absolute().parent}")
