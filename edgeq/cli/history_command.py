"""edgeq history: results that are kept, listed and compared."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq import comparison, history, report
from edgeq.cli import console
from edgeq.cli.compare_command import show_comparison
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.history import FOLDER, Entry, Row
from edgeq.project import find_project
from edgeq.results import read_results

_SHOWN = 50

folder_option = click.option(
    "--history",
    "history_folder",
    metavar="DIR",
    help="The folder that keeps results (default: history, beside edgeq.toml).",
)


def folder_of(given: str | None) -> Path:
    """The folder that is meant."""
    if given:
        return Path(given)
    project = find_project(Path.cwd())
    return project.parent / FOLDER if project else Path(FOLDER)


@click.group("history", invoke_without_command=True)
@folder_option
@click.option("--all", "everything", is_flag=True, help=f"All of them (default: last {_SHOWN}).")
@click.option("--json", "json_file", metavar="FILE", help="Write all of them; - is stdout.")
@click.pass_context
def command(
    context: click.Context, history_folder: str | None, everything: bool, json_file: str | None
) -> None:
    """List the results that are kept, with what changed since the one before.

    \b
    edgeq bench build/mps2-an386 --save
    edgeq history
    edgeq history compare last~1 last
    edgeq report now.json --history history
    """
    context.obj = folder_of(history_folder)
    if context.invoked_subcommand is not None:
        return
    kept = history.entries(context.obj)
    if json_file and not console.write_json(json_file, [encode(e) for e in kept]):
        return
    found = history.changes(kept)
    shown = found if everything else found[-_SHOWN:]
    if not kept:
        console.note(f"{context.obj}: keeps nothing yet; edgeq bench --save, edgeq history add")
        return
    console.table(
        [
            "id",
            "time (UTC)",
            "commit",
            "model",
            "scheme",
            "target",
            "engine",
            ">median",
            ">change",
            "valid",
        ],
        [_cells(*row) for row in shown],
    )
    if len(shown) < len(found):
        console.note(f"{len(found) - len(shown)} older rows: --all")


@command.command("add")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@folder_option
@click.pass_obj
def add(folder: Path, files: tuple[Path, ...], history_folder: str | None) -> None:
    """Keep results files of edgeq bench --json, with the commit that is checked out now."""
    folder = folder_of(history_folder) if history_folder else folder
    results = [read_results(file) for file in files]
    for file, found in zip(files, results, strict=True):
        entry = history.save(folder, found, commit=history.commit_of(Path.cwd()))
        console.say(f"{file} is kept as {entry.id} in {folder}")


@command.command("compare")
@click.argument("base", default="last~1")
@click.argument("new", default="last")
@click.option(
    "--fail-above",
    "limits",
    multiple=True,
    metavar="[METRIC=]LIMIT",
    help="How much worse a metric may get, as for edgeq compare.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(comparison.DIFFERENCES),
    help="Compare although this differs. May be repeated.",
)
@folder_option
@click.pass_obj
def compare(
    folder: Path,
    base: str,
    new: str,
    limits: tuple[str, ...],
    allow: tuple[str, ...],
    history_folder: str | None,
) -> int:
    """Compare two kept results, named by the beginning of an id or commit, last, or last~1.

    A network that was changed is compared with what it was: the model's SHA-256 may differ.
    Exit code 1 when a metric got worse by more than its limit and by more than the noise.
    """
    folder = folder_of(history_folder) if history_folder else folder
    kept = history.entries(folder)
    if len(kept) < 2:
        raise UsageError(
            f"{folder} keeps {len(kept)} results, and two are compared",
            hint="edgeq bench --save keeps one",
        )
    entries = [history.find(kept, word) for word in (base, new)]
    before, after = (history.load(folder, entry) for entry in entries)
    found = comparison.compare(before, after, comparison.parse_limits(limits), [*allow, "model"])
    for which, entry, results in zip(("base", "new"), entries, (before, after), strict=True):
        for line in report.circumstances(results):
            console.say(f"{which:<4}  {entry.id}  {_commit(entry)}  {line}")
    show_comparison(found)
    return int(found.regressed)


def _cells(entry: Entry, row: Row, change: float | None) -> tuple[str, ...]:
    return (
        entry.id,
        entry.time,
        _commit(entry),
        row.model,
        row.scheme,
        row.target,
        row.engine,
        report.format_count(row.median, row.unit, row.tick_hz),
        "" if change is None else f"{change:+.2%}",
        "yes" if row.valid else "no",
    )


def _commit(entry: Entry) -> str:
    commit = entry.commit or ""
    return commit[:10] + ("+" if commit.endswith("+") else "")
