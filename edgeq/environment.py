"""What this machine says of itself, from /proc and /sys; what it does not say is None.

Every function takes the `root` of the file system, so that a test can bring its own.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from edgeq import __version__
from edgeq.measurement import Environment, State

ROOT = Path("/")

_ARM_CORES = {
    0xB76: "ARM1176",
    0xC07: "Cortex-A7",
    0xC08: "Cortex-A8",
    0xC09: "Cortex-A9",
    0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD4F: "Neoverse-V2",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}
"""Main ID register, part number, of implementer 0x41 (Arm Ltd); from the cores' manuals."""


def read_state(root: Path = ROOT) -> State:
    """The clock, temperature and load at this moment."""
    load = (_text(root, "proc/loadavg") or "").split()
    return State(
        frequency_khz=_highest(root, "scaling_cur_freq"),
        temperature_c=_temperature(root),
        load_average=_number(load[0]) if load else None,
        x86_throttle_count=_x86_throttle_count(root),
        pi_throttled=_integer(
            _text(root, "sys/devices/platform/soc/soc:firmware/get_throttled"), base=16
        ),
    )


def describe_host(
    before: State,
    after: State,
    *,
    threads: int,
    engine_version: str | None,
    kernels: str | None,
    processor_share: float | None = None,
    busy_elsewhere: float | None = None,
    root: Path = ROOT,
) -> Environment:
    """The Environment of something that was measured on this machine."""
    return Environment(
        device=_device(root),
        arch=platform.machine() or None,
        cpu=_cpu(root),
        cores=_cores(),
        os=_os(root),
        python=platform.python_version(),
        governor=_text(root, f"{_CPUS}/cpu0/cpufreq/scaling_governor"),
        frequency_limit_khz=_highest(root, "scaling_max_freq"),
        threads=threads,
        engine_version=engine_version,
        kernels=kernels,
        edgeq_version=__version__,
        processor_share=processor_share,
        busy_elsewhere=busy_elsewhere,
        before=before,
        after=after,
    )


def busy_seconds(root: Path = ROOT) -> float | None:
    """CPU seconds since boot that all cores together spent on anything but waiting.

    From the first line of /proc/stat (proc_stat(5)): user, nice, system, irq, softirq, steal, in
    ticks of 1/100 s. Time that a hypervisor gave to others (steal) is time that was not ours.
    """
    words = (_text(root, "proc/stat") or "").split("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    counts = [_number(words[i]) for i in (1, 2, 3, 6, 7, 8)]
    return sum(c or 0.0 for c in counts) / os.sysconf("SC_CLK_TCK")


def arm_core(part: int) -> str:
    """The name of Arm Ltd's core with this part number in its Main ID register."""
    return _ARM_CORES.get(part, f"Arm core {part:#x}")


_CPUS = "sys/devices/system/cpu"


def _device(root: Path) -> str | None:
    tree = _text(root, "proc/device-tree/model")  # A Raspberry Pi, a phone, most boards.
    if tree:
        return tree
    maker = _text(root, "sys/class/dmi/id/sys_vendor")
    product = _text(root, "sys/class/dmi/id/product_name")
    return " ".join(filter(None, (maker, product))) or None


def _cpu(root: Path) -> str | None:
    text = _text(root, "proc/cpuinfo") or ""
    fields = re.findall(r"^(model name|CPU implementer|CPU part)\s*:\s*(.+)$", text, re.MULTILINE)
    names = [value.strip() for key, value in fields if key == "model name"]
    if not names or names[0].startswith("ARM"):  # 32-bit Arm: "ARMv7 Processor rev 3 (v7l)".
        arm = any(key == "CPU implementer" and value.strip() == "0x41" for key, value in fields)
        parts = [_integer(value, base=16) for key, value in fields if key == "CPU part"]
        cores = [arm_core(part) for part in parts if arm and part is not None]
        names = cores or names
    return " + ".join(dict.fromkeys(names)) or None


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _os(root: Path) -> str:
    found = re.search(
        r'^PRETTY_NAME="?([^"\n]+)', _text(root, "etc/os-release") or "", re.MULTILINE
    )
    return ", ".join(
        filter(None, (found and found[1], f"{platform.system()} {platform.release()}"))
    )


def _temperature(root: Path) -> float | None:
    folders = _matches(root, "sys/class/thermal", "thermal_zone*")
    return hottest((_text(f, "type") or "", _number(_text(f, "temp"))) for f in folders)


def hottest(zones: Iterable[tuple[str, float | None]]) -> float | None:
    """°C of the hottest of the processor's thermal zones, or of all where none is named after it.

    `zones` are their types and what they read, in millidegrees.
    """
    celsius: dict[bool, list[float]] = {True: [], False: []}
    for kind, millidegrees in zones:
        # Sensors that are not connected answer 0, -274 °C or worse.
        if millidegrees is not None and 0 < millidegrees < 150_000:
            is_processor = bool(re.search(r"cpu|soc|pkg|core", kind.lower()))
            celsius[is_processor].append(millidegrees / 1000)
    return max(celsius[True] or celsius[False], default=None)


def _x86_throttle_count(root: Path) -> int | None:
    names = ("core_throttle_count", "package_throttle_count")
    counts = [
        _integer(_text(folder, f"thermal_throttle/{name}"))
        for folder in _matches(root, _CPUS, "cpu[0-9]*")
        for name in names
    ]
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def _highest(root: Path, name: str) -> int | None:
    folders = _matches(root, _CPUS, "cpu[0-9]*")
    values = [_integer(_text(folder, f"cpufreq/{name}")) for folder in folders]
    return max((v for v in values if v), default=None)


def _matches(root: Path, folder: str, pattern: str) -> list[Path]:
    try:
        return sorted((root / folder).glob(pattern))
    except OSError:
        return []


def _text(root: Path, name: str) -> str | None:
    """The text of a file that may be absent, forbidden, or (some sensors) fail on reading."""
    try:
        text = (root / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.strip("\0 \n\t") or None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _integer(text: str | None, base: int = 10) -> int | None:
    try:
        return int(text, base) if text else None
    except ValueError:
        return None
