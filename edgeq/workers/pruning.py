"""Removal of channels from a Keras model, in the TensorFlow process."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgeq.channels import Costs, Ties, choose, dead_of, smallest, ties_of
from edgeq.errors import ModelError, VerificationError
from edgeq.training.facts import Opened, Schedule, Size
from edgeq.workers.keras_channels import Described, as_mix, describe, weight_of
from edgeq.workers.keras_layers import flattened, in_float64
from edgeq.workers.keras_removal import without
from edgeq.workers.trainer import Trainer, open_model
from edgeq.workers.training_data import load

IMPORTANCE_BATCHES = 50
"""Mini-batches that the importance of channels is averaged over, at most."""

EQUAL = 1e-9
"""How far outputs may differ in float64, relative to the largest, for models that are the same."""

ROUNDED = 1e-4
"""The same in float32, where sums over fewer channels round otherwise."""

_RANDOM = 32


class Pruner(Trainer):
    """A flat copy of the model at `path`, and what was removed of it."""

    def __init__(self, path: str, form: str, schedule: Schedule) -> None:
        super().__init__(schedule)
        self._source = path
        loaded, self.compiled = open_model(path, form)
        refuse_unfit(loaded)
        self._original = flattened(loaded)
        self.use(self._original)

    def open(self, data: str, function: str | None) -> Opened:
        self.load_data(data, function, self._original)
        training, held = self.counts
        return Opened(
            self.size(), self.arrays.sha256(), self.task.words, training, held, self.batches
        )

    def size(self) -> Size:
        described, ties = self._described()
        sizes = {m: round(Costs(described.network, ties, m).total) for m in ("bytes", "macs")}
        fixed = all(None not in t.shape[1:] for t in self.model.inputs)
        return Size(
            int(self.model.count_params()), sizes["bytes"], sizes["macs"] if fixed else None
        )

    def smallest(self, measure: str) -> int:
        """The least that removing channels can make of `measure`."""
        described, ties = self._described()
        if ties.stays.all():
            raise ModelError(
                "no layer of this model has channels that can be removed",
                hint="channels are removed between two convolution or dense layers; what follows "
                "the last of them, attention and recurrent layers keep theirs",
            )
        return round(smallest(described.network, ties, measure))

    def channels(self) -> dict[str, int]:
        """The channels that each convolution and dense layer writes, by its name."""
        described, _ = self._described()
        return {name: described.network.widths[described.target[name]] for name in described.mixes}

    def prune_to(self, measure: str, goal: float) -> int:
        """Remove the least important channels until `measure` is at most `goal`; how many."""
        described, ties = self._described()
        gone = choose(described.network, ties, self._importance(described, ties), measure, goal)
        if gone:
            self.use(without(self.model, described, ties, gone, {}))
        return len(gone)

    def remove_dead(self) -> int:
        """Remove all channels that are constant, or that nobody reads; how many."""
        model, count = _without_dead(self.model)
        self.use(model)
        return count

    def prove_equal(self, data: str | None, function: str | None) -> tuple[int, float, float]:
        """Compare with the original on random samples and those of `data`.

        Gives the number of samples and the largest difference of any output: in float64, where
        biases are not rounded either, and in float32. Raises VerificationError when one of them is
        more than rounding.
        """
        sets = [_random_inputs(self._original, self.schedule.seed)]
        if data is not None:
            sets.append([a[:1000] for a in load(data, function, self._original.inputs).inputs])
        wide = in_float64(self._original)
        exact = _largest_difference(wide, _without_dead(wide)[0], sets, EQUAL)
        rounded = _largest_difference(self._original, self.model, sets, ROUNDED)
        return sum(len(arrays[0]) for arrays in sets), exact, rounded

    def _described(self) -> tuple[Described, Ties]:
        described = describe(self.model)
        return described, ties_of(described.network)

    def _importance(self, described: Described, ties: Ties) -> NDArray[np.float64]:
        """The importance of each class of channels for the loss.

        Molchanov et al., Importance Estimation for Neural Network Pruning (CVPR 2019), section 3.1:
        the squared first-order change of the loss when a gate of 1 on the channels closes, averaged
        over mini-batches. The gate stands where channels are read, so its gradient is the sum of
        weight * gradient over all weights that read them, whatever lies before.
        """
        kernels = {name: weight_of(self.model.get_layer(name)) for name in described.mixes}
        model, loss = self.model, self.task.loss
        mixes = {n: described.network.steps[i] for n, i in described.mixes.items()}

        def gradients(x: Any, y: Any) -> Any:
            values = [k.value for k in kernels.values()]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                value = loss(y, model(x, training=False))
            return tape.gradient(value, values, unconnected_gradients="zero")

        traced = tf.function(gradients, reduce_retracing=True)

        importance = np.zeros(ties.count)
        batches = min(IMPORTANCE_BATCHES, self.batches)
        for batch in range(batches):
            found = traced(*self.rows(self.training_rows(batch)))
            gates = np.zeros(ties.count)
            for (name, kernel), gradient in zip(kernels.items(), found, strict=True):
                product = np.asarray(gradient, np.float64) * np.asarray(kernel, np.float64)
                per_channel = as_mix(model.get_layer(name), product).sum((0, 2))
                np.add.at(gates, ties.classes[mixes[name].source], per_channel)  # type: ignore[union-attr]
            importance += gates**2
        return importance / batches


def _without_dead(model: Any) -> tuple[Any, int]:
    """A flat model without its dead channels, and how many those were."""
    count = 0
    while True:
        described = describe(model)
        ties = ties_of(described.network)
        dead = dead_of(described.network, ties)
        if not dead.classes:
            return model, count
        count += len(dead.classes)
        model = without(model, described, ties, dead.classes, dead.biases)


def _largest_difference(
    before: Any, after: Any, sets: list[list[NDArray[Any]]], limit: float
) -> float:
    largest = 0.0
    for arrays in sets:
        pairs = zip(_outputs(before, arrays), _outputs(after, arrays), strict=True)
        for a, b in pairs:
            found = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
            if not found <= limit * max(1.0, float(np.abs(a).max())):
                raise VerificationError(
                    f"the model without its dead channels differs from the original by {found:g}",
                    hint="nothing was written; please report this model",
                )
            largest = max(largest, found)
    return largest


def refuse_unfit(model: Any) -> None:
    """Raise ModelError for a model whose layers cannot be taken apart or trained."""
    if not isinstance(model, keras.Sequential) and not hasattr(model, "_nodes_by_depth"):
        raise ModelError(
            "the model's layers are called by Python code of its own class",
            hint="build it with keras.Sequential or keras.Model(inputs, outputs) and save it again",
        )
    for layer in model._flatten_layers():
        if getattr(layer, "quantization_mode", None) or "float8" in str(layer.dtype_policy.name):
            raise ModelError(
                f"layer {layer.name!r} is quantized already ({layer.dtype_policy.name})",
                hint="give the float model that it was made of",
            )
        if "float16" in str(layer.dtype_policy.name):
            raise ModelError(
                f"layer {layer.name!r} computes in {layer.dtype_policy.name}",
                hint="save the model in float32: keras.config.set_dtype_policy('float32')",
            )


def _random_inputs(model: Any, seed: int) -> list[NDArray[Any]]:
    generator = np.random.default_rng(seed)
    made = []
    for tensor in model.inputs:
        shape = (_RANDOM, *(size or 16 for size in tensor.shape[1:]))
        values = generator.standard_normal(shape)
        values[_RANDOM // 2 :] *= 10  # Far outside of what a network has seen.
        is_float = np.dtype(tensor.dtype).kind == "f"
        made.append((values if is_float else values > 0).astype(tensor.dtype))
    return made


def _outputs(model: Any, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    values = model(arrays[0] if len(arrays) == 1 else arrays, training=False)
    return [np.asarray(v) for v in keras.tree.flatten(values)]
