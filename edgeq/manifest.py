"""What a bundle's manifest.json says. docs/bundle.md describes it key by key."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from edgeq import __version__
from edgeq.arena import Arena
from edgeq.bundle import (
    FIRMWARE,
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    MODEL,
    RUNNER,
    SCHEMA_VERSION,
)
from edgeq.codegen.aot import Compiled
from edgeq.codegen.facts import Footprint
from edgeq.complexity import live_bytes, parameters, total_macs
from edgeq.documents import encode
from edgeq.firmware import Firmware
from edgeq.folders import SCHEMA
from edgeq.golden import Golden
from edgeq.graph import Port
from edgeq.images import ImageOptions
from edgeq.pipeline import Prepared
from edgeq.runner import CompiledRunner
from edgeq.targets import Target
from edgeq.verification import Verification


def describe(
    target: Target,
    engine: str,
    prepared: Prepared,
    verification: Verification,
    golden: Golden,
    arena: Arena | None,
    compiled: Compiled | None,
    footprint: Footprint | None,
    firmware: Firmware | None,
    runner: CompiledRunner | None,
    labels: Sequence[str],
    images: ImageOptions | None,
) -> dict[str, Any]:
    """The manifest of one bundle, but for the SHA-256 of its files, which its writer adds."""
    model, conversion, calibration = prepared.model, prepared.conversion, prepared.calibration
    graph = conversion.graph
    operators = Counter((op.name, op.version) for op in graph.main.ops)
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "edgeq": __version__,
        "name": model.name,
        "target": target.name,
        "family": target.family,
        "engine": engine,
        "scheme": conversion.scheme,
        "source": {"file": model.source, "format": model.format, "sha256": model.sha256},
        "model": {
            "file": MODEL,
            "sha256": hashlib.sha256(conversion.tflite).hexdigest(),
            "bytes": len(conversion.tflite),
            "macs": total_macs(graph),
            "parameters": parameters(graph),
            "peak_live_bytes": max(live_bytes(graph)),
        },
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [
            {**_port(port), "tolerance_steps": steps}
            for port, steps in zip(graph.outputs, golden.tolerance, strict=True)
        ],
        "labels": list(labels),
        "preprocessing": _preprocessing(images, graph.inputs),
        "operators": [
            {"name": name, "version": number, "count": count}
            for (name, number), count in sorted(operators.items())
        ],
        "golden": {
            "inputs": GOLDEN_INPUTS,
            "outputs": GOLDEN_OUTPUTS,
            "count": len(golden.inputs),
            "reference": golden.reference,
            "exact": golden.exact,
        },
        "reference_version": version("ai-edge-litert"),
        "conversion": {
            "export": model.route,
            "quantization": conversion.route,
            "int16": list(conversion.int16),
            "failed": [*model.failed, *conversion.failed],
            "repairs": [encode(repair) for repair in prepared.repairs],
            "calibration": prepared.choice and prepared.choice.facts(),
        },
        "calibration": calibration
        and {
            "source": calibration.source,
            "samples": calibration.samples,
            "sha256": calibration.sha256,
        },
        "arena": arena and asdict(arena),
        "aot": compiled
        and {
            "arena": compiled.plan.size,
            "arena_lower_bound": compiled.plan.lower_bound,
            "weights_bytes": compiled.weights_size,
            "footprint": footprint and asdict(footprint),
        },
        "firmware": firmware and {"file": FIRMWARE, "compiler": firmware.compiler},
        "runner": runner and {"file": RUNNER, "arch": runner.arch, "compiler": runner.compiler},
        "proof": {
            "fully_integer": verification.is_integer,
            "fidelity": [encode(f) for f in verification.fidelity],
            "held_out": verification.held_out,
            "also_calibrated": verification.also_calibrated,
            "agreement": verification.agreement and encode(verification.agreement),
            "layers": [encode(e) for e in verification.layers],
        },
    }


def _port(port: Port) -> dict[str, Any]:
    quantization = port.tensor.quantization
    return {
        "name": port.name,
        "shape": list(port.tensor.shape),
        "dtype": port.tensor.dtype,
        "scale": quantization.scale if quantization else None,
        "zero_point": quantization.zero_point if quantization else None,
    }


def _preprocessing(images: ImageOptions | None, inputs: Sequence[Port]) -> dict[str, Any]:
    if images is None or len(inputs) != 1 or len(inputs[0].tensor.shape) != 4:
        return {}
    _, height, width, channels = inputs[0].tensor.shape
    return {
        "image": {
            "mean": images.mean,
            "std": images.std,
            "size": list(images.size or (height, width)),
            "channels": images.channels or channels,
        }
    }
