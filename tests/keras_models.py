"""Small Keras models for tests, saved by a process of their own: python keras_models.py FOLDER.

digits-like.{keras,h5} and the SavedModel folder digits-like are one network, trained a little on
scikit-learn's digits, with calibration.npz and test.npz; digits-dynamic.tflite and
digits-half.tflite are what TFLiteConverter makes of it with int8 and with float16 weights. The
others have random weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

L = keras.layers


def digits(folder: Path) -> None:
    data = load_digits()
    x, y = (data.images / 16).astype(np.float32)[..., None], data.target
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            L.Conv2D(16, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:1200], y[:1200], epochs=12, verbose=0)
    model.save(folder / "digits-like.keras")
    model.save(folder / "digits-like.h5")
    model.export(folder / "digits-like", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "digits-like"))
    (folder / "digits-like.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "digits-dynamic.tflite").write_bytes(converter.convert())
    converter.target_spec.supported_types = [tf.float16]
    (folder / "digits-half.tflite").write_bytes(converter.convert())
    np.savez(folder / "calibration.npz", image=x[:200])
    np.savez(folder / "test.npz", image=x[1200:], labels=y[1200:])


class Initializer(tf.saved_model.experimental.TrackableResource):
    """Writes a file when the model that has it is loaded."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="hostile")

    def _initialize(self) -> None:
        tf.print("owned", output_stream=f"file://{self._place}")

    def _destroy_resource(self) -> None:
        pass


class Writer(tf.Module):
    """A network that would write a file when it runs."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = str(place)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.io.write_file(self._place, "owned")
        return {"y": x * 2}


class Starter(tf.Module):
    """A harmless network with a hostile initializer."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.w = tf.Variable(tf.ones((4, 3)))
        self.hostile = Initializer(place)
        self.hostile.resource_handle  # noqa: B018 - creating it makes it part of the model

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x @ self.w}


def hostile(folder: Path) -> None:
    for name, kind in (("writes", Writer), ("starts", Starter)):
        module = kind(folder / f"{name}.owned")
        tf.saved_model.save(module, str(folder / name), signatures=module.serve)
        (folder / f"{name}.owned").unlink(missing_ok=True)


def networks() -> dict[str, keras.Model]:
    image, signal, vector = (lambda *s: keras.Input(s)), keras.Input((32, 3)), keras.Input((16,))
    made = {}

    x = image(16, 16, 3)
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, use_bias=False)(x)))
    made["batch_norm"] = keras.Model(x, L.Dense(5, activation="softmax")(L.Flatten()(y)))

    x = image(16, 16, 3)
    y = L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(L.Conv2D(8, 3, strides=2)(x)))
    made["depthwise"] = keras.Model(x, L.Dense(5)(L.GlobalAveragePooling2D()(L.Conv2D(8, 1)(y))))

    x = image(12, 12, 8)
    y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = L.ReLU()(L.Add()([x, L.Conv2D(8, 3, padding="same")(y)]))
    made["residual"] = keras.Model(x, L.Dense(5)(L.GlobalAveragePooling2D()(y)))

    y = L.Conv1D(8, 3, strides=2)(L.MaxPooling1D()(L.Conv1D(8, 5, activation="relu")(signal)))
    made["conv1d"] = keras.Model(signal, L.Dense(3)(L.GlobalAveragePooling1D()(y)))

    x = image(8, 8, 4)
    y = L.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    made["transposed"] = keras.Model(x, L.Conv2DTranspose(1, 3, padding="same")(y))

    a, b = keras.Input((8,), name="left"), keras.Input((12,), name="right")
    y = L.Concatenate()([L.Dense(8, activation="relu")(a), L.Dense(8, activation="relu")(b)])
    made["two_inputs"] = keras.Model([a, b], L.Dense(4, name="both")(y))

    y = L.Dense(16, activation="relu")(vector)
    scores, size = L.Dense(4, activation="softmax", name="scores")(y), L.Dense(2, name="size")(y)
    made["two_outputs"] = keras.Model(vector, [scores, size])

    for name in ("GRU", "LSTM"):
        for unroll in (True, False):
            x = keras.Input((10, 4))
            y = L.Dense(3)(getattr(L, name)(6, unroll=unroll)(x))
            made[f"{name.lower()}_{'unrolled' if unroll else 'loop'}"] = keras.Model(x, y)

    x = image(8, 8, 3)
    made["elu"] = keras.Model(x, L.Conv2D(4, 3)(L.Activation("elu")(L.Conv2D(8, 3)(x))))

    x = keras.Input((None, None, 3), name="photo")
    y = L.GlobalAveragePooling2D()(L.Conv2D(4, 3, activation="relu")(x))
    made["dynamic"] = keras.Model(x, L.Dense(3)(y))

    x = image(8, 8, 1)
    y = L.Dense(3)(L.Flatten()(L.Rescaling(1 / 255)(x)))
    made["rescaling"] = keras.Model(x, y)

    x = keras.Input((16,))
    made["lambda"] = keras.Model(x, L.Dense(3)(L.Lambda(lambda t: t * 2, name="secret")(x)))
    return made


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    digits(folder)
    hostile(folder)
    for name, model in networks().items():
        model.save(folder / f"{name}.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
