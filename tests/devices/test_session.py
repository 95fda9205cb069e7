"""A session over a line that fails in every way that lines fail in.

Each case ends in a right result or in an error that says what is wrong, within its limit, and
never in a wrong number.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
from device_double import Behaviour, DeviceDouble, Network, is_tick
from fault_proxy import TO_DEVICE, TO_HOST, FaultProxy

from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    Garbage,
    MeasurementError,
    NoReply,
    ProtocolError,
    StaleFirmware,
    UsageError,
    VerificationError,
)
from edgeq.expected import Expected
from edgeq.golden import Golden
from edgeq.link import Limits
from edgeq.profile import profile_columns, profile_rows
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.transports.serial import SerialTransport

BOARD = load_target("nucleo-f446re")

SLOW = 4

LIMITS = Limits(open=3.0, reply=1.0, inference=2.0, quiet=0.06, patience=60.0)
"""Short ones: the double answers within a millisecond."""


def expected(network: Network, samples: int = 3) -> Expected:
    random = np.random.default_rng(1)
    inputs = [
        tuple(random.integers(-128, 128, (1, n), np.int8) for n in network.inputs)
        for _ in range(samples)
    ]
    outputs = [
        tuple(
            np.frombuffer(o, np.int8).reshape(1, -1)
            for o in network.run([v.tobytes() for v in sample], 0)
        )
        for sample in inputs
    ]
    golden = Golden(tuple(inputs), tuple(outputs), "the double", (0,) * len(network.outputs))
    return Expected(
        name=network.name,
        sha256=hashlib.sha256(b"tiny").hexdigest(),
        scheme="int8",
        engine="aot",
        golden=golden,
        how_to_flash="edgeq flash build/it",
        layer_crcs=lambda sample, _: network.layer_crcs([v.tobytes() for v in sample]),
    )


@dataclass
class Bench:
    device: DeviceDouble
    proxy: FaultProxy
    session: Session
    expected: Expected
    notices: list[str]
    trace: list[tuple[float, str, str]]

    def measure(self, runs: int = 40, warmup: int = 2):
        with self.session:
            return self.session.measure(self.expected, runs, warmup)


@contextmanager
def bench(
    behaviour: Behaviour | None = None,
    network: Network | None = None,
    limits: Limits = LIMITS,
    seed: int = 0,
    instruction_hz: float | None = None,
) -> Iterator[Bench]:
    network = network or Network()
    device = DeviceDouble(network, behaviour)
    proxy = FaultProxy(device.fd, seed)
    notices: list[str] = []
    trace: list[tuple[float, str, str]] = []
    session = Session(
        BOARD,
        SerialTransport(proxy.name, instruction_hz=instruction_hz),
        limits=limits,
        trace=lambda *line: trace.append(line),
        notice=notices.append,
    )
    try:
        yield Bench(device, proxy, session, expected(network), notices, trace)
    finally:
        session.close()
        proxy.close()
        device.close()


def right(measurement, runs: int = 40) -> None:
    """Whether every number is one that the device counted."""
    assert len(measurement.samples) == runs == sum(measurement.blocks)
    assert all(is_tick(s) for s in measurement.samples)
    assert measurement.first is not None and is_tick(measurement.first)
    assert (measurement.checks.count, measurement.checks.equal) == (3, 3)
    assert measurement.unit == "cycles" and measurement.tick_hz == 480e6


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """On a machine that does nothing else; a busy one is given SLOW times as long."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SLOW * seconds


# --- A sound line ----------------------------------------------------------------------------


def test_a_measurement():
    with bench(limits=Limits()) as b:
        b.proxy.latency = 0.01  # The double counts more than it computes; the line takes the time.
        m = b.measure()
        right(m)
        assert m.model_sha256 == b.expected.sha256 and m.engine == "aot"
        assert m.environment.device == "double [of, a] board" and m.environment.cpu == "cortex-m4"
        assert m.warmup_runs == 2 and m.blocks == (16, 16, 8)
        assert {x.name: x.value for x in m.metrics} == {
            "arena": 1000, "weights": 2000, "stack": 500, "flash": 30000, "ram": 9000
        }  # fmt: skip
        assert m.verdict.valid and not m.verdict.notes
        assert not b.notices and b.session.damaged == 0


