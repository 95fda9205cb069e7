"""Programs that write firmware to a board, each a small class. A target's `flasher` names one."""

from __future__ import annotations

import abc
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import serial

from edgeq.bundle import Bundle
from edgeq.devices import find_port
from edgeq.documents import nearest
from edgeq.errors import BundleError, DeviceError, FlashError, UsageError
from edgeq.firmware_formats import load_segments, to_binary, to_hex, to_uf2
from edgeq.targets import Target
from edgeq.transports.process import run

TIME_LIMIT = 180.0
"""Seconds to erase, write and verify: 2 MiB over the slowest probe take one minute."""

_APPEAR_LIMIT = 10.0
"""Seconds for a boot loader's drive or port to show up."""


@dataclass(frozen=True)
class Job:
    """Write `image`. `arguments` are the user's own for the program; `port` where it needs one."""

    image: Path
    arguments: tuple[str, ...] = ()
    port: str | None = None


class Flasher(abc.ABC):
    """How one program writes an image.

    A new one is a subclass, listed in FLASHERS, with a test of its exact argv:

    formats   suffixes of images that it takes, the best first
    install   how to get the program
    advice    what helps when it fails, beside what it printed itself
    wants     arguments that it cannot do without, as an example
    argv      the whole command
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    install: ClassVar[str]
    advice: ClassVar[str] = "is the board connected and powered, and no debugger attached?"
    wants: ClassVar[str | None] = None
    needs_port: ClassVar[bool] = False

    @abc.abstractmethod
    def argv(self, job: Job) -> list[str]:
        """The whole command."""

    def flash(self, job: Job) -> None:
        """Write, verify and start `job.image`. Raises FlashError."""
        self.check(job)
        self.execute(self.argv(job))

    def check(self, job: Job) -> None:
        if self.wants and not job.arguments:
            raise UsageError(
                f"{self.name} must be told which chip or board it is",
                hint=f"after --, as: edgeq flash BUNDLE -- {self.wants}",
            )

    def execute(self, argv: Sequence[str]) -> None:
        finished = run(argv, install=self.install, time_limit=TIME_LIMIT)
        if finished.code != 0:
            how = (
                f"did not finish within {TIME_LIMIT:g} s"
                if finished.code is None
                else f"failed (exit code {finished.code})"
            )
            said = "\n".join(finished.output.splitlines()[-8:])
            raise FlashError(
                f"{self.name} {how}: {finished.command}",
                hint="\n".join(filter(None, (said, self.advice))),
            )


class OpenOcd(Flasher):
    """ST-Link, CMSIS-DAP, J-Link and more. Arguments: -f with a board's or target's file."""

    name = "openocd"
    formats = (".elf", ".hex")
    install = "sudo apt-get install openocd"
    wants = "-f board/st_nucleo_f4.cfg"

    def argv(self, job: Job) -> list[str]:
        # Braces are Tcl's quotes.
        program = f"program {{{_quotable(job.image)}}} verify reset exit"
        return ["openocd", *job.arguments, "-c", program]


class PyOcd(Flasher):
    """CMSIS-DAP and ST-Link. Arguments: --target NAME where the probe does not know its chip."""

    name = "pyocd"
    formats = (".elf", ".hex")
    install = "pip install pyocd"
    advice = "'pyocd list' shows the probes; 'pyocd pack find CHIP' support for more chips"

    def argv(self, job: Job) -> list[str]:
        options = ("--no-wait", "--erase", "sector")
        return ["pyocd", "flash", *options, *job.arguments, str(job.image)]


class StFlash(Flasher):
    """ST-Link, from stlink-tools. It takes the addresses from the hex file."""

    name = "st-flash"
    formats = (".hex",)
    install = "sudo apt-get install stlink-tools"
    advice = "'st-info --probe' shows the probe and the chip"

    def argv(self, job: Job) -> list[str]:
        command = ["st-flash", *job.arguments, "--reset", "--format", "ihex"]
        return [*command, "write", str(job.image)]


class PicoTool(Flasher):
    """RP2040 and RP2350, in BOOTSEL mode or with USB serial of the Pico SDK's."""

    name = "picotool"
    formats = (".elf", ".uf2")
    install = "https://github.com/raspberrypi/picotool/releases"
    advice = "hold the BOOTSEL button while you plug the board in, then try again"

    def argv(self, job: Job) -> list[str]:
        # -f restarts a board into BOOTSEL mode that runs the SDK's USB serial.
        return ["picotool", "load", "-v", "-x", str(job.image), *job.arguments, "-f"]


