"""edgeq check: build, count in the emulator, and hold what comes out against [limits]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeq import documents
from edgeq.benchmark import BenchOptions, bench
from edgeq.boards import Place, bench_board
from edgeq.building import Built, build
from edgeq.errors import MeasurementError, UsageError
from edgeq.firmware import compiler_version, has_compiler
from edgeq.limits import Gate, Limits, judge_limits
from edgeq.measurement import Measurement, Metric, Results
from edgeq.pipeline import Data, Opening
from edgeq.targets import Target
from edgeq.verification import Gates, Verification

CHECK_SCHEMA = "edgeq.check"
BASELINE_SCHEMA = "edgeq.baseline"
SCHEMA_VERSION = 1

RUNS = 20
"""Of each network in the emulator, whose counts are the same every time."""

EQUAL_DB = 300.0
"""Stands for the SQNR of outputs that do not differ from float at all, which has no number."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Check:
    """`values` by target and metric, in the units of limits.METRICS; `compilers` by target."""

    model: str
    gates: tuple[Gate, ...]
    values: Mapping[str, Mapping[str, float]]
    compilers: Mapping[str, str]
    schema: str = CHECK_SCHEMA
    schema_version: int = SCHEMA_VERSION

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True)
class Baseline:
    """The committed file: what was measured when somebody last said that it was fine."""

    model: str
    values: Mapping[str, Mapping[str, float]]
    compilers: Mapping[str, str]
    schema: str = BASELINE_SCHEMA
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Checked:
    """What a check found, all that was measured for it, and the bundles that it built."""

    check: Check
    measurements: tuple[Measurement, ...]
    built: tuple[Built, ...]

    @property
    def results(self) -> Results:
        return Results(self.measurements)


def check(
    source: str | Path,
    targets: Sequence[Target],
    limits: Limits,
    *,
    baseline: Path | None = None,
    update: bool = False,
    output: str | Path = "build",
    scheme: str | None = None,
    engine: str | None = None,
    opening: Opening | None = None,
    data: Data | None = None,
    gates: Gates | None = None,
    labels: Sequence[str] = (),
    progress: Progress | None = None,
) -> Checked:
    """Build for `targets`, run those that have an emulator in it, and judge `limits`.

    `baseline` is the file that relative limits are held against; `update` writes it first from
    what was found, keeping its other targets. A target that is this computer is timed only where
    latency_us has a limit. The other arguments are building.build()'s.

    Raises UsageError for limits that name no target, and for a baseline that is not there or was
    made with another compiler; and what building and measuring raise.
    """
    names = [target.name for target in targets]
    _check_targets(limits, names)
    before = None if baseline is None or update else read_baseline(baseline)
    if before is not None and baseline is not None:
        _check_compiler(before, targets, baseline)
    built = build(
        source,
        targets,
        output=output,
        scheme=scheme,
        engine=engine,
        opening=opening,
        data=data,
        gates=gates,
        labels=labels,
        layers=True,
        progress=progress,
    )
    measurements = [m for b in built for m in _measure(b, limits, progress)]
    values = {b.target.name: _values(b, measurements) for b in built}
    compilers = {b.target.name: c for b in built if (c := _compiler(b)) is not None}
    name = built[0].prepared.model.name
    if baseline is not None and update:
        before = _merged(baseline, Baseline(name, values, compilers))
        documents.write_text(baseline, documents.to_json(documents.encode(before)))
    found = judge_limits(
        limits,
        values,
        before.values if before else {},
        {b.target.name: b.missing for b in built if b.missing},
    )
    return Checked(Check(name, tuple(found), values, compilers), tuple(measurements), tuple(built))


def read_baseline(path: Path) -> Baseline:
    """The baseline in the file at `path`. Raises UsageError."""
    hint = "edgeq check --update writes it; commit it then"
    if not path.exists():
        raise UsageError(f"{path}: no such file, and limits are against it", hint)
    data = documents.read_json(path, UsageError, hint)
    if not isinstance(data, dict) or data.get("schema") != BASELINE_SCHEMA:
        raise UsageError(f"{path}: no baseline of edgeq's", hint)
    if data.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(f"{path}: a baseline of another edgeq", hint)
    return documents.decode(data, Baseline, str(path), UsageError, hint)


def check_to_json(check: Check) -> str:
    """The text of `edgeq check --json`."""
    facts = documents.encode(check)
    return documents.to_json({**facts, "passed": check.passed})


