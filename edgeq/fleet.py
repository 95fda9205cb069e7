"""Several devices at once: each with what was built for it, side by side, in one result."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeq.boards import AnyPlace, BoardRun, bench_board
from edgeq.bundle import is_bundle, open_bundle
from edgeq.deployment import Failed, Notice, Progress, Recipe, bundles_of
from edgeq.errors import EdgeqError, MeasurementError, UsageError
from edgeq.labs import Device
from edgeq.link import Trace
from edgeq.machines import MachinePlace
from edgeq.targets import Target, load_target
from edgeq.transports import stopping

PlaceOf = Callable[[Device, Target], AnyPlace]

STOP_LIMIT = 15.0
"""Seconds that devices get to end what they are doing after Ctrl-C."""

_FITS: Mapping[str, Callable[[Target], bool]] = {
    "adb": lambda target: target.transport == "adb",
    "ssh": lambda target: target.transport == "ssh",
    "console": lambda target: target.transport == "ssh",
    "serial": lambda target: target.core is not None,
    "sim": lambda target: target.sim is not None,
    "local": lambda target: target.transport == "local",
}
"""By the kind of an address: which targets may be behind it."""


@dataclass(frozen=True)
class Timed:
    """How much to measure: `runs` at least, for `seconds` at least, after `warmup` others.

    No run starts after `max_seconds`. `sustained`: say how much slower it got, and stop for no
    `max_seconds`. A microcontroller's runs are counted and not timed, unless `sustained`.
    """

    runs: int = 50
    warmup: int = 1
    seconds: float = 0.0
    max_seconds: float = math.inf
    profile: bool = False
    sustained: bool = False


def bench_devices(
    sources: Sequence[str | Path],
    devices: Sequence[Device],
    place_of: PlaceOf,
    *,
    targets: Sequence[Target] = (),
    recipe: Recipe | None = None,
    timed: Timed | None = None,
    trace: Trace | None = None,
    notice: Notice | None = None,
    progress: Progress | None = None,
    failed: Failed | None = None,
) -> list[BoardRun]:
    """Measure on each of `devices`, all at the same time, in their order.

    `sources` are bundles, of which each device gets the one for its target, or one model, which is
    built for `targets` or for those of the devices. A device that fails is told to `failed` and
    has no part in what is returned, without stopping the others; without `failed`, or when it is
    the only one, its error is raised.
    """
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder", hint="name a bundle, or a model")
    are_bundles = all(map(is_bundle, paths))
    if are_bundles and not targets:
        found = [load_target(str(open_bundle(p).manifest["target"])) for p in paths]
    else:
        found = list(targets) or _own_targets(devices)
    chosen = [pair(device, found) for device in devices]
    for left in (t.name for t in found if t not in chosen):
        if notice:
            notice(f"nothing is measured for {left}: no --device is one")
    places = [place_of(device, target) for device, target in zip(devices, chosen, strict=True)]
    for place, target in zip(places, chosen, strict=True):
        place.check(target)
    wanted = [] if are_bundles and not targets else list({t.name: t for t in chosen}.values())
    with bundles_of(paths, wanted, recipe or Recipe(), notice, progress) as built:
        names = [t.name for t in (wanted or found)]
        bundles = {name: path for name, (path, _) in zip(names, built, strict=True)}
        jobs = [
            _Job(device.name, place, bundles[target.name], target)
            for device, place, target in zip(devices, places, chosen, strict=True)
        ]
        _run_all(jobs, timed or Timed(), trace, notice, progress)
    return _collected(jobs, failed)


def pair(device: Device, targets: Sequence[Target]) -> Target:
    """The one of `targets` that is for `device`. Raises UsageError."""
    if device.target is not None:
        name = load_target(device.target).name
        fitting = [t for t in targets if t.name == name]
    else:
        name = ""
        fitting = [t for t in targets if _FITS[device.kind](t)]
    there = ", ".join(t.name for t in targets)
    if not fitting:
        raise UsageError(
            f"{device.name} {'is a ' + name if name else 'is none of what was built'}: "
            f"here is only {there}",
            hint="name a bundle for it, or a model with --target",
        )
    if len(fitting) > 1:
        if len({t.name for t in fitting}) == 1:
            raise UsageError(
                f"{device.name}: {len(fitting)} bundles are for {fitting[0].name}",
                hint="name one of them; then measure the other, and edgeq compare",
            )
        raise UsageError(
            f"{device.name} may be any of {', '.join(t.name for t in fitting)}",
            hint=f"say which: a bundle of one, or target = {fitting[0].name!r} in "
            "[devices.NAME] of edgeq.toml",
        )
    return fitting[0]


def _own_targets(devices: Sequence[Device]) -> list[Target]:
    for device in devices:
        if device.target is None:
            raise UsageError(
                f"{device.name}: nothing says what to build for it",
                hint="--target NAME (edgeq targets lists them), or target = NAME in its "
                "[devices.NAME] of edgeq.toml",
            )
    named = [load_target(device.target) for device in devices if device.target]
    return list({target.name: target for target in named}.values())


@dataclass
class _Job:
    """One device's part, and what came of it."""

    name: str
    place: AnyPlace
    bundle: Path
    target: Target
    run: BoardRun | None = None
    error: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)


