"""What a compiled network takes of a microcontroller: flash, RAM and stack of <name>_run, measured.

Flash and RAM are those of an image that holds <name>_run and what it calls, the C library's memcpy
and the like too, and nothing else. The stack is bounded without running anything: each function's
frame is the compiler's own number (-fstack-usage), the calls are the image's disassembly. What
cannot be followed gives no number instead of a wrong one.
"""

from __future__ import annotations

import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.codegen.aot import Compiled
from edgeq.codegen.aot.lines_dsp import LINES
from edgeq.codegen.facts import Export, Footprint
from edgeq.codegen.readme import FLAGS
from edgeq.compiling import call
from edgeq.errors import ConversionError, MissingProgram
from edgeq.firmware import COMPILER, compile_source, compiler_version
from edgeq.targets import Core

_TOOL = COMPILER.removesuffix("gcc")

_INDIRECT = {
    "eq_model_invoke": ("run",),
    "eq_model_invoke_hooked": ("run",),
    "eq_model_init": ("reset",),
    "eq_model_reset": ("reset",),
    "run": (),  # Its hook, which is null in <name>_run.
    "eq_blocks_run": (),  # Jumps into its own loop, as the next ones.
    "eq_pixel_run": (),
    "eq_depthwise_conv_3x3_s8_dsp": LINES,
    "eq_compute_lines": LINES,
    **dict.fromkeys(LINES, ()),
}
"""What is called through pointers, and which functions jump into loops of their own."""

_RECURSION = {"side": 5}
"""How deep a function calls itself: eq_pad_s8.c goes through EQ_PAD_RANK dimensions."""


def measure(export: Export, compiled: Compiled, core: Core) -> Footprint | None:
    """Compile, link and read the sizes of the network for `core`.

    None without arm-none-eabi-gcc, or without the C library that belongs to it: a bundle is
    complete without these numbers.
    """
    try:
        return _measure(export, compiled, core)
    except (MissingProgram, ConversionError):
        return None


