"""What the parent and the TensorFlow process tell each other of training."""

from __future__ import annotations

from dataclasses import dataclass

LOSSES = ("crossentropy", "crossentropy-logits", "mse", "mae", "huber")
"""What --loss takes; crossentropy expects probabilities, the other logits."""


@dataclass(frozen=True)
class Size:
    """What a Keras model costs.

    `bytes` are those of its int8 form's weights: 1 for a weight of a convolution or dense layer, 4
    for each of their biases. `macs` are the multiply-accumulates of those layers for one inference;
    None where the model has no fixed shapes.
    """

    parameters: int
    bytes: int
    macs: int | None

    def of(self, measure: str) -> int:
        return int(getattr(self, measure) or 0)


@dataclass(frozen=True)
class Score:
    """How a model does on the samples held out: `accuracy` is a share of 1, None for regression."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Opened:
    """A model and its data, as the TensorFlow process has opened them.

    `data` is the SHA-256 of the arrays; `loss` how training judges, in words.
    """

    size: Size
    data: str
    loss: str
    training_samples: int
    held_out: int
    batches: int


@dataclass(frozen=True)
class Trained:
    """Where an epoch is: `batches` of it are done; `loss` is their mean."""

    batches: int
    loss: float
    finished: bool


@dataclass(frozen=True)
class Schedule:
    """How to train.

    `held_out` is the share of the samples that is not trained on but judges; `seed` fixes which,
    their order and every random number.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    loss: str | None = None
    held_out: float = 0.2
    seed: int = 0


USUAL = Schedule()
