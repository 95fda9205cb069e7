"""edgeq bench"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeq import history, report
from edgeq.benchmark import BenchOptions
from edgeq.benchmark_model.driver import BenchmarkModelOptions
from edgeq.boards import BoardRun, Place
from edgeq.bundle import is_bundle, open_bundle
from edgeq.cli import console
from edgeq.cli.benchmark_binary import bench_binary
from edgeq.cli.destinations import check_destinations
from edgeq.cli.device_runs import machine_options, named_devices, way_to
from edgeq.cli.history_command import folder_of, folder_option
from edgeq.cli.options import (
    DEVICE_HELP,
    board_options,
    data_options,
    device_options,
    gather,
    model_options,
    project_option,
    repair_options,
)
from edgeq.deployment import Recipe, Runs, bench_all
from edgeq.errors import EdgeqError, UsageError
from edgeq.fleet import Timed, bench_devices
from edgeq.labs import Device
from edgeq.measurement import Measurement
from edgeq.profile import profile_columns, profile_rows
from edgeq.results import to_json
from edgeq.targets import is_path, load_target

F = TypeVar("F", bound=Callable[..., Any])


def _option(name: str, kind: type, default: float, text: str) -> Callable[[F], F]:
    """An option under benchmark_model's own name too, which has underscores."""
    return click.option(
        f"--{name}",
        f"--{name.replace('-', '_')}",
        type=kind,
        default=default,
        show_default=True,
        help=text,
    )


