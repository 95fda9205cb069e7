"""All of the proof in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgeq.calibration import fingerprint
from edgeq.conversion import Conversion
from edgeq.errors import VerificationError, WorkerError, WorkerTimeout
from edgeq.graph import Graph, Port
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
    layer_errors,
    measure_accuracy,
    measure_fidelity,
    missed_gate,
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verification:
    """What was proved. `violations` empty means fully integer.

    `agreement` is None when TFLM was not asked or refused the model; `refusal` says why it did.
    `accuracy` (0 to 1) is that of a model without a float original; `samples` are what it, or the
    `fidelity`, was measured on, `also_calibrated` how many of these the ranges were learnt from,
    `held_out` whether there were samples and none was.
    """

    scheme: str
    operators: int
    violations: tuple[Violation, ...]
    fidelity: tuple[Fidelity, ...]
    held_out: bool
    agreement: Agreement | None
    refusal: str | None = None
    layers: tuple[LayerError, ...] = ()
    accuracy: float | None = None
    samples: int = 0
    also_calibrated: int = 0

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
            lines.append(f"{self.scheme}: floats remain in this scheme")
        for f in self.fidelity:
            level = "equal to float" if f.sqnr_db is None else f"SQNR {f.sqnr_db:.1f} dB"
            if f.sqnr_db is not None and f.sqnr_db < 1:
                level += " (all noise: the float output is almost constant, or the data unfit)"
            line = f"output {f.output!r}: {level}, largest error {f.max_error:g}"
            if f.top1_agreement is not None:
                line += f", same top class in {100 * f.top1_agreement:.1f} %"
            lines.append(f"{line} ({f.samples} {self._freshness()})")
            if f.accuracy is not None and f.float_accuracy is not None:
                whose = f" of {f.output!r}" if len(self.fidelity) > 1 else ""
                before, after = 100 * f.float_accuracy, 100 * f.accuracy
                lines.append(f"accuracy{whose} {after:.2f} %, float {before:.2f} %")
        if self.accuracy is not None:
            lines.append(f"accuracy {100 * self.accuracy:.2f} % ({self.samples} samples)")
        if not self.fidelity and self.samples:
            lines.append("not compared with float: the model was quantized already")
        if self.agreement is not None:
            lines.append(self.agreement.line())
        if self.refusal is not None:
            lines.append(f"not compared with TensorFlow Lite Micro: {self.refusal}")
        return lines

    def _freshness(self) -> str:
        if not self.also_calibrated:
            return "held-out samples"
        if self.also_calibrated == self.samples:
            return "samples, all also used for calibration"
        return f"samples, {self.also_calibrated} of them also used for calibration"


class MissedGate(VerificationError):
    """A limit was passed; `verification` is all that was found out."""

    def __init__(self, message: str, hint: str, verification: Verification) -> None:
        super().__init__(message, hint)
        self.verification = verification


def verify(
    model: Model,
    conversion: Conversion,
    data: Source | None = None,
    *,
    gates: Gates | None = None,
    layers: bool = False,
    engines: bool = True,
    progress: Progress | None = None,
) -> Verification:
    """Prove `conversion`: integer only (from the flatbuffer), close to `model`'s float on `data`
    (whatever open_samples takes), and, with `engines`, the same in LiteRT and in TFLM, when that
    is installed. Samples of `data` that `conversion` was calibrated with are counted.

    Raises MissedGate, which has the whole proof, when a gate fails, and VerificationError when the
    two engines do not run the same network. Operators that are not integer are returned, not
    raised: whether they may stay depends on the target.
    """

    def tell(step: int) -> None:
        if progress:
            progress("proving", step, 3)

    tell(0)
    samples = None if data is None else open_samples(data, model.graph.inputs)
    violations = tuple(find_violations(conversion.graph))
    results: list[Fidelity] = []
    worst: list[LayerError] = []
    accuracy = None
    known: set[int] = set()
    if samples is not None and len(samples):
        samples, known = _watched(samples, model.graph.inputs, conversion.calibrated)
        if model.is_quantized:
            if samples.labels is not None:
                accuracy = measure_accuracy(conversion.tflite, conversion.graph, samples)
        else:
            results = measure_fidelity(model.tflite, conversion.tflite, conversion.graph, samples)
            worst = layer_errors(model, conversion, samples) if layers else []
    tell(1)
    agreement = refusal = None
    if engines and not violations:
        agreement, refusal = _agreement(conversion, samples)
    tell(3)
    verification = Verification(
        scheme=conversion.scheme,
        operators=len(conversion.graph.main.ops),
        violations=violations,
        fidelity=tuple(results),
        held_out=samples is not None and len(samples) > 0 and not known,
        agreement=agreement,
        refusal=refusal,
        layers=tuple(worst),
        accuracy=accuracy,
        samples=0 if samples is None else len(samples),
        also_calibrated=len(known),
    )
    missed = missed_gate(results, accuracy, gates or Gates())
    if missed:
        raise MissedGate(*missed, verification)
    return verification


def _watched(
    samples: Samples, inputs: Sequence[Port], calibrated: frozenset[bytes]
) -> tuple[Samples, set[int]]:
    """The samples, and the numbers of those that are among the `calibrated`, as they are read."""
    known: set[int] = set()
    seen: set[int] = set()

    def get(i: int) -> Arrays:
        sample = samples.get(i)
        if i not in seen:
            seen.add(i)
            if fingerprint(sample, inputs) in calibrated:
                known.add(i)
        return sample

    return (replace(samples, get=get) if calibrated else samples), known


def _agreement(
    conversion: Conversion, samples: Samples | None
) -> tuple[Agreement | None, str | None]:
    if not has_tflm():
        return None, "the tflite-micro package is not installed"
    gaps = find_gaps(conversion.graph, load_table("tflm"))
    if gaps:
        return None, f"operator {gaps[0].op_index} {gaps[0].op_name}: {gaps[0].reason}"
    inputs = fresh_inputs(conversion.graph, samples)
    try:
        agreement = compare_engines(conversion.tflite, conversion.graph, inputs)
    except WorkerTimeout:
        raise
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
