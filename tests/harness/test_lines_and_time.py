"""What the harness makes of lines and clocks that go wrong, and of models that cannot start."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from harness_link import reply
from harness_program import Open

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