@click.command("bench")
@click.argument("subjects", metavar="[BUNDLE|MODEL]...", nargs=-1)
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Build MODEL, or what edgeq.toml says, for it first. May be repeated.",
)
@_option("num-runs", int, 50, "At least so many timed inferences,")
@_option("min-secs", float, 1.0, "which take at least so many seconds (not on boards);")
@_option("max-secs", float, 150.0, "none starts after so many (not on boards).")
@_option("warmup-runs", int, 1, "At least so many inferences before,")
@_option("warmup-min-secs", float, 0.5, "which take at least so many seconds (not on boards).")
@_option("num-threads", int, 1, "Threads that an inference may use (not on boards).")
@click.option("--baseline", metavar="MODEL", help="Measure this beside it, in alternation.")
@board_options
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="DEVICE",
    help=f"{DEVICE_HELP} May be repeated: all at once.",
)
@device_options
@click.option(
    "--sustained",
    type=click.FloatRange(1, 86400),
    metavar="SECONDS",
    help="On devices: go on for so long, and say how much slower it gets.",
)
@click.option(
    "--benchmark-binary",
    metavar="FILE",
    help="On devices: time the bundle's model with this build of Google's benchmark_model.",
)
@click.option("--profile", is_flag=True, help="On a device: what each layer takes.")
@click.option("--json", "json_file", metavar="FILE", help="Write the results; - is stdout.")
@click.option("--save", is_flag=True, help="Keep the results for edgeq history.")
@folder_option
@click.option("--csv", "csv_file", metavar="FILE", help="Write a row a measurement; - is stdout.")
@click.option("--scheme", "--recipe", metavar="SCHEME", help="With --target: convert to this.")
@data_options
@model_options
@repair_options
@project_option
def command(
    subjects: tuple[str, ...],
    targets: tuple[str, ...],
    baseline: str | None,
    json_file: str | None,
    csv_file: str | None,
    save: bool,
    history_folder: str | None,
    sim: bool,
    port: str | None,
    baud: int | None,
    engine: str | None,
    output: str | None,
    scheme: str | None,
    profile: bool,
    trace: bool,
    num_runs: int,
    min_secs: float,
    max_secs: float,
    warmup_runs: int,
    warmup_min_secs: float,
    num_threads: int,
    devices: tuple[str, ...],
    cores: str | None,
    keep: bool,
    offline_wheels: bool,
    litert_lib: str | None,
    sustained: float | None,
    benchmark_binary: str | None,
    **options: Any,
) -> int:
    """Check the golden outputs, then measure: on this computer with LiteRT, or on devices.

    A bundle's integer model is measured beside the float32 baseline of the same network, in
    alternation, so that nobody has to guess whether int8 paid. Nothing is timed when an output is
    wrong; the others of several are, and the exit code is 1.

    A microcontroller's bundle runs on the board at --port, or with --sim in an emulator, whose
    counts are instructions, never time. With --target a model is built for it first, in a
    temporary folder unless -o or --port is given.

    With --device it runs on phones (adb), Raspberry Pis (ssh, a serial console) and boards, all
    at once; each gets the bundle of its target.

    \b
    edgeq bench build/host --json now.json
    edgeq bench build/mps2-an386 --profile
    edgeq bench --sim --target cortex-m4 --target cortex-m7 net.tflite
    edgeq bench build/android build/rpi --device adb:auto --device ssh:pi@raspberrypi
    edgeq bench build/android --device adb:auto --benchmark-binary android_aarch64_benchmark_model
    edgeq compare before.json now.json
    """
    place, results = Place(port, sim, baud), {"--csv": csv_file, "--json": json_file}
    named = named_devices(devices, options["project_file"])
    read = [baseline, benchmark_binary, *filter(is_path, targets)]
    if targets or (named and not (subjects and all(is_bundle(Path(s)) for s in subjects))):
        kept = output or (None if port is None else True)
        source, recipe = _to_be_built(
            subjects, targets, kept, scheme, engine, results, read, **options
        )
        sources = [source]
    else:
        check_destinations(results, [*subjects, *read])
        unused = {k: v for k, v in options.items() if not (named and k == "project_file")}
        _refuse_build_options(output=output, scheme=scheme, engine=engine, **unused)
        if not subjects:
            raise UsageError(
                "nothing to measure",
                hint="name a BUNDLE or a MODEL, or --target NAME to build what edgeq.toml says",
            )
        sources, recipe = [Path(s) for s in subjects], Recipe()
    timing = BenchOptions(num_runs, warmup_runs, warmup_min_secs, min_secs, max_secs, num_threads)
    progress = console.Progress()
    failures: list[tuple[str, EdgeqError]] = []
    shown: dict[str, Any] = {
        "trace": console.show_line if trace else None,
        "notice": console.note,
        "progress": progress,
        "failed": lambda name, error: failures.append((name, error)),
    }
    loaded = [load_target(name) for name in dict.fromkeys(targets)]
    machines = machine_options(cores, num_threads, keep, offline_wheels, litert_lib)
    here = [] if named else [Device(place, place) for place in _this_computer(subjects)]
    if here:
        _refuse_here({"--sim": sim, "--port": port, "--baseline": baseline})
    named = named or here
    if benchmark_binary is not None:
        _refuse_without_devices({"--benchmark-binary": not named})
        _refuse_with_binary(
            {
                "--target": targets,
                "--sim": sim,
                "--port": port,
                "--baseline": baseline,
                "--sustained": sustained,
                "--csv": csv_file,
                "--save": save or history_folder,
                "--trace": trace,
            }
        )
        return bench_binary(
            benchmark_binary,
            subjects,
            named,
            lambda device, target: way_to(device, target, machines),
            BenchmarkModelOptions(**vars(timing), profile=profile),
            json_file,
        )
    if named:
        _refuse_with_devices({"--sim": sim, "--port": port, "--baseline": baseline})
        measured = bench_devices(
            sources,
            named,
            lambda device, target: way_to(device, target, machines),
            targets=loaded,
            recipe=recipe,
            timed=Timed(
                num_runs, warmup_runs, sustained or min_secs, max_secs, profile, bool(sustained)
            ),
            **shown,
        )
        runs = Runs(tuple(measured), ())
    else:
        _refuse_without_devices(
            {
                "--cores": cores,
                "--keep": keep,
                "--offline-wheels": offline_wheels,
                "--litert-lib": litert_lib,
                "--sustained": sustained,
            }
        )
        runs = bench_all(
            sources,
            loaded,
            place=place,
            recipe=recipe,
            options=timing,
            baseline=baseline,
            profile=profile,
            **shown,
        )
    progress.clear()
    if runs.boards or runs.here:
        free = [console.write(csv_file, report.to_csv(runs.results))] if csv_file else []
        free += [console.write(json_file, to_json(runs.results))] if json_file else []
        if save or history_folder:
            folder = folder_of(history_folder)
            entry = history.save(folder, runs.results, commit=history.commit_of(Path.cwd()))
            console.note(f"kept as {entry.id} in {folder}")
        if all(free):
            _show_boards(runs.boards)
            _show(runs.here)
    for name, error in failures:
        known = error.message.startswith(name)
        console.print_error(error.message if known else f"{name}: {error.message}", error.hint)
    return int(bool(failures))


