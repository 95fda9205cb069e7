"""edgeq check: build, count, and fail when a limit of edgeq.toml is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq import checking
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import gather, project_option
from edgeq.errors import UsageError
from edgeq.limits import Gate, number
from edgeq.results import to_json
from edgeq.targets import is_path, load_target
from edgeq.verification import Gates

_GATHERED: dict[str, Any] = dict(
    name=None,
    input_shapes=(),
    signature_key=None,
    allow_lambda=False,
    repairs=(),
    no_repair=False,
    calibration_data=None,
    calibration_samples=None,
    calibration_method=None,
    labels_csv=None,
    image_scaling=None,
    image_size=None,
    image_channels=None,
)
"""What edgeq.toml alone decides here."""


@click.command("check")
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Check this one only. May be repeated (default: all of edgeq.toml).",
)
@click.option("--update", is_flag=True, help="Write the baseline from what is found now.")
@click.option("--json", "json_file", metavar="FILE", help="Write the limits; for edgeq report.")
@click.option("--results", "results_file", metavar="FILE", help="Write what was measured.")
@click.option("-o", "--output", metavar="DIR", help="Bundles go to DIR/<target>.")
@project_option
def command(
    targets: tuple[str, ...],
    update: bool,
    json_file: str | None,
    results_file: str | None,
    output: str | None,
    project_file: str | None,
) -> int:
    """Build what edgeq.toml says, run it in the emulator where its target has one, and hold the
    result against its [limits]. Needs no hardware.

    Exit code 1 when a limit is broken, with what was, and by how much.

    \b
    edgeq check --update     # writes the baseline; commit it
    edgeq check              # in CI, on every change
    """
    request = gather(None, project_file=project_file, **_GATHERED)
    project = request.project
    assert project is not None
    names = targets or project.targets
    if not names:
        raise UsageError("no target to check", hint="targets in edgeq.toml, or --target NAME")
    baseline = None
    if project.limits.baseline is not None:
        baseline = project.source.parent / project.limits.baseline
    elif update:
        raise UsageError(
            f"{project.source}: --update writes the baseline, and none is named",
            hint='[limits], baseline = "baseline.json"',
        )
    folder = Path(output) if output else project.output
    chosen = [load_target(name) for name in dict.fromkeys(names)]
    check_destinations(
        {"--json": json_file, "--results": results_file},
        [*request.files, *filter(is_path, names), *([baseline] if baseline else [])],
        [folder / target.name for target in chosen],
    )
    limits = project.evaluation
    progress = console.Progress()
    try:
        checked = checking.check(
            request.source,
            chosen,
            project.limits,
            baseline=baseline,
            update=update,
            output=folder,
            scheme=project.scheme,
            engine=project.engine,
            opening=request.opening,
            data=request.data,
            gates=Gates(
                min_accuracy=limits.min_accuracy,
                max_accuracy_drop=limits.max_accuracy_drop,
                min_sqnr_db=limits.min_sqnr,
            ),
            labels=project.labels,
            progress=progress,
        )
    finally:
        progress.clear()
    text = checking.check_to_json(checked.check)
    free = [console.write(json_file, text)] if json_file else []
    if results_file and checked.measurements:
        free.append(console.write(results_file, to_json(checked.results)))
    if update and baseline is not None:
        console.note(f"{baseline}: written; commit it")
    if all(free):
        _show(checked.check)
    return int(not checked.check.passed)


def _show(check: checking.Check) -> None:
    console.table(
        ["", "target", "metric", ">now", ">before", ">limit", ">change", ""],
        [
            (
                "ok" if g.passed else "FAIL",
                g.target,
                g.metric,
                "" if g.value is None else number(g.value, g.unit),
                "" if g.base is None else number(g.base, g.unit),
                "" if g.bound is None else number(g.bound, g.unit),
                "" if g.change is None else f"{g.change:+.2%}",
                _why(g),
            )
            for g in check.gates
        ],
    )
    failed = [g for g in check.gates if not g.passed]
    if failed:
        names = ", ".join(f"{g.metric} on {g.target}" for g in failed)
        console.say(f"{len(failed)} of {len(check.gates)} limits are broken: {names}", style="red")
    else:
        console.say(f"all {len(check.gates)} limits hold", style="green")


def _why(g: Gate) -> str:
    if g.passed:
        return ""
    return g.reason or f"{number(g.beyond, g.unit)} beyond {g.limit}"
