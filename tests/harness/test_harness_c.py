"""The harness on this machine, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import re
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from corpus import unpack
from firmware import HERE, RUNTIME
from harness_link import Link, compile_host, process, reply

HARNESS = sorted((RUNTIME / "harness").glob("*.c"))
CORE = sorted((RUNTIME / "core").glob("*.c"))
MODELS = [HERE / "stub_model.c", HERE / "host_models.c"]
INCLUDES = [f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'harness'}", f"-I{HERE}"]
STUB_RUN = 2  # readings of the clock in a timed inference: one tick step between them

HELP = b"""ULPMark for tinyML Firmware V0.0.1

help         : Print this information
name         : Print the name of the device
timestsamp   : Generate a timetsamp
db SUBCMD    : Manipulate a generic byte buffer
  load N     : Allocate N bytes and set load counter
  db HH[HH]* : Load 8-bit hex byte(s) until N bytes
  print [N=16] [offset=0]
             : Print N bytes at offset as hex
infer N [W=0]: Load input, execute N inferences after W warmup loops
results      : Return the result fp32 vector"""  # codespell:ignore timestsamp,timetsamp


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("host") / "harness_host"
    sources = [HERE / "harness_host.c", *MODELS, *HARNESS, *CORE]
    return compile_host(output, sources, "-std=c11", *INCLUDES)


Open = Callable[..., Link]


@pytest.fixture
def start(program: Path) -> Iterator[Open]:
    """start("stub", "bits=24") is a harness behind its boot banner."""
    with ExitStack() as stack:

        def begin(model: str = "stub", *options: str, banner: int = 3) -> Link:
            link = stack.enter_context(process([str(program), model, *options]))
            assert len(link.lines()) == banner
            return link

        yield begin


# --- MLPerf Tiny: exact lines ---


def test_the_banner(program: Path) -> None:
    with process([str(program), "stub"]) as link:
        answer = link.read()
    assert re.fullmatch(
        rb"m-timestamp-mode-performance\r\nm-lap-us-\d+\r\nm-init-done\r\nm-ready\r\n", answer
    )


def test_energy_mode_pulses_a_pin_instead_of_printing_the_time(program: Path) -> None:
    with process([str(program), "stub", "energy"]) as link:
        assert link.read() == b"m-timestamp-mode-energy\r\n(pulse)\r\nm-init-done\r\nm-ready\r\n"
        assert link.command("timestamp") == [b"(pulse)"]
        link.command("db load 4")
        link.command("db 01020304")
        assert link.command("infer 1 0") == [
            *(b"m-warmup-start-0", b"m-warmup-done", b"m-infer-start-1", b"(pulse)", b"(pulse)"),
            *(b"m-infer-done", b"m-results-[1.000,1.500,2.000,2.500]"),
        ]


def test_every_fixed_answer(start: Open) -> None:
    link = start()
    assert link.command("name") == [b"m-name-dut-[edgeq]"]
    assert link.command("profile") == [
        b"m-profile-[ULPMark for tinyML Firmware V0.0.1]",
        b"m-model-[kws01]",
    ]
    assert link.command("help") == HELP.split(b"\n")
    (lap,) = link.command("timestamp")
    assert re.fullmatch(rb"m-lap-us-\d+", lap)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("nonsense", b"e-[Unknown command: nonsense]"),
        ("na", b"e-[Unknown command: na]"),
        ("names", b"e-[Unknown command: names]"),
        ("NAME", b"e-[Unknown command: NAME]"),
        ("infer 0", b"e-[Inference iterations must be >0]"),
        ("infer -1", b"e-[Inference iterations must be >0]"),
        ("infer x", b"e-[Inference iterations must be >0]"),
        ("infer 1 -1", b"e-[Inference warmup must be >=0]"),
        ("db", b"e-[Command 'db' requires a subcommand]"),
        ("db load", b"e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", b"e-[Command 'db load' must be >0 bytes]"),
        ("db load x", b"e-[Command 'db load' must be >0 bytes]"),
        ("db 123", b"e-[Insufficent number of hex digits]"),  # codespell:ignore
        ("db load 4", b"m-[Expecting 4 bytes]"),
        ("  db   load   4   ignored", b"m-[Expecting 4 bytes]"),
        ("db load 4x", b"m-[Expecting 4 bytes]"),
        ("db load +4", b"m-[Expecting 4 bytes]"),
        ("db load 5", b"Supplied buffer size 5 exceeds maximum of 4\n"),
        ("db load -7", b"Supplied buffer size -7 exceeds maximum of 4\n"),
        ("db load 99999999999", b"Supplied buffer size 2147483647 exceeds maximum of 4\n"),
        ("db 00", b"e-[Command 'db load' must come first]"),
    ],
)
def test_every_answer_to_a_bad_or_odd_command(start: Open, command: str, answer: bytes) -> None:
    link = start()
    link.send(command.encode() + b"%")
    assert link.read() == answer + (b"" if answer.endswith(b"\n") else b"\r\n") + b"m-ready\r\n"
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


@pytest.mark.parametrize(("digits", "shown"), [("01xy", "xy"), ("0g", "0g"), ("g0", "g0")])
def test_a_bad_digit_is_named_and_nothing_is_stored(start: Open, digits: str, shown: str) -> None:
    link = start()
    link.command("db load 4")
    assert link.command(f"db {digits}") == [f"e-[Invalid hex digit '{shown}']".encode()]
    assert link.command("db 01020304") == [b"m-load-done"]
    assert link.command("db print") == [b"m-buffer-01-02-03-04", b""]


def test_db_takes_bytes_in_pieces_and_ignores_what_is_too_much(start: Open) -> None:
    link = start("wide")
    assert link.command("db load 11") == [b"m-[Expecting 11 bytes]"]
    assert link.command("db 00aA") == []
    assert link.command("db FF01020304050607") == []
    assert link.command("db 0809zz!") == [
        b"e-[Insufficent number of hex digits]"  # codespell:ignore
    ]
    assert link.command("db 0809zz!!") == [b"m-load-done"]
    assert link.command("db 77") == [b"e-[Command 'db load' must come first]"]
    assert link.command("db print 3 5") == [
        b"m-buffer-00-aa-ff-01-02-03-04-05",
        b"m-buffer-06-07-08",
        b"",
    ]
    assert link.command("db load 8") == [b"m-[Expecting 8 bytes]"]
    assert link.command("db 1011121314151617") == [b"m-load-done"]
    assert link.command("db print") == [b"m-buffer-10-11-12-13-14-15-16-17"]


def test_a_refused_db_load_leaves_nothing_to_write_to(start: Open) -> None:
    link = start("wide")
    link.command("db load 12")
    assert link.command("db load 27648")[0].startswith(b"Supplied buffer size 27648")
    assert link.command("db " + "ff" * 20) == [b"e-[Command 'db load' must come first]"]
    assert link.command("db print") == []


def test_infer_says_and_does_what_the_reference_does(start: Open) -> None:
    link = start("stub", "step=100")
    link.command("db load 4")
    link.command("db 0405fe80")
    lines = link.command("infer 3 2")
    laps = [int(line[9:]) for line in lines if line.startswith(b"m-lap-us-")]
    assert lines == [
        *(b"m-warmup-start-2", b"m-warmup-done", b"m-infer-start-3"),
        *(b"m-lap-us-%d" % lap for lap in laps),
        *(b"m-infer-done", b"m-results-[2.500,3.000,-0.500,-63.500]"),
    ]
    # One reading of the clock for each inference and one for the line, 100 us each.
    assert laps[1] - laps[0] == 400
    assert link.command("results") == [b"m-results-[2.500,3.000,-0.500,-63.500]"]


def test_infer_without_numbers_runs_once_after_ten(start: Open) -> None:
    link = start()
    link.command("db load 4")
    link.command("db 00000000")
    assert link.command("infer")[0] == b"m-warmup-start-10"
    assert b"m-infer-start-1" in link.command("infer")
    assert link.command("infer 2")[:3] == [
        b"m-warmup-start-10",
        b"m-warmup-done",
        b"m-infer-start-2",
    ]


@pytest.mark.parametrize(("sent", "shown"), [("", 0), ("0102", 2)])
def test_an_input_that_did_not_come_whole_is_reported(start: Open, sent: str, shown: int) -> None:
    link = start()
    if sent:
        link.command("db load 4")
        link.command(f"db {sent}")
    link.send(b"infer 1 0%")
    first, rest = link.read().split(b"\n", 1)
    assert first == b"Input db has %d elemented, expected 4" % shown
    assert rest.startswith(b"m-warmup-start-0\r\n")


# --- Kinds of input ---


def test_pixels_lose_128_on_the_device(start: Open) -> None:
    link = start("pixels")
    assert link.eq("info").one("input-kind") == "uint8"
    pixels = bytes([0, 1, 127, 128, 129, 255, 7, 8, 9, 10, 11, 12])
    link.command("db load 12")
    link.command(f"db {pixels.hex()}")
    assert link.command("db print")[0] == b"m-buffer-00-01-7f-80-81-ff-07-08"
    (line,) = [x for x in link.command("infer 1 0") if x.startswith(b"m-results")]
    expected = ",".join(f"{p / 256:.3f}" for p in pixels)
    assert line == f"m-results-[{expected}]".encode()
    assert link.out() == bytes((p - 128) % 256 for p in pixels)


def quantized(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The reference's QuantizeFloatToInt8: C's round, away from zero."""
    steps = (values / np.float32(scale)).astype(np.float64)
    rounded = np.sign(steps) * np.floor(np.abs(steps) + 0.5)
    return np.clip(rounded + zero_point, -128, 127).astype(np.int8)


