"""Do LiteRT and TensorFlow Lite Micro compute the same from the same model?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.graph import Graph
from edgeq.interpreters import Arrays, litert, run, tflm
from edgeq.verification.fidelity import WORST_DB, decibels

COUNT = 8
"""Fresh inputs that the engines are compared on."""

SAME_NETWORK_DB = 15.0
"""Under this, two engines do not run the same network: rounding alone leaves 25 dB and more."""


@dataclass(frozen=True)
class Agreement:
    """Two engines' outputs on the same inputs. Differences are in steps of the quantization."""

    engines: tuple[str, str]
    inputs: int
    equal: int
    max_steps: int
    agreement_db: float | None
    first_layer: str | None = None

    @property
    def same_network(self) -> bool:
        return self.agreement_db is None or self.agreement_db >= SAME_NETWORK_DB

    def line(self) -> str:
        """One sentence for a person."""
        names = " and ".join(self.engines)
        if self.equal == self.inputs:
            return f"{names} give equal bytes on {self.inputs} inputs"
        where = ""
        if self.first_layer:
            where = f", first at {self.first_layer}"
        elif self.max_steps > 1:
            where = "; no layer alone by more than one, their roundings add up"
        return (
            f"{names} give equal bytes on {self.equal} of {self.inputs} inputs, at most "
            f"{self.max_steps} {'step' if self.max_steps == 1 else 'steps'} apart{where}"
        )


def compare_engines(tflite: bytes, graph: Graph, inputs: Sequence[Arrays]) -> Agreement:
    """LiteRT's default kernels against TFLM on `inputs` (as stored).

    Where outputs differ by more than one step, `first_layer` names the first operator whose
    output does.
    """
    with litert(tflite) as network:
        expected = list(run(network, inputs))
    with tflm(tflite, graph) as network:
        got = list(run(network, inputs))
    steps = [_steps(a, b) for a, b in zip(expected, got, strict=True)]
    worst = int(np.argmax(steps)) if steps else 0
    signal = noise = 0.0
    for a, b in zip(expected, got, strict=True):
        for x, y, port in zip(a, b, graph.outputs, strict=True):
            zero = port.tensor.quantization.zero_point if port.tensor.quantization else 0
            signal += float(np.sum((x.astype(np.float64) - zero) ** 2))
            noise += float(np.sum((x.astype(np.float64) - y) ** 2))
    level = decibels(signal, noise)
    return Agreement(
        engines=("LiteRT", "TensorFlow Lite Micro"),
        inputs=len(inputs),
        equal=sum(s == 0 for s in steps),
        max_steps=max(steps, default=0),
        agreement_db=None if noise == 0 else round(max(level, WORST_DB), 1),
        first_layer=(
            _first_difference(tflite, graph, inputs[worst]) if max(steps, default=0) > 1 else None
        ),
    )


def _steps(a: Arrays, b: Arrays) -> int:
    return max(
        int(np.max(np.abs(x.astype(np.int64) - y.astype(np.int64)), initial=0))
        for x, y in zip(a, b, strict=True)
    )


def _first_difference(tflite: bytes, graph: Graph, sample: Arrays) -> str | None:
    indexes = [
        i
        for op in graph.main.ops
        for i in op.outputs
        if graph.main.tensors[i].dtype in ("int8", "int16", "uint8", "int32")
    ]
    with litert(tflite, "builtin", all_tensors=True) as network:
        (expected,) = network.infer("tensors", [sample], indexes)
    with tflm(tflite, graph, all_tensors=True) as network:
        (got,) = network.infer("tensors", [sample], indexes)
    for index, a, b in zip(indexes, expected, got, strict=True):
        if a.size == b.size and _steps((a.ravel(),), (b.ravel(),)) > 1:
            op = next(o for o in graph.main.ops if index in o.outputs)
            return f"operator {op.index} ({op.name}, {graph.main.tensors[index].name})"
    return None
