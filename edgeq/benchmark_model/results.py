"""What a run of benchmark_model gave: facts, JSON and the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeq.benchmark_model.binary import Flavour
from edgeq.benchmark_model.op_profile import OpTime
from edgeq.benchmark_model.text import DelegateShare, Footprint, Stat
from edgeq.documents import encode
from edgeq.documents import to_json as json_of
from edgeq.measurement import Check, Environment

SCHEMA = "edgeq.benchmark_model"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class BenchmarkModelRun:
    """One model, timed by one build of benchmark_model on one device.

    `warmup` and `summary` are the tool's own numbers, microseconds, `first_us` its very first
    inference; it keeps no samples, so nothing here says how sure they are. A `checks.count` of 0
    means that no output was checked; `notes` say why. `operators` is in their order, of a run of
    its own, since profiling costs time.
    """

    model: str
    model_sha256: str
    scheme: str
    device: str
    flavour: Flavour
    binary_sha256: str
    warmup: Stat
    summary: Stat
    init_us: float | None
    first_us: float | None
    checks: Check
    footprint: Footprint
    delegates: tuple[DelegateShare, ...]
    environment: Environment
    operators: tuple[OpTime, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkModelResults:
    """The file behind `edgeq bench --benchmark-binary FILE --json`."""

    runs: tuple[BenchmarkModelRun, ...]
    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION


def to_json(results: BenchmarkModelResults) -> str:
    """The same bytes for the same results; what is not known is left out."""
    return json_of(encode(results))


COLUMNS = (
    "device",
    "model",
    "scheme",
    "build",
    ">median",
    ">p95",
    ">average",
    ">std",
    ">first",
    ">load",
    ">runs",
    "delegates",
    "outputs",
)


def rows(runs: Sequence[BenchmarkModelRun]) -> list[list[str]]:
    """Cells under COLUMNS, one row a run."""
    return [
        [
            run.device,
            run.model,
            run.scheme,
            run.flavour,
            _time(run.summary.median_us),
            _time(run.summary.p95_us),
            _time(run.summary.avg_us),
            _time(run.summary.std_us),
            _time(run.first_us),
            _time(run.init_us),
            f"{run.summary.count:,}",
            ", ".join(map(_delegate, run.delegates)),
            _outputs(run.checks),
        ]
        for run in runs
    ]


OPERATOR_COLUMNS = (">#", "operator", ">ms", ">share", "name")


def operator_rows(operators: Sequence[OpTime]) -> list[list[str]]:
    """Cells under OPERATOR_COLUMNS, in the order in which they ran."""
    return [
        [
            str(i),
            op.kind,
            f"{op.avg_ms:.3f}",
            "" if op.percent is None else f"{op.percent:.1f} %",
            op.name or "",
        ]
        for i, op in enumerate(operators)
    ]


def notes(runs: Sequence[BenchmarkModelRun]) -> list[str]:
    """What to know beside the numbers, a line each."""
    lines = [f"{run.device}: {note}" for run in runs for note in run.notes]
    lines += [
        f"benchmark_model, SHA-256 {digest}; the times are its own, and it keeps no samples"
        for digest in dict.fromkeys(run.binary_sha256 for run in runs)
    ]
    return lines


def _time(us: float | None) -> str:
    if us is None:
        return ""
    return f"{us / 1000:,.3f} ms" if us >= 1000 else f"{us:g} µs"


def _delegate(share: DelegateShare) -> str:
    how = {"all": "whole graph", "part": "part", "none": "nothing", "unknown": "share not said"}
    pieces = f" in {share.kernels} kernels" if share.kernels is not None else ""
    return f"{share.name}: {how[share.share]}{pieces}"


def _outputs(checks: Check) -> str:
    if checks.count == 0:
        return "not checked"
    if checks.equal == checks.count:
        return f"{checks.count} equal"
    return f"{checks.equal} of {checks.count} equal, worst {checks.max_difference:g}"
