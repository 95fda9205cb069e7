"""The 61 networks of the conversion matrix: small Keras models, one for each thing users build.

As a program: python networks.py FOLDER [NAME…] saves each as FOLDER/NAME.keras, or as a SavedModel
where a .keras file would hold code, with samples in FOLDER/NAME.npz. Weights and samples are random
and seeded. Only this program imports Keras.
"""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

L = keras.layers
SAMPLES = 100
LARGEST = 2.5
"""Samples are normal numbers, cut off here."""

WORDS = 50
"""Of the embedding: integer inputs are below it."""

FREE_SIZE = 16
"""What a dimension of an input that is free becomes in the samples."""

NETWORKS: dict[str, Callable[[], keras.Model]] = {}
SAVED_MODELS = ("lambda", "subclassed")
"""Those that are exported, since a .keras file of them would need Python code of theirs."""


def network(make: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Registers `make` under its name, without the underscore that a keyword would need."""
    NETWORKS[make.__name__.strip("_")] = make
    return make


# --- Feed-forward -------------------------------------------------------------------------------


@network
def mlp() -> keras.Model:
    x = keras.Input((16,))
    y = L.Dense(32, activation="relu")(x)
    y = L.Dense(16, activation="relu")(y)
    return keras.Model(x, L.Dense(4)(y))


@network
def cnn_bn() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Conv2D(8, 3, use_bias=False)(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = L.Conv2D(16, 3, padding="same")(L.MaxPooling2D()(y))
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    return keras.Model(x, L.Dense(5, activation="softmax")(L.Flatten()(y)))


@network
def cnn_dropout() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Dropout(0.5)(L.Conv2D(8, 3, activation="relu")(x))
    y = L.Flatten()(L.AveragePooling2D(2)(y))
    return keras.Model(x, L.Dense(5)(L.Dropout(0.5)(y)))


@network
def dwsep() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Conv2D(8, 3, strides=2, padding="same")(x)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = L.DepthwiseConv2D(3, padding="same")(y)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = L.BatchNormalization()(L.Conv2D(16, 1)(y))
    return keras.Model(x, L.Dense(5)(L.GlobalAveragePooling2D()(y)))


@network
def residual() -> keras.Model:
    x = keras.Input((16, 16, 8))
    y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = L.ReLU()(L.Add()([x, L.Conv2D(8, 3, padding="same")(y)]))
    return keras.Model(x, L.Dense(5)(L.GlobalAveragePooling2D()(y)))


@network
def concat() -> keras.Model:
    x = keras.Input((16, 16, 3))
    a = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(8, 1, activation="tanh")(x)
    y = L.Conv2D(8, 3)(L.Concatenate()([a, b]))
    return keras.Model(x, L.Dense(5)(L.GlobalMaxPooling2D()(y)))


@network
def two_inputs() -> keras.Model:
    a, b = keras.Input((8,), name="a_in"), keras.Input((12,), name="b_in")
    y = L.Concatenate()([L.Dense(8, activation="relu")(a), L.Dense(8, activation="relu")(b)])
    return keras.Model([a, b], L.Dense(4)(y))


@network
def two_outputs() -> keras.Model:
    x = keras.Input((16,))
    y = L.Dense(16, activation="relu")(x)
    scores = L.Dense(4, activation="softmax", name="cls")(y)
    return keras.Model(x, [scores, L.Dense(2, name="reg")(y)])


@network
def conv1d() -> keras.Model:
    x = keras.Input((64, 3))
    y = L.MaxPooling1D()(L.Conv1D(8, 5, activation="relu")(x))
    y = L.GlobalAveragePooling1D()(L.Conv1D(8, 3, strides=2)(y))
    return keras.Model(x, L.Dense(3)(y))


@network
def conv1d_causal_dil() -> keras.Model:
    x = keras.Input((64, 3))
    y = L.Conv1D(8, 3, dilation_rate=2, padding="causal", activation="relu")(x)
    y = L.Conv1D(8, 3, dilation_rate=4, padding="causal", activation="relu")(y)
    return keras.Model(x, L.Dense(3)(L.Flatten()(y)))


@network
def conv2d_transpose() -> keras.Model:
    x = keras.Input((8, 8, 4))
    y = L.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(x, L.Conv2DTranspose(1, 3, padding="same")(y))


@network
def upsample_nearest() -> keras.Model:
    x = keras.Input((8, 8, 4))
    return keras.Model(x, L.Conv2D(2, 3)(L.UpSampling2D(2)(x)))


@network
def upsample_bilinear() -> keras.Model:
    x = keras.Input((8, 8, 4))
    return keras.Model(x, L.Conv2D(2, 3)(L.UpSampling2D(2, interpolation="bilinear")(x)))


# --- Recurrent ----------------------------------------------------------------------------------


def recurrent(layer: type[keras.Layer], unroll: bool) -> keras.Model:
    x = keras.Input((12, 4))
    return keras.Model(x, L.Dense(3)(layer(8, unroll=unroll)(x)))


for layer in (L.GRU, L.LSTM):
    for unroll in (True, False):
        name = f"{layer.__name__.lower()}_{'unroll' if unroll else 'loop'}"
        NETWORKS[name] = functools.partial(recurrent, layer, unroll)


@network
def lstm_fixed_batch() -> keras.Model:
    x = keras.Input(batch_shape=(1, 12, 4))
    return keras.Model(x, L.Dense(3)(L.LSTM(8)(x)))


@network
def lstm_seq_fixed_batch() -> keras.Model:
    x = keras.Input(batch_shape=(1, 12, 4))
    return keras.Model(x, L.Dense(3)(L.LSTM(8)(L.LSTM(8, return_sequences=True)(x))))


@network
def lstm_stateful() -> keras.Model:
    x = keras.Input(batch_shape=(1, 12, 4))
    return keras.Model(x, L.Dense(3)(L.LSTM(8, stateful=True)(x)))


@network
def bidir_lstm_unroll() -> keras.Model:
    x = keras.Input(batch_shape=(1, 12, 4))
    return keras.Model(x, L.Dense(3)(L.Bidirectional(L.LSTM(8, unroll=True))(x)))


@network
def simple_rnn_loop() -> keras.Model:
    x = keras.Input(batch_shape=(1, 12, 4))
    return keras.Model(x, L.Dense(3)(L.SimpleRNN(8)(x)))


# --- Activations --------------------------------------------------------------------------------


@network
def separable() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Flatten()(L.SeparableConv2D(8, 3, activation="relu")(x))
    return keras.Model(x, L.Dense(3)(y))


ACTIVATIONS = (
    "PReLU LeakyReLU swish gelu hard_swish sigmoid tanh softmax elu mish hard_sigmoid softplus "
    "relu6 selu gelu_tanh exponential log_softmax"
).split()


def activation(name: str) -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(8, 3)(x)
    if name == "PReLU":
        slopes = keras.initializers.Constant(0.2)
        y = L.PReLU(shared_axes=[1, 2], alpha_initializer=slopes)(y)
    elif name == "LeakyReLU":
        y = L.LeakyReLU()(y)
    elif name == "gelu_tanh":
        y = keras.ops.gelu(y, approximate=True)
    else:
        y = L.Activation(name)(y)
    return keras.Model(x, L.Conv2D(4, 3)(y))


for name in ACTIVATIONS:
    NETWORKS[f"act_{name}"] = functools.partial(activation, name)


# --- Attention, normalization, shapes -----------------------------------------------------------


@network
def layernorm() -> keras.Model:
    x = keras.Input((16,))
    return keras.Model(x, L.Dense(4)(L.LayerNormalization()(L.Dense(16)(x))))


@network
def mha() -> keras.Model:
    x = keras.Input((8, 16))
    y = L.Add()([x, L.MultiHeadAttention(2, 8)(x, x)])
    y = L.GlobalAveragePooling1D()(L.LayerNormalization()(y))
    return keras.Model(x, L.Dense(4)(y))


@network
def embedding_pool() -> keras.Model:
    x = keras.Input((10,), dtype="int32")
    y = L.GlobalAveragePooling1D()(L.Embedding(WORDS, 8)(x))
    return keras.Model(x, L.Dense(3, activation="softmax")(y))


@network
def reshape_permute() -> keras.Model:
    x = keras.Input((64,))
    y = L.Permute((3, 1, 2))(L.Reshape((4, 4, 4))(x))
    y = L.Flatten()(L.Conv2D(4, 3, padding="same")(y))
    return keras.Model(x, L.Dense(3)(y))


@network
def rescaling() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Conv2D(8, 3, activation="relu")(L.Rescaling(1 / 255.0)(x))
    return keras.Model(x, L.Dense(3)(L.Flatten()(y)))


@network
def normalization() -> keras.Model:
    x = keras.Input((8,))
    normalize = L.Normalization()
    normalize.adapt(np.random.default_rng(0).normal(5, 3, (100, 8)).astype(np.float32))
    return keras.Model(x, L.Dense(3)(L.Dense(8, activation="relu")(normalize(x))))


@network
def dynamic_spatial() -> keras.Model:
    x = keras.Input((None, None, 3))
    y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y)))


@network
def lambda_() -> keras.Model:
    x = keras.Input((16,))
    return keras.Model(x, L.Dense(3)(L.Lambda(lambda t: tf.math.abs(t) * 2.0)(x)))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = L.Dense(16, activation="relu"), L.Dense(3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.second(self.first(x))


@network
def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, 16), np.float32))
    return model


@network
def group_conv() -> keras.Model:
    x = keras.Input((16, 16, 8))
    y = L.Conv2D(16, 3, groups=4, activation="relu")(x)
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y)))


@network
def dilated_conv() -> keras.Model:
    x = keras.Input((16, 16, 3))
    y = L.Conv2D(8, 3, dilation_rate=2, activation="relu")(x)
    y = L.Conv2D(8, 3, dilation_rate=2, padding="same")(y)
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y)))


@network
def mixed_f16() -> keras.Model:
    policy = keras.DTypePolicy("mixed_float16")
    x = keras.Input((16, 16, 3))
    y = L.Conv2D(8, 3, activation="relu", dtype=policy)(x)
    y = L.GlobalAveragePooling2D(dtype=policy)(y)
    return keras.Model(x, L.Dense(3, dtype="float32")(y))


@network
def tensor5d() -> keras.Model:
    x = keras.Input((4, 4, 4, 8))
    y = L.Conv3D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(x, L.Dense(3)(L.GlobalAveragePooling3D()(y)))


@network
def reshape5d() -> keras.Model:
    x = keras.Input((8, 8, 8))
    y = L.Permute((1, 3, 2, 4, 5))(L.Reshape((4, 2, 4, 2, 8))(x))
    return keras.Model(x, L.Conv2D(4, 1)(L.Reshape((4, 4, 32))(y)))


@network
def se_mul() -> keras.Model:
    x = keras.Input((8, 8, 8))
    y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    s = L.GlobalAveragePooling2D(keepdims=True)(y)
    s = L.Conv2D(4, 1, activation="relu")(s)
    s = L.Conv2D(8, 1, activation="hard_sigmoid")(s)
    y = L.GlobalAveragePooling2D()(L.Multiply()([y, s]))
    return keras.Model(x, L.Dense(3)(y))


@network
def zeropad_crop() -> keras.Model:
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(4, 3, strides=2)(L.ZeroPadding2D(1)(x))
    return keras.Model(x, L.Cropping2D(1)(y))


@network
def argmax_out() -> keras.Model:
    x = keras.Input((16,))
    return keras.Model(x, keras.ops.argmax(L.Dense(5)(x), axis=-1))


@network
def l2norm_embed() -> keras.Model:
    x = keras.Input((16,))
    return keras.Model(x, L.UnitNormalization()(L.Dense(8)(x)))


@network
def unet_small() -> keras.Model:
    x = keras.Input((16, 16, 1))
    a = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    b = L.Conv2D(8, 3, padding="same", activation="relu")(L.MaxPooling2D()(a))
    c = L.Concatenate()([a, L.UpSampling2D()(b)])
    return keras.Model(x, L.Conv2D(1, 1, activation="sigmoid")(c))


@network
def batchnorm_first() -> keras.Model:
    x = keras.Input((16,))
    y = L.Dense(8, activation="relu")(L.BatchNormalization()(x))
    return keras.Model(x, L.Dense(3)(y))


@network
def avgpool_stride_groupnorm() -> keras.Model:
    x = keras.Input((8, 8, 8))
    y = L.Conv2D(8, 3, padding="same")(x)
    y = L.ReLU()(L.GroupNormalization(2)(y))
    return keras.Model(x, L.Conv2D(2, 1)(y))


# --- Saved --------------------------------------------------------------------------------------


def save(name: str, folder: Path) -> None:
    """The network and SAMPLES samples of its inputs, in `folder`."""
    seed = zlib.crc32(name.encode())
    keras.utils.set_random_seed(seed)
    model = NETWORKS[name]()
    if name in SAVED_MODELS:
        model.export(folder / name, verbose=False)
    else:
        model.save(folder / f"{name}.keras")
    random = np.random.default_rng(seed)
    arrays = {}
    inputs = getattr(model, "inputs", None) or [keras.Input((16,))]
    for tensor in inputs:
        shape = (SAMPLES, *(n or FREE_SIZE for n in tensor.shape[1:]))
        if "int" in str(tensor.dtype):
            arrays[tensor.name] = random.integers(0, WORDS, shape).astype(np.int32)
        else:
            values = random.normal(0, 1, shape)
            arrays[tensor.name] = np.clip(values, -LARGEST, LARGEST).astype(np.float32)
    if len(arrays) == 1:
        np.save(folder / f"{name}.npy", *arrays.values())
    else:
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or NETWORKS:
        save(chosen, Path(sys.argv[1]))
