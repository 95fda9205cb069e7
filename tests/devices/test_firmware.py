"""The real session and the real firmware, in QEMU: on a sound line, and on lines that fail."""

from __future__ import annotations

import shutil
import subprocess
import time
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_board import Emulated, emulated
from fault_proxy import TO_DEVICE, TO_HOST

from edgeq import resources
from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    NoReply,
    StaleFirmware,
    VerificationError,
)
from edgeq.expected import Expected
from edgeq.golden import Golden
from edgeq.link import Limits
from edgeq.measurement import Measurement
from edgeq.outputs import Arrays
from edgeq.session import Session
from edgeq.targets import Target, load_core, load_target
from edgeq.transports.serial import SerialTransport
from edgeq.transports.simulator import INSTRUCTION_HZ, SimulatorTransport

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)

BOARDS = ("mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "microbit")
BOARD = "mps2-an386"
SHA256 = "0123456789abcdef" * 4
HERE = Path(__file__).parent

LIMITS = Limits(reply=2.0, inference=5.0, quiet=0.1, patience=60.0)

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build(board, "TOY_BUG=1", …): the firmware of firmware/toy.c for a board of runtime/ports."""
    folder = tmp_path_factory.mktemp("firmware")

    def make(board: str = BOARD, *defines: str) -> Path:
        image = folder / f"{board}-{'-'.join(defines)}.elf"
        if not image.exists():
            runtime = resources.path("runtime")
            port = tomllib.loads((runtime / "ports" / board / "port.toml").read_text())
            sources = [runtime / s for s in port["sources"]]
            sources += [*runtime.glob("harness/*.c"), *runtime.glob("core/*.c")]
            includes = [runtime / i for i in ("include", "harness", *port["includes"])]
            command = [
                "arm-none-eabi-gcc",
                *load_core(port["core"]).cflags,
                *("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffunction-sections"),
                *(f"-D{d}" for d in (f'EDGEQ_TARGET="{board}"', *defines)),
                *(f"-I{i}" for i in (*includes, HERE / "firmware")),
                *(str(s) for s in (*sources, HERE / "firmware/toy.c")),
                *(
                    "-nostartfiles",
                    "--specs=nosys.specs",
                    "--specs=nano.specs",
                    "-Wl,--gc-sections",
                ),
                *(f"-L{runtime / p}" for p in port["linker_paths"]),
                *("-T", str(runtime / port["linker_script"]), "-o", str(image)),
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
        return image

    return make


def toy(left: np.ndarray, gain: np.ndarray, past: int = 0) -> tuple[Arrays, list[int]]:
    """What firmware/toy.c computes: its outputs, and CRC-32 of its layers' first outputs."""
    a = (left.reshape(-1).astype(int) * 3 + 1) % 256
    b = ((a + np.tile(gain.astype(int), 6) * 5) % 256).astype(np.uint8)
    pairs = b.view(np.int8).astype(np.int16).reshape(12, 2).sum(axis=1, dtype=np.int16)
    c = (b ^ np.uint8(past)).view(np.int8)
    crcs = [zlib.crc32(v.tobytes()) for v in (a.astype(np.uint8), b, c)]
    return (c.reshape(1, 24), pairs.reshape(1, 12)), crcs


def expected(samples: int = 4, sha256: str = SHA256) -> Expected:
    random = np.random.default_rng(3)
    inputs = tuple(
        (random.integers(-128, 128, (1, 24), np.int8), random.integers(-128, 128, 4, np.int8))
        for _ in range(samples)
    )
    made = [toy(*sample) for sample in inputs]
    return Expected(
        name="toy",
        sha256=sha256,
        scheme="int8",
        engine="aot",
        golden=Golden(inputs, tuple(outputs for outputs, _ in made), "test", (0, 0)),
        how_to_flash="build it again",
        layer_crcs=lambda sample, _: toy(*sample)[1],
    )


def right(m: Measurement, runs: int, ticks: set[int]) -> None:
    """Whether every count is one that a sound line gave as well."""
    assert len(m.samples) == runs and set(m.samples) <= ticks
    assert m.unit == "instructions" and m.tick_hz is None
    assert m.checks.count == m.checks.equal == 4


# --- A sound line ----------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_is_proved_and_measured(build, board):
    target = load_target(board)
    with Session(target, SimulatorTransport(target, build(board))) as session:
        m = session.measure(expected(), runs=100, warmup=1)
        assert session.info.board == board and session.damaged == 0
        profile, memory = session.profile(expected()), session.memory()
    # At -O2 the loop of 1,000 rounds takes 5 instructions each, on a core as on another.
    assert m.verdict.valid and 4_000 < m.summary.median < 20_000
    assert m.unit == "instructions" and m.environment.device == board
    assert m.summary.max - m.summary.min <= 2 * INSTRUCTION_HZ / session.info.tick_hz
    assert [f"{x.op} {x.name}" for x in profile.layers] == [
        "MUL scale%",
        "ADD add gain",
        "CUSTOM past",
    ]
    assert max(profile.layers, key=lambda x: x.ticks).index == 1
    assert memory.arena == 192 and memory.stack_used and memory.flash_used
    assert memory.stack_used < memory.stack_size and memory.ram_used < memory.ram_size


def test_inferences_in_a_row(build):
    target = load_target(BOARD)
    random = np.random.default_rng(4)
    with Session(target, SimulatorTransport(target, build()), limits=LIMITS) as session:
        session.check_model(expected())
        start = time.monotonic()
        for _ in range(200):
            sample = random.integers(-128, 128, 24, np.int8), random.integers(-128, 128, 4, np.int8)
            got, wanted = session.infer(sample), toy(*sample)[0]
            assert [v.tobytes() for v in got] == [v.tobytes() for v in wanted]
            assert [(v.dtype, v.shape) for v in got] == [(v.dtype, v.shape) for v in wanted]
        assert time.monotonic() - start < 150


def test_the_past_is_forgotten_before_each_golden_vector(build):
    target = load_target(BOARD)
    image = build(BOARD, "TOY_KEEPS_STATE=1")
    with Session(target, SimulatorTransport(target, image), limits=LIMITS) as session:
        assert session.measure(expected(), runs=30).checks.equal == 4


def test_a_bug_is_found_in_its_layer(build):
    target = load_target(BOARD)
    image = build(BOARD, "TOY_BUG=1")
    with Session(target, SimulatorTransport(target, image), limits=LIMITS) as session:
        with pytest.raises(VerificationError, match="differs is 1: ADD add gain"):
            session.measure(expected())


def test_stale_firmware_is_refused(build):
    target = load_target(BOARD)
    with Session(target, SimulatorTransport(target, build()), limits=LIMITS) as session:
        with pytest.raises(StaleFirmware, match="another firmware: toy 0123"):
            session.measure(expected(sha256="ab" * 32))


def test_firmware_that_crashes_says_where(build):
    target = load_target(BOARD)
    image = build(BOARD, "TOY_CRASH_AT=9")
    notices: list[str] = []
    with Session(
        target, SimulatorTransport(target, image), limits=LIMITS, notice=notices.append
    ) as session:
        with pytest.raises(DeviceFault, match=r"restarted 2 times: exception \w+ pc \w+"):
            session.measure(expected())
    assert len(notices) == 1


def test_firmware_that_hangs_is_given_up(build):
    target = load_target(BOARD)
    image = build(BOARD, "TOY_HANG_AT=9")
    start = time.monotonic()
    limits = Limits(open=3.0, reply=1.0, inference=2.0, quiet=0.1)
    with Session(target, SimulatorTransport(target, image), limits=limits) as session:
        with pytest.raises(NoReply, match="stopped answering during eq run"):
            session.measure(expected())
    assert time.monotonic() - start < 90


def test_an_image_that_is_no_firmware_stops_the_emulator(tmp_path):
    """Vectors that lead nowhere: the processor locks up, and QEMU stops."""
    (tmp_path / "zeros.bin").write_bytes(bytes(64))
    target = load_target(BOARD)
    with pytest.raises(DeviceError) as e:
        Session(target, SimulatorTransport(target, tmp_path / "zeros.bin"), limits=LIMITS).open()
    assert "Lockup" in e.value.message or isinstance(e.value, NoReply)


def test_the_emulator_ends_with_its_session(build):
    target = load_target(BOARD)
    transport = SimulatorTransport(target, build())
    with Session(target, transport, limits=LIMITS):
        process = transport._process
        pid = process._process.pid
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    transport.close()


def test_an_emulator_that_is_killed_is_noticed(build):
    target = load_target(BOARD)
    transport = SimulatorTransport(target, build())
    with Session(target, transport, limits=LIMITS) as session:
        session.check_model(expected())
        transport._process._process.kill()
        with pytest.raises(DeviceLost, match="ended with -9") as e:
            session.measure(expected())
        assert "qemu-system-arm -M mps2-an386" in e.value.hint


# --- A bad line ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ticks(build: Build) -> set[int]:
    """Every count of instructions that a sound line gives."""
    target: Target = load_target(BOARD)
    with Session(target, SimulatorTransport(target, build())) as session:
        return set(session.measure(expected(), runs=2000).samples)


def measure(b: Emulated, runs: int = 80, **options: Any) -> Measurement:
    link = SerialTransport(b.proxy.name, instruction_hz=INSTRUCTION_HZ)
    with Session(load_target(BOARD), link, limits=LIMITS, **options) as session:
        return session.measure(expected(), runs)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["drop", "flip", "double"])
