"""[limits] of edgeq.toml: how much a network may take, and how much more than it did before.

docs/gates.md has the syntax. Nothing here measures; edgeq.checking does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edgeq.documents import nearest
from edgeq.errors import UsageError

Direction = Literal["lower", "higher"]

_SIZES = {"": 1, "B": 1, "KB": 1024, "KiB": 1024, "MB": 1024**2, "MiB": 1024**2}
_TIMES = {"": 1, "us": 1, "µs": 1, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Metric:
    """What can be limited: the unit of its numbers, which way is better, and units in text."""

    unit: str
    better: Direction
    units: Mapping[str, float]
    has_share: bool = True


METRICS: Mapping[str, Metric] = {
    "latency_us": Metric("µs", "lower", _TIMES),
    "instructions": Metric("instructions", "lower", {"": 1}),
    "arena": Metric("bytes", "lower", _SIZES),
    "flash": Metric("bytes", "lower", _SIZES),
    "ram": Metric("bytes", "lower", _SIZES),
    "accuracy": Metric("%", "higher", {"": 1}, has_share=False),
    "sqnr": Metric("dB", "higher", {"": 1, "dB": 1}),
}

_LIMIT = re.compile(r"([+-]?)\s*(\d{1,15}(?:\.\d{0,9})?|\.\d{1,9})\s*(%|[A-Za-zµ]*)")


@dataclass(frozen=True)
class Bound:
    """One limit as it is written. `share` and `growth` are against the baseline, `share` as a part
    of it (0.01 is 1 %), the others in the metric's unit."""

    text: str
    kind: Literal["absolute", "share", "growth"]
    amount: float


Bounds = Mapping[str, tuple[Bound, ...]]


@dataclass(frozen=True)
class Limits:
    """`common` for every target that has the number, `targets` by a target's name before them.
    `baseline` is the path as written."""

    baseline: str | None = None
    common: Bounds = field(default_factory=dict)
    targets: Mapping[str, Bounds] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.common or any(self.targets.values()))


@dataclass(frozen=True)
class Gate:
    """One limit on one target. `bound` is what it comes to, `base` the baseline's number; None
    where there is none, and then `reason` says why it is not passed."""

    target: str
    metric: str
    unit: str
    limit: str
    passed: bool
    value: float | None = None
    bound: float | None = None
    base: float | None = None
    reason: str | None = None

    @property
    def beyond(self) -> float:
        """By how much it is missed, in its unit; 0 where it is not, or nobody knows."""
        if self.passed or self.value is None or self.bound is None:
            return 0.0
        return abs(self.value - self.bound)

    @property
    def change(self) -> float | None:
        """Of the value against the baseline, as a share of that."""
        return self.value / self.base - 1 if self.value is not None and self.base else None

    @property
    def sentence(self) -> str:
        if self.reason is not None or self.value is None or self.bound is None:
            return f"{self.limit}: {self.reason}"
        against = "" if self.base is None else f" (before {number(self.base, self.unit)})"
        beyond = "" if self.passed else f", {number(self.beyond, self.unit)} beyond"
        limit = number(self.bound, self.unit)
        return f"{number(self.value, self.unit)}{against}, limit {limit}{beyond}"


def number(value: float, unit: str) -> str:
    """`value` with its unit for a person."""
    if unit in ("bytes", "instructions"):
        return f"{value:,.0f} {unit}"
    return f"{value:.2f} {unit}"


def parse_limits(table: Mapping[str, Any], where: str) -> Limits:
    """The [limits] `table`; `where` is the file. Raises UsageError that names the key."""
    baseline = table.get("baseline")
    if baseline is not None and (not isinstance(baseline, str) or not baseline.strip()):
        raise UsageError(
            f"{where}: limits.baseline must be the name of a file", hint='"baseline.json", say'
        )
    common: dict[str, tuple[Bound, ...]] = {}
    targets: dict[str, Bounds] = {}
    for key, value in table.items():
        if key == "baseline":
            continue
        if isinstance(value, Mapping):
            targets[key] = {
                name: _bounds(name, inner, where, f"limits.{key}.{name}")
                for name, inner in value.items()
            }
        else:
            common[key] = _bounds(key, value, where, f"limits.{key}")
    limits = Limits(baseline, common, targets)
    if baseline is None:
        for name, bounds in _all(limits):
            if any(b.kind != "absolute" for b in bounds):
                raise UsageError(
                    f"{where}: the limit {name} = {bounds[0].text!r} is against a baseline, and "
                    "none is named",
                    hint='add baseline = "baseline.json" to [limits]; edgeq check --update '
                    "writes it",
                )
    return limits


