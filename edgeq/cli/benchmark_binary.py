"""edgeq bench --benchmark-binary: Google's benchmark_model on devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeq.benchmark_model.binary import open_binary
from edgeq.benchmark_model.driver import BenchmarkModelOptions, run_benchmark_model
from edgeq.benchmark_model.results import (
    COLUMNS,
    OPERATOR_COLUMNS,
    BenchmarkModelResults,
    BenchmarkModelRun,
    notes,
    operator_rows,
    rows,
    to_json,
)
from edgeq.boards import AnyPlace
from edgeq.bundle import open_bundle
from edgeq.cli import console
from edgeq.errors import EdgeqError, UsageError
from edgeq.labs import Device
from edgeq.machines import MachinePlace
from edgeq.targets import Target, load_target


def bench_binary(
    binary_file: str,
    subjects: Sequence[str],
    devices: Sequence[Device],
    way_to: Callable[[Device, Target], AnyPlace],
    options: BenchmarkModelOptions,
    json_file: str | None,
) -> int:
    """One bundle on each of `devices`, one after the other; a device that fails stops no other."""
    if len(subjects) != 1:
        raise UsageError(
            f"--benchmark-binary times one bundle, and here are {len(subjects)}",
            hint="edgeq bench BUNDLE --benchmark-binary FILE --device adb:auto",
        )
    binary = open_binary(Path(binary_file))
    bundle = open_bundle(Path(subjects[0]))
    target = load_target(str(bundle.manifest["target"]))
    places = [(device, _machine_place(device, way_to, target)) for device in devices]
    progress = console.Progress()
    runs: list[BenchmarkModelRun] = []
    failures: list[tuple[str, EdgeqError]] = []
    for device, place in places:
        mine = replace(options, num_threads=device.threads or options.num_threads)
        try:
            run = run_benchmark_model(
                place.machine,
                bundle,
                binary,
                mine,
                device=device.name,
                cores=place.cores,
                keep=place.keep,
                notice=console.note,
                progress=progress,
            )
        except EdgeqError as e:
            if len(places) == 1:
                progress.clear()
                raise
            failures.append((device.name, e))
        else:
            runs.append(run)
        progress.clear()
    results = BenchmarkModelResults(tuple(runs))
    if runs and (json_file is None or console.write(json_file, to_json(results))):
        _show(runs)
    for name, error in failures:
        console.print_error(f"{name}: {error.message}", error.hint)
    return int(bool(failures))


def _machine_place(
    device: Device, way_to: Callable[[Device, Target], AnyPlace], target: Target
) -> MachinePlace:
    place = way_to(device, target)
    if not isinstance(place, MachinePlace):
        raise UsageError(
            f"{device.name} is no computer: benchmark_model does not run there",
            hint="phones (adb:…), Raspberry Pis (ssh:…, console:…) and this computer (local) do",
        )
    return place


def _show(runs: Sequence[BenchmarkModelRun]) -> None:
    console.table(COLUMNS, rows(runs))
    for reference in dict.fromkeys(r.checks.reference for r in runs if r.checks.reference):
        console.say(f"outputs are held to those of {reference}")
    for line in notes(runs):
        console.say(line)
    for run in runs:
        if run.operators:
            title = f"operators of {run.model} on {run.device}"
            console.table(OPERATOR_COLUMNS, operator_rows(run.operators), title)
