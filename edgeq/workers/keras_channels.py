"""A Keras model as a network of channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeq.channels.network import (
    Affine,
    Concat,
    Depthwise,
    Each,
    Entry,
    Join,
    Keep,
    Mix,
    Network,
    Step,
    Tile,
)
from edgeq.workers.keras_layers import run

layers = keras.layers

MONOTONE = (
    "relu relu6 leaky_relu elu selu celu sigmoid hard_sigmoid tanh hard_tanh softplus exponential "
    "log_sigmoid softsign"
).split()
UNEVEN = "silu swish gelu mish hard_silu hard_swish tanh_shrink".split()
"""Activations of each number by itself that rise and fall."""

_SAME = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.ActivityRegularization,
    layers.Identity,
    layers.UpSampling1D,
    layers.Cropping1D,
)
_SPATIAL = (
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.Cropping2D,
    layers.Cropping3D,
)
_PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_JOINS = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
    "Minimum": "minimum",
}
_ACTIVATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Elu": "elu",
    "Silu": "silu",
    "HardSilu": "hard_silu",
    "HardSigmoid": "hard_sigmoid",
    "Gelu": "gelu",
    "Softplus": "softplus",
}
"""Operations of keras.ops, by class, that are these functions of keras.activations."""


@dataclass
class Described:
    """A flat model's network, and where its layers stand in it.

    `source` and `target` are the tensors that each layer reads and writes; `mixes` is the index of
    each layer's Mix among the steps.
    """

    network: Network
    source: dict[str, int] = field(default_factory=dict)
    target: dict[str, int] = field(default_factory=dict)
    mixes: dict[str, int] = field(default_factory=dict)


def weight_of(layer: Any) -> Any:
    """The variable that a Mix of this layer has its kernel from."""
    return layer.pointwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel


def as_mix(layer: Any, values: NDArray[Any]) -> NDArray[Any]:
    """`values`, shaped as the layer's kernel, as [positions, in, out]."""
    if isinstance(layer, TRANSPOSED):
        values = np.swapaxes(values, -1, -2)
    return values.reshape(-1, *values.shape[-2:])


def describe(model: Any) -> Described:
    """The channels of a flattened() model."""
    builder = _Builder()
    # The calls are made once more on new tensors, which tells their order and their arguments.
    _, outputs = run(model, lambda layer, _: layer, builder.add)
    for tensor in keras.tree.flatten(outputs):
        builder.steps.append(Keep("output", builder.number(tensor)))
    network = Network(tuple(builder.steps), builder.widths, model.count_params() - builder.counted)
    return Described(network, builder.source, builder.target, builder.mixes)


class _Builder:
    """Turns calls of layers into steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.widths: dict[int, int] = {}
        self.source: dict[str, int] = {}
        self.target: dict[str, int] = {}
        self.mixes: dict[str, int] = {}
        self.counted = 0
        self._numbers: dict[int, int] = {}
        self._tensors: list[Any] = []  # Kept, so that no id is given twice.
        self._layers: set[str] = set()

    def number(self, tensor: Any) -> int:
        """The number of `tensor`; one that nothing wrote is an input."""
        if id(tensor) not in self._numbers:
            number = self._name(tensor)
            self.steps.append(Entry("input", number))
        return self._numbers[id(tensor)]

    def add(self, layer: Any, arguments: Any, named: Any, outputs: Any) -> None:
        flat = keras.tree.flatten((arguments, named))
        sources = [t for t in flat if isinstance(t, keras.KerasTensor)]
        written = keras.tree.flatten(outputs)
        known = _HANDLERS.get(type(layer))
        numbers = [self.number(t) for t in sources]
        done = False
        if len(written) == 1 and known is not None and not _is_quantized(layer):
            done = known(self, layer, sources, written[0])
        elif len(written) == 1 and not isinstance(layer, keras.layers.Layer):
            others = [t for t in keras.tree.flatten(arguments) if not _is_number(t)]
            if all(isinstance(t, keras.KerasTensor) for t in others):
                done = _operation(self, layer, sources, written[0], len(others) == len(flat))
        if not done:
            for number in numbers:
                self.steps.append(Keep(layer.name, number))
            for tensor in written:
                self.steps.append(Entry(layer.name, self._name(tensor)))
        elif isinstance(layer, keras.layers.Layer):
            self.source.setdefault(layer.name, numbers[0])
            self.target.setdefault(layer.name, self._numbers[id(written[0])])

    def between(self, width: int) -> int:
        """A tensor within a layer."""
        number = len(self.widths)
        self.widths[number] = width
        return number

    def finish(self, layer: Any, number: int, tensor: Any, activation: Any = None) -> bool:
        """`tensor` is `number` after the layer's own activation; False if that mixes channels."""
        step = _activation(layer.name, number, number + 1, activation)
        if step is None:
            self._numbers[id(tensor)] = number
            self._tensors.append(tensor)
            return True
        target = self._name(tensor)
        if isinstance(step, Each):
            self.steps.append(
                Each(layer.name, number, target, step.function, step.monotone, step.opaque)
            )
        else:
            self.steps += [Keep(layer.name, number), Entry(layer.name, target)]
        return True

    def count(self, layer: Any) -> None:
        if layer.name not in self._layers:
            self._layers.add(layer.name)
            self.counted += layer.count_params()

    def _name(self, tensor: Any) -> int:
        shape = tensor.shape
        number = self.between(int(shape[-1]) if len(shape) > 1 and shape[-1] else 1)
        self._numbers[id(tensor)] = number
        self._tensors.append(tensor)
        return number


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _is_quantized(layer: Any) -> bool:
    return bool(getattr(layer, "quantization_mode", None))


