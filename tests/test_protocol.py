"""Decoding gives what was sent or raises ProtocolError, and nothing else."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq import answers, protocol
from edgeq.errors import ProtocolError
from edgeq.protocol import Answer, Field, LineReader

sys.path.append(str(Path(__file__).parent / "devices"))
from device_double import answer as device_answer  # noqa: E402
from device_double import text as device_text  # noqa: E402

DECODERS: list[Callable[[Answer], object]] = [
    answers.decode_version,
    answers.decode_info,
    answers.decode_model,
    answers.decode_loaded,
    answers.decode_run,
    answers.decode_profile,
    answers.decode_layers,
    answers.decode_memory,
    answers.decode_reset,
    lambda a: answers.decode_out(a, 0, 0, 4),
]

NUMBERS = st.integers(0, 2**32 - 1)


def lines_of(number: int, lines: list[str]) -> list[bytes]:
    """What a device sends, without its m-ready."""
    return [line + b"\r\n" for line in device_answer(str(number), lines)[:-1]]


def answer(*lines: str) -> Answer:
    return protocol.decode_answer(lines_of(5, list(lines)), 5)


def test_a_command_has_its_number_and_crc():
    """The bytes of runtime/PROTOCOL.md's trailer."""
    head = b"eq run 50 1 #7"
    wanted = head + b"*" + f"{zlib.crc32(head):08x}".encode() + b"%"
    assert protocol.encode(["eq", "run", "50", "1"], 7) == wanted


def test_the_crc_is_the_one_of_the_protocol():
    assert protocol.encode_load(1, 32, b"123456789") == [
        *("eq", "load", "1", "32", "313233343536373839", "cbf43926")
    ]


@given(st.binary(max_size=300), st.integers(0, 8), NUMBERS)
def test_a_load_command_reads_back(data, index, number):
    line = protocol.encode(protocol.encode_load(index, 3, data or b"x"), number)
    assert line.count(b"%") == 1 and line.endswith(b"%")
    head, _, crc = line[:-1].rpartition(b"*")
    assert int(crc, 16) == zlib.crc32(head)
    words = head.decode().split(" ")
    assert bytes.fromhex(words[4]) == (data or b"x")
    assert words[-1] == f"#{number}"


@given(st.lists(st.binary(max_size=200)), st.data())
def test_lines_come_out_whole_however_they_arrive(contents, data):
    lines = [c.replace(b"\n", b"") + b"\r\n" for c in contents]
    stream = b"".join(lines)
    reader, got = LineReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == lines and reader.dropped == 0


def test_a_megabyte_without_a_newline_takes_no_memory():
    reader = LineReader()
    for _ in range(1000):
        assert reader.feed(b"x" * 1000) == []
        assert len(reader._begun) <= protocol.MAX_LINE
    assert reader.feed(b"x\nm-ready\r\n") == [b"m-ready\r\n"]
    assert reader.dropped == 1_000_002


@given(st.binary())
def test_any_bytes_are_lines_or_dropped(data):
    reader = LineReader()
    lines = reader.feed(data + b"\n")
    assert all(len(line) <= protocol.MAX_LINE and line.endswith(b"\n") for line in lines)
    assert sum(map(len, lines)) + reader.dropped == len(data) + 1
    for line in lines:
        protocol.printable(line)
        for question in (protocol.is_ready, protocol.is_extension, protocol.is_done):
            question(line)
        protocol.is_boot(line), protocol.is_protocol(line)
        protocol.error_text(line), protocol.fault_text(line)


ANYTHING = st.one_of(
    st.binary(max_size=80),
    st.from_regex(rb"m-eq-[a-z-]{1,12}-\[[ -~]{0,40}\]\r\n", fullmatch=True),
)


@given(st.lists(ANYTHING, max_size=12), NUMBERS)
def test_decoding_an_answer_raises_nothing_else(lines, number):
    try:
        protocol.decode_answer(lines, number)
    except ProtocolError as e:
        assert e.message


