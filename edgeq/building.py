"""edgeq build: a trained model to proven bundles, one for each target."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeq import __version__
from edgeq.arena import Arena, find_arena
from edgeq.bundle import BASELINE, FIRMWARE, MODEL, RUNNER, Draft, golden_files, write_bundles
from edgeq.codegen import Export, generate
from edgeq.codegen.aot import Compiled, compile_graph
from edgeq.codegen.facts import Footprint
from edgeq.complexity import live_bytes
from edgeq.conversion import Conversion
from edgeq.documents import printable
from edgeq.errors import DoesNotFit, UsageError, VerificationError
from edgeq.firmware import COMPILER, Firmware, build_firmware, find_port, has_compiler
from edgeq.folders import check_place
from edgeq.footprint import measure
from edgeq.graph import Graph
from edgeq.manifest import describe
from edgeq.mixed import shortest_names
from edgeq.operators import find_gaps, load_table, notes, table_for
from edgeq.pipeline import Data, Opening, Prepared, Progress, prepare
from edgeq.reference import golden_count, make_golden
from edgeq.runner import CompiledRunner, build_runner, runner_arch
from edgeq.schemes import INTEGER_SCHEMES, scheme_named
from edgeq.targets import Target, choose_engine
from edgeq.toolchains import find_toolchain, how_to_install
from edgeq.verification import Gates, Verification, find_violations, verify, violation_table
from edgeq.verification.proof import fresh_inputs


@dataclass(frozen=True)
class Built:
    """One finished bundle, and what was proved on the way.

    `arena` is TensorFlow Lite Micro's, for microcontrollers; `compiled` the network in C, for these
    and for engine aot; `footprint` what that takes of the core, measured where its compiler was
    there. `notes` are limits of the engine that concern operators of this model, by operator.
    """

    target: Target
    engine: str
    folder: Path
    prepared: Prepared
    verification: Verification
    arena: Arena | None
    compiled: Compiled | None
    footprint: Footprint | None
    firmware: Firmware | None
    runner: CompiledRunner | None
    notes: dict[str, str]

    @property
    def missing(self) -> str | None:
        """What this bundle lacks only for want of a compiler, and how to get that: a sentence."""
        if self.engine != "aot" or self.compiled is None or self.firmware or self.runner:
            return None
        if self.target.core is not None:
            if find_port(self.target) is None:
                return None
            return f"no firmware image: {COMPILER} is not installed (edgeq doctor has the line)"
        arch = runner_arch(self.target)
        if arch is None:
            return "no runner: it runs on Linux, and this computer has another system or processor"
        return f"no runner: no C compiler for {arch} is installed: {how_to_install(arch)}"


@dataclass(frozen=True)
class _Plan:
    """What one target gets, settled before anything is written.

    `arena` is TensorFlow Lite Micro's, `compiled` the network in C by engine aot; each None where
    the target has no use for it, or the engine cannot run the model. `firmware` serves the
    compiled network on a serial line, `runner` on its standard input and output; None where the
    other one does, without a port for the target or without a compiler.
    """

    target: Target
    engine: str
    export: Export
    arena: Arena | None
    compiled: Compiled | None
    footprint: Footprint | None
    firmware: Firmware | None
    runner: CompiledRunner | None
    notes: dict[str, str]


def build(
    source: str | Path,
    targets: Sequence[Target],
    *,
    output: str | Path = "build",
    scheme: str | None = None,
    int16: Sequence[str] = (),
    engine: str | None = None,
    opening: Opening | None = None,
    data: Data | None = None,
    gates: Gates | None = None,
    labels: Sequence[str] = (),
    allow_float: bool = False,
    layers: bool = False,
    mlperf: str | None = None,
    progress: Progress | None = None,
) -> list[Built]:
    """Open, calibrate, convert, prove, and write a bundle for each of `targets`.

    Each bundle is the folder `output`/<target>. `int16` are layers of an int8 network, as for
    pipeline.prepare. `labels` are the classes' names, `layers` adds a
    table of errors by layer to the proof. With `mlperf`, one of compiling.BENCHMARKS, firmware
    answers MLPerf Tiny's runner as that benchmark's device. All bundles are written, or none: not
    until every target has passed, and when one cannot be written, those of the others stay as
    they were.

    Raises VerificationError when the model is not fully integer and may not stay so or misses a
    gate, DoesNotFit when a target lacks memory or an operator, and what the steps raise.
    """
    if not targets:
        raise UsageError("no target to build for", hint="--target NAME; edgeq targets lists them")
    data = data or Data()
    _check_places(Path(output), targets, [source, data.calibration, data.evaluation])
    for target in targets:
        choose_engine(target, engine)
    _refuse_float_scheme(scheme, targets)
    prepared = prepare(
        source,
        opening=opening,
        data=data,
        scheme=scheme,
        int16=int16,
        problems=partial(problems_on, targets, engine),
        progress=progress,
    )
    return build_prepared(
        prepared,
        targets,
        output=output,
        engine=engine,
        data=data,
        gates=gates,
        labels=labels,
        allow_float=allow_float,
        layers=layers,
        mlperf=mlperf,
        progress=progress,
    )


def build_prepared(
    prepared: Prepared,
    targets: Sequence[Target],
    *,
    output: str | Path,
    engine: str | None = None,
    data: Data,
    gates: Gates | None = None,
    labels: Sequence[str] = (),
    allow_float: bool = False,
    layers: bool = False,
    mlperf: str | None = None,
    progress: Progress | None = None,
) -> list[Built]:
    """build() from where the model is converted: prove it, and write the bundles."""
    engines = [choose_engine(target, engine) for target in targets]
    _check_labels(labels, prepared)
    _refuse_floats(prepared.conversion, targets, allow_float)
    verification = verify(
        prepared.model,
        prepared.conversion,
        prepared.evaluation,
        gates=gates,
        layers=layers,
        progress=progress,
    )
    plans = [
        _plan(target, chosen, prepared, labels, data, mlperf)
        for target, chosen in zip(targets, engines, strict=True)
    ]
    drafts = [_draft(Path(output), plan, prepared, verification, data) for plan in plans]
    write_bundles(drafts)
    return [
        Built(
            plan.target,
            plan.engine,
            draft.folder,
            prepared,
            verification,
            plan.arena,
            plan.compiled,
            plan.footprint,
            plan.firmware,
            plan.runner,
            plan.notes,
        )
        for plan, draft in zip(plans, drafts, strict=True)
    ]


def _check_places(output: Path, targets: Sequence[Target], inputs: Sequence[Any]) -> None:
    """Before any work: each bundle has a folder of its own, none is in the way or being read."""
    names = [target.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two targets are called {name}, so one bundle would replace the other",
                hint="give your own target file another name",
            )
        folder = (output / name).absolute()
        check_place(folder)
        for path in inputs:
            if isinstance(path, str | Path) and folder.resolve() in Path(path).resolve().parents:
                raise UsageError(
                    f"{path}: in {folder}, the bundle that would be replaced",
                    hint="copy it elsewhere, or choose another -o",
                )


def problems_on(targets: Sequence[Target], engine: str | None, graph: Graph) -> int:
    """Operators that are not integer, and those that the engine of each of `targets` lacks."""
    gaps = [
        gap
        for target in targets
        for gap in find_gaps(graph, table_for(target, choose_engine(target, engine)), target)
    ]
    return len(find_violations(graph)) + len(gaps)


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
        if target.integer_only and conversion.scheme not in INTEGER_SCHEMES:
            raise VerificationError(
                f"target {target.name} runs integers only; this model is quantized already, as "
                f"{conversion.scheme}, which keeps floats",
                hint="start from the float model, with calibration data",
            )
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


def _plan(
    target: Target,
    engine: str,
    prepared: Prepared,
    labels: Sequence[str],
    data: Data,
    mlperf: str | None,
) -> _Plan:
    graph, tflite = prepared.conversion.graph, prepared.conversion.tflite
    table = table_for(target, engine)
    gaps = find_gaps(graph, table, target)
    if gaps:
        raise DoesNotFit(
            f"{table.title} cannot run this model on {target.name}:\n"
            + "\n".join(f"  operator {g.op_index} {g.op_name}: {g.reason}" for g in gaps),
            hint=gaps[0].hint,
        )
    inputs = fresh_inputs(graph, prepared.evaluation, golden_count(graph))
    export = Export(
        name=prepared.model.name,
        graph=graph,
        tflite=tflite,
        sha256=hashlib.sha256(tflite).hexdigest(),
        labels=tuple(labels),
        command=_command(prepared, target, engine, data, mlperf),
        version=__version__,
        golden=make_golden(tflite, graph, engine, inputs, interpreter=target.interpreter),
        has_baseline=_keeps_baseline(prepared, target, engine),
        takes_images=data.images is not None,
    )
    arena = compiled = footprint = None
    if target.core is not None and not find_gaps(graph, load_table("tflm")):
        arena = find_arena(tflite, graph, target.core, inputs[0])
        export = replace(export, arena=arena)
    in_c = target.core is not None or engine == "aot"
    if in_c and not find_gaps(graph, load_table("aot")):
        compiled = compile_graph(export, target.core)
    if in_c:
        _check_memory(target, engine, export, compiled)
    if target.core is not None and compiled is not None:
        footprint = measure(export, compiled, target.core)
    firmware = runner = None
    if engine == "aot" and compiled is not None:
        firmware = _firmware(target, export, compiled, mlperf)
        runner = _runner(target, export, compiled, mlperf)
    found = notes(graph, table)
    return _Plan(target, engine, export, arena, compiled, footprint, firmware, runner, found)


def _firmware(
    target: Target, export: Export, compiled: Compiled, mlperf: str | None
) -> Firmware | None:
    port = find_port(target)
    if port is None or not has_compiler():
        return None
    return build_firmware(target, port, export, compiled, mlperf)


def _runner(
    target: Target, export: Export, compiled: Compiled, mlperf: str | None
) -> CompiledRunner | None:
    arch = runner_arch(target)
    toolchain = find_toolchain(arch) if arch else None
    if arch is None or toolchain is None:
        return None
    return build_runner(target, arch, toolchain, export, compiled, mlperf)


def _check_memory(target: Target, engine: str, export: Export, compiled: Compiled | None) -> None:
    """Raise DoesNotFit when the network alone is beyond the target's flash or RAM."""
    if engine == "aot" and compiled is not None:
        flash, ram = compiled.weights_size, compiled.plan.size
    else:
        flash, ram = len(export.tflite), export.arena.size if export.arena else 0
    if target.flash is not None and flash > target.flash:
        raise DoesNotFit(
            f"{target.name} has {target.flash} bytes of flash; the model alone needs {flash}",
            hint="use fewer channels, or a target with more flash: edgeq targets",
        )
    if target.ram is not None and ram > target.ram:
        raise DoesNotFit(
            f"{target.name} has {target.ram} bytes of RAM; the tensor arena alone needs {ram}",
            hint=f"{max(live_bytes(export.graph))} bytes of activations are alive at once: use "
            "smaller inputs or fewer channels in the first layers",
        )


