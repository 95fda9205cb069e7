"""What a machine says of itself: one script of POSIX sh that any phone, Pi or computer can run.

Its answer is lines of KEY=VALUE. All of it comes from a stranger: values are bounded, printable,
and numbers are numbers or nothing. edgeq.environment reads the same files of this computer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeq import __version__
from edgeq.environment import arm_core, hottest
from edgeq.errors import DeviceFault
from edgeq.measurement import Environment, State
from edgeq.transports.machine import Machine

TIME_LIMIT = 20.0
_VALUE_LIMIT = 200

ARCHITECTURES = {
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armv7l": "armv7",
    "armv8l": "armv7",
    "x86_64": "x86_64",
}
"""What `uname -m` says, and what a target's `arch` calls it; armv8l is a 32-bit process."""

_PRELUDE = """\
say() {
  printf '%s=' "$1"
  shift
  "$@" 2>/dev/null </dev/null | head -c 400 | tr '\\n\\0' '  '
  echo
}
"""

_FACTS = (
    _PRELUDE
    + """\
say machine uname -m
say kernel uname -sr
say os sed -n 's/^PRETTY_NAME=//p' /etc/os-release
say model cat /proc/device-tree/model
say board sed -n 's/^Model[[:space:]]*: *//p' /proc/cpuinfo
say part sed -n 's/^CPU part.*: *//p' /proc/cpuinfo
say name sed -n -e '/^model name/{' -e 's/.*: *//p' -e q -e '}' /proc/cpuinfo
say cores nproc
say python python3 -c 'import platform; print(platform.python_version())'
say glibc getconf GNU_LIBC_VERSION
say exe readlink /proc/$$/exe
for p in ro.product.manufacturer ro.product.model ro.product.cpu.abi ro.build.version.sdk \\
  ro.build.version.release ro.soc.model; do say "$p" getprop "$p"; done
for c in /sys/devices/system/cpu/cpu[0-9]*; do
  for f in cpuinfo_max_freq scaling_max_freq scaling_governor; do
    if [ -r "$c/cpufreq/$f" ]; then say "${c##*/}.$f" cat "$c/cpufreq/$f"; fi
  done
done
echo end=1
"""
)

_STATE = (
    _PRELUDE
    + """\
for f in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq; do
  if [ -r "$f" ]; then say frequency cat "$f"; fi
done
for z in /sys/class/thermal/thermal_zone*; do
  kind=$(head -c 40 "$z/type" | tr -cd 'A-Za-z0-9_-')
  if [ -r "$z/temp" ]; then say "zone.$kind" cat "$z/temp"; fi
done
say load cat /proc/loadavg
say throttled vcgencmd get_throttled
say firmware cat /sys/devices/platform/soc/soc:firmware/get_throttled
say battery cat /sys/class/power_supply/battery/capacity
if command -v dumpsys >/dev/null 2>&1; then
  say level sh -c 'dumpsys battery | grep -m 1 level:'
  say thermal sh -c 'dumpsys thermalservice | grep -m 1 "Thermal Status"'
fi
echo end=1
"""
)


@dataclass(frozen=True)
class Facts:
    """What does not change while we are there.

    `arch` is a target's word, None for a processor that edgeq has no runner for. `python` and
    `glibc` are versions ("3.11.2", "2.36"), `max_khz` and `governor` are by core; `environment`
    is the same for a result.
    """

    arch: str | None
    machine: str
    is_android: bool
    python: str | None
    glibc: str | None
    emulator: str | None
    max_khz: Mapping[int, int]
    environment: Environment


def probe(machine: Machine) -> Facts:
    """Ask an opened machine what it is. Raises DeviceError."""
    said = _ask(machine, _FACTS)
    emulator = _emulator(_first(said, "exe"))
    is_android = bool(_first(said, "ro.product.cpu.abi"))
    max_khz = _by_core(said, "cpuinfo_max_freq")
    kernel = _first(said, "kernel")
    name = _first(said, "machine") or ""
    return Facts(
        arch=ARCHITECTURES.get(name),
        machine=name,
        is_android=is_android,
        python=_version(_first(said, "python")),
        glibc=_version((_first(said, "glibc") or "").removeprefix("glibc ")),
        emulator=emulator,
        max_khz=max_khz,
        environment=Environment(
            device=_device(said, emulator),
            arch=ARCHITECTURES.get(name, name or None),
            cpu=_cpu(said),
            cores=_integer(_first(said, "cores")),
            os=", ".join(filter(None, (_os(said, is_android), kernel))) or None,
            governor=_governors(said),
            frequency_limit_khz=max(_by_core(said, "scaling_max_freq").values(), default=None),
            edgeq_version=__version__,
            soc=_first(said, "ro.soc.model"),
            abi=_first(said, "ro.product.cpu.abi"),
            sdk=_integer(_first(said, "ro.build.version.sdk")),
            emulator=emulator,
        ),
    )


