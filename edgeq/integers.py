"""Is every operator integer? Read from the flatbuffer itself, operator by operator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.complexity import macs, total_macs
from edgeq.graph import Graph, Op, Quantization, Subgraph, Tensor

_ALLOWED = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint32", "bool", "resource"})

_SMALL_WEIGHTS = frozenset({"int2", "int4"})
"""What constants may be too: kernels widen them to int8. As activations no kernel takes them."""

_FIXED_INT8 = {
    "L2_NORMALIZATION": (1 / 128, 0),
    "LOGISTIC": (1 / 256, -128),
    "LOG_SOFTMAX": (16 / 256, 127),
    "SOFTMAX": (1 / 256, -128),
    "TANH": (1 / 128, 0),
}
"""(scale, zero point) that int8 outputs must have:
https://ai.google.dev/edge/litert/models/quantization_spec"""

_SAME_SCALE = frozenset(
    {
        "BATCH_TO_SPACE_ND", "CONCATENATION", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "MIRROR_PAD",
        "PACK", "PAD", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE",
        "TILE", "TRANSPOSE", "UNPACK",
    }
)  # fmt: skip
"""Operators that copy int8 values and so cannot change their scale."""

_SAME_SCALE_TOO = frozenset(
    """AVERAGE_POOL_2D MAXIMUM MINIMUM REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR SELECT
    SELECT_V2""".split()
)
"""Operators that choose or average int8 values, and do not rescale them."""

_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})

_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "uint8": (0, 255)}

_CURES = {
    "ELU": "use ReLU or ReLU6 in its place",
    "GELU": "use ReLU, or x * sigmoid(1.702 x)",
    "LEAKY_RELU": "use ReLU, or PReLU with a fixed slope",
    "NEG": "LayerNormalization and attention make it: use BatchNormalization",
    "SQUARE": "GroupNormalization and UnitNormalization make it: use BatchNormalization",
    "CONV_3D": "no integer Conv3D exists: use Conv2D over frames",
    "WHILE": "build the recurrent layer with unroll=True",
    "EXP": "move it out of the model",
    "RSQRT": "LayerNormalization makes it: use BatchNormalization",
}


@dataclass(frozen=True)
class Violation:
    """One operator that keeps the model from being fully integer.

    `share` is the operator's part of the model's multiply-accumulates, 0 to 1.
    """

    op_index: int
    op_name: str
    layer: str
    share: float
    why: str
    cure: str
    subgraph: int = 0
    is_float: bool = True


def find_violations(graph: Graph) -> list[Violation]:
    """Everything in the reachable subgraphs that is not integer, or is integer with the wrong
    meaning (a weight with a zero point, a bias off its scale, a fixed scale not kept).

    Tensors that no operator uses do not count, nor do the LSTM's `intermediates`, which are float
    placeholders for scales.
    """
    total = total_macs(graph) or 1
    found = []
    for number, subgraph in graph.reachable():
        for op in subgraph.ops:
            for why, cure, is_float in _judge(subgraph, op):
                share = macs(subgraph, op) / total if number == 0 else 0.0
                layer = subgraph.tensors[op.outputs[0]].name if op.outputs else ""
                found.append(
                    Violation(op.index, op.name, layer, share, why, cure, number, is_float)
                )
                break  # One reason is enough to act on.
    return found + _float_edges(graph, {v.op_index for v in found})


def violation_table(violations: Sequence[Violation]) -> str:
    """Operator, layer and share of the work; why; what to change."""
    lines = []
    for v in violations:
        where = f"subgraph {v.subgraph}, " if v.subgraph else ""
        lines += [
            f"  {where}operator {v.op_index} {v.op_name} ({v.layer.split(';')[0]}), "
            f"{100 * v.share:.1f} % of MACs",
            f"      why:    {v.why}",
            f"      change: {v.cure}",
        ]
    return "\n".join(lines)