def _measure(export: Export, compiled: Compiled, core: Core) -> Footprint:
    entry = f"{export.name}_run"
    with tempfile.TemporaryDirectory(prefix="edgeq-footprint-") as temporary:
        folder = Path(temporary)
        image = link(export.name, compiled, core, folder)
        # Berkeley format: a line of titles, then text (with constants), data and bss.
        sizes = call([f"{_TOOL}size", str(image)]).splitlines()[-1].split()
        code, data, bss = map(int, sizes[:3])
        listing = call([f"{_TOOL}objdump", "-d", "--no-show-raw-insn", str(image)])
        frames = read_frames(p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.su")))
    return Footprint(
        flash=code + data,
        weights=compiled.weights_size,
        ram=data + bss,
        stack=worst_stack(listing, frames, entry),
        compiler=compiler_version(),
        flags=(*FLAGS, *core.cflags),
    )


def link(name: str, compiled: Compiled, core: Core, folder: Path) -> Path:
    """The ELF image of <name>_run and all that it calls, made in `folder`, with the compiler's
    reports of stack frames beside its objects (*.su).

    Raises MissingProgram and ConversionError.
    """
    entry = f"{name}_run"
    for file, text in compiled.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    sources = [*compiled.sources, f"{entry}.c"]
    objects = [compile_source(folder, s, core, "-fstack-usage") for s in sources]
    image = folder / "image.elf"
    options = ("-nostartfiles", "-Wl,--gc-sections", f"-Wl,-e,{entry}")
    call([COMPILER, *core.cflags, *options, *map(str, objects), "-o", str(image)])
    return image


# --- The stack ----------------------------------------------------------------------------------

_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^ *[0-9a-f]+:\t(\S+)\t?([^@;]*)")
_TARGET = re.compile(r"\b([0-9a-f]+) <([^>]+)>")
_CONDITION = "eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"
_BRANCH = re.compile(rf"(b|bl|blx|bx|cbz|cbnz|b({_CONDITION}))(\.[nw])?")
_JUMP = re.compile(r"(mov|ldr|add)\S* pc, (?!lr$|\[sp).*")
_STORES = ("stmdb", "vstmdb")
_TAKES = re.compile(r"subw? sp, (?:sp, )?#(\d+)|strd? .*\[sp, #-(\d+)\]!")
_MOVES_STACK = re.compile(r"(sub|mov|ldr|bic|and|msr)\S* sp,|add\S* sp, (sp, )?[^#s]|.*\[sp.*\]!")
_REGISTERS = re.compile(r"\b([rsdq]?)(\d+|sb|sl|fp|ip|lr|pc)\b(?:-[sdq](\d+))?")
_BYTES = {"d": 8, "q": 16}


@dataclass(frozen=True)
class _Function:
    """A function of the image: what it takes of the stack itself, and the addresses it calls."""

    name: str
    frame: int | None
    calls: frozenset[int]
    follows_pointers: bool


def read_frames(reports: Iterable[str]) -> dict[str, int | None]:
    """Function -> bytes, from the files that -fstack-usage writes; None where it has no bound."""
    frames: dict[str, int | None] = {}
    for line in "".join(reports).splitlines():
        place, size, kind = line.split("\t")
        name = place.rsplit(":", 1)[-1]
        bounded = int(size) if kind in ("static", "dynamic,bounded") else None
        # Static functions of two files can have one name: the larger frame is true of both.
        known = frames.get(name, 0)
        frames[name] = None if bounded is None or known is None else max(bounded, known)
    return frames


def worst_stack(listing: str, frames: Mapping[str, int | None], entry: str) -> int | None:
    """The most bytes of stack below the caller of `entry`, or None when there is no bound.

    `listing` is objdump's disassembly; functions without an entry in `frames` are the compiler's
    and the C library's own, whose frames are read off their instructions.
    """
    functions = _read_functions(listing, frames)
    names = {function.name: address for address, function in functions.items()}

    def depth(address: int, above: tuple[int, ...]) -> int | None:
        function = functions.get(address)
        if function is None or function.frame is None or address in above:
            return None
        calls, frame = set(function.calls), function.frame
        if address in calls and function.name in _RECURSION:
            calls.remove(address)
            frame *= _RECURSION[function.name]
        if function.follows_pointers:
            if function.name not in _INDIRECT:
                return None
            calls |= {names[name] for name in _INDIRECT[function.name] if name in names}
        deepest = 0
        for callee in calls:
            below = depth(callee, (*above, address))
            if below is None:
                return None
            deepest = max(deepest, below)
        return frame + deepest

    return depth(names[entry], ()) if entry in names else None


def _read_functions(listing: str, frames: Mapping[str, int | None]) -> dict[int, _Function]:
    functions: dict[int, _Function] = {}
    for block in listing.split("\n\n"):
        first, *lines = block.strip("\n").split("\n")
        head = _FUNCTION.match(first)
        if head is None:
            continue
        address, symbol = int(head[1], 16), head[2]
        found = [m for m in map(_INSTRUCTION.match, lines) if m]
        instructions = [(m[1], m[2].strip()) for m in found]
        # What the compiler cloned is called eq_softmax.isra.0, and eq_softmax.isra in its report.
        name = re.sub(r"(\.\d+)+$", "", symbol)
        calls, follows_pointers = _calls(symbol, instructions)
        frame = frames[name] if name in frames else _frame(instructions)
        if name not in frames:  # In the compiler's own code these are tables of a switch.
            follows_pointers |= any(_JUMP.fullmatch(" ".join(i)) for i in instructions)
        functions[address] = _Function(name, frame, calls, follows_pointers)
    # Assembly jumps into the middle of other functions, too.
    starts = sorted(functions)
    for address, function in functions.items():
        calls = frozenset(starts[max(bisect_right(starts, c), 1) - 1] for c in function.calls)
        functions[address] = replace(function, calls=calls)
    return functions


def _calls(symbol: str, instructions: list[tuple[str, str]]) -> tuple[frozenset[int], bool]:
    """The addresses that a function calls or jumps to, and whether it uses pointers for it."""
    calls, follows_pointers = set(), False
    for mnemonic, operands in instructions:
        if not _BRANCH.fullmatch(mnemonic):
            continue
        target = _TARGET.search(operands)
        if target is None:
            follows_pointers |= operands != "lr"
        elif target[2] == symbol and mnemonic in ("bl", "bl.w"):
            calls.add(int(target[1], 16))  # Recursion, where a plain branch is a loop.
        elif target[2].split("+")[0] != symbol:
            calls.add(int(target[1], 16))
    return frozenset(calls), follows_pointers


def _frame(instructions: list[tuple[str, str]]) -> int | None:
    """All that the instructions take of the stack together; None where one takes what it likes."""
    total = 0
    for mnemonic, operands in instructions:
        name = mnemonic.removesuffix(".w").removesuffix(".n")
        pushed = name in ("push", "vpush") or (name in _STORES and operands.startswith("sp!,"))
        taken = _TAKES.fullmatch(f"{name} {operands}")
        if pushed:
            total += _register_bytes(operands)
        elif taken:
            total += int(taken[1] or taken[2])
        elif _MOVES_STACK.match(f"{name} {operands}"):
            return None
    return total


def _register_bytes(operands: str) -> int:
    total = 0
    for kind, first, last in _REGISTERS.findall(operands[operands.index("{") :]):
        count = int(last) - int(first) + 1 if last else 1
        total += count * _BYTES.get(kind, 4)
    return total
