"""TensorFlow in a child process: a trained model to a float .tflite, and that to integers."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.errors import ConversionError, ModelError
from edgeq.repairs import Repair
from edgeq.tflite.lstm import with_lstm_layers
from edgeq.tflite.writer import with_signature
from edgeq.workers.keras_repairs import repair
from edgeq.workers.keras_repairs.layers import layers_of
from edgeq.workers.keras_repairs.passes import packed
from edgeq.workers.saved_model import refuse_foreign_operations

SIGNATURE_KEY = "serving_default"
_MAX_CONFIG_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Entry:
    """A function of flat tensors, with the names and types at its edges."""

    call: Callable[..., list[Any]]
    specs: list[Any]
    outputs: list[str]
    variables: Any
    """What a SavedModel must track: without it, the variables come out as NaN."""


class Session:
    """Stateless but for the import of TensorFlow, which takes seconds and happens once."""

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def export(
        self,
        path: str,
        form: str,
        route: str,
        signature_key: str | None,
        input_shapes: Mapping[str, Sequence[int]],
        allow_lambda: bool,
    ) -> bytes:
        """The model at `path` as a float .tflite with batch 1 and named signature.

        `route` is "frozen graph" or "SavedModel". Raises ModelError for what no route can mend.
        """
        if form == "saved_model":
            entry = _open_saved_model(Path(path), signature_key, input_shapes)
        else:
            entry = _entry_of(*_load_keras(Path(path), form, input_shapes, allow_lambda))
        return _ROUTES[route](entry)

    def export_repaired(
        self,
        path: str,
        form: str,
        route: str,
        input_shapes: Mapping[str, Sequence[int]],
        allow_lambda: bool,
        allowed: frozenset[str],
        scheme: str,
        approximate: bool,
        samples: Sequence[Mapping[str, NDArray[Any]]],
    ) -> tuple[bytes, str, tuple[Repair, ...], tuple[str, ...], tuple[str, ...]]:
        """A Keras model as export() makes it, after those repairs that are `allowed`.

        The .tflite, the route it took, the repairs made, those offered and those rejected, as in
        keras_repairs.Outcome. `samples` are by input name; without any, random ones are made.
        """
        model, specs = _load_keras(Path(path), form, input_shapes, allow_lambda)
        inputs = [
            [np.asarray(s[spec.name], spec.dtype.as_numpy_dtype) for spec in specs] for s in samples
        ] or _random_samples(model, specs)
        outcome = repair(model, allowed, scheme, approximate, inputs, allow_lambda=allow_lambda)
        if outcome.model is not model:
            model, specs = outcome.model, _specs(outcome.model, input_shapes)
        entry = _entry_of(model, specs)
        if outcome.lstms:
            # A frozen graph has the function of a fused layer inlined, and so a loop.
            route = "SavedModel"
        tflite = _ROUTES[route](entry)
        if outcome.lstms:
            tflite = with_lstm_layers(tflite, outcome.lstms, Path(path).name)
            names = [s.name for s in entry.specs]
            tflite = with_signature(tflite, SIGNATURE_KEY, names, entry.outputs)
        return tflite, route, outcome.repairs, outcome.offered, outcome.rejected

    def quantize(self, tflite: bytes, scheme: str, route: str) -> bytes:
        """`tflite` (float, with ranges recorded where the scheme needs them) in `scheme`."""
        return _QUANTIZERS[route](tflite, scheme)


# --- Opening -----------------------------------------------------------------------------------


def load_keras(path: Path, form: str, allow_lambda: bool = False, compiled: bool = False) -> Any:
    """The Keras model at `path`, a "keras" or "h5" file, with inputs; code in it is refused.

    `compiled` brings its loss and optimizer, too, where it was saved with them.
    """
    _refuse_code(_config_of(path, form), path.name, allow_lambda)
    try:
        model = keras.saving.load_model(path, compile=compiled, safe_mode=not allow_lambda)
    except Exception as e:
        raise _loading_error(path.name, e) from e
    if not getattr(model, "inputs", None):
        raise ModelError(
            f"{path.name}: the model has no input shape yet",
            hint="begin it with keras.Input(shape=...), or call it once on data, and save it again",
        )
    return model


def _load_keras(
    path: Path, form: str, input_shapes: Mapping[str, Sequence[int]], allow_lambda: bool
) -> tuple[Any, list[Any]]:
    """The model, and its inputs with static shapes."""
    model = load_keras(path, form, allow_lambda)
    _refuse_unused_shapes(input_shapes, [t.name for t in model.inputs])
    return model, _specs(model, input_shapes)


def _specs(model: Any, input_shapes: Mapping[str, Sequence[int]]) -> list[Any]:
    return [
        tf.TensorSpec(_static_shape(t.shape, t.name, input_shapes), t.dtype, name=t.name)
        for t in model.inputs
    ]


def _random_samples(model: Any, specs: list[Any], count: int = 4) -> list[list[NDArray[Any]]]:
    """Normal numbers, and indices that every table of the model has."""
    tables = [la.input_dim for la in layers_of(model) if isinstance(la, keras.layers.Embedding)]
    most = min(tables, default=2)
    random = np.random.default_rng(0)
    return [
        [
            random.standard_normal(s.shape).astype(s.dtype.as_numpy_dtype)
            if s.dtype.is_floating
            else random.integers(0, most, s.shape).astype(s.dtype.as_numpy_dtype)
            for s in specs
        ]
        for _ in range(count)
    ]


def _entry_of(model: Any, specs: list[Any]) -> _Entry:
    def call(*tensors: Any) -> list[Any]:
        return list(keras.tree.flatten(model(packed(model, list(tensors)), training=False)))

    return _Entry(call, specs, _output_names(model), [v.value for v in model.variables])


def _output_names(model: Any) -> list[str]:
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict):
        return [str(name) for name in sorted(structure)]
    names = [str(name) for name in getattr(model, "output_names", [])]
    if len(set(names)) != len(model.outputs):
        names = [f"output_{i}" for i in range(len(model.outputs))]
    return names


def _open_saved_model(
    path: Path, signature_key: str | None, input_shapes: Mapping[str, Sequence[int]]
) -> _Entry:
    refuse_foreign_operations(path)
    try:
        with _no_new_bytes():
            loaded = tf.saved_model.load(str(path))
    except Exception as e:
        raise _loading_error(path.name, e) from e
    signatures = dict(loaded.signatures)
    if not signatures:
        raise ModelError(
            f"{path.name}: the SavedModel has no signature",
            hint="write it with model.export(folder), or tf.saved_model.save(..., signatures=...)",
        )
    several = len(signatures) > 1 and SIGNATURE_KEY not in signatures
    if signature_key is None and several:
        raise ModelError(
            f"{path.name}: has several signatures, and none is {SIGNATURE_KEY!r}",
            hint=f"--signature-key takes one of: {', '.join(sorted(signatures))}",
        )
    key = signature_key or (
        SIGNATURE_KEY if SIGNATURE_KEY in signatures else next(iter(signatures))
    )
    if key not in signatures:
        raise ModelError(
            f"{path.name}: no signature {key!r}",
            hint=f"--signature-key takes one of: {', '.join(sorted(signatures))}",
        )
    function = signatures[key]
    _, arguments = function.structured_input_signature
    _refuse_unused_shapes(input_shapes, sorted(arguments))
    specs = [
        tf.TensorSpec(_static_shape(spec.shape, name, input_shapes), spec.dtype, name=name)
        for name, spec in sorted(arguments.items())
    ]
    outputs = sorted(function.structured_outputs)

    def call(*tensors: Any) -> list[Any]:
        results = function(**{s.name: t for s, t in zip(specs, tensors, strict=True)})
        return [results[name] for name in outputs]

    return _Entry(call, specs, outputs, loaded)


def _static_shape(
    shape: Any, name: str, input_shapes: Mapping[str, Sequence[int]]
) -> tuple[int, ...]:
    if name in input_shapes:
        return tuple(input_shapes[name])
    sizes = list(shape)
    if sizes and sizes[0] is None:
        sizes[0] = 1
    missing = [i for i, size in enumerate(sizes) if size is None]
    if missing:
        shown = ",".join("?" if size is None else str(size) for size in sizes)
        raise ModelError(
            f"input {name!r} has a dynamic shape ({shown}): dimension {missing[0]} is not fixed",
            hint=f"fix it for this build: --input-shape {name}={shown.replace('?', 'N')} with a "
            "number for each N, or save the model with a fixed keras.Input(shape=...)",
        )
    return tuple(int(size) for size in sizes)


def _refuse_unused_shapes(input_shapes: Mapping[str, Sequence[int]], names: list[str]) -> None:
    for name in input_shapes:
        if name not in names:
            raise ModelError(f"no input {name!r}", hint=f"its inputs are: {', '.join(names)}")


def _config_of(path: Path, form: str) -> Any:
    """The layer configuration inside a .keras or .h5 file, read without building anything."""
    try:
        if form == "keras":
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                    raise ModelError(f"{path.name}: its config.json is over 64 MB")
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise ModelError(
                    f"{path.name}: holds weights only, no network",
                    hint="save the whole model: model.save('model.keras')",
                )
            return json.loads(text)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as e:
        raise ModelError(
            f"{path.name}: damaged .{form} file: {e}", hint="save or download it again"
        ) from e


def _refuse_code(config: Any, name: str, allow_lambda: bool) -> None:
    """Raise for a layer whose configuration holds code, or whose class is not Keras's own."""
    if not isinstance(config, dict):
        for item in config if isinstance(config, list) else ():
            _refuse_code(item, name, allow_lambda)
        return
    kind, module = config.get("class_name"), config.get("module")
    inner = config.get("config")
    layer = inner.get("name", kind) if isinstance(inner, dict) else kind
    if kind in ("Lambda", "__lambda__") and not allow_lambda:
        raise ModelError(
            f"{name}: layer {layer!r} is a Lambda: it holds Python code that would run here",
            hint="replace it by a layer or keras.ops call and save again; if you trust this file, "
            "--allow-lambda runs its code",
        )
    if isinstance(module, str) and not re.match(
        r"(keras|builtins|tensorflow\.keras)(\.|$)", module
    ):
        raise ModelError(
            f"{name}: layer {layer!r} is of your own class {module}.{kind}, whose code is not in "
            "the file",
            hint="export it with its computation: model.export('folder'), then build from folder",
        )
    if kind == "TFSMLayer":
        raise ModelError(
            f"{name}: layer {layer!r} loads another SavedModel, from {_path_in(inner)!r}",
            hint="build from that SavedModel, or export the layers themselves",
        )
    for key, value in config.items():
        if key == "vocabulary" and isinstance(value, str):
            raise ModelError(
                f"{name}: layer {config.get('name', kind)!r} reads a file, {value!r}",
                hint="look words up outside of the model, and save it without that layer",
            )
        bare = isinstance(value, dict) and list(value) == ["value"]
        if bare and not isinstance(value["value"], int | float):  # Constant's config has a number.
            # What Keras writes for a bare lambda; it cannot read it back itself.
            raise ModelError(
                f"{name}: layer {config.get('name', kind)!r} has a Python lambda as its {key}",
                hint="use a named Keras function or layer in its place, and save again",
            )
        _refuse_code(value, name, allow_lambda)