def test_floats_are_quantized_and_answered_by_their_error(start: Open) -> None:
    link = start("auto")
    rng = np.random.default_rng(1)
    for values in (
        np.array([0.25, -0.25, 0.2499, 61.9, -1e30, 2.0], np.float32),
        np.array([1e30, np.inf, -np.inf, 61.25, -66.25, -66.3], np.float32),
        rng.standard_normal(6).astype(np.float32) * 30,
    ):
        link.command("db load 24")
        assert link.command(f"db {values.tobytes().hex()}") == [b"m-load-done"]
        lines = link.command("infer 1 0")
        steps = quantized(values, 0.5, 4)
        output = steps.copy()
        output[5] = (int(output[5]) + 1 + 128) % 256 - 128
        assert np.frombuffer(link.out(), np.int8).tolist() == output.tolist()
        total = np.float32(0)
        with np.errstate(over="ignore"):
            for q, value in zip(output, values, strict=True):
                difference = np.float32(np.float32(int(q) - 4) * np.float32(0.5)) - value
                total = np.float32(total + np.float32(difference * difference))
            error = np.float32(total / np.float32(6))
        assert lines[-1] == f"m-results-[{error:.3f}]".encode()


def test_a_nan_becomes_zero(start: Open) -> None:
    link = start("auto")
    link.command("db load 24")
    link.command(f"db {struct.pack('<6f', *[float('nan')] * 6).hex()}")
    assert link.command("infer 1 0")[-1] == b"m-results-[nan]"
    assert link.out() == bytes([4, 4, 4, 4, 4, 5])


