"""One network of the matrix, taken the whole way, and the verdict on it."""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.codegen.aot import compile_graph
from edgeq.errors import DoesNotFit, EdgeqError, VerificationError
from edgeq.graph import Graph
from edgeq.integers import find_violations, violation_table
from edgeq.interpreters import Arrays, run, tflm
from edgeq.isolation import Worker
from edgeq.operators import find_gaps, load_table
from edgeq.pipeline import Data, Opening, prepare
from edgeq.verification import verify
from edgeq.verification.proof import fresh_inputs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "kernels"))
from host_program import build, export_of, random_samples, run_program  # noqa: E402

FREE_SIZE = 16
"""What a free dimension is fixed to: networks.py makes samples of this size."""

LEAST_DB = 10.0
"""SQNR to float under which integers do not compute the network any more."""


@dataclass(frozen=True)
class Verdict:
    """What became of a network. `error` and `hint` are those of its refusal, else empty.

    `sqnr_db` is that of the worst output in LiteRT, None when equal to float. `tflm` and `aot` say
    "equal", how many steps apart, or which operators are lacking.
    """

    name: str
    error: str = ""
    hint: str = ""
    operators: int = 0
    repairs: tuple[str, ...] = ()
    sqnr_db: float | None = None
    tflm: str = ""
    aot: str = ""

    @property
    def is_integer(self) -> bool:
        return not self.error

    @property
    def agrees(self) -> bool:
        """Fully integer, near float in LiteRT, and the same wherever its operators are."""
        close = self.sqnr_db is None or self.sqnr_db >= LEAST_DB
        same = all(not text.startswith("differs") for text in (self.tflm, self.aot))
        return self.is_integer and close and same


def judge(name: str, folder: Path, scheme: str, tensorflow: Worker) -> Verdict:
    """Convert the network that networks.py saved in `folder`, and prove it."""
    source = folder / f"{name}.keras"
    if not source.exists():
        source = folder / name
    (data,) = folder.glob(f"{name}.np?")
    try:
        prepared = prepare(
            source,
            opening=Opening(name="net", input_shapes=_free_shapes(source)),
            data=Data(calibration=data, calibration_method="minmax"),
            scheme=scheme,
            problems=_problems,
            tensorflow=tensorflow,
        )
        violations = find_violations(prepared.conversion.graph)
        if violations:
            raise VerificationError(
                f"not fully integer:\n{violation_table(violations)}", hint=violations[0].cure
            )
        proof = verify(prepared.model, prepared.conversion, prepared.evaluation)
    except EdgeqError as e:
        return Verdict(name, e.message, e.hint or "")
    levels = [f.sqnr_db for f in proof.fidelity if f.sqnr_db is not None]
    graph, tflite = prepared.conversion.graph, prepared.conversion.tflite
    if proof.agreement:
        steps = proof.agreement.max_steps
        in_tflm = f"{steps} step{'s' if steps > 1 else ''} apart" if steps else "equal"
    else:
        in_tflm = _lacking(graph, "tflm") or f"differs: {proof.refusal}"
    inputs = fresh_inputs(graph, prepared.evaluation)
    if all(port.tensor.quantization for port in graph.inputs):  # Any other may be an index.
        inputs += random_samples(graph, 4)
    return Verdict(
        name,
        operators=len(graph.main.ops),
        repairs=tuple(repair.name for repair in prepared.repairs),
        sqnr_db=min(levels, default=None),
        tflm=in_tflm,
        aot=_aot(tflite, graph, inputs, bool(proof.agreement)),
    )


def _aot(tflite: bytes, graph: Graph, inputs: list[Arrays], has_reference: bool) -> str:
    """How the network in C, run on this computer, compares with TensorFlow Lite Micro."""
    if lacking := _lacking(graph, "aot"):
        return lacking
    try:
        compiled = compile_graph(export_of(tflite))
    except DoesNotFit as e:
        return f"refused: {e.message.splitlines()[-1].strip()}"
    if not has_reference:
        return "compiles"
    with tempfile.TemporaryDirectory() as folder:
        program = build(compiled, Path(folder), sanitize=False)
        ours = run_program(program, graph, inputs)
    with tflm(tflite, graph) as network:
        theirs = list(run(network, inputs))
    pairs = [(x, y) for a, b in zip(ours, theirs, strict=True) for x, y in zip(a, b, strict=True)]
    unequal = sum(x.tobytes() != np.asarray(y).tobytes() for x, y in pairs)
    return f"differs on {unequal} of {len(pairs)}" if unequal else "equal"


def _problems(graph: Graph) -> int:
    """What stands between the network and a microcontroller, whichever engine."""
    gaps = [gap for name in ("aot", "tflm") for gap in find_gaps(graph, load_table(name))]
    return len(find_violations(graph)) + len(gaps)


def _lacking(graph: Graph, table: str) -> str:
    names = {gap.op_name for gap in find_gaps(graph, load_table(table))}
    return f"no {', '.join(sorted(names))}" if names else ""


def _free_shapes(source: Path) -> dict[str, tuple[int, ...]]:
    """What --input-shape would be given, for inputs with free dimensions."""
    if source.is_dir():
        return {}
    with zipfile.ZipFile(source) as archive:
        config = json.loads(archive.read("config.json"))["config"]
    shapes = {}
    for layer in config["layers"]:
        shape = layer["config"].get("batch_shape")
        if shape and None in shape[1:]:
            shapes[layer["config"]["name"]] = (1, *(n or FREE_SIZE for n in shape[1:]))
    return shapes