def _float_edges(graph: Graph, known: set[int]) -> list[Violation]:
    edges = []
    for side, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports:
            touching = {op.index for op in graph.main.ops if port.tensor.index in op.tensors}
            if port.tensor.is_float and not touching & known:
                edges.append(
                    Violation(
                        min(touching, default=0), side.upper(), port.name, 0.0,
                        f"{side} {port.name!r} is {port.tensor.dtype}",
                        "convert again with integer inputs and outputs"
                        if touching
                        else "no operator has to do with it: export the model without it",
                    )
                )  # fmt: skip
    return edges


def _judge(subgraph: Subgraph, op: Op) -> Iterator[tuple[str, str, bool]]:
    inputs = [t for t in subgraph.input_tensors(op) if t is not None]
    outputs = subgraph.output_tensors(op)
    floats = [t for t in inputs + outputs if t.is_float]
    cure = _CURES.get(op.name, "replace this layer by one that quantizes")
    if op.name.startswith("STABLEHLO"):
        # Some hold subgraphs in options that edgeq does not read: what they compute is not proved.
        yield "a StableHLO operator, whose inside cannot be proved integer", cure, True
    for tensor in inputs + outputs:
        if not tensor.is_constant and tensor.quantization and tensor.quantization.per_channel:
            yield f"the activation {_short(tensor.name)} has a scale per channel", cure, False
    if op.name.startswith("CUSTOM"):
        yield "a custom operator: only its author's runtime can run it", cure, True
    if op.name == "DEQUANTIZE" and inputs and inputs[0].dtype == "float16":
        yield "float16 weights are widened to float32 here", "convert with --scheme int8", True
    elif op.name == "DEQUANTIZE":
        yield "an island: integers are turned into floats here", _island_cure(subgraph, op), True
    if op.name == "QUANTIZE" and inputs and inputs[0].is_float:
        yield "an island: floats are turned into integers here", _island_cure(subgraph, op), True
    if floats:
        weights = [
            t.dtype for t in inputs if t.is_constant and t.dtype in _SMALL_WEIGHTS | {"int8"}
        ]
        if weights:
            yield (
                f"hybrid: {weights[0]} weights, but {floats[0].dtype} activations",
                "build from the float model with --scheme int8 and calibration data",
                True,
            )
        yield f"works on {floats[0].dtype} ({_short(floats[0].name)})", cure, True
    for tensor in inputs + outputs:
        is_weights = tensor.is_constant and tensor.dtype in _SMALL_WEIGHTS
        if tensor.dtype not in _ALLOWED and not is_weights:
            yield f"works on {tensor.dtype}, which no integer kernel takes", cure, True
        if (
            (tensor.dtype in ("int8", "int16") or is_weights)
            and tensor.quantization is None
            and op.name != "CAST"
        ):
            yield (
                f"{_short(tensor.name)} is {tensor.dtype} without a scale",
                "calibrate with samples that reach this layer",
                False,
            )
    yield from _judge_meaning(op, inputs, outputs)


def _judge_meaning(
    op: Op, inputs: list[Tensor], outputs: list[Tensor]
) -> Iterator[tuple[str, str, bool]]:
    """Integers that a kernel would take for other numbers than their scales say."""
    cure = "convert the float model again with edgeq; another tool wrote this"
    for why in (
        *_odd_zero_points(inputs + outputs),
        *_odd_weights(op, inputs),
        *_odd_output(op, inputs, outputs),
    ):
        yield why, cure, False


def _odd_zero_points(tensors: list[Tensor]) -> Iterator[str]:
    for tensor in tensors:
        low, high = _LIMITS.get(tensor.dtype, (-math.inf, math.inf))
        for zero_point in tensor.quantization.zero_points if tensor.quantization else ():
            if not low <= zero_point <= high:
                where = _short(tensor.name)
                yield f"{where} has zero point {zero_point}, which is no {tensor.dtype}"


