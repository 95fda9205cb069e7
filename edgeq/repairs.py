"""The repairs that a network may get on its way to integers, by name, and what one has done.

A repair is a small pass: over the layers of a Keras model (workers.keras_repairs), or over the
operators of a .tflite (flatbuffer_repairs). It changes a form that does not quantize, or that a
device cannot run, into one that does; its name is what --repair and the manifest know it by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeq.documents import nearest
from edgeq.errors import UsageError

REPAIRS: dict[str, str] = {
    # Of a Keras model's layers, by workers.keras_repairs.
    "argmax": "argmax as one operator",
    "attention": "causal masks of attention added to the scores, not selected",
    "embedding": "Embedding as GATHER alone",
    "exponential": "exponential made of ELU, up to the largest input seen",
    "float32": "a float16 policy made float32",
    "gelu": "GELU as x sigmoid(p(x)), where nothing else is integer",
    "groupnorm": "group and unit normalization without NEG and SQUARE, where nothing else is "
    "integer",
    "layernorm": "layer normalization without NEG and SQUARE, where nothing else is integer",
    "logits": "a final softmax left out, on request",
    "lstm": "LSTM as one operator",
    "nearest-resize": "nearest up-sampling as a resize",
    "selu": "SELU made of ELU and RELU",
    "softplus": "softplus and mish made of sigmoids, where nothing else is integer",
    "unroll": "GRU, Bidirectional and other recurrent layers unrolled",
    # Of a .tflite, by flatbuffer_repairs and models.
    "batch-of-one": "a .tflite's dynamic first dimension fixed to 1",
    "conv3d": "CONV_3D written as CONV_2D over the frames",
    "identity": "operators that change nothing taken out, pairs of RESHAPE or TRANSPOSE made one",
    "int16": "HARD_SWISH, PRELU, SQUARED_DIFFERENCE written in others, for int16x8",
    "islands": "float operators that the quantizer left made integer, where there is a kernel",
    "pad": "PAD moved into the convolution or pooling behind it",
    "products": "NEG and SQUARE written as MUL",
    "signature": "a .tflite without a signature given one",
    "tile": "TILE written as RESIZE_NEAREST_NEIGHBOR or CONCATENATION",
    "transpose": "TRANSPOSE of more than four dimensions written with fewer",
    # Of channels and their factors, by equalization.
    "equalization": "channels scaled between layers to use the steps they share, if that helps",
}
"""What each does, in a line, by name."""

ON_REQUEST: frozenset[str] = frozenset({"logits"})
"""Those of REPAIRS that are made only when they are asked for by name."""

KERAS_REPAIRS = frozenset(
    {
        "argmax", "attention", "embedding", "exponential", "float32", "gelu", "groupnorm",
        "layernorm", "logits", "lstm", "nearest-resize", "selu", "softplus", "unroll",
    }
)  # fmt: skip
"""Those that workers.keras_repairs makes."""

DEFAULT = "default"
"""In place of a name: all that are not ON_REQUEST."""


@dataclass(frozen=True)
class Repair:
    """What the repair `name` did, as a sentence without its full stop, and to which `layers`.

    `largest_error` is None where the function stays the same but for rounding; else the largest
    difference between an output before and after, on real samples, in the output's own units.
    """

    name: str
    what: str
    layers: tuple[str, ...] = ()
    largest_error: float | None = None


def repairs_named(names: Iterable[str] = (DEFAULT,)) -> frozenset[str]:
    """The repairs that `names` allow; DEFAULT stands for many. Raises UsageError for no name."""
    allowed: set[str] = set()
    for name in names:
        if name == DEFAULT:
            allowed |= REPAIRS.keys() - ON_REQUEST
        elif name in REPAIRS:
            allowed.add(name)
        else:
            guess = nearest(name, [*REPAIRS, DEFAULT])
            known = ", ".join(sorted(REPAIRS)) or "none"
            raise UsageError(
                f"no repair is called {name!r}",
                hint=f"did you mean {guess}?" if guess else f"there are: {known}",
            )
    return frozenset(allowed)
