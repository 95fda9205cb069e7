"""How many outputs of an emulated board, or of a runner, equal the reference's, byte for byte.

As a program: python tests/devices/agreement.py MODEL.tflite… [--board BOARD]… [--runner ARCH]…
[--samples 16] prints a line for each model and board or architecture, and ends with 1 when an
output differs. A model that does not fit a board is said to. The inputs are random, each value of
each input as likely as another. Runners of another processor run under qemu-user.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgeq import __version__
from edgeq.codegen.aot import compile_graph
from edgeq.codegen.facts import Export
from edgeq.errors import DoesNotFit
from edgeq.expected import Expected
from edgeq.firmware import build_firmware, find_port
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Graph, Tensor
from edgeq.interpreters import litert, run, tflm
from edgeq.operators import find_gaps, load_table
from edgeq.outputs import Arrays
from edgeq.runner import build_runner
from edgeq.session import Session
from edgeq.targets import Target, load_target
from edgeq.tflite.reader import read_graph
from edgeq.toolchains import ARCHITECTURES, host_arch, require_toolchain
from edgeq.transports import Transport
from edgeq.transports.local import LocalMachine
from edgeq.transports.simulator import SimulatorTransport

BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
"""Cortex-M3, M4, M7, M33 and M55."""

RUNNERS = {"aarch64": "rpi", "armv7": "rpi-armv7", "x86_64": "host"}
"""A target of each architecture."""

EMULATORS = {
    "aarch64": ("qemu-aarch64-static", "cortex-a72"),
    "armv7": ("qemu-arm-static", "cortex-a15"),
    "x86_64": ("qemu-x86_64-static", "Nehalem"),
}
"""qemu-user's program and a processor of it; QEMU 7.2 computes wrong numbers with its own choice,
`-cpu max`, on AArch64."""

SAMPLES = 16


def make_reference(tflite: bytes, name: str = "net", samples: int = SAMPLES) -> Export:
    """The network, with random inputs and what they become as its golden vectors.

    By TensorFlow Lite Micro's wheel; where that lacks an operator by LiteRT's reference kernels.

    Variables are reset before every sample.
    """
    graph = read_graph(tflite, name)
    random = np.random.default_rng(0)
    inputs = [tuple(_values(p.tensor, random) for p in graph.inputs) for _ in range(samples)]
    if missing := _missing_in_wheel(graph):
        title = f"LiteRT {version('ai-edge-litert')} reference kernels (TFLM lacks {missing})"
        network = litert(tflite, "reference")
    else:
        title = f"TFLM (tflite-micro {version('tflite-micro')})"
        network = tflm(tflite, graph)
    with network:
        outputs = [tuple(map(np.asarray, sample)) for sample in run(network, inputs)]
    return Export(
        name=name,
        graph=graph,
        tflite=tflite,
        sha256=hashlib.sha256(tflite).hexdigest(),
        labels=(),
        command="agreement.py",
        version=__version__,
        golden=Golden(tuple(inputs), tuple(outputs), title, (0,) * len(graph.outputs)),
    )


def _missing_in_wheel(graph: Graph) -> str:
    table = load_table("tflm")
    missing = {f"{gap.op_name} of {gap.dtype}" for gap in find_gaps(graph, table)}
    known = {op.name for op in graph.main.ops} & table.operators.keys()
    missing |= {name for name in known if not table.operators[name].wheel}
    return ", ".join(sorted(missing))


def _values(tensor: Tensor, random: np.random.Generator) -> np.ndarray:
    form = np.dtype(NUMPY_TYPES[tensor.dtype])
    if form.kind == "f":
        return random.normal(0, 3, tensor.shape).astype(form)
    if form.kind == "b":
        return random.integers(0, 2, tensor.shape).astype(form)
    limits = np.iinfo(form)
    return random.integers(limits.min, limits.max, tensor.shape, form, endpoint=True)


def equal_outputs(export: Export, board: str) -> list[bool]:
    """For each sample whether the emulated board's outputs equal the reference's.

    edgeq compiles the network to C, builds the firmware and speaks to it over its serial line.
    Raises DoesNotFit when the board has too little memory.
    """
    target = load_target(board)
    port = find_port(target)
    assert port is not None, f"{board} has no port"
    firmware = build_firmware(target, port, export, compile_graph(export, target.core))
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "firmware.elf"
        image.write_bytes(firmware.image)
        return _equal(export, target, SimulatorTransport(target, image))


def equal_outputs_of_runner(export: Export, arch: str) -> list[bool]:
    """The same of the runner for `arch`, over its stdin and stdout."""
    target = load_target(RUNNERS[arch])
    compiled = compile_graph(export, target.core)
    runner = build_runner(target, arch, require_toolchain(arch), export, compiled)
    machine = LocalMachine()
    machine.open()
    folder = f"{machine.folder}/runner"
    try:
        machine.push({"runner": runner.program}, folder)
        return _equal(export, target, machine.start(start_script(arch), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        machine.close()


def start_script(arch: str) -> str:
    """What runs the file ./runner for `arch` on this computer."""
    if arch == host_arch():
        return "exec ./runner"
    program, processor = EMULATORS[arch]
    return f"QEMU_CPU={processor} exec {program} ./runner"


def _equal(export: Export, target: Target, transport: Transport) -> list[bool]:
    golden = export.golden
    expected = Expected(export.name, export.sha256, "int8", "aot", golden, "build it again")
    with Session(target, transport) as session:
        session.check_model(expected)
        return [
            _same(session.infer(sample), wanted)
            for sample, wanted in zip(golden.inputs, golden.outputs, strict=True)
        ]


def _same(got: Arrays, wanted: Arrays) -> bool:
    pairs = zip(got, wanted, strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--board", action="append", help=f"without --runner: {' '.join(BOARDS)}")
    parser.add_argument("--runner", action="append", choices=sorted(ARCHITECTURES))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    chosen = parser.parse_args(arguments)
    places = [(arch, equal_outputs_of_runner) for arch in chosen.runner or ()]
    boards = chosen.board or (() if places else BOARDS)
    places = [*((board, equal_outputs) for board in boards), *places]
    differ = False
    for model in chosen.models:
        name = re.sub(r"\W", "_", model.stem.lower())
        export = make_reference(model.read_bytes(), f"net_{name}", chosen.samples)
        for place, outputs_of in places:
            try:
                equal = outputs_of(export, place)
            except DoesNotFit as e:
                print(f"{model.stem:24} {place:12} {e.message}", flush=True)
                continue
            differ |= not all(equal)
            count = f"{sum(equal)} of {len(equal)}"
            source = export.golden.reference
            print(f"{model.stem:24} {place:12} {count} equal {source}", flush=True)
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
