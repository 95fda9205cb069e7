"""What networks take on Cortex-M cores with engine aot: instructions, flash and RAM, beside
TensorFlow Lite Micro with CMSIS-NN.

    python benchmarks/cortex_m.py [--models DIR] [--core cortex-m4 ...] [--json FILE]
        [--markdown FILE] [--svg FILE] [--check FILE]

DIR holds quantized .tflite files (default: small networks of the project's own). Every golden
output must be equal, byte for byte, to TensorFlow Lite Micro's before anything is counted.

  instructions   executed by one inference, counted by the emulator: exact, and no time
  cycles         of a Cortex-M4, estimated from these by a model (executed.py): not measured
  flash          code, constants (tables, scales, descriptions of layers) and weights
  RAM            arena (activations and scratch), static (all other data) and stack of one inference

--check compares with the --json FILE of an earlier run, and exits with 1 where the instructions of
a model on a core have grown by more than 1 %. The other engine's numbers are those of
results/tflm_cmsis_nn.json, which says how they were measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import sizes
from executed import count_executed, m4_cycles
from networks import Network, networks
from pictures import bars

from edgeq.boards import Place, bench_board
from edgeq.building import build
from edgeq.bundle import open_bundle
from edgeq.errors import EdgeqError
from edgeq.expected import expected_of
from edgeq.flashers import firmware_image
from edgeq.pipeline import Data
from edgeq.targets import Target, load_target

RESULTS = Path(__file__).resolve().parent / "results"
BASELINE = RESULTS / "tflm_cmsis_nn.json"

BOARDS = {
    "cortex-m0": "mps2-an385",
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
}
"""Where the code of each core is counted. No virtual board with a Cortex-M0 has the RAM for all
networks, and a Cortex-M3 runs every instruction of an M0 as it is."""

_LIKE = {"cortex-m0": "microbit"}
"""Where a core's description is taken from that is not its board's own."""

PER_MAC = {"dsp": 1 / 2, "mve": 1 / 16}
"""The fewest instructions a MAC by a capability: SMLAD makes two of them, VMLADAV sixteen."""

GROWTH = 1.01
UNIT = "instructions"


@dataclass(frozen=True)
class Layer:
    index: int
    op: str
    name: str
    macs: int
    instructions: float


@dataclass(frozen=True)
class Row:
    """One network on one core. Bytes, but for counts; None where it is not known.

    `optimize` is what engine aot packs weights for: "balanced", 8 bits each, is all there is.
    """

    model: str
    core: str
    optimize: str
    engine: str
    compiler: str
    flags: tuple[str, ...]
    golden: int
    macs: int
    instructions: int
    limit: float | None
    estimated_m4_cycles: int | None
    flash: int
    code: int
    constants: int
    weights: int
    ram: int
    arena: int
    static: int
    stack: int | None
    layers: tuple[Layer, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", metavar="DIR", help="a folder of quantized .tflite files")
    parser.add_argument("--core", action="append", choices=list(BOARDS), metavar="CORE")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    parser.add_argument("--check", metavar="FILE", help="an earlier --json")
    options = parser.parse_args()
    earlier = read_rows(Path(options.check)) if options.check else {}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = sorted(map(str, Path(options.models).glob("*.tflite"))) if options.models else []
        for network in networks(models, folder):
            for core in options.core or BOARDS:
                row = measure(network, core, folder)
                print(line(row, baseline().get((row.model, core))), flush=True)
                rows.append(row)
    if options.json:
        write(options.json, json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    if options.markdown:
        write(options.markdown, "\n".join(markdown(rows)) + "\n")
    if options.svg:
        write(options.svg, picture(rows))
    grown = [r for r in rows if has_grown(r, earlier)]
    for row in grown:
        was = earlier[row.model, row.core]["instructions"]
        print(f"{row.model} on {row.core}: {was:,} {UNIT}, now {row.instructions:,}: more than 1 %")
    if grown:
        sys.exit(1)


def measure(network: Network, core: str, folder: Path) -> Row:
    """Build the network for `core`, prove it on its board, and count."""
    described = target_of(core)
    (built,) = build(
        network.model,
        [described],
        output=folder / "build",
        engine="aot",
        data=Data(calibration=network.calibration),
    )
    bundle = open_bundle(built.folder)
    expected = expected_of(bundle, how_to_flash="build it anew")
    run = bench_board(built.folder, Place(sim=True), target=described, runs=1, profile=True)
    executed = count_executed(described, firmware_image(bundle), expected)
    found = sizes.measure(built)
    assert built.footprint is not None and described.core is not None
    limits = [n for c, n in PER_MAC.items() if described.core.has(c)]
    layers = run.profile.layers if run.profile else ()
    return Row(
        model=found.model,
        core=core,
        optimize="balanced",
        engine="aot",
        compiler=built.footprint.compiler,
        flags=built.footprint.flags,
        golden=run.measurement.checks.count,
        macs=int(bundle.manifest["model"]["macs"]),
        instructions=executed.instructions,
        limit=min(limits) * bundle.manifest["model"]["macs"] if limits else None,
        estimated_m4_cycles=m4_cycles(executed) if core == "cortex-m4" else None,
        flash=found.flash,
        code=found.code,
        constants=found.scales + found.tables,
        weights=found.weights,
        ram=built.footprint.ram + (found.stack or 0),
        arena=found.arena,
        static=built.footprint.ram - found.arena,
        stack=found.stack,
        layers=tuple(Layer(x.index, x.op, x.name, x.macs, x.ticks) for x in layers),
    )


def target_of(core: str) -> Target:
    """The board of BOARDS, compiled for as if it had `core`."""
    board = load_target(BOARDS[core])
    assert board.core is not None
    if board.core.name == core:
        return board
    return replace(board, name=f"{board.name}-{core}", core=load_target(_LIKE[core]).core)


@cache
def other() -> dict[str, Any]:
    """results/tflm_cmsis_nn.json: the other engine's numbers, and published ones."""
    found: dict[str, Any] = json.loads(BASELINE.read_text(encoding="utf-8"))
    return found