def _odd_weights(op: Op, inputs: list[Tensor]) -> Iterator[str]:
    first = 1 if op.name == "TRANSPOSE_CONV" else 0  # Its first input is the output's shape.
    if op.name not in _WEIGHTED or len(inputs) < first + 2:
        return
    data, weights = (inputs[2], inputs[1]) if first else inputs[:2]
    facts = weights.quantization
    if facts and weights.dtype in _SMALL_WEIGHTS | {"int8"} and any(facts.zero_points):
        yield "its weights have a zero point other than 0"
    axis = 3 if op.name == "DEPTHWISE_CONV_2D" else 0
    if facts and facts.per_channel and facts.axis != axis:
        yield (
            f"its weights have a scale per slice of dimension {facts.axis}, not of {axis}, the "
            "output channels"
        )
    if len(inputs) < first + 3:
        return
    bias = inputs[first + 2]
    if bias.dtype in ("int32", "int64") and bias.quantization is None:
        yield "its bias has no scale"
    if bias.quantization and any(bias.quantization.zero_points):
        yield "its bias has a zero point other than 0"
    if _bias_is_off(data, weights, bias):
        yield "its bias is not at input scale x weight scale"


def _odd_output(op: Op, inputs: list[Tensor], outputs: list[Tensor]) -> Iterator[str]:
    if not outputs or outputs[0].dtype != "int8" or outputs[0].quantization is None:
        return
    made = outputs[0].quantization
    if op.name in _FIXED_INT8:
        scale, zero_point = _FIXED_INT8[op.name]
        if abs(made.scale - scale) > 1e-6 or made.zero_point != zero_point:
            yield (
                f"its output must have scale {scale:g}, zero point {zero_point}; it has "
                f"{made.scale:g}, {made.zero_point}"
            )
    if op.name in _SAME_SCALE | _SAME_SCALE_TOO:
        for tensor in inputs:
            facts = tensor.quantization
            if tensor.dtype == "int8" and facts and _differ(facts, made):
                yield f"copies values from scale {facts.scale:g} to {made.scale:g}"


def _bias_is_off(data: Tensor, weights: Tensor, bias: Tensor) -> bool:
    if not (data.quantization and weights.quantization and bias.quantization):
        return False
    wanted = data.quantization.scale * np.asarray(weights.quantization.scales)
    found = np.asarray(bias.quantization.scales)
    if wanted.shape != found.shape:
        wanted, found = wanted[:1], found[:1]
    return not np.allclose(wanted, found, rtol=1e-2)


def _differ(a: Quantization, b: Quantization) -> bool:
    return abs(a.scale - b.scale) > 1e-6 * b.scale or a.zero_point != b.zero_point


def _island_cure(subgraph: Subgraph, op: Op) -> str:
    """Names the float operator that makes the island whose border `op` is: one that is
    known to stay float, else the nearest that computes; those that copy values only follow."""
    inside = _island(subgraph, op)
    computing = [o.name for o in inside if o.name not in _SAME_SCALE]
    known = next((name for name in computing if name in _CURES), None)
    if known:
        return f"{known} stayed float: {_CURES[known]}"
    edges = {*subgraph.inputs, *subgraph.outputs}
    if inside and (computing or not any(edges & {*o.tensors} for o in inside)):
        return f"{[*computing, inside[0].name][0]} beside it stayed float: replace that layer"
    return "convert again with integer inputs and outputs"


def _island(subgraph: Subgraph, op: Op) -> list[Op]:
    """The float operators between `op`, a QUANTIZE or DEQUANTIZE, and the island's other borders,
    nearest first."""
    users: dict[int, list[Op]] = {}
    for other in subgraph.ops:
        if other.name not in ("QUANTIZE", "DEQUANTIZE"):
            for i in other.tensors:
                if subgraph.tensors[i].is_float and not subgraph.tensors[i].is_constant:
                    users.setdefault(i, []).append(other)
    found: dict[int, Op] = {}
    seen = {i for i in (op.outputs if op.name == "DEQUANTIZE" else op.inputs) if i >= 0}
    pending = sorted(seen)
    for tensor in pending:
        for other in users.get(tensor, ()):
            if other.index not in found:
                found[other.index] = other
                pending += [i for i in other.tensors if i not in seen]
                seen.update(other.tensors)
    return list(found.values())


def _short(name: str) -> str:
    return name if len(name) <= 40 else "…" + name[-39:]