def _to_be_built(
    subjects: tuple[str, ...],
    targets: tuple[str, ...],
    output: str | bool | None,
    scheme: str | None,
    engine: str | None,
    results: dict[str, str | None],
    read: list[str | None],
    **options: Any,
) -> tuple[Path, Recipe]:
    """The model, and how it becomes a bundle. An `output` of True is the project's."""
    if len(subjects) > 1:
        raise UsageError(
            f"one model is built, and here are {len(subjects)}",
            hint="name one MODEL, or bundles without --target",
        )
    request = gather(subjects[0] if subjects else None, **options)
    project = request.project
    if output is True:
        output = str(project.output) if project else "build"
    folder = Path(output) if output else None
    check_destinations(
        results,
        [*request.files, *read],
        [folder / load_target(name).name for name in targets] if folder else (),
    )
    recipe = Recipe(
        output=folder,
        scheme=scheme or (project.scheme if project else None),
        engine=engine or (project.engine if project else None),
        opening=request.opening,
        data=request.data,
        labels=project.labels if project else (),
    )
    return request.source, recipe


def _this_computer(subjects: tuple[str, ...]) -> tuple[str, ...]:
    """Where bundles run that were compiled for this computer."""
    bundles = [open_bundle(Path(s)).manifest for s in subjects if is_bundle(Path(s))]
    here = [(b["engine"], b["target"]) == ("aot", "host") for b in bundles]
    return ("local",) if here and all(here) and len(here) == len(subjects) else ()


def _refuse_with_devices(given: dict[str, Any]) -> None:
    for flag, value in given.items():
        if value:
            raise UsageError(
                f"{flag} and --device exclude each other",
                hint="--device serial:PORT and --device sim are the same as --port and --sim",
            )


def _refuse_here(given: dict[str, Any]) -> None:
    for flag, value in given.items():
        if value:
            raise UsageError(
                f"{flag} is not for a bundle that was compiled for this computer",
                hint="leave it out; edgeq compare sets its result beside another one's",
            )


def _refuse_with_binary(given: dict[str, Any]) -> None:
    for flag, value in given.items():
        if value:
            raise UsageError(
                f"{flag} and --benchmark-binary exclude each other",
                hint="edgeq bench BUNDLE --benchmark-binary FILE --device adb:auto",
            )


def _refuse_without_devices(given: dict[str, Any]) -> None:
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} goes with --device", hint="--device adb:auto, say")


def _refuse_build_options(**given: Any) -> None:
    for name, value in given.items():
        if value:
            flag = {"input_shapes": "input-shape", "project_file": "project"}.get(name, name)
            raise UsageError(
                f"--{flag.replace('_', '-')} is for building a model",
                hint="add --target NAME, which builds it first",
            )


def _show_boards(runs: tuple[BoardRun, ...]) -> None:
    if not runs:
        return
    measurements = [run.measurement for run in runs]
    console.table(report.board_columns(measurements), report.board_rows(measurements))
    for reference in dict.fromkeys(m.checks.reference for m in measurements):
        console.say(f"outputs are held to those of {reference}")
    for line in report.measurement_notes(measurements):
        console.say(line)
    for run in runs:
        if run.profile:
            title = f"layers of {run.measurement.model} on {run.measurement.target}"
            console.table(profile_columns(run.profile), profile_rows(run.profile), title)


def _show(measurements: tuple[Measurement, ...]) -> None:
    if not measurements:
        return
    environment = measurements[0].environment
    console.say(f"on this computer ({environment.arch}, {environment.cpu}), with LiteRT:")
    console.table(report.MEASUREMENT_COLUMNS, report.measurement_rows(measurements))
    for line in report.measurement_notes(measurements):
        console.say(line)
