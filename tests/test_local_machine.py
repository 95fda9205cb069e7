"""This computer as a machine: what the interface of edgeq/transports/machine.py promises."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import assert_gone

from edgeq.errors import DeviceFault, DeviceLost, NoReply
from edgeq.transports.local import LocalMachine
from edgeq.transports.machine import OUTPUT_LIMIT, Ended, Machine

NASTY = "a b'\"$(touch pwned);`id`\n%"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMachine]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    machine = LocalMachine()
    machine.open()
    yield machine
    machine.close()


def test_it_is_a_machine(machine: LocalMachine) -> None:
    of_the_interface: Machine = machine
    assert of_the_interface.name == "local" and os.path.isabs(of_the_interface.folder)


def test_what_a_script_prints_and_how_it_ends(machine):
    assert machine.run("echo out; echo err >&2; exit 3", 30) == Ended(3, b"out\n", b"err\n")
    assert machine.run("kill -9 $$", 30).code == 128 + 9
    assert machine.run("cat", 30) == Ended(0, b"", b"")
    assert machine.run("pwd", 30).output.decode().strip() == machine.folder


def test_of_much_output_the_beginning_is_kept(machine):
    ended = machine.run("echo first; head -c 3000000 /dev/zero; echo first >&2; "
                        "head -c 3000000 /dev/zero >&2", 30)  # fmt: skip
    assert ended.code == 0
    for text in (ended.output, ended.errors):
        assert len(text) == OUTPUT_LIMIT and text.startswith(b"first\n")


def test_a_script_that_does_not_end_is_ended_with_what_it_started(machine):
    script = "sleep 600 & echo $! >sleeper; wait"
    with pytest.raises(NoReply, match="local: a command did not end within 1 s"):
        machine.run(script, 1)
    sleeper = Path(machine.folder) / "sleeper"
    assert_gone(int(sleeper.read_text()))
    sleeper.unlink()


def test_files_are_pushed_whole_and_may_be_executed(machine):
    told = []
    folder = f"{machine.folder}/{NASTY.replace('/', '')}"
    files = {"tool": b"#!/bin/sh\necho ran\n", "data": bytes(range(256))}
    machine.push(files, folder, lambda what, done, total: told.append((done, total)))
    assert told == [(19, 275), (275, 275)]
    assert {p.name: p.read_bytes() for p in Path(folder).iterdir()} == files
    program = machine.start("exec ./tool", folder)
    program.open()
    assert program.read(30) == b"ran\n"
    program.close()
    machine.push({"tool": b"#!/bin/sh\necho again\n"}, folder)
    assert (Path(folder) / "tool").read_bytes().endswith(b"again\n")
    assert not Path("pwned").exists()
    for path in Path(folder).iterdir():
        path.unlink()
    Path(folder).rmdir()


def test_a_full_disk_leaves_no_part_of_a_file(small_disk):
    machine = LocalMachine()
    machine.open()
    with pytest.raises(DeviceFault, match="cannot be written: No space left"):
        machine.push({"big": bytes(200_000)}, str(small_disk))
    assert list(small_disk.iterdir()) == []
    machine.close()


def test_an_empty_folder_goes_and_files_stay(machine, tmp_path):
    folder = Path(machine.folder)
    machine.push({"kept": b"x"}, str(folder))
    machine.close()
    machine.close()
    assert (folder / "kept").is_file()
    other = LocalMachine()
    other.open()
    other.close()
    assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(DeviceLost, match="local is not open"):
        other.run("true", 1)


def test_bytes_go_both_ways_and_close_ends_all_of_it(machine):
    program = machine.start("sleep 600 & echo $! >sleeper; exec cat", machine.folder)
    program.open()
    data = bytes(range(256)) * 100
    program.write(data)
    heard, deadline = b"", time.monotonic() + 30
    while len(heard) < len(data) and time.monotonic() < deadline:
        heard += program.read(1)
    assert heard == data
    assert program.read(0.05) == b""
    sleeper = Path(machine.folder) / "sleeper"
    pid = int(sleeper.read_text())
    program.close()
    program.close()
    assert_gone(pid)
    sleeper.unlink()
    with pytest.raises(DeviceLost, match="not running"):
        program.read(1)


def test_a_program_that_ends_says_how_and_its_last_words_do_no_harm(machine):
    program = machine.start(r"printf 'no \033[2Jmodel\n' >&2; exit 7", machine.folder)
    program.open()
    with pytest.raises(DeviceLost) as e:
        while program.read(30):
            pass
    assert "ended with 7: no" in e.value.message and "\x1b" not in e.value.message
    program.close()


def test_writing_to_a_program_that_is_gone(machine):
    program = machine.start("exit 0", machine.folder)
    program.open()
    with pytest.raises(DeviceLost, match="ended with 0"):
        program.read(30)
    with pytest.raises(DeviceLost, match="ended with 0"):
        program.write(b"x")
    program.close()


def test_a_program_that_does_not_read(machine, monkeypatch):
    monkeypatch.setattr("edgeq.transports.pipe.WRITE_LIMIT", 0.2)
    program = machine.start("exec sleep 600", machine.folder)
    program.open()
    with pytest.raises(NoReply, match="took no more bytes for 0.2 s"):
        program.write(bytes(1_000_000))
    program.close()


def test_a_folder_that_is_not_there(machine):
    program = machine.start("exec ./runner", f"{machine.folder}/nowhere")
    program.open()
    with pytest.raises(DeviceLost, match="ended with 127"):
        program.read(30)
    program.close()