def _run_all(
    jobs: Sequence[_Job],
    timed: Timed,
    trace: Trace | None,
    notice: Notice | None,
    progress: Progress | None,
) -> None:
    """Run all jobs, each in a thread of its own; after Ctrl-C they end at their next turn."""
    stop = threading.Event()
    turn = threading.Lock()

    def work(job: _Job) -> None:
        prefix = f"{job.name}: " if len(jobs) > 1 else ""

        def step(what: str, done: int, total: int) -> None:
            stopping.check()
            if progress:
                with turn:
                    progress(prefix + what, done, total)

        def tell(line: str) -> None:
            if notice:
                with turn:
                    notice(prefix + line)

        def show(seconds: float, direction: str, line: str) -> None:
            if trace:
                with turn:
                    trace(seconds, direction, prefix + line)

        is_timed = isinstance(job.place, MachinePlace) or timed.sustained
        try:
            with stopping.obeying(stop):
                job.run = bench_board(
                    job.bundle,
                    job.place,
                    target=job.target,
                    runs=timed.runs,
                    warmup=timed.warmup,
                    seconds=timed.seconds if is_timed else 0.0,
                    max_seconds=timed.max_seconds if is_timed and not timed.sustained else math.inf,
                    profile=timed.profile,
                    sustained=timed.sustained,
                    trace=show if trace else None,
                    notice=tell,
                    progress=step,
                )
        except OSError as e:  # No device's: a temporary file, say. The others go on.
            job.error = MeasurementError(
                f"{e.filename or 'a temporary file'} cannot be used: {e.strerror or e}",
                hint="is there space on this computer, and may you write there?"
                if e.filename
                else "is there space on this computer? TMPDIR names another folder",
            )
        except BaseException as e:  # Whoever waits for the thread raises or reports it.
            job.error = e
        finally:
            job.ended.set()

    # Thread.join is not waited with: once interrupted, Python 3.11 takes the thread for ended.
    threads = [threading.Thread(target=work, args=[job], daemon=True) for job in jobs]
    try:
        for thread in threads:
            thread.start()
        for job in jobs:
            job.ended.wait()
    except BaseException:
        stop.set()
        end = time.monotonic() + STOP_LIMIT
        for thread, job in zip(threads, jobs, strict=True):
            if thread.ident is not None:
                job.ended.wait(max(0.0, end - time.monotonic()))
        raise


def _collected(jobs: Sequence[_Job], failed: Failed | None) -> list[BoardRun]:
    for job in jobs:
        if job.error is None:
            continue
        known = isinstance(job.error, EdgeqError)
        if not known or failed is None or len(jobs) == 1:
            raise job.error
        assert isinstance(job.error, EdgeqError)
        failed(job.name, job.error)
    runs = [job.run for job in jobs if job.run]
    if not runs and failed is None:
        raise MeasurementError("no device gave a result")
    return runs
