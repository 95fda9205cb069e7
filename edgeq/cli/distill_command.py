"""edgeq distill"""

from __future__ import annotations

import shlex
from typing import Any

import click

from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.training_options import schedule_of, show_models, training_options
from edgeq.documents import encode
from edgeq.training import Distilled, distill
from edgeq.training.distill import ALPHA, TEMPERATURE


@click.command("distill")
@click.argument("teacher")
@click.argument("student")
@click.option(
    "--data",
    metavar="PATH",
    required=True,
    help="The training set: an .npz with inputs and `labels` (or `targets`), or train.py:dataset, "
    "a function that returns (x, y) or a tf.data.Dataset.",
)
@click.option("-o", "--output", metavar="FILE", required=True, help="Where the .keras goes.")
@click.option(
    "--temperature",
    type=float,
    default=TEMPERATURE,
    show_default=True,
    metavar="T",
    help="How much the classes' probabilities are evened out.",
)
@click.option(
    "--alpha",
    type=float,
    default=ALPHA,
    show_default=True,
    metavar="SHARE",
    help="Of the loss, from the teacher; the rest is from the labels.",
)
@training_options
def command(
    teacher: str,
    student: str,
    data: str,
    output: str,
    temperature: float,
    alpha: float,
    resume: bool,
    json_file: str | None,
    **training: Any,
) -> None:
    """Train a small Keras model on the answers of a large one.

    TEACHER and STUDENT are .keras or .h5 files with the same inputs and outputs. What is done is
    kept in a folder beside the result after each epoch, for --resume.

    \b
    edgeq distill large.keras small.keras --data train.npz -o taught.keras
    """
    check_destinations({"-o": output, "--json": json_file}, [teacher, student, data])
    progress = console.Progress()
    try:
        found = distill(
            teacher,
            student,
            data,
            output,
            temperature=temperature,
            alpha=alpha,
            schedule=schedule_of(**training),
            resume=resume,
            notice=console.note,
            progress=progress,
        )
    finally:
        progress.clear()
    if not json_file or console.write_json(json_file, encode(found)):
        _show(found)


def _show(found: Distilled) -> None:
    console.say(
        f"{found.student} taught by {found.teacher}: {found.training_samples} samples to train "
        f"on, {found.held_out} held out; loss: {found.alpha:g} from the teacher at temperature "
        f"{found.temperature:g}, the rest {found.loss}",
        style="bold",
    )
    show_models(
        [
            ("teacher", found.teacher_size, found.teacher_score),
            ("student before", found.student_size, found.score_before),
            ("student after", found.student_size, found.score_after),
        ]
    )
    console.say(
        f"next: edgeq build {shlex.quote(found.output)} --target TARGET --calibration-data SAMPLES"
    )
