"""The tests' benchmark_model (fake.c), compiled for the golden vectors of a bundle."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from runner_bundle import edit, make_bundle

from edgeq.bundle import Bundle, open_bundle

FAKE = Path(__file__).parent / "benchmark_model" / "fake.c"


def tiny_bundle(folder: Path, target: str = "android") -> Bundle:
    """The tiny int8 network (runner_bundle.py) for `target`."""
    folder.mkdir(parents=True)
    make_bundle(folder)
    edit(folder, lambda m: m.update(target=target, engine="litert", scheme="int8"))
    return open_bundle(folder)


def build(bundle: Bundle, path: Path, *defines: str, compiler: str = "gcc") -> Path:
    """The program at `path`, static; `defines` are of FLAVOUR_* and FAULT_*."""
    golden = bundle.golden()
    columns = {
        "golden_in": [b"".join(v.tobytes() for v in sample) for sample in golden.inputs],
        "golden_out": [b"".join(v.tobytes() for v in sample) for sample in golden.outputs],
    }
    sizes = {"golden_in": "IN_BYTES", "golden_out": "OUT_BYTES"}
    lines = [f"#define SAMPLES {len(golden.inputs)}"]
    for name, samples in columns.items():
        lines.append(f"#define {sizes[name]} {len(samples[0])}")
        rows = ",".join("{" + ",".join(map(str, np.frombuffer(s, np.uint8))) + "}" for s in samples)
        lines.append(
            f"static const unsigned char {name}[SAMPLES][{sizes[name]}]"
            f" __attribute__((unused)) = {{{rows}}};"
        )
    header = path.with_suffix(".h")
    header.write_text("\n".join(lines) + "\n")
    subprocess.run(
        [
            *(compiler, "-std=c99", "-O1", "-static", "-Wall", "-Wextra", "-Werror"),
            *(f"-D{name}" for name in defines),
            *(f'-DGOLDEN="{header}"', "-o", str(path), str(FAKE)),
        ],
        check=True,
        timeout=120,
    )
    return path
