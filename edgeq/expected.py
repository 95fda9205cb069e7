"""What a device is held to: which firmware it must run, and what that must compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.bundle import Bundle
from edgeq.golden import Golden


@dataclass(frozen=True, eq=False)
class Expected:
    """What the firmware on the device must be, and what it must compute.

    `how_to_flash` is the command for a device with something else. `layer_crcs(i)` has CRC-32 of
    what each layer's first output is for golden input i, in the device's order of layers, None
    for those that the reference has not; it is called when an output is wrong.
    """

    name: str
    sha256: str
    scheme: str
    engine: str
    golden: Golden
    how_to_flash: str
    layer_crcs: Callable[[int], Sequence[int | None]] | None = None


def expected_of(
    bundle: Bundle,
    how_to_flash: str,
    layer_crcs: Callable[[int], Sequence[int | None]] | None = None,
) -> Expected:
    """What `bundle` says of the firmware that was built from it."""
    return Expected(
        name=bundle.name,
        sha256=str(bundle.manifest["model"]["sha256"]),
        scheme=str(bundle.manifest["scheme"]),
        engine=str(bundle.manifest["engine"]),
        golden=bundle.golden(),
        how_to_flash=how_to_flash,
        layer_crcs=layer_crcs,
    )
