"""LiteRT's two runners on this computer, as the tests of both start them."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgeq.expected import Expected
from edgeq.golden import Golden
from edgeq.graph import NUMPY_TYPES, Tensor
from edgeq.interpreters import litert, run
from edgeq.link import Limits
from edgeq.litert_files import PACKAGE, Job, build_runner, in_python, on_linux
from edgeq.machines import Runner
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.tflite import read_graph
from edgeq.toolchains import host_arch
from edgeq.transports.local import LocalMachine

HOST = load_target("host")
CACHE = Path(os.environ.get("EDGEQ_TEST_CACHE") or Path.home() / ".cache" / "edgeq-tests")
KINDS = ("c", "python")
KERNELS = {"xnnpack": "fast", "builtin": "builtin"}
LIMITS = Limits(open=60.0)
"""Python and LiteRT take seconds to start on a busy machine."""


def library() -> Path:
    found = find_spec("ai_edge_litert")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "libLiteRt.so"


def runner_of(kind: str, tflite: bytes, **options) -> Runner:
    job = Job(tflite, "net", HOST.name, **options)
    if kind == "python":
        return in_python(job, sys.executable, version(PACKAGE))
    return on_linux(job, build_runner(host_arch(), cache=CACHE), str(library()), version(PACKAGE))


def expected_of(tflite: bytes, kernels: str = "xnnpack", samples: int = 4) -> Expected:
    """What LiteRT's interpreter for Python computes with the same kernels."""
    graph = read_graph(tflite)
    random = np.random.default_rng(0)
    inputs = [tuple(values(p.tensor, random) for p in graph.inputs) for _ in range(samples)]
    with litert(tflite, KERNELS[kernels]) as network:
        outputs = [tuple(map(np.asarray, sample)) for sample in run(network, inputs)]
    return Expected(
        name="net",
        sha256=hashlib.sha256(tflite).hexdigest(),
        scheme="int8",
        engine="litert",
        golden=Golden(tuple(inputs), tuple(outputs), "LiteRT", (0,) * len(graph.outputs)),
        how_to_flash="",
    )


def values(tensor: Tensor, random: np.random.Generator) -> np.ndarray:
    """Each value as likely as another."""
    form = np.dtype(NUMPY_TYPES[tensor.dtype])
    if form.kind == "f":
        return random.normal(0, 3, tensor.shape).astype(form)
    limits = (0, 1) if form.kind == "b" else (np.iinfo(form).min, np.iinfo(form).max)
    return random.integers(*limits, tensor.shape, np.int64, endpoint=True).astype(form)


@contextmanager
def started(runner: Runner, script: str | None = None) -> Iterator[Session]:
    """A session with `runner`, which is there to be opened; `script` starts it in another way."""
    machine = LocalMachine()
    machine.open()
    folder = f"{machine.folder}/litert"
    try:
        machine.push(runner.files, folder)
        transport = machine.start(script or f"exec {shlex.join(runner.argv)}", folder)
        session = Session(HOST, transport, limits=LIMITS)
        try:
            yield session
        finally:
            session.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        machine.close()


def argv_of(kind: str, tflite: bytes, folder: Path, **options) -> list[str]:
    """The command line of a runner whose files lie in `folder`."""
    runner = runner_of(kind, tflite, **options)
    for name, content in runner.files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o700)
    return [str(folder / a) if a.removeprefix("./") in runner.files else a for a in runner.argv]