def test_floats_for_a_network_that_is_no_autoencoder_still_give_its_output(start: Open) -> None:
    link = start("floats")
    link.command("db load 48")
    link.command(f"db {bytes(24).hex()}")
    link.command(f"db {bytes(24).hex()}")
    assert link.command("infer 1 0")[-1] == b"m-results-[0.000]"


# --- The extension ---


def test_info_names_everything(start: Open) -> None:
    link = start("stub", "line=200", "batch=9", "bits=24")
    info = link.eq("info")
    assert info.fields == [
        ("protocol", "1"),
        ("abi", "1"),
        ("status", "0,ok"),
        ("engine", "aot"),
        ("target", "host"),
        ("board", "host"),
        ("tick-source", "made-up"),
        ("tick-unit", "cycles"),
        ("tick-hz", "1000000"),
        ("tick-bits", "24"),
        ("tick-overhead", "7"),
        ("tick-moves", "1"),
        ("line", "200"),
        ("chunk", "72"),
        ("batch", "9"),
        ("input-kind", "raw"),
    ]


def test_the_chunk_that_info_names_fits_with_the_longest_trailer(start: Open) -> None:
    link = start("wide", "line=128")
    chunk = int(link.eq("info").one("chunk"))
    data = bytes(chunk)
    head = f"eq load 65535 4294967295 {data.hex()} {zlib.crc32(data):08x} #4294967295"
    command = f"{head}*{zlib.crc32(head.encode()):08x}"
    assert len(command) in (127, 128)
    answer = reply(link.command(command))
    assert (answer.error, answer.number) == (-13, "4294967295")


