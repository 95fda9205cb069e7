"""Opening a trained model: any accepted format becomes one float (or quantized) .tflite."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgeq.documents import nearest, printable
from edgeq.errors import (
    ConversionError,
    EdgeqError,
    MissingProgram,
    ModelError,
    UsageError,
    WorkerError,
)
from edgeq.extras import install_line
from edgeq.formats import format_of, read, sha256_of
from edgeq.frameworks import NAMES, Arrays, Exported, compare, export, framework_session
from edgeq.graph import NUMPY_TYPES, Graph
from edgeq.inputs import refuse_huge
from edgeq.isolation import Worker
from edgeq.project import identifier
from edgeq.pytorch_files import factory_of
from edgeq.repairs import KERAS_REPAIRS, Repair, repairs_named
from edgeq.schemes import scheme_of
from edgeq.tflite import read_graph
from edgeq.tflite.exported import prepared
from edgeq.tflite.learned import is_trained_for_integers, without_quantization
from edgeq.tflite.reader import has_data_outside
from edgeq.tflite.writer import (
    with_batch_of_one,
    with_data_inside,
    with_signature,
    with_wide_weights,
)

EXPORT_ROUTES = ("frozen graph", "SavedModel")
"""How Keras models and SavedModels become a .tflite, in the order tried."""

EXPORT_LIMIT = 900.0
"""Seconds that one route may take; MobileNetV2 takes 4."""

UNTOUCHED = "opened as it is"

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Model:
    """A trained network as edgeq works with it.

    `tflite` has batch 1, static shapes and a named signature; `graph` is the same, read.
    `sha256` is of the source: the file, or a SavedModel folder's relative paths and contents.
    `route` says how `tflite` was made, `failed` which routes were tried before, and why not.
    `learned` has the (min, max) of activations, by tensor name, that the source brings from its own
    training.
    `offered` are repairs that wait until a conversion without them has problems.
    """

    name: str
    source: str
    format: str
    sha256: str
    tflite: bytes = field(repr=False)
    graph: Graph = field(repr=False)
    route: str
    failed: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    learned: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)
    offered: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        """What `tflite` is already: int8, uint8, int16x8, dynamic, float16, or float32."""
        return scheme_of(self.graph)

    @property
    def is_quantized(self) -> bool:
        """Whether anything in it is less than float32: activations, or weights alone."""
        return self.scheme != "float32"


def tensorflow_session(spec: str = "edgeq.workers.tensorflow:Session", *arguments: Any) -> Worker:
    """A TensorFlow process, importing in the background; for open_model() and convert().

    Another `spec`, with its `arguments`, is for other work that needs TensorFlow.

    Raises MissingProgram when TensorFlow is not installed.
    """
    from importlib.util import find_spec

    if find_spec("tensorflow") is None:
        raise MissingProgram(
            "TensorFlow is not installed; it opens Keras models and SavedModels and quantizes",
            hint=install_line("tensorflow"),
        )
    return Worker(
        spec,
        *arguments,
        environment={
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "tensorflow",
            # glibc raises this by itself when large blocks are freed, and then keeps them: 300 MB
            # of MobileNetV2's after it is exported.
            "MALLOC_MMAP_THRESHOLD_": "262144",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            # oneDNN may order sums by thread: constants folded here must not vary.
            "TF_ENABLE_ONEDNN_OPTS": "0",
            "TF_USE_LEGACY_KERAS": "0",
        },
    )


def needs_tensorflow(source: str | Path) -> bool:
    """Whether opening `source` will need TensorFlow, as far as its name tells."""
    path = Path(source)
    if path.is_dir():
        return (path / "saved_model.pb").is_file()
    return path.suffix in (".keras", ".h5", ".hdf5") and path.is_file()


def open_model(
    path: str | Path,
    *,
    name: str | None = None,
    signature_key: str | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    output_names: Mapping[str, str] | Sequence[str] = (),
    allow_lambda: bool = False,
    repairs: frozenset[str] | None = None,
    scheme: str = "int8",
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
    approximate: bool = False,
    tensorflow: Worker | None = None,
    framework: Worker | None = None,
) -> Model:
    """Open a .keras, .h5, SavedModel folder, .tflite, .onnx, .pt2 or net.py:make.

    `input_shapes` fixes dynamic dimensions by input name, batch included. `output_names` renames
    outputs: all in their order, or some by their old name. A Keras model is repaired for `scheme`,
    also by repairs that wait to be needed if `approximate`, and compared with the original on
    `samples`, by input name, or on random ones. `repairs` are the names of those that may
    be made, None those of repairs_named(). `tensorflow` is a tensorflow_session() to use,
    `framework` a frameworks.framework_session(); without one, a session is opened when the format
    needs it, and what comes from another framework is compared() with it at once.

    Raises ModelError when the file is missing, damaged, holds code, or has dimensions that stay
    dynamic, ConversionError when TensorFlow cannot make a .tflite of it.
    """
    path = Path(path)
    form = format_of(path)
    allowed = repairs_named() if repairs is None else repairs
    failed: list[str] = []
    done: tuple[Repair, ...] = ()
    offered: tuple[str, ...] = ()
    sha256 = sha256_of(path)
    if name is not None and name != identifier(name):
        raise UsageError(
            f"name {name!r} cannot name C files and arrays",
            hint=f"letters, digits and _, a letter first: {identifier(name)}",
        )
    factory = factory_of(path)
    name = name or identifier((factory[0] if factory else path).resolve().stem)
    if form in NAMES:
        with contextlib.ExitStack() as stack:
            session = framework or stack.enter_context(framework_session(form))
            made = export(session, path, form, input_shapes or {}, allowed)
            model = _of_framework(made, path, form, name, sha256, signature_key, output_names)
            return model if framework is not None else compared(model, session)
    if form == "tflite":
        tflite, route, done = _prepare_tflite(read(path), path.name, input_shapes or {}, allowed)
    else:
        shapes = dict(input_shapes or {})
        ways = [(route, "export", (signature_key, shapes, allow_lambda)) for route in EXPORT_ROUTES]
        if form != "saved_model":
            rest = (scheme, approximate, samples)
            ways = _repairing(allowed, (shapes, allow_lambda), rest) + ways
        with contextlib.ExitStack() as stack:
            session = tensorflow or stack.enter_context(tensorflow_session())
            tflite, route, done, offered, failed = _export(session, path, form, ways)
    graph = read_graph(tflite, path.name)
    learned: Mapping[str, tuple[float, float]] = {}
    if is_trained_for_integers(graph):
        tflite, learned = without_quantization(tflite, path.name)
        graph = read_graph(tflite, path.name)
        route = f"{route}, {len(learned)} learned ranges taken out"
    _check_signatures(graph, path.name, signature_key if form == "tflite" else None)
    _refuse_dynamic(graph, path.name)
    if output_names:
        tflite = _rename_outputs(tflite, graph, output_names, path.name)
        graph = read_graph(tflite, path.name)
    source = printable(path.name)
    return Model(
        name, source, form, sha256, tflite, graph, route, tuple(failed), done, learned, offered
    )


def _of_framework(
    made: Exported,
    path: Path,
    form: str,
    name: str,
    sha256: str,
    signature_key: str | None,
    output_names: Mapping[str, str] | Sequence[str],
) -> Model:
    tflite, done = prepared(made.tflite, path.name)
    tflite = with_signature(tflite, DEFAULT_SIGNATURE, made.inputs, made.outputs, path.name)
    graph = read_graph(tflite, path.name)
    _check_signatures(graph, path.name, signature_key)
    _refuse_dynamic(graph, path.name)
    if output_names:
        tflite = _rename_outputs(tflite, graph, output_names, path.name)
        graph = read_graph(tflite, path.name)
    return Model(
        name,
        printable(path.name),
        form,
        sha256,
        tflite,
        graph,
        ", ".join([made.route, *done]),
        repairs=made.repairs,
        learned={graph.main.tensors[i].name: span for i, span in made.learned.items()},
    )


def compared(model: Model, framework: Worker, samples: Sequence[Arrays] | None = None) -> Model:
    """`model` with what a run of `samples` beside its source has shown in its route and repairs.

    `framework` is the session that it was opened with. Without samples, its example input or
    seeded random ones are taken. Raises ConversionError when it is more than float rounding.
    """
    found = compare(framework, model.tflite, model.graph, model.format, model.source, samples)
    kind = "samples" if samples is not None else "inputs that are not real"
    route = (
        f"{model.route}; within {found.rounding:.2g} of {NAMES[model.format]} on "
        f"{found.samples} {kind}"
    )
    error = found.change or found.rounding  # Some are made on the way, with no original beside.
    repairs = tuple(replace(r, largest_error=error) for r in model.repairs)
    return replace(model, route=route, repairs=repairs)


def _check_signatures(graph: Graph, source: str, asked: str | None) -> None:
    """Raise ModelError when the file has several networks, or none under the key `asked` for."""
    keys = [s.key for s in graph.signatures]
    if len({s.subgraph for s in graph.signatures}) > 1:
        raise ModelError(
            f"{source}: has several networks, one for each signature: {', '.join(keys)}",
            hint="export one alone (from_saved_model(..., signature_keys=[KEY])), or "
            "give the SavedModel and --signature-key",
        )
    if asked is not None and asked not in keys:
        raise ModelError(
            f"{source}: no signature {asked!r}", hint=f"it has: {', '.join(keys) or 'none'}"
        )


def widened(model: Model) -> Model:
    """`model` with its float16 weights as float32, which changes no value.

    Any other comes back as it is, and one that computes in float16, too.
    """
    if model.scheme != "float16":
        return model
    tflite = with_wide_weights(model.tflite, model.source)
    graph = read_graph(tflite, model.source)
    if scheme_of(graph) != "float32":
        return model
    done = "float16 weights widened to float32"
    route = done if model.route == UNTOUCHED else f"{model.route}, {done}"
    return replace(model, tflite=tflite, graph=graph, route=route)


def check_ports(graph: Graph, source: str) -> None:
    """Raise ModelError for an input or output of `graph` that edgeq can give no values to.

    Such a model can be looked at, but not run: text, handles, types of less than a byte, complex
    numbers, shapes without elements, and huge ones. Output shapes that are wrong show only when
    it runs.
    """
    if not graph.inputs:
        raise ModelError(
            f"{source}: the model has no inputs, so it computes the same every time",
            hint="export it again with its inputs",
        )
    for side, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports:
            dtype, shape = port.tensor.dtype, list(port.tensor.shape)
            if dtype not in NUMPY_TYPES or dtype.startswith("complex"):
                raise ModelError(
                    f"{source}: {side} {port.name!r} is {dtype} {shape}, a type that edgeq cannot "
                    "run a model with",
                    hint="export the model with integer, float or bool inputs and outputs; "
                    "edgeq inspect shows it as it is",
                )
            if port.tensor.elements == 0 and not port.tensor.dynamic_dims:
                raise ModelError(
                    f"{source}: {side} {port.name!r} of shape {shape} has no elements",
                    hint="export the model again with the shapes that it is run with",
                )
        if side == "input" and any(p.tensor.is_constant for p in ports):
            name = next(p.name for p in ports if p.tensor.is_constant)
            raise ModelError(
                f"{source}: input {name!r} is a constant in the file, so it can take no values",
                hint="export the model again",
            )
    refuse_huge(graph, source)


def _prepare_tflite(
    tflite: bytes,
    source: str,
    input_shapes: Mapping[str, Sequence[int]],
    allowed: frozenset[str],
) -> tuple[bytes, str, tuple[Repair, ...]]:
    """The model with batch 1 and, when it is float, a signature; and what was done to it."""
    if input_shapes:
        raise ModelError(
            f"{source}: --input-shape is for Keras models and SavedModels",
            hint="a .tflite has its shapes fixed by the converter that wrote it",
        )
    graph = read_graph(tflite, source)
    done = []
    repairs = []
    if has_data_outside(tflite):
        tflite = with_data_inside(tflite, source)
        done.append("constants moved into the flatbuffer")
    dynamic = any(t.dynamic_dims == (0,) for _, s in graph.reachable() for t in s.tensors)
    if dynamic and "batch-of-one" in allowed:
        tflite = with_batch_of_one(tflite, source)
        done.append("batch fixed to 1")
        ports = tuple(p.name for p in graph.inputs if p.tensor.dynamic_dims)
        repairs.append(Repair("batch-of-one", "the dynamic first dimension fixed to 1", ports))
    unnamed = not graph.signatures and all(p.tensor.is_float for p in graph.inputs)
    if unnamed and "signature" in allowed:
        inputs, outputs = ([p.name for p in ports] for ports in (graph.inputs, graph.outputs))
        tflite = with_signature(tflite, DEFAULT_SIGNATURE, inputs, outputs, source)
        done.append("signature added")
        repairs.append(Repair("signature", f"signature {DEFAULT_SIGNATURE} added"))
    return tflite, ", ".join(done) or UNTOUCHED, tuple(repairs)


def _rename_outputs(
    tflite: bytes, graph: Graph, names: Mapping[str, str] | Sequence[str], source: str
) -> bytes:
    old = [port.name for port in graph.outputs]
    if isinstance(names, Mapping):
        for name in names:
            if name not in old:
                guess = nearest(name, old)
                raise ModelError(
                    f"{source}: no output {name!r} to rename",
                    hint=f"did you mean {guess}?" if guess else f"outputs: {', '.join(old)}",
                )
        new = [names.get(name, name) for name in old]
    else:
        new = list(names)
    if len(new) != len(old) or len(set(new)) != len(new):
        raise ModelError(
            f"{source}: output names {', '.join(new)} for {len(old)} outputs",
            hint=f"give one name each, all different, for: {', '.join(old)}",
        )
    key = graph.signatures[0].key if graph.signatures else DEFAULT_SIGNATURE
    return with_signature(tflite, key, [p.name for p in graph.inputs], new, source)


_Way = tuple[str, str, tuple[Any, ...]]
"""A route, the TensorFlow session's method, and what this takes after path, form and route."""


