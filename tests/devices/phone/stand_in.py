"""A phone's stand-in: a real adbd in an Android-like root for Arm, on loopback, by QEMU.

    with Adb(folder / "adb") as adb, Phone(adb, folder / "phone") as phone:
        adb.use(monkeypatch)
        machine = AdbMachine(phone.serial)

Its computing is right and its times mean nothing. adb's server has a port, keys and a log of its
own. Half of the cores, as many as this computer has, are little ones.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pytest
from phone import adbd, system
from pi import namespaces

READY_LIMIT = 60.0
_NEEDED = {"adb": "adb", "dpkg-deb": "dpkg", "qemu-aarch64-static": "qemu-user-static"}
"""A program, and the package that has it."""

PROPERTIES = {
    "ro.product.manufacturer": "edgeq",
    "ro.product.model": "Emulated Phone",
    "ro.product.name": "edgeq_arm64",
    "ro.product.device": "edgeq",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.sdk": "34",
    "ro.build.version.release": "14",
    "ro.soc.model": "EQ1000",
}

_LITTLE, _BIG = (0xD03, 1_800_000), (0xD08, 2_400_000)
"""Part number and kHz: Cortex-A53 and Cortex-A72."""


def missing() -> str | None:
    """Why there can be no stand-in on this computer."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a root for Arm is entered by namespaces, as root on Linux"
    gone = [package for name, package in _NEEDED.items() if not shutil.which(name)]
    if gone:
        return f"a phone needs: apt-get install {' '.join(gone)}"
    return None if system.made().exists() else adbd.missing()


