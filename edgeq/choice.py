"""Which way to calibrate suits a network: several are tried, on samples that none of them saw.

What decides is the SQNR of the worst output. It is continuous, and every sample adds to it: on a
few dozen it is known to a fraction of a dB, where one right answer more or less of as many says
nothing. Answers only veto. A way is kept if its gain over min-max is MIN_GAIN_DB and twice its own
standard error at least, if no output is worse, and if, where the two disagree, min-max is not right
too often to be chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.biases import weighted_layers, with_corrected_biases, with_measured_biases
from edgeq.calibration import Calibration, rescaled
from edgeq.conversion import Conversion, convert
from edgeq.equalization import NAME as EQUALIZATION
from edgeq.equalization import equalized
from edgeq.errors import ConversionError, DataError, EdgeqError
from edgeq.integers import find_violations
from edgeq.isolation import Worker
from edgeq.judging import MIN_GAIN_DB, Judge, Measured, call_jury, objection, work_of
from edgeq.models import Model
from edgeq.ranges import AUTO, METHODS, ranges_by
from edgeq.repairs import Repair, repairs_named
from edgeq.samples import Samples
from edgeq.tflite import read_graph
from edgeq.verification import Fidelity

MIN_SAMPLES = 8
"""To choose on, at least."""

MOST_CONFIRMED = 4
"""Ways that look better than min-max at first and are measured on all samples, the best first."""

CORRECTION_WORK = 1e10
"""As judging.WORK: what measuring every layer's output, one after the other, may take."""

LARGE = 1e8
"""Work of one inference, in judging's unit, from which AUTO tries LARGE_METHODS alone: a trial of
such a network takes half a second, and none of benchmarks/accuracy.py's kept any other."""

LARGE_METHODS = ("percentile-99.9",)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Way:
    """To make integers of a network: ranges by `method`, a key of ranges.METHODS, channels
    equalized before or not, biases corrected after or not."""

    method: str = "minmax"
    equalized: bool = False
    bias_correction: bool = False

    @property
    def name(self) -> str:
        parts = [self.method]
        parts += ["equalization"] * self.equalized
        parts += ["bias correction"] * self.bias_correction
        return " + ".join(parts)


@dataclass(frozen=True)
class Trial:
    """One `way`, and how far from float it comes.

    `failed` says why it could not be made, `refused` why it was not kept although it looked good.
    """

    way: Way
    fidelity: tuple[Fidelity, ...] = ()
    failed: str | None = None
    refused: str | None = None

    @property
    def sqnr_db(self) -> float | None:
        """Of the worst output; None when all are equal to float."""
        found = [f.sqnr_db for f in self.fidelity if f.sqnr_db is not None]
        return min(found) if found else None

    @property
    def accuracy(self) -> float | None:
        return self.fidelity[0].accuracy if self.fidelity else None

    @property
    def samples(self) -> int:
        return self.fidelity[0].samples if self.fidelity else 0

    @property
    def name(self) -> str:
        return self.way.name


@dataclass(frozen=True)
class Choice:
    """The `way` kept of those tried, on `samples` samples that no range was learnt from.

    `asked` is what was asked for; `note` says why nothing was measured, where that is so. Trials
    that did not look good at first were measured on a part of the samples. With `before_softmax`,
    SQNR is that of what the SOFTMAX at an output reads.
    """

    asked: str
    way: Way
    samples: int = 0
    trials: tuple[Trial, ...] = ()
    note: str | None = None
    before_softmax: bool = False

    @property
    def method(self) -> str:
        return self.way.method

    @property
    def bias_correction(self) -> bool:
        return self.way.bias_correction

    def facts(self) -> dict[str, Any]:
        """As plain tables, for a manifest."""
        return {
            "asked": self.asked,
            **_facts(self.way),
            "samples": self.samples,
            "before_softmax": self.before_softmax,
            "trials": [
                {
                    **_facts(t.way),
                    "outputs": [{"output": f.output, "sqnr_db": f.sqnr_db} for f in t.fidelity],
                    "accuracy": t.accuracy,
                    "samples": t.samples,
                    "failed": t.failed,
                    "refused": t.refused,
                }
                for t in self.trials
            ],
            "note": self.note,
        }


