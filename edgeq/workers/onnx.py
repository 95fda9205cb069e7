"""ONNX in a child process: a model to a float .tflite by onnx2tf, and ONNX Runtime beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import shape_inference
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

from edgeq.errors import ConversionError, ModelError
from edgeq.frameworks import Exported
from edgeq.repairs import Repair
from edgeq.tflite import read_graph
from edgeq.workers.layouts import TO_FIRST, TO_LAST, fixed, is_image, last, moved, refuse_unused
from edgeq.workers.litert import Network
from edgeq.workers.onnx_ranges import without_quantization

Arrays = tuple[NDArray[Any], ...]

PROGRAM_LIMIT = 600.0
MAX_BYTES = 2 * 1024**3
_EXAMPLES = 4
_SEED = 20260101
_AGAIN = "export the model again; compare the file's size and SHA-256"


class Session:
    """One model at a time: the one that export() opened last is what run() computes."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._models: list[Any] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._outputs: list[tuple[str, tuple[int, ...]]] = []
        self._inputs: list[str] = []
        self._orders: list[tuple[int, ...] | None] = []

    def export(
        self,
        path: str,
        function: str | None,
        input_shapes: dict[str, tuple[int, ...]],
        repairs: frozenset[str],
    ) -> Exported:
        """The model at `path`, by the program onnx2tf. Raises ModelError and ConversionError."""
        name = Path(path).name
        model = _opened(Path(path))
        ports = _fix_inputs(model, name, input_shapes)
        self._shapes = ports
        plain, ranges = without_quantization(model)
        try:
            plain = shape_inference.infer_shapes(plain, data_prop=True)
        except Exception as e:
            raise ModelError(f"{name}: its shapes contradict: {_text(e)}", hint=_AGAIN) from e
        self._models = [_runtime(plain, name)]
        self._models.append(_runtime(model, name) if ranges else self._models[0])
        gelu = "gelu" in repairs
        tflite, places = self._converted(plain, name, gelu)
        graph = read_graph(tflite, name)
        _refuse_custom(graph, plain, name)
        self._inputs = [p.name for p in graph.inputs]
        self._outputs = [(p.name, p.tensor.shape) for p in graph.outputs]
        _check_names(self._inputs, list(ports), name)
        _check_names([n for n, _ in self._outputs], [o.name for o in model.graph.output], name)
        self._learn_orders(tflite)
        tensors = {t.name: t.index for t in graph.main.tensors if not t.is_constant}
        tensors |= {p.name: p.tensor.index for p in graph.inputs + graph.outputs}
        learned = {}
        for tensor, span in ranges.items():
            index = tensors.get(tensor, tensors.get(places.get(tensor, "")))
            if index is not None:
                learned[index] = span
        done = _gelus(plain) if gelu else ()
        return Exported(
            tflite,
            tuple(self._inputs),
            tuple(n for n, _ in self._outputs),
            "onnx2tf",
            tuple(Repair("gelu", "GELU by tanh", (n,), largest_error=0.0) for n in done[:1]),
            learned,
        )

    def examples(self) -> list[Arrays]:
        """Seeded random samples, as the .tflite has them: normal floats, and zeros for integers."""
        random = np.random.default_rng(_SEED)
        kinds = {i.name: i.type for i in self._models[0].get_inputs()}
        made = []
        for _ in range(_EXAMPLES):
            sample = []
            for name in self._inputs:
                shape = self._shapes[name]
                shape = last(shape) if is_image(shape) else shape
                value = random.standard_normal(shape).astype(np.float32)
                sample.append(value if "float" in kinds[name] else np.zeros(shape, np.int32))
            made.append(tuple(sample))
        return made

    def run(self, batch: Sequence[Arrays]) -> list[tuple[Arrays, Arrays]]:
        """The outputs of what was exported, and of the source, for each sample."""
        return [
            (self._run(self._models[0], sample), self._run(self._models[1], sample))
            for sample in batch
        ]

    def _run(self, runtime: Any, sample: Arrays) -> Arrays:
        kinds = {i.name: i.type for i in runtime.get_inputs()}
        feed = {}
        for name, value in zip(self._inputs, sample, strict=True):
            order = TO_FIRST if is_image(self._shapes[name]) else None
            feed[name] = moved(value, order).astype(_KINDS.get(kinds[name], value.dtype))
        try:
            found = runtime.run([name for name, _ in self._outputs], feed)
        except Exception as e:
            raise ModelError(
                f"ONNX Runtime {onnxruntime.__version__} cannot run the model: {_text(e)}",
                hint="are the inputs what the model expects?",
            ) from e
        return tuple(moved(v, o) for v, o in zip(found, self._orders, strict=True))

    def _learn_orders(self, tflite: bytes) -> None:
        """How each output has to be turned. Where both orders have the same shape, a run tells."""
        sample = self.examples()[0]
        self._orders = [None] * len(self._outputs)
        plain = self._run(self._models[0], sample)
        turned = [
            moved(v, TO_LAST) if v.ndim == 4 and last(v.shape) == shape else v
            for v, (_, shape) in zip(plain, self._outputs, strict=True)
        ]
        made = Network(tflite, "builtin", 1).run([sample])[0]
        for i, (a, b, m) in enumerate(zip(plain, turned, made, strict=True)):
            if b is not a and (a.shape != m.shape or abs(b - m).max() < abs(a - m).max()):
                self._orders[i] = TO_LAST

    def _converted(self, model: Any, name: str, gelu: bool) -> tuple[bytes, dict[str, str]]:
        """The .tflite, and ONNX tensor -> its tensor there."""
        with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
            onnx.save(model, os.path.join(folder, "model.onnx"))
            command = [self._program, "-i", "model.onnx", "-o", "made", "-n", "-coion", "-osd"]
            command += ["-tb", "flatbuffer_direct"]
            kept = [
                n for n, shape in self._shapes.items() if len(shape) > 2 and not is_image(shape)
            ]
            command += ["-kat", *kept] if kept else []
            command += ["-rtpo", "gelu"] if gelu else []
            try:
                done = subprocess.run(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=PROGRAM_LIMIT,
                    env=_environment(self._program),
                )
            except subprocess.TimeoutExpired as e:
                raise ConversionError(
                    f"{name}: onnx2tf did not finish within {PROGRAM_LIMIT:g} s",
                    hint="try it by itself: onnx2tf -i MODEL -tb flatbuffer_direct",
                ) from e
            made = Path(folder, "made", "model_float32.tflite")
            if done.returncode or not made.is_file():
                lines = re.split(r"[\r\n]+", done.stdout.decode(errors="replace"))
                told = [x.strip() for x in lines if re.search(r"[Ee]rror|not supported", x)]
                raise ConversionError(
                    f"{name}: onnx2tf failed: {' '.join(told[-2:])[:600] or 'it says nothing'}",
                    hint="try it by itself: onnx2tf -i MODEL -tb flatbuffer_direct",
                )
            report = Path(folder, "made", "model_tensor_correspondence_report.json")
            records = json.loads(report.read_text())["records"] if report.is_file() else []
            return made.read_bytes(), {
                r["onnx_output_name"]: r["resolved_tflite_tensor_name"] or "" for r in records
            }


