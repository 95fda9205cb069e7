"""The inferences that a device timed, as a Measurement."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgeq import __version__
from edgeq.answers import DeviceMemory, Info
from edgeq.clock import clock_doubts, clock_of
from edgeq.expected import Expected
from edgeq.measurement import Check, Delegated, Environment, Measurement, Verdict
from edgeq.profile import memory_metrics
from edgeq.stats import judge, summarize
from edgeq.targets import Target


@dataclass(frozen=True)
class Timing:
    """`ticks` of the device's clock for every timed inference, in `blocks` of so many, after
    `warmup` others; `first` is the very first inference's.

    `seconds` is how long all of them took on the host's clock, exchanges included. `notes` are
    what a reader should know of the session.
    """

    ticks: tuple[int, ...]
    blocks: tuple[int, ...]
    warmup: int
    first: int | None
    seconds: float
    notes: tuple[str, ...]


def measurement_of(
    timing: Timing,
    expected: Expected,
    target: Target,
    info: Info,
    check: Check,
    memory: DeviceMemory,
    instruction_hz: float | None,
    environment: Environment | None = None,
) -> Measurement:
    """The Measurement of `timing` on the device that `info` is of, which passed `check`.

    `instruction_hz` is an emulator's, whose ticks stand for instructions and never for time.
    `environment` is what a computer said of itself; a board's is made of what `info` says.
    """
    clock = clock_of(info, instruction_hz)
    samples = tuple(clock.count(t) for t in timing.ticks)
    if environment is None:
        environment = Environment(
            device=info.board,
            arch=target.arch,
            cpu=target.core.name if target.core else None,
            cores=1,
            threads=1,
            engine_version=f"ABI {info.abi}",
            edgeq_version=__version__,
        )
    else:
        environment = _with_facts(environment, info)
    verdict = judge(samples, environment)
    doubts = []
    if instruction_hz is None:
        doubts = clock_doubts(info, timing.ticks, timing.seconds)
    return Measurement(
        model=expected.name,
        model_sha256=expected.sha256,
        target=target.name,
        engine=info.engine,
        scheme=expected.scheme,
        unit=clock.unit,
        tick_hz=clock.tick_hz,
        samples=samples,
        blocks=timing.blocks,
        warmup_runs=timing.warmup,
        summary=summarize(samples),
        verdict=Verdict(
            valid=verdict.valid and not doubts,
            reasons=(*verdict.reasons, *doubts),
            notes=(*verdict.notes, *timing.notes),
        ),
        checks=check,
        environment=environment,
        first=None if timing.first is None else clock.count(timing.first),
        delegated=_delegated(info),
        metrics=memory_metrics(memory),
    )


_KERNELS = {"xnnpack": "XNNPACK", "builtin": "built-in"}


def _with_facts(environment: Environment, info: Info) -> Environment:
    """What the engine said of itself (m-eq-fact in runtime/PROTOCOL.md)."""
    facts = info.facts
    kernels = facts.get("kernels")
    return replace(
        environment,
        engine_version=facts.get("version") or environment.engine_version or f"ABI {info.abi}",
        kernels=_KERNELS.get(kernels, kernels) if kernels else None,
        threads=_count(facts.get("threads")) or 1,
    )


def _delegated(info: Info) -> Delegated | None:
    operators, taken = (_count(info.facts.get(key)) for key in ("operators", "delegated"))
    if operators is None or taken is None or taken > operators:
        return None
    return Delegated(operators, taken)


def _count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,6}", text) else None