def baseline() -> dict[tuple[str, str], dict[str, Any]]:
    return {(r["model"], r["core"]): r for r in other()["rows"]}


def read_rows(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {(r["model"], r["core"]): r for r in found}
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise EdgeqError(f"{path}: no results of this program: {e}") from e


def has_grown(row: Row, earlier: dict[tuple[str, str], dict[str, Any]]) -> bool:
    before = earlier.get((row.model, row.core))
    return before is not None and row.instructions > before["instructions"] * GROWTH


def line(row: Row, theirs: dict[str, Any] | None) -> str:
    ratio = ""
    if theirs:
        ratio = f"  {row.instructions / theirs['instructions']:.3f} of TFLM + CMSIS-NN"
    return (
        f"{row.model:<24} {row.core:<11} {row.instructions:>12,} {UNIT}, flash {row.flash:>7,}, "
        f"RAM {row.ram:>7,}, {row.golden} of {row.golden} equal{ratio}"
    )


COLUMNS = (
    "model",
    "core",
    "instructions",
    "a MAC",
    "TFLM + CMSIS-NN",
    "ratio",
    "limit",
    "code",
    "constants",
    "weights",
    "flash",
    "TFLM's flash",
    "arena",
    "static",
    "stack",
    "RAM",
    "TFLM's RAM",
)


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The table, then the estimated cycles of an M4."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for row in rows:
        yield "| " + " | ".join(cells(row, baseline().get((row.model, row.core), {}))) + " |"
    cycles = [r for r in rows if r.estimated_m4_cycles is not None]
    if not cycles:
        return
    yield ""
    yield "Cycles of a Cortex-M4 without wait states, estimated from the executed instructions by a"
    yield "model (benchmarks/executed.py), beside published measurements on silicon:"
    yield ""
    yield "| model | edgeq, estimated | TFLM + CMSIS-NN, estimated | best published |"
    yield "|---|---|---|---|"
    for row in cycles:
        theirs = baseline().get((row.model, row.core), {}).get("estimated_cycles")
        best = other()["published_m4_cycles"].get(row.model)
        said = f"{best['cycles']:,} ({best['who']})" if best else ""
        yield f"| {row.model} | {row.estimated_m4_cycles:,} | {number(theirs)} | {said} |"


def cells(row: Row, theirs: dict[str, Any]) -> list[str]:
    count = theirs.get("instructions")
    # TensorFlow Lite Micro keeps the .tflite in flash as it is.
    flash = theirs["flash"] + other()["tflite_bytes"][row.model] if "flash" in theirs else None
    ram = sum(theirs[k] for k in ("arena", "static", "stack")) if "static" in theirs else None
    return [
        row.model,
        row.core,
        number(row.instructions),
        f"{row.instructions / row.macs:.2f}" if row.macs else "",
        number(count),
        f"{row.instructions / count:.3f}" if count else "",
        number(row.limit),
        *map(number, (row.code, row.constants, row.weights, row.flash, flash)),
        *map(number, (row.arena, row.static, row.stack, row.ram, ram)),
    ]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def picture(rows: Sequence[Row]) -> str:
    """Instructions beside the other engine's, as bars; a row of the table each."""
    known = baseline()
    found = [
        (
            f"{r.model}, {r.core}",
            (float(r.instructions), float(known[r.model, r.core]["instructions"])),
        )
        for r in rows
        if (r.model, r.core) in known
    ]
    return bars(
        f"{UNIT} of one inference, as a share of TensorFlow Lite Micro's with CMSIS-NN",
        ("edgeq aot", "TFLM + CMSIS-NN"),
        found,
    )


def write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        sys.exit(f"error: {e}")
