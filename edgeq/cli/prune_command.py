"""edgeq prune"""

from __future__ import annotations

import shlex
from typing import Any

import click

from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.training_options import percent, schedule_of, show_models, training_options
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.training import Pruned, WithoutDead, prune, remove_dead
from edgeq.training.goals import NAMES, parse_macs, parse_size


@click.command("prune")
@click.argument("model")
@click.option(
    "--data",
    metavar="PATH",
    help="The training set: an .npz with inputs and `labels` (or `targets`), or train.py:dataset, "
    "a function that returns (x, y) or a tf.data.Dataset.",
)
@click.option("-o", "--output", metavar="FILE", required=True, help="Where the .keras goes.")
@click.option(
    "--target-size",
    metavar="SIZE",
    help="20000 or 20k parameters, 40KB of int8 weights, or 50% of the parameters.",
)
@click.option("--target-macs", metavar="MACS", help="1.5M multiply-accumulates, or 50% of them.")
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Prune in this many steps, with fine-tuning after each.",
)
@click.option(
    "--step-epochs",
    type=click.IntRange(1, 100_000),
    default=2,
    show_default=True,
    metavar="N",
    help="Epochs of fine-tuning after each step.",
)
@click.option(
    "--max-accuracy-drop",
    type=float,
    metavar="POINTS",
    help="Stop before a step that loses more, and keep what was reached (exit code 1).",
)
@click.option(
    "--dead-only",
    is_flag=True,
    help="Only remove channels that have no effect: no training, the same outputs.",
)
@training_options
def command(
    model: str,
    data: str | None,
    output: str,
    target_size: str | None,
    target_macs: str | None,
    steps: int,
    step_epochs: int,
    max_accuracy_drop: float | None,
    dead_only: bool,
    resume: bool,
    json_file: str | None,
    **training: Any,
) -> int:
    """Remove the channels of a Keras model that matter least, and fine-tune what is left.

    MODEL is a .keras or .h5 file. The result is a smaller one of the same kind, with the same
    inputs and outputs, for edgeq build. What is done is kept in a folder beside it after each
    epoch, for --resume.

    \b
    edgeq prune net.keras --data train.npz -o small.keras --target-macs 50%
    edgeq prune net.keras --data train.py:dataset -o small.keras --target-size 40KB
    edgeq prune net.keras --dead-only -o lean.keras
    """
    check_destinations({"-o": output, "--json": json_file}, [model, data])
    if dead_only:
        if target_size or target_macs or max_accuracy_drop is not None or resume:
            raise UsageError(
                "--dead-only removes what has no effect, whatever the target",
                hint="give it alone, or leave it out: pruning removes dead channels first",
            )
        lean = remove_dead(model, output, data, training["seed"])
        if not json_file or console.write_json(json_file, encode(lean)):
            _show_lean(lean)
        return 0
    schedule = schedule_of(**training)
    if (target_size is None) == (target_macs is None):
        raise UsageError(
            "prune needs one target", hint="--target-size 50%, --target-macs 50%, or --dead-only"
        )
    goal = parse_macs(target_macs) if target_macs is not None else parse_size(str(target_size))
    if data is None:
        raise UsageError(
            "pruning needs a training set",
            hint="--data train.npz or --data train.py:dataset; --dead-only needs none",
        )
    if max_accuracy_drop is not None and max_accuracy_drop < 0:
        raise UsageError("--max-accuracy-drop is negative", hint="in points, as 1")
    progress = console.Progress()
    try:
        pruned = prune(
            model,
            data,
            output,
            goal,
            steps=steps,
            step_epochs=step_epochs,
            schedule=schedule,
            max_accuracy_drop=max_accuracy_drop,
            resume=resume,
            notice=console.note,
            progress=progress,
        )
    finally:
        progress.clear()
    if not json_file or console.write_json(json_file, encode(pruned)):
        _show(pruned)
    if pruned.stopped:
        console.warn(
            f"stopped before {pruned.goal:,} {NAMES[pruned.measure]}: the next step loses more "
            f"than {max_accuracy_drop:g} points. More --steps, --step-epochs or data may help."
        )
    return int(pruned.stopped)


def _show(pruned: Pruned) -> None:
    console.say(
        f"{pruned.model}: {pruned.training_samples} samples to train on, {pruned.held_out} held "
        f"out; loss: {pruned.loss}",
        style="bold",
    )
    if pruned.dead:
        console.say(f"{pruned.dead} channels that had no effect went first")
    console.table(
        ["step", ">parameters", ">MACs", ">accuracy", ">loss"],
        [
            (f"{s.step}", f"{s.parameters:,}", f"{s.macs:,}", percent(s.accuracy), f"{s.loss:.4g}")
            for s in pruned.steps
        ],
    )
    console.say()
    _show_channels(pruned.channels)
    show_models(
        [
            ("before", pruned.before, pruned.score_before),
            ("after", pruned.after, pruned.score_after),
        ]
    )
    _show_next(pruned.output)


def _show_lean(lean: WithoutDead) -> None:
    if not lean.dead:
        console.say(f"{lean.model}: every channel can have an effect; {lean.output} is a copy")
        return
    console.say(f"{lean.model}: {lean.dead} channels had no effect", style="bold")
    _show_channels(lean.channels)
    show_models([("before", lean.before, None), ("after", lean.after, None)])
    console.say(
        f"outputs on {lean.samples} samples: at most {lean.float64_difference:g} apart in float64, "
        f"{lean.float32_difference:g} in float32 (rounding)"
    )
    _show_next(lean.output)


def _show_channels(channels: dict[str, tuple[int, int]]) -> None:
    console.table(
        ["layer", ">channels", ">left"],
        [(name, f"{a}", f"{b}") for name, (a, b) in channels.items() if a != b],
    )
    console.say()


def _show_next(output: str) -> None:
    path = shlex.quote(output)
    console.say(f"next: edgeq build {path} --target TARGET --calibration-data SAMPLES")
