"""What a report is about: measurements, the bundles that they are of, and what both tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.bundle import Bundle, is_bundle, open_bundle
from edgeq.checking import CHECK_SCHEMA, Check, check_from_json
from edgeq.documents import read_json
from edgeq.errors import BundleError, DoesNotFit, MeasurementError, ModelError, UsageError
from edgeq.history import Entry
from edgeq.inspection import Inspection, MemoryFact, OperatorFact, inspect_graph, inspect_memory
from edgeq.measurement import LayerProfile, Measurement
from edgeq.operators import find_gaps, load_table
from edgeq.results import from_json
from edgeq.targets import Target, load_target
from edgeq.tflite import read_graph

_HINT = "edgeq bench --json FILE writes a results file, edgeq build a bundle"


@dataclass(frozen=True)
class Layer:
    """One operator of the network, in its order; None for what is not known.

    `index` is its place in the .tflite, None where only the device named it. `ticks` are the
    median of its runs, `live_bytes` the activations alive while it runs. `sqnr_db` is its output's
    against float (None, where `has_error`, for an output that is equal), `lost_db` how much worse
    that is than the worst of its inputs.
    """

    index: int | None
    op: str
    name: str
    macs: int
    ticks: float | None = None
    live_bytes: int | None = None
    sqnr_db: float | None = None
    lost_db: float | None = None
    has_error: bool = False


@dataclass(frozen=True)
class Subject:
    """One model on one target: its measurement, its bundle, or both.

    `baseline` is the float model that was measured beside it. `inspection` is of the bundle's
    model, with the arena's plan where engine aot runs it.
    """

    model: str
    scheme: str
    target: str
    engine: str
    measurement: Measurement | None
    baseline: Measurement | None
    manifest: Mapping[str, Any] | None
    inspection: Inspection | None
    described: Target | None

    @property
    def title(self) -> str:
        return f"{self.model} {self.scheme} on {self.target}"

    @property
    def memory(self) -> MemoryFact | None:
        return self.inspection.memory if self.inspection else None

    @property
    def fidelity(self) -> list[Mapping[str, Any]]:
        """Each output's, from the proof of the build."""
        proof = self.manifest.get("proof") if self.manifest else None
        return _tables(proof, "fidelity")

    @property
    def footprint(self) -> Mapping[str, Any] | None:
        """Bytes of the network's call in C, as docs/bundle.md has them."""
        aot = self.manifest.get("aot") if self.manifest else None
        found = aot.get("footprint") if isinstance(aot, dict) else None
        return found if isinstance(found, dict) else None

    def metric(self, name: str) -> float | None:
        """The measurement's metric of that name."""
        metrics = self.measurement.metrics if self.measurement else ()
        return next((m.value for m in metrics if m.name == name), None)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In the network's order, from the model, the device's profile and the build's proof."""
        profile = self.measurement.profile if self.measurement else None
        operators = self.inspection.operators if self.inspection else ()
        ticks = _ticks_by_operator(operators, profile.layers) if profile else {}
        if not operators:
            measured = profile.layers if profile else ()
            return tuple(Layer(None, p.op, p.name, p.macs, p.ticks) for p in measured)
        errors = {e.get("op_index"): e for e in self._errors()}
        found = []
        for o in operators:
            error = errors.get(o.index)
            found.append(
                Layer(
                    index=o.index,
                    op=o.name,
                    name=o.layer,
                    macs=o.macs,
                    ticks=ticks.get(o.index),
                    live_bytes=o.live_bytes,
                    sqnr_db=_number(error, "sqnr_db"),
                    lost_db=_number(error, "lost_db"),
                    has_error=error is not None,
                )
            )
        return tuple(found)

    def _errors(self) -> list[Mapping[str, Any]]:
        return _tables(self.manifest.get("proof") if self.manifest else None, "layers")


@dataclass(frozen=True)
class Report:
    """All that is reported: subjects, what `edgeq check` found, and results kept before."""

    subjects: tuple[Subject, ...]
    checks: tuple[Check, ...] = ()
    history: tuple[Entry, ...] = ()

    @property
    def model(self) -> str:
        return ", ".join(dict.fromkeys(s.model for s in self.subjects))


def open_sources(
    sources: Sequence[Path], places: Sequence[Path] = (), history: Sequence[Entry] = ()
) -> Report:
    """The report on `sources`: results files, bundles, folders of bundles, files of `edgeq check`.

    A measurement whose bundle is not among them is looked for in the folders `places`.
    Raises UsageError for a source that is none of these, and what reading them raises.
    """
    measurements: list[Measurement] = []
    bundles: list[Bundle] = []
    checks: list[Check] = []
    for source in sources:
        if source.is_dir():
            bundles += _bundles_in(source)
            continue
        data = read_json(source, MeasurementError, _HINT)
        if isinstance(data, dict) and data.get("schema") == CHECK_SCHEMA:
            checks.append(check_from_json(data, str(source)))
        else:
            measurements += from_json(data, str(source)).measurements
    wanted = {m.model_sha256 for m in measurements}
    nearby = [b for place in places for b in _nearby(place) if _sha256(b) in wanted]
    return gather(measurements, bundles, nearby, checks, history)


