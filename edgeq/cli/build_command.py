"""edgeq build"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from edgeq.building import Built, build
from edgeq.choice import Choice
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.cli.options import data_options, gather, model_options, project_option, repair_options
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.mixed import layer_name
from edgeq.pipeline import EVALUATION_SAMPLES
from edgeq.project import EvaluationSettings
from edgeq.repairs import Repair
from edgeq.targets import is_path, load_target
from edgeq.verification import Gates, LayerError, MissedGate, Verification


@click.command("build")
@click.argument("model", required=False)
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="What to build for; a name from `edgeq targets` or a .toml. May be repeated.",
)
@click.option("-o", "--output", metavar="DIR", help="Bundles go to DIR/<target> (default: build).")
@click.option(
    "--scheme",
    "--recipe",
    metavar="SCHEME",
    help="int8 (default), int16x8, dynamic, float16 or float32; LiteRT's recipe names too.",
)
@click.option(
    "--int16",
    multiple=True,
    metavar="LAYER",
    help="With int8: this layer's activations in int16. May be repeated; see edgeq tune.",
)
@click.option("--engine", help="Which of the target's engines runs it.")
@data_options
@click.option(
    "--evaluation-data",
    metavar="PATH",
    help="Samples to judge the result on (default: every fifth calibration sample).",
)
@click.option(
    "--evaluation-samples",
    type=click.IntRange(1),
    metavar="N",
    help="Judge on at most N of them, evenly spread (default 1000).",
)
@click.option(
    "--min-accuracy", type=float, metavar="PERCENT", help="Fail when it is less accurate than this."
)
@click.option(
    "--max-accuracy-drop",
    type=float,
    metavar="POINTS",
    help="Fail when it is this much less accurate than float.",
)
@click.option("--min-sqnr", type=float, metavar="DB", help="Fail when any output's SQNR is lower.")
@click.option("--layers", is_flag=True, help="Show each layer's error, worst first.")
@click.option(
    "--allow-float", is_flag=True, help="Accept operators that stay float, where the target can."
)
@click.option(
    "--mlperf",
    type=click.Choice(["kws01", "vww01", "ic01", "ad01"]),
    help="Firmware that MLPerf Tiny's official runner takes for this benchmark's device.",
)
@model_options
@repair_options
@project_option
@click.option("--json", "json_file", metavar="FILE", help="Write what was built and proved.")
def command(
    model: str | None,
    targets: tuple[str, ...],
    output: str | None,
    scheme: str | None,
    int16: tuple[str, ...],
    engine: str | None,
    evaluation_data: str | None,
    evaluation_samples: int | None,
    min_accuracy: float | None,
    max_accuracy_drop: float | None,
    min_sqnr: float | None,
    layers: bool,
    allow_float: bool,
    mlperf: str | None,
    json_file: str | None,
    **options: Any,
) -> None:
    """Convert MODEL to integers, prove it, and write a bundle for each target.

    MODEL is a .keras, .h5, SavedModel folder, .tflite, .onnx, .pt2 or net.py:make (a function
    that makes a PyTorch module). Without it, edgeq.toml in this folder or above says what to
    build; `edgeq init MODEL` writes one.

    \b
    edgeq build net.keras --target rpi --calibration-data samples.npz
    edgeq build --target cortex-m4 --target rpi
    """
    request = gather(
        model,
        evaluation=evaluation_data,
        evaluation_samples=evaluation_samples or EVALUATION_SAMPLES,
        **options,
    )
    project = request.project
    names = targets or (project.targets if project else ())
    if not names:
        raise UsageError("no target to build for", hint="--target NAME; edgeq targets lists them")
    limits = project.evaluation if project else EvaluationSettings()
    progress = console.Progress()
    arguments: dict[str, Any] = dict(
        output=output or (project.output if project else "build"),
        scheme=scheme or (project.scheme if project else None),
        int16=int16 or (project.int16 if project and scheme is None else ()),
        engine=engine or (project.engine if project else None),
        opening=request.opening,
        data=request.data,
        gates=Gates(
            min_accuracy=_or(min_accuracy, limits.min_accuracy),
            max_accuracy_drop=_or(max_accuracy_drop, limits.max_accuracy_drop),
            min_sqnr_db=_or(min_sqnr, limits.min_sqnr),
        ),
        labels=project.labels if project else (),
        allow_float=allow_float,
        layers=layers,
        mlperf=mlperf,
        progress=progress,
    )
    chosen = [load_target(name) for name in dict.fromkeys(names)]
    check_destinations(
        {"--json": json_file},
        [*request.files, *filter(is_path, names)],
        [Path(arguments["output"]) / target.name for target in chosen],
    )
    try:
        built = build(request.source, chosen, **arguments)
    except MissedGate as e:
        progress.clear()
        if not json_file or console.write_json(json_file, encode(e.verification)):
            _show_proof(e.verification)
        raise
    progress.clear()
    if not json_file or console.write_json(json_file, [_facts(b) for b in built]):
        _show(built)


def _or(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else value


def _show(built: list[Built]) -> None:
    first = built[0]
    prepared = first.prepared
    model, conversion = prepared.model, prepared.conversion
    console.say(
        f"{model.source} → {conversion.scheme}, {console.human_bytes(len(conversion.tflite))}"
        f" ({model.route}; {conversion.route})"
    )
    if conversion.int16:
        console.say(f"  in int16: {', '.join(map(layer_name, conversion.int16))}")
    for failure in (*model.failed, *conversion.failed):
        console.warn(f"a way that did not work: {failure}")
    for repair in prepared.repairs:
        console.note(f"repaired, {repair.name}: {repair.what}{_error_of(repair)}")
    console.warn_of(prepared.calibration.findings if prepared.calibration else ())
    console.warn_of(prepared.lint.data_findings() if prepared.lint else ())
    _show_choice(prepared.choice)
    _show_proof(first.verification)
    for b in built:
        console.say(f"{b.target.name}: {_near(b.folder)}", style="bold green")
        if b.compiled:
            console.say(
                f"  as C (aot): arena {b.compiled.plan.size} bytes, constants "
                f"{b.compiled.weights_size} bytes"
            )
        if b.footprint:
            console.say(
                f"  its call takes {b.footprint.flash} bytes of flash, {b.footprint.ram} of RAM, "
                f"{b.footprint.stack or 'an unknown number'} of stack"
            )
        if b.firmware:
            console.say("  firmware that answers on a serial line: firmware/firmware.elf")
        if b.runner:
            console.say(f"  a program for {b.runner.arch} that answers on stdin and stdout: runner")
        if b.missing:
            console.warn(b.missing)
        if b.arena:
            console.say(
                f"  with TensorFlow Lite Micro: arena {b.arena.size} bytes ({b.arena.measured} "
                f"measured, {b.arena.scratch} for CMSIS-NN)"
            )
    folder = _near(first.folder)
    console.note(f"next: read {folder}/README.md")
    for b in built[:1]:
        where = _WHERE.get(b.target.transport or "")
        if where is not None and b.target.core is None:
            console.note(f"      edgeq bench {_near(b.folder)}{where}")


_WHERE = {
    "local": ", on this computer",
    "ssh": " --device ssh:pi@raspberrypi",
    "adb": " --device adb:auto",
}
"""By a target's transport: how its bundle is measured."""