def test_a_profile_and_memory():
    with bench() as b, b.session:
        profile = b.session.profile(b.expected, runs=5)
        assert [layer.ticks for layer in profile.layers] == [i * 10 for i in range(20)]
        assert (profile.runs, profile.unit, profile.tick_hz) == (5, "cycles", 480e6)
        rows = profile_rows(profile)
        assert len(profile_columns(profile)) == len(rows[0])
        assert rows[3][:5] == ["3", "CONV_2D", "conv 3", "30", "1.6%"]
        memory = b.session.memory()
        assert (memory.stack_used, memory.stack_size, memory.data) == (500, 4096, None)


def test_an_emulator_counts_instructions_and_has_no_time():
    with bench(instruction_hz=1e9) as b:
        m = b.measure()
        assert m.unit == "instructions" and m.tick_hz is None
        assert all(is_tick(round(s * 0.48)) for s in m.samples)
        with b.session:
            profile = b.session.profile(b.expected)
        assert profile.unit == "instructions" and profile.tick_hz is None


@pytest.mark.parametrize("target", ["mps2-an386", "cortex-m4"])
def test_an_emulator_that_we_did_not_start_is_not_measured(target):
    with bench(Behaviour(other={"board": "mps2-an386", "target": target})) as b:
        b.session.target = load_target(target)
        with pytest.raises(MeasurementError, match="did not start"):
            b.measure()


def test_inferences_for_an_evaluation():
    with bench() as b, b.session as session:
        session.check_model(b.expected)
        random = np.random.default_rng(9)
        for _ in range(20):
            sample = tuple(random.integers(-128, 128, (1, n), np.int8) for n in (300, 40))
            got = session.infer(sample)
            wanted = Network().run([v.tobytes() for v in sample], 0)
            assert [v.tobytes() for v in got] == wanted
            assert got[0].shape == (1, 12) and got[0].dtype == np.int8


def test_the_trace_has_lines_and_times():
    with bench() as b:
        b.measure(runs=1, warmup=0)
        times = [t for t, _, _ in b.trace]
        assert times == sorted(times)
        assert any(d == ">" and text.startswith("eq run 1 0 #") for _, d, text in b.trace)
        assert any(d == "<" and text == "m-ready" for _, d, text in b.trace)


def test_a_network_with_a_past_is_reset_before_each_golden_vector():
    with bench(network=Network(keeps_state=True)) as b:
        right(b.measure())


def test_runs_out_of_range():
    with bench() as b:
        with pytest.raises(UsageError):
            b.session.measure(b.expected, runs=0)


# --- Opening ---------------------------------------------------------------------------------


def test_a_board_that_restarts_when_the_port_opens():
    with bench(Behaviour(boot_seconds=1.5)) as b:
        right(b.measure())
        assert not b.notices


def test_half_a_command_of_someone_before_us():
    with bench() as b:
        b.device._line += b"eq run 1000000 1000"
        right(b.measure())


def test_noise_before_the_first_word():
    with bench() as b:
        b.proxy.at[TO_HOST][1] = lambda: b.proxy.send(bytes(range(256)) * 4 + b"m-rea")
        right(b.measure())


def test_nothing_at_all():
    with bench(Behaviour(silent=True)) as b, within(9), pytest.raises(NoReply) as e:
        b.measure()
    assert "says nothing" in e.value.message and "edgeq flash" in e.value.hint


def test_a_wrong_baud_rate():
    noise = bytes(i * 73 % 256 for i in range(40))
    with bench(Behaviour(talk=noise)) as b, within(12), pytest.raises(Garbage) as e:
        b.measure()
    assert "--baud" in e.value.hint


def test_another_firmware():
    with bench(Behaviour(talk=b"temperature 21.5\r\n")) as b, within(12):
        with pytest.raises(Garbage) as e:
            b.measure()
    assert "'temperature 21.5'" in e.value.message


