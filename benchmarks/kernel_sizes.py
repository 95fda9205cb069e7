"""Code and stack of each kernel on each Cortex-M core, to kernel_sizes.csv, so that growth shows in
a diff.

    python benchmarks/kernel_sizes.py [--csv FILE]

`code` is the .text of the object file at -O2, constants of its own included; `frame` is the largest
stack frame of its functions, both in bytes. What a kernel calls in other files is not in its row.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeq import resources
from edgeq.compiling import call
from edgeq.documents import write_text
from edgeq.errors import EdgeqError
from edgeq.firmware import COMPILER
from edgeq.footprint import read_frames
from edgeq.targets import Core, load_core

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m55")
FLAGS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections", "-fstack-usage")
CSV = Path(__file__).with_suffix(".csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", metavar="FILE", type=Path, default=CSV)
    options = parser.parse_args()
    kernels = sorted(resources.path("runtime", "kernels").glob("*.c"))
    pairs = [(kernel, load_core(core)) for kernel in kernels for core in CORES]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(lambda pair: measure(*pair, Path(name)), pairs))
    rows = [
        (kernel.stem, core.name, *found) for (kernel, core), found in zip(pairs, sizes, strict=True)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("kernel", "core", "code", "frame"), *rows])
    write_text(options.csv, text.getvalue())
    for core in CORES:
        code = sum(row[2] for row in rows if row[1] == core)
        frame = max(row[3] for row in rows if row[1] == core)
        print(f"{core:<14} {len(kernels)} kernels: {code} bytes of code, frames up to {frame}")
    print(f"each of them: {options.csv}")


def measure(kernel: Path, core: Core, folder: Path) -> tuple[int, int]:
    """(code, frame) of one kernel."""
    made = folder / f"{kernel.stem}-{core.name}.o"
    include = resources.path("runtime", "include")
    argv = [COMPILER, *core.cflags, *FLAGS, f"-I{include}", "-c", str(kernel), "-o", str(made)]
    call(argv)
    sizes = call(["arm-none-eabi-size", str(made)])
    frames = read_frames([made.with_suffix(".su").read_text()])
    return int(sizes.splitlines()[1].split()[0]), max(filter(None, frames.values()), default=0)


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        sys.exit(f"error: {e}")
