"""edgeq build: a trained model to proven bundles, one for each target."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from edgeq import __version__
from edgeq.arena import Arena, find_arena
from edgeq.bundle import BASELINE, MODEL, golden_files, write_bundle
from edgeq.codegen import Export, generate
from edgeq.complexity import live_bytes
from edgeq.conversion import Conversion
from edgeq.errors import DoesNotFit, UsageError, VerificationError
from edgeq.golden import Golden
from edgeq.manifest import describe
from edgeq.operators import find_gaps, notes, table_for
from edgeq.pipeline import Data, Opening, Prepared, Progress, prepare
from edgeq.reference import golden_count, make_golden
from edgeq.samples import Samples
from edgeq.schemes import INTEGER_SCHEMES, scheme_named
from edgeq.targets import Target
from edgeq.verification import Gates, Verification, find_violations, verify, violation_table
from edgeq.verification.proof import fresh_inputs


@dataclass(frozen=True)
class Built:
    """One finished bundle, and what was proved on the way.

    `notes` are limits of the engine that concern operators of this model, by operator.
    """

    target: Target
    engine: str
    folder: Path
    prepared: Prepared
    verification: Verification
    arena: Arena | None
    notes: dict[str, str]


@dataclass(frozen=True)
class _Plan:
    """What one target gets, settled before anything is written."""

    target: Target
    engine: str
    golden: Golden
    arena: Arena | None
    notes: dict[str, str]


def build(
    source: str | Path,
    targets: Sequence[Target],
    *,
    output: str | Path = "build",
    scheme: str | None = None,
    engine: str | None = None,
    opening: Opening | None = None,
    data: Data | None = None,
    gates: Gates | None = None,
    labels: Sequence[str] = (),
    allow_float: bool = False,
    layers: bool = False,
    progress: Progress | None = None,
) -> list[Built]:
    """Open, calibrate, convert, prove, and write a bundle for each of `targets`.

    Each bundle is the folder `output`/<target>. `labels` are the classes' names, `layers` adds a
    table of errors by layer to the proof. Nothing is written until every target has passed.

    Raises VerificationError when the model is not fully integer and may not stay so or misses a
    gate, DoesNotFit when a target lacks memory or an operator, and what the steps raise.
    """
    if not targets:
        raise UsageError("no target to build for", hint="--target NAME; edgeq targets lists them")
    engines = [_engine(target, engine) for target in targets]
    _refuse_float_scheme(scheme, targets)
    data = data or Data()
    prepared = prepare(source, opening=opening, data=data, scheme=scheme, progress=progress)
    _check_labels(labels, prepared)
    _refuse_floats(prepared.conversion, targets, allow_float)
    verification = verify(
        prepared.model,
        prepared.conversion,
        prepared.evaluation,
        gates=gates,
        held_out=prepared.held_out,
        layers=layers,
        progress=progress,
    )
    plans = [
        _plan(target, chosen, prepared.conversion, prepared.evaluation)
        for target, chosen in zip(targets, engines, strict=True)
    ]
    return [_write(Path(output), plan, prepared, verification, labels, data) for plan in plans]


def _engine(target: Target, engine: str | None) -> str:
    if engine is None:
        return target.default_engine
    if engine not in target.engines:
        raise UsageError(
            f"target {target.name} has no engine {engine!r}",
            hint=f"it has: {', '.join(target.engines)}",
        )
    return engine


def _check_labels(labels: Sequence[str], prepared: Prepared) -> None:
    port = prepared.conversion.graph.outputs[0]
    if labels and port.tensor.shape[-1:] != (len(labels),):
        raise UsageError(
            f"{len(labels)} labels, but output {port.name!r} has shape {port.tensor.shape}",
            hint="give one label for each class, in the order of the output",
        )


def _refuse_float_scheme(scheme: str | None, targets: Sequence[Target]) -> None:
    """Before any work: what this scheme makes, these targets can never run."""
    if scheme is None or scheme_named(scheme) in INTEGER_SCHEMES:
        return
    names = [target.name for target in targets if target.integer_only]
    if names:
        raise VerificationError(
            f"{', '.join(names)} runs integers only, and --scheme {scheme} keeps floats",
            hint=f"--scheme int8, or leave out {', '.join(names)}",
        )


def _refuse_floats(conversion: Conversion, targets: Sequence[Target], allow_float: bool) -> None:
    violations = find_violations(conversion.graph)
    if not violations:
        return
    for target in targets:
        if target.integer_only:
            raise VerificationError(
                f"target {target.name} runs integers only; this model is not fully integer:\n"
                + violation_table(violations),
                hint="change the layers named, or build for a target that runs floats",
            )
    if conversion.scheme in INTEGER_SCHEMES and not allow_float:
        raise VerificationError(
            "the model is not fully integer:\n" + violation_table(violations),
            hint="change the layers named; --allow-float takes the model as it is",
        )


def _plan(target: Target, engine: str, conversion: Conversion, samples: Samples | None) -> _Plan:
    graph, tflite = conversion.graph, conversion.tflite
    table = table_for(target, engine)
    gaps = find_gaps(graph, table)
    if gaps:
        raise DoesNotFit(
            f"{table.title} cannot run this model on {target.name}:\n"
            + "\n".join(f"  operator {g.op_index} {g.op_name}: {g.reason}" for g in gaps),
            hint=gaps[0].hint,
        )
    if target.flash is not None and len(tflite) > target.flash:
        raise DoesNotFit(
            f"{target.name} has {target.flash} bytes of flash; the model alone needs {len(tflite)}",
            hint="use fewer channels, or a target with more flash: edgeq targets",
        )
    inputs = fresh_inputs(graph, samples, golden_count(graph))
    golden = make_golden(tflite, graph, engine, inputs)
    arena = None
    if target.core is not None:
        arena = find_arena(tflite, graph, target.core, inputs[0])
        if target.ram is not None and arena.size > target.ram:
            raise DoesNotFit(
                f"{target.name} has {target.ram} bytes of RAM; the tensor arena alone needs "
                f"{arena.size}",
                hint=f"{max(live_bytes(graph))} bytes of activations are alive at once: use "
                "smaller inputs or fewer channels in the first layers",
            )
    return _Plan(target, engine, golden, arena, notes(graph, table))


def _write(
    output: Path,
    plan: _Plan,
    prepared: Prepared,
    verification: Verification,
    labels: Sequence[str],
    data: Data,
) -> Built:
    model, conversion, target = prepared.model, prepared.conversion, plan.target
    folder = output / target.name
    has_baseline = target.runs_python and conversion.scheme != "float32" and not model.is_quantized
    manifest = describe(
        target, plan.engine, prepared, verification, plan.golden, plan.arena, labels, data.images
    )
    export = Export(
        name=model.name,
        graph=conversion.graph,
        tflite=conversion.tflite,
        sha256=hashlib.sha256(conversion.tflite).hexdigest(),
        labels=tuple(labels),
        command=_command(prepared, target, data),
        version=__version__,
        golden=plan.golden,
        arena=plan.arena,
        has_baseline=has_baseline,
        takes_images=data.images is not None,
    )
    files: dict[str, str | bytes] = {MODEL: conversion.tflite, **golden_files(plan.golden)}
    if has_baseline:
        files[BASELINE] = model.tflite
    files.update(
        generate(
            target,
            export,
            proof=verification.lines(),
            litert_version=version("ai-edge-litert"),
        )
    )
    write_bundle(folder, manifest, files)
    return Built(target, plan.engine, folder, prepared, verification, plan.arena, plan.notes)


def _command(prepared: Prepared, target: Target, data: Data) -> str:
    """What was built, as a command; file names without folders, so that the same input gives the
    same bytes wherever it lies."""
    words = ["edgeq", "build", prepared.model.source, "--target", target.name]
    words += ["--scheme", prepared.conversion.scheme]
    if prepared.calibration is not None and data.calibration is not None:
        words += ["--calibration-data", Path(str(data.calibration)).name]
    return shlex.join(words)
