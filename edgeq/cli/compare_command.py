"""edgeq compare: two results, side by side; exit 1 when the new one is worse."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq import comparison as comparing
from edgeq import report
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.measurement import Results
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
    before, after = read_results(base), read_results(new)
    comparison = comparing.compare(
        before,
        after,
        comparing.parse_limits(limits),
        allow_different or allow,
    )
    text = comparing.comparison_to_json(comparison)
    if not json_file or console.write(json_file, text):
        _show_circumstances("base", base, before)
        _show_circumstances("new", new, after)
        show_comparison(comparison)
    return int(comparison.regressed)


def _show_circumstances(which: str, file: Path, results: Results) -> None:
    for line in report.circumstances(results):
        console.say(f"{which:<4}  {file}  {line}")


def show_comparison(comparison: comparing.Comparison) -> None:
    """The table of changes and what else there is to say."""
    console.table(report.COMPARISON_COLUMNS, report.comparison_rows(comparison))
    for difference in comparison.differences:
        console.warn(f"different {difference}")
    for note in comparison.notes:
        console.note(note)
    if not comparison.valid:
        console.warn("not all of it is valid: measure again before you rely on this")
    regressed = [c for c in comparison.changes if c.outcome == "regression"]
    if regressed:
        names = ", ".join(f"{c.metric} of {c.model} {c.scheme}" for c in regressed)
        console.say(f"regression: {names} got worse by more than the limit", style="red")
    else:
        console.say("no regression", style="green")
