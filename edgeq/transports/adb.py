"""A phone, by the adb program: https://android.googlesource.com/platform/packages/modules/adb

A script gets EDGEQ_JOB, a word of its own, into its environment: /proc/PID/environ on the phone
then names it and all that it started, setsid or not, so that they can be ended from a second
shell. When it has ended, the word and its exit code are written after its stderr: adb itself exits
with 0 when the phone went away, and with 1 for errors of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import (
    DeviceError,
    DeviceFault,
    DeviceLost,
    DevicePermission,
    MissingProgram,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.protocol import printable
from edgeq.transports.machine import OUTPUT_LIMIT, Ended, Pushed
from edgeq.transports.pipe import Collected, Pipe, collect

FOLDER = "/data/local/tmp/edgeq"
"""Where Android lets the shell's user put programs and run them."""

ADB_LIMIT = 10.0
"""Seconds for a question to adb's server, which may have to start first."""

_SETTLE_LIMIT = 5.0
_FILE_LIMIT = 30.0
_BYTES_A_SECOND = 100_000
"""Slower than any USB or Wi-Fi that works: what a push is given."""

_TEXT = 300
_LINE_LIMIT = 1000

_INSTALL = (
    "install Android's platform tools (apt install adb, brew install android-platform-tools) or "
    "'pip install adbutils'; ANDROID_HOME may name an SDK"
)

_NO_SERVER = "'adb kill-server', then try again; ANDROID_ADB_SERVER_PORT names another port"

# [E] matches E, and keeps this script from finding itself.
_END = """\
n=0
while [ $n -lt 20 ]; do
  found=$(grep -ls '[E]DGEQ_JOB={job}' /proc/[0-9]*/environ /proc/[0-9]*/cmdline)
  if [ -z "$found" ]; then exit 0; fi
  for f in $found; do
    f=${{f#/proc/}}
    kill -9 "${{f%/*}}" 2>/dev/null
  done
  n=$((n + 1))
done
exit 1
"""


@dataclass(frozen=True)
class AdbDevice:
    """What adb says of one device, in its words: `serial` goes back to adb as it is, and may hold
    anything; the others can be shown. `next_step` is None for one that can be used."""

    serial: str
    state: str
    model: str | None
    next_step: str | None

    @property
    def address(self) -> str:
        """As a person may see it, and as `--device` takes it."""
        return f"adb:{_shown(self.serial)}"


def list_adb() -> list[AdbDevice]:
    """All devices of adb's server, within ADB_LIMIT. Raises MissingProgram, NoReply."""
    done = _ask_server(["devices", "-l"])
    devices = []
    for line in done.output.decode(errors="surrogateescape").splitlines():
        found = _DEVICE_LINE.fullmatch(line) if len(line) < _LINE_LIMIT else None
        if found:
            serial, state, rest = found.groups()
            state = "no permissions" if state.startswith("no perm") else state
            model = re.search(r"\bmodel:(\S{1,80})", rest)
            error = _state_error(serial, state)
            shown = _shown(model[1]).replace("_", " ") if model else None
            devices.append(AdbDevice(serial, state, shown, error.hint if error else None))
    return devices


# "SERIAL<spaces>STATE KEY:VALUE …"; newer ones explain "no permissions (…); see […]".
_DEVICE_LINE = re.compile(
    r"(\S.*?)\s+(device|offline|unauthorized|authorizing|connecting|recovery|sideload|rescue"
    r"|bootloader|host|detached|unknown|no perm[a-z]*)\b(.*)"
)


