"""Small Keras models that need repairs, saved by a process of their own: FOLDER [rows].

Each has NAME.npz to calibrate with and NAME_test.npz with inputs x and Keras's own outputs y.
"rows" alone trains two LSTMs on the rows of scikit-learn's digits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

L = keras.layers
STEPS = 6


def networks() -> dict[str, keras.Model]:
    made = {}

    def image(*layers: keras.layers.Layer) -> keras.Model:
        x = y = keras.Input((6, 6, 3), name="x")
        for layer in layers:
            y = layer(y)
        return keras.Model(x, y)

    def steps(*layers: keras.layers.Layer) -> keras.Model:
        x = y = keras.Input((STEPS, 8), name="x")
        for layer in layers:
            y = layer(y)
        return keras.Model(x, y)

    x = keras.Input((16,), name="x")
    made["argmax"] = keras.Model(x, keras.ops.argmax(L.Dense(5)(x), axis=-1))
    x = keras.Input((8, 16), name="x")
    y = L.MultiHeadAttention(2, 8)(x, x, use_causal_mask=True)
    made["causal"] = keras.Model(x, L.Dense(4)(y))
    x = keras.Input((10,), dtype="int32", name="x")
    y = L.GlobalAveragePooling1D()(L.Embedding(50, 8)(x))
    made["embedding"] = keras.Model(x, L.Dense(3, activation="softmax")(y))
    half = keras.DTypePolicy("mixed_float16")
    made["half"] = image(
        L.Conv2D(4, 3, activation="relu", dtype=half), L.Flatten(), L.Dense(3, dtype="float32")
    )
    made["spread"] = steps(L.Dense(8), L.LayerNormalization(), L.Dense(4))
    made["lstm"] = steps(
        L.LSTM(8, return_sequences=True, name="first"), L.LSTM(6, name="second"), L.Dense(3)
    )
    x = keras.Input(batch_shape=(1, STEPS, 8), name="x")
    made["stateful"] = keras.Model(x, L.Dense(3)(L.LSTM(8, stateful=True)(x)))
    x = keras.Input((STEPS, 8), name="x")
    made["joined"] = keras.Model(x, L.Concatenate()([L.LSTM(8)(x), L.LSTM(6)(x)]))
    inner = [keras.Input((STEPS, 8)), L.LSTM(6, return_sequences=True), L.Dense(4)]
    made["nested"] = steps(keras.Sequential(inner), L.SimpleRNN(4), L.Dense(3))
    made["upsampling"] = image(L.UpSampling2D(2), L.Conv2D(2, 3))
    made["selu"] = image(L.Conv2D(4, 3, activation="selu"), L.Conv2D(2, 3, name="scores"))
    x = keras.Input((16,), name="x")
    made["unit"] = keras.Model(x, L.UnitNormalization()(L.Dense(8)(x)))
    made["both_ways"] = steps(L.Bidirectional(L.GRU(4, return_sequences=True)), L.Dense(2))
    for name in ("exponential", "gelu", "mish"):
        made[name] = image(L.Conv2D(4, 3, activation=name), L.Conv2D(2, 3))
    x = keras.Input((8,), name="x")
    made["logits"] = keras.Model(x, L.Dense(5, activation="softmax")(x))
    x = keras.Input((200, 2), name="x")
    made["long"] = keras.Model(x, L.GRU(4, name="far")(x))
    x = keras.Input(batch_shape=(1, STEPS, 2), name="x")
    made["onward"] = keras.Model(x, L.GRU(4, stateful=True, name="onward")(x))
    return made


def samples(name: str, shape: tuple[int, ...], dtype: str, count: int) -> np.ndarray:
    random = np.random.default_rng(len(name))
    if "int" in dtype:
        return random.integers(0, 50, (count, *shape)).astype(dtype)
    values = np.clip(random.standard_normal((count, *shape)), -2.5, 2.5)
    if name == "spread":
        values *= np.exp2(random.uniform(-2, 2, (count, shape[0], 1)))
    return values.astype(dtype)


def rows(folder: Path) -> None:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = (data.images / 16).astype(np.float32)[order], data.target[order]
    first, second = L.LSTM(32, return_sequences=True), L.LSTM(32)
    model = keras.Sequential([keras.Input((8, 8), name="rows"), first, second, L.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(4e-3), loss)
    model.fit(x[:1200], y[:1200], epochs=25, verbose=0)
    model.save(folder / "rows.keras")
    np.savez(folder / "rows.npz", rows=x[:1200])
    np.savez(folder / "rows_test.npz", rows=x[1200:], labels=y[1200:])


def main(folder: Path, only_rows: bool) -> None:
    keras.utils.set_random_seed(0)
    if only_rows:
        rows(folder)
        return
    for name, model in networks().items():
        model.save(folder / f"{name}.keras")
        port = model.inputs[0]
        x = samples(name, tuple(port.shape[1:]), port.dtype, 112)
        np.savez(folder / f"{name}.npz", x=x[:100])
        made = []
        for sample in x[100:]:
            for layer in model.layers:
                if getattr(layer, "stateful", False):
                    layer.reset_states()
            made.append(np.asarray(model(sample[None])))
        np.savez(folder / f"{name}_test.npz", x=x[100:], y=np.concatenate(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["rows"])
