"""Samples to numbers: summary, interval, ratio, and whether they may be trusted. Pure.

Everything is by rank (medians, order statistics), since latencies have a long right tail and
are never normal; see Hoefler and Belli, "Scientific Benchmarking of Parallel Computing Systems",
SC 2015, doi:10.1145/2807591.2807644.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeq.measurement import Environment, Interval, Summary, Verdict

CONFIDENCE = 0.95
"""Of every interval: the least probability that it holds the true value."""

MIN_RUNS = 20
MAX_INTERVAL = 0.05
"""Width of the median's interval, as a share of the median, above which more runs are needed."""

MAX_DRIFT = 0.05
"""Last third's median against the first third's."""

MIN_MODE_DISTANCE = 0.08
"""Between two modes' centres, as a share of the median, for them to count as two."""

MIN_MODE_SHARE = 0.10
"""Of the samples, in the smaller mode, for it to be worth a note."""

MAX_MODE_SHARE = 0.25
"""Above it the median is no longer well inside the larger mode and may flip from run to run. A
timer tick of the operating system is a mode of its own for runs of a tenth of a millisecond."""

MODE_SIGNIFICANCE = 0.01
"""Chance that a distribution with one mode shows as deep a valley as two modes must."""

MIN_PROCESSOR_SHARE = 0.90
"""Of a processor, that a process with one thread must have had."""

MAX_FREQUENCY_DROP = 0.10
WARM_C = 80.0
"""Where Raspberry Pis start to slow down, and phones long have."""

MAX_WARMING_C = 10.0

LOW_BATTERY_PERCENT = 20.0

Numbers = NDArray[np.float64]


def summarize(values: ArrayLike) -> Summary:
    """`values`, in the order they were measured, in numbers of their own unit.

    Percentiles interpolate linearly between ranks (Hyndman and Fan 1996, type 7, as numpy does).
    `std` is the sample standard deviation (n - 1), `mad` the median of |x - median|, not scaled.
    `median_interval` is that of `median_interval()`.
    """
    data = np.asarray(values, np.float64)
    p5, median, p95, p99 = (float(p) for p in np.percentile(data, (5, 50, 95, 99)))
    return Summary(
        count=data.size,
        first=float(data[0]),
        min=float(data.min()),
        max=float(data.max()),
        mean=float(data.mean()),
        median=median,
        p5=p5,
        p95=p95,
        p99=p99,
        std=float(data.std(ddof=1)) if data.size > 1 else 0.0,
        mad=float(np.median(np.abs(data - median))),
        median_interval=median_interval(data),
    )


def median_interval(values: ArrayLike) -> Interval | None:
    """The median's confidence interval, whatever the distribution; None below 6 values.

    [x(k), x(n + 1 - k)] of the sorted values, with the largest k for which
    1 - 2 P(B <= k - 1) >= 0.95, B ~ Binomial(n, 1/2), since each value falls below the true
    median with probability 1/2 (Conover, Practical Nonparametric Statistics, 3rd ed. 1999, 3.2).
    It takes the values as independent: what drifts has to be found by `judge`.
    """
    data = np.sort(np.asarray(values, np.float64))
    rank, outside = _median_rank(data.size)
    if rank == 0:
        return None
    return Interval(float(data[rank - 1]), float(data[-rank]), 1 - outside)


def block_ratio(
    numerators: Sequence[ArrayLike], denominators: Sequence[ArrayLike]
) -> tuple[float, Interval | None]:
    """How many times the one is the other, from blocks measured in alternation; with interval.

    Each pair of neighbouring blocks gives the ratio of its two medians; the result is the median
    of these ratios with its `median_interval`. What slows the machine for longer than a block
    hits both of a pair and cancels, and samples within a block need not be independent.
    """
    ratios = [
        float(np.median(np.asarray(n)) / np.median(np.asarray(d)))
        for n, d in zip(numerators, denominators, strict=False)
    ]
    return float(np.median(ratios)), median_interval(ratios)


def judge(samples: ArrayLike, environment: Environment | None = None) -> Verdict:
    """Whether the median of `samples`, in the order they were measured, may be quoted.

    A coarse clock, few or scattered runs, drift, two modes, throttling and a processor shared
    with other work each make it invalid, with a reason; what is only worth knowing is a note.
    """
    data = np.asarray(samples, np.float64)
    modes, share = _two_modes(data)
    reasons = [_too_coarse(data), _too_few(data), _drift(data)]
    notes: list[str | None] = []
    (reasons if share > MAX_MODE_SHARE else notes).append(modes)
    if environment:
        reasons += [_emulated(environment), _slowed(environment), _throttled(environment)]
        reasons += [_hot(environment), _shared(environment)]
        notes += [_governor(environment), _heat(environment), _other_work(environment)]
        notes += [_battery(environment)]
    found = tuple(r for r in reasons if r)
    return Verdict(not found, found, tuple(n for n in notes if n))


