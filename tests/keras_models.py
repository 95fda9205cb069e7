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
from tensorflow.core.protobuf import saved_model_pb2

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


def learned(folder: Path) -> None:
    """What a quantization-aware training leaves: FakeQuant nodes, here after input, ReLU, pooling
    and on the weights of each output channel."""
    random = np.random.default_rng(0)
    weights = tf.Variable((random.standard_normal((3, 3, 3, 4)) * 0.1).astype(np.float32))
    fake = tf.quantization.fake_quant_with_min_max_vars
    each = tf.quantization.fake_quant_with_min_max_vars_per_channel

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32, name="image")])
    def serve(image):
        kernel = each(weights, [-0.5] * 4, [0.5] * 4, narrow_range=True)
        x = tf.nn.relu(tf.nn.conv2d(fake(image, -2.0, 2.0), kernel, 1, "SAME"))
        return {"scores": fake(tf.nn.avg_pool2d(fake(x, 0.0, 3.0), 2, 2, "VALID"), 0.0, 3.0)}

    module = tf.Module()
    module.weights, module.serve = weights, serve
    tf.saved_model.save(module, folder / "learned", signatures=serve)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "learned"))
    (folder / "learned.tflite").write_bytes(converter.convert())
    np.save(folder / "learned.npy", random.uniform(-1, 1, (60, 8, 8, 3)).astype(np.float32))


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


class Pair(tf.Module):
    """Two networks that share nothing but the file."""

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * 2}

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def triple(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * 3}


def pair(folder: Path) -> None:
    module = Pair()
    signatures = {"double": module.double, "triple": module.triple}
    tf.saved_model.save(module, str(folder / "pair"), signatures=signatures)


def hostile(folder: Path) -> None:
    for name, kind in (("writes", Writer), ("starts", Starter)):
        module = kind(folder / f"{name}.owned")
        tf.saved_model.save(module, str(folder / name), signatures=module.serve)
        (folder / f"{name}.owned").unlink(missing_ok=True)


class Reader(tf.Module):
    """A network whose weights are the bytes of a file of whoever converts it."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = str(place)

    @tf.function
    def weights(self) -> tf.Tensor:
        read = tf.raw_ops.ImmutableConst(
            dtype=tf.uint8, shape=[4, 3], memory_region_name=self._place
        )
        return tf.cast(read, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x @ self.weights()}


def reading(folder: Path) -> None:
    (folder / "secret.txt").write_bytes(b"TOP-SECRET-0")
    module = Reader(folder / "secret.txt")
    tf.saved_model.save(module, str(folder / "reads"), signatures=module.serve)


FOREIGN = (
    "ReadFile MatchingFiles GenerateVocabRemapping LoadAndRemapMatrix Restore RestoreSlice "
    "RestoreV2 Skipgram FixedUnigramCandidateSampler DecodeProtoV2 EncodeProto "
    "FileSystemSetConfiguration InitializeTableFromTextFileV2 TextLineDataset IteratorV2 "
    "LMDBReader RecordInput PyFuncStateless RemoteCall DebugIdentityV3 Abort NoSuchOperation"
).split()


def foreign(folder: Path) -> None:
    """The digits' network, with one foreign operation in a function that its functions call."""
    document = saved_model_pb2.SavedModel()
    document.ParseFromString((folder / "digits-like" / "saved_model.pb").read_bytes())
    library = document.meta_graphs[0].graph_def.library.function
    inner = next(f for f in library if not f.signature.name.startswith("__inference__traced"))
    node = inner.node_def.add(name="foreign")
    for op in FOREIGN:
        node.op = op
        made = folder / "foreign" / op
        made.mkdir(parents=True)
        (made / "saved_model.pb").write_bytes(document.SerializeToString())


