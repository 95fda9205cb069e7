"""edgeq bench"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeq import report
from edgeq.benchmark import BenchOptions, bench
from edgeq.boards import BoardRun, bench_board
from edgeq.bundle import FIRMWARE, is_bundle
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.measurement import Results
from edgeq.profile import memory_metrics, profile_columns, profile_rows
from edgeq.results import to_json

F = TypeVar("F", bound=Callable[..., Any])


def _option(name: str, kind: type, default: float, text: str) -> Callable[[F], F]:
    """An option under benchmark_model's own name too, which has underscores."""
    return click.option(
        f"--{name}",
        f"--{name.replace('-', '_')}",
        type=kind,
        default=default,
        show_default=True,
        help=text,
    )


@click.command("bench")
@click.argument("subject", metavar="BUNDLE|MODEL")
@_option("num-runs", int, 50, "At least so many timed inferences,")
@_option("min-secs", float, 1.0, "which take at least so many seconds;")
@_option("max-secs", float, 150.0, "none starts after so many.")
@_option("warmup-runs", int, 1, "At least so many inferences before,")
@_option("warmup-min-secs", float, 0.5, "which take at least so many seconds.")
@_option("num-threads", int, 1, "Threads that an inference may use.")
@click.option("--baseline", metavar="MODEL", help="Measure this beside it, in alternation.")
@click.option("--sim", is_flag=True, help="In the target's emulator (QEMU): counts instructions.")
@click.option("--port", metavar="URL", help="On the board at this port: /dev/ttyACM0, COM7, auto.")
@click.option("--profile", is_flag=True, help="On a board: what each layer takes.")
@click.option("--trace", is_flag=True, help="On a board: show the lines with their times.")
@click.option("--json", "json_file", metavar="FILE", help="Write the results; - is stdout.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write a row a measurement; - is stdout.")
def command(
    subject: str,
    baseline: str | None,
    json_file: str | None,
    csv_file: str | None,
    sim: bool,
    port: str | None,
    profile: bool,
    trace: bool,
    **options: Any,
) -> None:
    """Check the golden outputs, then measure: on this computer with LiteRT, or on a board.

    A bundle's integer model is measured beside the float32 baseline of the same network, in
    alternation, so that nobody has to guess whether int8 paid. Nothing is timed when an output is
    wrong.

    A microcontroller's bundle runs on the board at --port, or with --sim in an emulator, whose
    counts are instructions, never time.

    \b
    edgeq bench build/host --json now.json
    edgeq bench build/mps2-an386 --profile
    edgeq compare before.json now.json
    """
    check_destinations({"--csv": csv_file, "--json": json_file}, [subject, baseline])
    progress = console.Progress()
    on_board = port is not None or sim or _is_for_boards(subject)
    if on_board:
        found = bench_board(
            subject,
            port=port,
            sim=sim,
            runs=options["num_runs"],
            warmup=options["warmup_runs"],
            profile=profile,
            trace=_show_line if trace else None,
            notice=console.note,
            progress=progress,
        )
        results = Results((found.measurement,))
    else:
        results = bench(subject, BenchOptions(**options), baseline=baseline, progress=progress)
    progress.clear()
    free = [console.write(csv_file, report.to_csv(results))] if csv_file else []
    free += [console.write(json_file, to_json(results))] if json_file else []
    if not all(free):
        return
    if on_board:
        _show_board(found)
    else:
        _show(results)


def _is_for_boards(subject: str) -> bool:
    """Whether it is a bundle with firmware: what LiteRT takes here would say nothing of it."""
    path = Path(subject)
    return is_bundle(path) and (path / FIRMWARE).is_file()


def _show_line(seconds: float, direction: str, line: str) -> None:
    console.note(f"{seconds:9.3f} {direction} {line}")


def _show_board(found: BoardRun) -> None:
    measurement = found.measurement
    console.say(f"{measurement.environment.device}, engine {measurement.engine}:")
    console.table(report.MEASUREMENT_COLUMNS, report.measurement_rows([measurement]))
    for line in report.measurement_notes([measurement]):
        console.say(line)
    if found.profile:
        console.table(profile_columns(found.profile), profile_rows(found.profile))
    memory = [(m.name, f"{m.value:,.0f}") for m in memory_metrics(found.memory)]
    console.table(["memory", ">bytes"], memory)


def _show(results: Results) -> None:
    environment = results.measurements[0].environment
    console.say(f"on this computer ({environment.arch}, {environment.cpu}), with LiteRT:")
    console.table(report.MEASUREMENT_COLUMNS, report.measurement_rows(results.measurements))
    for line in report.measurement_notes(results.measurements):
        console.say(line)
