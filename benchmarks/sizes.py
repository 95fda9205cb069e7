"""Flash and RAM that a network takes, compiled by engine aot for a Cortex-M core.

    python benchmarks/sizes.py [MODEL.tflite ...] [--target cortex-m4] [--json FILE]

The network is linked with the kernels that it calls and with nothing of a board, at -O2 and with
--gc-sections, and the linked file's own symbols are added up:

  weights    the constants that were trained: int8 (int16x8: too) weights, biases, other constant
             tensors; the zero point is folded into the biases
  scales     the multiplier (4 bytes) and the shift (1 byte) of each output channel or tensor, which
             in a .tflite are floats: constants of the network as well
  tables     all other constants: lookup tables, parameters, descriptions of layers, inputs, outputs
  code       the calls, the kernels, and what they take from the C library
  beside     scales + tables + code: all but the weights

Arena is the RAM for all activations and scratch, inputs and outputs included. Stack is the
high-water mark of the firmware that serves the network on a serial line, in the target's emulator.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from networks import build_for, networks, run_emulated

from edgeq.building import Built
from edgeq.codegen.aot import Compiled
from edgeq.errors import EdgeqError
from edgeq.firmware import COMPILER
from edgeq.targets import Core

FLAGS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections")
LINKING = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-e,main")
MAIN = """\
#include "{name}.h"
static uint8_t arena[{upper}_ARENA_SIZE] EQ_ALIGNED;
int main(void) {{
    return eq_model_init(&{name}_model, arena, sizeof arena) ||
           eq_model_invoke(&{name}_model, arena);
}}
"""
_CODE = "tTwW"
_WEIGHTS = re.compile(r"(tensor_\d+|\w+_(weights|bias|features|times))$")
_SCALES = re.compile(r"\w+_(multipliers|shifts)$")
COLUMNS = ("weights", "scales", "tables", "code", "beside", "flash", "arena", "stack")


@dataclass(frozen=True)
class Sizes:
    """All in bytes; `stack` is None without an emulator."""

    model: str
    target: str
    weights: int
    scales: int
    tables: int
    code: int
    beside: int
    flash: int
    arena: int
    stack: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL.tflite", help="quantized models")
    parser.add_argument("--target", default="cortex-m4", help="default: cortex-m4")
    parser.add_argument("--no-stack", action="store_true", help="run no emulator")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        for network in networks(options.models, folder):
            (built,) = build_for(network, [options.target], folder / "build")
            found.append(measure(built, not options.no_stack))
    print(f"bytes for {options.target}, engine aot, {compiler()} -O2")
    print(f"{'model':<24}" + "".join(f"{c:>10}" for c in COLUMNS))
    for sizes in found:
        cells = (getattr(sizes, c) for c in COLUMNS)
        print(f"{sizes.model:<24}" + "".join(f"{'?' if c is None else c:>10}" for c in cells))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(s) for s in found], indent=2) + "\n")


def measure(built: Built, runs: bool) -> Sizes:
    """The sizes of one built network; `runs` its firmware for the stack, where there is one."""
    name, core, compiled = built.prepared.model.name, built.target.core, built.compiled
    if core is None or compiled is None:
        raise EdgeqError(f"{built.target.name}: engine aot compiles for microcontrollers")
    stack = None
    if runs and built.firmware is not None and built.target.sim is not None:
        stack = run_emulated(built.folder, runs=1)[1].stack_used
    with tempfile.TemporaryDirectory() as folder:
        image = link(name, compiled, core, Path(folder))
        parts = classify(symbols(image))
        total = flash(image)
    # What has no symbol (strings, alignment) is in `flash` only: it is constants.
    tables = total - parts["weights"] - parts["scales"] - parts["code"]
    return Sizes(
        model=name,
        target=built.target.name,
        weights=parts["weights"],
        scales=parts["scales"],
        tables=tables,
        code=parts["code"],
        beside=total - parts["weights"],
        flash=total,
        arena=compiled.plan.size,
        stack=stack,
    )


def link(name: str, compiled: Compiled, core: Core, folder: Path) -> Path:
    """The network and what it calls, as a linked image that starts at main."""
    for file, text in compiled.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    (folder / "main.c").write_text(MAIN.format(name=name, upper=name.upper()), encoding="utf-8")
    sources = [str(folder / s) for s in (*compiled.sources, "main.c")]
    image = folder / "network.elf"
    argv = [COMPILER, *core.cflags, *FLAGS, f"-I{folder}", *sources, *LINKING, "-o", str(image)]
    subprocess.run(argv, check=True)
    return image


def symbols(image: Path) -> list[tuple[str, int, str]]:
    """(name, size, nm's letter for its kind) of every symbol that takes room."""
    done = _output("arm-none-eabi-nm", "-S", "--defined-only", str(image))
    rows = (line.split() for line in done.splitlines())
    return [(row[3], int(row[1], 16), row[2]) for row in rows if len(row) == 4]


def classify(found: list[tuple[str, int, str]]) -> Counter[str]:
    """Bytes of weights, scales and code, by the names that engine aot gives its constants."""
    parts: Counter[str] = Counter()
    for name, size, kind in found:
        if kind in _CODE:
            parts["code"] += size
        elif kind in "rR" and _SCALES.match(name):
            parts["scales"] += size
        elif kind in "rR" and _WEIGHTS.match(name):
            parts["weights"] += size
    return parts


def flash(image: Path) -> int:
    """Bytes of code and constants, and of the values that variables begin with."""
    text, data = _output("arm-none-eabi-size", str(image)).splitlines()[1].split()[:2]
    return int(text) + int(data)


def compiler() -> str:
    return _output(COMPILER, "--version").splitlines()[0]


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        sys.exit(f"error: {e}")
