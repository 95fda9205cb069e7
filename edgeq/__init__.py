"""edgeq: a trained network to fully integer TFLite, proven, for phones, Pis and microcontrollers.

    model = edgeq.open_model("digits.keras")
    calibration = edgeq.calibrate(model, "calibration.npz")
    conversion = edgeq.convert(model, calibration)
    proof = edgeq.verify(model, conversion, "test.npz")
    built = edgeq.build("digits.keras", [edgeq.load_target("rpi")], data=edgeq.Data("cal.npz"))
    results = edgeq.bench("build/rpi")
    found = edgeq.evaluate_on("build/mps2-an386", edgeq.Data(evaluation="test.npz"))

Names are loaded when they are first used, so `import edgeq` takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeq.benchmark import BenchOptions, bench
    from edgeq.boards import Place
    from edgeq.building import Built, build
    from edgeq.bundle import Bundle, open_bundle
    from edgeq.calibration import Calibration, calibrate
    from edgeq.comparison import Comparison, compare
    from edgeq.conversion import Conversion, convert
    from edgeq.deployment import Recipe, bench_all, evaluate_on
    from edgeq.errors import EdgeqError
    from edgeq.evaluation import Evaluation, evaluate
    from edgeq.graph import Graph
    from edgeq.images import ImageOptions
    from edgeq.inspection import Inspection, inspect_graph
    from edgeq.measurement import Measurement, Results
    from edgeq.models import Model, open_model
    from edgeq.pipeline import Data, Opening
    from edgeq.results import read_results, write_results
    from edgeq.samples import Samples, open_samples
    from edgeq.targets import Target, list_targets, load_target
    from edgeq.tflite import read_graph
    from edgeq.verification import Gates, Verification, verify

__version__ = "0.1.0"

_HOMES = {
    "benchmark": ("BenchOptions", "bench"),
    "boards": ("Place",),
    "building": ("Built", "build"),
    "bundle": ("Bundle", "open_bundle"),
    "calibration": ("Calibration", "calibrate"),
    "comparison": ("Comparison", "compare"),
    "conversion": ("Conversion", "convert"),
    "deployment": ("Recipe", "bench_all", "evaluate_on"),
    "errors": ("EdgeqError",),
    "evaluation": ("Evaluation", "evaluate"),
    "graph": ("Graph",),
    "images": ("ImageOptions",),
    "inspection": ("Inspection", "inspect_graph"),
    "measurement": ("Measurement", "Results"),
    "models": ("Model", "open_model"),
    "pipeline": ("Data", "Opening"),
    "results": ("read_results", "write_results"),
    "samples": ("Samples", "open_samples"),
    "targets": ("Target", "list_targets", "load_target"),
    "tflite": ("read_graph",),
    "verification": ("Gates", "Verification", "verify"),
}
_MODULES = {name: f"edgeq.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "BenchOptions",
    "Built",
    "Bundle",
    "Calibration",
    "Comparison",
    "Conversion",
    "Data",
    "EdgeqError",
    "Evaluation",
    "Gates",
    "Graph",
    "ImageOptions",
    "Inspection",
    "Measurement",
    "Model",
    "Opening",
    "Place",
    "Recipe",
    "Results",
    "Samples",
    "Target",
    "Verification",
    "bench",
    "bench_all",
    "build",
    "calibrate",
    "compare",
    "convert",
    "evaluate",
    "evaluate_on",
    "inspect_graph",
    "list_targets",
    "load_target",
    "open_bundle",
    "open_model",
    "open_samples",
    "read_graph",
    "read_results",
    "verify",
    "write_results",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'edgeq' has no attribute {name!r}")