class JLink(Flasher):
    """SEGGER's J-Link Commander. Arguments: -device NAME, SEGGER's own of the chip."""

    name = "jlink"
    formats = (".hex", ".elf")
    install = "https://www.segger.com/downloads/jlink/"
    wants = "-device STM32F446RE"

    script: ClassVar[str] = 'r\nloadfile "{image}"\nr\ng\nexit\n'
    """Reset and halt, write, reset, go."""

    def argv(self, job: Job) -> list[str]:
        return self._argv(job, Path("flash.jlink"))

    def flash(self, job: Job) -> None:
        self.check(job)
        with tempfile.TemporaryDirectory(prefix="edgeq") as folder:
            script = Path(folder, "flash.jlink")
            script.write_text(self.script.format(image=_quotable(job.image)), encoding="utf-8")
            self.execute(self._argv(job, script))

    @staticmethod
    def _argv(job: Job, script: Path) -> list[str]:
        program = "JLink.exe" if sys.platform == "win32" else "JLinkExe"
        # Without ExitOnError it ends with 0 whatever happened.
        options = ("-NoGui", "1", "-ExitOnError", "1", "-AutoConnect", "1", "-If", "SWD")
        speed = ("-Speed", "4000")
        return [program, *options, *speed, *job.arguments, "-CommandFile", str(script)]


class Bossac(Flasher):
    """SAM-BA boot loaders: Arduino's boards with SAM and nRF52840 chips."""

    name = "bossac"
    formats = (".bin",)
    install = "sudo apt-get install bossa-cli"
    advice = "press the board's reset button twice: its LED pulses while the boot loader waits"
    needs_port = True

    def argv(self, job: Job) -> list[str]:
        # As ArduinoCore-mbed calls it (platform.txt), with the port's name alone.
        port = (job.port or "").removeprefix("/dev/")
        return ["bossac", f"--port={port}", "-U", "-i", "-e", "-w", str(job.image), "-R"]

    def flash(self, job: Job) -> None:
        assert job.port is not None
        _touch(job.port)
        super().flash(job)


class Uf2Copy(Flasher):
    """Boot loaders that are a USB drive: a file that is copied there gets flashed."""

    name = "uf2"
    formats = (".uf2",)
    install = ""
    advice = "hold BOOTSEL while you plug the board in (others: press reset twice)"

    def argv(self, job: Job) -> list[str]:
        return []

    def flash(self, job: Job) -> None:
        drive = _wait_for_drive()
        if drive is None:
            raise FlashError(
                f"no drive of a UF2 boot loader appeared within {_APPEAR_LIMIT:g} s",
                hint=f"{self.advice}, and mount the drive",
            )
        try:
            with open(drive / job.image.name, "wb", buffering=0) as file:
                data = memoryview(job.image.read_bytes())
                while data:
                    data = data[file.write(data) :]
                # The board restarts at the last block, and the drive may be gone by now.
                with contextlib.suppress(OSError):
                    os.fsync(file.fileno())
        except OSError as e:
            raise FlashError(
                f"{drive}: the image was not copied whole: {e.strerror or e}", self.advice
            ) from e


FLASHERS: dict[str, Flasher] = {
    f.name: f for f in (OpenOcd(), PyOcd(), StFlash(), PicoTool(), JLink(), Bossac(), Uf2Copy())
}


def flash(
    target: Target,
    image: Path,
    *,
    flasher: str | None = None,
    arguments: Sequence[str] = (),
    port: str | None = None,
) -> Flasher:
    """Write the firmware `image` to the board, verify and start it; what was used for it.

    `flasher` is another one than the target's; `arguments` go to its program, in place of the
    target's own. Where the program wants another format than the ELF file `image` has, it gets
    one that is made of it. Raises FlashError, MissingProgram or UsageError.
    """
    chosen = choose_flasher(target, flasher)
    with tempfile.TemporaryDirectory(prefix="edgeq") as folder:
        found = _image_for(chosen, image, target, Path(folder))
        if chosen.needs_port and port is None:
            port = find_port(target)
        # The target's own arguments are for its own flasher.
        given = tuple(arguments) or (target.flasher_args if flasher is None else ())
        chosen.flash(Job(found, given, port))
    return chosen


def choose_flasher(target: Target, name: str | None = None) -> Flasher:
    """The flasher of that name, or the target's own. Raises UsageError."""
    wanted = name or target.flasher
    names = ", ".join(FLASHERS)
    if wanted is None:
        raise UsageError(
            f"{target.name} has no flasher",
            hint=f"the emulator runs it: edgeq bench BUNDLE --sim; or name one of {names}"
            if target.sim
            else f"name one with --flasher: {names}",
        )
    if wanted not in FLASHERS:
        guess = nearest(wanted, FLASHERS)
        raise UsageError(
            f"unknown flasher {wanted!r}",
            hint=f"did you mean {guess}?" if guess else f"there are {names}",
        )
    return FLASHERS[wanted]


