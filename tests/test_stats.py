"""Numbers against formulas and simulation; each verdict on a series made for it."""

import math

import numpy as np
import pytest

from edgeq.measurement import Environment, State
from edgeq.stats import block_ratio, judge, median_interval, summarize


def series(count=200, spread=0.01, seed=0, centre=100_000):
    return np.random.default_rng(seed).normal(centre, centre * spread, count)


def test_summary_of_known_values():
    s = summarize([5, 1, 2, 3, 4])
    assert (s.count, s.first, s.min, s.max, s.mean, s.median) == (5, 5, 1, 5, 3, 3)
    assert s.std == pytest.approx(math.sqrt(2.5))
    assert s.mad == 1
    # Type 7: position (n - 1) p, so 5 % of 1..5 lies 0.2 after the first.
    assert (s.p5, s.p95, s.p99) == pytest.approx((1.2, 4.8, 4.96))
    assert s.median_interval is None


def test_summary_of_one_value_has_no_spread():
    s = summarize([7])
    assert (s.first, s.median, s.p99, s.std, s.mad) == (7, 7, 7, 0, 0)


@pytest.mark.parametrize(
    ("count", "low", "high", "confidence"),
    [
        # Tables of the sign test, e.g. Conover 1999, table A3.
        (6, 1, 6, 0.96875),
        (10, 2, 9, 0.97852),
        (20, 6, 15, 0.95861),
        (50, 18, 33, 0.96716),
        (100, 40, 61, 0.96480),
    ],
)
def test_median_interval_takes_the_tabled_ranks(count, low, high, confidence):
    interval = median_interval(np.random.default_rng(1).permutation(np.arange(1, count + 1)))
    assert (interval.low, interval.high) == (low, high)
    assert interval.confidence == pytest.approx(confidence, abs=1e-5)


def test_median_interval_of_many_values_is_near_the_normal_approximation():
    interval = median_interval(np.arange(1_000_001))
    assert interval.low == pytest.approx(500_000 - 1.96 * 500, abs=3)
    assert 0.95 <= interval.confidence < 0.951


@pytest.mark.parametrize("draw", ["exponential", "normal", "uniform", "standard_cauchy"])
def test_median_interval_holds_the_true_median_as_often_as_it_says(draw):
    random = np.random.default_rng(2)
    true = {"exponential": math.log(2), "uniform": 0.5}.get(draw, 0.0)
    hits = 0
    for _ in range(2000):
        interval = median_interval(getattr(random, draw)(size=30))
        hits += interval.low <= true <= interval.high
    assert 0.945 < hits / 2000 < 0.975  # 0.957 by the binomial distribution


def test_block_ratio_is_blind_to_a_slowdown_that_hits_both():
    random = np.random.default_rng(3)
    slower = np.linspace(1, 2, 10)
    base = [random.normal(3000, 30, 20) * s for s in slower]
    fast = [random.normal(1000, 10, 20) * s for s in slower]
    value, interval = block_ratio(base, fast)
    assert value == pytest.approx(3, rel=0.01)
    assert 2.95 < interval.low <= value <= interval.high < 3.05


def test_block_ratio_of_few_blocks_has_no_interval():
    assert block_ratio([[2, 2]] * 5, [[1, 1]] * 5) == (2.0, None)


STEADY = {
    "normal noise": lambda: series(),
    "fifty runs": lambda: series(50, 0.02),
    "twenty runs": lambda: series(20),
    "a few outliers": lambda: np.where(np.arange(200) % 23 == 5, 3, 1) * series(),
    "one collection of garbage": lambda: np.r_[series(99), [2_000_000], series(100)],
    "a slow start": lambda: np.r_[np.linspace(2, 1, 10) * 100_000, series(190)],
    "a long right tail": lambda: 100_000 + np.random.default_rng(1).exponential(4000, 500),
    "wide but one mode": lambda: series(2000, 0.12),
    "uniform": lambda: np.random.default_rng(1).uniform(80_000, 120_000, 2000),
    "no noise at all": lambda: np.full(50, 7_700_402),
    "two neighbouring ticks": lambda: np.where(np.arange(100) % 3 == 0, 22, 21),
    "neighbours that depend on each other": lambda: np.convolve(
        series(520, 0.04), np.full(20, 1 / 20), "valid"
    ),
}


@pytest.mark.parametrize("name", STEADY)
def test_steady_series_are_valid(name):
    verdict = judge(STEADY[name]())
    assert verdict.valid, verdict.reasons
    assert verdict.reasons == ()


