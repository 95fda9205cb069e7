"""Compiles a network for this computer, under sanitizers, and compares it with the reference."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from make_model import Maker
from numpy.typing import NDArray

from edgeq.codegen.aot import Compiled, compile_graph
from edgeq.codegen.facts import Export
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Graph, Tensor
from edgeq.interpreters import litert, run, tflm
from edgeq.memory import MemoryPlan
from edgeq.targets import load_core
from edgeq.tflite.reader import read_graph

DRIVER = Path(__file__).with_name("driver.c")
FLAGS = "-std=gnu11 -O1 -g -Wall -Wextra -Werror".split()
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all".split()

Sample = tuple[NDArray[Any], ...]


@dataclass
class Batch:
    """One model of many independent operators: one compile and one reference for all cases."""

    maker: Maker = field(default_factory=Maker)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)

    def add(self, case: str, make: Callable[[Maker], tuple[Sequence[int], Sequence[int]]]) -> None:
        """`make` adds tensors and operators and tells the inputs and outputs of the case."""
        inputs, outputs = make(self.maker)
        self.inputs += inputs
        self.outputs += outputs
        self.cases += [case] * len(outputs)

    def check(
        self, folder: Path, samples: int = 6, kernels: str = "tflm", core: str | None = None
    ) -> Compiled:
        """All outputs of all cases equal those of `kernels`, byte for byte (see assert_equal)."""
        tflite = self.maker.bytes(self.inputs, self.outputs, named=False)
        return assert_equal(tflite, folder, samples, self.cases, kernels, core)


def options(kind: str, **values: Any) -> Any:
    """The builtin options of an operator: options("Pool2D", strideW=2)."""
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def export_of(tflite: bytes, name: str = "net") -> Export:
    return Export(
        name=name,
        graph=read_graph(tflite, name),
        tflite=tflite,
        sha256=hashlib.sha256(tflite).hexdigest(),
        labels=(),
        command="pytest",
        version="0",
        golden=Golden((), (), "", ()),
    )


def random_samples(graph: Graph, count: int, seed: int = 0) -> list[Sample]:
    """Random inputs, with every value of one input the lowest or the highest now and then."""
    random = np.random.default_rng(seed)
    return [tuple(_values(p.tensor, random) for p in graph.inputs) for _ in range(count)]


def _values(tensor: Tensor, random: np.random.Generator) -> NDArray[Any]:
    form = np.dtype(NUMPY_TYPES[tensor.dtype])
    if form.kind == "b":
        return random.integers(0, 2, tensor.shape).astype(form)
    if form.kind == "f":
        return random.normal(0, 3, tensor.shape).astype(form)
    limits = np.iinfo(form)
    if random.random() < 0.15:
        return np.full(tensor.shape, random.choice([limits.min, limits.max]), form)
    return random.integers(limits.min, limits.max, tensor.shape, form, endpoint=True)


def build(compiled: Compiled, folder: Path, name: str = "net", sanitize: bool = True) -> Path:
    """The program of tests/kernels/driver.c with the network in it."""
    for file, text in compiled.files.items():
        (folder / file).write_text(text)
    (folder / "dead_ranges.h").write_text(dead_ranges(compiled.plan, len(compiled.plan.steps)))
    program = folder / name
    subprocess.run(
        [
            "gcc",
            *FLAGS,
            *(SANITIZERS if sanitize else ["-O2"]),
            f"-DMODEL={name}_model",
            f'-DMODEL_HEADER="{name}.h"',
            "-I.",
            str(DRIVER),
            *compiled.sources,
            "-o",
            str(program),
        ],
        cwd=folder,
        check=True,
        timeout=240,
    )
    return program


def dead_ranges(plan: MemoryPlan, steps: int) -> str:
    """What no live buffer covers after each layer, as a table for driver.c."""
    rows = []
    for step in range(-1, steps):
        at = 0
        for buffer, offset in plan.live(step):
            if buffer.last > step:
                if offset > at:
                    rows.append((step, at, offset - at))
                at = max(at, offset + buffer.size)
        if plan.size > at:
            rows.append((step, at, plan.size - at))
    lines = "".join(f"    {{{a}, {b}, {c}}},\n" for a, b, c in rows or [(-2, 0, 0)])
    return (
        "#include <stdint.h>\n"
        "static const struct { int layer; uint32_t offset, size; } dead[] = {\n"
        f"{lines}}};\n"
    )


def run_program(program: Path, graph: Graph, samples: Sequence[Sample]) -> list[Sample]:
    data = b"".join(np.ascontiguousarray(v).tobytes() for sample in samples for v in sample)
    done = subprocess.run([program], input=data, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    results, at = [], 0
    for _ in samples:
        values = []
        for port in graph.outputs:
            size = port.tensor.bytes
            raw = np.frombuffer(done.stdout[at : at + size], NUMPY_TYPES[port.tensor.dtype])
            values.append(raw.reshape(port.tensor.shape))
            at += size
        results.append(tuple(values))
    assert at == len(done.stdout)
    return results


def assert_equals_tflm(tflite: bytes, folder: Path, samples: int) -> Compiled:
    return assert_equal(tflite, folder, samples)


def assert_equal(
    tflite: bytes, folder: Path, samples: int, cases: Sequence[str] = (), kernels: str = "tflm",
    core: str | None = None,
) -> Compiled:  # fmt: skip
    """`kernels`: "tflm", the wheel's, or "litert", LiteRT's reference, for what the wheel lacks.

    `core` names the one whose variants to take, which compute the same on this computer.
    """
    export = export_of(tflite)
    compiled = compile_graph(export, load_core(core) if core else None)
    inputs = random_samples(export.graph, samples)
    ours = run_program(build(compiled, folder), export.graph, inputs)
    is_tflm = kernels == "tflm"
    with tflm(tflite, export.graph) if is_tflm else litert(tflite, "reference") as network:
        theirs = list(run(network, inputs))
    wrong = {}
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for position, (x, y) in enumerate(zip(a, b, strict=True)):
            if x.tobytes() != np.asarray(y).tobytes():
                case = cases[position] if cases else f"output {position}"
                difference = np.flatnonzero(x.reshape(-1) != np.asarray(y).reshape(-1))
                wrong.setdefault(case, f"sample {number}: {len(difference)} of {x.size} differ")
    assert not wrong, wrong
    return compiled
