"""The harness's eq commands, and the trailers that number and guard them."""

from __future__ import annotations

import struct
import zlib

import pytest
from harness_link import reply
from harness_program import Open

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
