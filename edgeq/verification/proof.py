"""All of the proof in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.conversion import Conversion
from edgeq.errors import VerificationError, WorkerError
from edgeq.graph import Graph
from edgeq.inputs import random_inputs, stored_inputs
from edgeq.integers import Violation, find_violations
from edgeq.interpreters import Arrays, has_tflm
from edgeq.models import Model
from edgeq.operators import find_gaps, load_table
from edgeq.samples import Samples, Source, open_samples
from edgeq.verification.agreement import COUNT, Agreement, compare_engines
from edgeq.verification.fidelity import (
    Fidelity,
    Gates,
    LayerError,
    check_gates,
    layer_errors,
    measure_fidelity,
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verification:
    """What was proved. `violations` empty means fully integer.

    `agreement` is None when TFLM was not asked or refused the model; `refusal` says why it did.
    """

    scheme: str
    operators: int
    violations: tuple[Violation, ...]
    fidelity: tuple[Fidelity, ...]
    held_out: bool
    agreement: Agreement | None
    refusal: str | None = None
    layers: tuple[LayerError, ...] = ()

    @property
    def is_integer(self) -> bool:
        return not self.violations

    def lines(self) -> list[str]:
        """The proof, a sentence a line."""
        lines = []
        if self.is_integer:
            lines.append(f"fully integer: all {self.operators} operators, inputs and outputs")
        elif self.scheme in ("int8", "int16x8"):
            lines.append(f"NOT fully integer: {len(self.violations)} operators are not")
        else:
            lines.append(f"{self.scheme}: floats remain, as asked for")
        fresh = "held-out samples" if self.held_out else "the calibration samples themselves"
        for f in self.fidelity:
            level = "equal to float" if f.sqnr_db is None else f"SQNR {f.sqnr_db:.1f} dB"
            line = f"output {f.output!r}: {level}, largest error {f.max_error:g}"
            if f.top1_agreement is not None:
                line += f", same top class in {100 * f.top1_agreement:.1f} %"
            lines.append(f"{line} ({f.samples} {fresh})")
            if f.accuracy is not None and f.float_accuracy is not None:
                lines.append(
                    f"accuracy {100 * f.accuracy:.2f} %, float {100 * f.float_accuracy:.2f} %"
                )
        if self.agreement is not None:
            lines.append(self.agreement.line())
        if self.refusal is not None:
            lines.append(f"TensorFlow Lite Micro cannot run it: {self.refusal}")
        return lines


def verify(
    model: Model,
    conversion: Conversion,
    data: Source | None = None,
    *,
    gates: Gates | None = None,
    held_out: bool = True,
    layers: bool = False,
    engines: bool = True,
    progress: Progress | None = None,
) -> Verification:
    """Prove `conversion`: integer only (from the flatbuffer), close to `model`'s float on `data`
    (whatever open_samples takes), and, with `engines`, the same in LiteRT and in TFLM, when that
    is installed.

    Raises VerificationError when a gate fails, or when the two engines do not run the same
    network. Operators that are not integer are returned, not raised: whether they may stay
    depends on the target.
    """

    def tell(step: int) -> None:
        if progress:
            progress("proving", step, 3)

    tell(0)
    samples = None if data is None else open_samples(data, model.graph.inputs)
    violations = tuple(find_violations(conversion.graph))
    results: list[Fidelity] = []
    worst: list[LayerError] = []
    if samples is not None and len(samples) and not model.is_quantized:
        results = measure_fidelity(model.tflite, conversion.tflite, conversion.graph, samples)
        if layers:
            worst = layer_errors(model, conversion, samples)
    tell(1)
    check_gates(results, gates or Gates())
    agreement = refusal = None
    if engines and not violations and has_tflm():
        agreement, refusal = _agreement(conversion, samples)
    tell(3)
    return Verification(
        scheme=conversion.scheme,
        operators=len(conversion.graph.main.ops),
        violations=violations,
        fidelity=tuple(results),
        held_out=held_out,
        agreement=agreement,
        refusal=refusal,
        layers=tuple(worst),
    )


def _agreement(
    conversion: Conversion, samples: Samples | None
) -> tuple[Agreement | None, str | None]:
    gaps = find_gaps(conversion.graph, load_table("tflm"))
    if gaps:
        return None, f"operator {gaps[0].op_index} {gaps[0].op_name}: {gaps[0].reason}"
    inputs = fresh_inputs(conversion.graph, samples)
    try:
        agreement = compare_engines(conversion.tflite, conversion.graph, inputs)
    except WorkerError as e:
        return None, e.message
    if not agreement.same_network:
        raise VerificationError(
            f"{agreement.line()}: with {agreement.agreement_db} dB they do not compute the same "
            "network",
            hint="replace the layer that is named; a microcontroller would give wrong results",
        )
    return agreement, None


def fresh_inputs(graph: Graph, samples: Samples | None, count: int = COUNT) -> list[Arrays]:
    """`count` inputs as stored: real samples, else numbers from a fixed seed over the whole
    range of the type (to compare engines with; never to calibrate with)."""
    if samples is not None and len(samples):
        chosen = samples.pick(range(min(count, len(samples))))
        return [stored_inputs(s, graph.inputs) for s in chosen]
    return random_inputs(graph, count)
