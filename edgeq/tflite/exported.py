"""What converters of other frameworks leave in a .tflite that keeps it from becoming integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.tflite import opcodes
from edgeq.tflite.writer import indexes, operator_name, pack, unpack

_KEPT_CONSTANTS = b"keep_stablehlo_constant"
"""Metadata of litert-torch: with it, mlir_quantize leaves convolutions float."""

_NOT_NEGATIVE = ("RELU", "RELU6", "LOGISTIC")


def prepared(tflite: bytes, name: str) -> tuple[bytes, list[str]]:
    """The model without what a quantizer stumbles over, and what was done; no value changes."""
    schema, model = unpack(tflite, name)
    done = []
    kept = model.metadata or []
    model.metadata = [m for m in kept if m.name != _KEPT_CONSTANTS]
    changed = len(model.metadata) < len(kept)
    pads = sum(_finite_padding(schema, model, subgraph) for subgraph in model.subgraphs)
    if pads:
        done.append(f"infinite padding of {pads} max-poolings replaced by an equal one")
    return (pack(model, name) if changed or pads else tflite), done


def _finite_padding(schema: Any, model: Any, subgraph: Any) -> int:
    """PADV2 by minus infinity, before a max-pooling, as PAD or MIRROR_PAD.

    After an activation that is never negative, zero is as good. Else the mirrored edge is: where
    the padding is at most half of the window, what is mirrored lies in the same window.
    """
    count = 0
    operators = subgraph.operators or []
    makers = {i: op for op in operators for i in indexes(op.outputs)}
    for op in operators:
        if operator_name(model, op) != "PADV2":
            continue
        readers = [o for o in operators if int(op.outputs[0]) in indexes(o.inputs)]
        value, sizes = (_constant(model, subgraph, op.inputs[i]) for i in (2, 1))
        if value is None or sizes is None or not readers:
            continue
        if not (value.view(np.float32) <= -3e38).all():
            continue
        if any(operator_name(model, reader) != "MAX_POOL_2D" for reader in readers):
            continue
        maker = makers.get(int(op.inputs[0]))
        if maker is not None and _never_negative(schema, model, maker):
            _become(schema, model, op, "PAD", schema.PadOptionsT())
        elif _fits(sizes.view(np.int32).reshape(-1, 2), readers):
            options = schema.MirrorPadOptionsT()
            options.mode = schema.MirrorPadMode.SYMMETRIC
            _become(schema, model, op, "MIRROR_PAD", options)
        else:
            continue
        op.inputs = np.array(op.inputs[:2], np.int32)
        count += 1
    return count


def _fits(sizes: Any, readers: list[Any]) -> bool:
    windows = [(o.builtinOptions.filterHeight, o.builtinOptions.filterWidth) for o in readers]
    padding = [int(pair.max()) for pair in sizes[1:3]]
    return len(sizes) == 4 and all(
        2 * pad <= size for window in windows for pad, size in zip(padding, window, strict=True)
    )


def _never_negative(schema: Any, model: Any, op: Any) -> bool:
    if operator_name(model, op) in _NOT_NEGATIVE:
        return True
    kinds = schema.ActivationFunctionType
    fused = getattr(op.builtinOptions, "fusedActivationFunction", kinds.NONE)
    return fused in (kinds.RELU, kinds.RELU6)


def _become(schema: Any, model: Any, op: Any, name: str, options: Any) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = opcodes.OPERATORS.index(name)
    code.version = 1
    model.operatorCodes.append(code)
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.builtinOptions = options
    op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])


def _constant(model: Any, subgraph: Any, index: int) -> Any:
    data = model.buffers[subgraph.tensors[index].buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)
