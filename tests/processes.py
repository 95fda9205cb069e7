"""What has become of a process that is no child of ours."""

import time
from pathlib import Path

import pytest


def assert_gone(pid: int, within: float = 10) -> None:
    """It ends `within` seconds; one that only nobody has reaped yet is gone too."""
    end = time.monotonic() + within
    while _is_running(pid):
        if time.monotonic() > end:
            pytest.fail(f"process {pid} is still there")
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_of(program: Path) -> list[int]:
    """Who runs the file `program`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "exe").samefile(program):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