def test_damaged_bytes(build, ticks, tmp_path, kind, seed):
    with emulated(BOARD, build(), tmp_path, seed) as b:
        setattr(b.proxy, kind, 0.0005)
        right(measure(b, runs=300), 300, ticks)
        assert b.proxy.faults


@pytest.mark.parametrize("direction", [TO_HOST, TO_DEVICE])
@pytest.mark.parametrize("place", [400, 700, 1100])
def test_cuts(build, ticks, tmp_path, direction, place):
    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.at[direction][place] = lambda: b.proxy.cut(direction, 100)
        right(measure(b), 80, ticks)
        assert b.proxy.faults == 1


def test_a_line_of_a_megabyte_to_the_host(build, ticks, tmp_path):
    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.at[TO_HOST][3000] = lambda: b.proxy.send(b"z" * 1_000_000)
        right(measure(b), 80, ticks)


def test_a_slow_line(build, ticks, tmp_path):
    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.rate, b.proxy.latency = 4800, 0.01
        right(measure(b, runs=20), 20, ticks)


RESETS = {
    "asked for its model": (b"m-eq-sha256-[", 1),
    "loaded": (b"m-eq-loaded-[", 2),
    "asked for a golden output": (b"m-eq-out-[", 3),
    "timed": (b"m-eq-ticks-[8,", 1),
    "timed, in a later block": (b"m-eq-ticks-[8,", 2),
    "asked for its memory": (b"m-eq-stack-[", 1),
}
"""While the board is …: (text, how often it has passed to the host when the board is reset)."""


