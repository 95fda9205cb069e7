"""edgeq inspect"""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.bundle import MODEL, is_bundle, open_bundle
from edgeq.cli import console
from edgeq.cli.destinations import check_destinations
from edgeq.documents import encode
from edgeq.errors import UsageError
from edgeq.inspection import Inspection, PortFact, inspect_graph, inspect_memory
from edgeq.memory import draw_svg, draw_text
from edgeq.models import open_model
from edgeq.targets import is_path, list_targets, load_target
from edgeq.verification import violation_table


@click.command("inspect")
@click.argument("model")
@click.option(
    "-t",
    "--target",
    "targets",
    multiple=True,
    metavar="TARGET",
    help="Ask these targets (default: all of them). May be repeated.",
)
@click.option("--memory", is_flag=True, help="Draw the arena that engine aot plans.")
@click.option("--memory-svg", "svg_file", metavar="FILE", help="The same drawing as an SVG file.")
@click.option("--json", "json_file", metavar="FILE", help="Write everything shown.")
def command(
    model: str,
    targets: tuple[str, ...],
    memory: bool,
    svg_file: str | None,
    json_file: str | None,
) -> None:
    """Show a model's operators with versions, shapes, quantization, MACs and live memory, and
    what the targets say of it.

    MODEL is a .tflite, a bundle, or a trained model (shown as the float .tflite it becomes).
    """
    if json_file == svg_file == "-":
        raise UsageError("--json - and --memory-svg - cannot share stdout", hint="name a file")
    check_destinations(
        {"--json": json_file, "--memory-svg": svg_file}, [model, *filter(is_path, targets)]
    )
    path = Path(model)
    if is_bundle(path):
        opened = open_model(path / MODEL, name=open_bundle(path).name)
    else:
        opened = open_model(path)
    chosen = [load_target(name) for name in targets] if targets else list_targets()
    compiled = None
    if memory or svg_file:
        compiled = inspect_memory(opened.graph, chosen if targets else [])
    result = inspect_graph(opened.graph, opened.name, chosen, compiled)
    free = [console.write_json(json_file, encode(result))] if json_file else []
    free += [console.write(svg_file, draw_svg(compiled.plan))] if svg_file and compiled else []
    if not all(free):
        return
    _show(result)
    if memory and compiled:
        console.say()
        console.say(draw_text(compiled.plan).rstrip())


def _show(result: Inspection) -> None:
    console.say(
        f"{result.model}: {result.scheme}, {console.human_bytes(result.bytes)}, "
        f"{result.macs:,} MACs, {result.parameters:,} parameters",
        style="bold",
    )
    for side, ports in (("input", result.inputs), ("output", result.outputs)):
        for port in ports:
            console.say(f"  {side} {port.name}: {_port(port)}")
    for key in result.signatures:
        console.say(f"  signature {key}")
    console.table(
        [
            ">#",
            "operator",
            "v",
            "output",
            "type",
            ">scale",
            ">zero",
            ">MACs",
            ">live bytes",
            "layer",
        ],
        [
            (
                f"{o.index}",
                o.name + (" (per channel)" if o.weights_per_channel else ""),
                o.version,
                "x".join(map(str, o.output)),
                o.dtype,
                "" if o.scale is None else f"{o.scale:.6g}",
                "" if o.zero_point is None else o.zero_point,
                f"{o.macs:,}" if o.macs else "",
                f"{o.live_bytes:,}" + (" ←peak" if o.index == result.peak_operator else ""),
                o.layer.split(";")[0],
            )
            for o in result.operators
        ],
    )
    if not result.violations:
        console.say("fully integer", style="green")
    elif result.scheme == "float32":
        console.say("float32: nothing is quantized; edgeq build makes it integer", style="yellow")
    else:
        console.say("not fully integer:", style="yellow")
        console.say(violation_table(result.violations))
    _show_targets(result)


def _show_targets(result: Inspection) -> None:
    console.table(
        ["target", "engine", "verdict", ">flash needs", ">has", ">RAM needs at least", ">has "],
        [
            (
                t.target,
                t.engine,
                t.verdict,
                f"{t.needs_flash:,}",
                "" if t.has_flash is None else f"{t.has_flash:,}",
                f"{t.needs_ram_at_least:,}",
                "" if t.has_ram is None else f"{t.has_ram:,}",
            )
            for t in result.targets
        ],
    )


def _port(port: PortFact) -> str:
    text = f"{port.dtype} {list(port.shape)}"
    return text if port.scale is None else f"{text}, {port.scale:.8g} * (q - {port.zero_point})"