class AdbMachine:
    """The phone at `place`: a serial number, "auto" (the only one, or $ANDROID_SERIAL), or
    HOST:PORT, which is connected to first."""

    folder = FOLDER

    def __init__(self, place: str) -> None:
        if not re.fullmatch(r"[^\s\0]{1,256}", place):
            raise UsageError(
                f"adb:{_shown(place)}: no serial number",
                hint="adb:SERIAL, adb:auto or adb:HOST:PORT; 'edgeq devices' lists what there is",
            )
        self._place = place
        self._serial: str | None = None
        self._has_shell_v2 = True

    @property
    def name(self) -> str:
        return f"adb:{_shown(self._serial or self._place)}"

    def open(self) -> None:
        if self._serial is not None:
            return
        _ask_server(["start-server"])
        wanted = self._wanted()
        self._serial = self._settled(wanted)
        try:
            features = self._adb(["features"], ADB_LIMIT)
            if features.code is None:
                raise self._late("adb features", ADB_LIMIT)
            if features.code:
                raise self._trouble(features)
            self._has_shell_v2 = b"shell_v2" in features.output.split()
        except DeviceError:
            self._serial = None
            raise

    def run(self, script: str, time_limit: float) -> Ended:
        job = secrets.token_hex(8)
        done = self._adb(self._shell(script, job), time_limit)
        ended = _ended(done, job, one_stream=not self._has_shell_v2)
        if ended is not None:
            return ended
        error = None if done.code is None else self._trouble(done)
        is_reached = self._end(job)
        raise error or self._late("a command", time_limit, is_reached)

    def push(self, files: Mapping[str, bytes], folder: str, progress: Pushed | None = None) -> None:
        part = f".part-{secrets.token_hex(8)}"
        inside = shlex.quote(folder)
        self._required(f"umask 022; mkdir -p {inside} && cd {inside} && mkdir {part}", folder)
        done, total = 0, sum(map(len, files.values()))
        try:
            for number, content in enumerate(files.values()):
                self._push_one(content, f"{folder}/{part}/{number}", folder)
                done += len(content)
                if progress:
                    progress(f"copying to {self.name}", done, total)
            moves = [f"mv -f {part}/{n} {shlex.quote('./' + name)}" for n, name in enumerate(files)]
            self._required(
                " && ".join([f"cd {inside} && chmod 755 {part}/*", *moves, f"rmdir {part}"]), folder
            )
        except BaseException:
            self._clean(f"cd {inside} && rm -rf {part}; cd / && rmdir {inside}")
            raise

    def start(self, script: str, folder: str) -> Pipe:
        if not self._has_shell_v2:
            raise DeviceFault(
                f"{self.name}: its adbd has no shell_v2, which a program's input and output need",
                hint="that came with Android 7: edgeq measures on none that is older",
            )
        job = secrets.token_hex(8)
        name = f"a program on {self.name}"

        def ended(code: int | None, errors: bytes) -> DeviceError:
            found = _trailer(errors, job)
            if found is None:
                return self._trouble(Collected("", code, b"", errors))
            before = errors[: found.start()].strip().splitlines()
            last = f": {_shown(before[-1])}" if before else ""
            return DeviceLost(f"{name} ended with {int(found[1])}{last}", f"in {folder}: {script}")

        inside = f"cd {shlex.quote(folder)} || exit 127\n{script}"
        argv = [*_adb_argv(), "-s", self._opened(), *self._shell(inside, job)]
        return Pipe(name, argv, install=_INSTALL, ended=ended, at_close=lambda: self._end(job))

    def close(self) -> None:
        """Forget it. What adb's server is connected to stays as adb's other users have it."""
        self._serial = None

    def _opened(self) -> str:
        if self._serial is None:
            raise DeviceLost(f"{self.name} is not open")
        return self._serial

    def _wanted(self) -> str:
        """The serial number that `place` means. Raises NoDevice, UsageError."""
        if self._place != "auto":
            return self._place
        found = list_adb()
        if serial := os.environ.get("ANDROID_SERIAL"):
            if ":" not in serial and serial not in [d.serial for d in found]:
                names = ", ".join(d.address for d in found[:8])
                raise NoDevice(
                    f"{self.name}: adb sees no {_shown(serial)}, which ANDROID_SERIAL names",
                    hint="unset ANDROID_SERIAL, or plug that phone in"
                    + (f"; adb sees {names}" if names else ""),
                )
            return serial
        if not found:
            raise NoDevice(
                f"{self.name}: adb sees no device",
                hint="plug the phone in, unlock it, switch on Developer options > USB debugging "
                "and allow this computer",
            )
        if len(found) > 1:
            names = ", ".join(f"{d.address} ({d.state})" for d in found[:8])
            raise UsageError(
                f"{self.name}: adb sees {len(found)} devices, and edgeq does not guess",
                hint=f"--device with one of {names}; or set ANDROID_SERIAL",
            )
        return found[0].serial

    def _settled(self, serial: str) -> str:
        """`serial`, once adb has it ready. Raises the DeviceError that says why it is not."""
        said, steps = "", "is it plugged in, unlocked, and USB debugging on?"
        state = _state(serial)
        if re.fullmatch(r".+:\d{1,5}", serial) and state in (None, "offline"):
            steps = "is it on, in this network, and 'adb tcpip' or wireless debugging on?"
            if state == "offline":  # As adb leaves it when the connection broke: for good.
                _ask_server(["disconnect", serial])
            done = _ask_server(["connect", serial], may_fail=True)
            said = _last_line(done.output) or _last_line(done.errors)
            state = _state(serial)
        deadline = time.monotonic() + _SETTLE_LIMIT
        while state in ("connecting", "authorizing", "offline") and time.monotonic() < deadline:
            time.sleep(0.2)
            state = _state(serial)
        if state is None:
            others = ", ".join(d.address for d in list_adb()[:8])
            raise NoDevice(
                f"adb:{_shown(serial)}: adb sees no such device{f' ({said})' if said else ''}",
                hint=f"{steps} adb sees {others or 'no other'}",
            )
        if error := _state_error(serial, state):
            raise error
        return serial

    def _adb(self, arguments: Sequence[str], time_limit: float) -> Collected:
        return _collect(["-s", self._opened(), *arguments], time_limit)

    def _shell(self, script: str, job: str) -> list[str]:
        """Arguments of adb that run `script` as `job`, and say its exit code at the end."""
        command = f"EDGEQ_JOB={job} sh -c {shlex.quote(script)}"
        told = f"printf '\\n%s %d\\n' {job} $?"
        if self._has_shell_v2:
            return ["shell", "-T", f"{command}; {told} >&2"]
        return ["exec-out", f"{command} 2>&1 </dev/null; {told}"]

    def _end(self, job: str) -> bool:
        """End on the phone what is left of `job`; whether that is known."""
        return self._clean(_END.format(job=job))

    def _clean(self, script: str) -> bool:
        """Run `script`, over a new connection where the last one broke; whether it ran. A phone
        that cannot be reached keeps what it has: then the error that led here says more."""
        with contextlib.suppress(DeviceError):
            for _ in range(2):
                job = secrets.token_hex(8)
                done = self._adb(self._shell(script, job), ADB_LIMIT)
                if done.code is None:
                    return False
                if _ended(done, job, one_stream=not self._has_shell_v2):
                    return True
                self._settled(self._opened())
        return False

    def _push_one(self, content: bytes, place: str, folder: str) -> None:
        time_limit = _FILE_LIMIT + len(content) / _BYTES_A_SECOND
        try:
            with tempfile.TemporaryDirectory(prefix="edgeq-") as staging:
                local = Path(staging, "file")
                local.write_bytes(content)
                local.chmod(0o755)
                done = self._adb(["push", str(local), place], time_limit)
        except OSError as e:
            raise DeviceFault(
                f"{self.name}: this computer has no room for what is to be sent: {e.strerror or e}",
                hint="free some of its temporary folder; TMPDIR names another",
            ) from e
        if done.code is None:
            raise self._late(f"adb push to {_shown(folder)}", time_limit)
        if done.code:
            # adb's words for what adbd reports of the file; the rest is about the connection.
            found = re.search(rb"failed to copy .*: remote (.*)", done.errors + done.output)
            raise self._fault(folder, _shown(found[1])) if found else self._trouble(done)

    def _required(self, script: str, folder: str) -> None:
        ended = self.run(script, _FILE_LIMIT)
        if ended.code:
            said = _last_line(ended.errors) or _last_line(ended.output)
            raise self._fault(folder, said or f"exit code {ended.code}")

    def _fault(self, folder: str, said: str) -> DeviceFault:
        return DeviceFault(
            f"{self.name}: {_shown(folder)} cannot be written: {said}",
            hint="is there space ('adb shell df /data'), and may the shell's user write there?",
        )

    def _late(self, what: str, time_limit: float, is_reached: bool = True) -> NoReply:
        return NoReply(
            f"{self.name}: {what} did not end within {time_limit:g} s"
            + ("; it was ended" if is_reached else "; nor does the phone answer any more"),
            hint="is the phone overloaded, or does the program hang?"
            if is_reached
            else "is its cable or Wi-Fi loose? What was started may still run there",
        )

    def _trouble(self, done: Collected) -> DeviceError:
        """Why adb did not do it: the state that it has the phone in says more than its text."""
        said = _last_line(done.errors) or _last_line(done.output)
        try:
            state = _state(self._opened())
        except DeviceError as e:
            return e
        lost = f"{self.name}: the connection broke{f': {said}' if said else ''}"
        if state is None or state == "offline":
            return DeviceLost(lost, hint="is its cable or Wi-Fi loose, or did it restart?")
        hint = "try again; 'adb kill-server' has adb start anew"
        return _state_error(self._opened(), state) or DeviceLost(lost, hint)


