"""A machine by ssh: `ssh:[user@]host[:port]`, reached as the user's own `ssh` reaches it.

One connection is shared by all commands (OpenSSH's ControlMaster) and ends with the machine.
Every command on the machine carries a word of its own in its environment, EDGEQ_RUN: by that it
is found and ended, with all that it started, since a client that goes away leaves it running.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import re
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from edgeq.errors import DeviceError, DeviceFault, DeviceLost, NoReply, UsageError
from edgeq.protocol import printable
from edgeq.transports import openssh
from edgeq.transports.machine import OUTPUT_LIMIT, Ended, Pushed
from edgeq.transports.piped import Piped
from edgeq.transports.process import Process
from edgeq.transports.remote import check_name, kill_script, push_error

log = logging.getLogger(__name__)

OPEN_LIMIT = 45.0
"""Seconds to connect: name, addresses, keys, jumps."""

_BEGIN_LIMIT = 30.0
"""For a command's first word: a Pi Zero that swaps takes its time."""

_END_LIMIT = 15.0
_STALL_LIMIT = 30.0
_GRACE = 1.0
_TAIL = 4096
_CHUNK = 65536
_SSH_FAILED = 255
_SOCKET_ROOM = 60
"""Characters for the folder of the control socket: of 104 in all, ssh adds some for a while."""


class SshMachine:
    """`address` as above; "ssh:" may be left out. Raises UsageError for what is none."""

    def __init__(self, address: str) -> None:
        if sys.platform == "win32":
            raise UsageError("machines by ssh are reached from Linux and macOS", hint="use WSL")
        self._destination = openssh.parse_address(address)
        self.name = openssh.SCHEME + address.removeprefix(openssh.SCHEME)
        self._home: str | None = None
        self._control: Path | None = None
        self._master: Process | None = None

    @property
    def folder(self) -> str:
        if self._home is None:
            raise DeviceLost(f"{self.name} is not open")
        return f"{self._home.rstrip('/')}/.cache/edgeq"

    def open(self) -> None:
        try:
            self._connect()
            ended = self.run("printf '%s' \"$HOME\"", _BEGIN_LIMIT)
            home = ended.output.decode(errors="replace")
            if not home.startswith("/") or not home.isprintable():
                raise DeviceFault(
                    f"{self.name}: its HOME is {printable(ended.output)[:200]!r}, no folder",
                    hint="give the user a home there: sudo usermod -d",
                )
            self._home = home
        except BaseException:
            self.close()
            raise

    def run(self, script: str, time_limit: float) -> Ended:
        with contextlib.closing(_Command(self, script)) as command:
            return command.to_its_end(time_limit)

    def push(self, files: Mapping[str, bytes], folder: str, progress: Pushed | None = None) -> None:
        total = sum(map(len, files.values()))
        done = 0
        there = self._sums(list(files), folder)
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            if there.get(name) != digest:
                self._push(name, content, digest, folder, progress, (done, total))
            done += len(content)
            if progress:
                progress(f"send {name}", done, total)

    def start(self, script: str, folder: str) -> SshProgram:
        return SshProgram(self, script, folder)

    def close(self) -> None:
        master, self._master = self._master, None
        if master is not None:
            master.stop()
        control, self._control = self._control, None
        if control is not None:
            shutil.rmtree(control.parent, ignore_errors=True)

    def command(self, remote: str) -> Piped:
        """The ssh that runs `remote`, which every login shell takes as it is."""
        if self._control is None:
            raise DeviceLost(f"{self.name} is not open")
        destination = self._destination.arguments()
        argv = ["ssh", *openssh.options(self._control), *destination, remote]
        return Piped(argv, install=openssh.INSTALL)

    def end(self, word: str, also: str = "") -> bool:
        """End on the machine what carries `word`, and run `also` then; whether that is known."""
        try:
            script = f"{kill_script(word)}\n{also}"
            with contextlib.closing(_Command(self, script, to_be_ended=False)) as command:
                command.to_its_end(_END_LIMIT)
        except DeviceError as e:
            log.info("%s: whether %s ended is not known: %s", self.name, word, e)
            return False
        return True

    def lost(self, said: str, status: int | None) -> DeviceError:
        """The error for a command without an end; `said` and `status` are ssh's."""
        words = openssh.spoken(said).splitlines()
        reason = printable(words[-1].encode())[:300] if words else "without a word"
        if status is not None and 0 <= status < _SSH_FAILED:
            return DeviceFault(
                f"{self.name}: its login shell ran no command, exit code {status}: {reason}",
                hint="does this work? It needs sh, env, base64 and a shell that runs commands:\n"
                f"{self._destination.by_hand()} 'echo b2s= | base64 -d'",
            )
        return DeviceLost(
            f"{self.name}: the connection was lost: {reason}",
            hint="check the machine's power and network, then start again",
        )

    def _connect(self) -> None:
        self._control = Path(tempfile.mkdtemp(prefix="edgeq-ssh-", dir=_socket_folder())) / "s"
        argv = ["ssh", "-v", *openssh.options(self._control), "-oControlMaster=yes", "-N"]
        # The first of two settings counts.
        argv.remove("-oControlMaster=no")
        self._master = Process([*argv, *self._destination.arguments()], install=openssh.INSTALL)
        end = time.monotonic() + OPEN_LIMIT
        while not self._control.exists():
            if self._master.wait(0.02) is not None:
                said = self._master.output(1 << 16)
                raise openssh.connection_error(self.name, self._destination, said)
            if time.monotonic() > end:
                raise NoReply(
                    f"{self.name}: no connection within {OPEN_LIMIT:g} s",
                    hint=f"does it work by hand? {self._destination.by_hand()}",
                )

    def _sums(self, names: list[str], folder: str) -> dict[str, str]:
        """The SHA-256 of those of `names` that are in `folder` and may be executed."""
        for name in names:
            check_name(name)
        quoted = shlex.quote(folder)
        script = [f"cd {quoted} 2>/dev/null || exit 0"]
        script += [f"[ -x {(q := shlex.quote('./' + n))} ] && sha256sum < {q}; echo" for n in names]
        ended = self.run("\n".join(script), 60 + len(names))
        # Of each file a line with its sum or none, and an empty one.
        sums = re.findall(rb"(?:([0-9a-f]{64})[^\n]*\n)?\n", ended.output)
        return {n: s.decode() for n, s in zip(names, sums, strict=False) if s}

    def _push(
        self,
        name: str,
        content: bytes,
        digest: str,
        folder: str,
        progress: Pushed | None,
        done: tuple[int, int],
    ) -> None:
        target = f"{folder}/{name}"
        part = f"{target}.{secrets.token_hex(4)}.part"
        at, new = shlex.quote(target), shlex.quote(part)
        script = (
            "export LC_ALL=C\n"
            f"mkdir -p -- {shlex.quote(target.rpartition('/')[0])} || exit 1\n"
            f"new={new}\n"
            "trap 'rm -f -- \"$new\"' EXIT\n"
            'cat > "$new" && chmod 755 "$new" || exit 1\n'
            'set -- $(sha256sum < "$new")\n'
            f'[ "$1" = {digest} ] || {{ echo it arrived with another SHA-256 >&2; exit 1; }}\n'
            f'mv -f -- "$new" {at}\n'
        )
        with contextlib.closing(_Command(self, script, on_end=f"rm -f -- {new}")) as command:
            view = memoryview(content)
            for start in range(0, len(content), _CHUNK):
                if not command.write(bytes(view[start : start + _CHUNK])):
                    break
                if progress:
                    progress(f"send {name}", done[0] + start, done[1])
            command.close_input()
            ended = command.to_its_end(_STALL_LIMIT + len(content) / 1e6)
        if ended.code:
            raise push_error(self.name, target, ended.code, ended.errors)


