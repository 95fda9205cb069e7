"""How small a network is to become, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeq.errors import UsageError
from edgeq.training.facts import Size

NAMES = {"parameters": "parameters", "bytes": "bytes of weights", "macs": "MACs"}
"""What a person calls each measure."""

_TIMES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {"B": 1, "KB": 1e3, "KIB": 2**10, "MB": 1e6, "MIB": 2**20}


@dataclass(frozen=True)
class Goal:
    """At most `value` of `measure` (parameters, bytes or macs), or that share of what there is."""

    measure: str
    value: float
    is_share: bool

    def of(self, size: Size) -> float:
        """The goal for a network of this size, as a number of its measure."""
        return self.value * size.of(self.measure) if self.is_share else self.value


def parse_size(text: str) -> Goal:
    """--target-size: "20000", "20k" (parameters), "40KB", "40KiB" (bytes of int8 weights), "50%".

    Raises UsageError.
    """
    return _parse(text, "--target-size", "parameters")


def parse_macs(text: str) -> Goal:
    """--target-macs: "1500000", "1.5M", "50%". Raises UsageError."""
    return _parse(text, "--target-macs", "macs")


def _parse(text: str, option: str, measure: str) -> Goal:
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(%|[A-Za-z]*)", text.strip())
    number = float(found[1]) if found else 0.0
    unit = found[2].upper() if found else "?"
    if found and unit == "%" and 0 < number < 100:
        return Goal(measure, number / 100, True)
    if number > 0 and unit in _TIMES:
        return Goal(measure, number * _TIMES[unit], False)
    if number > 0 and unit in _BYTES and measure == "parameters":
        return Goal("bytes", number * _BYTES[unit], False)
    forms = "20000 or 20k parameters, 40KB or 40KiB" if measure == "parameters" else "1.5M"
    raise UsageError(
        f"{option} {text!r} is not understood",
        hint=f"{forms}, or 50% for half of what the model has",
    )