def _state(serial: str) -> str | None:
    return next((d.state for d in list_adb() if d.serial == serial), None)


def _state_error(serial: str, state: str) -> DeviceError | None:
    """What is wrong with a device in that state of adb's; None for one that is ready."""
    name = f"adb:{_shown(serial)}"
    if state == "device":
        return None
    if state in ("unauthorized", "authorizing"):
        return DevicePermission(
            f"{name} has not allowed this computer (adb: {state})",
            hint="unlock it and allow USB debugging in its dialog; no dialog: Developer options > "
            "Revoke USB debugging authorizations, and plug it in again",
        )
    if state == "no permissions":
        return DevicePermission(
            f"{name}: this user may not open its USB device (adb: no permissions)",
            hint="'sudo apt install android-sdk-platform-tools-common' has the udev rules; be in "
            "group plugdev, then 'adb kill-server' and plug it in again",
        )
    if state in ("offline", "connecting"):
        return NoReply(
            f"{name} does not answer (adb: {state})",
            hint="plug it in again, or 'adb reconnect offline'; restart it if that does not help",
        )
    if state in ("recovery", "sideload", "rescue", "bootloader"):
        return DeviceFault(
            f"{name} is in {state}, not in Android",
            hint=f"'adb -s {shlex.quote(_shown(serial))} reboot', and wait until Android is up",
        )
    return DeviceFault(
        f"{name} is in a state that edgeq cannot use (adb: {state})",
        hint="restart it, plug it in again, and see 'adb devices -l'",
    )


