"""edgeq tune"""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import data_options, gather, model_options, project_option, repair_options
from edgeq.errors import UsageError
from edgeq.pipeline import EVALUATION_SAMPLES
from edgeq.project import EvaluationSettings
from edgeq.targets import is_path, load_target
from edgeq.tuning.points import Limits
from edgeq.tuning.search import DOCUMENT, PICTURE, TIME_LIMIT, NoPointFits, Tuning, tune

_OWN = {
    "model", "target", "output", "max_accuracy_drop", "min_accuracy", "min_sqnr", "max_flash",
    "max_ram", "max_latency", "time_limit", "jobs", "workers", "restart", "json_file",
}  # fmt: skip
"""Parameters that edgeq build does not have, or that a point's command has in another form."""


@click.command("tune")
@click.argument("model", required=False)
@click.option(
    "-t", "--target", metavar="TARGET", help="What to tune for; a name from `edgeq targets`."
)
@click.option("--engine", help="Which of the target's engines runs it.")
@click.option(
    "--max-accuracy-drop", type=float, metavar="POINTS", help="Below float, at most so much."
)
@click.option("--min-accuracy", type=float, metavar="PERCENT", help="At least this accurate.")
@click.option("--min-sqnr", type=float, metavar="DB", help="Every output's SQNR, at least.")
@click.option("--max-flash", metavar="BYTES", help="Such as 256K.")
@click.option("--max-ram", metavar="BYTES", help="Such as 64K.")
@click.option(
    "--max-latency",
    metavar="N",
    help="Emulated instructions of one inference, such as 5M; for the target host a time: 2.5ms.",
)
@click.option(
    "--time-limit",
    metavar="TIME",
    help=f"Stop the search after so long, such as 90s, 10m or 2h (default {TIME_LIMIT / 60:g}m).",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), metavar="N", help="Trials at a time (default: cores)."
)
@click.option(
    "--workers", metavar="ADDRESS", help="Run trials on the Dask cluster at tcp://HOST:PORT."
)
@click.option(
    "-o", "--output", default="tuning", metavar="DIR", help="For journal and picture (tuning)."
)
@click.option("--restart", is_flag=True, help="Begin anew, and lose the journal in DIR.")
@data_options
@click.option(
    "--evaluation-data",
    metavar="PATH",
    help="Samples to judge on (default: every fifth calibration sample).",
)
@click.option(
    "--evaluation-samples",
    type=click.IntRange(1),
    metavar="N",
    help="Judge on at most N of them, evenly spread (default 1000).",
)
@model_options
@repair_options
@project_option
@click.option("--json", "json_file", metavar="FILE", help="Write all points; - is stdout.")
@click.pass_context
def command(
    context: click.Context,
    /,
    model: str | None,
    target: str | None,
    engine: str | None,
    max_accuracy_drop: float | None,
    min_accuracy: float | None,
    min_sqnr: float | None,
    max_flash: str | None,
    max_ram: str | None,
    max_latency: str | None,
    time_limit: str | None,
    jobs: int | None,
    workers: str | None,
    output: str,
    restart: bool,
    evaluation_data: str | None,
    evaluation_samples: int | None,
    json_file: str | None,
    **options: Any,
) -> None:
    """Try int8, int16x8 and mixes of both, and show which nothing else beats.

    Layers that lose most are tried in int16 first. The result is the Pareto front of accuracy,
    SQNR, flash, RAM and latency: a table, a picture, and for each point the command that builds
    it. A search that was stopped goes on when it is started again.

    \b
    edgeq tune net.keras -t cortex-m4 --calibration-data samples.npz --max-ram 64K
    edgeq tune -t nucleo-f446re --max-accuracy-drop 0.5 --time-limit 10m
    """
    request = gather(
        model,
        evaluation=evaluation_data,
        evaluation_samples=evaluation_samples or EVALUATION_SAMPLES,
        **options,
    )
    project = request.project
    names = (target,) if target else (project.targets if project else ())
    if len(names) != 1:
        raise UsageError(
            "tune for which target?" if names else "no target to tune for",
            hint=f"--target NAME, one of: {', '.join(names)}"
            if names
            else "--target NAME; edgeq targets lists them",
        )
    chosen = load_target(names[0])
    if jobs is not None and workers is not None:
        raise UsageError("--jobs and --workers exclude each other", hint="give one of them")
    asked = project.evaluation if project else EvaluationSettings()
    instructions, milliseconds = _latency(max_latency)
    limits = Limits(
        max_accuracy_drop=_or(max_accuracy_drop, asked.max_accuracy_drop),
        min_accuracy=_or(min_accuracy, asked.min_accuracy),
        min_sqnr_db=_or(min_sqnr, asked.min_sqnr),
        max_flash=_bytes("--max-flash", max_flash),
        max_ram=_bytes("--max-ram", max_ram),
        max_instructions=instructions,
        max_milliseconds=milliseconds,
    )
    if output == "":
        raise UsageError("-o is empty", hint="is a variable of the shell not set?")
    folder = Path(output)
    inputs = [*request.files, *filter(is_path, names)]
    files = {"-o": str(folder / PICTURE), "-o ": str(folder / DOCUMENT), "--json": json_file}
    check_destinations(files, inputs)
    progress = console.Progress()

    def notice(line: str) -> None:
        progress.clear()
        console.note(line)

    words = _build_words(context, model, names[0])
    found: NoPointFits | None = None
    try:
        tuning = tune(
            request.source,
            chosen,
            output=folder,
            engine=engine or (project.engine if project else None),
            opening=request.opening,
            data=request.data,
            limits=limits,
            time_limit=_seconds(time_limit),
            jobs=jobs,
            workers=workers,
            restart=restart,
            command=words,
            notice=notice,
            progress=progress,
        )
    except NoPointFits as e:
        found, tuning = e, e.tuning
    finally:
        progress.clear()
    if not json_file or console.write_json(json_file, tuning.facts(words)):
        _show(tuning, words, folder)
    if found is not None:
        raise found


