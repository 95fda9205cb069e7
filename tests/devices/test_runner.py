"""The runner of a compiled network: a program on stdin and stdout, driven as this computer's."""

from __future__ import annotations

import dataclasses
import io
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agreement import RUNNERS, make_reference
from elftools.elf.elffile import ELFFile
from make_model import tiny_int8
from processes import processes_of

from edgeq.codegen.aot import compile_graph
from edgeq.codegen.facts import Export
from edgeq.errors import DeviceLost, NoReply, StaleFirmware, VerificationError
from edgeq.expected import Expected
from edgeq.link import Limits
from edgeq.runner import build_runner
from edgeq.session import Session
from edgeq.targets import load_target
from edgeq.toolchains import find_toolchain, host_arch
from edgeq.transports.local import LocalMachine

ARCH = host_arch()

pytestmark = pytest.mark.skipif(
    ARCH is None or find_toolchain(ARCH) is None, reason="needs Linux and a C compiler"
)

LIMIT = 30.0
"""Seconds, for what takes milliseconds on a machine without other work."""


@pytest.fixture(scope="module")
def export() -> Export:
    return make_reference(tiny_int8(), "tiny", samples=4)


@pytest.fixture(scope="module")
def expected(export: Export) -> Expected:
    return Expected("tiny", export.sha256, "int8", "aot", export.golden, "build it again")


def program_for(arch: str, export: Export) -> bytes:
    toolchain = find_toolchain(arch)
    if toolchain is None:
        pytest.skip(f"needs a C compiler for {arch}")
    target = load_target(RUNNERS[arch])
    return build_runner(target, arch, toolchain, export, compile_graph(export)).program


