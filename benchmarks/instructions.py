"""Instructions that one inference takes on Cortex-M cores: firmware with engine aot at -O2, run in
QEMU with -icount, over its serial line.

    python benchmarks/instructions.py [MODEL.tflite ...] [--target mps2-an386 ...] [--json FILE]
        [--beside FILE] [--firmware FOLDER --engine NAME]

Nothing is counted before every golden output was equal, byte for byte, to TensorFlow Lite Micro's.
A count is exact and the same in every run; it is not a time: the emulator has no wait states and no
caches. It comes from the board's timer, whose ticks are 31.25 or 40 instructions.

--beside puts the numbers of another engine, written by --json, next to these; the exit code is 1
where ours are not fewer. Such numbers come from --firmware, a folder with <target>/<model>.elf:
images for the same models that were made elsewhere, with edgeq's harness (runtime/harness) around
another engine; they are held to the same golden outputs and counted in the same way.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from networks import Network, build_for, networks, run_emulated

from edgeq.building import Built
from edgeq.errors import EdgeqError, MeasurementError

TARGETS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
UNIT = "instructions"


@dataclass(frozen=True)
class Count:
    """`instructions` for one inference of a model of so many `macs`, on one virtual board.

    `golden` is how many golden outputs were compared, and equal.
    """

    model: str
    target: str
    core: str
    engine: str
    macs: int
    instructions: float
    golden: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL.tflite", help="quantized models")
    parser.add_argument("--target", action="append", metavar="BOARD", help=", ".join(TARGETS))
    parser.add_argument("--json", metavar="FILE", help="write the counts")
    parser.add_argument("--beside", metavar="FILE", help="counts of another engine to compare with")
    parser.add_argument("--firmware", metavar="FOLDER", help="run its <target>/<model>.elf instead")
    parser.add_argument("--engine", help="what the firmware there says that it runs")
    options = parser.parse_args()
    if (options.firmware is None) != (options.engine is None):
        parser.error("--firmware and --engine go together")
    beside = read_counts(Path(options.beside)) if options.beside else {}
    counts = []
    show_head(beside)
    with tempfile.TemporaryDirectory() as name:
        for network in networks(options.models, Path(name)):
            for count in count_all(network, options, Path(name) / "build"):
                counts.append(count)
                show(count, beside.get((count.model, count.target)))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(c) for c in counts], indent=2) + "\n")
    if not all(is_fewer(c, beside.get((c.model, c.target))) for c in counts):
        sys.exit(1)


def count_all(network: Network, options: argparse.Namespace, folder: Path) -> list[Count]:
    found = []
    for built in build_for(network, options.target or list(TARGETS), folder):
        image = None
        if options.firmware:
            name = f"{built.prepared.model.name}.elf"
            image = Path(options.firmware) / built.target.name / name
        found.append(count_one(built, image, options.engine))
    return found


def count_one(built: Built, image: Path | None, engine: str | None) -> Count:
    measurement, _ = run_emulated(built.folder, runs=3, image=image, engine=engine)
    if measurement.unit != UNIT:
        raise MeasurementError(f"{built.target.name} gives {measurement.unit}, not {UNIT}")
    core = built.target.core
    manifest = json.loads((built.folder / "manifest.json").read_text(encoding="utf-8"))
    return Count(
        model=built.prepared.model.name,
        target=built.target.name,
        core=core.name if core else "",
        engine=measurement.engine,
        macs=int(manifest["model"]["macs"]),
        instructions=measurement.summary.median,
        golden=measurement.checks.count,
    )


def read_counts(path: Path) -> dict[tuple[str, str], Count]:
    """What an earlier run wrote with --json, by (model, target)."""
    try:
        found = [Count(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as e:
        raise EdgeqError(f"{path}: no counts of this program: {e}") from e
    return {(c.model, c.target): c for c in found}


def is_fewer(count: Count, other: Count | None) -> bool:
    return other is None or count.instructions < other.instructions


def show_head(beside: dict[tuple[str, str], Count]) -> None:
    other = next((c.engine for c in beside.values()), "")
    head = f"{'model':<24} {'core':<12} {'board':<12} {UNIT:>14} {'per MAC':>8} {'golden':>9}"
    print(head + (f" {other:>14} {'ratio':>7}" if beside else ""), flush=True)


def show(count: Count, other: Count | None) -> None:
    per_mac = f"{count.instructions / count.macs:.2f}" if count.macs else ""
    line = f"{count.model:<24} {count.core:<12} {count.target:<12} {count.instructions:>14,.0f} "
    line += f"{per_mac:>8} {count.golden:>3} equal"
    if other is not None:
        ratio = count.instructions / other.instructions
        line += f" {other.instructions:>14,.0f} {ratio:>7.3f}"
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        sys.exit(f"error: {e}")
