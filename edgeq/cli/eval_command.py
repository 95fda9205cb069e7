"""edgeq eval"""

from __future__ import annotations

from typing import Any

import click

from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import data_options, gather, model_options, project_option
from edgeq.documents import encode
from edgeq.evaluation import Evaluation, evaluate


@click.command("eval")
@click.argument("model", required=False)
@click.option(
    "--data",
    metavar="PATH",
    help="Labelled samples: an .npz with `labels`, a folder of images, … (default: the "
    "project's evaluation data).",
)
@click.option("--scheme", "--recipe", metavar="SCHEME", help="Convert to this first (int8).")
@data_options
@model_options
@project_option
@click.option("--json", "json_file", metavar="FILE", help="Write the numbers.")
def command(
    model: str | None, data: str | None, scheme: str | None, json_file: str | None, **options: Any
) -> None:
    """Measure accuracy on labelled data, float beside integer.

    MODEL is a bundle, a .tflite, or a trained model, which is converted first and so needs
    --calibration-data.

    \b
    edgeq eval build/rpi --data test.npz
    """
    request = gather(model, evaluation=data, evaluation_samples=None, **options)
    check_destinations({"--json": json_file}, request.files)
    progress = console.Progress()
    result = evaluate(
        request.source,
        request.data,
        scheme=scheme or (request.project.scheme if request.project else None),
        opening=request.opening,
        progress=progress,
    )
    progress.clear()
    if not json_file or console.write_json(json_file, encode(result)):
        _show(result)


def _show(result: Evaluation) -> None:
    console.say(f"{result.model} on {result.samples} samples of {result.source}", style="bold")
    rows = []
    if result.float_accuracy is not None:
        rows.append(("float32", f"{100 * result.float_accuracy:.2f} %", ""))
    if result.accuracy is not None:
        change = ""
        if result.float_accuracy is not None:
            change = f"{100 * (result.accuracy - result.float_accuracy):+.2f} points"
        rows.append((result.scheme, f"{100 * result.accuracy:.2f} %", change))
    if rows:
        console.table(["model", ">accuracy", ">change"], rows)
    for f in result.fidelity:
        level = "equal to float" if f.sqnr_db is None else f"SQNR {f.sqnr_db:.1f} dB"
        line = f"output {f.output!r}: {level}, largest error {f.max_error:g}"
        if f.top1_agreement is not None:
            line += f", same top class in {100 * f.top1_agreement:.1f} %"
        console.say(line)
