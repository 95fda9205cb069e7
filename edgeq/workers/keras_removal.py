"""A Keras model without some of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeq.channels import Ties
from edgeq.workers.keras_channels import (
    CONVOLUTIONS,
    DEPTHWISE,
    SEPARABLE,
    TRANSPOSED,
    Described,
)
from edgeq.workers.keras_layers import Changed, rebuilt

layers = keras.layers


def without(
    model: Any,
    described: Described,
    ties: Ties,
    gone: frozenset[int],
    biases: Mapping[int, NDArray[np.float64]],
) -> Any:
    """The flattened() `model` without the classes `gone`; `biases` is added to each Mix's bias."""
    stays = np.ones(ties.count, bool)
    stays[list(gone)] = False

    def change(layer: Any) -> Changed:
        config, weights = layer.get_config(), layer.get_weights()
        if layer.name not in described.source:
            return config, weights
        reads = stays[ties.classes[described.source[layer.name]]]
        writes = stays[ties.classes[described.target[layer.name]]]
        added = biases.get(described.mixes.get(layer.name, -1))
        if added is not None:
            config = {**config, "use_bias": True}
            if layer.use_bias:
                weights[-1] = weights[-1] + added.astype(weights[-1].dtype)
            else:
                weights.append(added.astype(weights[0].dtype))
        return _cut(layer, config, weights, reads, writes)

    return rebuilt(model, change)


def _cut(
    layer: Any,
    config: dict[str, Any],
    weights: list[NDArray[Any]],
    reads: NDArray[np.bool_],
    writes: NDArray[np.bool_],
) -> Changed:
    """Configuration and weights of `layer` for the channels that it still `reads` and `writes`."""
    left = int(writes.sum())
    if isinstance(layer, (layers.Dense, *CONVOLUTIONS)):
        first = weights[0][..., reads, :][..., writes]
        key = "units" if isinstance(layer, layers.Dense) else "filters"
        return {**config, key: left}, [first, *(w[writes] for w in weights[1:])]
    if isinstance(layer, TRANSPOSED):
        first = weights[0][..., writes, :][..., reads]
        return {**config, "filters": left}, [first, *(w[writes] for w in weights[1:])]
    if isinstance(layer, DEPTHWISE):
        return config, [weights[0][..., reads, :], *(w[writes] for w in weights[1:])]
    if isinstance(layer, SEPARABLE):
        spread = np.repeat(reads, layer.depth_multiplier)
        pointwise = weights[1][..., spread, :][..., writes]
        rest = [w[writes] for w in weights[2:]]
        return {**config, "filters": left}, [weights[0][..., reads, :], pointwise, *rest]
    if isinstance(layer, layers.BatchNormalization):
        return config, [w[reads] for w in weights]
    if isinstance(layer, layers.PReLU) and weights[0].shape[-1] == len(reads):
        return config, [weights[0][..., reads]]
    if isinstance(layer, layers.Reshape):
        shape = list(config["target_shape"])
        if shape[-1] != -1:
            shape[-1] = left
        return {**config, "target_shape": tuple(shape)}, weights
    return config, weights