def test_a_firmware_of_mlperfs_alone():
    with bench(Behaviour(only_mlperf=True)) as b, within(12):
        with pytest.raises(StaleFirmware, match="MLPerf"):
            b.measure()


def test_a_newer_protocol():
    with bench(Behaviour(version=2)) as b, pytest.raises(StaleFirmware, match="version 2"):
        b.measure()


def test_a_flood_of_noise_when_opening():
    with bench(Behaviour(noise=bytes(range(128, 256)) * 8)) as b, within(12):
        with pytest.raises(Garbage, match="noise"):
            b.measure()


# --- The wrong thing on the board ------------------------------------------------------------


def test_a_stale_model_is_refused():
    with bench(network=Network(sha256="ab" * 32)) as b, pytest.raises(StaleFirmware) as e:
        b.measure()
    assert "tiny abababab" in e.value.message
    assert e.value.hint == "edgeq flash build/it"
    assert b.device.inferences == 0


@pytest.mark.parametrize(("fact", "value"), [("engine", "tflm"), ("target", "nucleo-l4r5zi")])
def test_another_engine_or_target_is_refused(fact, value):
    with bench(Behaviour(other={fact: value})) as b:
        with pytest.raises(StaleFirmware, match=f"{value}.*, not engine aot for nucleo"):
            b.measure()


def test_a_model_that_cannot_start():
    with bench(Behaviour(status=-2)) as b, pytest.raises(DeviceFault, match="arena too small"):
        b.measure()


def test_a_wrong_output_names_the_first_layer_that_differs():
    with bench(Behaviour(wrong_layer=7)) as b, pytest.raises(VerificationError) as e:
        b.measure()
    assert "golden input 0, output output 1, index [0, 0]" in e.value.message
    assert "first layer that differs is 7: CONV_2D conv 7" in e.value.message
    assert "nothing was timed" in e.value.message


def test_an_output_that_is_wrong_once_is_no_stable_device():
    with bench(Behaviour(wrong_output_at=2)) as b:
        with pytest.raises(DeviceFault, match="two outputs for one input"):
            b.measure()


def test_an_output_that_changes_while_timed_gives_no_number():
    with bench(Behaviour(wrong_output_at=20)) as b:
        with pytest.raises(VerificationError, match="1 of 16 timed inferences"):
            b.measure()


def test_a_clock_that_stands_still():
    with bench(Behaviour(clock_stands=True)) as b, pytest.raises(DeviceFault, match="clock"):
        b.measure()


def test_a_clock_that_goes_wrong_is_no_valid_measurement():
    """10 kHz by its own word, so that it counts minutes of inferences in a moment."""
    with bench(Behaviour(other={"tick-hz": "10000"})) as b:
        m = b.measure()
        assert not m.verdict.valid
        assert any("clock is wrong" in reason for reason in m.verdict.reasons)


# --- Answers that are whole, and lie --------------------------------------------------------


def without(start: str):
    return lambda lines: [line for line in lines if not line.startswith(start)]


def instead(start: str, other: str):
    return lambda lines: [other if line.startswith(start) else line for line in lines]


def replaced(before: str, after: str):
    return lambda lines: [line.replace(before, after) for line in lines]


def profile_of_layers(count: int):
    def lie(lines: list[str]) -> list[str]:
        inputs = lines[0].rpartition(",")[2]
        layers = [f"layer-[{i},1,2,ADD,x]" for i in range(count)]
        ticks = [f"layer-ticks-[0,{i},5]" for i in range(count)]
        return [f"prof-[1,{count},{inputs}", *layers, *ticks, lines[-1] if count else SAME_0]

    return lie


SAME_0 = "same-[0,00000000]"