def _environment(program: str) -> dict[str, str]:
    """With the folder of onnx2tf's own environment, where onnxsim is, which it calls by name."""
    beside = os.path.dirname(os.path.realpath(program))
    path = os.pathsep.join(filter(None, [beside, os.environ.get("PATH")]))
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "PATH": path}


_KINDS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def _opened(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path.name}: over 2 GB, too large for a device")
    try:
        model = onnx.load(path, load_external_data=False)
        tensors = [*model.graph.initializer]
        tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    except Exception as e:
        raise ModelError(f"{path.name}: damaged ONNX file: {_text(e)}", hint=_AGAIN) from e
    if not model.graph.output or not model.graph.node:
        raise ModelError(f"{path.name}: damaged ONNX file: no network in it", hint=_AGAIN)
    folder = path.parent.resolve()
    outside = [t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]
    size = 0
    for tensor in outside:
        location = ExternalDataInfo(tensor).location
        file = (folder / location).resolve()
        if not file.is_relative_to(folder) or Path(location).is_absolute():
            raise ModelError(
                f"{path.name}: the data of {tensor.name!r} is in {location!r}, outside of the "
                "model's folder",
                hint="put the data file beside the model, and save the model again",
            )
        if not file.is_file():
            raise ModelError(
                f"{path.name}: its data file {location!r} is missing",
                hint=f"copy it to {folder}, beside the model",
            )
        size = max(size, file.stat().st_size)
    if size > MAX_BYTES:
        raise ModelError(f"{path.name}: over 2 GB of data, too large for a device")
    try:
        load_external_data_for_model(model, str(folder))
        _refuse_foreign(model, path.name)
        onnx.checker.check_model(model)
    except ConversionError:
        raise
    except Exception as e:
        raise ModelError(f"{path.name}: damaged ONNX file: {_text(e)}", hint=_AGAIN) from e
    return model


