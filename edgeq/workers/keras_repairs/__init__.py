"""Repairs on the layers of a Keras model, before it becomes a .tflite.

A pass finds layers whose form does not quantize, or that an engine lacks, and replaces their
computation in place: names, weights, sharing and call arguments stay as they are, in nested models
and in containers too. The model runs before and after each pass, on the same samples, and a pass
that promises the same function is undone when it does not keep it.
"""

from edgeq.workers.keras_repairs.passes import Outcome, repair

__all__ = ["Outcome", "repair"]