def test_model_names_every_tensor(start: Open) -> None:
    model = start("many").eq("model")
    assert model.one("name") == "many %5bof%5d them%2c 100%25%0a%c3%a4"
    assert model.one("sha256") == "00"
    assert (model.one("layers"), model.one("arena"), model.one("weights")) == (
        *("70", "80"),
        "1234567",
    )
    assert model.all("input") == [
        "0,int8,3,3,3f800000,0,first",
        "1,int16,8,2x2,3a83126f,0,second",
    ]
    assert [t.split(",")[1] for t in model.all("output")] == [
        *("int8", "int16", "int32", "int64", "uint8", "bool", "float32", "?"),
    ]
    assert model.all("output")[0] == "0,int8,2,2,3dcccccd,-3,a"
    assert model.all("output")[7] == "7,?,1,,00000000,0,h"


def test_load_run_and_out_return_the_input(start: Open) -> None:
    link = start()
    data = bytes([1, 255, 128, 7])
    assert link.load(data).fields == [("loaded", "0,0,4")]
    run = link.eq("run 10 2")
    assert run.one("run") == f"10,2,{zlib.crc32(data):08x}"
    assert run.all("ticks") == ["0,7,7,7,7", "4,7,7,7,7", "8,7,7"]
    assert run.one("same") == f"10,{zlib.crc32(data):08x}"
    assert link.out() == data
    assert link.eq("out 0 1 2").fields == [
        ("out", "0,1,ff80"),
        ("out-crc", f"0,1,2,{zlib.crc32(data[1:3]):08x}"),
    ]
    assert link.eq("out 0 4").fields == [("out-crc", "0,4,0,00000000")]


def test_load_writes_pieces_into_any_input(start: Open) -> None:
    link = start("many")
    second = struct.pack("<4h", 1, -2, 3, -4)
    link.load(b"\x05\x06\x07")
    assert link.load(second[5:], 1, 5).fields == [("loaded", "1,5,3")]
    link.load(second[:5], 1)
    run = link.eq("run 1")
    assert run.one("run") == f"1,0,{zlib.crc32(bytes([5, 6, 7]) + second):08x}"
    assert link.out(0) == bytes([5, 6])
    assert link.out(1) == second[:4]
    assert link.out(2) == struct.pack("<2i", 1, -4)
    assert link.out(4)[:1] == bytes([7])


def test_long_outputs_come_in_lines(start: Open) -> None:
    link = start("many")
    link.eq("run 1")
    assert [t.split(",")[:2] for t in link.eq("out 3").all("out")] == [["3", "0"]]
    assert link.out(3) == struct.pack("<2q", 0, 2**63 - 1)


def test_prof_has_every_layer_of_every_inference(start: Open) -> None:
    link = start("many", "batch=32")
    answer = link.eq("prof 3")
    assert answer.one("prof").startswith("3,70,")
    layers = [t.split(",") for t in answer.all("layer")]
    assert [int(t[0]) for t in layers] == list(range(70))
    assert layers[0][1:4] == ["0", "4", "CONV_2D"] and len(layers[0][4]) == 96
    assert layers[1][4] == "weights%5b0%5d%2c%25"
    found = {}
    for text in answer.all("layer-ticks"):
        run, first, *ticks = map(int, text.split(","))
        assert len(ticks) <= 8
        for layer, tick in enumerate(ticks, first):
            assert (run, layer) not in found
            found[run, layer] = tick
    assert sorted(found) == [(run, layer) for run in range(3) for layer in range(70)]
    assert set(found.values()) == {7}


def test_layers_have_the_crc_of_what_each_wrote(start: Open) -> None:
    answer = start("many").eq("layers")
    assert answer.one("layers").startswith("70,")
    assert answer.all("layer-crc") == [f"{i},4,{zlib.crc32(bytes([i]) * 4):08x}" for i in range(70)]


def test_reset_forgets_the_state_and_runs_do_not(start: Open) -> None:
    link = start("many")
    assert link.eq("run 3 2").one("same").startswith("1,")  # The state is in the output.
    assert link.out(4)[1] == 5
    link.eq("layers")
    link.eq("prof 1")  # In windows of 4 of 70 layers: 18 inferences.
    assert link.out(4)[1] == 5 + 1 + 18
    assert link.eq("reset").fields == [("reset", "1")]
    link.eq("run 1")
    assert link.out(4)[1] == 1
    assert start("stub").eq("reset").fields == [("reset", "0")]


