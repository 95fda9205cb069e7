"""Reaching a shell on a serial console: by login, or where somebody is logged in already."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable

from edgeq.errors import DevicePermission, Garbage, NoReply, UsageError
from edgeq.protocol import printable
from edgeq.transports.machine import OUTPUT_LIMIT
from edgeq.transports.serial import SerialTransport

PASSWORD = "EDGEQ_CONSOLE_PASSWORD"
"""The variable that may have the password, where nobody can be asked."""

Ask = Callable[[str], str]

OPEN_LIMIT = 60.0
"""Seconds to reach a shell: login waits some before it says that a password is wrong."""

SILENCE_LIMIT = 30.0
"""Of these, for a console that says nothing at all."""

_QUIET = 0.4
_WORD_LIMIT = 20.0
_PROBES = 8
"""Of what talks and does not do as it is told; a line that only echoes is such a one."""

_KEPT = 4 * OUTPUT_LIMIT

_LOGIN = re.compile(rb"(?<!last )login: *\Z", re.IGNORECASE)
_PASSWORD_ASKED = re.compile(rb"password[^\r\n]{0,40}: *\Z", re.IGNORECASE)
_REFUSED = re.compile(rb"login incorrect|authentication failure", re.IGNORECASE)
_PROMPT = re.compile(rb"[$#%>](?:\x1b\[[0-9;?]*[a-z])* *(?:\x1b\[[0-9;?]*[a-z])*\Z", re.IGNORECASE)


def listen(line: SerialTransport, least: float = 0.0) -> bytes:
    """What comes until nothing has come for a moment; `least` seconds for the first byte."""
    said, until = b"", time.monotonic() + 10.0
    while time.monotonic() < until and len(said) < _KEPT:
        piece = line.read(_QUIET if said else max(_QUIET, least))
        if not piece:
            break
        said += piece
    return said


class Login:
    """What answers at the other end of `line`, for `user`. The password is asked for when it is."""

    def __init__(self, line: SerialTransport, user: str | None, ask: Ask | None) -> None:
        self._line = line
        self._name = f"console:{line.name}"
        self._user = user
        self._ask = ask
        self._logged_in = False

    def reach_shell(self) -> bool:
        """Log in where that is asked for; then a shell waits for a command. Whether it was asked.

        Raises NoReply, Garbage, DevicePermission, and UsageError without user or password.
        """
        until = time.monotonic() + OPEN_LIMIT
        probe = secrets.token_hex(6)
        self._line.write(b"\x15\r")
        said = listen(self._line, least=3.0)
        woken, unheard = False, 0
        while time.monotonic() < until:
            if probe.encode() + b"-sh" in said:
                return self._logged_in
            if _LOGIN.search(said):
                said = self._log_in()
            elif _PASSWORD_ASKED.search(said):  # Of somebody before us, who did not finish.
                self._line.write(b"\r")
                said = self._wait_for(_LOGIN)
            elif said.strip() and unheard < _PROBES:
                unheard += 1
                self._refuse_garbage(said)
                self._line.write(f' echo {probe}"-"sh\r'.encode())
                said = listen(self._line, least=5.0)
            elif not said.strip() and not woken:
                # The loop of an edgeq that was killed says nothing, and ends by this.
                self._line.write(b"\redgeq-reset\r\r")
                said, woken = listen(self._line, least=3.0), True
            elif not said.strip() and time.monotonic() < until - OPEN_LIMIT + SILENCE_LIMIT:
                self._line.write(b"\r")  # It may still be booting.
                said = listen(self._line, least=3.0)
            else:
                break
        raise NoReply(
            f"{self._name}: no login and no shell answers",
            hint="is it switched on, its TX on our RX, and its console on? sudo raspi-config, "
            "Interface Options, Serial Port. A program that runs there must be ended first",
        )

    def _log_in(self) -> bytes:
        """Answer the login. What is said after it."""
        self._line.write(self._login_name().encode() + b"\r")
        said = self._wait_for(_PASSWORD_ASKED, _REFUSED, _PROMPT)
        if _PASSWORD_ASKED.search(said):
            self._line.write(self._password().encode() + b"\r")
            said = self._wait_for(_REFUSED, _LOGIN, _PROMPT)
        if _REFUSED.search(said) or _LOGIN.search(said):
            raise DevicePermission(
                f"{self._name}: user {self._user} and this password are refused",
                hint=f"check both; the user is one of the machine's: {self._name}?user=NAME",
            )
        self._logged_in = True
        return said

    def _refuse_garbage(self, said: bytes) -> None:
        if sum(byte > 126 or byte < 7 for byte in said) > len(said) / 4:
            raise Garbage(
                f"{self._name}: what comes is no text: {printable(said)[:60]}",
                hint="the baud rate is another: ?baud=9600, say; a Pi's is 115200",
            )

    def _wait_for(self, *patterns: re.Pattern[bytes]) -> bytes:
        """What is said until one of `patterns` is; or all of it, after a while."""
        said, until = b"", time.monotonic() + _WORD_LIMIT
        while time.monotonic() < until and not any(p.search(said) for p in patterns):
            said = (said + self._line.read(1.0))[-_KEPT:]
        return said

    def _login_name(self) -> str:
        if self._user is None:
            raise UsageError(
                f"{self._name} asks who logs in", hint=f"name the user: {self._name}?user=pi"
            )
        return self._user

    def _password(self) -> str:
        given = os.environ.get(PASSWORD)
        if given is None and self._ask is not None:
            given = self._ask(f"password of {self._user} at {self._name}: ")
        if given is None or not given.isprintable():
            raise UsageError(
                f"{self._name} asks for a password",
                hint=f"run edgeq in a terminal, or set {PASSWORD}",
            )
        return given
