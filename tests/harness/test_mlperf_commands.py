"""The harness's answers to MLPerf Tiny's commands, to the letter."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from harness_link import process
from harness_program import Open

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
