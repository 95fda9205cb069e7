"""Models of a float16 policy, in float32: TFLite has no half-precision convolutions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from edgeq.workers.keras_repairs.layers import layers_of

_HALF = frozenset({"float16", "bfloat16", "mixed_float16", "mixed_bfloat16"})


def half_layers(model: Any) -> list[str]:
    """Names of the layers that compute in half precision."""
    return [layer.name for layer in layers_of(model) if layer.compute_dtype in _HALF]


def in_float32(model: Any, allow_lambda: bool) -> Any:
    """The same layers with the same weights, all of policy float32."""
    config = _widened(keras.saving.serialize_keras_object(model))
    made = keras.saving.deserialize_keras_object(config, safe_mode=not allow_lambda)
    made.set_weights([np.asarray(w, np.float32) if _half(w) else w for w in model.get_weights()])
    return made


def _half(weight: Any) -> bool:
    return str(weight.dtype) in _HALF


def _widened(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_widened(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config["config"].get("name") in _HALF:
        return {**config, "config": {"name": "float32"}}
    return {
        key: "float32"
        if key == "dtype" and isinstance(value, str) and value in _HALF
        else _widened(value)
        for key, value in config.items()
    }
