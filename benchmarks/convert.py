"""How long it takes to make MobileNetV2 224 fully integer: edgeq, the plain tf.lite script, and
litert-quantizer, in turn in one run on one machine.

    python benchmarks/convert.py [--samples 100 --samples 1000] [--json FILE]

Each contestant starts from the same .keras file and the same .npy of samples and runs in processes
of its own. "edgeq" chooses among ranges, on 64 samples more than the others read; "edgeq minmax"
does not. Wall time includes starting Python and importing TensorFlow. Peak memory is the largest
sum of the proportional set sizes (PSS) of all its processes, looked at ten times a second.
Weights are random: time does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

PREPARE = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2((224, 224, 3), weights=None).save(sys.argv[1] + "/net.keras")
random = np.random.default_rng(0)
for name in sys.argv[2:]:
    count = 64 if name == "unseen" else int(name)
    coarse = random.random((count, 14, 14, 3), dtype=np.float32)
    data = np.lib.format.open_memmap(
        f"{sys.argv[1]}/{name}.npy", "w+", np.float32, (count, 224, 224, 3))
    for i in range(count):
        data[i] = np.kron(coarse[i], np.ones((16, 16, 1), np.float32)) * 2 - 1
"""

TF_LITE = """
import sys, keras, numpy as np, tensorflow as tf
model = keras.saving.load_model(sys.argv[1], compile=False)
data = np.load(sys.argv[2], mmap_mode="r")
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in data)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
open(sys.argv[3], "wb").write(converter.convert())
"""

LITERT_QUANTIZER = """
import sys, keras, numpy as np, tensorflow as tf
from litert_quantizer import calibrator, quantizer, recipe
from litert_quantizer.utils import calibration_utils, tfl_interpreter_utils
model = keras.saving.load_model(sys.argv[1], compile=False)
data = np.load(sys.argv[2], mmap_mode="r")
tflite = tf.lite.TFLiteConverter.from_keras_model(model).convert()
made = quantizer.Quantizer(bytearray(tflite))
made.load_quantization_recipe(recipe.static_wi8_ai8())
name = list(tf.lite.Interpreter(model_content=tflite).get_signature_runner().get_input_details())[0]
ranges = made.calibrate({"serving_default": [{name: x[None]} for x in data]})
open(sys.argv[3], "wb").write(bytes(made.quantize(ranges).quantized_model))
"""

EDGEQ = """
import json, sys, time
from pathlib import Path
import edgeq
from edgeq.choice import choose
from edgeq.models import tensorflow_session
times = {}
def timed(name, function, *arguments, **named):
    start = time.perf_counter()
    result = function(*arguments, **named)
    times[name] = time.perf_counter() - start
    return result
with tensorflow_session() as session:
    model = timed("export", edgeq.open_model, sys.argv[1], tensorflow=session)
    samples = timed("read", edgeq.open_samples, sys.argv[2], model.graph.inputs)
    unseen = edgeq.open_samples(sys.argv[5], model.graph.inputs)
    auto = sys.argv[4] == "edgeq"
    calibration = timed("calibrate", edgeq.calibrate, model, samples, distributions=auto)
    if auto:
        model, conversion, choice = timed(
            "choose and quantize", choose, model, calibration, "int8", unseen, tensorflow=session)
        assert len(choice.trials) >= 4, choice
    else:
        conversion = timed("quantize", edgeq.convert, model, calibration, tensorflow=session)
few = unseen.pick(range(8))
proof = timed("prove", edgeq.verify, model, conversion, few, engines=False)
assert proof.is_integer
timed("write", Path(sys.argv[3]).write_bytes, conversion.tflite)
print(json.dumps(times))
"""

CONTESTANTS = {
    "edgeq": EDGEQ,
    "edgeq minmax": EDGEQ,
    "tf.lite": TF_LITE,
    "litert-quantizer": LITERT_QUANTIZER,
}
OWN = ("read", "prove", "write")


def pss_of_tree(root: int) -> int:
    """Bytes of the process `root` and all its descendants."""
    total, pending = 0, [root]
    while pending:
        pid = pending.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            for task in Path(f"/proc/{pid}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:")
    return total * 1024


def run(code: str, *arguments: str) -> tuple[float, int, str]:
    """(wall seconds, peak bytes, stdout) of a Python program."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **QUIET},
        )  # fmt: skip
        peak = [0]

        def watch() -> None:
            while process.poll() is None:
                peak[0] = max(peak[0], pss_of_tree(process.pid))
                time.sleep(0.1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        seconds = time.perf_counter() - start
        watcher.join()
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"a contestant failed:\n{log.read()[-3000:]}")
    return seconds, peak[0], output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, action="append")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    counts = options.samples or [100, 1000]
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeq-bench-") as folder:
        run(PREPARE, folder, *map(str, counts), "unseen")
        print(f"{'samples':>7} {'contestant':<17} {'seconds':>8} {'of tf.lite':>10} "
              f"{'peak MB':>8} {'of tf.lite':>10}")  # fmt: skip
        for count in counts:
            found = {}
            for name, code in CONTESTANTS.items():
                out = f"{folder}/{name}.tflite"
                files = f"{folder}/net.keras", f"{folder}/{count}.npy", out
                found[name] = run(code, *files, name, f"{folder}/unseen.npy")
            for name, (seconds, peak, output) in found.items():
                time_ratio = seconds / found["tf.lite"][0]
                memory_ratio = peak / found["tf.lite"][1]
                print(f"{count:>7} {name:<17} {seconds:>8.1f} {time_ratio:>10.2f} "
                      f"{peak / 1e6:>8.0f} {memory_ratio:>10.2f}")  # fmt: skip
                row = {"samples": count, "contestant": name, "seconds": seconds, "peak_bytes": peak}
                if name.startswith("edgeq"):
                    row["phases"] = times = json.loads(output.splitlines()[-1])
                    own = sum(times[k] for k in OWN)
                    print(" " * 8 + ", ".join(f"{k} {v:.2f} s" for k, v in times.items()))
                    print(
                        f"{'':8}own cost (reading, proving, writing): {100 * own / seconds:.1f} %"
                    )
                rows.append(row)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
