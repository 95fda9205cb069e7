"""What sizes.py and instructions.py measure: the .tflite files that are named, or else small
networks of the project's own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeq.answers import DeviceMemory
from edgeq.building import Built, build
from edgeq.bundle import open_bundle
from edgeq.errors import UsageError
from edgeq.expected import expected_of
from edgeq.flashers import firmware_image
from edgeq.measurement import Measurement
from edgeq.pipeline import Data
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.transports.simulator import SimulatorTransport

KERAS_MODELS = Path(__file__).resolve().parent.parent / "tests" / "keras_models.py"
SMALL_NETWORKS = {"depthwise": (16, 16, 3), "residual": (12, 12, 8)}
"""Beside digits-like: models that keras_models.py saves with random weights, and their inputs."""


@dataclass(frozen=True)
class Network:
    model: Path
    calibration: Path | None = None


def networks(models: list[str], folder: Path) -> list[Network]:
    """Those of `models`, which are quantized already, or the project's own, made in `folder`."""
    if models:
        return [Network(Path(m)) for m in models]
    print("no models named: making digits-like, depthwise and residual", file=sys.stderr)
    subprocess.run(
        [sys.executable, str(KERAS_MODELS), str(folder)],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = [Network(folder / "digits-like.tflite", folder / "calibration.npz")]
    for name, shape in SMALL_NETWORKS.items():
        samples = np.random.default_rng(0).standard_normal((100, *shape)).astype(np.float32)
        np.save(folder / f"{name}.npy", samples)
        found.append(Network(folder / f"{name}.keras", folder / f"{name}.npy"))
    return found


def build_for(network: Network, targets: list[str], folder: Path) -> list[Built]:
    """A proven bundle with firmware for each of `targets`, in `folder`."""
    return build(
        network.model,
        [load_target(t) for t in targets],
        output=folder,
        engine="aot",
        data=Data(calibration=network.calibration),
    )


def run_emulated(
    folder: Path, runs: int, image: Path | None = None, engine: str | None = None
) -> tuple[Measurement, DeviceMemory]:
    """The golden vectors of a bundle, then `runs` inferences, in its target's emulator.

    `image` is another firmware for the same model and board, which says that it runs `engine`.
    """
    bundle = open_bundle(folder)
    target = load_target(str(bundle.manifest["target"]))
    expected = expected_of(bundle, how_to_flash="build it anew")
    if engine is not None:
        expected = replace(expected, engine=engine)
    if image is not None and not image.is_file():
        raise UsageError(f"{image}: no such firmware image")
    transport = SimulatorTransport(target, image or firmware_image(bundle))
    with Session(target, transport) as session:
        measurement = session.measure(expected, runs=runs, warmup=0)
        return measurement, session.memory()
