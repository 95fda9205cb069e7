"""A session over a line that fails in every way that lines fail in.

Each case ends in a right result or in an error that says what is wrong, within its limit, and
never in a wrong number.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from device_double import Behaviour, Network
from fault_proxy import TO_DEVICE, TO_HOST
from session_bench import LIMITS, bench, right, within

from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    Garbage,
    NoReply,
    ProtocolError,
    StaleFirmware,
)
from edgeq.link import Limits

# --- A bad line ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["drop", "flip", "double"])
def test_a_line_that_damages_one_byte_in_2000(kind, seed):
    with bench(seed=seed) as b, within(60):
        setattr(b.proxy, kind, 0.0005)
        m = b.measure()
        right(m)
        assert b.proxy.faults and b.session.damaged
        assert any("damaged" in note for note in m.verdict.notes)


@pytest.mark.parametrize("kind", ["drop", "flip", "double"])
def test_a_line_that_damages_every_20th_byte_is_given_up(kind):
    with bench(limits=replace(LIMITS, attempts=3)) as b, within(60):
        setattr(b.proxy, kind, 0.05)
        with pytest.raises(DeviceError) as e:
            b.measure()
        assert e.value.hint


def test_a_line_that_goes_bad_in_mid_run():
    with bench(limits=replace(LIMITS, attempts=3)) as b, within(60):
        b.proxy.at[TO_HOST][4000] = lambda: setattr(b.proxy, "flip", 0.05)
        with pytest.raises((ProtocolError, NoReply, Garbage)):
            b.measure()


@pytest.mark.parametrize("direction", [TO_HOST, TO_DEVICE])
@pytest.mark.parametrize("place", [300, 900, 2000, 3100])
def test_a_cut_of_200_bytes(direction, place):
    """Several commands long, when it is on the way to the device."""
    with bench(limits=replace(LIMITS, open=8.0)) as b, within(30):
        b.proxy.at[direction][place] = lambda: b.proxy.cut(direction, 200)
        right(b.measure())
        assert b.proxy.faults == 1


@pytest.mark.parametrize("place", range(1200, 1280, 7))
def test_one_lost_byte_anywhere_in_a_command(place):
    with bench() as b, within(30):
        b.proxy.at[TO_DEVICE][place] = lambda: b.proxy.cut(TO_DEVICE, 1)
        right(b.measure())


def test_a_slow_line():
    """9600 baud, and a USB hub that holds everything back."""
    with bench() as b, within(60):
        b.proxy.rate, b.proxy.latency = 4800, 0.02
        right(b.measure(runs=16), runs=16)


def test_answers_later_than_the_line_is_quiet():
    """What is late for one command must not be taken for the answer to the next."""
    with bench(limits=replace(LIMITS, reply=0.3)) as b, within(60):
        b.proxy.at[TO_HOST][2500] = lambda: time.sleep(1.0)
        b.proxy.at[TO_HOST][5500] = lambda: time.sleep(0.5)
        right(b.measure())
        assert b.session.damaged >= 1


def test_a_burst_of_noise_in_mid_run():
    with bench() as b, within(30):
        b.proxy.at[TO_HOST][3000] = lambda: b.proxy.send(bytes(range(256)) * 40)
        right(b.measure())


def test_a_megabyte_without_a_newline_in_mid_run():
    with bench() as b, within(60):
        b.proxy.at[TO_HOST][3000] = lambda: b.proxy.send(b"\xf0" * 1_000_000)
        right(b.measure())
        assert b.proxy.faults == 1


def test_a_flood_that_does_not_end():
    with bench() as b, within(30):

        def flood() -> None:
            b.device.behaviour.noise = b"\x00\xff" * 500

        b.proxy.at[TO_HOST][3000] = flood
        with pytest.raises(Garbage, match="noise"):
            b.measure()


# --- A device that goes away -----------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 500, 3000, 6000])
def test_an_unplugged_cable(place):
    with bench() as b, within(10):
        b.proxy.at[TO_HOST][place] = b.proxy.unplug
        with pytest.raises(DeviceLost) as e:
            b.measure()
        assert "edgeq devices" in e.value.hint


def test_an_unplugged_cable_while_we_write():
    with bench() as b, within(10):
        b.proxy.at[TO_DEVICE][700] = b.proxy.unplug
        with pytest.raises(DeviceLost):
            b.measure()


@pytest.mark.parametrize("command", [2, 4, 7, 10, 15, 18, 21, 22])
def test_a_restart_in_mid_line_starts_the_run_over_once(command):
    with bench(Behaviour(restart_at={command})) as b, within(20):
        m = b.measure()
        right(m)
        assert b.device.restarts == 1
        assert len(b.notices) == 1 and "starts over" in b.notices[0]
        assert any("restarted" in note for note in m.verdict.notes)


@pytest.mark.parametrize("command", [4, 7, 10, 15, 21])
def test_a_restart_that_nobody_announces_gives_no_wrong_number(command):
    """The banner is lost; what tells is that the device forgot its inputs."""
    with bench(Behaviour(restart_at={command}, restart_without_banner=True)) as b, within(30):
        right(b.measure())


def test_a_device_that_comes_back_with_another_model_is_refused():
    with bench() as b, within(20), b.session as session:
        session.check_model(b.expected)
        b.device.network = Network(sha256="ab" * 32)
        b.device.restart_now = True
        with pytest.raises(StaleFirmware, match="runs another firmware"):
            session.infer(b.expected.golden.inputs[0])


def test_a_device_that_faults_again_and_again():
    behaviour = Behaviour(restart_at=set(range(7, 1000)), fault="HardFault pc=0x08001234")
    with bench(behaviour) as b, within(30), pytest.raises(DeviceFault) as e:
        b.measure()
    assert "HardFault pc=0x08001234" in e.value.message


def test_two_restarts_are_one_too_many():
    with bench(Behaviour(restart_at={7, 28})) as b, within(30):
        with pytest.raises(DeviceFault, match="restarted 2 times"):
            b.measure()


@pytest.mark.parametrize("command", [3, 6, 15])
def test_a_device_that_hangs(command):
    with bench(Behaviour(hang_at=command)) as b, within(30):
        with pytest.raises(NoReply, match="stopped answering"):
            b.measure()


@pytest.mark.parametrize("command", [5, 7, 10, 15])
def test_an_inference_has_a_time_limit_whatever_happens_meanwhile(command):
    limits = Limits(open=60.0, reply=60.0, inference=60.0, quiet=0.1)
    with bench(Behaviour(hang_at=command), limits=limits) as b, b.session as session:
        session.check_model(b.expected)
        with within(5), pytest.raises(NoReply, match="within 1 s") as e:
            for sample in b.expected.golden.inputs:
                session.infer(sample, time_limit=1.0)
        assert "--time-limit" in e.value.hint


def test_a_long_inference_is_waited_for():
    """Longer than a reply may take: the first is given time, the others by what it took."""
    limits = replace(LIMITS, reply=0.3, inference=5.0)
    with bench(Behaviour(seconds_an_inference=1.0), limits=limits) as b, within(60):
        right(b.measure(runs=2, warmup=0), runs=2)