def _error_of(repair: Repair) -> str:
    if repair.largest_error is None:
        return ""
    return f" (largest error {repair.largest_error:.3g} on real samples)"


def _show_choice(choice: Choice | None) -> None:
    if choice is None:
        return
    if choice.note:
        console.note(f"calibration by {choice.method}; {choice.note}")
    if not choice.trials:
        return
    console.say(f"calibration, on {choice.samples} samples that no range is from:", style="bold")
    labelled = choice.trials[0].accuracy is not None
    fewer = any(t.samples != choice.samples for t in choice.trials if not t.failed)
    rows = []
    for trial in choice.trials:
        level = "equal" if trial.sqnr_db is None else f"{trial.sqnr_db:.1f}"
        row = [trial.name, "" if trial.failed else level]
        if labelled:
            row.append("" if trial.accuracy is None else f"{100 * trial.accuracy:.2f} %")
        if fewer:
            row.append("" if trial.failed else str(trial.samples))
        outcome = "kept" if trial.way == choice.way else trial.failed or trial.refused or ""
        rows.append([*row, outcome])
    level = ">SQNR dB before softmax" if choice.before_softmax else ">SQNR dB"
    columns = ["ranges", level, *([">accuracy"] if labelled else [])]
    console.table([*columns, *([">samples"] if fewer else []), ""], rows)


def _show_proof(verification: Verification) -> None:
    console.say("proof:", style="bold")
    for line in verification.lines():
        console.say(f"  {line}", style="yellow" if line.startswith("NOT") else None)
    _show_layers(verification.layers)


def _near(folder: Path) -> str:
    """The path as a person would type it from here."""
    near = os.path.relpath(folder)
    return str(folder) if near.startswith("..") else near


def _show_layers(layers: tuple[LayerError, ...]) -> None:
    if layers:
        console.table(
            ["operator", "type", "layer", ">SQNR dB", ">lost here dB"],
            [
                (
                    e.op_index,
                    e.op_name,
                    e.layer.split(";")[0],
                    "equal" if e.sqnr_db is None else f"{e.sqnr_db:.1f}",
                    f"{e.lost_db:.1f}",
                )
                for e in layers
            ],
        )
        console.say(
            "  lost here: SQNR below the worst of the layer's inputs; negative where it averages "
            "errors away"
        )


def _facts(built: Built) -> dict[str, Any]:
    return {
        "target": built.target.name,
        "engine": built.engine,
        "folder": str(built.folder),
        "scheme": built.prepared.conversion.scheme,
        "int16": list(built.prepared.conversion.int16),
        "bytes": len(built.prepared.conversion.tflite),
        "repairs": [encode(repair) for repair in built.prepared.repairs],
        "calibration": built.prepared.choice and built.prepared.choice.facts(),
        "verification": encode(built.verification),
        "arena": encode(built.arena) if built.arena else None,
        "aot_arena": built.compiled.plan.size if built.compiled else None,
        "footprint": encode(built.footprint) if built.footprint else None,
        "notes": dict(built.notes),
    }