NAMES = (
    "protocol abi status engine target board tick-source tick-unit tick-hz tick-bits "
    "tick-overhead tick-moves line chunk batch name sha256 layers arena weights input output "
    "loaded run ticks same prof layer layer-ticks layer-crc out out-crc harness stack flash ram "
    "data bss reset error"
).split()
VALUE = st.one_of(
    st.integers(-2, 9).map(str),
    st.integers(0, 2**70).map(str),
    NUMBERS.map(lambda n: f"{n:08x}"),
    st.sampled_from(["", "int8", "1x4", "x", "%", "%zz", "0_1", "٣", "ffc00000", "a" * 64]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
)
FIELDS = st.lists(
    st.builds(Field, st.sampled_from(NAMES), st.lists(VALUE, max_size=11).map(tuple)), max_size=40
)


@pytest.mark.parametrize("decode", DECODERS)
@given(fields=FIELDS)
def test_no_decoder_raises_anything_else(decode, fields):
    try:
        decode(Answer(tuple(fields)))
    except ProtocolError as e:
        assert e.message


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=40), NUMBERS, st.integers(0, 99))
def test_a_run_reads_back(ticks, crc, warmup):
    lines = [f"run-[{len(ticks)},{warmup},{crc:08x}]"]
    for k in range(0, len(ticks), 8):
        lines.append(f"ticks-[{k},{','.join(map(str, ticks[k : k + 8]))}]")
    lines.append(f"same-[{len(ticks)},{crc ^ 1:08x}]")
    run = answers.decode_run(answer(*lines, "of-the-future-[1]"))
    assert run.ticks == tuple(ticks) and run.warmup == warmup
    assert (run.inputs, run.outputs, run.same) == (crc, crc ^ 1, len(ticks))


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 9999))
def test_an_output_reads_back(data, index, offset):
    lines = [
        f"out-[{index},{offset + i},{data[i : i + 64].hex()}]" for i in range(0, len(data), 64)
    ]
    lines.append(f"out-crc-[{index},{offset},{len(data)},{zlib.crc32(data):08x}]")
    assert answers.decode_out(answer(*lines), index, offset, len(data)) == data
    with pytest.raises(ProtocolError):
        answers.decode_out(answer(*lines), index, offset + 1, len(data))
    if data:
        with pytest.raises(ProtocolError):
            answers.decode_out(answer(*lines[1:]), index, offset, len(data))


@given(st.text(max_size=30), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_tensor_reads_back(name, scale):
    digits = struct.pack(">f", scale).hex()
    facts = answers.decode_model(
        answer(
            f"name-[{device_text(name)}]",
            f"sha256-[{'0f' * 32}]",
            "layers-[0]",
            "arena-[1]",
            "weights-[2]",
            f"input-[0,int16,24,2x3x2,{digits},-128,{device_text(name)}]",
            f"output-[0,float32,4,,00000000,0,{device_text(name)}]",
        )
    )
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)
    assert facts.name == facts.inputs[0].name == shown
    assert facts.inputs[0].shape == (2, 3, 2) and facts.outputs[0].shape == ()
    assert facts.inputs[0].scale == scale and facts.inputs[0].zero_point == -128


def test_a_text_stays_on_its_line():
    assert protocol.parse_text("a%0aerror:%20b%1b[31m%e2%80%ae") == "a\\x0aerror: b\\x1b[31m\\x202e"


MEMORY = ["arena-[1]", "weights-[1]", "harness-[1]", "data-[0]", "bss-[0]"]


