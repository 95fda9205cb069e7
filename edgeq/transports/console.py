"""A machine behind its serial console: `console:/dev/ttyUSB0[?baud=115200&user=pi]`.

Whoever answers there is a login or a shell. In the shell a loop of sh of our own takes over: it
runs only lines that begin with a word of this session, and what it says begins with that word, so
neither a kernel message nor a prompt is taken for an answer. All that must arrive whole, scripts
and files and what commands print, goes as base64 in pieces whose SHA-256 is compared, and again
when it differs. A program's own stdin and stdout are the line itself; what it speaks has checksums.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import logging
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import parse_qsl

from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    NoReply,
    UsageError,
)
from edgeq.protocol import printable
from edgeq.transports.login import Ask, Login, listen
from edgeq.transports.machine import OUTPUT_LIMIT, Ended, Pushed
from edgeq.transports.remote import check_name, kill_script, push_error
from edgeq.transports.serial import BAUD, SerialTransport

log = logging.getLogger(__name__)

SCHEME = "console:"
_ANSWER_LIMIT = 30.0
_GO_LIMIT = 10.0
_END_LIMIT = 15.0
_ATTEMPTS = 8
_LINE = 512
"""Characters of base64 a line: a tty in its line mode holds 4095."""

_PIECE, _LEAST_PIECE = 16 * 1024, 1024
"""Bytes that are sent at a time: fewer where the line damages them."""

_BITS_PER_BYTE = 10
_GRACE = 1.5

_ENDED = b"\x16"
"""Says that a program has ended: what it speaks itself is printable."""

_SETTINGS = "stty -echo -ixon icanon icrnl isig opost onlcr"
_RAW = "stty -echo -ixon -icanon -icrnl -inlcr -opost isig min 1 time 0"


class ConsoleMachine:
    """`address` as above; "console:" may be left out. `ask` asks a person for a password.

    Raises UsageError for what is no address.
    """

    def __init__(self, address: str, ask: Ask | None = None) -> None:
        port, _, query = address.removeprefix(SCHEME).partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        baud, self._user = given.pop("baud", str(BAUD)), given.pop("user", None)
        plain = self._user is None or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", self._user)
        if not port or given or not plain or not re.fullmatch(r"[1-9]\d{1,7}", baud):
            shown = printable(address.encode(errors="backslashreplace"))[:200]
            raise UsageError(
                f"{shown}: no address of a console",
                hint="write console:/dev/ttyUSB0, or console:/dev/ttyUSB0?baud=115200&user=pi",
            )
        self.name = SCHEME + port
        self._port = port
        self._rate = int(baud) / _BITS_PER_BYTE
        self._ask = ask
        self._line = SerialTransport(port, int(baud))
        self._word = ""
        self._heard = bytearray()
        self._home: str | None = None
        self._temporary = ""
        self._logged_in = False
        self._running: ConsoleProgram | None = None

    @property
    def folder(self) -> str:
        if self._home is None:
            raise DeviceLost(f"{self.name} is not open")
        return f"{self._home.rstrip('/')}/.cache/edgeq"

    def open(self) -> None:
        self._line.open()
        try:
            self._logged_in = Login(self._line, self._user, self._ask).reach_shell()
            self._start_loop()
            home = self.run("printf '%s' \"$HOME\"", _ANSWER_LIMIT).output.decode(errors="replace")
            if not home.startswith("/") or not home.isprintable():
                raise DeviceFault(f"{self.name}: its HOME is no folder", hint="log in as a user")
            self._home = home
        except BaseException:
            self.close()
            raise

    def run(self, script: str, time_limit: float) -> Ended:
        log.info("%s: %s", self.name, script)
        if not self._word:
            raise DeviceLost(f"{self.name} is not open")
        if self._running is None:
            return self._run(script, time_limit)
        with self._aside():
            return self._run(script, time_limit)

    def _run(self, script: str, time_limit: float) -> Ended:
        word = secrets.token_hex(12)
        self._put(script.encode(), "s")
        at = '"$T"/'
        job = (
            f"{{ env EDGEQ_RUN={word} sh {at}s </dev/null 2>&1 3>&-; echo $? >{at}c; "
            f"printf '\\n%s code %s\\n' {self._word} $(cat {at}c) >&3; }} | "
            f"{{ head -c {OUTPUT_LIMIT} >{at}o; cat >/dev/null; }}"
        )
        done = f"printf '\\n%s done\\n' {self._word}"
        self._say(f"W={word}; rm -f {at}c {at}o; ({job}) 3>&1 & wait $!; {done}")
        code = self._answer("code", time_limit, or_end=True)
        try:
            self._answer("done", _GRACE)
        except NoReply:  # What it left behind holds its output open.
            self._interrupt()
        if not re.fullmatch(r"\d{1,3}", code):
            raise DeviceFault(f"{self.name}: the shell there answers nonsense", hint="try again")
        return Ended(int(code), self._get("o"), b"")

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Have the loop back for a while, from a program that waits for what it reads."""
        unread = bytes(self._heard)
        self._heard.clear()
        self._line.write(b"\x1c")
        self._answer("aside", _ANSWER_LIMIT)
        try:
            yield
        finally:
            self._say("break")
            self._answer("resumed", _ANSWER_LIMIT)
            self._heard[:] = unread

    def push(self, files: Mapping[str, bytes], folder: str, progress: Pushed | None = None) -> None:
        total, done = sum(map(len, files.values())), 0
        for name, content in files.items():
            check_name(name)
            target = f"{folder}/{name}"
            digest = hashlib.sha256(content).hexdigest()
            at = shlex.quote(target)
            same = f'[ -x {at} ] && set -- $(sha256sum <{at}) && [ "$1" = {digest} ]'
            if self.run(same, _ANSWER_LIMIT + len(content) / 1e6).code:
                tell = functools.partial(_tell, progress, name, total, done)
                self._push(target, content, digest, tell)
            done += len(content)
            _tell(progress, name, total, done)

    def start(self, script: str, folder: str) -> ConsoleProgram:
        return ConsoleProgram(self, script, folder)

    def close(self) -> None:
        if self._running is not None:
            self._running.close()
        with contextlib.suppress(DeviceError):
            if self._word:
                self._say("break")
                self._answer("down", _END_LIMIT)
                if self._logged_in:
                    self._line.write(b" exit\r")
                    listen(self._line)
        self._word = ""
        self._line.close()

    def _push(
        self, target: str, content: bytes, digest: str, progress: Callable[[int], None]
    ) -> None:
        part = f"{target}.{secrets.token_hex(4)}.part"
        at, new = shlex.quote(target), shlex.quote(part)
        fail = f"code=$?; rm -f -- {new}; exit $code"
        above = shlex.quote(target.rpartition("/")[0])
        try:
            self._checked(target, f"mkdir -p -- {above} && : >{new} && chmod 755 {new}")
            start, size = 0, _PIECE
            while start < len(content):
                piece = content[start : start + size]
                try:
                    self._put(piece, "p", 2 if size > _LEAST_PIECE else _ATTEMPTS)
                except DeviceFault:
                    if size <= _LEAST_PIECE:
                        raise
                    size //= 4
                    continue
                progress(start)
                append = f"cat {shlex.quote(self._temporary)}/p >>{new} || {{ {fail}; }}"
                self._checked(target, append)
                start += len(piece)
            limit = _ANSWER_LIMIT + len(content) / 1e6
            check = f'set -- $(sha256sum <{new}); [ "$1" = {digest} ] || {{ echo damaged; false; }}'
            self._checked(target, f"{check} && mv -f -- {new} {at}", limit)
        except BaseException:
            with contextlib.suppress(DeviceError):
                self.run(f"rm -f -- {new}", _ANSWER_LIMIT)
            raise

    def _checked(self, target: str, script: str, limit: float = _ANSWER_LIMIT) -> None:
        ended = self.run(f"export LC_ALL=C\n{script}", limit)
        if ended.code:
            raise push_error(self.name, target, ended.code, ended.output)

    def _start_loop(self) -> None:
        self._word = secrets.token_hex(12)
        word = self._word
        say = f"printf '\\n%s %s\\n' {word}"
        # read fails when a signal comes, and at a line that hung up for ever.
        loop = (
            "S=$(stty -g); T=$(mktemp -d) || exit; W=none\n"
            "loop() { N=0; while [ $N -lt 9 ]; do\n"
            "IFS= read -r l && N=0 || { l=; N=$((N+1)); }\n"
            f'case $l in "{word} break") return;; "{word} "*) eval "${{l#* }}";;\n'
            "edgeq-reset) return;; esac; done; }\n"
            f"aside() {{ V=$W; {_kill('$V', 'STOP')}; {_SETTINGS}; {say} aside; loop; W=$V\n"
            f"{_RAW}; {_kill('$V', 'CONT')}; {say} resumed; }}\n"
            f"finish() {{ {_kill('$W', 'KILL')}; }}\n"
            f"trap finish INT; trap aside QUIT; trap : TSTP; {_SETTINGS}\n"
            f'{say} "up $T"; loop; rm -rf "$T"; stty "$S"; {say} down\n'
        )
        encoded = base64.b64encode(loop.encode()).decode()
        self._heard.clear()
        self._line.write(f" sh -c 'eval \"$(echo {encoded} | base64 -d)\"'\r".encode())
        self._temporary = self._answer("up", _ANSWER_LIMIT).strip()
        if not re.fullmatch(r"/[A-Za-z0-9._/-]+", self._temporary):
            raise DeviceFault(
                f"{self.name}: mktemp there gives no folder: "
                f"{printable(self._temporary.encode())[:80]!r}",
                hint="is its disk full?",
            )

    # Lines to the loop and from it.

    def _say(self, command: str) -> None:
        self._line.write(f"{self._word} {command}\r".encode())

    def _answer(self, kind: str, time_limit: float, *, or_end: bool = False) -> str:
        """What the loop says behind "WORD kind". With `or_end` a late command is ended."""
        until = time.monotonic() + time_limit
        mark = re.compile(rb"\n%s %s(?: ([^\r\n]*))?\r?\n" % (self._word.encode(), kind.encode()))
        while not (found := mark.search(self._heard)):
            left = until - time.monotonic()
            if left <= 0:
                if or_end:
                    self._interrupt()
                raise NoReply(
                    f"{self.name}: a command did not end within {time_limit:g} s"
                    + ("; it was ended" if or_end else ""),
                    hint="is the machine overloaded, or does the program hang?",
                )
            self._heard += self._line.read(min(left, 1.0))
            if len(self._heard) > 4 * OUTPUT_LIMIT:
                del self._heard[: -2 * OUTPUT_LIMIT]
        text = bytes(found[1] or b"")
        del self._heard[: found.end() - 1]
        return text.decode(errors="replace")

    def _interrupt(self) -> None:
        """End what the loop runs, and hear it say so. Never raises."""
        with contextlib.suppress(DeviceError):
            for _ in range(_ATTEMPTS):
                self._line.write(b"\x03")
                listen(self._line, least=1.0)
                token = secrets.token_hex(4)
                self._say(f"printf '\\n%s {token}\\n' {self._word}")
                with contextlib.suppress(NoReply):
                    self._answer(token, _END_LIMIT / _ATTEMPTS)
                    return

    def _put(self, content: bytes, name: str, attempts: int = _ATTEMPTS) -> None:
        """Have `content` in the file `name` of the temporary folder there."""
        text = base64.b64encode(content).decode()
        lines = [text[i : i + _LINE] for i in range(0, len(text), _LINE)] or [""]
        digest = hashlib.sha256(content).hexdigest()
        limit = _ANSWER_LIMIT + 2 * len(text) / self._rate
        for _ in range(attempts):
            self._say(
                f"printf '\\n%s go\\n' {self._word}; head -n {len(lines)} >\"$T\"/b; "
                f'base64 -d <"$T"/b >"$T"/{name} 2>/dev/null; '
                f"printf '\\n%s sum %s\\n' {self._word} $(sha256sum <\"$T\"/{name})"
            )
            try:
                self._answer("go", _GO_LIMIT)
                for line in lines:
                    self._line.write(line.encode() + b"\r")
                if self._answer("sum", limit).split(" ")[0] == digest:
                    return
            except NoReply:
                self._interrupt()
        raise self._damaged()

    def _get(self, name: str) -> bytes:
        """The file `name` of the temporary folder there."""
        for _ in range(_ATTEMPTS):
            self._say(
                f"printf '\\n%s sum %s\\n' {self._word} $(sha256sum <\"$T\"/{name}); "
                f"base64 -w 76 <\"$T\"/{name}; printf '\\n%s end\\n' {self._word}"
            )
            try:
                digest = self._answer("sum", _GO_LIMIT).split(" ")[0]
                body = self._until_end(_ANSWER_LIMIT + 3 * OUTPUT_LIMIT / self._rate)
            except NoReply:
                self._interrupt()
                continue
            lines = (line.strip() for line in body.split(b"\n"))
            # A kernel's message stands on lines of its own, or damages one: then the sum differs.
            text = b"".join(x for x in lines if re.fullmatch(rb"[A-Za-z0-9+/]{1,76}={0,2}", x))
            with contextlib.suppress(ValueError):
                content = base64.b64decode(text, validate=True)
                if hashlib.sha256(content).hexdigest() == digest:
                    return content
        raise self._damaged()

    def _until_end(self, time_limit: float) -> bytes:
        mark = b"\n" + self._word.encode() + b" end"
        until = time.monotonic() + time_limit
        while (at := self._heard.find(mark)) < 0:
            left = until - time.monotonic()
            if left <= 0 or len(self._heard) > 8 * OUTPUT_LIMIT:
                raise NoReply(f"{self.name}: what a command printed does not arrive")
            self._heard += self._line.read(min(left, 1.0))
        body = bytes(self._heard[:at])
        del self._heard[: at + 1]
        return body

    def _damaged(self) -> DeviceFault:
        return DeviceFault(
            f"{self.name}: the line damages what is sent, again and again",
            hint="a shorter cable, a common ground, a lower baud rate at both ends may help; "
            "kernel messages can be kept away: sudo dmesg -n 1",
        )