class Adb:
    """adb, as one who has nothing to do with this computer's other adb would use it."""

    def __init__(self, folder: Path, program: str = "adb") -> None:
        self.folder = folder
        self.program = program
        self.port = free_port()

    def __enter__(self) -> Adb:
        if reason := missing():
            pytest.skip(reason)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.run("kill-server")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "ADB_MDNS": "0",
            "ADB_MDNS_OPENSCREEN": "0",
        }

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """From now on `adb` is this one."""
        for name, value in self.environment.items():
            patch.setenv(name, value)
        for name in ("ANDROID_SERIAL", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
            patch.delenv(name, raising=False)
        if self.program != "adb":
            folder = self.folder / "bin"
            folder.mkdir(exist_ok=True)
            (folder / "adb").unlink(missing_ok=True)
            (folder / "adb").symlink_to(self.program)
            patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def run(self, *arguments: str) -> str:
        """What adb says."""
        done = subprocess.run(
            [self.program, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            timeout=60,
        )
        return (done.stdout + done.stderr).decode(errors="replace")


class Phone:
    """One phone, switched on from enter to exit, and connected to `adb`.

    With `secure` it wants a key that it has not; `disk`, "4m" say, is the size of /data/local/tmp;
    `properties` are added to PROPERTIES, and `files` (path: text) to its file system, where scripts
    may be executed.
    """

    def __init__(
        self,
        adb: Adb,
        folder: Path,
        *,
        secure: bool = False,
        disk: str | None = None,
        properties: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.adb = adb
        self.folder = folder
        self._disk = disk
        self._properties = {
            **PROPERTIES,
            "ro.adb.secure": "1" if secure else "0",
            **(properties or {}),
        }
        self._files = files or {}
        self._setup = folder / "setup"
        self._log = folder / "adbd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0
        self.port = 0

    def __enter__(self) -> Phone:
        if reason := missing():
            pytest.skip(reason)
        self.folder.mkdir(parents=True)
        self._root = system.root()
        self.switch_on()
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.adb.run("disconnect", self.serial)
        self.switch_off()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"adb:{self.serial}"

    @property
    def files(self) -> Path:
        """Its file system, as this computer sees it."""
        return Path(f"/proc/{self._first}/root")

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def connect(self) -> None:
        """Have adb know it, in whatever state it is."""
        end = time.monotonic() + READY_LIMIT
        while self.state() in (None, "offline", "connecting"):
            if time.monotonic() > end:
                pytest.fail(f"adb does not reach the phone: {self._log.read_text()}")
            self.adb.run("disconnect", self.serial)
            self.adb.run("connect", self.serial)

    def state(self) -> str | None:
        for line in self.adb.run("devices").splitlines():
            serial, _, state = line.partition("\t")
            if serial == self.serial:
                return state
        return None

    def switch_on(self) -> None:
        """Start it, as new and at the same port as before, if any."""
        self.port = self.port or free_port()
        self._write_setup()
        pid = self._setup.with_name("setup.pid")
        pid.unlink(missing_ok=True)
        environment = {
            "PATH": "/system/bin:/usr/sbin:/usr/bin",
            "ANDROID_ROOT": "/system",
            "ANDROID_DATA": "/data",
        }
        if self._disk:
            environment |= {"EDGEQ_TEST_DISK": self._disk}
            environment |= {"EDGEQ_TEST_DISK_AT": f"data/local/tmp:{system.SHELL}"}
        loader = f"{system.ADBD}/ld-linux-x86-64.so.2"
        program = [loader, "--library-path", system.ADBD, f"{system.ADBD}/adbd"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, namespaces.__file__, str(self._root), str(self._setup), *program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        end = time.monotonic() + READY_LIMIT
        while not (pid.exists() and self._listens()):
            if self._process.poll() is not None or time.monotonic() > end:
                text = self._log.read_text()
                self.switch_off()
                pytest.fail(f"adbd did not start: {text}")
            time.sleep(0.02)
        self._first = int(pid.read_text())

    def switch_off(self) -> None:
        """End it and all that runs in it, at once, as when its battery is taken out."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            end = time.monotonic() + 10
            while self._first and (self.files / "etc").exists() and time.monotonic() < end:
                time.sleep(0.02)

    def processes(self, containing: str = "") -> list[int]:
        """Ids, as this computer counts, of what it runs beside adbd with this in the command."""
        ours = os.readlink(f"/proc/{self._first}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == ours and int(folder.name) != self._first:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command and containing in command:
                        found.append(int(folder.name))
            except OSError:
                continue
        return found

    def freeze(self) -> None:
        """adbd answers nothing more, and its connection stays."""
        os.kill(self._first, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._first, signal.SIGCONT)

    def _listens(self) -> bool:
        # A connection would be taken for an adb server's: look at what listens instead.
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        return wanted in Path("/proc/net/tcp").read_text()

    def _write_setup(self) -> None:
        properties = {
            **self._properties,
            "service.adb.listen_addrs": f"tcp:localhost:{self.port}",
        }
        self._write("system/build.prop", "".join(f"{k}={v}\n" for k, v in properties.items()))
        cores = os.cpu_count() or 1
        kinds = [_LITTLE if core < cores // 2 else _BIG for core in range(cores)]
        self._write("etc/edgeq-test/cpuinfo", "".join(map(_cpuinfo, range(cores), kinds)))
        for name in ("online", "possible", "present"):  # XNNPACK counts processors by these.
            self._write(f"sys/devices/system/cpu/{name}", f"0-{cores - 1}\n")
        for core, (_, khz) in enumerate(kinds):
            folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
            self._write(f"{folder}/scaling_governor", "schedutil\n")
            self._write(f"{folder}/cpuinfo_max_freq", f"{khz}\n")
            self._write(f"{folder}/scaling_max_freq", f"{khz}\n")
            self._write(f"{folder}/scaling_cur_freq", f"{khz // 2}\n")
        self._write("sys/class/thermal/thermal_zone0/type", "cpu-0-0\n")
        self._write("sys/class/thermal/thermal_zone0/temp", "38500\n")
        self._write("sys/class/power_supply/battery/capacity", "87\n")
        for name, text in self._files.items():
            self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        path = self._setup / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)


def _cpuinfo(core: int, kind: tuple[int, int]) -> str:
    return (
        f"processor\t: {core}\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: {kind[0]:#x}\nCPU revision\t: 4\n\n"
    )


def free_port() -> int:
    """One that is free now, and that adb does not take for an emulator's."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        if not 5555 <= port <= 5585:
            return port
