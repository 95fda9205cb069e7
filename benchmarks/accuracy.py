"""How accurate integers are: `--calibration auto`, plain min-max ranges, and TensorFlow's own
converter, from the same trained networks and the same calibration samples, on test samples that
none of them has seen.

    python benchmarks/accuracy.py [--only WORD] [--markdown FILE] [--json FILE]

SQNR is that of the output against Keras in float. "right" is accuracy in percent, or RMSE for
networks without classes. Networks are in benchmarks/accuracy_networks.py.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np  # noqa: E402
from accuracy_networks import NETWORKS, Network, trained  # noqa: E402

from edgeq.calibration import split  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.graph import Graph  # noqa: E402
from edgeq.inputs import real_outputs, stored_inputs  # noqa: E402
from edgeq.integers import find_violations  # noqa: E402
from edgeq.interpreters import litert  # noqa: E402
from edgeq.interpreters import run as infer  # noqa: E402
from edgeq.pipeline import Data, prepare  # noqa: E402
from edgeq.samples import Samples  # noqa: E402
from edgeq.tflite import read_graph  # noqa: E402

TF_LITE = """
import sys, keras, numpy as np, tensorflow as tf
converter = tf.lite.TFLiteConverter.from_keras_model(keras.saving.load_model(sys.argv[1]))
data = np.load(sys.argv[2])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in data)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[3], "wb").write(converter.convert())
"""

TIME_LIMIT = 300


@dataclass(frozen=True)
class Score:
    """`right` marks the samples whose class is right, `value` is accuracy in percent or RMSE."""

    value: float
    sqnr_db: float
    right: np.ndarray | None
    floats: int


def scored(tflite: bytes, graph: Graph, x: np.ndarray, y: np.ndarray, wanted: np.ndarray) -> Score:
    stored = (stored_inputs((sample[None],), graph.inputs) for sample in x)
    with litert(tflite) as network:
        outputs = [real_outputs(o, graph.outputs)[0] for o in infer(network, stored)]
    found = np.concatenate(outputs).reshape(wanted.shape).astype(np.float64)
    noise = float(np.sum((wanted - found) ** 2))
    sqnr = 10 * math.log10(float(np.sum(wanted**2)) / noise) if noise else math.inf
    right, value = graded(found, y)
    return Score(value, sqnr, right, len(find_violations(graph)))


def graded(found: np.ndarray, y: np.ndarray) -> tuple[np.ndarray | None, float]:
    if y.dtype.kind == "i":
        right = found.argmax(-1) == y
        return right, 100 * float(right.mean())
    return None, float(np.sqrt(np.mean((found - y) ** 2)))


def by_tf_lite(keras_file: Path, samples: Path, folder: Path) -> bytes | str:
    """The model, or why there is none: in a process of its own, since it can crash."""
    out = folder / "tf.tflite"
    try:
        done = subprocess.run(
            [sys.executable, "-c", TF_LITE, keras_file, samples, out],
            capture_output=True, text=True, timeout=TIME_LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"takes over {TIME_LIMIT} s"
    if done.returncode < 0:
        return f"crashes (signal {-done.returncode})"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["fails"]
        return "refused: " + lines[-1].removeprefix("<unknown>:0: error: ").split(".")[0][:80]
    return out.read_bytes()


def measured(network: Network, folder: Path) -> dict[str, Any]:
    """One row."""
    model, data = trained(network)
    expected = np.asarray(model.predict(data.test_x, verbose=0), np.float64)
    keras_file = folder / "net.keras"
    model.save(keras_file)
    labels = {"labels": data.pool_y} if data.has_classes else {}
    np.savez(folder / "pool.npz", x=data.pool_x, **labels)
    test = data.test_x, data.test_y, expected
    float_right, float_value = graded(expected, data.test_y)
    row: dict[str, Any] = {
        "network": network.name,
        "measure": "%" if float_right is not None else "RMSE",
        "test_samples": len(data.test_x),
        "float": float_value,
    }
    for name in ("auto", "minmax"):
        source = Data(calibration=folder / "pool.npz", calibration_method=name)
        start = time.perf_counter()
        try:
            prepared = prepare(keras_file, data=source)
        except EdgeqError as e:
            row[name] = {"failed": e.message.splitlines()[0]}
            continue
        seconds = time.perf_counter() - start
        score = scored(prepared.conversion.tflite, prepared.conversion.graph, *test)
        row[name] = facts(score) | {"seconds": seconds}
        if name == "auto":
            assert prepared.choice is not None
            row["kept"] = prepared.choice.way.name
            row["choice"] = prepared.choice.facts()
            row["repairs"] = [r.name for r in prepared.repairs]
            auto = score
        elif float_right is not None and "failed" not in row["auto"]:
            row["against_minmax"] = disagreements(score, auto)
    chosen, _ = split(Samples("pool", len(data.pool_x), lambda i: (data.pool_x[i],)))
    np.save(folder / "samples.npy", np.stack([s[0] for s in chosen]))
    made = by_tf_lite(keras_file, folder / "samples.npy", folder)
    if isinstance(made, str):
        row["tf.lite"] = {"failed": made}
    else:
        row["tf.lite"] = facts(scored(made, read_graph(made), *test))
    return row


def disagreements(before: Score, after: Score) -> dict[str, int]:
    assert before.right is not None and after.right is not None
    return {
        "lost": int(np.sum(before.right & ~after.right)),
        "won": int(np.sum(after.right & ~before.right)),
    }


def facts(score: Score) -> dict[str, Any]:
    return {"value": score.value, "sqnr_db": score.sqnr_db, "float_operators": score.floats}


PREFACE = """# Accuracy of int8

Accuracy, or RMSE for the autoencoder and the regressions, and SQNR in dB against Keras in float, by
`python benchmarks/accuracy.py`, on test samples that neither calibration nor the choice has seen.
tf.lite is TensorFlow's own converter with the same 200 (breast cancer: 80; diabetes: 72)
calibration samples. "kept" is what `--calibration auto` chose, "+/-" how many answers it has right
that min-max has wrong, and the other way round. The trials of each choice are in accuracy.json.
"""

HEAD = (
    "| network | float | tf.lite | SQNR | min-max | SQNR | auto | SQNR | kept | +/- |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def line(row: dict[str, Any]) -> str:
    def shown(value: float) -> str:
        return f"{value:.2f} %" if row["measure"] == "%" else f"{value:.4f}"

    cells = [row["network"], shown(row["float"])]
    for name in ("tf.lite", "minmax", "auto"):
        found = row[name]
        if "failed" in found:
            cells += [found["failed"], ""]
        else:
            left = found["float_operators"]
            note = f" ({left} operators float)" if left else ""
            cells += [shown(found["value"]) + note, f"{found['sqnr_db']:.1f}"]
    against = row.get("against_minmax")
    counts = f"{against['won']}/{against['lost']}" if against else ""
    return "| " + " | ".join([*cells, row.get("kept", ""), counts]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="WORD", default="", help="networks with this in the name")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows, lines = [], list(HEAD)
    print("\n".join(HEAD), flush=True)
    for network in NETWORKS:
        if options.only not in network.name:
            continue
        with tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
            rows.append(measured(network, Path(folder)))
        lines.append(line(rows[-1]))
        print(lines[-1], flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    if options.markdown:
        Path(options.markdown).write_text("\n".join([PREFACE, *lines]) + "\n")


if __name__ == "__main__":
    main()
