"""edgeq eval"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.boards import SAMPLE_LIMIT, BoardEvaluation, Place
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import board_options, data_options, gather, model_options, project_option
from edgeq.deployment import Recipe, evaluate_on
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.evaluation import Evaluation, evaluate
from edgeq.targets import is_path, load_target


@click.command("eval")
@click.argument("model", required=False)
@click.option(
    "--data",
    metavar="PATH",
    help="Labelled samples: an .npz with `labels`, a folder of images, … (default, without "
    "MODEL: the project's evaluation data).",
)
@click.option("--scheme", "--recipe", metavar="SCHEME", help="Convert to this first (int8).")
@click.option(
    "-t", "--target", metavar="TARGET", help="On a board of this kind; a model is built for it."
)
@board_options
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help=f"On a board: for one sample, at most (default {SAMPLE_LIMIT:g}).",
)
@data_options
@model_options
@project_option
@click.option("--json", "json_file", metavar="FILE", help="Write the numbers; - is stdout.")
def command(
    model: str | None,
    data: str | None,
    scheme: str | None,
    target: str | None,
    sim: bool,
    port: str | None,
    baud: int | None,
    engine: str | None,
    output: str | None,
    time_limit: float | None,
    trace: bool,
    json_file: str | None,
    **options: Any,
) -> int:
    """Measure accuracy on labelled data: float beside integer here, or on a board.

    MODEL is a bundle, a .tflite, or a trained model. A float one is converted first where there is
    --calibration-data or a --scheme, else judged as it is.

    With --target, --sim or --port every sample runs on the board at --port, or in its emulator,
    and by the reference on this computer: exit code 1 when any output differs by a byte. A model
    is built for --target first, in a temporary folder unless -o or --port is given.

    \b
    edgeq eval build/rpi --data test.npz
    edgeq eval net.tflite --data test.npz --target cortex-m4 --sim
    """
    request = gather(model, evaluation=data, evaluation_samples=None, **options)
    project = request.project
    kept = output or (None if port is None else project.output if project else "build")
    check_destinations(
        {"--json": json_file},
        [*request.files, target if target and is_path(target) else None],
        [Path(kept) / load_target(target).name] if kept and target else (),
    )
    scheme = scheme or (project.scheme if project else None)
    progress = console.Progress()
    if target is None and not sim and port is None:
        _refuse_board_options(baud=baud, output=output, engine=engine, time_limit=time_limit)
        result = evaluate(
            request.source,
            request.data,
            scheme=scheme,
            opening=request.opening,
            progress=progress,
        )
        progress.clear()
        if not json_file or console.write_json(json_file, encode(result)):
            _show(result)
        return 0
    found = evaluate_on(
        request.source,
        request.data,
        target=load_target(target) if target else None,
        place=Place(port, sim, baud),
        recipe=Recipe(
            output=Path(kept) if kept else None,
            scheme=scheme,
            engine=engine or (project.engine if project else None),
            opening=request.opening,
            labels=project.labels if project else (),
        ),
        time_limit=SAMPLE_LIMIT if time_limit is None else time_limit,
        trace=console.show_line if trace else None,
        notice=console.note,
        progress=progress,
    )
    progress.clear()
    if not json_file or console.write_json(json_file, encode(found)):
        _show_board(found)
    return int(found.first_difference is not None)


def _refuse_board_options(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a board",
                hint="--target NAME with --sim, or with --port",
            )


def _show_board(found: BoardEvaluation) -> None:
    console.warn_of(found.findings)
    console.say(
        f"{found.model} {found.scheme} on {found.device}, engine {found.engine}: "
        f"{found.samples} samples of {found.source}",
        style="bold",
    )
    console.say(
        f"outputs: {found.equal} of {found.samples} equal those of {found.reference}, byte for byte"
    )
    if found.accuracy is not None:
        console.say(f"accuracy on the device: {100 * found.accuracy:.2f} %")
    if found.first_difference:
        console.say(
            f"the first that differs is {found.first_difference}"
            + (
                ""
                if found.max_difference is None
                else f" (of all, at most {found.max_difference:g} apart)"
            ),
            style="red",
        )


def _show(result: Evaluation) -> None:
    console.warn_of(result.findings)
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