def _refuse_foreign(model: Any, name: str) -> None:
    found = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in model.graph.node
            if node.domain not in ("", "ai.onnx")
        }
    )
    if found:
        raise ConversionError(
            f"{name}: operators that are not ONNX's own: {', '.join(found[:5])}",
            hint="export the model without them (in ONNX Runtime's tools, without graph fusions)",
        )


def _fix_inputs(
    model: Any, name: str, input_shapes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Input name -> shape in the file's order, written into the model too."""
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    refuse_unused(input_shapes, [i.name for i in inputs])
    shapes = {}
    opened = False
    for port in inputs:
        if not port.type.HasField("tensor_type"):
            raise ModelError(f"{name}: input {port.name!r} is no tensor", hint=_AGAIN)
        sizes = port.type.tensor_type.shape.dim
        known = [
            d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in sizes
        ]
        opened |= None in known
        shape = fixed(port.name, known, input_shapes)
        for dim, size in zip(sizes, shape, strict=True):
            dim.dim_value = size
        shapes[port.name] = shape
    if opened:  # What was inferred from open sizes is inferred again.
        del model.graph.value_info[:]
        for output in model.graph.output:
            for dim in output.type.tensor_type.shape.dim:
                if not dim.HasField("dim_value"):
                    dim.Clear()
    return shapes


def _runtime(model: Any, name: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as e:
        raise ModelError(
            f"{name}: ONNX Runtime {onnxruntime.__version__} cannot load the model: {_text(e)}",
            hint=_AGAIN,
        ) from e


def _refuse_custom(graph: Any, model: Any, name: str) -> None:
    """onnx2tf writes an operator of no engine where it knows no other way."""
    for op in graph.main.ops:
        if op.name.startswith("CUSTOM:ONNX_"):
            kind = op.name.removeprefix("CUSTOM:ONNX_")
            nodes = [n for n in model.graph.node if n.op_type.upper() == kind]
            which = f" (node {nodes[0].name or nodes[0].output[0]!r})" if nodes else ""
            shown = nodes[0].op_type if nodes else kind
            raise ConversionError(
                f"{name}: the operator {shown}{which} has no form in TFLite",
                hint="replace that layer, and export the model again",
            )


def _check_names(found: Sequence[str], wanted: Sequence[str], name: str) -> None:
    if sorted(found) != sorted(wanted):
        raise ConversionError(
            f"{name}: onnx2tf made the ports {', '.join(found)} of {', '.join(wanted)}",
            hint="give the inputs and outputs plain names, and export the model again",
        )


def _gelus(model: Any) -> list[str]:
    """The nodes that are, or begin, a GELU."""
    return [n.name or n.output[0] for n in model.graph.node if n.op_type in ("Gelu", "Erf")]


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:600] or type(error).__name__