def read_state(machine: Machine) -> State:
    """Its clock, temperature and the like at this moment. Raises DeviceError."""
    said = _ask(machine, _STATE)
    load = (_first(said, "load") or "").split()
    return State(
        frequency_khz=max(filter(None, map(_integer, said.get("frequency", []))), default=None),
        temperature_c=_temperature(said),
        load_average=_number(load[0]) if load else None,
        pi_throttled=_throttled(said),
        thermal_status=_integer((_first(said, "thermal") or "").rpartition(" ")[2]),
        battery_percent=_battery(said),
    )


def _ask(machine: Machine, script: str) -> dict[str, list[str]]:
    ended = machine.run(script, TIME_LIMIT)
    said: dict[str, list[str]] = {}
    for line in ended.output.decode("utf-8", errors="replace").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            said.setdefault(key.strip(), []).append(_printable(value))
    if "end" not in said:
        raise DeviceFault(
            f"{machine.name}: its shell could not say what machine it is (exit code {ended.code})",
            hint="edgeq needs a POSIX sh there, with uname, sed, head, tr and cat",
        )
    return said


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_VALUE_LIMIT]).strip().strip('"')


def _first(said: Mapping[str, Sequence[str]], key: str) -> str | None:
    return next(iter(said.get(key, ())), None) or None


def _emulator(exe: str | None) -> str | None:
    """The program that runs the shell: under QEMU's user emulation another process sees it."""
    found = re.search(r"qemu-[a-z0-9_]+", exe or "")
    return f"QEMU's {found[0]}" if found else None


def _device(said: Mapping[str, Sequence[str]], emulator: str | None) -> str | None:
    phone = filter(None, (_first(said, f"ro.product.{k}") for k in ("manufacturer", "model")))
    name = _first(said, "model") or _first(said, "board") or " ".join(phone) or None
    return f"{emulator} as {name or 'a machine'}" if emulator else name


def _os(said: Mapping[str, Sequence[str]], is_android: bool) -> str | None:
    release = _first(said, "ro.build.version.release")
    return f"Android {release or '?'}" if is_android else _first(said, "os")


def _cpu(said: Mapping[str, Sequence[str]]) -> str | None:
    parts = [_integer(part, 16) for part in (_first(said, "part") or "").split()]
    cores = [arm_core(part) for part in parts if part is not None]
    return " + ".join(dict.fromkeys(cores)) or _first(said, "name")


def _by_core(said: Mapping[str, Sequence[str]], name: str) -> dict[int, int]:
    found = {}
    for key in said:
        core = re.fullmatch(rf"cpu(\d{{1,4}})\.{name}", key)
        value = _integer(_first(said, key))
        if core and value:
            found[int(core[1])] = value
    return dict(sorted(found.items()))


def _governors(said: Mapping[str, Sequence[str]]) -> str | None:
    found = [_first(said, key) for key in said if key.endswith(".scaling_governor")]
    return ", ".join(dict.fromkeys(filter(None, found))) or None


def _temperature(said: Mapping[str, Sequence[str]]) -> float | None:
    zones = [(key.removeprefix("zone."), v) for key, v in said.items() if key.startswith("zone.")]
    return hottest((kind, _number(value)) for kind, values in zones for value in values)


def _throttled(said: Mapping[str, Sequence[str]]) -> int | None:
    text = (_first(said, "throttled") or "").removeprefix("throttled=")
    return _integer(text, 16) if text else _integer(_first(said, "firmware"), 16)


def _battery(said: Mapping[str, Sequence[str]]) -> float | None:
    text = _first(said, "battery") or (_first(said, "level") or "").rpartition(" ")[2]
    percent = _number(text)
    return percent if percent is not None and 0 <= percent <= 100 else None


def _version(text: str | None) -> str | None:
    found = re.match(r"\d{1,3}(\.\d{1,3}){1,2}", text or "")
    return found[0] if found else None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"-?\d{1,12}(\.\d{1,12})?", text) else None


def _integer(text: str | None, base: int = 10) -> int | None:
    pattern = r"-?\d{1,15}" if base == 10 else r"(0x)?[0-9a-fA-F]{1,12}"
    return int(text, base) if text and re.fullmatch(pattern, text) else None
