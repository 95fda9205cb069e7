"""Train a small network on scikit-learn's 1,797 real handwritten digits, scaled to 28x28.

Writes digits.keras, calibration.npz (samples to learn ranges from) and test.npz (held-out digits
with labels), which edgeq.toml names.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent


def load() -> tuple[np.ndarray, ...]:
    """Images (N, 28, 28, 1) float32 in 0..1, and their classes, as train and test."""
    digits = load_digits()
    images = tf.image.resize(digits.images[..., None] / 16.0, (28, 28)).numpy()
    return train_test_split(
        images.astype(np.float32), digits.target, test_size=0.25, random_state=0,
        stratify=digits.target,
    )  # fmt: skip


def dataset() -> tuple[np.ndarray, np.ndarray]:
    """What it is trained on, for `edgeq prune` and `edgeq distill`."""
    x, _, y, _ = load()
    return x, y


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax", name="scores"),
        ]
    )


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    x, x_test, y, y_test = load()
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=12, batch_size=32, verbose=2)
    print(f"float accuracy on held-out digits: {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")
    model.save(HERE / "digits.keras")
    np.savez(HERE / "calibration.npz", image=x[:250])
    np.savez(HERE / "test.npz", image=x_test, labels=y_test)