def check_from_json(data: Any, where: str) -> Check:
    """The Check in the parsed JSON `data`. Raises MeasurementError."""
    hint = "edgeq check --json FILE writes one"
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        raise MeasurementError(f"{where}: a check of another edgeq", hint)
    facts = {key: value for key, value in data.items() if key != "passed"}
    return documents.decode(facts, Check, where, MeasurementError, hint)


def _check_targets(limits: Limits, names: Sequence[str]) -> None:
    if not limits:
        raise UsageError(
            "there are no limits to check",
            hint='write them in edgeq.toml: [limits], instructions = "+1%"; docs/gates.md',
        )
    if not limits.common and not set(names) & set(limits.targets):
        raise UsageError(
            f"there are limits for {', '.join(limits.targets)} only, and {', '.join(names)} is to "
            "be checked",
            hint="[limits] holds for every target, [limits.TARGET] for one; --target says which "
            "are checked",
        )


def _check_compiler(before: Baseline, targets: Sequence[Target], path: Path) -> None:
    """Another compiler makes another number of instructions of the same code."""
    for target in targets:
        then = before.compilers.get(target.name)
        if then is None or target.core is None or not has_compiler():
            continue
        here = compiler_version()
        if then != here:
            raise UsageError(
                f"{path} was made with {then} for {target.name}, and here is {here}",
                hint="use the same compiler in CI, or edgeq check --update",
            )


def _merged(path: Path, new: Baseline) -> Baseline:
    if not path.exists():
        return new
    old = read_baseline(path)
    return replace(
        new,
        values={**old.values, **new.values},
        compilers={**old.compilers, **new.compilers},
    )


def _measure(built: Built, limits: Limits, progress: Progress | None) -> list[Measurement]:
    target = built.target
    if target.core is not None and target.sim is not None and built.firmware is not None:
        run = bench_board(
            built.folder,
            Place(sim=True),
            target=target,
            runs=RUNS,
            profile=True,
            progress=progress,
        )
        return [_with_quality(run.measurement, built.verification)]
    bounds = {**limits.common, **limits.targets.get(target.name, {})}
    if target.transport == "local" and "latency_us" in bounds and built.engine == "litert":
        results = bench(built.folder, BenchOptions(), progress=progress)
        own = built.prepared.conversion.scheme
        return [
            _with_quality(m, built.verification) if m.scheme == own else m
            for m in results.measurements
        ]
    return []


def _with_quality(m: Measurement, verification: Verification) -> Measurement:
    quality = []
    accuracy, sqnr = _quality(verification)
    if accuracy is not None:
        quality.append(Metric("accuracy", accuracy, "", "higher"))
    if sqnr is not None:
        quality.append(Metric("sqnr", sqnr, "dB", "higher"))
    return replace(m, metrics=(*m.metrics, *quality))


def _quality(verification: Verification) -> tuple[float | None, float | None]:
    """The first output's accuracy (0 to 1), and the worst output's SQNR in dB."""
    first = verification.fidelity[0] if verification.fidelity else None
    accuracy = first.accuracy if first else verification.accuracy
    levels = [EQUAL_DB if f.sqnr_db is None else f.sqnr_db for f in verification.fidelity]
    return accuracy, min(levels, default=None)


def _values(built: Built, measurements: Sequence[Measurement]) -> dict[str, float]:
    values: dict[str, float | None] = {}
    own = built.prepared.conversion.scheme
    for m in measurements:
        if m.target != built.target.name or m.scheme != own:
            continue
        if m.unit == "instructions":
            values["instructions"] = m.summary.median
        elif m.tick_hz and m.environment.emulator is None:
            values["latency_us"] = m.summary.median / m.tick_hz * 1e6
    if built.engine == "aot" and built.compiled:
        values["arena"] = float(built.compiled.plan.size)
    elif built.arena:
        values["arena"] = float(built.arena.size)
    if built.engine == "aot" and built.footprint:
        values["flash"] = float(built.footprint.flash)
        values["ram"] = float(built.footprint.ram)
    accuracy, values["sqnr"] = _quality(built.verification)
    values["accuracy"] = None if accuracy is None else 100 * accuracy
    return {name: round(value, 6) for name, value in values.items() if value is not None}


def _compiler(built: Built) -> str | None:
    if built.footprint is not None:
        return built.footprint.compiler
    return built.firmware.compiler if built.firmware else None
