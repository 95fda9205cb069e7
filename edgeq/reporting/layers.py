"""Where the time goes: each layer's share beside its share of the multiplications."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.reporting.facts import Layer
from edgeq.reporting.svg import (
    ROW,
    WIDTH,
    Figure,
    Table,
    bars,
    drawn,
    figure,
    line,
    rect,
    short,
    text,
    ticks,
)

_LEFT, _RIGHT = 60, 20
_SORTED = 20
"""Bars of the sorted plot, at most; its table has all."""


def place(layer: Layer) -> str:
    return "" if layer.index is None else str(layer.index)


def in_order(key: str, layers: Sequence[Layer], unit: str) -> Figure:
    """Two columns an operator, in the network's order: share of ticks, share of MACs."""
    total = sum(layer.ticks or 0.0 for layer in layers)
    macs = sum(layer.macs for layer in layers)
    shares = [
        (
            (layer.ticks or 0.0) / total if total else 0.0,
            layer.macs / macs if macs else 0.0,
        )
        for layer in layers
    ]
    largest = max((max(pair) for pair in shares), default=0.0) or 1.0
    bottom, height = 200, 150
    room = (WIDTH - _LEFT - _RIGHT) / max(1, len(layers))
    parts = [rect(_LEFT, 8, 12, 12, "c1"), text(_LEFT + 18, 18, "share of all MACs")]
    if total:
        parts += [
            rect(_LEFT + 170, 8, 12, 12, "c0"),
            text(_LEFT + 188, 18, f"share of all {_word(unit)}"),
        ]
    for share in ticks(0, largest, 4):
        y = bottom - height * share / largest
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y), text(_LEFT - 8, y + 4, f"{share:.0%}", "end")]
    step = 1 + len(layers) // 30
    large = drawn([max(pair) for pair in shares])
    for i, (layer, (time, work)) in enumerate(zip(layers, shares, strict=True)):
        if i % step == 0:
            x = _LEFT + (i + 0.5) * room
            parts.append(text(x, bottom + 16, place(layer) or str(i), "middle"))
        if i not in large:
            continue
        x = _LEFT + i * room
        wide = max(0.8, room * (0.4 if total else 0.8))
        name = f"{place(layer) or i} {layer.op} {short(layer.name)}"
        tall = height * work / largest
        parts.append(rect(x + room * 0.1, bottom - tall, wide, tall, "c1", f"{name}: {work:.1%}"))
        if total:
            tall = height * time / largest
            left = x + room * 0.1 + wide
            parts.append(rect(left, bottom - tall, wide, tall, "c0", f"{name}: {time:.1%}"))
    parts.append(text(_LEFT, bottom + 36, "operators, by their index in the model"))
    caption = (
        f"Layers in network order: {_word(unit)} beside MACs" if total else "MACs of each layer"
    )
    heaviest = max(zip(shares, layers, strict=True), key=lambda pair: pair[0], default=None)
    about = "Columns, two for each operator." if total else "A column for each operator."
    if heaviest:
        (time, work), layer = heaviest
        about += (
            f" The largest is operator {place(layer)} {layer.op}: "
            + (f"{time:.1%} of the {_word(unit)}, " if total else "")
            + f"{work:.1%} of the MACs."
        )
    return figure(key, caption, about, bottom + 44, parts, layer_table(layers, unit))


def by_cost(key: str, layers: Sequence[Layer], unit: str) -> Figure:
    """The layers that take most, first."""
    total = sum(layer.ticks or 0.0 for layer in layers) or 1.0
    ordered = sorted(layers, key=lambda layer: -(layer.ticks or 0.0))
    rows = [
        (
            f"{place(layer)} {layer.op}",
            layer.ticks or 0.0,
            f"{(layer.ticks or 0.0) / total:.1%}, {_per_mac(layer, unit)}".removesuffix(", "),
            "c0",
        )
        for layer in ordered[:_SORTED]
    ]
    parts, end = bars(rows)
    hidden = len(ordered) - len(rows)
    if hidden > 0:
        parts.append(text(8, end + 16, f"and {hidden} smaller ones, in the table"))
        end += ROW
    first = ordered[0] if ordered else None
    about = "Horizontal bars, the largest first."
    if first:
        about += f" Operator {place(first)} {first.op} takes {(first.ticks or 0) / total:.1%}."
    caption = f"Layers by {_word(unit)}, the largest first"
    return figure(key, caption, about, end + 6, parts, layer_table(ordered, unit))


def layer_table(layers: Sequence[Layer], unit: str) -> Table:
    total = sum(layer.ticks or 0.0 for layer in layers) or 1.0
    heads = (">operator", "type", "layer", ">MACs", f">{unit}", ">share", ">per MAC", ">live bytes")
    rows = tuple(
        (
            place(layer),
            layer.op,
            short(layer.name, 60),
            f"{layer.macs:,}" if layer.macs else "",
            "" if layer.ticks is None else f"{layer.ticks:,.0f}",
            "" if layer.ticks is None else f"{layer.ticks / total:.1%}",
            f"{layer.ticks / layer.macs:.2f}" if layer.ticks and layer.macs else "",
            "" if layer.live_bytes is None else f"{layer.live_bytes:,}",
        )
        for layer in layers
    )
    used = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    return Table(tuple(heads[i] for i in used), tuple(tuple(row[i] for i in used) for row in rows))


def _per_mac(layer: Layer, unit: str) -> str:
    if not layer.ticks or not layer.macs:
        return ""
    return f"{layer.ticks / layer.macs:.2f}{' ns' if unit == 'ns' else ''} a MAC"


def _word(unit: str) -> str:
    return "time" if unit == "ns" else unit
