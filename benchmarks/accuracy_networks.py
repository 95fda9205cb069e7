"""The networks of benchmarks/accuracy.py, on the data sets that come with scikit-learn.

Nothing is downloaded. Each is trained in seconds, and has samples for training, for calibration and
for testing that are not each other's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

layers = keras.layers
Array = np.ndarray


@dataclass(frozen=True)
class Data:
    """`labels` of classes are whole numbers; else `test_y` are what a regression should give."""

    train_x: Array
    train_y: Array
    pool_x: Array
    pool_y: Array
    test_x: Array
    test_y: Array

    @property
    def has_classes(self) -> bool:
        return self.test_y.dtype.kind == "i"


@dataclass(frozen=True)
class Network:
    """`make` gives the untrained model; `after` changes its weights, not its function."""

    name: str
    data: Callable[[], Data]
    make: Callable[[], Any]
    epochs: int = 12
    after: Callable[[Any], None] | None = None


def _split(x: Array, y: Array, train: int, pool: int) -> Data:
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32), y[order]
    y = y.astype(np.int64 if y.dtype.kind == "i" else np.float32)
    a, b = train, train + pool
    return Data(x[:a], y[:a], x[a:b], y[a:b], x[b:], y[b:])


def digits() -> Data:
    found = load_digits()
    return _split(found.images[..., None] / 16, found.target, 900, 400)


def digits_with_a_glitch() -> Data:
    """One sample of those for calibration is 20 times too bright."""
    data = digits()
    pool = data.pool_x.copy()
    pool[33] *= 20
    return Data(data.train_x, data.train_y, pool, data.pool_y, data.test_x, data.test_y)


def rows() -> Data:
    found = load_digits()
    return _split(found.images / 16, found.target, 900, 400)


def flat_to_itself() -> Data:
    x = load_digits().data / 16
    return _split(x, x, 900, 400)


def cancer() -> Data:
    found = load_breast_cancer()
    x = (found.data - found.data[:300].mean(0)) / found.data[:300].std(0)
    return _split(x, found.target, 300, 100)


def raw_cancer() -> Data:
    found = load_breast_cancer()
    return _split(found.data, found.target, 300, 100)


def diabetes() -> Data:
    found = load_diabetes()
    x = found.data / found.data.std(0)
    y = (found.target - found.target.mean()) / found.target.std()
    return _split(x, y[:, None], 250, 90)


def sine() -> Data:
    random = np.random.default_rng(1)
    x = random.uniform(0, 2 * np.pi, (3000, 1))
    return _split(x, np.sin(x) + random.normal(0, 0.05, x.shape), 1500, 600)


def _conv(y: Any, filters: int, activation: Any, size: int = 3, strides: int = 1) -> Any:
    y = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(y)
    return activation(layers.BatchNormalization()(y))


def _depthwise(y: Any, activation: Any, strides: int = 1) -> Any:
    y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y)
    return activation(layers.BatchNormalization()(y))


def _softmax_head(y: Any) -> Any:
    return layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(y))


def cnn() -> Any:
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(16, 3, activation="relu", padding="same")(x)
    y = layers.MaxPooling2D()(y)
    y = layers.Conv2D(32, 3, activation="relu", padding="same")(y)
    y = layers.Flatten()(layers.MaxPooling2D()(y))
    return keras.Model(x, layers.Dense(10, activation="softmax")(y))


def mobilenet(activation: Callable[[], Any]) -> Any:
    x = keras.Input((8, 8, 1))
    y = _conv(x, 16, activation())
    for filters, strides in ((24, 1), (32, 2), (32, 1)):
        y = _depthwise(y, activation(), strides)
        y = _conv(y, filters, activation(), 1)
    return keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling2D()(y)))


def relu6() -> Any:
    return layers.ReLU(6.0)


def spread(model: Any) -> None:
    """Multiply what computes a channel by 2^-3 to 2^3, and divide what reads it by the same."""
    random = np.random.default_rng(4)
    weighted = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
    found = [layer for layer in model.layers if isinstance(layer, weighted)]
    norms = [n for n in model.layers if isinstance(n, layers.BatchNormalization)]
    for norm, reader in zip(norms, found[1:], strict=True):
        gamma, beta, mean, variance = norm.get_weights()
        factor = (2.0 ** random.integers(-3, 4, gamma.size)).astype(np.float32)
        norm.set_weights([gamma * factor, beta * factor, mean, variance])
        kernel, *bias = reader.get_weights()
        axes = (-1, 1)
        reader.set_weights([kernel / factor.reshape(axes), *bias])


def squeeze_excite() -> Any:
    swish = lambda: layers.Activation("swish")  # noqa: E731
    x = keras.Input((8, 8, 1))
    y = _conv(x, 16, swish())
    for filters, strides in ((24, 2), (32, 1)):
        y = _depthwise(_conv(y, 2 * filters, swish(), 1), swish(), strides)
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(8, 1, activation="swish")(gate)
        gate = layers.Conv2D(2 * filters, 1, activation="sigmoid")(gate)
        y = _conv(layers.Multiply()([y, gate]), filters, layers.Activation("linear"), 1)
    return keras.Model(x, _softmax_head(y))


def autoencoder() -> Any:
    x = keras.Input((64,))
    y = x
    for units in (48, 12, 48):
        y = layers.Dense(units, activation="relu")(y)
    return keras.Model(x, layers.Dense(64)(y))


def lstm() -> Any:
    x = keras.Input((8, 8))
    y = layers.LSTM(32)(layers.LSTM(32, return_sequences=True)(x))
    return keras.Model(x, layers.Dense(10)(y))


def unrolled_lstm() -> Any:
    x = keras.Input((8, 8))
    y = layers.LSTM(32, unroll=True)(layers.LSTM(32, return_sequences=True, unroll=True)(x))
    return keras.Model(x, layers.Dense(10)(y))


def transformer() -> Any:
    x = keras.Input((8, 8))
    y = layers.Dense(32)(x)
    for _ in range(2):
        n = layers.LayerNormalization()(y)
        y = layers.Add()([y, layers.MultiHeadAttention(4, 8)(n, n)])
        n = layers.LayerNormalization()(y)
        y = layers.Add()([y, layers.Dense(32)(layers.Dense(64, activation="relu")(n))])
    return keras.Model(x, layers.Dense(10)(layers.Flatten()(y)))


def mlp(inputs: int, outputs: int, width: int = 32) -> Any:
    x = keras.Input((inputs,))
    y = layers.Dense(width, activation="relu")(x)
    y = layers.Dense(width, activation="relu")(y)
    return keras.Model(x, layers.Dense(outputs)(y))


def raw_mlp() -> Any:
    """It brings its normalization along, as tabular models often do."""
    norm = layers.Normalization()
    norm.adapt(raw_cancer().train_x)
    x = keras.Input((30,))
    y = layers.Dense(16, activation="relu")(norm(x))
    return keras.Model(x, layers.Dense(2)(y))


NETWORKS = (
    Network("CNN, softmax", digits, cnn),
    Network("the same, one outlier", digits_with_a_glitch, cnn),
    Network("MobileNet-like, ReLU6", digits, lambda: mobilenet(relu6), 20),
    Network("MobileNet-like, unequal channels", digits, lambda: mobilenet(layers.ReLU), 20, spread),
    Network("swish, squeeze-excite", digits, squeeze_excite, 20),
    Network("autoencoder", flat_to_itself, autoencoder, 40),
    Network("LSTM, 2 layers, unrolled", rows, unrolled_lstm, 25),
    Network("LSTM, 2 layers", rows, lstm, 25),
    Network("transformer, 2 blocks", rows, transformer, 25),
    Network("breast cancer, standardized", cancer, lambda: mlp(30, 2), 20),
    Network("breast cancer, raw", raw_cancer, raw_mlp, 20),
    Network("diabetes regression", diabetes, lambda: mlp(10, 1, 16), 20),
    Network("sine regression", sine, lambda: mlp(1, 1, 16), 40),
)


def trained(network: Network) -> tuple[Any, Data]:
    keras.utils.set_random_seed(0)
    data = network.data()
    model = network.make()
    softmax = "softmax" in network.name or "outlier" in network.name or "swish" in network.name
    loss = (
        keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
        if data.has_classes
        else "mse"
    )
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(data.train_x, data.train_y, 32, network.epochs, verbose=0)
    if network.after is not None:
        network.after(model)
    return model, data
