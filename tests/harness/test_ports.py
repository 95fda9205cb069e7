"""The ports: each compiles without a warning, and those that QEMU emulates answer in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from firmware import COMPILER, FLAGS, ROOT, RUNTIME, build, port, ports
from harness_link import BANNER, Link, emulator

pytestmark = pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no {COMPILER}")
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="no qemu-system-arm")

EMULATED = [name for name in ports() if "emulator" in port(name)]
INSTRUCTIONS_A_SECOND = 10**9  # -icount shift=0
DATA = bytes([1, 255, 128, 7])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Firmware with a stub network that also faults when told to. Made when first asked for."""
    folder = tmp_path_factory.mktemp("firmware")

    class Images(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = build(name, folder / f"{name}.elf", "STUB_FAULTS")
            return self[name]

    return Images()


@contextmanager
def booted(images: dict[str, Path], name: str) -> Iterator[Link]:
    with emulator(str(port(name)["emulator"]), images[name]) as link:
        lines = link.lines()
        assert [line.startswith(b) for line, b in zip(lines, BANNER, strict=True)] == [True] * 3
        yield link


def numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


# --- Compiled ---


def test_there_is_a_port_for_every_board_of_the_list() -> None:
    assert ports() == [
        *("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"),
        *("netduinoplus2", "nucleo-f446re", "nucleo-l4r5zi", "pico", "template"),
    ]


@pytest.mark.parametrize("name", ports())
def test_every_port_compiles_and_links(images: dict[str, Path], name: str) -> None:
    image = images[name]
    symbols = subprocess.run(
        ["arm-none-eabi-nm", image], check=True, capture_output=True, text=True
    ).stdout
    addresses = {n: int(a, 16) for a, _, n in (line.split() for line in symbols.splitlines())}
    assert addresses["arena"] % 16 == 0
    assert addresses["_stack_limit"] < addresses["_data_start"] <= addresses["_bss_start"]
    for banned in (
        "malloc",
        "printf",
        "strlen",
        "_sbrk",
        "__aeabi_fadd",
        "__aeabi_dadd",
        "_impure_ptr",
    ):
        assert banned not in addresses


@pytest.mark.parametrize("name", ports())
def test_a_target_of_the_same_name_has_the_same_memory_and_core(name: str) -> None:
    file = ROOT / "targets" / f"{name}.toml"
    if not file.exists():
        assert name in ("template", "netduinoplus2")
        return
    target = tomllib.loads(file.read_text())
    assert port(name)["core"] == target["core"]
    assert port(name).get("emulator") == target.get("sim")
    script = (RUNTIME / str(port(name)["linker_script"])).read_text()
    unit = {"K": 1024, "M": 1024 * 1024}
    for region, key in (("FLASH", "flash"), ("RAM", "ram")):
        found = re.search(rf"{region} \(\w+\) : ORIGIN = 0x\w+, LENGTH = (\d+)([KM])", script)
        assert found and int(found[1]) * unit[found[2]] == target[key]


@pytest.mark.parametrize("name", ports())
def test_every_port_says_whether_it_ran_on_hardware(name: str) -> None:
    text = (RUNTIME / "ports" / name / "README.md").read_text()
    assert "hardware" in text


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4"])
def test_the_harness_needs_no_library_but_memcpy_and_memset(tmp_path: Path, core: str) -> None:
    """And the compiler's own helpers, of which none is for floats but in eq_input_float32."""
    cores = tomllib.loads((ROOT / "targets" / "cores.toml").read_text())
    allowed = re.compile(
        r"memcpy|memset|eq_\w+|__aeabi_(u?idiv(mod)?|l?ls[lr]|llsl|lmul)|__gnu_\w+"
    )
    for source in sorted((RUNTIME / "harness").glob("*.c")):
        target = tmp_path / f"{source.stem}.o"
        includes = [f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'harness'}"]
        argv = [COMPILER, *cores[core]["cflags"], *FLAGS, *includes, "-c", source, "-o", target]
        subprocess.run(argv, check=True, timeout=60)
        nm = ["arm-none-eabi-nm", "--undefined-only", target]
        text = subprocess.run(nm, check=True, capture_output=True, text=True).stdout
        for symbol in (line.split()[-1] for line in text.splitlines()):
            soft_float = source.stem == "eq_input_float32" and re.fullmatch(
                r"__aeabi_(f\w+|i2f|ui2f|cf\w+)", symbol
            )
            assert allowed.fullmatch(symbol) or soft_float, (source.name, symbol)


def test_the_boot_stage_of_the_pico_has_its_crc(images: dict[str, Path], tmp_path: Path) -> None:
    binary = tmp_path / "flash.bin"
    subprocess.run(
        ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", images["pico"], binary],
        check=True,
    )
    stage = binary.read_bytes()[:256]
    crc = 0xFFFFFFFF
    for byte in stage[:252]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    assert int.from_bytes(stage[252:], "little") == crc
    vectors = binary.read_bytes()[256:264]
    assert vectors[3] == 0x20 and vectors[7] == 0x10 and vectors[4] & 1


# --- Emulated ---


@needs_qemu
@pytest.mark.parametrize("name", EMULATED)
def test_an_emulated_board_answers(images: dict[str, Path], name: str) -> None:
    with booted(images, name) as link:
        assert link.command("name") == [b"m-name-dut-[edgeq]"]
        info = link.eq("info")
        assert info.one("board") == info.one("target") == name
        assert info.one("tick-moves") == "1" and info.one("tick-unit") == "cycles"
        assert info.one("tick-source") == ("timer0" if name == "microbit" else "systick")

        assert link.load(DATA).error is None
        first = link.eq("run 10 2")
        again = link.eq("run 10 2")
        assert first.fields == again.fields
        ticks = [t for line in first.all("ticks") for t in numbers(line)[1:]]
        assert len(ticks) == 10 and len(set(ticks)) == 1
        assert first.one("run") == f"10,2,{zlib.crc32(DATA):08x}"
        assert first.one("same") == f"10,{zlib.crc32(DATA):08x}"
        # The stub spins 3,000 rounds of 5 to 8 instructions.
        instructions = ticks[0] * INSTRUCTIONS_A_SECOND / int(info.one("tick-hz"))
        assert 15_000 < instructions < 25_000

        assert link.out() == DATA
        profile = link.eq("prof 2")
        first_layer, second_layer = numbers(profile.all("layer-ticks")[0])[2:]
        assert second_layer == pytest.approx(2 * first_layer, rel=0.06)
        assert first_layer + second_layer == pytest.approx(ticks[0], rel=0.06)
        crcs = [t.split(",")[2] for t in link.eq("layers").all("layer-crc")]
        assert crcs == [f"{zlib.crc32(DATA):08x}"] * 2
        assert link.eq("reset").one("reset") == "0"


@needs_qemu
@pytest.mark.parametrize("name", EMULATED)
def test_an_emulated_board_knows_its_memory(images: dict[str, Path], name: str) -> None:
    sizes = subprocess.run(
        ["arm-none-eabi-size", images[name]], check=True, capture_output=True, text=True
    )
    text, data, bss = map(int, sizes.stdout.splitlines()[1].split()[:3])
    with booted(images, name) as link:
        link.eq("run 1")
        memory = link.eq("mem")
    used, size = numbers(memory.one("stack"))
    assert 200 < used < 1024 < size  # The harness's own; the stub needs next to nothing.
    flash, flash_size = numbers(memory.one("flash"))
    assert text + data <= flash <= text + data + 32
    ram, ram_size = numbers(memory.one("ram"))
    assert data + bss - 32 <= ram <= data + bss
    assert int(memory.one("data")) == data
    assert ram == int(memory.one("data")) + int(memory.one("bss")) + size
    assert flash < flash_size and ram < ram_size


@needs_qemu
@pytest.mark.parametrize("name", ["mps2-an386", "netduinoplus2", "microbit"])
def test_the_official_commands(images: dict[str, Path], name: str) -> None:
    with booted(images, name) as link:
        link.command("db load 4")
        assert link.command("db 0405fe80") == [b"m-load-done"]
        lines = link.command("infer 30 3")
        laps = [int(line[9:]) for line in lines if line.startswith(b"m-lap-us-")]
        assert lines[-1] == b"m-results-[2.500,3.000,-0.500,-63.500]"
        # About 22,000 instructions each, of 1 ns.
        assert 30 * 15 < laps[1] - laps[0] < 30 * 30


@needs_qemu
def test_a_wrap_of_systick_does_not_show(images: dict[str, Path]) -> None:
    """One inference of 2.1 * 10^8 instructions is 2.1 wraps of 2^24 ticks at 168 MHz, and less
    than one at 25 MHz; the code is the same."""
    link: Link
    found = {}
    for name in ("netduinoplus2", "mps2-an386"):
        with booted(images, name) as link:
            hz = int(link.eq("info").one("tick-hz"))
            link.load(b"slow")
            ticks = numbers(link.eq("run 3", 60).one("ticks"))[1:]
            assert max(ticks) - min(ticks) <= 1
            found[name] = ticks[0] * INSTRUCTIONS_A_SECOND / hz
            if name == "netduinoplus2":
                assert ticks[0] > 2 * 2**24
            else:
                assert ticks[0] < 2**24
    assert found["netduinoplus2"] == pytest.approx(found["mps2-an386"], abs=150)


@needs_qemu
def test_microseconds_go_on_while_nothing_is_asked(images: dict[str, Path]) -> None:
    """SysTick wraps every 0.1 s there; the board sleeps in between."""
    with booted(images, "netduinoplus2") as link:
        before = int(link.command("timestamp")[0][9:])
        time.sleep(1.0)
        after = int(link.command("timestamp")[0][9:])
        assert 500_000 < after - before < 5_000_000


@needs_qemu
@pytest.mark.parametrize("name", EMULATED)
def test_bytes_that_come_while_the_board_computes_are_kept(
    images: dict[str, Path], name: str
) -> None:
    with booted(images, name) as link:
        link.load(b"slow")
        link.send(b"eq run 1%name%profile%")
        assert link.lines(60)[-1].startswith(b"m-eq-done-")
        assert link.lines() == [b"m-name-dut-[edgeq]"]
        assert link.lines()[1] == b"m-model-[kws01]"


@needs_qemu
@pytest.mark.parametrize("name", EMULATED)
def test_bytes_that_do_not_fit_are_missed(images: dict[str, Path], name: str) -> None:
    with booted(images, name) as link:
        link.load(b"slow")
        link.send(b"eq run 1%" + b"x" * 2000)
        assert link.lines(60)[-1].startswith(b"m-eq-done-")
        time.sleep(0.3)
        assert link.command("") == [b"e-[Receive overrun]"]
        assert link.command("name") == [b"m-name-dut-[edgeq]"]


@needs_qemu
@pytest.mark.parametrize("name", EMULATED)
def test_a_stack_that_overflows_is_reported_and_the_board_starts_anew(
    images: dict[str, Path], name: str
) -> None:
    with booted(images, name) as link:
        link.load(b"deep")
        link.send(b"eq run 1%")
        lines = link.lines(20)
        assert re.fullmatch(rb"e-\[Fault: exception 0000000\d pc 00000000.*\]", lines[2])
        assert lines[3].startswith(BANNER[0]) and lines[-1] == BANNER[2]
        assert link.eq("out 0").error == -17
        assert link.eq("run 1").one("run") == f"1,0,{zlib.crc32(bytes(4)):08x}"


@needs_qemu
@pytest.mark.parametrize("name", [n for n in EMULATED if n != "mps3-an547"])
def test_a_fault_names_its_place(images: dict[str, Path], name: str) -> None:
    with booted(images, name) as link:
        link.load(b"dead")
        link.send(b"eq run 1%")
        line = link.lines(20)[2].decode()
    found = re.fullmatch(r"e-\[Fault: exception 00000003 pc (\w{8})( cfsr 00008200)?\]", line)
    assert found, line
    where = subprocess.run(
        ["arm-none-eabi-addr2line", "-f", "-e", images[name], found[1]],
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.split()[0] == "run"
