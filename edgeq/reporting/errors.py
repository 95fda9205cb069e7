"""What quantization costs: each layer's error against float, and the layer to blame."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.reporting.facts import Layer
from edgeq.reporting.svg import (
    WIDTH,
    Figure,
    Table,
    drawn,
    figure,
    line,
    rect,
    short,
    text,
    ticks,
)

_LEFT, _RIGHT, _TOP = 60, 20, 34


def worst_layer(layers: Sequence[Layer]) -> Layer | None:
    """The one that loses most itself; None where none is known."""
    known = [layer for layer in layers if layer.has_error and layer.lost_db is not None]
    return max(known, key=lambda layer: layer.lost_db or 0.0, default=None)


def by_layer(key: str, layers: Sequence[Layer]) -> Figure | None:
    """SQNR of each output in the network's order, with the layer that loses most marked."""
    known = [layer for layer in layers if layer.has_error]
    worst = worst_layer(layers)
    if not known or worst is None:
        return None
    levels = [99.0 if layer.sqnr_db is None else max(0.0, layer.sqnr_db) for layer in known]
    largest = max(levels) or 1.0
    bottom, height = 200, 160
    room = (WIDTH - _LEFT - _RIGHT) / len(known)
    parts = []
    for value in ticks(0, largest, 4):
        y = bottom - height * value / largest
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y), text(_LEFT - 8, y + 4, f"{value:g} dB", "end")]
    step = 1 + len(known) // 30
    large = drawn(levels)
    for i, (layer, level) in enumerate(zip(known, levels, strict=True)):
        if i not in large and layer is not worst:
            continue
        x, tall = _LEFT + i * room, height * level / largest
        kind = "c1" if layer is worst else "c0"
        said = f"{layer.index} {layer.op} {short(layer.name)}: {_level(layer)}"
        parts.append(rect(x + room * 0.1, bottom - tall, room * 0.8, tall, kind, said))
        if i % step == 0:
            parts.append(text(x + room / 2, bottom + 16, str(layer.index), "middle"))
    name = f"{worst.index} {worst.op} ({short(worst.name)})"
    parts.append(
        text(_LEFT, _TOP - 14, f"most is lost in {name}: {worst.lost_db:.1f} dB", kind="big")
    )
    parts.append(text(_LEFT, bottom + 36, "operators, by their index in the model"))
    rows = tuple(
        (str(e.index), e.op, short(e.name, 60), _level(e), f"{e.lost_db or 0.0:.1f}")
        for e in sorted(known, key=lambda e: -(e.lost_db or 0.0))
    )
    about = (
        "Columns of signal to quantization noise, higher is better. "
        f"Operator {name} loses most: {worst.lost_db:.1f} dB less than the worst of its inputs."
    )
    table = Table((">operator", "type", "layer", ">SQNR dB", ">lost here dB"), rows)
    caption = "Signal to quantization noise after each layer"
    return figure(key, caption, about, bottom + 44, parts, table)


def _level(layer: Layer) -> str:
    return "equal" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f}"
