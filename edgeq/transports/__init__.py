"""Ways to a device: each opens, moves bytes, and closes. None of them knows what the bytes mean.

How firmware gets onto a board is another matter: edgeq.flashers.
"""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """Bytes to one device and from it. Every error is a DeviceError, every wait has a limit."""

    @property
    def name(self) -> str:
        """What messages call it: a port, an emulator's machine."""

    @property
    def instruction_hz(self) -> float | None:
        """Instructions a second of the device's own clock; None for anything but an emulator.

        Ticks of such a clock count instructions, and never stand for time.
        """

    def open(self) -> None:
        """Connect. Bytes from before, or from a board that this resets, may arrive later."""

    def read(self, time_limit: float) -> bytes:
        """What has arrived; waits for it at most `time_limit` seconds, then it is empty."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def close(self) -> None:
        """Disconnect, whatever state it is in. Never raises; may be called twice."""