def judge_limits(
    limits: Limits,
    values: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Mapping[str, float]],
    missing: Mapping[str, str],
) -> list[Gate]:
    """Every gate on the targets in `values` (by target, then metric), in their order.

    `missing` says by target why numbers are. A limit for all targets holds for those that have
    the number, which at least one must.
    """
    gates = []
    judged: set[str] = set()
    for target, found in values.items():
        own = limits.targets.get(target, {})
        for metric, bounds in {**limits.common, **own}.items():
            if metric in found:
                judged.add(metric)
            elif metric not in own:
                continue
            base = baseline.get(target, {}).get(metric)
            why = missing.get(target)
            gates += [_gate(target, metric, b, found.get(metric), base, why) for b in bounds]
    for metric, bounds in limits.common.items():
        if metric not in judged and values:
            gates += [_gate("all targets", metric, b, None, None, None) for b in bounds]
    return gates


def _gate(
    target: str, metric: str, bound: Bound, value: float | None, base: float | None, why: str | None
) -> Gate:
    facts = METRICS[metric]
    reason = None
    allowed: float | None = None
    sign = 1 if facts.better == "lower" else -1
    if bound.kind == "absolute":
        allowed, base = bound.amount, None
    elif base is not None:
        change = bound.amount * base if bound.kind == "share" else bound.amount
        allowed = base + sign * change
    if value is None:
        reason = f"was not measured{': ' + why if why else ''}"
    elif allowed is None:
        reason = "is not in the baseline: edgeq check --update"
    passed = (
        value is not None
        and allowed is not None
        # Percents of whole numbers are not exact in binary.
        and sign * (value - allowed) <= 1e-9 * abs(allowed)
    )
    return Gate(target, metric, facts.unit, bound.text, passed, value, allowed, base, reason)


def _all(limits: Limits) -> Iterator[tuple[str, tuple[Bound, ...]]]:
    for bounds in (limits.common, *limits.targets.values()):
        yield from bounds.items()


def _bounds(metric: str, value: Any, where: str, key: str) -> tuple[Bound, ...]:
    if metric not in METRICS:
        guess = nearest(metric, METRICS)
        raise UsageError(
            f"{where}: unknown key {key}",
            hint=f"did you mean {guess}?"
            if guess
            else f"metrics: {', '.join(METRICS)}; the "
            "limits of one target are a table, [limits.TARGET]",
        )
    several = value if isinstance(value, list) else [value]
    if not several:
        raise UsageError(f"{where}: {key} is empty", hint="write a limit, or leave the key out")
    return tuple(_bound(METRICS[metric], v, where, key) for v in several)


def _bound(metric: Metric, value: Any, where: str, key: str) -> Bound:
    found = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = _LIMIT.fullmatch(f"{value:.9f}".rstrip("0").rstrip("."))
    elif isinstance(value, str):
        found = _LIMIT.fullmatch(value.strip())
    better = "at most" if metric.better == "lower" else "at least"
    growth = "+1%" if metric.better == "lower" else "-0.5"
    hint = f'a number ({metric.unit}, {better}), or "{growth}" against the baseline'
    if found is None:
        raise UsageError(f"{where}: {key} = {value!r:.60} is no limit", hint=hint)
    sign, amount, unit = found[1], float(found[2]), found[3]
    if sign and sign != ("+" if metric.better == "lower" else "-"):
        raise UsageError(
            f"{where}: {key} = {value!r:.60} asks for less than is there already", hint=hint
        )
    if unit == "%" and sign and metric.has_share:
        return Bound(str(value), "share", amount / 100)
    percent = unit == "%" and metric.unit == "%" and not sign
    if not percent and unit not in metric.units:
        units = ", ".join(filter(None, metric.units)) or "none"
        raise UsageError(
            f"{where}: {key} = {value!r:.60}: {unit!r} does not go with it",
            hint=f"units: {units}; {hint}",
        )
    amount *= 1 if percent else metric.units[unit]
    if metric.unit == "%" and not sign and not 1 < amount <= 100:
        raise UsageError(
            f"{where}: {key} = {value!r:.60} is not a percentage", hint="95 for 95 %, say"
        )
    return Bound(str(value), "growth" if sign else "absolute", amount)