def _activation(layer: str, source: int, target: int, activation: Any) -> Step | Keep | None:
    name = getattr(activation, "__name__", None)
    if activation is None or name == "linear":
        return None
    if isinstance(activation, keras.layers.Layer) or name not in (*MONOTONE, *UNEVEN):
        return Keep(layer, source)
    return Each(layer, source, target, _on_arrays(activation), name in MONOTONE)


def _on_arrays(function: Any) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def apply(values: NDArray[np.float64]) -> NDArray[np.float64]:
        tensor = keras.ops.convert_to_tensor(values, dtype="float64")
        return np.asarray(keras.ops.convert_to_numpy(function(tensor)), np.float64)

    return apply


def _places(shape: Sequence[int | None]) -> int:
    """Positions between batch and channels; 0 where they are not fixed."""
    return math.prod(size or 0 for size in shape[1:-1])


def _last(layer: Any) -> bool:
    return getattr(layer, "data_format", None) in (None, "channels_last")


def _bias(layer: Any) -> NDArray[Any] | None:
    return None if layer.bias is None else np.asarray(layer.bias)


def _mix(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if not _last(layer) or getattr(layer, "groups", 1) != 1:
        return False
    kernel = as_mix(layer, np.asarray(layer.kernel))
    transposed = isinstance(layer, TRANSPOSED)
    padding = getattr(layer, "padding", "valid") != "valid" and kernel.shape[0] > 1
    places = _places((sources[0] if transposed else out).shape)
    target = b.between(kernel.shape[2])
    b.mixes.setdefault(layer.name, len(b.steps))
    source = b.number(sources[0])
    b.steps.append(
        Mix(layer.name, source, target, kernel, _bias(layer), places, padding or transposed)
    )
    b.count(layer)
    return b.finish(layer, target, out, layer.activation)


def _depthwise(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if not _last(layer):
        return False
    kernel = np.asarray(layer.kernel)
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    target = b.between(kernel.shape[1] * kernel.shape[2])
    padded = layer.padding != "valid" and kernel.shape[0] > 1
    source = b.number(sources[0])
    b.steps.append(
        Depthwise(layer.name, source, target, kernel, _bias(layer), _places(out.shape), padded)
    )
    b.count(layer)
    return b.finish(layer, target, out, layer.activation)


def _separable(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if not _last(layer):
        return False
    kernel = np.asarray(layer.depthwise_kernel)
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    middle = b.between(kernel.shape[1] * kernel.shape[2])
    padded = layer.padding != "valid" and kernel.shape[0] > 1
    places = _places(out.shape)
    source = b.number(sources[0])
    b.steps.append(Depthwise(layer.name, source, middle, kernel, None, places, padded))
    pointwise = as_mix(layer, np.asarray(layer.pointwise_kernel))
    target = b.between(pointwise.shape[2])
    b.mixes.setdefault(layer.name, len(b.steps))
    b.steps.append(Mix(layer.name, middle, target, pointwise, _bias(layer), places, False))
    b.count(layer)
    return b.finish(layer, target, out, layer.activation)


def _normalization(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if axis not in (-1, len(out.shape) - 1):
        return False
    mean = np.asarray(layer.moving_mean, np.float64)
    scale = 1 / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(layer.gamma)
    offset = -mean * scale
    if layer.center:
        offset = offset + np.asarray(layer.beta)
    return _affine(b, layer, sources[0], out, scale, offset, len(layer.weights))


def _rescaling(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return False
    width = int(out.shape[-1])
    scale, offset = np.full(width, float(layer.scale)), np.full(width, float(layer.offset))
    return _affine(b, layer, sources[0], out, scale, offset, 0)


def _affine(
    b: _Builder, layer: Any, source: Any, out: Any, scale: Any, offset: Any, parameters: int
) -> bool:
    number = b.number(source)
    target = b._name(out)
    b.steps.append(Affine(layer.name, number, target, scale, offset, parameters))
    b.count(layer)
    return True


def _same(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if not _last(layer):
        return False
    number = b.number(sources[0])
    b.steps.append(Each(layer.name, number, b._name(out), padded=isinstance(layer, _PADDING)))
    return True


def _function(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    monotone = True
    if isinstance(layer, layers.Activation):
        found = _activation(layer.name, 0, 0, layer.activation)
        if isinstance(found, Keep):
            return False
        function = None if found is None else found.function  # type: ignore[union-attr]
        monotone = found is None or found.monotone  # type: ignore[union-attr]
    else:
        function = _on_arrays(layer.call)
        monotone = getattr(layer, "negative_slope", 0) >= 0 and getattr(layer, "alpha", 0) >= 0
    number = b.number(sources[0])
    b.steps.append(Each(layer.name, number, b._name(out), function, monotone))
    return True


def _prelu(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    alpha = layer.alpha.shape
    parameters = math.prod(alpha[:-1]) if alpha[-1] == out.shape[-1] else 0
    number = b.number(sources[0])
    b.steps.append(Each(layer.name, number, b._name(out), opaque=True, parameters=parameters))
    if parameters:
        b.count(layer)
    return True


def _reshape(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    before, after = sources[0].shape, out.shape
    if not _last(layer) or None in before[1:] or len(before) < 2:
        return False
    number = b.number(sources[0])
    if before[-1] == after[-1]:
        b.steps.append(Each(layer.name, number, b._name(out)))
    elif len(after) == 2:
        b.steps.append(Tile(layer.name, number, b._name(out), _places(before)))
    else:
        return False
    return True


def _join(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if any(len(t.shape) < 2 or t.shape[-1] != out.shape[-1] for t in sources):
        return False
    numbers = tuple(b.number(t) for t in sources)
    b.steps.append(Join(layer.name, numbers, b._name(out), _JOINS[type(layer).__name__]))
    return True


def _concat(b: _Builder, layer: Any, sources: list[Any], out: Any) -> bool:
    if layer.axis not in (-1, len(out.shape) - 1):
        return False
    numbers = tuple(b.number(t) for t in sources)
    b.steps.append(Concat(layer.name, numbers, b._name(out)))
    return True


def _operation(b: _Builder, operation: Any, sources: list[Any], out: Any, whole: bool) -> bool:
    """An operation of keras.ops; `whole` says that all its arguments are tensors."""
    name = type(operation).__name__
    if not type(operation).__module__.startswith("keras."):
        return False
    if name in _JOINS and len(sources) == 2 and whole:
        return _join(b, operation, sources, out)
    if name == "Concatenate":
        return _concat(b, operation, sources, out)
    if name in _ACTIVATIONS and len(sources) == 1:
        function = _ACTIVATIONS[name]
        call = _on_arrays(operation.call)
        number = b.number(sources[0])
        b.steps.append(Each(operation.name, number, b._name(out), call, function in MONOTONE))
        return True
    return False


_HANDLERS: dict[Any, Callable[[_Builder, Any, list[Any], Any], bool]] = {
    layers.Dense: _mix,
    **dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED), _mix),
    **dict.fromkeys(DEPTHWISE, _depthwise),
    **dict.fromkeys(SEPARABLE, _separable),
    layers.BatchNormalization: _normalization,
    layers.Rescaling: _rescaling,
    **dict.fromkeys((*_SAME, *_SPATIAL, *_PADDING), _same),
    **dict.fromkeys((layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU), _function),
    layers.PReLU: _prelu,
    **dict.fromkeys((layers.Flatten, layers.Reshape), _reshape),
    **{getattr(layers, name): _join for name in _JOINS},
    layers.Concatenate: _concat,
}