def _keeps_baseline(prepared: Prepared, target: Target, engine: str) -> bool:
    is_float = prepared.conversion.scheme == "float32"
    runs = target.runs_python and engine == "litert"
    return runs and not is_float and not prepared.model.is_quantized


def _draft(
    output: Path, plan: _Plan, prepared: Prepared, verification: Verification, data: Data
) -> Draft:
    export = plan.export
    manifest = describe(
        plan.target,
        plan.engine,
        prepared,
        verification,
        export.golden,
        plan.arena,
        plan.compiled,
        plan.footprint,
        plan.firmware,
        plan.runner,
        export.labels,
        data.images,
    )
    files: dict[str, str | bytes] = {MODEL: export.tflite, **golden_files(export.golden)}
    if export.has_baseline:
        files[BASELINE] = prepared.model.tflite
    files.update(
        generate(
            plan.target,
            export,
            plan.compiled,
            plan.footprint,
            proof=verification.lines(),
            litert_version=version("ai-edge-litert"),
            is_served=plan.firmware is not None or plan.runner is not None,
        )
    )
    if plan.firmware is not None:
        files[FIRMWARE] = plan.firmware.image
    if plan.runner is not None:
        files[RUNNER] = plan.runner.program
    return Draft(output / plan.target.name, manifest, files)


def _command(
    prepared: Prepared, target: Target, engine: str, data: Data, mlperf: str | None
) -> str:
    """What was built, as a command; file names without folders, so that the same input gives the
    same bytes wherever it lies."""
    words = ["edgeq", "build", prepared.model.source, "--target", target.name]
    words += ["--scheme", prepared.conversion.scheme]
    for layer in shortest_names(prepared.model.graph, prepared.conversion.int16):
        words += ["--int16", printable(layer)]
    if engine != target.default_engine:
        words += ["--engine", engine]
    if prepared.calibration is not None and data.calibration is not None:
        words += ["--calibration-data", printable(Path(str(data.calibration)).name)]
        if data.calibration_method is not None:
            words += ["--calibration", data.calibration_method]
    if data.evaluation is not None:
        words += ["--evaluation-data", printable(Path(str(data.evaluation)).name)]
    if mlperf is not None:
        words += ["--mlperf", mlperf]
    return shlex.join(words)
