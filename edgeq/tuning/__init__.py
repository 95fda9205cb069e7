"""edgeq tune: which precision for which layer, as trials of one network on one target."""

from edgeq.tuning.points import Candidate, Limits, Outcome
from edgeq.tuning.search import Tuning, tune

__all__ = ["Candidate", "Limits", "Outcome", "Tuning", "tune"]
