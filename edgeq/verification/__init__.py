"""Proof that a converted model is what was asked for: integer, close to float,
and the same in every engine."""

from edgeq.integers import Violation, find_violations, violation_table
from edgeq.verification.agreement import Agreement, compare_engines
from edgeq.verification.fidelity import (
    Fidelity,
    Gates,
    LayerError,
    check_gates,
    layer_errors,
    measure_accuracy,
    measure_fidelity,
)
from edgeq.verification.proof import Verification, verify

__all__ = [
    "Agreement",
    "Fidelity",
    "Gates",
    "LayerError",
    "Verification",
    "Violation",
    "check_gates",
    "compare_engines",
    "find_violations",
    "layer_errors",
    "measure_accuracy",
    "measure_fidelity",
    "verify",
    "violation_table",
]
