"""What every command prints with: tables, progress, errors.

Results go to stdout, everything else to stderr. Progress is drawn on a terminal only. Text from
models, files and devices is never read as markup, and its control characters are shown, not sent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeq.documents import plain, to_json, write_text

if TYPE_CHECKING:
    from edgeq.lint import Finding


def out() -> Console:
    return _console(sys.stdout)


def err() -> Console:
    return _console(sys.stderr)


def _console(stream: object) -> Console:
    console = Console(file=stream, highlight=False, soft_wrap=True)  # type: ignore[arg-type]
    if not console.is_terminal:
        console.width = 160  # A pipe has no width: do not fold tables that scripts read.
    return console


def say(line: str = "", style: str | None = None) -> None:
    """One line of result."""
    out().print(Text(plain(line), style=style or ""))


def warn_of(findings: Iterable[Finding]) -> None:
    """What looks wrong in samples, with what to do, a line each."""
    for finding in findings:
        warn(f"{finding.message}. {finding.hint[0].upper()}{finding.hint[1:]}.")


def note(line: str) -> None:
    """One line beside the result, on stderr."""
    err().print(Text(plain(line), style="dim"))


def show_line(seconds: float, direction: str, line: str) -> None:
    """A line of a device's, for --trace: seconds since opening, ">" (to it) or "<"."""
    note(f"{seconds:9.3f} {direction} {line}")


def warn(line: str) -> None:
    err().print(Text("warning: ", style="yellow") + Text(plain(line)))


def print_error(message: str, hint: str | None) -> None:
    console = err()
    console.print(Text("error: ", style="bold red") + Text(plain(message)))
    if hint:
        for i, line in enumerate(plain(hint).splitlines()):
            console.print(Text("hint:  " if i == 0 else "       ", style="cyan") + Text(line))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
) -> None:
    """A table on stdout. A column named with a leading ">" is aligned to the right."""
    drawn = Table(box=None, title=title, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(
            Text(column.removeprefix(">"), style="bold"),
            justify="right" if right else "left",
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*(Text(plain("" if cell is None else cell)) for cell in row))
    out().print(drawn)


class Progress:
    """`progress(step, done, total)` draws one line on a terminal and nothing in a pipe."""

    def __init__(self) -> None:
        self._console = err()
        self._shown = ""
        self._last = 0.0
        self._started: dict[str, float] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        if not self._console.is_terminal:
            return
        now = time.monotonic()
        start = self._started.setdefault(step, now)
        if done < total and now - self._last < 0.1:
            return
        self._last = now
        line = plain(step)
        if total > 0:
            left = (now - start) / done * (total - done) if done else 0.0
            line += f"  {done}/{total}" + (f"  {left:.0f} s left" if left >= 1 else "")
        self._draw(line)

    def clear(self) -> None:
        self._draw("")

    def _draw(self, line: str) -> None:
        if self._console.is_terminal and line != self._shown:
            width = max(1, self._console.width - 1)
            self._console.file.write("\r\x1b[2K" + line[:width])
            self._console.file.flush()
            self._shown = line


def write(destination: str, text: str) -> bool:
    """Write `text` to a file, or to stdout for "-"; whether stdout is still free for people."""
    if destination == "-":
        sys.stdout.write(text)
        return False
    write_text(Path(destination), text)
    return True


def write_json(destination: str, document: Any) -> bool:
    """The same for plain tables and lists, as JSON."""
    return write(destination, to_json(document))


def human_bytes(size: int) -> str:
    """1536 -> "1.5 KiB"."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