class SshProgram:
    """A program on the machine, as a Transport: its stdin and stdout."""

    instruction_hz = None

    def __init__(self, machine: SshMachine, script: str, folder: str) -> None:
        self.name = machine.name
        self._machine = machine
        self._script = f"cd -- {shlex.quote(folder)} || exit 1\n{script}"
        self._command: _Command | None = None

    def open(self) -> None:
        self._command = _Command(self._machine, self._script)
        try:
            self._command.begin(time.monotonic() + _BEGIN_LIMIT)
        except BaseException:
            self.close()
            raise

    def read(self, time_limit: float) -> bytes:
        command = self._opened()
        data = command.read(time_limit)
        if data or not command.at_end:
            return data
        code, errors = command.result(_GRACE)
        text = printable(errors[-500:].strip().replace(b"\r", b"").replace(b"\n", b"; "))
        raise DeviceLost(
            f"{self.name}: the program ended, exit code {code}" + (f": {text}" if text else ""),
            hint="what it wrote last is above; 128 + n is signal n (137: no memory?)"
            if text
            else "it said nothing; 128 + n is signal n (137: no memory?)",
        )

    def write(self, data: bytes) -> None:
        if not self._opened().write(data):
            self.read(0)  # Says how it ended, if it did.
            raise NoReply(f"{self.name} took no more bytes for {_STALL_LIMIT:g} s")

    def close(self) -> None:
        command, self._command = self._command, None
        if command is not None:
            command.close()

    def _opened(self) -> _Command:
        if self._command is None:
            raise DeviceLost(f"{self.name}: its program is not open")
        return self._command