def test_mem_adds_up_the_harness(start: Open) -> None:
    link = start("auto", "line=200", "batch=9")
    small = start("auto", "line=130", "batch=1")
    answer = link.eq("mem")
    assert answer.one("stack") == "5,0" and answer.one("flash") == "0,1000"
    assert answer.one("ram") == "0,0" and answer.one("arena") == "16"
    assert int(answer.one("harness")) - int(small.eq("mem").one("harness")) == 70 + 8 * 8
    assert [n for n, _ in answer.fields] == [
        *("arena", "weights", "harness", "stack", "flash", "ram", "data", "bss"),
    ]


def test_help_lists_every_command(start: Open) -> None:
    texts = start().eq("help").all("help")
    assert [t.split()[1].rstrip(":") for t in texts] == [
        *("info", "model", "load", "run", "prof", "layers", "out", "mem", "reset", "help"),
    ]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("", -10),
        ("nonsense", -10),
        ("INFO", -10),
        ("info 1", -11),
        ("load 0 0 00", -11),
        ("load 0 0 00 00000000 1", -11),
        ("run", -11),
        ("run 1 2 3", -11),
        ("out", -11),
        ("out 0 0 0 0", -11),
        ("run x", -12),
        ("run -1", -12),
        ("run 1x", -12),
        ("run 4294967296", -12),
        ("run 1 +1", -12),
        ("prof 0x1", -12),
        ("load a 0 00 d202ef8d", -12),
        ("load 0 b 00 d202ef8d", -12),
        ("out c", -12),
        ("out 0 d", -12),
        ("out 0 0 e", -12),
        ("run 0", -13),
        ("run 1000001", -13),
        ("run 1 1000001", -13),
        ("prof 0", -13),
        ("prof 10001", -13),
        ("load 1 0 00 d202ef8d", -13),
        ("load 65536 0 00 d202ef8d", -13),
        ("load 0 4 00 d202ef8d", -13),
        ("load 0 5 00 d202ef8d", -13),
        ("load 0 4294967295 00 d202ef8d", -13),
        ("load 0 3 0000 41d912ff", -13),
        ("load 0 0 0000000000 2ffb2ba0", -15),
        ("load 0 0 0000000000 c622f71d", -13),
        ("out 1", -13),
        ("out 65536", -13),
        ("out 0 5", -13),
        ("out 0 0 5", -13),
        ("out 0 4 1", -13),
        ("out 0 1 4294967295", -13),
        ("load 0 0 0 d202ef8d", -14),
        ("load 0 0 0g d202ef8d", -14),
        ("load 0 0 g0 d202ef8d", -14),
        ("load 0 0 00 d202ef8", -14),
        ("load 0 0 00 d202ef8dd", -14),
        ("load 0 0 00 d202ef8x", -14),
        ("load 0 0 00 d202ef8e", -15),
        ("load 0 0 01 d202ef8d", -15),
    ],
)
def test_every_refusal_has_its_code_and_no_effect(start: Open, command: str, code: int) -> None:
    link = start()
    data = bytes([9, 8, 7, 6])
    link.load(data)
    link.eq("run 1")
    answer = link.eq(command)
    assert (answer.error, answer.number) == (code, "-")
    assert answer.fields[-1][0] == "error"
    assert link.eq("run 1").one("run") == f"1,0,{zlib.crc32(data):08x}"


def test_out_needs_an_inference(start: Open) -> None:
    link = start()
    assert link.eq("out 0").error == -17
    link.command("infer 1 0")
    assert link.out() == bytes(4)


def test_a_run_that_asks_for_too_much_only_says_so(start: Open) -> None:
    assert start().eq("run 1000001").fields == [("error", "-13,out of range")]


# --- Trailers ---


def signed(command: str, number: int | str) -> str:
    head = f"eq {command} #{number}"
    return f"{head}*{zlib.crc32(head.encode()):08x}"


@pytest.mark.parametrize("number", [0, 1, 4294967295])
def test_a_trailer_comes_back(start: Open, number: int) -> None:
    link = start()
    assert reply(link.command(signed("info", number))).number == str(number)
    upper = signed("info", number)
    answer = reply(link.command(upper[:-8] + upper[-8:].upper() + "  "))
    assert (answer.number, answer.error) == (str(number), None)
    assert link.eq("info").number == "-"


