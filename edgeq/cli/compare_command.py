"""edgeq compare: two results, side by side; exit 1 when the new one is worse."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq import comparison as comparing
from edgeq import report
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.results import read_results

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("compare")
@click.argument("base", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--fail-above",
    "--fail_above",
    "limits",
    multiple=True,
    metavar="[METRIC=]LIMIT",
    help="How much worse a metric may get: 5% (latency; the default), accuracy=0.5%, or "
    "sqnr=2 in the metric's own unit. May be repeated.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(comparing.DIFFERENCES),
    help="Compare although this differs. May be repeated.",
)
@click.option(
    "--allow-different", "--allow_different", is_flag=True, help="Compare whatever differs."
)
@click.option("--json", "json_file", metavar="FILE", help="Write the comparison; - is stdout.")
def command(
    base: Path,
    new: Path,
    limits: tuple[str, ...],
    allow: tuple[str, ...],
    allow_different: bool,
    json_file: str | None,
) -> int:
    """Compare the results NEW with BASE, two files of `edgeq bench --json`.

    Exit code 1 when a metric got worse by more than its limit and by more than the noise.
    Results from different devices, clocks, threads, engines or models are not compared.
    """
    check_destinations({"--json": json_file}, [base, new])
    comparison = comparing.compare(
        read_results(base),
        read_results(new),
        comparing.parse_limits(limits),
        allow_different or allow,
    )
    text = comparing.comparison_to_json(comparison)
    if not json_file or console.write(json_file, text):
        _show(comparison)
    return int(comparison.regressed)


def _show(comparison: comparing.Comparison) -> None:
    console.table(report.COMPARISON_COLUMNS, report.comparison_rows(comparison))
    for difference in comparison.differences:
        console.warn(f"different {difference}")
    for note in comparison.notes:
        console.note(note)
    if comparison.regressed:
        console.say("regression: NEW is worse than BASE by more than its limit", style="red")
