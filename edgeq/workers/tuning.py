"""Trials of edgeq tune in a child process, one after the other."""

from __future__ import annotations

from edgeq.tuning.points import Candidate, Outcome
from edgeq.tuning.trials import Subject, run_trial


class Trials:
    """Of one subject, which is sent once."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def run(self, candidate: Candidate) -> Outcome:
        return run_trial(self._subject, candidate)