def _show(tuning: Tuning, words: list[str], folder: Path) -> None:
    state = "all that was worth trying" if tuning.complete else "until the time was over"
    console.say(
        f"{tuning.model} on {tuning.target} ({tuning.engine}): {len(tuning.outcomes)} trials, "
        f"{state}; {len(tuning.points)} that no other beats",
        style="bold",
    )
    outcomes = [point.outcome for point in tuning.points]
    columns: list[tuple[str, list[str]]] = [
        (">", [str(number) for number in range(1, len(outcomes) + 1)]),
        ("in int16", [_layers(p.outcome.candidate.scheme, p.layers) for p in tuning.points]),
        (">accuracy", [_percent(o.accuracy) for o in outcomes]),
        (">SQNR dB", [_level(o.level) for o in outcomes]),
        (">flash", [_count(o.flash) for o in outcomes]),
        (">RAM", [_count(o.ram) for o in outcomes]),
        (">instructions", [_count(o.instructions) for o in outcomes]),
        (">ms here", ["" if o.milliseconds is None else f"{o.milliseconds:.3f}" for o in outcomes]),
        ("limits", ["; ".join(p.misses) or "fits" for p in tuning.points]),
    ]
    shown = [(name, cells) for name, cells in columns if any(cells)]
    console.table([n for n, _ in shown], zip(*(cells for _, cells in shown), strict=True))
    if outcomes:
        first = outcomes[0]
        console.say(f"flash and RAM in bytes: {first.measured}; {first.samples} samples")
        if first.float_accuracy is not None:
            console.say(f"float: accuracy {_percent(first.float_accuracy)}")
    for number, point in enumerate(tuning.points, 1):
        console.say(f"{number:>3}  {shlex.join([*words, *point.options])}")
    failed = [o for o in tuning.outcomes if o.failed is not None]
    if failed:
        console.note(f"{len(failed)} trials failed; the first: {failed[0].failed}")
    if not tuning.complete:
        console.note("the same command again goes on with the search")
    console.note(f"picture: {folder / PICTURE}")


def _layers(scheme: str, layers: tuple[str, ...]) -> str:
    if scheme == "int16x8":
        return "all"
    return ", ".join(layers) or "none"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _level(value: float) -> str:
    if math.isfinite(value):
        return f"{value:.1f}"
    return "equal" if value > 0 else ""


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _or(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else value


def _build_words(context: click.Context, model: str | None, target: str) -> list[str]:
    """edgeq build with all that was given here and that it has too."""
    words = ["edgeq", "build", *([model] if model is not None else []), "--target", target]
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in _OWN or context.get_parameter_source(name) != ParameterSource.COMMANDLINE:
            continue
        value, option = context.params[name], max(parameter.opts, key=len)
        if value is True:
            words.append(option)
        else:
            for text in value if isinstance(value, tuple) else (value,):
                words += [option, str(text)]
    return words


_SIZES = {"": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}


def _bytes(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(k|kib|m|mib|)", text.strip().lower())
    if not found or not float(found[1]):
        raise UsageError(f"{option} {text!r} is not understood", hint="write 65536, 64K or 1M")
    return int(float(found[1]) * _SIZES[found[2]])


_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def _latency(text: str | None) -> tuple[float | None, float | None]:
    """(instructions, milliseconds), one of which is given, or neither."""
    if text is None:
        return None, None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*(k|m|g|us|ms|s|)", text.strip().lower())
    if not found or not float(found[1]):
        raise UsageError(
            f"--max-latency {text!r} is not understood",
            hint="emulated instructions, 5000000 or 5M; for the target host a time, 2.5ms",
        )
    if found[2] in _TIMES:
        return None, float(found[1]) * _TIMES[found[2]]
    return float(found[1]) * _COUNTS[found[2]], None


def _seconds(text: str | None) -> float:
    if text is None:
        return TIME_LIMIT
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|m|h|)", text.strip().lower())
    if not found or not float(found[1]):
        raise UsageError(f"--time-limit {text!r} is not understood", hint="write 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
