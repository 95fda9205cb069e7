"""How often each instruction of a firmware is executed in one inference, counted by QEMU itself
(executed.c, a plugin), and what a Cortex-M4 would take for them by a model.

The count is exact. The cycles are a model, no measurement: Arm's table of instruction timings
(Cortex-M4 Technical Reference Manual r0p1, 3.3.1) without wait states, with loads and stores that
follow each other at one cycle after the first, and three cycles for a branch that is taken.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgeq.compiling import call
from edgeq.errors import MeasurementError
from edgeq.expected import Expected
from edgeq.session import Session
from edgeq.targets import Target
from edgeq.transports.simulator import SimulatorTransport

ENTRY = "eq_model_invoke"

_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(\S+)\t?([^@;]*)")
_CONDITIONAL = re.compile(r"(b(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)|cbn?z)$")
_SEVERAL = re.compile(r"(ld|st|vldm|vstm|push|pop|vpush|vpop)(m\w*)?$")
_SPAN = re.compile(r"[rsd](\d+)-[rsd](\d+)$")


@dataclass(frozen=True)
class Instruction:
    address: int
    mnemonic: str
    operands: str
    function: str


@dataclass(frozen=True)
class Executed:
    """`counts` of the `listing`'s instructions in one inference, by address."""

    counts: Mapping[int, int]
    listing: tuple[Instruction, ...]

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())

    def by_function(self) -> dict[str, int]:
        """Instructions of each function, most first."""
        found: dict[str, int] = {}
        for i in self.listing:
            if count := self.counts.get(i.address):
                found[i.function] = found.get(i.function, 0) + count
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def count_executed(target: Target, image: Path, expected: Expected) -> Executed:
    """Check the golden outputs of the firmware `image`, run it, and count its last inference."""
    listing = disassemble(image)
    begin, end = _window(listing, image)
    with tempfile.TemporaryDirectory(prefix="edgeq-executed-") as name:
        out = Path(name) / "executed.txt"
        words = f"{_plugin()},begin={begin:x},end={end:x},out={out}"
        with Session(target, _Counting(target, image, words)) as session:
            session.measure(expected, runs=2, warmup=0)
        if not out.is_file():
            raise MeasurementError(f"{target.name}: QEMU counted nothing: has it no plugins?")
        rows = (line.split() for line in out.read_text(encoding="ascii").splitlines())
        counts = {int(address, 16): int(count) for address, count in rows}
    counts.pop(end, None)  # Where the caller goes on, which is counted before the window closes.
    return Executed(counts, listing)


def disassemble(image: Path) -> tuple[Instruction, ...]:
    found, function = [], ""
    text = call(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(image)])
    for line in text.splitlines():
        if head := _FUNCTION.match(line):
            function = head[2]
        elif row := _INSTRUCTION.match(line):
            found.append(Instruction(int(row[1], 16), row[2], row[3].strip(), function))
    return tuple(found)


def m4_cycles(executed: Executed) -> int:
    """Cycles of a Cortex-M4 without wait states by the model that the module describes."""
    cycles, follows = 0, False
    for number, i in enumerate(executed.listing):
        count = executed.counts.get(i.address, 0)
        name = i.mnemonic.split(".")[0]
        if _CONDITIONAL.match(name):
            after = executed.listing[number + 1 : number + 2]
            passed = min(count, executed.counts.get(after[0].address, 0)) if after else 0
            cycles += passed + 3 * (count - passed)
            follows = False
            continue
        each, follows = _cycles(name, i.operands, follows)
        cycles += count * each
    return cycles


def _cycles(name: str, operands: str, follows: bool) -> tuple[int, bool]:
    """Of one execution, and whether a load after it is hidden behind it."""
    loads_pc = "pc" in operands.partition("{")[2] or operands.startswith("pc,")
    if name in ("ldrd", "strd"):
        return 3, False
    if _SEVERAL.match(name) and "{" in operands:
        return 1 + _registers(operands) + (2 if loads_pc else 0), False
    if name.startswith(("ldr", "vldr")):
        return (1 if follows else 2) + (2 if loads_pc else 0), True
    if name.startswith(("str", "vstr")):
        return 1, True
    if name in ("sdiv", "udiv"):
        return 7, False  # 2 to 12
    if name in ("b", "bl", "blx", "bx"):
        return 3, False
    if name in ("tbb", "tbh"):
        return 5, False
    if name in ("vdiv", "vsqrt"):
        return 14, False
    if name in ("vmla", "vmls", "vfma", "vfms"):
        return 3, False
    return 1, False


def _registers(operands: str) -> int:
    listed = operands.partition("{")[2].rstrip("}").split(",")
    spans = (_SPAN.match(r.strip()) for r in listed)
    return sum(int(s[2]) - int(s[1]) + 1 if s else 1 for s in spans)


class _Counting(SimulatorTransport):
    def __init__(self, target: Target, image: Path, plugin: str) -> None:
        super().__init__(target, image)
        self._plugin = plugin

    def argv(self, descriptor: int) -> list[str]:
        return [*super().argv(descriptor), "-plugin", self._plugin]


def _window(listing: tuple[Instruction, ...], image: Path) -> tuple[int, int]:
    """Where the timed inference begins, and where its caller goes on."""
    begin = next((i.address for i in listing if i.function == ENTRY), None)
    ends = [
        after.address
        for i, after in zip(listing, listing[1:], strict=False)
        if i.mnemonic == "bl" and i.operands.endswith(f"<{ENTRY}>")
    ]
    if begin is None or len(ends) != 1:
        raise MeasurementError(f"{image}: {ENTRY} is called from {len(ends)} places, not from one")
    return begin, ends[0]


@cache
def _plugin() -> Path:
    """The compiled plugin, in a folder that stays until this program ends."""
    folder = tempfile.TemporaryDirectory(prefix="edgeq-plugin-")
    _FOLDERS.append(folder)
    made = Path(folder.name) / "executed.so"
    source = Path(__file__).with_suffix(".c")
    call(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", str(source), "-o", str(made)])
    return made


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
