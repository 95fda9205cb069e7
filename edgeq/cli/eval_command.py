"""edgeq eval"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.boards import SAMPLE_LIMIT, AnyPlace, BoardEvaluation, Place
from edgeq.bundle import is_bundle, open_bundle
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.device_runs import machine_options, named_devices, way_to
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
from edgeq.deployment import Recipe, evaluate_on
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.evaluation import Evaluation, evaluate
from edgeq.fleet import pair
from edgeq.targets import Target, is_path, load_target


@click.command("eval")
@click.argument("model", required=False)
@click.option(
    "--data",
    metavar="PATH",
    help="Labelled samples: an .npz with `labels`, a folder of images, … (default, without "
    "MODEL: the project's evaluation data).",
)
@click.option("--scheme", "--recipe", metavar="SCHEME", help="Convert to this first (int8).")
@click.option(
    "-t", "--target", metavar="TARGET", help="On a board of this kind; a model is built for it."
)
@board_options
@click.option("--device", "devices", multiple=True, metavar="DEVICE", help=DEVICE_HELP)
@device_options
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help=f"On a device: for one sample, at most (default {SAMPLE_LIMIT:g}).",
)
@data_options
@model_options
@repair_options
@project_option
@click.option("--json", "json_file", metavar="FILE", help="Write the numbers; - is stdout.")
def command(
    model: str | None,
    data: str | None,
    scheme: str | None,
    target: str | None,
    sim: bool,
    port: str | None,
    baud: int | None,
    engine: str | None,
    output: str | None,
    time_limit: float | None,
    trace: bool,
    json_file: str | None,
    devices: tuple[str, ...],
    cores: str | None,
    keep: bool,
    offline_wheels: bool,
    litert_lib: str | None,
    **options: Any,
) -> int:
    """Measure accuracy on labelled data: float beside integer here, or on a device.

    MODEL is a bundle, a .tflite, or a trained model. A float one is converted first where there is
    --calibration-data or a --scheme, else judged as it is.

    With --device, --target, --sim or --port every sample runs on the device and by the reference
    on this computer: exit code 1 when any output differs (for engine litert: by more than the
    bundle's tolerance). A model is built for --target first, in a temporary folder unless -o or
    --port is given.

    \b
    edgeq eval build/rpi --data test.npz
    edgeq eval net.tflite --data test.npz --target cortex-m4 --sim
    edgeq eval build/rpi --data test.npz --device ssh:pi@raspberrypi
    """
    request = gather(model, evaluation=data, evaluation_samples=None, **options)
    project = request.project
    kept = output or (None if port is None else project.output if project else "build")
    check_destinations(
        {"--json": json_file},
        [*request.files, target if target and is_path(target) else None],
        [Path(kept) / load_target(target).name] if kept and target else (),
    )
    scheme = scheme or (project.scheme if project else None)
    progress = console.Progress()
    if target is None and not sim and port is None and not devices:
        _refuse_board_options(baud=baud, output=output, engine=engine, time_limit=time_limit)
        _refuse_board_options(cores=cores, keep=keep or None, litert_lib=litert_lib)
        _refuse_board_options(offline_wheels=offline_wheels or None)
        result = evaluate(
            request.source,
            request.data,
            scheme=scheme,
            opening=request.opening,
            progress=progress,
        )
        progress.clear()
        if not json_file or console.write_json(json_file, encode(result)):
            _show(result)
        return 0
    if not devices:
        _refuse_board_options(cores=cores, keep=keep or None, litert_lib=litert_lib)
        _refuse_board_options(offline_wheels=offline_wheels or None)
    described = load_target(target) if target else None
    place: AnyPlace = Place(port, sim, baud)
    if len(devices) > 1:
        raise UsageError("eval runs on one device", hint="run it for each")
    if devices:
        _refuse_two_places(sim, port)
        machines = machine_options(cores, 1, keep, offline_wheels, litert_lib)
        (named,) = named_devices(devices, options["project_file"])
        if described is None and not is_bundle(request.source) and named.target:
            described = load_target(named.target)
        target_there = described or _target_of(request.source)
        place = way_to(named, pair(named, [target_there]), machines)
    found = evaluate_on(
        request.source,
        request.data,
        target=described,
        place=place,
        recipe=Recipe(
            output=Path(kept) if kept else None,
            scheme=scheme,
            engine=engine or (project.engine if project else None),
            opening=request.opening,
            labels=project.labels if project else (),
        ),
        time_limit=SAMPLE_LIMIT if time_limit is None else time_limit,
        trace=console.show_line if trace else None,
        notice=console.note,
        progress=progress,
    )
    progress.clear()
    if not json_file or console.write_json(json_file, encode(found)):
        _show_board(found)
    return int(found.first_difference is not None)


def _target_of(source: Path) -> Target:
    if not is_bundle(source):
        raise UsageError(
            f"{source.name}: nothing says what to build it for",
            hint="--target NAME, or target = NAME in [devices.NAME] of edgeq.toml",
        )
    return load_target(str(open_bundle(source).manifest["target"]))


def _refuse_two_places(sim: bool, port: str | None) -> None:
    if sim or port is not None:
        raise UsageError(
            "--device excludes --sim and --port", hint="--device serial:PORT, --device sim"
        )


def _refuse_board_options(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a device",
                hint="--device DEVICE, or --target NAME with --sim or --port",
            )


def _show_board(found: BoardEvaluation) -> None:
    console.warn_of(found.findings)
    console.say(
        f"{found.model} {found.scheme} on {found.device}, engine {found.engine}: "
        f"{found.samples} samples of {found.source}",
        style="bold",
    )
    line = f"outputs: {found.equal} of {found.samples} equal those of {found.reference}"
    if found.equal < found.samples and found.first_difference is None:
        line += f", the others are within {found.max_difference:g}"
    console.say(f"{line}, byte for byte" if found.equal == found.samples else line)
    if found.accuracy is not None:
        console.say(f"accuracy on the device: {100 * found.accuracy:.2f} %")
    if found.first_difference:
        console.say(
            f"the first that differs is {found.first_difference}"
            + (
                ""
                if found.max_difference is None
                else f" (of all, at most {found.max_difference:g} apart)"
            ),
            style="red",
        )


def _show(result: Evaluation) -> None:
    console.warn_of(result.findings)
    console.say(f"{result.model} on {result.samples} samples of {result.source}", style="bold")
    rows = []
    if result.float_accuracy is not None:
        rows.append(("float32", f"{100 * result.float_accuracy:.2f} %", ""))
    if result.accuracy is not None:
        change = ""
        if result.float_accuracy is not None:
            change = f"{100 * (result.accuracy - result.float_accuracy):+.2f} points"
        rows.append((result.scheme, f"{100 * result.accuracy:.2f} %", change))
    if rows:
        console.table(["model", ">accuracy", ">change"], rows)
    for f in result.fidelity:
        level = "equal to float" if f.sqnr_db is None else f"SQNR {f.sqnr_db:.1f} dB"
        line = f"output {f.output!r}: {level}, largest error {f.max_error:g}"
        if f.top1_agreement is not None:
            line += f", same top class in {100 * f.top1_agreement:.1f} %"
        console.say(line)
