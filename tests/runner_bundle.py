"""A bundle with a tiny network, and run.py as it runs on a Raspberry Pi."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgeq import resources

RUN = resources.path("runtime", "runners", "python", "run.py")
SAMPLES = 4
LABELS = ("zero", "one\x1b[31m", "two \u2192", "three", "four", "five")


def tiny_model() -> bytes:
    """image int8 [1, 4, 4, 1] -> RESHAPE -> FULLY_CONNECTED -> SOFTMAX -> scores int8 [1, 6]."""
    rng = np.random.default_rng(5)
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [subgraph]
    model.buffers = [schema.BufferT()]
    subgraph.tensors = []

    def tensor(
        name: str, shape: list[int], dtype: int, scale: float, zero: int, data: Any = None
    ) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name.encode(), shape, dtype, 0
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale, t.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            t.buffer = len(model.buffers) - 1
        subgraph.tensors.append(t)
        return len(subgraph.tensors) - 1

    int8, int32 = schema.TensorType.INT8, schema.TensorType.INT32
    image = tensor("image", [1, 4, 4, 1], int8, 1 / 255, -128)
    shape = tensor("shape", [2], int32, 1.0, 0, np.array([1, 16], np.int32))
    subgraph.tensors[shape].quantization = None
    flat = tensor("flat", [1, 16], int8, 1 / 255, -128)
    weights = rng.integers(-127, 128, (6, 16)).astype(np.int8)
    w = tensor("w", [6, 16], int8, 0.02, 0, weights)
    bias = rng.integers(-2000, 2000, 6).astype(np.int32)
    b = tensor("b", [6], int32, 0.02 / 255, 0, bias)
    logits = tensor("logits", [1, 6], int8, 0.05, 3)
    scores = tensor("scores", [1, 6], int8, 1 / 256, -128)
    model.operatorCodes = []

    def op(name: str, inputs: list[int], output: int, kind: str, options: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, 4
        model.operatorCodes.append(code)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(model.operatorCodes) - 1, inputs, [output]
        o.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        o.builtinOptions = options
        subgraph.operators.append(o)

    subgraph.operators = []
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    op("RESHAPE", [image, shape], flat, "ReshapeOptions", schema.ReshapeOptionsT())
    op(
        "FULLY_CONNECTED",
        [flat, w, b],
        logits,
        "FullyConnectedOptions",
        schema.FullyConnectedOptionsT(),
    )
    op("SOFTMAX", [logits], scores, "SoftmaxOptions", softmax)
    model.operatorCodes[0].version, model.operatorCodes[2].version = 1, 2
    subgraph.inputs, subgraph.outputs = [image], [scores]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def npz(prefix: str, column: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{f"{prefix}_0": column})  # type: ignore[arg-type]
    return stream.getvalue()


def make_bundle(folder: Path) -> Path:
    """A bundle with the tiny network, with real outputs of LiteRT's reference kernels."""
    model = tiny_model()
    inputs = np.random.default_rng(6).integers(-128, 128, (SAMPLES, 1, 4, 4, 1)).astype(np.int8)
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    port = {"dtype": "int8", "zero_point": -128}
    manifest = {
        "schema": "edgeq.bundle",
        "schema_version": 1,
        "name": "tiny",
        "model": {"file": "model.tflite", "sha256": hashlib.sha256(model).hexdigest()},
        "inputs": [{**port, "name": "image", "shape": [1, 4, 4, 1], "scale": 1 / 255}],
        "outputs": [
            {**port, "name": "scores", "shape": [1, 6], "scale": 1 / 256, "tolerance_steps": 3}
        ],
        "labels": list(LABELS),
        "preprocessing": {"image": {"mean": 0, "std": 255, "size": [4, 4], "channels": 1}},
        "golden": {
            "inputs": "golden/inputs.npz",
            "outputs": "golden/outputs.npz",
            "count": SAMPLES,
            "reference": "LiteRT reference kernels",
            "exact": True,
        },
        "reference_version": litert_version(),
    }
    (folder / "golden").mkdir()
    (folder / "model.tflite").write_bytes(model)
    (folder / "golden" / "inputs.npz").write_bytes(npz("in", inputs))
    (folder / "golden" / "outputs.npz").write_bytes(npz("out", np.stack(outputs)))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sign(folder)
    shutil.copy(RUN, folder / "run.py")
    return folder


def litert_version() -> str:
    from importlib.metadata import version

    return version("ai-edge-litert")


def edit(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def sign(bundle: Path) -> None:
    """The SHA-256 of the files as they are, into the manifest."""
    files = [p for p in bundle.rglob("*") if p.suffix in (".tflite", ".npz")]
    digests = {
        p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }
    edit(bundle, lambda m: m.update(files=digests))


def run(bundle: Path, *arguments: str | Path, without: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of run.py, started in another folder; `without` some modules."""
    program = [str(bundle / "run.py")]
    if without:
        blocked = "; ".join(f"sys.modules[{m!r}] = None" for m in without.split())
        start = f"import runpy, sys; {blocked}; sys.argv = sys.argv[1:]; "
        program = ["-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')", *program]
    done = subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        capture_output=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONUTF8": "0"},
        timeout=60,
    )
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in err, err
    return done.returncode, out, err
