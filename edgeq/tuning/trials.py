"""One trial: a candidate built, proved and, where the target has an emulator, counted.

A pure function of its arguments, all of which are plain facts: it runs in any process, here or on
another computer, and says the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from edgeq import __version__
from edgeq.boards import Place, bench_board
from edgeq.building import Built, build_prepared
from edgeq.calibration import Calibration
from edgeq.conversion import Conversion
from edgeq.errors import DeviceError, EdgeqError, WorkerError
from edgeq.firmware import compiler_version, has_compiler
from edgeq.inputs import Arrays
from edgeq.mixed import mixed
from edgeq.models import Model
from edgeq.pipeline import Data, Prepared
from edgeq.samples import Samples
from edgeq.targets import Target
from edgeq.tuning.points import Candidate, Outcome

PASSING = (WorkerError, DeviceError)
"""Errors of a child process or an emulator: another attempt may do better."""


@dataclass(frozen=True)
class Subject:
    """The network of a search, and all that its trials have in common.

    `whole` has one conversion for each scheme, `plain` the int8 one of `model`, `parts` the int16x8
    that single operators of it are taken from. `samples` are what the result is judged on.
    With `emulated`, instructions are counted.
    """

    model: Model
    whole: Mapping[str, Conversion] = field(repr=False)
    plain: Conversion = field(repr=False)
    parts: Conversion | None = field(repr=False)
    calibration: Calibration = field(repr=False)
    samples: Sequence[Arrays] = field(repr=False)
    labels: tuple[int, ...] | None
    source: str
    target: Target
    engine: str
    data: Data
    emulated: bool

    def conversion(self, candidate: Candidate) -> Conversion:
        """The network in this form. Raises ConversionError when there is none."""
        if not candidate.int16:
            return self.whole[candidate.scheme]
        assert self.parts is not None
        return mixed(self.model.graph, self.plain, self.parts, candidate.int16)

    def evaluation(self) -> Samples:
        labels = None if self.labels is None else np.array(self.labels, np.int64)
        return Samples(self.source, len(self.samples), self.samples.__getitem__, labels)


def run_trial(subject: Subject, candidate: Candidate) -> Outcome:
    """What `candidate` is like. What cannot be built is an Outcome that says why.

    Raises one of PASSING for what may be due to the computer that it ran on.
    """
    try:
        return _run(subject, candidate)
    except PASSING:
        raise
    except EdgeqError as e:
        return Outcome(candidate, failed=e.message)


def _run(subject: Subject, candidate: Candidate) -> Outcome:
    conversion = subject.conversion(candidate)
    samples = subject.evaluation()
    prepared = Prepared(subject.model, conversion, subject.calibration, samples)
    with tempfile.TemporaryDirectory(prefix="edgeq-trial-") as folder:
        built = build_prepared(
            prepared,
            [subject.target],
            output=Path(folder),
            engine=subject.engine,
            data=subject.data,
            layers=candidate == Candidate("int8"),
        )[0]
        instructions = None
        if subject.emulated and built.firmware is not None:
            place = Place(sim=True)
            run = bench_board(built.folder, place, target=subject.target, runs=1, warmup=0)
            instructions = round(run.measurement.summary.median)
    fidelity = built.verification.fidelity
    levels = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    flash, ram, measured = _memory(built)
    return Outcome(
        candidate,
        sha256=hashlib.sha256(conversion.tflite).hexdigest(),
        model_bytes=len(conversion.tflite),
        sqnr_db=min(levels) if levels else None,
        equal=bool(fidelity) and not levels,
        accuracy=fidelity[0].accuracy if fidelity else None,
        float_accuracy=fidelity[0].float_accuracy if fidelity else None,
        samples=len(samples),
        flash=flash,
        ram=ram,
        measured=measured,
        instructions=instructions,
        blame=tuple((e.layer, e.lost_db) for e in built.verification.layers),
    )


def _memory(built: Built) -> tuple[int | None, int | None, str]:
    """(flash, RAM, of what), in bytes."""
    if built.engine == "aot" and built.footprint is not None:
        taken = built.footprint
        what = "linked network, its static memory and worst stack"
        return taken.flash, taken.ram + (taken.stack or 0), what
    if built.engine == "aot" and built.compiled is not None:
        return built.compiled.weights_size, built.compiled.plan.size, "constants, and arena alone"
    flash = len(built.prepared.conversion.tflite)
    if built.arena is not None:
        return flash, built.arena.size, "the .tflite file, and the arena alone"
    return flash, None, "the .tflite file"


def without_histograms(calibration: Calibration) -> Calibration:
    """What a bundle's manifest says of it, which is all that a trial needs."""
    return replace(calibration, distributions=None)


def describe_computer() -> dict[str, str]:
    """The versions that trials depend on, by name; no number may come from two of one program."""
    found = {"edgeq": __version__}
    for name in ("ai-edge-litert", "tflite-micro", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    if has_compiler():
        found["arm-none-eabi-gcc"] = compiler_version()
    return found