def slowdown(samples: ArrayLike) -> float:
    """How many times as long the last tenth of `samples` took as the first, by their medians."""
    data = np.asarray(samples, np.float64)
    tenth = max(1, data.size // 10)
    first = float(np.median(data[:tenth]))
    return float(np.median(data[-tenth:])) / first if first else 1.0


def _median_rank(count: int) -> tuple[int, float]:
    """The k of `median_interval` (0: none), and the probability left outside."""
    rank, outside, total = 0, 1.0, 0.0
    # Ranks further than 6 square roots (12 standard deviations) out carry less than 1e-30.
    for below in range(max(0, int(count / 2 - 6 * math.sqrt(count))), count // 2):
        total += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(below + 1)
            - math.lgamma(count - below + 1)
            - count * math.log(2)
        )
        if 2 * total > 1 - CONFIDENCE:
            break
        rank, outside = below + 1, 2 * total
    return rank, outside


def _too_coarse(data: Numbers) -> str | None:
    median = float(np.median(data))
    if median == 0:
        return "the clock did not advance: the median is 0 ticks"
    if 1 / median > MAX_INTERVAL:
        return (
            f"the clock is too coarse: the median is {median:g} ticks, one more is {1 / median:.0%}"
        )
    return None


def _too_few(data: Numbers) -> str | None:
    if data.size < MIN_RUNS:
        return f"too few runs: {data.size}, at least {MIN_RUNS} are needed"
    interval, median = median_interval(data), float(np.median(data))
    if interval is None or interval.high - interval.low <= MAX_INTERVAL * median:
        return None
    width = (interval.high - interval.low) / median if median else math.inf
    return (
        f"too few runs for this spread: the median's {CONFIDENCE:.0%} interval is "
        f"{width:.1%} of it wide, {MAX_INTERVAL:.0%} is allowed"
    )


def _drift(data: Numbers) -> str | None:
    """First third against last third; clear when the intervals of their medians are apart."""
    third = data.size // 3
    early, late = data[:third], data[data.size - third :]
    before, after = median_interval(early), median_interval(late)
    if before is None or after is None:
        return None
    base = float(np.median(early))
    change = float(np.median(late)) / base - 1 if base else 0.0
    apart = before.high < after.low or after.high < before.low
    if abs(change) <= MAX_DRIFT or not apart:
        return None
    word = "slower" if change > 0 else "faster"
    return f"drift: the last third is {abs(change):.1%} {word} than the first"


def _two_modes(data: Numbers) -> tuple[str | None, float]:
    """Two centres, far enough apart, with a valley between them; and the smaller one's share.

    The centres are the medians on both sides of the split of the sorted values that leaves the
    least variance within (two-means, exact in one dimension). A density with one mode is, in
    the middle between any two places, at least as high as at the lower of them. So among the
    values in equally wide windows round the middle and round the emptier centre, the middle's
    have probability 1/2 or more, and a count too low for that (binomial test) is a valley.
    """
    if data.size < MIN_RUNS:
        return None, 0.0
    median = float(np.median(data))
    ordered = np.sort(data)
    low, high = _two_centres(ordered)
    distance = high - low
    # Neighbouring ticks of a coarse clock are not modes.
    if distance <= MIN_MODE_DISTANCE * median or distance <= 2:
        return None, 0.0
    left, middle, right = (
        _within(ordered, centre, distance / 6) for centre in (low, (low + high) / 2, high)
    )
    emptier = min(left, right)
    if _at_most(middle, middle + emptier) > MODE_SIGNIFICANCE:
        return None, 0.0
    slower = float(np.mean(data > (low + high) / 2))
    share = min(slower, 1 - slower)
    if share <= MIN_MODE_SHARE:
        return None, 0.0
    longer = high / max(low, 1) - 1
    text = f"two modes: {slower:.0%} of the runs take {longer:.0%} longer than the others"
    if share > MAX_MODE_SHARE:
        text += ", so the median depends on how often each comes up"
    return text, share


def _two_centres(ordered: Numbers) -> tuple[float, float]:
    # Outliers would draw the split to themselves: leave half of the smallest mode off each end.
    cut = int(ordered.size * MIN_MODE_SHARE / 2)
    inner = ordered[cut : ordered.size - cut]
    sums = np.cumsum(inner)
    left = np.arange(1, inner.size)
    right = inner.size - left
    between = left * right * ((sums[-1] - sums[:-1]) / right - sums[:-1] / left) ** 2
    split = cut + 1 + int(np.argmax(between))
    return float(np.median(ordered[:split])), float(np.median(ordered[split:]))


def _within(ordered: Numbers, centre: float, reach: float) -> int:
    first = np.searchsorted(ordered, centre - reach, "left")
    return int(np.searchsorted(ordered, centre + reach, "right") - first)


def _at_most(successes: int, trials: int) -> float:
    """P(B <= successes), B ~ Binomial(trials, 1/2)."""
    if trials == 0:
        return 1.0
    if trials > 1000:  # The normal approximation is exact enough from here on.
        return 0.5 * math.erfc((trials - 2 * successes - 1) / math.sqrt(2 * trials))
    return float(sum(math.comb(trials, k) for k in range(successes + 1)) / 2**trials)


def _slowed(environment: Environment) -> str | None:
    before, after = environment.before.frequency_khz, environment.after.frequency_khz
    if not before or not after or after >= (1 - MAX_FREQUENCY_DROP) * before:
        return None
    return f"throttled: the processor went from {before / 1000:.0f} to {after / 1000:.0f} MHz"


def _throttled(environment: Environment) -> str | None:
    before, after = environment.before, environment.after
    if before.x86_throttle_count is not None and after.x86_throttle_count is not None:
        events = after.x86_throttle_count - before.x86_throttle_count
        if events > 0:
            return f"throttled: the processor reports {events} thermal events during the run"
    if after.pi_throttled is not None:
        # Bits 0 to 3 hold now, 16 to 19 the same since boot.
        happened = after.pi_throttled & ~(before.pi_throttled or 0)
        bits = (after.pi_throttled | (before.pi_throttled or 0)) & 0xF | (happened >> 16) & 0xF
        found = [name for i, name in enumerate(_PI_LIMITS) if bits >> i & 1]
        if found:
            return f"throttled: the Raspberry Pi's firmware reports {', '.join(found)}"
    return None


_PI_LIMITS = (
    "under-voltage (use a stronger power supply)",
    "a capped frequency",
    "throttling",
    "its soft temperature limit",
)
"""Bits 0 to 3 of `vcgencmd get_throttled` (raspberrypi.com/documentation/computers/os.html)."""


def _emulated(environment: Environment) -> str | None:
    if environment.emulator is None:
        return None
    return f"emulated by {environment.emulator}: its time is not a device's"


def _hot(environment: Environment) -> str | None:
    """Android's PowerManager: from THERMAL_STATUS_MODERATE (2) on, it throttles."""
    status = environment.after.thermal_status
    if status is None or status < 2:
        return None
    return f"throttled: Android's thermal status is {status} of 6"


def _battery(environment: Environment) -> str | None:
    percent = environment.before.battery_percent
    if percent is None or percent >= LOW_BATTERY_PERCENT:
        return None
    return f"the battery is at {percent:.0f} %: phones slow down when it is low"


def _shared(environment: Environment) -> str | None:
    share = environment.processor_share
    if environment.threads == 1 and share is not None and share < MIN_PROCESSOR_SHARE:
        return f"other work: the timed process had a processor for {share:.0%} of the time only"
    busy, cores, threads = environment.busy_elsewhere, environment.cores, environment.threads
    load = environment.before.load_average
    if share is None and busy is None and load is not None and cores and load > cores + 0.5:
        return f"other work: the load average was {load:.1f} on its {cores} cores before the run"
    if busy is not None and cores and threads and busy + threads > cores + 0.5:
        return (
            f"other work kept {busy:.1f} cores busy, and {threads} of the {cores} were to be timed"
        )
    return None


def _governor(environment: Environment) -> str | None:
    if environment.governor in (None, "performance"):
        return None
    return (
        f"the frequency governor is {environment.governor!r}, so the clock may move; "
        "'performance' keeps it"
    )


def _heat(environment: Environment) -> str | None:
    before, after = environment.before.temperature_c, environment.after.temperature_c
    if after is None:
        return None
    if before is not None and after - before > MAX_WARMING_C:
        return (
            f"the processor warmed from {before:.0f} to {after:.0f} °C; longer runs may slow down"
        )
    return f"the processor is at {after:.0f} °C" if after >= WARM_C else None


def _other_work(environment: Environment) -> str | None:
    busy = environment.busy_elsewhere
    if busy is not None and busy > 0.25:
        return f"other work kept {busy:.1f} of {environment.cores or '?'} cores busy meanwhile"
    load, cores = environment.before.load_average, environment.cores
    if busy is None and load is not None and cores and load > cores / 2:
        return f"the load average was {load:.1f} on {cores} cores before the run"
    return None
