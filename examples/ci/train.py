"""Train the example's network on scikit-learn's handwritten digits, as they are: 8x8 pixels.

Writes net.keras, calibration.npz and test.npz, which are committed, so that CI checks what was
trained and need not train. Run it again to change the network, then `edgeq check`.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax", name="scores"),
        ]
    )


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(
        images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=20, batch_size=32, verbose=2)
    print(f"float accuracy on held-out digits: {model.evaluate(x_test, y_test, verbose=0)[1]:.4f}")
    # Without the optimizer's state, which would treble the file.
    keras.models.clone_model(model).save(HERE / "net.keras")
    bare = keras.models.load_model(HERE / "net.keras")
    bare.set_weights(model.get_weights())
    bare.save(HERE / "net.keras")
    np.savez_compressed(HERE / "calibration.npz", image=x[:200])
    np.savez_compressed(HERE / "test.npz", image=x_test, labels=y_test)