def alternate(share, factor, count=200, spread=0.01):
    slow = np.random.default_rng(5).random(count) < share
    return series(count, spread) * np.where(slow, factor, 1)


UNSTEADY = {
    "too few runs: 19": lambda: series(19),
    "too few runs for this spread": lambda: series(40, 0.15),
    "drift: the last third": lambda: series() * np.linspace(1, 1.2, 200),
    "faster than the first": lambda: series() * np.linspace(1.2, 1, 200),
    "drift: ": lambda: series(60, 0.02) * np.where(np.arange(60) < 30, 1, 1.07),
    "two modes: 3": lambda: alternate(0.3, 1.15),
    "two modes: ": lambda: alternate(0.7, 1.10),
    "two modes: 5": lambda: np.r_[alternate(0.5, 1.15), [9_000_000]],
    "too coarse: the median is 7 ticks": lambda: np.full(50, 7),
    "did not advance": lambda: np.zeros(50),
}


@pytest.mark.parametrize("reason", UNSTEADY)
def test_unsteady_series_are_invalid_and_say_why(reason):
    verdict = judge(UNSTEADY[reason]())
    assert not verdict.valid
    assert any(reason in r for r in verdict.reasons), verdict.reasons


def test_a_slower_mode_in_a_quarter_of_the_runs_or_less_is_a_note():
    verdict = judge(alternate(0.15, 1.3))
    assert verdict.valid and "two modes: 1" in verdict.notes[0]


def test_a_slower_mode_in_a_tenth_of_the_runs_or_less_is_outliers():
    assert judge(alternate(0.07, 1.3)).valid


def test_false_alarms_are_rare():
    random = np.random.default_rng(6)
    alarms = sum(not judge(random.normal(1e5, 2e3, 50)).valid for _ in range(500))
    alarms += sum(not judge(random.gamma(2, 2e3, 100) + 1e5).valid for _ in range(500))
    assert alarms <= 5


def environment(before=None, after=None, **facts):
    return Environment(before=State(**(before or {})), after=State(**(after or {})), **facts)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (
            environment({"frequency_khz": 2_400_000}, {"frequency_khz": 1_500_000}),
            "throttled: the processor went from 2400 to 1500 MHz",
        ),
        (
            environment({"x86_throttle_count": 10}, {"x86_throttle_count": 12}),
            "reports 2 thermal events",
        ),
        (environment({"pi_throttled": 0}, {"pi_throttled": 0x4}), "reports throttling"),
        (
            environment({"pi_throttled": 0}, {"pi_throttled": 0x10000}),
            "under-voltage (use a stronger power supply)",
        ),
        (environment({"pi_throttled": 0x80008}, {"pi_throttled": 0x80000}), "soft temperature"),
        (environment(threads=1, processor_share=0.7), "had a processor for 70% of the time only"),
        (environment(threads=2, cores=2, busy_elsewhere=1.2), "other work kept 1.2 cores busy"),
    ],
)
def test_the_machine_makes_it_invalid(where, reason):
    verdict = judge(series(), where)
    assert not verdict.valid
    assert reason in verdict.reasons[0]


@pytest.mark.parametrize(
    ("where", "note"),
    [
        (environment(governor="ondemand"), "governor is 'ondemand'"),
        (environment({"temperature_c": 45.0}, {"temperature_c": 61.0}), "from 45 to 61 °C"),
        (environment({"temperature_c": 80.0}, {"temperature_c": 82.0}), "is at 82 °C"),
        (environment(threads=1, cores=4, busy_elsewhere=1.5), "kept 1.5 of 4 cores busy"),
        (environment({"load_average": 3.0}, cores=4), "load average was 3.0 on 4 cores"),
    ],
)
def test_what_is_only_worth_knowing_is_a_note(where, note):
    verdict = judge(series(), where)
    assert verdict.valid
    assert note in verdict.notes[0]


def test_a_quiet_machine_gets_no_remarks():
    quiet = environment(
        {"frequency_khz": 1_500_000, "temperature_c": 40.0, "pi_throttled": 0x50000},
        {"frequency_khz": 1_500_000, "temperature_c": 44.0, "pi_throttled": 0x50000},
        governor="performance",
        threads=1,
        cores=4,
        processor_share=0.99,
        busy_elsewhere=0.05,
    )
    verdict = judge(series(), quiet)
    assert verdict.valid
    assert verdict.notes == ()
