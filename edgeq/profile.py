"""Where time and memory of a device go: what each layer took, what the firmware needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.answers import DeviceMemory, LayerFacts
from edgeq.clock import Clock
from edgeq.measurement import LayerProfile, Metric, Profile


def profile_of(
    layers: Sequence[LayerFacts], ticks: Sequence[Sequence[int]], clock: Clock
) -> Profile:
    """A Profile from the ticks of each layer in each of several runs, by its `clock`."""
    medians = np.median(np.array(ticks, np.float64).reshape(len(ticks), -1), axis=0)
    return Profile(
        unit=clock.unit,
        tick_hz=clock.tick_hz,
        runs=len(ticks),
        layers=tuple(
            LayerProfile(i, f.op, f.name, f.macs, f.bytes, clock.count(t))
            for i, (f, t) in enumerate(zip(layers, medians, strict=True))
        ),
    )


def profile_columns(profile: Profile) -> tuple[str, ...]:
    """The heads of profile_rows; ">" marks a column of numbers."""
    unit = profile.unit
    return (
        ">layer",
        "operator",
        "name",
        f">{unit}",
        ">share",
        ">MACs",
        f">{unit} per MAC",
        ">bytes",
    )


def profile_rows(profile: Profile) -> Sequence[Sequence[str]]:
    """Cells under profile_columns, one row a layer."""
    total = sum(layer.ticks for layer in profile.layers) or 1
    return [
        [
            str(layer.index),
            layer.op,
            layer.name,
            f"{layer.ticks:,.0f}",
            f"{layer.ticks / total:.1%}",
            f"{layer.macs:,}" if layer.macs else "",
            f"{layer.ticks / layer.macs:.2f}" if layer.macs else "",
            f"{layer.bytes:,}",
        ]
        for layer in profile.layers
    ]


def memory_metrics(memory: DeviceMemory) -> tuple[Metric, ...]:
    """What of `memory` belongs to the network and its firmware, for results and comparisons."""
    sizes = (
        ("arena", memory.arena),
        ("weights", memory.weights),
        ("stack", memory.stack_used),
        ("flash", memory.flash_used),
        ("ram", memory.ram_used),
    )
    return tuple(Metric(n, float(v), "bytes", "lower") for n, v in sizes if v is not None)