def test_a_damaged_command_has_no_effect(start: Open) -> None:
    link = start()
    good = signed("run 1 1", 17)
    for at in range(3, len(good)):
        for bit in range(7):
            damaged = bytearray(good.encode())
            damaged[at] ^= 1 << bit
            if damaged[at] in b"%\r\n":
                continue
            link.send(bytes(damaged) + b"%")
            answer = reply(link.lines())
            if bytes(damaged).lower() == good.encode():
                continue  # A hex digit's case.
            assert answer.error is not None, damaged
            assert not answer.all("run"), damaged


@pytest.mark.parametrize(
    "trailer",
    ["#", "#1", "#*", "#1*", "#*00000000", "#x*00000000", "#1*0000000", "#4294967296*00000000"],
)
def test_a_malformed_trailer_is_refused(start: Open, trailer: str) -> None:
    answer = start().eq(f"info {trailer}")
    assert (answer.error, answer.number) == (-15, "-")
    assert [n for n, _ in answer.fields] == ["error"]


def test_a_begun_command_can_be_abandoned(start: Open) -> None:
    link = start()
    link.send(b"eq run 1000000")
    answer = reply(link.command(" #"))
    assert answer.error == -15 and len(answer.fields) == 1


# --- Lines ---


def test_an_empty_command_is_answered(start: Open) -> None:
    link = start()
    for command in ("", "   ", "\r\n", "\n"):
        assert link.command(command) == []


def test_a_person_may_press_enter(start: Open) -> None:
    link = start()
    assert link.command("name\r\n") == [b"m-name-dut-[edgeq]"]
    assert link.command("\r\nna\nme") == [b"m-name-dut-[edgeq]"]
    link.send(b"\n")
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


@pytest.mark.parametrize("size", [128, 160, 640])
def test_the_longest_command_and_one_byte_more(start: Open, size: int) -> None:
    link = start("stub", f"line={size}")
    assert link.command("name".ljust(size)) == [b"m-name-dut-[edgeq]"]
    assert link.command("name".ljust(size + 1)) == [b"e-[Command too long]"]
    assert link.command("name".rjust(size)) == [b"m-name-dut-[edgeq]"]


def test_a_flood_of_noise_is_one_line(start: Open) -> None:
    link = start()
    noise = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8).tobytes()
    link.send(noise.replace(b"%", b"&"))
    assert link.command("") == [b"e-[Command too long]"]
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


def test_random_bytes_are_answered_line_by_line(start: Open) -> None:
    link = start("stub", "lost=254")
    noise = np.random.default_rng(2).integers(0, 256, 100_000, np.uint8).tobytes()
    link.send(noise)
    for _ in range(noise.count(b"%")):
        for line in link.lines():
            assert line.isascii() and line.decode().isprintable()
    link.command("")
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


def test_an_unknown_command_is_shown_short_and_clean(start: Open) -> None:
    link = start()
    assert link.command("x" * 81) == [b"e-[Unknown command: " + b"x" * 80 + b"]"]
    assert link.command(b"a\x00\x1b\x7f\x80\xffb") == [b"e-[Unknown command: a?????b]"]
    assert link.command(b"name\x00") == [b"e-[Unknown command: name?]"]


def test_a_line_that_lost_bytes_has_no_effect(start: Open) -> None:
    link = start("stub", "lost=255")
    for line in (b"\xffname", b"na\xffme", b"name\xff", b"\xff", b"x" * 500 + b"\xff", b"\xff" * 9):
        assert link.command(line) == [b"e-[Receive overrun]"]
        assert link.command("name") == [b"m-name-dut-[edgeq]"]


@pytest.mark.parametrize(
    "command", ["eq run 1000000", "eq run 1 1000000", "eq prof 10000", "eq run 1000 1000000"]
)
def test_a_host_that_gives_up_is_heard(start: Open, command: str) -> None:
    link = start("many")
    link.send(f"{command}%\r\n".encode())
    time.sleep(0.1)
    link.send(b" #%")
    answer = reply(link.lines())
    assert answer.error == -19 and not answer.all("same")
    assert link.lines() == [b"e-[Unknown command: #]"]
    assert link.eq("run 2").error is None


