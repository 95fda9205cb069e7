"""What test_torch.py and test_onnx.py have in common: their files, and the way to the board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from edgeq.cli import run
from edgeq.inputs import real_outputs, stored_inputs
from edgeq.interpreters import litert
from edgeq.tflite import read_graph

HERE = Path(__file__).parent


def written(which: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of source_models.py's files, made once for all of pytest's workers."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, making = base / f"sources_{which}", base / f"sources_{which}.new"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            making.mkdir()
            command = [sys.executable, "-W", "ignore", str(HERE / "source_models.py")]
            done = subprocess.run(
                [*command, which, str(making)], capture_output=True, text=True, timeout=280
            )
            assert done.returncode == 0, done.stderr[-2000:]
            making.rename(folder)
    return folder


def to_the_board(source: str, data: Path, name: str, out: Path) -> dict[str, Any]:
    """Build `source` for a Cortex-M4 with the samples of `data`/`name`, run it in the emulator, and
    compare the integer model with the framework's own outputs.

    What is returned: facts of the build (`built`), of the emulator (`bench`), `sqnr_db`, and
    `same_top`, the share of samples with the same largest output.
    """
    arguments = ["build", source, "-t", "cortex-m4", "-o", str(out), "--json", str(out / "b.json")]
    out.mkdir()
    assert run([*arguments, "--calibration-data", str(data / f"{name}.train.npz")]) == 0
    bundle = out / "cortex-m4"
    assert run(["bench", str(bundle), "--sim", "--json", str(out / "r.json")]) == 0
    tflite = (bundle / "model.tflite").read_bytes()
    graph = read_graph(tflite, name)
    with np.load(data / f"{name}.test.npz") as test:
        samples = test[graph.inputs[0].name][:, np.newaxis]
    expected = np.load(data / f"{name}.outputs.npy").astype(np.float64)
    got = []
    with litert(tflite, "builtin") as network:
        for sample in samples:
            (outputs,) = network.infer("run", [stored_inputs((sample,), graph.inputs)])
            got.append(real_outputs(outputs, graph.outputs)[0][0])
    found = np.stack(got).astype(np.float64)
    noise, signal = np.square(found - expected).sum(), np.square(expected).sum()
    return {
        "built": json.loads((out / "b.json").read_text()),
        "bench": json.loads((out / "r.json").read_text()),
        "graph": graph,
        "sqnr_db": 10 * np.log10(signal / noise),
        "same_top": float((found.argmax(-1) == expected.argmax(-1)).mean()),
    }