@pytest.fixture(scope="module")
def runner(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert ARCH is not None
    path = tmp_path_factory.mktemp("runner") / "runner"
    path.write_bytes(program_for(ARCH, export))
    path.chmod(0o755)
    return path


@pytest.fixture
def machine() -> Iterator[LocalMachine]:
    machine = LocalMachine()
    machine.open()
    yield machine
    machine.close()


@contextmanager
def running(
    runner: Path, stdout: int | socket.socket = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([runner], stdin=subprocess.PIPE, stdout=stdout, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait(LIMIT)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def hear(descriptor: int, end: bytes, count: int = 1) -> bytes:
    """What comes, until `end` came `count` times."""
    heard, deadline = b"", time.monotonic() + LIMIT
    while heard.count(end) < count:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more within {LIMIT} s, behind {heard[-200:]!r}"
        data = os.read(descriptor, 1 << 16)
        assert data, f"the runner ended, behind {heard[-200:]!r}"
        heard += data
    return heard


def ask(process: subprocess.Popen[bytes], command: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(command)
    return hear(process.stdout.fileno(), b"m-ready\r\n")


@contextmanager
def booted(runner: Path) -> Iterator[subprocess.Popen[bytes]]:
    with running(runner) as process:
        assert process.stdout is not None
        assert hear(process.stdout.fileno(), b"m-ready\r\n").startswith(b"m-timestamp-mode")
        yield process


# --- A session ---


def test_a_session_proves_measures_and_profiles(machine, runner, expected, export):
    machine.push({"runner": runner.read_bytes()}, machine.folder)
    with Session(load_target("host"), machine.start("exec ./runner", machine.folder)) as session:
        assert session.info.board == f"posix {ARCH}" and session.info.target == "host"
        assert session.info.tick_source == "clock_monotonic_raw" and session.info.tick_bits == 64
        measurement = session.measure(expected, runs=20)
        assert measurement.checks.equal == measurement.checks.count == 4
        assert measurement.unit == "ns" and measurement.engine == "aot"
        assert len(measurement.samples) == 20 and min(measurement.samples) > 0
        profile = session.profile(expected)
        assert [layer.op for layer in profile.layers] == [op.name for op in export.graph.main.ops]
        memory = session.memory()
        assert memory.ram_used and memory.data and memory.bss and not memory.flash_used
        assert memory.ram_used > memory.arena
        assert len(session.layer_crcs(export.golden.inputs[0])) == len(profile.layers)
    os.unlink(Path(machine.folder) / "runner")


def test_a_wrong_output_is_refused_before_any_timing(machine, runner, expected):
    golden = expected.golden
    wrong = golden.outputs[0][0].copy()
    wrong[0, 0] ^= 1
    golden = dataclasses.replace(golden, outputs=((wrong,), *golden.outputs[1:]))
    link = machine.start(f"exec {runner}", "/")
    with Session(load_target("host"), link) as session:
        with pytest.raises(VerificationError, match="golden input 0.*nothing was timed"):
            session.measure(dataclasses.replace(expected, golden=golden))


def test_a_runner_of_another_target_is_refused(machine, runner, expected):
    with Session(load_target("rpi"), machine.start(f"exec {runner}", "/")) as session:
        with pytest.raises(StaleFirmware, match="aot for host, not engine aot for rpi"):
            session.check_model(expected)


def test_a_runner_that_is_killed_is_noticed(machine, runner, expected):
    program = machine.start(f"exec {runner}", "/")
    with Session(load_target("host"), program) as session:
        session.check_model(expected)
        (pid,) = processes_of(runner)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DeviceLost, match="a program on local ended with 137"):
            session.measure(expected)


def test_a_program_that_says_nothing(machine):
    limits = Limits(open=0.5, quiet=0.05)
    with pytest.raises(NoReply, match="a program on local says nothing"):
        Session(load_target("host"), machine.start("exec sleep 60", "/"), limits=limits).open()


# --- Its input and output ---


def test_the_end_of_its_input_ends_it(runner):
    with booted(runner) as process:
        ask(process, b"name%")
        process.stdin.close()
        assert process.wait(LIMIT) == 0


def test_commands_before_the_end_are_answered(runner):
    done = subprocess.run(
        [runner], input=b"eq info%eq model%na", capture_output=True, timeout=LIMIT
    )
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.count(b"m-ready\r\n") == 3 and b"m-eq-sha256-[" in done.stdout


def test_the_end_of_its_input_ends_a_long_run(runner):
    with booted(runner) as process:
        process.stdin.write(b"eq run 1000000 1000000%")
        process.stdin.close()
        assert process.wait(LIMIT) == 0
        assert b"interrupted by a byte from the host" in process.stdout.read()


def test_it_ends_when_nobody_reads(runner):
    """By its own exit code and not by SIGPIPE."""
    with booted(runner) as process:
        process.stdout.close()
        process.stdin.write(b"name%")
        assert process.wait(LIMIT) == 1


def test_it_sleeps_while_there_is_nothing_to_do(runner):
    with booted(runner) as process:
        time.sleep(1.0)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        assert seconds < 0.3
        assert fields[0] == "S"


def test_garbage_is_answered_and_forgotten(runner):
    with booted(runner) as process:
        garbage = bytes(c for c in range(256) if c != ord("%")) * 20
        assert b"e-[" in ask(process, garbage + b"%")
        assert b"m-name-dut-[" in ask(process, b"name%")


def test_a_line_of_a_megabyte(runner):
    with booted(runner) as process:
        assert b"e-[Command too long]" in ask(process, b"x" * 1_000_000 + b"%")
        assert b"m-name-dut-[" in ask(process, b"name%")


def test_every_byte_of_an_answer_comes_through_a_slow_line_that_does_not_block(runner):
    """Short writes, and writes that the other end has no room for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)  # Of the open file: the runner's stdout, too.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with running(runner, theirs) as process:
            hear(ours.fileno(), b"m-ready\r\n")
            process.stdin.write(b"eq run 20000%")
            time.sleep(0.5)
            heard = hear(ours.fileno(), b"m-ready\r\n")
            counts = [line for line in heard.split(b"\r\n") if line.startswith(b"m-eq-ticks-[")]
            assert len(counts) == 20000 / 8
            assert b"m-eq-done-" in heard.splitlines()[-2]


# --- The file ---


@pytest.mark.parametrize("arch", RUNNERS)
def test_it_is_one_static_file_of_its_architecture(arch, export):
    file = ELFFile(io.BytesIO(program_for(arch, export)))
    assert file.header.e_machine == {
        "aarch64": "EM_AARCH64", "armv7": "EM_ARM", "x86_64": "EM_X86_64"
    }[arch]  # fmt: skip
    assert not any(s.header.p_type in ("PT_INTERP", "PT_DYNAMIC") for s in file.iter_segments())


def test_the_same_network_gives_the_same_file(export):
    assert program_for(ARCH, export) == program_for(ARCH, export)
