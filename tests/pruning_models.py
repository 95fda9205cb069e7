"""Keras models with every way of tying channels: python pruning_models.py FOLDER.

Weights and statistics are random; some channels are dead on purpose. data.npz fits mixed.keras.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

L = keras.layers


def mixed() -> keras.Model:
    """Residual, concatenation, depthwise, squeeze-excite, nested, shared, separable, transposed."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = L.ReLU()(L.BatchNormalization(name="stem_bn")(x))
    y = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="dw")(x)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = L.Conv2D(8, 1, name="project")(y)
    x = L.Add()([x, y])
    s = L.GlobalAveragePooling2D()(x)
    s = L.Dense(4, activation="silu", name="squeeze")(s)
    s = L.Reshape((1, 1, 8))(L.Dense(8, activation="sigmoid", name="excite")(s))
    x = L.Multiply()([x, s])
    inner = keras.Sequential(
        [keras.Input((16, 16, 8)), L.Conv2D(8, 3, padding="same", name="stem"), L.PReLU()],
        name="inner",
    )
    x = inner(x, training=False) + x
    shared = L.Conv2D(8, 1, activation="relu", name="shared")
    a, b = shared(L.MaxPooling2D()(x)), shared(L.AveragePooling2D(2)(x))
    c = L.SeparableConv2D(6, 3, strides=2, padding="same", activation="relu", name="sep")(x)
    d = L.Conv2DTranspose(4, 2, strides=2, name="up")(L.MaxPooling2D(4)(x))
    x = L.Concatenate()([a, b, c, d])
    x = L.Conv2D(8, 3, activation="relu", name="last")(L.ZeroPadding2D(1)(x))
    x = L.Flatten()(L.MaxPooling2D(2)(x))
    x = L.Dense(12, activation="gelu", name="hidden")(x)
    return keras.Model(image, L.Dense(3, activation="softmax", name="scores")(x), name="mixed")


def randomize(model: keras.Model) -> None:
    generator = np.random.default_rng(5)
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([generator.uniform(0.5, 1.5, shape) for _ in range(4)])


def kill(model: keras.Model) -> None:
    """Dead: stem 0 (through the whole residual class: its readers' weights), squeeze 0 (constant),
    shared 1 (negative before ReLU for any input), last 2 (constant), hidden 0 (nobody reads it)."""

    def change(name: str, **edits: object) -> None:
        layer = model.get_layer(name)
        for variable, edit in edits.items():
            value = getattr(layer, variable).numpy()
            edit(value)
            getattr(layer, variable).assign(value)

    def zero(*index: object):
        return lambda value: value.__setitem__(tuple(index), 0)

    all_ = slice(None)
    change("squeeze", kernel=zero(all_, 0), bias=lambda v: v.__setitem__(0, 0.3))
    change("last", kernel=zero(..., 2), bias=lambda v: v.__setitem__(2, 0.4))
    change("hidden", kernel=zero(all_, 1), bias=lambda v: v.__setitem__(1, -0.2))
    change("scores", kernel=zero(0))
    change("stem", kernel=zero(..., 0))
    change("stem_bn", beta=lambda v: v.__setitem__(0, -9))


def lone() -> keras.Model:
    """Nothing that can be removed."""
    return keras.Sequential([keras.Input((4,), name="x"), L.Dense(1, name="y")])


def regression() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((4,), name="x"), L.Dense(16, activation="relu"), L.Dense(1, name="y")]
    )
    model.compile("sgd", "mae")
    return model


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(2)
    model = mixed()
    randomize(model)
    model.save(folder / "mixed.keras")
    kill(model)
    model.save(folder / "dying.keras")
    lone().save(folder / "lone.keras")
    regression().save(folder / "regression.keras")
    generator = np.random.default_rng(1)
    x = generator.standard_normal((96, 16, 16, 3)).astype(np.float32)
    np.savez(folder / "data.npz", image=x, labels=np.arange(96) % 3)
    x = generator.standard_normal((200, 4)).astype(np.float32)
    np.savez(folder / "line.npz", x=x, targets=x.sum(1))
