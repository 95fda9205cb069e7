"""`edgeq init`: write a commented edgeq.toml for a model."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from edgeq.cli.console import note, say
from edgeq.cli.options import model_options
from edgeq.conversion import scheme_of
from edgeq.errors import UsageError
from edgeq.measurement import write_text
from edgeq.models import open_model
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
    shapes = dict(_parse_shape(text) for text in input_shapes)
    opened = open_model(
        model,
        name=name,
        input_shapes=shapes,
        signature_key=signature_key,
        allow_lambda=allow_lambda,
    )
    text = project_template(
        opened.name,
        os.path.relpath(model, path.absolute().parent),
        opened.graph.inputs,
        opened.graph.outputs,
        scheme=scheme_of(opened.graph) if opened.is_quantized else None,
        shapes=shapes,
        signature_key=signature_key,
        allow_lambda=allow_lambda,
    )
    write_text(path, text)
    say(f"{path}: written for {identifier(opened.name)}")
    missing = "" if opened.is_quantized else "set [calibration] data in it, then "
    note(f"next: {missing}run 'edgeq build' in {path.absolute().parent}")


def _parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", sizes):
        raise UsageError(
            f"--input-shape {text!r} is not understood",
            hint="write the input's name and every dimension, as image=1,28,28,1",
        )
    return name, tuple(int(size) for size in sizes.split(","))
