"""Outputs against golden ones, and counts against the host's own clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeq.answers import Info
from edgeq.clock import clock_doubts, clock_of
from edgeq.golden import Golden
from edgeq.outputs import compare_outputs, limits_of, tolerances_of

INFO = Info(
    abi=1,
    status=0,
    status_text="ok",
    engine="aot",
    target="t",
    board="b",
    tick_source="dwt",
    tick_unit="cycles",
    tick_hz=25_000_000,
    tick_bits=32,
    tick_overhead=1,
    tick_moves=True,
    line=640,
    chunk=256,
    batch=64,
)


@given(arrays.arrays(np.int8, (2, 3)), st.integers(0, 5), st.integers(-128, 127))
def test_any_other_byte_is_found(wanted, place, value):
    got = wanted.copy()
    got.flat[place] = value
    found = compare_outputs((wanted,), (got,), ["y"], [0.0])
    apart = abs(int(value) - int(wanted.flat[place]))
    assert found.worst == apart
    assert (found.beyond is None) == (apart == 0)
    if found.beyond:
        index = [place // 3, place % 3]
        assert found.beyond == (
            f"output y, index {index}: expected {wanted.flat[place]}, got {value}"
        )


def test_a_tolerance_is_kept_exactly():
    wanted, got = np.array([10, 20], np.int8), np.array([12, 17], np.int8)
    assert compare_outputs((wanted,), (got,), ["y"], [3.0]).beyond is None
    found = compare_outputs((wanted,), (got,), ["y"], [2.0])
    assert found.beyond == "output y, index [1]: expected 20, got 17, tolerance 2"
    assert found.worst == 3


@pytest.mark.parametrize("value", [-0.0, np.nan, np.inf])
def test_floats_are_compared_by_their_bytes(value):
    zero, other = np.zeros(1, np.float32), np.array([value], np.float32)
    assert compare_outputs((zero,), (other,), ["y"], [0.0]).beyond
    assert compare_outputs((other,), (other.copy(),), ["y"], [0.0]) == compare_outputs(
        (), (), [], []
    )


def test_zeros_and_nans_of_other_bytes_are_within_any_tolerance():
    golden = (np.array([0.0, np.nan], np.float32),)
    got = (np.array([-0.0, -np.nan], np.float32),)
    assert golden[0].tobytes() != got[0].tobytes()
    limits = tolerances_of(Golden((golden,), ((golden[0][:1],),), "test", (1,), exact=False))
    found = compare_outputs(golden, got, ["y"], limits)
    assert found.beyond is None and found.worst > 0
    assert compare_outputs(golden, (got[0][::-1],), ["y"], limits).beyond


@pytest.mark.parametrize(
    "got", [(), (np.zeros(2, np.int8), np.zeros(2, np.int8)), (np.zeros(3, np.int8),)]
)
def test_another_form_is_never_equal(got):
    assert compare_outputs((np.zeros(2, np.int8),), got, ["y"], [9.0]).beyond
    assert compare_outputs((np.zeros(2, np.int8),), (np.zeros(2, np.int16),), ["y"], [9.0]).beyond


def test_limits_are_none_for_exact_vectors():
    outputs = ((np.array([1, 2], np.int8), np.array([-64.0], np.float32)),)
    golden = Golden(outputs, outputs, "r", (2, 4), exact=False)
    assert limits_of(golden) == (2.0, 1.0)
    assert limits_of(replace(golden, exact=True)) == (0.0, 0.0)


def test_clocks():
    cycles = clock_of(INFO, None)
    assert (cycles.unit, cycles.tick_hz, cycles.count(141)) == ("cycles", 25e6, 141)
    emulated = clock_of(INFO, 1e9)
    assert (emulated.unit, emulated.tick_hz, emulated.count(141)) == ("instructions", None, 5640)
    timer = clock_of(replace(INFO, tick_unit="ns", tick_hz=1_000_000), None)
    assert (timer.unit, timer.tick_hz, timer.count(7)) == ("ns", 1e9, 7000)


def test_a_clock_is_doubted_by_the_hosts():
    assert clock_doubts(INFO, [25_000] * 100, 0.2) == []
    (doubt,) = clock_doubts(INFO, [250_000] * 100, 0.2)
    assert "counted 1 s of inferences within 0.2 s" in doubt
    (doubt,) = clock_doubts(replace(INFO, tick_bits=24), [1000], 2.0)
    assert "24 bits may have wrapped" in doubt