@pytest.mark.parametrize(
    ("verb", "lie", "error", "complaint"),
    [
        ("model", without("input"), StaleFirmware, r"inputs of \[\] bytes, not \[300, 40\]"),
        ("model", without("output"), StaleFirmware, r"outputs of \[\] bytes, not \[12, 1500\]"),
        ("model", replaced("12,1x12", "0,0x12"), StaleFirmware, r"outputs of \[0, 1500\]"),
        ("model", replaced("sha256-[", "sha256-[x"), StaleFirmware, "eq model is not understood"),
        ("load", replaced(",0,", ",1,"), DeviceFault, "eq load took other bytes"),
        ("run", without("same"), StaleFirmware, "eq run is not understood"),
        ("run", replaced("ticks-[0,", "ticks-[0,-"), StaleFirmware, "eq run is not understood"),
        ("run", replaced("same-[1,", "same-[9,"), StaleFirmware, "9 of 1 inferences"),
        ("run", replaced("ticks-[0,", "ticks-[0,9000000000"), DeviceFault, "s for one inference"),
        ("out", instead("out-crc", "out-crc-[0,0,12,00000000]"), StaleFirmware, "eq out is not"),
        ("mem", instead("ram", "ram-[5,1]"), StaleFirmware, "m-eq-ram: 5 of 1 bytes"),
        ("mem", lambda _: ["error-[-10,no%0a%1b[31m]"], DeviceFault, r"no\\x0a\\x1b\[31m"),
    ],
)
def test_a_lie_is_no_number_and_its_error_names_the_port(verb, lie, error, complaint):
    with bench(Behaviour(lies={verb: lie})) as b:
        with pytest.raises(error, match=complaint) as e:
            b.measure()
        assert b.proxy.name in e.value.message and e.value.hint
        assert b.session.damaged == 0


@pytest.mark.parametrize("hz", ["0", "1000000000001", "9223372036854775807"])
def test_a_clock_that_no_results_file_may_have_is_refused(hz):
    with bench(Behaviour(other={"tick-hz": hz})) as b:
        with pytest.raises(StaleFirmware, match=f"eq info .*{hz} ticks a second") as e:
            b.measure()
        assert e.value.hint


def test_a_name_with_a_newline_stays_on_its_line():
    with bench(network=Network(name="it\nerror: all fine", sha256="ab" * 32)) as b:
        with pytest.raises(StaleFirmware) as e:
            b.measure()
    assert r"it\x0aerror: all fine abab" in e.value.message


@pytest.mark.parametrize("count", [0, 2, 21])
def test_a_wrong_output_is_told_of_even_where_the_profile_lies(count):
    behaviour = Behaviour(wrong_layer=7, lies={"prof": profile_of_layers(count)})
    with bench(behaviour) as b, pytest.raises(VerificationError) as e:
        b.measure()
    assert "golden input 0, output output 1, index [0, 0]" in e.value.message
    assert f"not known: {b.proxy.name}: eq prof has {count} layers" in e.value.message


@pytest.mark.parametrize("verb", ["prof", "layers"])
def test_a_wrong_output_is_told_of_even_where_the_layers_are_refused(verb):
    behaviour = Behaviour(wrong_layer=7, lies={verb: lambda _: ["error-[-10,no]"]})
    with bench(behaviour) as b, pytest.raises(VerificationError) as e:
        b.measure()
    assert f"refuses eq {verb}: no (-10)" in e.value.message


@pytest.mark.parametrize("count", [0, 2, 21])
def test_a_profile_has_as_many_layers_as_the_model(count):
    with bench(Behaviour(lies={"prof": profile_of_layers(count)})) as b, b.session as session:
        with pytest.raises(DeviceFault, match=f"eq prof has {count} layers, its model 20"):
            session.profile(b.expected, runs=1)


def test_a_profile_of_wrong_outputs_is_none():
    with bench(Behaviour(wrong_layer=7)) as b, b.session as session:
        with pytest.raises(VerificationError, match="golden input 0"):
            session.profile(b.expected)


@pytest.mark.parametrize("same", ["same-[5,12345678]", "same-[1,12345678]"])
def test_a_profile_whose_outputs_change_is_none(same):
    with bench(Behaviour(lies={"prof": instead("same", same)})) as b, b.session as session:
        with pytest.raises(VerificationError, match="5 of 5 timed inferences"):
            session.profile(b.expected)


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