def disguised(folder: Path) -> None:
    """The digits' network, with its saver's functions where loading or running may call them."""
    original = (folder / "digits-like" / "saved_model.pb").read_bytes()
    for disguise in ("merges", "called", "by_name", "gradient", "interface", "old", "two"):
        document = saved_model_pb2.SavedModel()
        document.ParseFromString(original)
        meta = document.meta_graphs[0]
        library = meta.graph_def.library
        restore = next(f for f in library.function if "traced_restore" in f.signature.name)
        name = restore.signature.name
        inner = next(f for f in library.function if "__inference__traced" not in f.signature.name)
        if disguise == "merges":
            meta.graph_def.node.add(name="__inference__traced_save", op="MergeV2Checkpoints")
        elif disguise == "called":
            inner.node_def.add(name="x", op="PartitionedCall").attr["f"].func.name = name
        elif disguise == "by_name":
            inner.node_def.add(name="x", op=name)
        elif disguise == "gradient":
            library.gradient.add(function_name=inner.signature.name, gradient_func=name)
        elif disguise == "interface":
            restore.attr["api_implements"].s = b"inner"
        elif disguise == "old":
            meta.ClearField("object_graph_def")
        else:
            document.meta_graphs.add().CopyFrom(meta)
        made = folder / "disguised" / disguise
        made.mkdir(parents=True)
        (made / "saved_model.pb").write_bytes(document.SerializeToString())


class Trained(tf.Module):
    """What a network may have beside its layers: tables, random numbers, an optimizer, bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(tf.ones((4, 2)))
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build([self.w])
        pairs = tf.lookup.KeyValueTensorInitializer([1, 2], [3, 4], tf.int64, tf.int64)
        self.table = tf.lookup.StaticHashTable(pairs, -1)
        self.random = tf.random.Generator.from_seed(1)

    @tf.function(input_signature=[tf.TensorSpec((1, 4)), tf.TensorSpec((1, 2))])
    def train(self, x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            noisy = tf.nn.dropout(x, 0.3) + self.random.normal((1, 4))
            loss = tf.reduce_mean((noisy @ self.w - y) ** 2)
        self.optimizer.apply([tape.gradient(loss, self.w)], [self.w])
        return {"loss": loss, "looked_up": self.table.lookup(tf.cast(y, tf.int64))}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def photos(self, files: tf.Tensor) -> dict[str, tf.Tensor]:
        def read(photo: tf.Tensor) -> tf.Tensor:
            return tf.image.resize(tf.io.decode_jpeg(photo, 3), (2, 2))

        return {"pixels": tf.map_fn(read, files, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_less(x, 100.0)
        picked = tf.tensor_scatter_nd_update(x, [[0, 1]], [3.0])
        return {"y": tf.einsum("ij,jk->ik", picked, self.w)}


def legitimate(folder: Path) -> None:
    module = Trained()
    signatures = {"serving_default": module.serve, "train": module.train, "photos": module.photos}
    tf.saved_model.save(module, str(folder / "trained"), signatures=signatures)
    x = keras.Input((24, 24, 3), batch_size=1)
    y = L.Rescaling(1 / 255)(L.Resizing(16, 16)(L.RandomRotation(0.1)(L.RandomFlip()(x))))
    y = L.Dropout(0.3)(L.UpSampling2D(interpolation="bilinear")(L.BatchNormalization()(y)))
    keras.Model(x, L.Conv2D(2, 3)(y)).export(folder / "augmented", verbose=False)
    x = keras.Input((6,), batch_size=1, dtype="int32")
    y = L.Bidirectional(L.GRU(4))(L.LSTM(4, return_sequences=True)(L.Embedding(20, 4)(x)))
    keras.Model(x, y).export(folder / "recurrent", verbose=False)
    x = keras.Input((6, 8), batch_size=1)
    y = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(x, x))
    keras.Model(x, y).export(folder / "attention", verbose=False)


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
    learned(folder)
    pair(folder)
    hostile(folder)
    reading(folder)
    foreign(folder)
    disguised(folder)
    legitimate(folder)
    for name, model in networks().items():
        model.save(folder / f"{name}.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
