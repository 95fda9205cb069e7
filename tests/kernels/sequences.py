"""Compares networks that keep a state with TFLM's wheel: it is kept, and reset now and then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import host_program
import numpy as np
import pytest
from host_program import Batch, Sample, build, export_of, random_samples, run_program
from tflite_micro import runtime

from edgeq.codegen.aot import compile_graph
from edgeq.graph import Graph
from edgeq.interpreters import ample_arena

RESET_EVERY = 5
"""Samples: that of sequence_driver.c."""


def check_sequence(
    batch: Batch, folder: Path, monkeypatch: pytest.MonkeyPatch, samples: int = 18
) -> None:
    """All outputs of all cases equal the wheel's, byte for byte, call after call."""
    driver = Path(__file__).with_name("sequence_driver.c")
    monkeypatch.setattr(host_program, "DRIVER", driver)
    tflite = batch.maker.bytes(batch.inputs, batch.outputs, named=False)
    export = export_of(tflite)
    inputs = random_samples(export.graph, samples)
    ours = run_program(build(compile_graph(export), folder), export.graph, inputs)
    wrong = {}
    for number, (a, b) in enumerate(zip(ours, _tflm(tflite, export.graph, inputs), strict=True)):
        for case, x, y in zip(batch.cases, a, b, strict=True):
            if x.tobytes() != y.tobytes():
                wrong.setdefault(case, f"sample {number}: {(x != y).sum()} of {x.size} differ")
    assert not wrong, wrong


def _tflm(tflite: bytes, graph: Graph, samples: Sequence[Sample]) -> list[Sample]:
    interpreter = runtime.Interpreter.from_bytes(tflite, arena_size=ample_arena(graph))
    results = []
    for number, sample in enumerate(samples):
        if number % RESET_EVERY == 0:
            interpreter.reset()
        for position, values in enumerate(sample):
            interpreter.set_input(values, position)
        interpreter.invoke()
        outputs = range(len(graph.outputs))
        results.append(tuple(np.array(interpreter.get_output(i)) for i in outputs))
    return results
