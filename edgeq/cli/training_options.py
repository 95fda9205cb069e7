"""What the commands that train have in common: their options, and tables of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeq.cli import console
from edgeq.errors import UsageError
from edgeq.training.facts import LOSSES, Schedule, Score, Size

F = TypeVar("F", bound=Callable[..., Any])


def training_options(function: F) -> F:
    """How it trains."""
    for option in reversed(
        (
            click.option(
                "--epochs",
                type=click.IntRange(1, 100_000),
                default=Schedule.epochs,
                show_default=True,
                metavar="N",
                help="Epochs of training (prune: at the end, after the last step).",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(1, 65536),
                default=Schedule.batch_size,
                show_default=True,
                metavar="N",
                help="Samples in a mini-batch.",
            ),
            click.option(
                "--learning-rate",
                type=float,
                default=Schedule.learning_rate,
                show_default=True,
                metavar="RATE",
                help="Of Adam, at the start.",
            ),
            click.option(
                "--loss",
                type=click.Choice(LOSSES),
                help="Default: what the model was compiled with, else by its output and the data.",
            ),
            click.option(
                "--held-out",
                type=float,
                default=100 * Schedule.held_out,
                show_default=True,
                metavar="PERCENT",
                help="Samples that are not trained on and judge the result.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(0, 2**31 - 1),
                default=Schedule.seed,
                show_default=True,
                metavar="N",
                help="The same seed gives the same model.",
            ),
            click.option("--resume", is_flag=True, help="Go on with a run that was ended."),
            click.option("--json", "json_file", metavar="FILE", help="Write all that is shown."),
        )
    ):
        function = option(function)
    return function


def schedule_of(
    epochs: int,
    batch_size: int,
    learning_rate: float,
    loss: str | None,
    held_out: float,
    seed: int,
) -> Schedule:
    """The options as a Schedule. Raises UsageError."""
    if not 0 < learning_rate <= 10:
        raise UsageError(f"--learning-rate {learning_rate:g} is not from 0 to 10", hint="0.001")
    if not 1 <= held_out <= 90:
        raise UsageError(f"--held-out {held_out:g} is not from 1 to 90", hint="20 is a fifth")
    return Schedule(epochs, batch_size, learning_rate, loss, held_out / 100, seed)


def show_models(rows: list[tuple[str, Size, Score | None]]) -> None:
    """A table of models: what they cost, and how they do on the samples held out."""
    has_accuracy = any(score and score.accuracy is not None for _, _, score in rows)
    drawn = []
    for name, size, score in rows:
        cells = [name, f"{size.parameters:,}", console.human_bytes(size.bytes)]
        cells.append("" if size.macs is None else f"{size.macs:,}")
        if has_accuracy:
            cells.append(percent(score.accuracy if score else None))
        cells.append("" if score is None else f"{score.loss:.4g}")
        drawn.append(cells)
    columns = ["model", ">parameters", ">as int8", ">MACs"]
    console.table([*columns, *([">accuracy"] if has_accuracy else []), ">loss"], drawn)


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"
