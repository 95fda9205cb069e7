"""Flash and RAM that a network takes, compiled by engine aot for a Cortex-M core.

    python benchmarks/sizes.py [MODEL.tflite ...] [--target cortex-m4] [--json FILE]

The network is linked with the kernels that it calls and with nothing of a board, as for the numbers
in a bundle's README (edgeq.footprint), and the linked file's own symbols are added up:

  weights    the constants that were trained: int8 (int16x8: too) weights, biases, other constant
             tensors; the zero point is folded into the biases
  scales     the multiplier (4 bytes) and the shift (1 byte) of each output channel or tensor, which
             in a .tflite are floats: constants of the network as well
  tables     all other constants: lookup tables, parameters, descriptions of layers, inputs, outputs
  code       the calls, the kernels, and what they take from the C library
  beside     scales + tables + code: all but the weights

Arena is the RAM for all activations and scratch, inputs and outputs included. Stack is that of one
call, from the compiler's frames, or ? where these have no bound.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from networks import build_for, networks

from edgeq.building import Built
from edgeq.compiling import call
from edgeq.errors import EdgeqError
from edgeq.footprint import link

_CODE = "tTwW"
_WEIGHTS = re.compile(r"(tensor_\d+|\w+_(weights|bias|features|times|packed))$")
_SCALES = re.compile(r"\w+_(multipliers|shifts)$")
COLUMNS = ("weights", "scales", "tables", "code", "beside", "flash", "arena", "stack")


@dataclass(frozen=True)
class Sizes:
    """All in bytes; `stack` is None where it is not known."""

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
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        for network in networks(options.models, folder):
            (built,) = build_for(network, [options.target], folder / "build")
            found.append(measure(built))
            footprint = built.footprint
    print(f"bytes for {options.target}, engine aot, {footprint.compiler if footprint else ''} -O2")
    print(f"{'model':<24}" + "".join(f"{c:>10}" for c in COLUMNS))
    for sizes in found:
        cells = (getattr(sizes, c) for c in COLUMNS)
        print(f"{sizes.model:<24}" + "".join(f"{'?' if c is None else c:>10}" for c in cells))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(s) for s in found], indent=2) + "\n")


def measure(built: Built) -> Sizes:
    """The sizes of one built network."""
    name, core, compiled = built.prepared.model.name, built.target.core, built.compiled
    if core is None or compiled is None:
        raise EdgeqError(f"{built.target.name}: engine aot compiles for microcontrollers")
    if built.footprint is None:
        raise EdgeqError("arm-none-eabi-gcc, or its C library, is missing", hint="edgeq doctor")
    with tempfile.TemporaryDirectory() as folder:
        parts = classify(symbols(link(name, compiled, core, Path(folder))))
    parts["weights"] -= compiled.scales_size
    parts["scales"] += compiled.scales_size
    flash = built.footprint.flash
    # What has no symbol (strings, alignment) is in `flash` only: it is constants.
    tables = flash - parts["weights"] - parts["scales"] - parts["code"]
    return Sizes(
        model=name,
        target=built.target.name,
        weights=parts["weights"],
        scales=parts["scales"],
        tables=tables,
        code=parts["code"],
        beside=flash - parts["weights"],
        flash=flash,
        arena=compiled.plan.size,
        stack=built.footprint.stack,
    )


def symbols(image: Path) -> list[tuple[str, int, str]]:
    """(name, size, nm's letter for its kind) of every symbol that takes room."""
    done = call(["arm-none-eabi-nm", "-S", "--defined-only", str(image)])
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


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        sys.exit(f"error: {e}")