class ConsoleProgram:
    """A program on the console, as a Transport: the line itself is its stdin and stdout."""

    instruction_hz = None

    def __init__(self, machine: ConsoleMachine, script: str, folder: str) -> None:
        self.name = machine.name
        self._machine = machine
        self._script = f"cd -- {shlex.quote(folder)} || exit 1\n{script}"
        self._open = False
        self._ended: str | None = None

    def open(self) -> None:
        m = self._machine
        if not m._word or m._running is not None:
            raise DeviceLost(f"{self.name} is not open, or has a program already")
        m._put(self._script.encode(), "r")
        # A session of its own: the line's signals are for the loop, which passes on what is meant.
        word = secrets.token_hex(12)
        m._heard.clear()
        m._say(
            f"W={word}; exec 3<&0; {_RAW}; printf '\\n%s go\\n' {m._word}; "
            f'env EDGEQ_RUN={word} setsid sh "$T"/r <&3 2>"$T"/e 3<&- & P=$!; '
            "while :; do wait $P; C=$?; kill -0 $P 2>/dev/null || break; done; "
            f"{_SETTINGS}; printf '\\026\\n%s ended %s\\n' {m._word} $C"
        )
        m._running = self
        self._open = True
        try:
            m._answer("go", _ANSWER_LIMIT)
            if m._heard[:1] == b"\n":
                del m._heard[:1]
        except BaseException:
            self.close()
            raise

    def read(self, time_limit: float) -> bytes:
        m = self._opened()
        until = time.monotonic() + time_limit
        while True:
            data, mark, rest = bytes(m._heard).partition(_ENDED)
            if data:
                m._heard[:] = mark + rest
                return data
            if mark:
                raise self._end()
            left = until - time.monotonic()
            if left <= 0:
                return b""
            m._heard += m._line.read(left)

    def write(self, data: bytes) -> None:
        self._opened()._line.write(data)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        m = self._machine
        m._running = None
        with contextlib.suppress(DeviceError):
            if self._ended is None:
                m._interrupt()

    def _end(self) -> DeviceLost:
        m = self._opened()
        code = self._ended = m._answer("ended", _ANSWER_LIMIT)
        m._running = None
        try:
            m._say('tail -c 500 "$T"/e >"$T"/o; printf \'\\n%s cut\\n\' ' + m._word)
            m._answer("cut", _ANSWER_LIMIT)
            said = printable(m._get("o").strip().replace(b"\r", b"").replace(b"\n", b"; "))
        except DeviceError:
            said = ""
        return DeviceLost(
            f"{self.name}: the program ended, exit code {printable(code.encode())}"
            + (f": {said}" if said else ""),
            hint="128 + n is signal n (137: no memory?)",
        )

    def _opened(self) -> ConsoleMachine:
        if not self._open:
            raise DeviceLost(f"{self.name}: its program is not open")
        return self._machine


def _kill(word: str, signal: str) -> str:
    return kill_script(word, signal=signal, one_line=True)


def _tell(progress: Pushed | None, name: str, total: int, done: int, more: int = 0) -> None:
    if progress:
        progress(f"send {name}", done + more, total)
