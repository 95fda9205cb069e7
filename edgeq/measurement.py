"""Measurement, Environment, Results: what was measured, and where.

docs/results.md explains every key. Nothing here measures or computes; edgeq.stats does, and
edgeq.results reads and writes the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

SCHEMA = "edgeq.measurement"
SCHEMA_VERSION = 1

Unit = Literal["ns", "cycles", "instructions"]
"""What one tick is. Instructions come from an emulator and never stand for time."""

Direction = Literal["lower", "higher"]

MAX_TICK_HZ = 1e12
"""Ticks a second of any clock, at most."""


@dataclass(frozen=True)
class Interval:
    """The range that holds the true value with probability `confidence` (0 to 1) or more."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Summary:
    """Samples in numbers (edgeq.stats.summarize has the formulas). All but `count` in ticks."""

    count: int
    first: float
    min: float
    max: float
    mean: float
    median: float
    p5: float
    p95: float
    p99: float
    std: float
    mad: float
    median_interval: Interval | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether the median may be quoted. `reasons` say why not, `notes` what else to know."""

    valid: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """Golden inputs: how many samples, and how far their outputs were from the golden ones.

    `max_difference` and `tolerance` (one for each output) are in steps of an integer output,
    else in its own values. `reference` says what made the golden outputs. A `count` of 0 means
    that there were none and nothing was checked.
    """

    count: int
    equal: int
    max_difference: float = 0.0
    tolerance: tuple[float, ...] = ()
    reference: str | None = None


@dataclass(frozen=True)
class Memory:
    """`peak_rss_delta`: bytes that loading and running the model added to its process."""

    peak_rss_delta: int


@dataclass(frozen=True)
class Delegated:
    """How many of the main graph's operators the accelerated kernels took over."""

    operators: int
    delegated: int


@dataclass(frozen=True)
class Speedup:
    """`value` times as fast as the baseline that was measured in alternation with this model."""

    baseline: str
    baseline_scheme: str
    baseline_sha256: str
    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Metric:
    """A number of the model that is no latency, such as its accuracy, and which way is better."""

    name: str
    value: float
    unit: str
    better: Direction

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"metric {self.name} is not a finite number")


@dataclass(frozen=True)
class LayerProfile:
    """One layer; `ticks` is the median of its runs. `bytes` are of its first output."""

    index: int
    op: str
    name: str
    macs: int
    bytes: int
    ticks: float


@dataclass(frozen=True)
class Profile:
    """Every layer of a network, in order. Their sum is no latency: reading the clock costs, too."""

    unit: Unit
    runs: int
    layers: tuple[LayerProfile, ...]
    tick_hz: float | None = None


@dataclass(frozen=True)
class State:
    """What a device can say of itself at one moment.

    `frequency_khz` is the fastest core's, `temperature_c` the hottest processor sensor's and
    `load_average` the last minute's. `x86_throttle_count` counts since boot;
    `pi_throttled` is `vcgencmd get_throttled` as a number, `thermal_status` Android's, from 0
    (none) to 6 (shutdown).
    """

    frequency_khz: int | None = None
    temperature_c: float | None = None
    load_average: float | None = None
    x86_throttle_count: int | None = None
    pi_throttled: int | None = None
    thermal_status: int | None = None
    battery_percent: float | None = None


@dataclass(frozen=True)
class Environment:
    """Where and with what a measurement was made; None for what the device does not tell.

    `cores` are those that the process may use. `processor_share` is the CPU time of the timed
    process over the time that passed; `busy_elsewhere` is how many cores all other work kept
    busy meanwhile, on average. `abi` and `sdk` are Android's; `pinned` are the cores that the
    process was kept on, as a list ("4-7"); `emulator` is the program that stood for the processor.
    """

    device: str | None = None
    arch: str | None = None
    cpu: str | None = None
    cores: int | None = None
    os: str | None = None
    python: str | None = None
    governor: str | None = None
    frequency_limit_khz: int | None = None
    threads: int | None = None
    engine_version: str | None = None
    kernels: str | None = None
    edgeq_version: str | None = None
    processor_share: float | None = None
    busy_elsewhere: float | None = None
    soc: str | None = None
    abi: str | None = None
    sdk: int | None = None
    pinned: str | None = None
    emulator: str | None = None
    before: State = State()
    after: State = State()


@dataclass(frozen=True)
class Measurement:
    """One model, measured once. Times are in ticks of `unit`, `tick_hz` of them a second.

    `samples` is every timed inference in the order it ran, in `blocks` of so many; `first` is
    the very first inference, before any warm-up; `init` is loading the model.
    """

    model: str
    model_sha256: str
    target: str
    engine: str
    scheme: str
    unit: Unit
    tick_hz: float | None = field(default=None, kw_only=True)
    samples: tuple[int, ...] = field(repr=False)
    blocks: tuple[int, ...] = field(repr=False)
    warmup_runs: int
    summary: Summary
    verdict: Verdict
    checks: Check
    environment: Environment
    first: int | None = None
    init: int | None = None
    memory: Memory | None = None
    delegated: Delegated | None = None
    speedup: Speedup | None = None
    metrics: tuple[Metric, ...] = ()
    profile: Profile | None = None

    @property
    def title(self) -> str:
        """What a person calls it: the model and its scheme."""
        return f"{self.model} {self.scheme}"

    def __post_init__(self) -> None:
        if self.unit == "instructions" and self.tick_hz is not None:
            raise ValueError("instructions have no tick_hz: an emulator's count is not a time")
        if self.tick_hz is not None and not (0 < self.tick_hz < math.inf):
            raise ValueError(f"tick_hz is {self.tick_hz}, not a positive number")
        if not self.samples or min(self.samples) < 0:
            raise ValueError("samples must be ticks, at least one and none of them negative")
        if sum(self.blocks) != len(self.samples) or self.summary.count != len(self.samples):
            raise ValueError(f"blocks and summary must account for all {len(self.samples)} samples")


@dataclass(frozen=True)
class Results:
    """What one run of edgeq measured; the file behind `--json`."""

    measurements: tuple[Measurement, ...]
    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
