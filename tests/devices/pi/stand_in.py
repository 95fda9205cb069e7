"""A Raspberry Pi's stand-in: a real sshd in a Debian root for Arm, on loopback, by QEMU.

    with Pi("arm64", folder) as pi, pi.reachable(monkeypatch):
        machine = SshMachine(pi.address)

Its computing is right and its times mean nothing. It has host key, port and client of its own:
`bin/ssh` in the folder is this computer's ssh with the configuration there, since OpenSSH takes
~/.ssh from the password database and not from HOME.
"""

from __future__ import annotations

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest
from pi import roots

HERE = Path(__file__).resolve().parent
USER = "pi"
_READY_LIMIT = 60.0
_QEMU = {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey /etc/ssh/edgeq_host_key
UsePAM no
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
MaxStartups 100
SetEnv QEMU_CPU={cpu}
"""

_CLIENT_CONFIG = """\
Host testpi
  HostName 127.0.0.1
  Port {port}
  User pi

Host *
  UserKnownHostsFile {folder}/ssh/known_hosts
  GlobalKnownHostsFile none
  IdentityFile {folder}/ssh/id
  IdentityAgent none
  IdentitiesOnly yes
"""


def missing() -> str | None:
    """Why there can be no stand-in on this computer."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "a root for Arm is entered by namespaces, as root on Linux"
    wanted = ["ssh", "ssh-keygen", "apt-get", "dpkg-deb", *_QEMU.values()]
    gone = [name for name in wanted if not shutil.which(name)]
    return f"not installed: {', '.join(gone)}" if gone else None


class Pi:
    """One Pi, switched on from enter to exit. `folder` is for its client and must be empty."""

    def __init__(self, architecture: str, folder: Path, disk: str | None = None) -> None:
        self.architecture = architecture
        self.folder = folder
        self._disk = disk
        self._setup = folder / "setup"
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Pi:
        self._require()
        (self.folder / "ssh").mkdir(parents=True)
        (self.folder / "bin").mkdir()
        for name in ("id", "host_key"):
            self._keygen(self.folder / "ssh" / name)
        _write(
            self.folder / "bin/ssh",
            f'#!/bin/sh\nexec /usr/bin/ssh -F {self.folder}/ssh/config "$@"\n',
        ).chmod(0o755)
        self.switch_on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.switch_off()

    @property
    def address(self) -> str:
        return f"ssh:{USER}@127.0.0.1:{self.port}"

    @property
    def files(self) -> Path:
        """Its file system, as this computer sees it."""
        return Path(f"/proc/{self._first}/root")

    @property
    def wheels(self) -> Path:
        """The packages for its processor, as PyPI has them."""
        return self._root / "opt/wheels"

    def switch_on(self) -> None:
        """Start sshd, at the same port as before, if any."""
        self.port = self.port or _free_port()
        cpu = "cortex-a72" if self.architecture == "arm64" else "cortex-a15"
        text = _SSHD_CONFIG.format(port=self.port, cpu=cpu)
        _write(self._setup / "etc/ssh/edgeq_sshd_config", text)
        key = _write(
            self._setup / "etc/ssh/edgeq_host_key",
            (self.folder / "ssh/host_key").read_text(),
        )
        key.chmod(0o600)
        _write(
            self._setup / "home/pi/.ssh/authorized_keys",
            (self.folder / "ssh/id.pub").read_text(),
        )
        self.trust()
        _write(
            self.folder / "ssh/config", _CLIENT_CONFIG.format(port=self.port, folder=self.folder)
        )
        sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/edgeq_sshd_config"]
        self._start(sshd)
        end = time.monotonic() + _READY_LIMIT
        while not self._answers():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > end:
                text = self._log.read_text()
                self.switch_off()
                pytest.fail(f"sshd did not start: {text}")
            time.sleep(0.05)

    def switch_off(self) -> None:
        """End it and all that runs in it, at once, as when power is cut."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            end = time.monotonic() + 10
            while Path(f"/proc/{self._first}/root/etc").exists() and time.monotonic() < end:
                time.sleep(0.02)

    def trust(self, key: str = "host_key") -> None:
        """Have the client's known_hosts name this key for the Pi."""
        kind, data, *_ = (self.folder / f"ssh/{key}.pub").read_text().split()
        host = f"[127.0.0.1]:{self.port}"
        _write(self.folder / "ssh/known_hosts", f"{host} {kind} {data}\n")

    def another_key(self, name: str) -> str:
        self._keygen(self.folder / "ssh" / name)
        return name

    def client(self, patch: pytest.MonkeyPatch) -> None:
        """From now on `ssh` is the client that knows this Pi."""
        patch.setenv("PATH", f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def processes(self, containing: str) -> list[int]:
        """Ids, as this computer counts, of its processes with this in their command lines."""
        assert self._process is not None
        ours = os.readlink(f"/proc/{self._first}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == ours:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if containing in command:
                        found.append(int(folder.name))
            except OSError:
                continue
        return found

    def switch_console_on(self) -> int:
        """Start it with a login on a serial console instead of sshd. Our end of that line."""
        self._require()
        _write(self._setup / "login.sh", (HERE / "login.sh").read_text())
        ours, theirs = pty.openpty()
        try:
            self._start(["setsid", "-c", "-w", "sh", "/login.sh"], theirs)
        finally:
            os.close(theirs)
        return ours

    def _require(self) -> None:
        reason = missing()
        if reason:
            pytest.skip(reason)
        self._root = roots.root(self.architecture)

    def _start(self, program: list[str], console: int | None = None) -> None:
        pid = self._setup.with_name("setup.pid")
        pid.unlink(missing_ok=True)
        environment = {"PATH": "/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
        if self._disk:
            environment["EDGEQ_TEST_DISK"] = self._disk
        with self._log.open("wb") as log:
            namespaces = [sys.executable, str(HERE / "namespaces.py"), str(self._root)]
            self._process = subprocess.Popen(
                [*namespaces, str(self._setup), *program],
                stdin=subprocess.DEVNULL if console is None else console,
                stdout=log if console is None else console,
                stderr=log if console is None else console,
                env=environment,
                start_new_session=True,
            )
        end = time.monotonic() + _READY_LIMIT
        while not pid.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the root was not entered: {self._log.read_text()}")
            time.sleep(0.02)
        self._first = int(pid.read_text())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.settimeout(20)
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def _keygen(self, path: Path) -> None:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
        subprocess.run(argv, check=True, timeout=60)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