def _ask_server(arguments: Sequence[str], may_fail: bool = False) -> Collected:
    done = _collect(arguments, ADB_LIMIT)
    asked = f"adb {arguments[0]}"
    if done.code is None:
        raise NoReply(f"adb's server did not answer '{asked}' within {ADB_LIMIT:g} s", _NO_SERVER)
    if done.code and not may_fail:
        said = _last_line(done.errors) or _last_line(done.output) or f"exit code {done.code}"
        raise NoReply(f"adb's server does not work: {said}", _NO_SERVER)
    return done


def _collect(arguments: Sequence[str], time_limit: float) -> Collected:
    return collect([*_adb_argv(), *arguments], install=_INSTALL, time_limit=time_limit)


def _adb_argv() -> list[str]:
    """adb of PATH, of an SDK, or of the wheel adbutils, and the port of its server."""
    folders = [os.environ.get("PATH", "")]
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        if sdk := os.environ.get(variable):
            folders.append(str(Path(sdk, "platform-tools")))
    wheel = importlib.util.find_spec("adbutils")
    if wheel and wheel.origin:
        folders.append(str(Path(wheel.origin).parent / "binaries"))
    program = shutil.which("adb", path=os.pathsep.join(folders))
    if program is None:
        raise MissingProgram("adb is not installed, or not on PATH", hint=_INSTALL)
    port = os.environ.get("ANDROID_ADB_SERVER_PORT")
    if not port:
        return [program]
    if not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise UsageError(
            f"ANDROID_ADB_SERVER_PORT is {_shown(port)}", hint="a number from 1 to 65535"
        )
    return [program, "-P", port]


def _trailer(stream: bytes, job: str) -> re.Match[bytes] | None:
    return re.search(rb"\n%s (\d{1,3})\n\Z" % job.encode(), stream)


def _ended(done: Collected, job: str, one_stream: bool) -> Ended | None:
    """How the script ended; None when it did not: adb was late, or could not."""
    found = _trailer(done.output_end if one_stream else done.errors_end, job)
    if found is None:
        return None
    mark = found[0]
    output, errors = done.output, done.errors
    if one_stream:
        return Ended(int(found[1]), _without(output, mark), b"")
    return Ended(int(found[1]), output, _without(errors, mark))


def _without(stream: bytes, mark: bytes) -> bytes:
    """`stream` without the `mark` at its end, of which the limit may have cut off a part."""
    if len(stream) < OUTPUT_LIMIT:
        return stream.removesuffix(mark)
    cut = next((n for n in range(len(mark), 0, -1) if stream.endswith(mark[:n])), 0)
    return stream[: len(stream) - cut]


def _last_line(stream: bytes) -> str:
    lines = [line for line in stream.splitlines() if line.strip()]
    return _shown(lines[-1]) if lines else ""


def _shown(text: str | bytes) -> str:
    return printable(os.fsencode(text))[:_TEXT]
