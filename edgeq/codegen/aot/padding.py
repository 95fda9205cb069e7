"""PAD of int16, which TFLM fills with 0 whatever the zero point: eq_move.h."""

from __future__ import annotations

from edgeq.codegen.aot.layer import Emitter
from edgeq.codegen.aot.moves import pad

EMITTERS: dict[tuple[str, str], Emitter] = {
    ("PAD", "int16"): pad,
}
