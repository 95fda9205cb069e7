"""A session on a sound line: opening, proof, measurement, and the wrong firmware."""

from __future__ import annotations

import numpy as np
import pytest
from device_double import Behaviour, Network, is_tick
from fault_proxy import TO_HOST
from session_bench import bench, right, within

from edgeq.errors import (
    DeviceFault,
    Garbage,
    MeasurementError,
    NoReply,
    StaleFirmware,
    UsageError,
    VerificationError,
)
from edgeq.link import Limits
from edgeq.profile import profile_columns, profile_rows
from edgeq.targets import load_target

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