def _repairing(
    allowed: frozenset[str], before: tuple[Any, ...], rest: tuple[Any, ...]
) -> list[_Way]:
    """With all repairs; without fused LSTMs, which are the most that TensorFlow is asked for."""
    wanted = allowed & KERAS_REPAIRS
    tiers = [names for names in (wanted, wanted - {"lstm"}) if names]
    return [
        (route, "export_repaired", (*before, names, *rest))
        for names in dict.fromkeys(tiers)
        for route in EXPORT_ROUTES
    ]


def _export(
    session: Worker, path: Path, form: str, ways: Sequence[_Way]
) -> tuple[bytes, str, tuple[Repair, ...], tuple[str, ...], list[str]]:
    """The .tflite, its route, repairs made and offered, and what failed before."""
    failed: list[str] = []
    last: EdgeqError | None = None
    for route, method, arguments in ways:
        try:
            made = session.call(method, str(path), form, route, *arguments, time_limit=EXPORT_LIMIT)
        except (ConversionError, WorkerError) as e:
            how = f"{route}, repaired" if method == "export_repaired" else route
            failed.append(f"{how}: {e.message}")
            last = e
            continue
        if method == "export":
            return made, route, (), (), failed
        tflite, route, done, offered, rejected = made
        return tflite, route, done, offered, failed + [f"repair {line}" for line in rejected]
    assert last is not None
    lines = list(dict.fromkeys(failed))
    changing = re.search(r"(?:node|op:) '?([^\s']+)/AssignVariableOp", "\n".join(lines))
    if changing and form != "saved_model":
        raise ConversionError(
            f"{path.name}: layer {changing[1]} keeps its state in a variable from one inference to "
            "the next, which has no integer form",
            hint="for int8 the repair lstm makes an LSTM one operator; else save the layer with "
            "stateful=False",
        )
    raise ConversionError(
        f"{path.name}: no way to a .tflite worked:\n  " + "\n  ".join(lines), hint=last.hint
    )


def _refuse_dynamic(graph: Graph, source: str) -> None:
    for port in graph.inputs:
        if port.tensor.dynamic_dims:
            raise ModelError(
                f"{source}: input {port.name!r} has a dynamic dimension "
                f"{port.tensor.dynamic_dims[0]}",
                hint="convert it again with fixed input shapes; repair batch-of-one fixes a first "
                "dimension to 1",
            )