@pytest.mark.parametrize("command", ["infer 2147483647 0", "infer 1 2147483647"])
def test_a_host_that_gives_up_on_infer_is_heard(start: Open, command: str) -> None:
    link = start("many")
    link.send(f"{command}%".encode())
    time.sleep(0.1)
    link.send(b"name%")
    assert link.lines()[-1] == b"e-[Interrupted]"
    assert link.lines() == [b"m-name-dut-[edgeq]"]


def test_enter_behind_a_command_does_not_interrupt_it(start: Open) -> None:
    link = start("many")
    link.send(b"eq run 20000 5%\r\n")
    run = reply(link.lines(60))
    assert (run.error, len(run.all("ticks"))) == (None, 5000)
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


def test_commands_sent_without_waiting_are_answered_in_order(start: Open) -> None:
    link = start()
    link.send(b"name%profile%" * 50)
    for _ in range(50):
        assert link.lines() == [b"m-name-dut-[edgeq]"]
        assert len(link.lines()) == 2


# --- Time ---


@pytest.mark.parametrize("bits", [8, 16, 24, 32, 33, 64])
def test_a_wrap_within_an_inference_does_not_show(start: Open, bits: int) -> None:
    for first in range(2**bits - 64, 2**bits, 9):
        link = start("stub", f"bits={bits}", f"first={first}")
        ticks = [t.split(",")[1:] for t in link.eq("run 20").all("ticks")]
        assert {t for line in ticks for t in line} == {"7"}


def test_long_counts_are_printed_whole(start: Open) -> None:
    link = start("stub", "bits=64", f"step={10**19}")
    assert link.eq("run 1").one("ticks") == f"0,{10**19}"
    link = start("stub", "bits=40", f"step={2**40 - 1}")
    assert link.eq("run 1").one("ticks") == f"0,{2**40 - 1}"


def test_microseconds_go_on_over_wraps_of_the_counter(start: Open) -> None:
    link = start("stub", "bits=8", "step=101")
    before = int(link.command("timestamp")[0][9:])
    for _ in range(10):
        now = int(link.command("timestamp")[0][9:])
        assert (now - before) % 101 == 0 and 0 < now - before < 101 * 40
        before = now


def test_microseconds_wrap_at_32_bits(start: Open) -> None:
    link = start("stub", "bits=64", f"step={2**32 - 1}")
    for _ in range(5):
        lap = int(link.command("timestamp")[0][9:])
        assert 0 <= lap < 2**32


def test_a_clock_that_stands_still_is_an_error(start: Open) -> None:
    link = start("stub", "step=0")
    assert link.eq("info").one("tick-moves") == "0"
    run = link.eq("run 10")
    assert run.error == -16 and not run.all("same")
    assert link.eq("prof 2").error == -16
    assert b"e-[Time stands still]" in link.command("infer 1 0")


def test_a_clock_that_stops_later_is_an_error(start: Open) -> None:
    link = start("stub", "bits=8", "step=256")  # Differences of 256 ticks in 8 bits are 0.
    assert link.eq("run 1").error == -16


# --- Models and configurations that must not start ---


@pytest.mark.parametrize(
    ("model", "code", "text"),
    [
        ("foreign", -1, "model and runtime have different versions"),
        ("cramped", -2, "arena too small"),
    ],
)
def test_a_model_that_cannot_start_says_why(start: Open, model: str, code: int, text: str) -> None:
    link = start(model, banner=4)
    complaint = f"e-[Model: {text}]".encode()
    assert link.eq("info").one("status") == f"{code},{text}"
    for command in ("model", "load 0 0 00 d202ef8d", "run 1", "prof 1", "layers", "out 0", "mem"):
        assert link.eq(command).error == code
    assert link.eq("reset").error == code
    assert link.command("infer") == [complaint]
    assert link.command("results") == [complaint]
    assert link.command("db load 1") == [b"Supplied buffer size 1 exceeds maximum of 0"]
    assert link.command("name") == [b"m-name-dut-[edgeq]"]


@pytest.mark.parametrize(
    "options",
    [
        ("short",),
        ("short-db",),
        ("stub", "line=127"),
        ("stub", "batch=0"),
        ("stub", "bits=7"),
        ("stub", "bits=65"),
    ],
)
def test_a_bad_configuration_is_refused(program: Path, options: tuple[str, ...]) -> None:
    done = subprocess.run([program, *options], input=b"name%", capture_output=True, timeout=20)
    assert done.returncode == 0 and done.stderr == b""
    assert b"e-[a null pointer or a buffer too small in the configuration]\r\n" in done.stdout
    assert b"m-ready" not in done.stdout


