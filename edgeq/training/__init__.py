"""Smaller networks before smaller bits: pruning of channels and distillation, with fine-tuning."""

from edgeq.training.distill import Distilled, distill
from edgeq.training.facts import Schedule
from edgeq.training.prune import Pruned, WithoutDead, prune, remove_dead

__all__ = ["Distilled", "Pruned", "Schedule", "WithoutDead", "distill", "prune", "remove_dead"]
