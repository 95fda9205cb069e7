"""Activations from operators that every engine has in integers.

GELU, EXP and LOG have int8 kernels in LiteRT, but in no microcontroller's engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from edgeq.workers.keras_repairs.layers import Change, Scene, array, functions_of, names_of

Found = tuple[str, list[Change], list[str]]

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al., "Self-Normalizing Neural Networks", 2017."""

_CURVE = ((1.1197, 1.03243877), (0.25930863, 2.5742333))
"""(w, a) of log(1 + exp(-t)) = sum of w sigmoid(-a t) for t >= 0: least squares on 0 to 12, off by
0.0036 at most."""

_POLYNOMIAL_REACH = 5.0
"""Up to which input GELU's cubic is better in int8: beyond, its range leaves too few steps."""


def selu(scene: Scene) -> Found | None:
    """scale alpha elu(x) - scale (alpha - 1) relu(x): the same function, of ELU and RELU."""
    spots = functions_of(scene.model, keras.activations.selu, "Selu")
    if not spots or scene.scheme == "int16x8":
        return None

    def call(x: Any) -> Any:
        rest = _SELU_SCALE * (_SELU_ALPHA - 1)
        return _SELU_SCALE * _SELU_ALPHA * tf.nn.elu(x) - rest * tf.nn.relu(x)

    return "selu made of ELU and RELU", _all(spots, call), list(names_of(spots))


def exponential(scene: Scene) -> Found | None:
    """exp(m) (elu(x - m) + 1), with m the largest input on the samples: the same up to m, and a
    straight line beyond."""
    spots = functions_of(scene.model, keras.activations.exponential, "Exp")
    if not spots or scene.scheme == "int16x8":
        return None
    seen = scene.observe(spots, lambda x, *_, **__: float(array(x).max()))
    tops = [max(values, default=0.0) for values in seen]
    changes = [Change(*spot, _power(top)) for spot, top in zip(spots, tops, strict=True)]
    what = f"exponential made of ELU: the same up to {max(tops):.3g}, linear beyond"
    return what, changes, list(names_of(spots))


def _power(top: float) -> Callable[[Any], Any]:
    factor = math.exp(min(top, 80.0))

    def call(x: Any) -> Any:
        return factor * tf.nn.elu(x - top) + factor

    return call


def softplus(scene: Scene) -> Found | None:
    """relu(x) and two sigmoids of |x|; mish(x) = x sigmoid(x + softplus(x - log 2))."""
    smooth = functions_of(scene.model, keras.activations.softplus, "Softplus")
    mish = functions_of(scene.model, keras.activations.mish, "Mish")
    if not smooth and not mish:
        return None
    what = "softplus made of sigmoids" if smooth else "mish made of sigmoids"
    if smooth and mish:
        what = "softplus and mish made of sigmoids"
    changes = _all(smooth, _softplus) + _all(mish, _mish)
    return what, changes, list(names_of(smooth + mish))


def _softplus(x: Any) -> Any:
    size = tf.abs(x)
    return tf.nn.relu(x) + sum(w * tf.sigmoid(-a * size) for w, a in _CURVE)


def _mish(x: Any) -> Any:
    # tanh(log(1 + u)) = v / (v + 2) with v = u^2 + 2 u, and that is a sigmoid of log(v / 2).
    return x * tf.sigmoid(x + _softplus(x - math.log(2.0)))


def gelu(scene: Scene) -> Found | None:
    """x sigmoid(p(x)): Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, have both p.

    The cubic is within 0.0005 of GELU, the line within 0.02.
    """
    spots = functions_of(scene.model, keras.activations.gelu, "Gelu")
    if not spots:
        return None
    seen = scene.observe(spots, lambda x, *_, **__: float(abs(array(x)).max()))
    reach = max((max(values, default=0.0) for values in seen), default=0.0)
    cubic = scene.scheme == "int16x8" or reach <= _POLYNOMIAL_REACH
    form = "x sigmoid(1.596 x + 0.0714 x^3)" if cubic else "x sigmoid(1.702 x)"
    changes = _all(spots, _gelu_by_cubic if cubic else _gelu_by_line)
    return f"gelu as {form}", changes, list(names_of(spots))


def _gelu_by_line(x: Any, approximate: bool = False) -> Any:
    return x * tf.sigmoid(1.702 * x)


def _gelu_by_cubic(x: Any, approximate: bool = False) -> Any:
    return x * tf.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))


def _all(spots: list[tuple[Any, str]], call: Callable[..., Any]) -> list[Change]:
    return [Change(layer, attribute, call) for layer, attribute in spots]