def _facts(way: Way) -> dict[str, Any]:
    return {
        "method": way.method,
        "equalization": way.equalized,
        "bias_correction": way.bias_correction,
    }


def choose(
    model: Model,
    calibration: Calibration,
    scheme: str,
    judges: Samples | None,
    *,
    method: str = AUTO,
    repairs: frozenset[str] | None = None,
    tensorflow: Worker,
    progress: Progress | None = None,
) -> tuple[Model, Conversion, Choice]:
    """`model` in `scheme`, calibrated by `method`: a key of ranges.METHODS, or AUTO for the best.

    First the ranges, then equalization, if `repairs` allow it (None: they do), then the correction
    of biases are tried, each upon the best so far; where the network is large, on a part of
    `judges`. The best of all are measured on all of them, and the first is kept to which there is
    no objection() beside ranges by `method`, which for AUTO are min-max. The model that comes back
    computes what `model` does, with its channels scaled if that was kept. The `calibration` needs
    distributions, but for min-max. Raises DataError when a `method` that was asked for fails.
    """
    plain = convert(model, calibration, scheme, repairs=repairs, tensorflow=tensorflow)
    if model.learned:
        note = f"the source's own training has set the ranges of {len(model.learned)} activations"
        return model, plain, Choice(method, Way("learned"), note=note)
    if method == "minmax" or calibration.distributions is None:
        return model, plain, Choice(method, Way())
    base = Way() if method == AUTO else Way(method)
    jury = call_jury(model, calibration, judges)
    count = len(jury.samples)
    if count < MIN_SAMPLES:
        made = plain
        if base != Way():
            by = _by(base, calibration, scheme)
            made = convert(model, by, scheme, repairs=repairs, tensorflow=tensorflow)
        note = f"nothing was tried: {count} samples are held out, and {MIN_SAMPLES} are needed"
        return model, made, Choice(method, base, note=note)
    allowed = repairs_named() if repairs is None else repairs
    with Judge(model, jury, plain.graph) as judge:
        search = _Search(model, calibration, plain, allowed, tensorflow, judge, progress)
        search.look(Way())
        if base != Way():
            search.look(base)
            if failure := search.trials[base].failed:
                raise DataError(
                    f"{model.source}: --calibration {method}: {failure}",
                    hint="--calibration auto keeps what works",
                )
        large = work_of(model.graph) > LARGE
        methods = () if method != AUTO else LARGE_METHODS if large else tuple(METHODS)
        found = search.best(base, [Way(m) for m in methods])
        if EQUALIZATION in allowed and search.equalize():
            scaled = {replace(found, equalized=True), replace(base, equalized=True)}
            found = search.best(found, sorted(scaled, key=lambda w: w != found))
        corrected = [replace(w, bias_correction=True) for w in dict.fromkeys((found, base))]
        search.best(found, corrected)
        kept = search.confirmed(base)
    made_of, conversion = search.made[kept]
    trials = tuple(search.trials.values())
    choice = Choice(method, kept, count, trials, before_softmax=judge.before_softmax)
    return made_of, conversion, choice


def _by(way: Way, calibration: Calibration, scheme: str) -> Calibration:
    assert calibration.distributions is not None
    histograms = calibration.distributions.histograms
    ranges = ranges_by(way.method, calibration.ranges, histograms, scheme)
    return replace(calibration, ranges=ranges)