@pytest.mark.parametrize("place", RESETS)
def test_a_reset_in_mid_line(build, ticks, tmp_path, place):
    """What the board had still to say is lost with the reset, so the run must start over."""
    notices: list[str] = []
    text, number = RESETS[place]

    def reset() -> None:
        b.reset()
        b.proxy.cut_until(TO_HOST, b"m-timestamp-mode")

    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.behind[TO_HOST][text] = (number, reset)
        right(measure(b, notice=notices.append), 80, ticks)
        assert b.proxy.faults == 1
    assert len(notices) == 1 and "starts over" in notices[0]


def test_a_reset_while_the_session_opens(build, ticks, tmp_path):
    """Nothing is lost by it, and nothing is to be said."""
    notices: list[str] = []

    def reset() -> None:
        b.reset()
        b.proxy.cut_until(TO_HOST, b"m-timestamp-mode")

    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.behind[TO_HOST][b"m-eq-target-["] = (1, reset)
        right(measure(b, notice=notices.append), 80, ticks)
        assert b.proxy.faults == 1 and not notices


@pytest.mark.parametrize("place", [700, 2500, 3500, 3900])
def test_a_reset_at_any_byte(build, ticks, tmp_path, place):
    """Whether anything is lost depends on what is under way: the emulator, unlike a board, may be
    ahead of the line. Only a run that is begun anew is worth a notice."""
    notices: list[str] = []
    commands: list[str] = []

    def trace(seconds: float, direction: str, line: str) -> None:
        commands.append(f"{direction} {line}")

    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.at[TO_HOST][place] = b.reset
        right(measure(b, notice=notices.append, trace=trace), 80, ticks)
        assert b.proxy.count[TO_HOST] > place
    begun = sum(c.startswith("> eq model") for c in commands)
    assert len(notices) <= 1 and begun > len(notices)


@pytest.mark.parametrize("place", [10, 2500])
def test_an_unplugged_cable(build, tmp_path, place):
    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.at[TO_HOST][place] = b.proxy.unplug
        with pytest.raises(DeviceLost):
            measure(b)


def test_power_that_fails(build, tmp_path):
    """The board is dead; its USB serial adapter, here the proxy, goes with it."""
    with emulated(BOARD, build(), tmp_path) as b:
        b.proxy.at[TO_HOST][2500] = b.process.stop
        with pytest.raises((DeviceLost, NoReply)):
            measure(b)