# --- Parts ---


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], list[str]]:
    names = ["eq_real.c", "eq_reply.c", "eq_text.c"]
    output = tmp_path_factory.mktemp("real") / "real_host"
    sources = [HERE / "real_host.c", *(RUNTIME / "harness" / n for n in names), *CORE]
    program = compile_host(output, sources, "-std=c11", *INCLUDES)

    def ask(lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout.split()

    return ask


def test_a_float_is_printed_as_c_does(real: Callable[[list[str]], list[str]]) -> None:
    rng = np.random.default_rng(3)
    bits = np.concatenate(
        [
            rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32),
            (rng.standard_normal(20_000) * 2).astype(np.float32).view(np.uint32),
            # Ties: odd multiples of 1/16 end in a 5 at the fourth digit, of 2^-12 do not.
            (np.arange(-2000, 2000) / np.float32(16)).astype(np.float32).view(np.uint32),
            (np.arange(-8000, 8000) / np.float32(2000)).astype(np.float32).view(np.uint32),
            np.array([0, 0x80000000, 0x7F7FFFFF, 0xFF7FFFFF, 1, 0x80000001], np.uint32),
            np.array([0x7F800000, 0xFF800000, 0x3A03126F, 0x3A031270], np.uint32),
        ]
    )
    values = bits.view(np.float32)
    expected = [f"{float(v):.3f}" for v in values]
    assert real([f"f {b:x}" for b in bits]) == expected


def test_a_scaled_integer_is_the_float_product(real: Callable[[list[str]], list[str]]) -> None:
    rng = np.random.default_rng(4)
    steps = np.concatenate(
        [
            rng.integers(-256, 256, 10_000),
            rng.integers(-65536, 65536, 5_000),
            rng.integers(-(2**32), 2**32, 5_000),
            np.array([0, 2**24 + 1, 2**24 + 3, -(2**25) - 2, 2**32, -(2**32)]),
        ]
    )
    scales = rng.uniform(1e-5, 1, len(steps)).astype(np.float32)
    scales[::7] *= -1
    products = steps.astype(np.float32) * scales
    lines = [f"s {n} {s:x}" for n, s in zip(steps, scales.view(np.uint32), strict=True)]
    assert real(lines) == [f"{float(p):.3f}" for p in products]


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [("dwt", "dwt 32 1 1"), ("none", "systick 56 0 0"), ("systick", "systick 56 0 0")],
)
def test_ticks_are_right_wherever_a_wrap_falls(tmp_path: Path, kind: str, chosen: str) -> None:
    """On made-up registers: QEMU has no DWT, and never shows a wrap between two accesses."""
    ports = f"-I{RUNTIME / 'ports' / 'cortex-m'}"
    program = compile_host(
        tmp_path / "ticks", [HERE / "ticks_host.c"], "-std=c11", *INCLUDES, ports
    )
    for seed in range(1, 5):
        done = subprocess.run([program, kind, str(seed)], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, chosen), done.stderr


def test_the_corpus_of_the_fuzzer(tmp_path: Path) -> None:
    sources = [HERE / "fuzz_harness.c", *MODELS, *HARNESS, *CORE]
    program = compile_host(
        tmp_path / "replay", sources, "-std=c11", "-D_GNU_SOURCE", "-DREPLAY", *INCLUDES
    )
    corpus = unpack(tmp_path / "corpus")
    assert len(corpus) > 20
    done = subprocess.run([program, *corpus], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{len(corpus)} files\n"), done.stderr


def test_the_worked_exchange_of_protocol_md(start: Open) -> None:
    """What PROTOCOL.md shows is what the harness says, to the byte but for m-lap-us."""
    text = (RUNTIME / "PROTOCOL.md").read_text().split("## A worked exchange")[1]
    block = text.split("```")[1].strip("\n").splitlines()
    link = start("stub", "line=640", "batch=64")
    answer: list[bytes] = []
    commands = 0
    for line in block:
        if line.startswith("> "):
            assert answer == []
            answer = [*link.command(line[2:].removesuffix("%")), b"m-ready"]
            commands += 1
        else:
            said, lap = answer.pop(0).decode(), "m-lap-us-"
            # How often the clock was read before is chance.
            assert said == line or (said.startswith(lap) and line.startswith(lap))
    assert answer == [] and commands >= 6
