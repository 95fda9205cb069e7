"""The exact commands, and what a person sees when one fails. No board is needed."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from processes import assert_gone

from edgeq import flashers
from edgeq.bundle import write_bundle
from edgeq.errors import BundleError, FlashError, MissingProgram, UsageError
from edgeq.flashers import FLASHERS, Job, choose_flasher, firmware_image, flash, how_to_flash
from edgeq.targets import list_targets, load_target

IMAGE = Path("/b/fw.elf")


def minimal_elf(address: int, data: bytes) -> bytes:
    """An ARM ELF file that loads `data` at `address`."""
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    head = struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, address, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = len(data)
    segment = struct.pack("<8I", 1, 84, address, address, size, size, 5, 4)
    return ident + head + segment + data


@pytest.mark.parametrize(
    ("name", "job", "argv"),
    [
        (
            "openocd",
            Job(Path("/my boards/fw.elf"), ("-f", "board/st_nucleo_f4.cfg")),
            ["openocd", "-f", "board/st_nucleo_f4.cfg"]
            + ["-c", "program {/my boards/fw.elf} verify reset exit"],
        ),
        ("pyocd", Job(IMAGE), ["pyocd", "flash", "--no-wait", "--erase", "sector", "/b/fw.elf"]),
        (
            "pyocd",
            Job(IMAGE, ("--target", "nrf51")),
            ["pyocd", "flash", "--no-wait", "--erase", "sector", "--target", "nrf51", "/b/fw.elf"],
        ),
        (
            "st-flash",
            Job(Path("/b/fw.hex")),
            ["st-flash", "--reset", "--format", "ihex", "write", "/b/fw.hex"],
        ),
        (
            "st-flash",
            Job(Path("/b/fw.hex"), ("--serial", "0668FF")),
            ["st-flash", "--serial", "0668FF", "--reset", "--format", "ihex", "write", "/b/fw.hex"],
        ),
        ("picotool", Job(IMAGE), ["picotool", "load", "-v", "-x", "/b/fw.elf", "-f"]),
        (
            "jlink",
            Job(Path("/b/fw.hex"), ("-device", "STM32F446RE")),
            ["JLinkExe", "-NoGui", "1", "-ExitOnError", "1", "-AutoConnect", "1", "-If", "SWD"]
            + ["-Speed", "4000", "-device", "STM32F446RE", "-CommandFile", "flash.jlink"],
        ),
        (
            "bossac",
            Job(Path("/b/fw.bin"), port="/dev/ttyACM1"),
            ["bossac", "--port=ttyACM1", "-U", "-i", "-e", "-w", "/b/fw.bin", "-R"],
        ),
    ],
)
def test_argv(name, job, argv):
    assert FLASHERS[name].argv(job) == argv


def test_every_flasher_of_a_target_exists():
    named = {t.flasher for t in list_targets() if t.flasher}
    assert named <= set(FLASHERS)


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "fw.elf"
    path.write_bytes(b"\x7fELF")
    return path


@pytest.fixture
def bin_folder(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_flash_runs_the_program(bin_folder, image):
    program(bin_folder, "picotool", f'echo "$@" > {bin_folder}/called')
    assert flash(load_target("pico"), image).name == "picotool"
    assert (bin_folder / "called").read_text().strip() == f"load -v -x {image} -f"


def test_a_failure_shows_the_command_and_what_it_said(bin_folder, image):
    program(bin_folder, "pyocd", "echo No connected debug probes; exit 1")
    with pytest.raises(FlashError) as e:
        flash(load_target("microbit"), image)
    assert f"pyocd flash --no-wait --erase sector {image}" in e.value.message
    assert "exit code 1" in e.value.message
    assert e.value.hint.startswith("No connected debug probes\n")
    assert "pyocd list" in e.value.hint


def test_a_program_that_hangs_is_ended(bin_folder, image, monkeypatch):
    program(bin_folder, "picotool", f"echo $$ > {bin_folder}/pid; sleep 60")
    monkeypatch.setattr(flashers, "TIME_LIMIT", 0.5)
    with pytest.raises(FlashError, match="did not finish within 0.5 s"):
        flash(load_target("pico"), image)
    assert_gone(int((bin_folder / "pid").read_text()))


def test_a_missing_program_says_how_to_get_it(image, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgram) as e:
        flash(load_target("microbit"), image)
    assert e.value.hint == "pip install pyocd"


def test_jlink_gets_a_script_with_the_image(bin_folder, image):
    program(bin_folder, "JLinkExe", f'for last; do :; done; cp "$last" {bin_folder}/script')
    target = load_target("nucleo-f446re")
    flash(target, image, flasher="jlink", arguments=["-device", "STM32F446RE"])
    lines = (bin_folder / "script").read_text().splitlines()
    assert lines == ["r", f'loadfile "{image}"', "r", "g", "exit"]


def test_openocd_must_be_told_the_board(image):
    with pytest.raises(UsageError) as e:
        flash(load_target("nucleo-f446re"), image, flasher="openocd")
    assert e.value.hint == "after --, as: edgeq flash BUNDLE -- -f board/st_nucleo_f4.cfg"


def test_a_target_tells_openocd_its_board(bin_folder, image):
    program(bin_folder, "openocd", f'echo "$@" > {bin_folder}/called')
    flash(load_target("nucleo-f446re"), image)
    assert "-f board/st_nucleo_f4.cfg" in (bin_folder / "called").read_text()


def test_a_file_name_cannot_become_a_command(tmp_path):
    evil = tmp_path / "a} ; exec touch x; {.elf"
    evil.write_bytes(b"")
    with pytest.raises(FlashError, match="quotes"):
        flash(load_target("nucleo-f446re"), evil, arguments=["-f", "x"])


def test_a_program_that_takes_no_elf_gets_a_file_made_of_it(bin_folder, image):
    image.write_bytes(minimal_elf(0x08000000, b"firmware"))
    program(bin_folder, "st-flash", f'for last; do :; done; cp "$last" {bin_folder}/got.hex')
    flash(load_target("nucleo-f446re"), image, flasher="st-flash")
    assert (bin_folder / "got.hex").read_text().splitlines() == [
        ":020000040800F2",
        ":080000006669726D776172659B",
        ":00000001FF",
    ]


def test_an_image_of_another_format_is_refused(tmp_path):
    image = tmp_path / "fw.bin"
    image.write_bytes(b"x")
    with pytest.raises(FlashError, match=r"st-flash takes \.hex, and fw\.bin is neither") as e:
        flash(load_target("nucleo-f446re"), image, flasher="st-flash")
    assert "give the .elf" in e.value.hint


def test_uf2_needs_the_family_of_the_chip(image):
    image.write_bytes(minimal_elf(0, b"firmware"))
    with pytest.raises(FlashError, match="microbit has no uf2_family"):
        flash(load_target("microbit"), image, flasher="uf2")


def test_uf2_is_copied_to_the_one_drive(tmp_path, monkeypatch):
    drive, image = tmp_path / "RPI-RP2", tmp_path / "fw.uf2"
    image.write_bytes(bytes(range(256)) * 100)
    monkeypatch.setattr(flashers, "_APPEAR_LIMIT", 0.3)
    monkeypatch.setattr(flashers, "_mounts", lambda: [tmp_path, drive])
    with pytest.raises(FlashError, match="no drive"):
        flash(load_target("pico"), image, flasher="uf2")
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0")
    flash(load_target("pico"), image, flasher="uf2")
    assert (drive / "fw.uf2").read_bytes() == image.read_bytes()
    (tmp_path / "INFO_UF2.TXT").write_text("")
    with pytest.raises(UsageError, match="several boards"):
        flash(load_target("pico"), image, flasher="uf2")


def test_the_flasher_must_be_known():
    with pytest.raises(UsageError, match="no flasher") as e:
        choose_flasher(load_target("mps2-an386"))
    assert "--sim" in e.value.hint
    with pytest.raises(UsageError) as e:
        choose_flasher(load_target("pico"), "opencd")
    assert e.value.hint == "did you mean openocd?"


def test_the_image_is_the_bundles_one_elf(tmp_path):
    def bundle(*names: str):
        manifest = {"schema": "edgeq.bundle", "schema_version": 1, "name": "kws", "engine": "aot"}
        return write_bundle(tmp_path / "b", manifest, dict.fromkeys(names, b""))

    assert firmware_image(bundle("a.c", "fw/kws.elf")) == tmp_path / "b/fw/kws.elf"
    with pytest.raises(BundleError, match="no firmware image"):
        firmware_image(bundle("a.c"))
    with pytest.raises(BundleError, match=r"a\.elf, b\.elf"):
        firmware_image(bundle("b.elf", "a.elf"))


def test_hints_name_the_right_command():
    assert how_to_flash(load_target("pico"), "build/pico") == "edgeq flash build/pico"
    assert "--sim" in how_to_flash(load_target("mps2-an386"), "b")


def test_nothing_outlives_us(tmp_path):
    """Killed in a way that leaves no time to clean up, we take our programs with us."""
    code = (
        "import os, signal, sys\n"
        "from edgeq.transports.process import Process\n"
        "p = Process(['sleep', '60'], install='')\n"
        "while open(f'/proc/{p._process.pid}/comm').read() != 'sleep\\n': pass\n"  # setpriv ran
        "print(p._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with Popen([sys.executable, "-c", code], stdout=PIPE) as child:
        pid = int(child.stdout.readline())
    assert_gone(pid)
