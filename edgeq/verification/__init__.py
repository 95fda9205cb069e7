"""Proof that a converted model is what was asked for: integer, close to float,
and the same in every engine."""

from edgeq.integers import Violation, find_violations, violation_table
from edgeq.verification.agreement import Agreement, compare_engines
from edgeq.verification.fidelity import (
    Fidelity,
    Gates,
    LayerError,
    check_labels,
    layer_errors,
    measure_accuracy,
    measure_fidelity,
    missed_gate,
)
from edgeq.verification.proof import MissedGate, Verification, verify

__all__ = [
    "Agreement",
    "Fidelity",
    "Gates",
    "LayerError",
    "Verification",
    "Violation",
    "check_labels",
    "compare_engines",
    "find_violations",
    "layer_errors",
    "measure_accuracy",
    "MissedGate",
    "measure_fidelity",
    "missed_gate",
    "verify",
    "violation_table",
]
