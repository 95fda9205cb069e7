"""What a graph costs: multiply-accumulates, parameters, and bytes that are alive at each step."""

from __future__ import annotations

import math

from edgeq.graph import Graph, Op, Subgraph


def macs(subgraph: Subgraph, op: Op) -> int:
    """Multiply-accumulates of one operator call; 0 for operators that do not multiply weights."""
    counter = _COUNTERS.get(op.name)
    return counter(subgraph, op) if counter else 0


def total_macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference of the main subgraph."""
    return sum(macs(graph.main, op) for op in graph.main.ops)


def parameters(graph: Graph) -> int:
    """Elements of all constant tensors that hold weights or biases (not shapes or paddings)."""
    used = {i for _, s in graph.reachable() for op in s.ops for i in op.inputs if i >= 0}
    return sum(
        t.elements
        for t in graph.main.tensors
        if t.is_constant
        and t.index in used
        and (t.is_float or t.quantization is not None or t.dtype in ("int8", "int4"))
    )


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of activations that must exist while each operator of the main subgraph runs.

    An activation lives from the operator that writes it (inputs: from the start) to the last one
    that reads it (outputs: to the end). This is what any planner needs at least, unless an
    operator may write over its own input.
    """
    subgraph = graph.main
    last_step = len(subgraph.ops) - 1
    first: dict[int, int] = dict.fromkeys(subgraph.inputs, 0)
    last: dict[int, int] = dict.fromkeys(subgraph.inputs, 0)
    for step, op in enumerate(subgraph.ops):
        for i in op.tensors:
            if not subgraph.tensors[i].is_constant:
                first.setdefault(i, step)
                last[i] = step
    for i in subgraph.outputs:
        last[i] = last_step
    alive = [0] * len(subgraph.ops)
    for i, start in first.items():
        for step in range(start, last[i] + 1):
            alive[step] += subgraph.tensors[i].bytes
    return alive


def _shape(subgraph: Subgraph, op: Op, position: int) -> tuple[int, ...]:
    if position >= len(op.inputs) or op.inputs[position] < 0:
        return ()
    return subgraph.tensors[op.inputs[position]].shape


def _out(subgraph: Subgraph, op: Op) -> int:
    return subgraph.tensors[op.outputs[0]].elements if op.outputs else 0


def _convolution(subgraph: Subgraph, op: Op) -> int:
    return _out(subgraph, op) * math.prod(_shape(subgraph, op, 1)[1:])


def _depthwise(subgraph: Subgraph, op: Op) -> int:
    return _out(subgraph, op) * math.prod(_shape(subgraph, op, 1)[1:3])


def _dense(subgraph: Subgraph, op: Op) -> int:
    weights = _shape(subgraph, op, 1)
    return _out(subgraph, op) * (weights[-1] if weights else 0)


def _transposed(subgraph: Subgraph, op: Op) -> int:
    filters = _shape(subgraph, op, 1)
    return math.prod(_shape(subgraph, op, 2)) * math.prod(filters[:3])


def _convolution_3d(subgraph: Subgraph, op: Op) -> int:
    return _out(subgraph, op) * math.prod(_shape(subgraph, op, 1)[:4])


def _batch_matmul(subgraph: Subgraph, op: Op) -> int:
    left = _shape(subgraph, op, 0)
    if len(left) < 2:
        return 0
    return _out(subgraph, op) * left[-2 if op.options.get("adj_x") else -1]


def _lstm(subgraph: Subgraph, op: Op) -> int:
    """Four gates of (inputs + units) x units, at each time step."""
    inputs, weights = _shape(subgraph, op, 0), _shape(subgraph, op, 2)
    if len(inputs) != 3 or len(weights) != 2:
        return 0
    units, features = weights
    return inputs[0] * inputs[1] * 4 * units * (features + units)


_COUNTERS = {
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}
