"""Which emitter makes the code of which operator and type."""

from __future__ import annotations

from edgeq.codegen.aot import (
    activations,
    activations_s16,
    args,
    arithmetic,
    blocks,
    conversions,
    convolutions,
    functions,
    gather,
    matmul,
    normalizations,
    padding,
    parts,
    pools,
    prelu,
    recurrent,
    reductions,
    resizes,
    shapes,
    slices,
    sums,
    transposed,
)
from edgeq.codegen.aot.layer import Emitter, LayerCode
from edgeq.errors import DoesNotFit
from edgeq.graph import Op, Subgraph
from edgeq.operators import main_type
from edgeq.targets import Core


def _join(*families: dict[tuple[str, str], Emitter]) -> dict[tuple[str, str], Emitter]:
    joined: dict[tuple[str, str], Emitter] = {}
    for family in families:
        assert not joined.keys() & family.keys(), joined.keys() & family.keys()
        joined.update(family)
    return dict(sorted(joined.items()))


EMITTERS = _join(
    activations.EMITTERS,
    activations_s16.EMITTERS,
    args.EMITTERS,
    arithmetic.EMITTERS,
    blocks.EMITTERS,
    conversions.EMITTERS,
    convolutions.EMITTERS,
    functions.EMITTERS,
    gather.EMITTERS,
    matmul.EMITTERS,
    normalizations.EMITTERS,
    padding.EMITTERS,
    parts.EMITTERS,
    pools.EMITTERS,
    prelu.EMITTERS,
    recurrent.EMITTERS,
    reductions.EMITTERS,
    resizes.EMITTERS,
    shapes.EMITTERS,
    slices.EMITTERS,
    sums.EMITTERS,
    transposed.EMITTERS,
)
"""(operator, type of its main activation input) -> emitter; targets/operators/aot.toml says the
same for whoever asks what the engine can do."""


def emit(op: Op, subgraph: Subgraph, core: Core | None) -> LayerCode:
    """The code of one operator. Raises DoesNotFit when the engine lacks it."""
    dtype = main_type(op, subgraph) or ""
    emitter = EMITTERS.get((op.name, dtype))
    if emitter is None:
        raise DoesNotFit(
            f"engine aot has no {op.name} for {dtype or 'no type'} (operator {op.index})",
            hint="edgeq inspect --target cortex-m4 shows which engines have it",
        )
    return emitter(op, subgraph, core)
