"""A student and its teacher, in the TensorFlow process."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from edgeq.channels import Costs, ties_of
from edgeq.errors import ModelError
from edgeq.training.distill import DistillationOpened
from edgeq.training.facts import Schedule, Score, Size
from edgeq.workers.keras_channels import describe
from edgeq.workers.keras_layers import flattened
from edgeq.workers.losses import BINARY, CLASSES, are_logits
from edgeq.workers.pruning import refuse_unfit
from edgeq.workers.trainer import Trainer, open_model

_LEAST = 1e-30
"""Probabilities below it are taken for it: their logarithm must be a number."""


class Distiller(Trainer):
    """Trains a copy of the student on the labels and on what the teacher says of each sample."""

    def __init__(
        self,
        teacher: str,
        teacher_form: str,
        student: str,
        student_form: str,
        temperature: float,
        alpha: float,
        schedule: Schedule,
    ) -> None:
        super().__init__(schedule)
        loaded, self._teacher_loss = open_model(teacher, teacher_form)
        refuse_unfit(loaded)
        self._teacher = flattened(loaded)
        self._teacher.trainable = False
        loaded, self.compiled = open_model(student, student_form)
        refuse_unfit(loaded)
        self.use(flattened(loaded))
        self._temperature, self._alpha = temperature, alpha

    def open(self, data: str, function: str | None) -> DistillationOpened:
        self._refuse_unequal()
        self.load_data(data, function, self.model)
        x, y = self.rows(self.training_rows(0))
        taught = self._teacher(x, training=False)
        kind = self.task.kind
        teacher_logits = kind in (CLASSES, BINARY) and are_logits(taught.numpy(), kind)
        self.use_loss(lambda x, y, out: self._loss(x, y, out, teacher_logits))
        self._teacher_task = self.task_like(taught.numpy(), self._teacher_loss)
        training, held = self.counts
        return DistillationOpened(
            _size(self._teacher),
            _size(self.model),
            self.arrays.sha256(),
            self.task.words,
            training,
            held,
            self.batches,
        )

    def evaluate_teacher(self) -> Score:
        return self.evaluate(self._teacher, self._teacher_task)

    def _loss(self, x: Any, y: Any, outputs: Any, teacher_logits: bool) -> Any:
        """Hinton et al. 2015, section 2; T^2 keeps the two parts' gradients in proportion."""
        taught = self._teacher(x, training=False)
        own = self.task.loss(y, outputs)
        temperature = self._temperature
        if self.task.kind == CLASSES:
            soft = tf.nn.softmax(_before_softmax(taught, teacher_logits) / temperature)
            logits = _before_softmax(outputs, self.task.logits) / temperature
            imitated = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
        elif self.task.kind == BINARY:
            soft = tf.nn.sigmoid(_before_sigmoid(taught, teacher_logits) / temperature)
            logits = _before_sigmoid(outputs, self.task.logits) / temperature
            imitated = tf.nn.sigmoid_cross_entropy_with_logits(soft, logits)
        else:
            imitated, temperature = tf.square(taught - outputs), 1.0
        part = tf.reduce_mean(imitated) * temperature**2
        return self._alpha * part + (1 - self._alpha) * own

    def _refuse_unequal(self) -> None:
        pairs = (("input", "inputs"), ("output", "outputs"))
        for what, which in pairs:
            taught, learnt = (
                [tuple(t.shape[1:]) for t in getattr(m, which)] for m in (self._teacher, self.model)
            )
            if taught != learnt:
                raise ModelError(
                    f"the teacher's {what} is {_shown(taught)}, the student's {_shown(learnt)}",
                    hint="both take the same samples and give the same classes",
                )


def _before_softmax(outputs: Any, are_logits: bool) -> Any:
    return outputs if are_logits else tf.math.log(tf.maximum(outputs, _LEAST))


def _before_sigmoid(outputs: Any, are_logits: bool) -> Any:
    if are_logits:
        return outputs
    clipped = tf.clip_by_value(outputs, 1e-6, 1 - 1e-6)
    return tf.math.log(clipped) - tf.math.log1p(-clipped)


def _size(model: Any) -> Size:
    network = describe(model).network
    ties = ties_of(network)
    sizes = [round(Costs(network, ties, m).total) for m in ("bytes", "macs")]
    fixed = all(None not in t.shape[1:] for t in model.inputs)
    return Size(int(model.count_params()), sizes[0], sizes[1] if fixed else None)


def _shown(shapes: list[tuple[int | None, ...]]) -> str:
    return " and ".join(str(list(s)).replace("None", "?") for s in shapes)