def gather(
    measurements: Sequence[Measurement],
    bundles: Sequence[Bundle] = (),
    nearby: Sequence[Bundle] = (),
    checks: Sequence[Check] = (),
    history: Sequence[Entry] = (),
) -> Report:
    """The report on `measurements` and `bundles`, those of the same model and target together.

    `nearby` are bundles that count only for a measurement of theirs. Raises UsageError without
    anything to report.
    """
    floats = {m.speedup.baseline_sha256 for m in measurements if m.speedup}
    mains = [m for m in measurements if m.speedup or m.model_sha256 not in floats]
    left = list(bundles)
    subjects = []
    for m in mains:
        bundle = _bundle_of(m, left) or _bundle_of(m, nearby)
        if bundle in left:
            left.remove(bundle)
        subjects.append(_subject(m, _baseline_of(m, measurements), bundle))
    subjects += [_subject(None, None, bundle) for bundle in left]
    if not subjects and not checks:
        raise UsageError("nothing to report", hint=_HINT)
    return Report(tuple(subjects), tuple(checks), tuple(history))


def _bundles_in(folder: Path) -> list[Bundle]:
    if is_bundle(folder):
        return [open_bundle(folder)]
    found = [open_bundle(inner) for inner in sorted(folder.iterdir()) if is_bundle(inner)]
    if not found:
        raise UsageError(f"{folder}: no bundle, and none in it", hint=_HINT)
    return found


def _nearby(place: Path) -> Iterable[Bundle]:
    """Bundles in `place` that nobody named: one that cannot be opened is none."""
    for folder in sorted(place.iterdir()) if place.is_dir() else ():
        if is_bundle(folder):
            try:
                yield open_bundle(folder)
            except BundleError:
                continue


def _bundle_of(m: Measurement, bundles: Sequence[Bundle]) -> Bundle | None:
    return next(
        (
            b
            for b in bundles
            if _sha256(b) == m.model_sha256
            and (b.manifest["target"], b.manifest["engine"]) == (m.target, m.engine)
        ),
        None,
    )


def _baseline_of(m: Measurement, measurements: Sequence[Measurement]) -> Measurement | None:
    if m.speedup is None:
        return None
    wanted = (m.speedup.baseline_sha256, m.speedup.baseline_scheme, m.target)
    found = ((b.model_sha256, b.scheme, b.target) for b in measurements)
    return next((b for b, key in zip(measurements, found, strict=True) if key == wanted), None)


def _sha256(bundle: Bundle) -> str:
    return str(bundle.manifest["model"].get("sha256"))


def _subject(m: Measurement | None, baseline: Measurement | None, bundle: Bundle | None) -> Subject:
    facts: Any = m or bundle
    manifest = bundle.manifest if bundle else {}
    name = str(facts.target if m else manifest["target"])
    try:
        described = load_target(name)
    except UsageError:  # A target file of the user's own, which is not named here.
        described = None
    return Subject(
        model=m.model if m else str(manifest["name"]),
        scheme=m.scheme if m else str(manifest["scheme"]),
        target=name,
        engine=m.engine if m else str(manifest["engine"]),
        measurement=m,
        baseline=baseline,
        manifest=bundle.manifest if bundle else None,
        inspection=_inspection(bundle, described) if bundle else None,
        described=described,
    )


def _inspection(bundle: Bundle, target: Target | None) -> Inspection:
    graph = read_graph(bundle.tflite, bundle.name)
    targets = [target] if target else []
    compiled = None
    if bundle.manifest["engine"] == "aot" and not find_gaps(graph, load_table("aot")):
        try:
            compiled = inspect_memory(graph, targets)
        except (DoesNotFit, ModelError):  # Another edgeq's bundle: the memory is not drawn.
            compiled = None
    return inspect_graph(graph, bundle.name, targets, compiled)


def _ticks_by_operator(
    operators: Sequence[OperatorFact], layers: Sequence[LayerProfile]
) -> dict[int, float]:
    """Operator index -> ticks. On a device a layer has the end of its operator's name."""
    if len(layers) == len(operators):
        pairs = zip(operators, layers, strict=True)
        return {o.index: layer.ticks for o, layer in pairs}
    found: dict[int, float] = {}
    left = list(operators)
    for layer in layers:
        fits = [o for o in left if (o.name, True) == (layer.op, o.layer.endswith(layer.name))]
        if fits:
            found[fits[0].index] = layer.ticks
            left = left[left.index(fits[0]) + 1 :]
    return found


def _tables(value: Any, key: str) -> list[Mapping[str, Any]]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return [t for t in found if isinstance(t, dict)] if isinstance(found, list) else []


def _number(table: Mapping[str, Any] | None, key: str) -> float | None:
    value = table.get(key) if table else None
    return float(value) if isinstance(value, (int, float)) else None