def firmware_image(bundle: Bundle) -> Path:
    """The firmware in `bundle`: its one ELF file. Raises BundleError."""
    images = sorted(str(n) for n in bundle.manifest["files"] if str(n).endswith(".elf"))
    engine = str(bundle.manifest["engine"])
    if not images and engine != "aot":
        raise BundleError(
            f"{bundle.folder}: engine {engine} makes sources for your own firmware, and no image",
            hint="--engine aot, the default, makes one; what runs on a board is measured by --port",
        )
    if not images:
        raise BundleError(
            f"{bundle.folder}: has no firmware image",
            hint="build it again where arm-none-eabi-gcc is installed (edgeq doctor), "
            "for a target that has a port in runtime/ports",
        )
    if len(images) > 1:
        raise BundleError(
            f"{bundle.folder}: has several images: {', '.join(images)}", hint="name one: --image"
        )
    return bundle.folder / images[0]


def how_to_flash(target: Target, bundle: str) -> str:
    """The command that brings a bundle's firmware onto the board, for hints."""
    if target.core is None:
        return f"build it again: what runs on the device was not made of {bundle}"
    if target.flasher is None:
        return f"build it again, and run it: edgeq bench {bundle} --sim"
    return f"edgeq flash {bundle}"


def _image_for(flasher: Flasher, image: Path, target: Target, folder: Path) -> Path:
    """`image`, or what it becomes, in `folder`, where the flasher takes no ELF file."""
    if not image.is_file():
        raise UsageError(f"{image}: no such image", hint="edgeq build makes one")
    if image.suffix in flasher.formats:
        return image.absolute()
    if image.suffix != ".elf":
        raise FlashError(
            f"{flasher.name} takes {' or '.join(flasher.formats)}, and {image.name} is neither",
            hint="give the .elf: edgeq makes of it what the flasher takes",
        )
    wanted = flasher.formats[0]
    made = folder / image.with_suffix(wanted).name
    made.write_bytes(_converted(image, wanted, target))
    return made


def _converted(image: Path, wanted: str, target: Target) -> bytes:
    segments = load_segments(image.read_bytes(), str(image))
    if wanted == ".hex":
        return to_hex(segments)
    if wanted == ".bin":
        return to_binary(segments, str(image))
    if target.uf2_family is None:
        raise FlashError(
            f"{target.name} has no uf2_family, and a UF2 file needs one",
            hint="use another --flasher, or add the chip's to a target file of your own: "
            "github.com/microsoft/uf2 lists them",
        )
    return to_uf2(segments, int(target.uf2_family, 16))


def _quotable(path: Path) -> str:
    text = str(path)
    if any(c in '{}"\\\n' for c in text) and sys.platform != "win32":
        raise FlashError(
            f"{text!r}: the flasher's own language has these characters as quotes",
            hint="rename the folder or file",
        )
    return text


def _touch(port: str) -> None:
    """Arduino's signal to restart into the boot loader: the port, opened at 1200 baud, closed."""
    try:
        serial.Serial(port, 1200).close()
    except OSError as e:
        raise FlashError(f"{port}: cannot be opened: {e}", hint="edgeq devices lists ports") from e
    deadline = time.monotonic() + _APPEAR_LIMIT
    time.sleep(0.5)  # It goes away first.
    while not os.path.exists(port):
        if time.monotonic() > deadline:
            raise DeviceError(
                f"{port} did not come back within {_APPEAR_LIMIT:g} s",
                hint="it may have another name now: edgeq devices, then --port",
            )
        time.sleep(0.1)


def _wait_for_drive() -> Path | None:
    deadline = time.monotonic() + _APPEAR_LIMIT
    while True:
        drives = [d for d in _mounts() if (d / "INFO_UF2.TXT").is_file()]
        if len(drives) > 1:
            raise UsageError(
                f"several boards wait for a UF2 file: {', '.join(map(str, drives))}",
                hint="leave only one of them plugged in",
            )
        if drives or time.monotonic() > deadline:
            return drives[0] if drives else None
        time.sleep(0.2)


def _mounts() -> list[Path]:
    """Where drives are: the mount points of Linux, the volumes of macOS, the letters of Windows."""
    if sys.platform == "win32":
        return [Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ"]
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").iterdir())
    with contextlib.suppress(OSError):
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        fields = [line.split() for line in lines]
        # A blank in a name is \040 there (proc_mounts(5)).
        return [Path(f[1].replace("\\040", " ")) for f in fields if len(f) > 2 and f[2] == "vfat"]
    return []