@pytest.mark.parametrize(
    ("decode", "lines", "complaint"),
    [
        (
            answers.decode_run,
            ["run-[2,0,00000000]", "ticks-[0,5,5]", "same-[3,00000000]"],
            "3 of 2",
        ),
        (
            answers.decode_run,
            ["run-[2,0,00000000]", "ticks-[0,5,5]", "same-[0,00000000]"],
            "0 of 2",
        ),
        (
            answers.decode_profile,
            [
                *("prof-[2,1,00000000]", "layer-[0,1,2,A,b]"),
                *("layer-ticks-[0,0,5]", "layer-ticks-[1,0,5]", "same-[0,00000000]"),
            ],
            "0 of 2",
        ),
        (
            answers.decode_profile,
            [
                "prof-[1,1,00000000]",
                "layer-[0,1,2,A,b]",
                "layer-ticks-[0,0,0]",
                "same-[1,00000000]",
            ],
            "all 0",
        ),
        (
            answers.decode_memory,
            [*MEMORY, "stack-[9,8]", "flash-[0,0]", "ram-[0,0]"],
            "m-eq-stack: 9 of 8 bytes",
        ),
        (
            answers.decode_memory,
            [*MEMORY, "stack-[9223372036854775807,0]", "flash-[0,0]", "ram-[0,0]"],
            "not a number from 0 to",
        ),
    ],
)
def test_what_cannot_be_is_refused(decode, lines, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        decode(answer(*lines))


@given(st.integers(1, 4), st.integers(1, 30), st.randoms(use_true_random=False))
def test_a_profile_reads_back_in_any_order_of_windows(runs, layers, random):
    ticks = [[random.randrange(1, 10**6) for _ in range(layers)] for _ in range(runs)]
    rows = [
        f"layer-ticks-[{k},{i},{','.join(map(str, ticks[k][i : i + 8]))}]"
        for k in range(runs)
        for i in range(0, layers, 8)
    ]
    random.shuffle(rows)
    head = [f"prof-[{runs},{layers},00000001]"]
    head += [f"layer-[{i},{i},4,ADD,layer%20{i}]" for i in range(layers)]
    found = answers.decode_profile(answer(*head, *rows, f"same-[{runs},00000002]"))
    assert [list(row) for row in found.ticks] == ticks
    assert found.layers[0].name == "layer 0"
    with pytest.raises(ProtocolError):
        answers.decode_profile(answer(*head, *rows[1:], f"same-[{runs},00000002]"))
    with pytest.raises(ProtocolError):
        answers.decode_profile(answer(*head, *rows, rows[0], f"same-[{runs},00000002]"))


@given(st.lists(st.text("abc,-1", max_size=20), max_size=6), st.data())
def test_any_change_to_an_answer_is_noticed(contents, data):
    """A flipped bit, a lost, added or doubled byte, a lost or doubled line."""
    stream = b"".join(lines_of(77, [f"name-[{c}]" for c in contents]))
    place = data.draw(st.integers(0, len(stream) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "double", "noise", "line", "two"]))
    if kind == "flip":
        bit = 1 << data.draw(st.integers(0, 7))
        changed = stream[:place] + bytes([stream[place] ^ bit]) + stream[place + 1 :]
    elif kind == "drop":
        changed = stream[:place] + stream[place + 1 :]
    elif kind == "double":
        changed = stream[:place] + stream[place : place + 1] + stream[place:]
    elif kind == "noise":
        changed = stream[:place] + data.draw(st.binary(min_size=1, max_size=5)) + stream[place:]
    else:
        lines = stream.splitlines(keepends=True)
        i = data.draw(st.integers(0, len(lines) - 1))
        changed = b"".join(
            lines[:i] + lines[i : i + 1] * (2 if kind == "two" else 0) + lines[i + 1 :]
        )
    if changed == stream:
        return
    lines = [line for line in LineReader().feed(changed) if protocol.is_extension(line)]
    ends = [i for i, line in enumerate(lines) if protocol.is_done(line)]
    if not ends:
        return
    try:
        found = protocol.decode_answer(lines[: ends[0] + 1], 77)
    except ProtocolError:
        return
    # What was added between two lines is no part of the answer.
    assert found == protocol.decode_answer(stream.splitlines(keepends=True), 77)


@pytest.mark.parametrize(
    ("line", "boot", "fault"),
    [
        (b"m-timestamp-mode-performance\r\n", True, None),
        (b"m-eq-ticks-[0,1m-timestamp-mode-energy\r\n", True, None),
        (b"m-init-done\r\n", True, None),
        (b"m-eq-name-[m-init-done]\r\n", False, None),
        (b"xyze-[Fault: HardFault pc=0x0 cfsr=0x100]\r\n", False, "HardFault pc=0x0 cfsr=0x100"),
        (b"m-eq-name-[e-[Fault: x]\r\n", False, None),
        (b"m-ready\r\n", False, None),
    ],
)
def test_restarts_and_faults_are_known(line, boot, fault):
    assert protocol.is_boot(line) is boot
    assert protocol.fault_text(line) == fault


def test_an_answer_to_another_command_is_refused():
    with pytest.raises(ProtocolError, match="another command"):
        protocol.decode_answer(lines_of(6, ["reset-[1]"]), 5)
    with pytest.raises(ProtocolError, match="another command"):
        protocol.decode_answer([b"m-eq-done-[-,0,00000000]\r\n"], 5)


def test_a_reported_error_is_part_of_an_answer():
    found = answer("run-[1,0,00000000]", "error-[-16,the%20clock%20stands]")
    assert found.error == (-16, "the clock stands")
