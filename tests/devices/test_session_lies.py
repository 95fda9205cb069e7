"""A device whose answers are whole, and lie: no number, and an error that names the port."""

from __future__ import annotations

import pytest
from device_double import Behaviour, Network
from session_bench import bench

from edgeq.errors import (
    DeviceFault,
    StaleFirmware,
    VerificationError,
)

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