class _Command:
    """A script on the machine. It begins with a word on stdout and ends with it on stderr.

    So neither what a login shell prints nor ssh's own exit code 255 is taken for the script's.
    """

    def __init__(
        self, machine: SshMachine, script: str, on_end: str = "", *, to_be_ended: bool = True
    ) -> None:
        self._machine = machine
        self._word = secrets.token_hex(12)
        self._on_end = on_end
        self._before = bytearray()
        self._errors = bytearray()
        self._tail = bytearray()
        self._begun = False
        self._ended = not to_be_ended
        self._first = b""
        self._code_at: float | None = None
        log.info("%s: %s", machine.name, script)
        self._ssh = machine.command(_remote(script, self._word))

    @property
    def at_end(self) -> bool:
        """The script has ended, and all that it printed was read.

        What it left behind may hold the streams open: that is waited for, but not for long.
        """
        late = self._code_at is not None and time.monotonic() > self._code_at + _GRACE
        return (self._ssh.at_end or late) and not self._first

    def to_its_end(self, time_limit: float) -> Ended:
        """Nothing more is sent. Raises NoReply after `time_limit` seconds."""
        self.close_input()
        until = time.monotonic() + time_limit
        output = bytearray()
        while not self.at_end:
            left = until - time.monotonic()
            if left <= 0:
                ended = self.close()
                raise NoReply(
                    f"{self._machine.name}: a command did not end within {time_limit:g} s; "
                    + ("it was ended" if ended else "nor does the machine answer any more"),
                    hint="is the machine overloaded, or does the program hang?"
                    if ended
                    else "check the machine's power and network; the command may still run there",
                )
            piece = self.read(left)
            output += piece[: OUTPUT_LIMIT - len(output)]
        code, errors = self.result(_GRACE)
        return Ended(code, bytes(output), errors)

    def begin(self, until: float) -> None:
        """Wait for the script to begin."""
        while not self._begun:
            if self.at_end:
                self.result(_GRACE)
            left = until - time.monotonic()
            if left <= 0:
                raise NoReply(
                    f"{self._machine.name}: no command begins",
                    hint="is it overloaded? Does a file of its login shell wait for something?",
                )
            self._first += self._take(left)

    def read(self, time_limit: float) -> bytes:
        """Of its stdout. Raises DeviceLost when the connection ended instead of the script."""
        data, self._first = self._first, b""
        until = time.monotonic() + time_limit
        while not data and not self.at_end:
            left = until - time.monotonic()
            data = self._take(min(max(0.0, left), _GRACE if self._code_at else left))
            if left <= 0:
                break
        if self.at_end and not data:
            self.result(_GRACE)
        return data

    def write(self, data: bytes) -> bool:
        return self._ssh.write(data, _STALL_LIMIT)

    def close_input(self) -> None:
        self._ssh.close_input()

    def result(self, time_limit: float) -> tuple[int, bytes]:
        """Exit code and stderr of a script that has ended."""
        code = self._code()
        errors = bytes(self._errors)
        if code is None:
            status = self._ssh.wait(time_limit)
            said = (errors or bytes(self._before)).decode(errors="replace")
            raise self._machine.lost(said, status)
        self._ended = True
        mark = errors.rfind(b"\n" + self._word.encode())
        return code, errors[:mark] if mark >= 0 else errors

    def close(self) -> bool:
        """End the script, and what it started, on the machine and here; whether that is known."""
        self._ssh.stop()
        if self._ended:
            return True
        self._ended = True
        return self._machine.end(self._word, self._on_end)

    def _take(self, time_limit: float) -> bytes:
        output, errors = self._ssh.read(time_limit)
        self._errors += errors[: OUTPUT_LIMIT - len(self._errors)]
        self._tail = (self._tail + errors)[-_TAIL:]
        if self._code_at is None and self._code() is not None:
            self._code_at = time.monotonic()
        if self._begun:
            return output
        self._before += output
        mark = self._before.find(self._word.encode() + b"\n")
        if mark < 0:
            del self._before[:-_TAIL]
            return b""
        self._begun = True
        return bytes(self._before[mark + len(self._word) + 1 :])

    def _code(self) -> int | None:
        match = re.search(rb"\n%s (\d{1,3})\n" % self._word.encode(), self._tail)
        return int(match[1]) if match else None


def _remote(script: str, word: str) -> str:
    """One command line that bash, dash, zsh, fish and csh read alike: no quote of the script's."""
    text = (
        f"printf '%s\\n' {word}\n"
        f"sh -c {shlex.quote(script)}\n"
        "code=$?\n"
        f"printf '\\n%s %s\\n' {word} $code >&2\n"
        "exit $code\n"
    )
    encoded = base64.b64encode(text.encode()).decode()
    return f"exec env EDGEQ_RUN={word} sh -c 'eval \"$(echo {encoded} | base64 -d)\"'"


def _socket_folder() -> str | None:
    return "/tmp" if len(tempfile.gettempdir()) > _SOCKET_ROOM else None
