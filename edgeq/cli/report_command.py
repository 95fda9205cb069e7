"""edgeq report: results and bundles as one page, or for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq import history, reporting
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.history import FOLDER
from edgeq.project import Project, find_project, load_project


@click.command("report")
@click.argument(
    "sources", metavar="RESULT|BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("-o", "--output", metavar="FILE", help="Where it goes; - is stdout.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(list(reporting.FORMATS)),
    help="Default: by the ending of -o, else html to report.html.",
)
@click.option(
    "--history",
    "history_folder",
    metavar="DIR",
    help="Results kept by edgeq history, plotted over commits (default: history, if there).",
)
def command(
    sources: tuple[Path, ...], output: str | None, kind: str | None, history_folder: str | None
) -> None:
    """Write what was measured and proved as a page that opens anywhere, without a network.

    Each of the arguments is a results file (edgeq bench --json), a file of edgeq check --json, a
    bundle, or a folder of bundles. The bundle of a result is also looked for where edgeq build
    puts it.

    \b
    edgeq report now.json
    edgeq report boards.json phone.json build -o report.html
    edgeq report now.json --format md
    """
    kind = kind or _kind(output)
    output = output or ("report.html" if kind == "html" else "-")
    check_destinations({"--output": output}, sources)
    project = _project()
    folder = Path(history_folder) if history_folder else _beside(project, FOLDER)
    places = [project.output if project else Path("build")]
    report = reporting.open_sources(sources, places, history.entries(folder))
    if console.write(output, reporting.FORMATS[kind](report)):
        _, sentence = reporting.headline(report)
        console.say(f"{output}: {sentence}")


def _project() -> Project | None:
    found = find_project(Path.cwd())
    return load_project(found) if found else None


def _beside(project: Project | None, name: str) -> Path:
    return project.source.parent / name if project else Path(name)


_ENDINGS = {
    ".md": "md",
    ".json": "json",
    ".csv": "csv",
    ".xml": "junit",
}


def _kind(output: str | None) -> str:
    return _ENDINGS.get(Path(output or "").suffix.lower(), "html")
