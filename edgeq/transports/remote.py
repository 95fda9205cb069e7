"""What ssh and a console share: scripts for the machine, and what its words mean."""

from __future__ import annotations

from edgeq.errors import DeviceFault, UsageError
from edgeq.protocol import printable


def kill_script(word: str, *, signal: str = "KILL", one_line: bool = False) -> str:
    """A script that sends `signal` to all processes with EDGEQ_RUN=`word`.

    Thrice, or until there are none, for those that are started meanwhile.
    """
    lines = (
        "for turn in 1 2 3; do",
        f"found=$(grep -ls EDGEQ_RUN={word} /proc/[0-9]*/environ)",
        '[ "$found" ] || break',
        "for each in $found; do",
        f"each=${{each#/proc/}}; kill -{signal} ${{each%/environ}} 2>/dev/null",
        "done",
        "done",
    )
    text = "\n".join(lines)
    return text.replace("do\n", "do ").replace("\n", "; ") if one_line else text


def check_name(name: str) -> None:
    """Raise UsageError for what is not a name below a folder."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise UsageError(f"{name!r}: no name of a file below a folder")


def push_error(name: str, target: str, code: int, words: bytes) -> DeviceFault:
    """The error for a file that could not be written; `words` is what was said of it."""
    said = words.decode(errors="replace")
    where = f"{name}: {printable(target.encode(errors='backslashreplace'))}"
    if "No space left" in said or "quota exceeded" in said:
        return DeviceFault(
            f"{where}: no space left there; nothing was written",
            hint="free some on the machine ('df -h' says where); edgeq's own is in ~/.cache/edgeq",
        )
    if "Permission denied" in said or "Read-only file system" in said:
        return DeviceFault(
            f"{where}: may not be written there; nothing was",
            hint="whose is the folder? 'ls -ld' there; sudo chown it to this user, or give another",
        )
    lines = [line for line in said.splitlines() if line.strip()]
    last = printable(lines[-1].encode())[:300] if lines else f"exit code {code}"
    return DeviceFault(f"{where}: was not written: {last}", hint="try again; look at the folder")
