"""edgeq bench"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeq import report
from edgeq.benchmark import BenchOptions, bench
from edgeq.cli import console
from edgeq.measurement import Results, to_json

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
@click.option("--json", "json_file", metavar="FILE", help="Write the results; - is stdout.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write a row a measurement; - is stdout.")
def command(
    subject: str,
    baseline: str | None,
    json_file: str | None,
    csv_file: str | None,
    **options: Any,
) -> None:
    """Check the golden outputs, then measure latency on this computer with LiteRT.

    A bundle's integer model is measured beside the float32 baseline of the same network, in
    alternation, so that nobody has to guess whether int8 paid. Nothing is timed when an output is
    wrong.

    \b
    edgeq bench build/host --json now.json
    edgeq compare before.json now.json
    """
    progress = console.Progress()
    results = bench(subject, BenchOptions(**options), baseline=baseline, progress=progress)
    progress.clear()
    free = [console.write(csv_file, report.to_csv(results))] if csv_file else []
    free += [console.write(json_file, to_json(results))] if json_file else []
    if all(free):
        _show(results)


def _show(results: Results) -> None:
    environment = results.measurements[0].environment
    console.say(f"on this computer ({environment.arch}, {environment.cpu}), with LiteRT:")
    console.table(report.MEASUREMENT_COLUMNS, report.measurement_rows(results.measurements))
    for line in report.measurement_notes(results.measurements):
        console.say(line)
