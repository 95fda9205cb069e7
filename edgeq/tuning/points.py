"""What a trial found, which of them nothing else beats, and which fit the limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_GAIN_DB = 0.5
"""SQNR that is worth paying for."""

MIN_SHARE = 0.01
"""Of flash, RAM or latency: less is no reason to lose anything."""


@dataclass(frozen=True)
class Candidate:
    """One way to convert: the scheme, and which of an int8 network's operators are in int16.

    `int16` are whole names of the float model's tensors, in the order of its operators.
    """

    scheme: str
    int16: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a trial of `candidate` measured, or why it `failed`. None is what cannot be measured.

    `sha256` and `model_bytes` are of the .tflite. `sqnr_db` is of the worst output, infinite when
    all are equal to float (None: no samples); accuracies are 0 to 1, of `samples` samples.
    `flash` and `ram` are bytes as `measured` says, `instructions` an emulator's count of one
    inference, `milliseconds` the median on this computer. `blame` has, for int8, what each
    layer loses of the SQNR itself, in dB, by whole names.
    """

    candidate: Candidate
    failed: str | None = None
    sha256: str | None = None
    model_bytes: int | None = None
    sqnr_db: float | None = None
    equal: bool = False
    accuracy: float | None = None
    float_accuracy: float | None = None
    samples: int = 0
    flash: int | None = None
    ram: int | None = None
    measured: str = ""
    instructions: int | None = None
    milliseconds: float | None = None
    blame: tuple[tuple[str, float], ...] = ()

    @property
    def level(self) -> float:
        """SQNR in dB; infinite when equal to float, minus infinite when nothing is known."""
        if self.equal:
            return math.inf
        return -math.inf if self.sqnr_db is None else self.sqnr_db

    @property
    def costs(self) -> tuple[float, ...]:
        """Flash, RAM and latency; what is not known is 0, as it then is for all."""
        return (self.flash or 0, self.ram or 0, self.instructions or self.milliseconds or 0)


@dataclass(frozen=True)
class Limits:
    """What a network may take and lose: bytes, instructions or milliseconds, points of percent,
    percent, dB. None is no limit."""

    max_accuracy_drop: float | None = None
    min_accuracy: float | None = None
    min_sqnr_db: float | None = None
    max_flash: int | None = None
    max_ram: int | None = None
    max_instructions: float | None = None
    max_milliseconds: float | None = None

    def misses(self, outcome: Outcome) -> list[str]:
        """Each limit that is passed, in words; empty where all hold."""
        return [words for words, _ in self._passed(outcome)]

    def distance(self, outcome: Outcome) -> float:
        """0 where all hold, else the sum of how far each is passed, relative to the limit."""
        return sum(excess for _, excess in self._passed(outcome))

    def _passed(self, o: Outcome) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []

        def above(what: str, value: float | None, limit: float | None, unit: str) -> None:
            if value is not None and limit is not None and value > limit:
                words = f"{what} {_number(value)} > {_number(limit)}{unit}"
                found.append((words, (value - limit) / max(limit, 1e-9)))

        above("flash", o.flash, self.max_flash, " bytes")
        above("RAM", o.ram, self.max_ram, " bytes")
        above("latency", o.instructions, self.max_instructions, " instructions")
        above("latency", o.milliseconds, self.max_milliseconds, " ms")
        if o.accuracy is not None:
            percent = 100 * o.accuracy
            if o.float_accuracy is not None:
                drop = round(100 * o.float_accuracy - percent, 6)
                above("accuracy drop", drop, self.max_accuracy_drop, " points")
            if self.min_accuracy is not None and percent < self.min_accuracy:
                words = f"accuracy {percent:.2f} < {self.min_accuracy:g} %"
                found.append((words, (self.min_accuracy - percent) / 100))
        if self.min_sqnr_db is not None and o.level < self.min_sqnr_db:
            excess = (self.min_sqnr_db - max(o.level, 0.0)) / max(self.min_sqnr_db, 1.0)
            found.append((f"SQNR {o.level:.1f} < {self.min_sqnr_db:g} dB", excess))
        return found


def front(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that no other beats in accuracy, SQNR, flash, RAM and latency, from cheap to dear.

    One that is dearer than another has to be better in something that counts: more right answers,
    MIN_GAIN_DB, or MIN_SHARE of a cost. Of equals, the first stays.
    """
    kept: list[Outcome] = []
    worked = [o for o in outcomes if o.failed is None]
    for outcome in sorted(worked, key=lambda o: (o.costs[::-1], -(o.accuracy or 0.0), -o.level)):
        if not any(_serves(other, outcome) for other in kept):
            kept = [other for other in kept if not _beats(outcome, other)]
            kept.append(outcome)
    return kept


def nearest(outcomes: Sequence[Outcome], limits: Limits) -> Outcome | None:
    """The one that passes the limits by least; None when there is none."""
    return min(outcomes, key=limits.distance, default=None)


def _serves(a: Outcome, b: Outcome) -> bool:
    """Whether who has `a` gains nothing that counts by `b`."""
    return (
        (b.accuracy or 0.0) <= (a.accuracy or 0.0)
        and not b.level >= a.level + MIN_GAIN_DB
        and all(y >= x * (1 - MIN_SHARE) for x, y in zip(a.costs, b.costs, strict=True))
    )


def _beats(a: Outcome, b: Outcome) -> bool:
    """Whether `a` is no worse in anything."""
    return (
        (a.accuracy or 0.0) >= (b.accuracy or 0.0)
        and a.level >= b.level
        and all(x <= y for x, y in zip(a.costs, b.costs, strict=True))
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
