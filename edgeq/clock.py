"""A device's ticks: what one of them is, and whether its clock can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.answers import Info
from edgeq.measurement import Unit


@dataclass(frozen=True)
class Clock:
    """The unit to report, ticks of it a second (None for instructions), how many one tick is."""

    unit: Unit
    tick_hz: float | None
    scale: float

    def count(self, ticks: float) -> int:
        """Ticks of the device in numbers of `unit`."""
        return round(ticks * self.scale)


def clock_of(info: Info, instruction_hz: float | None) -> Clock:
    """The clock that `eq info` tells of; on an emulator, instructions, and never a time."""
    if instruction_hz is not None:
        return Clock("instructions", None, instruction_hz / info.tick_hz)
    if info.tick_unit == "ns":
        return Clock("ns", 1e9, 1e9 / info.tick_hz)
    return Clock("cycles", float(info.tick_hz), 1.0)


def clock_doubts(info: Info, ticks: Sequence[int], seconds: float) -> list[str]:
    """Why these counts cannot be right: the host saw `seconds` go by for all of them together.

    Not for emulators, whose time is not ours.
    """
    doubts = []
    counted = sum(ticks) / info.tick_hz
    if counted > 1.02 * seconds:  # Inferences are shorter than the exchange that has them.
        doubts.append(
            f"the device's clock is wrong: it counted {counted:.3g} s of inferences within "
            f"{seconds:.3g} s, at {info.tick_hz} Hz by its own word"
        )
    longest = 2.0**info.tick_bits / info.tick_hz
    if seconds / len(ticks) > longest:
        doubts.append(
            f"the device's counter of {info.tick_bits} bits may have wrapped: it counts to "
            f"{longest:.3g} s"
        )
    return doubts
