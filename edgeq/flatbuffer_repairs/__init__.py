"""Repairs on a .tflite: each a pass over its operators, bytes to bytes, and what it did.

FLOAT_PASSES are for a float model, before its ranges are learnt. None changes what is computed, but
for the order of float sums. islands.fold_islands() is for what a quantizer has left. Whether a
repaired model computes the same is for edgeq.mending to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.flatbuffer_repairs.convolutions_3d import lower_convolutions
from edgeq.flatbuffer_repairs.copies import drop_copies
from edgeq.flatbuffer_repairs.paddings import absorb_paddings
from edgeq.flatbuffer_repairs.products import write_products
from edgeq.flatbuffer_repairs.tiles import lower_tiles
from edgeq.flatbuffer_repairs.transposes import lower_transposes
from edgeq.flatbuffer_repairs.wide import write_for_int16
from edgeq.repairs import Repair
from edgeq.tflite.editing import Editor
from edgeq.tflite.writer import damage_refused


@dataclass(frozen=True)
class FloatPass:
    """`change` edits the model and returns the layers that it changed; `what` it did to them.

    `scheme` is the one that it is for, None where it is for every integer scheme.
    """

    change: Callable[[Editor], list[str]]
    what: str
    scheme: str | None = None


FLOAT_PASSES: dict[str, FloatPass] = {
    "conv3d": FloatPass(lower_convolutions, "CONV_3D written as CONV_2D over the frames"),
    "products": FloatPass(write_products, "NEG and SQUARE written as MUL"),
    "int16": FloatPass(write_for_int16, "written in operators that have an int16 form", "int16x8"),
    "tile": FloatPass(
        lower_tiles, "TILE written as RESIZE_NEAREST_NEIGHBOR where it enlarges, else CONCATENATION"
    ),
    "transpose": FloatPass(lower_transposes, "TRANSPOSE written with fewer dimensions"),
    "pad": FloatPass(absorb_paddings, "PAD moved into the operator behind it"),
    "identity": FloatPass(drop_copies, "operators that change nothing taken out"),
}
"""By the repair's name, in the order in which they are made."""


def repair_float(tflite: bytes, repair: str, name: str = "model") -> tuple[bytes, Repair | None]:
    """The float model after the pass FLOAT_PASSES[`repair`]; None and the same bytes where it
    found nothing to do. Raises ModelError for a damaged file, which `name` is the name of."""
    chosen = FLOAT_PASSES[repair]
    editor = Editor(tflite, name)
    with damage_refused(name):
        layers = chosen.change(editor)
        if not layers:
            return tflite, None
        editor.drop_dead()
    return editor.bytes(), Repair(repair, chosen.what, tuple(layers))