class _Search:
    """What has been tried so far, in order."""

    def __init__(
        self,
        model: Model,
        calibration: Calibration,
        plain: Conversion,
        allowed: frozenset[str],
        tensorflow: Worker,
        judge: Judge,
        progress: Progress | None,
    ) -> None:
        self._starts = {False: (model, calibration)}
        self._plain, self._allowed = plain, allowed
        self._tensorflow, self._judge = tensorflow, judge
        self._progress = progress
        self._first: dict[Way, Measured] = {}
        self.made: dict[Way, tuple[Model, Conversion]] = {}
        self.trials: dict[Way, Trial] = {}

    def equalize(self) -> bool:
        """Whether the model has channels to scale; trials of it are possible then."""
        model, calibration = self._starts[False]
        seen = calibration.distributions
        assert seen is not None
        scaled = equalized(model.tflite, model.graph, seen.groups, seen.spans)
        if scaled is None:
            return False
        graph = read_graph(scaled.tflite, model.source)
        if not self._judge.computes_the_same(scaled.tflite, graph):
            return False
        what = f"channels of {len(scaled.layers)} layers scaled to like ranges, by powers of two"
        repairs = (*model.repairs, Repair(EQUALIZATION, what, scaled.layers))
        better = replace(model, tflite=scaled.tflite, graph=graph, repairs=repairs)
        self._starts[True] = better, rescaled(calibration, scaled.factors)
        return True

    def look(self, way: Way) -> None:
        """Try `way`, with a first look at how far from float it comes."""
        if way in self.trials:
            return
        if self._progress:
            self._progress("choosing ranges", len(self.trials), 0)
        model, _ = self._starts[way.equalized]
        try:
            made = self._convert(way)
            if made is None:
                return
            measured = self._judge.first(made.tflite, made.graph)
        except EdgeqError as e:
            if way == Way():
                raise
            self.trials[way] = Trial(way, failed=e.message)
            return
        self.made[way], self._first[way] = (model, made), measured
        self.trials[way] = Trial(way, measured.fidelity)

    def _convert(self, way: Way) -> Conversion | None:
        """None when there is nothing to correct."""
        if way == Way():
            return self._plain
        model, calibration = self._starts[way.equalized]
        scheme = self._plain.scheme
        if not way.bias_correction:
            by = _by(way, calibration, scheme)
            made = convert(model, by, scheme, repairs=self._allowed, tensorflow=self._tensorflow)
            left, before = (len(find_violations(m.graph)) for m in (made, self._plain))
            if left > before:
                raise ConversionError(f"{left} operators are not integer, {before} by min-max")
            return made
        _, made = self.made[replace(way, bias_correction=False)]
        tflite = self._corrected(model, calibration, made)
        if tflite is None:
            return None
        return replace(made, tflite=tflite, graph=read_graph(tflite, model.source))

    def _corrected(self, model: Model, calibration: Calibration, made: Conversion) -> bytes | None:
        seen = calibration.distributions
        assert seen is not None
        layers = weighted_layers(model.graph)
        if len(layers) * len(seen.kept) * work_of(model.graph) > CORRECTION_WORK or not seen.kept:
            return with_corrected_biases(made.tflite, model.graph, seen.means)
        indexes = [op.outputs[0] for op in layers]
        values = self._judge.values(model.tflite, model.graph, seen.kept, indexes)
        wanted = dict(zip(indexes, values, strict=True))

        def measure(tflite: bytes, index: int) -> NDArray[np.float64]:
            return self._judge.values(tflite, made.graph, seen.kept, [index])[0]

        return with_measured_biases(made.tflite, model.graph, wanted, measure)

    def best(self, start: Way, ways: list[Way]) -> Way:
        """Look at `ways`. The one with the highest SQNR, if MIN_GAIN_DB above `start`; else it."""
        best, level = start, min(self._first[start].levels) + MIN_GAIN_DB
        for way in ways:
            self.look(way)
            if way in self._first and min(self._first[way].levels) > level:
                best, level = way, min(self._first[way].levels)
        return best

    def confirmed(self, base: Way) -> Way:
        """The best of all to which on all samples there is no objection beside `base`, or it."""
        level = min(self._first[base].levels)
        if math.isinf(level):
            return base
        ranked = sorted(
            (
                way
                for way, measured in self._first.items()
                if min(measured.levels) >= level + MIN_GAIN_DB
                and (base == Way() or way.method == base.method)
            ),
            key=lambda way: -min(self._first[way].levels),
        )
        standard = self._full(base)
        for way in ranked[:MOST_CONFIRMED]:
            refused = objection(standard, self._full(way))
            if refused is None:
                return way
            self.trials[way] = replace(self.trials[way], refused=refused)
        return base

    def _full(self, way: Way) -> Measured:
        _, made = self.made[way]
        measured = self._judge.full(made.tflite, made.graph)
        self.trials[way] = replace(self.trials[way], fidelity=measured.fidelity)
        return measured