def _path_in(inner: Any) -> str:
    return str(inner.get("filepath", "?")) if isinstance(inner, dict) else "?"


@contextlib.contextmanager
def _no_new_bytes() -> Iterator[None]:
    """Let this process write nothing to any file: loading a SavedModel runs its initialisers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # The write fails; we go on.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def _loading_error(name: str, error: Exception) -> ModelError:
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not locate (?:class|function) '([^']+)'", text)
    if unknown:
        return ModelError(
            f"{name}: uses your own {unknown[1]}, whose code is not in the file",
            hint="export it with its computation: model.export('folder'), then build from folder",
        )
    return ModelError(
        f"{name}: {type(error).__name__} while loading: {text[:600]}",
        hint=f"it must load with Keras {keras.__version__}: keras.saving.load_model(path)",
    )


# --- To a float .tflite -------------------------------------------------------------------------


def _trace(entry: _Entry) -> Any:
    """A concrete function of named placeholders with static shapes, batch 1."""

    def function(*tensors: Any) -> list[Any]:
        return [tf.identity(t) for t in entry.call(*tensors)]

    return tf.function(function, autograph=False).get_concrete_function(*entry.specs)


def _by_frozen_graph(entry: _Entry) -> bytes:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(_trace(entry), lower_control_flow=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    tflite = _convert(converter)
    return with_signature(tflite, SIGNATURE_KEY, [s.name for s in entry.specs], entry.outputs)


def _by_saved_model(entry: _Entry) -> bytes:
    def serve(**named: Any) -> dict[str, Any]:
        results = entry.call(*(named[s.name] for s in entry.specs))
        return dict(zip(entry.outputs, results, strict=True))

    module = tf.Module()
    module.tracked = entry.variables
    module.serve = tf.function(serve, autograph=False)
    concrete = module.serve.get_concrete_function(**{s.name: s for s in entry.specs})
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE_KEY: concrete})
        return _convert(tf.lite.TFLiteConverter.from_saved_model(folder))


_ROUTES: dict[str, Callable[[_Entry], bytes]] = {
    "frozen graph": _by_frozen_graph,
    "SavedModel": _by_saved_model,
}


def _convert(converter: Any) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as e:
        text = str(e)
        ops = sorted(set(re.findall(r"'(tf\.[A-Za-z0-9_]+)' op is neither a custom op", text)))
        if ops:
            raise ConversionError(
                f"TFLite has no operator for {', '.join(ops)}",
                hint="replace that layer; with a mixed_float16 policy, save the model in float32",
            ) from e
        raise ConversionError(f"the TFLite converter failed: {' '.join(text.split())[:600]}") from e


# --- To integers --------------------------------------------------------------------------------


def _by_mlir(tflite: bytes, scheme: str) -> bytes:
    # Not a public function: tests/test_conversion.py guards that it is there and works.
    from tensorflow.lite.python.convert import mlir_quantize

    return bytes(mlir_quantize(tflite, input_data_type=tf.int8, output_data_type=tf.int8))


def _by_flatbuffer(tflite: bytes, scheme: str) -> bytes:
    from tensorflow.lite.python.optimize import calibrator

    activations, bias = (tf.int8, tf.int32) if scheme == "int8" else (tf.int16, tf.int64)
    number, bias_number = (np.dtype(t.as_numpy_dtype).num for t in (activations, bias))
    # The ranges are in the model already, so the calibrator is asked to quantize and no more.
    quantizer = calibrator.Calibrator(tflite)._calibrator
    return bytes(quantizer.QuantizeModel(number, number, False, number, bias_number, False, False))


def _by_litert_quantizer(tflite: bytes, scheme: str) -> bytes:
    from litert_quantizer import qtyping, quantizer, recipe

    made = quantizer.Quantizer(bytearray(tflite))
    if scheme == "dynamic":
        made.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    else:
        made.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=qtyping.TensorQuantizationConfig(
                    num_bits=16, dtype=qtyping.TensorDataType.FLOAT
                ),
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key="float_casting",
        )
    return bytes(made.quantize().quantized_model)


_QUANTIZERS: dict[str, Callable[[bytes, str], bytes]] = {
    "MLIR quantizer": _by_mlir,
    "flatbuffer quantizer": _by_flatbuffer,
    "litert-quantizer": _by_litert_quantizer,
}
