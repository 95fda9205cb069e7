"""The system's ssh: addresses, options, the hosts of ~/.ssh/config, and what its errors mean.

It reads the user's configuration, agent, keys and known_hosts itself. edgeq adds that it never
asks anything, never accepts a host key, and notices a dead connection.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import (
    DeviceError,
    DeviceLost,
    DevicePermission,
    NoDevice,
    NoReply,
    UsageError,
)
from edgeq.protocol import printable

INSTALL = "install OpenSSH's client: sudo apt install openssh-client"
SCHEME = "ssh:"

CONNECT_LIMIT = 10
"""Seconds for the connection itself; ssh has it for each address of the host."""

_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*\$?)@)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_MAX_CONFIG = 1 << 20
_MAX_FILES = 200
"""That Include names."""


@dataclass(frozen=True)
class Destination:
    """`host` is a name, an alias of ~/.ssh/config or a numeric address, never an option."""

    host: str
    user: str | None = None
    port: int | None = None

    def arguments(self) -> list[str]:
        """For ssh, behind its options and before the command."""
        port = ["-p", str(self.port)] if self.port else []
        return [*port, "--", f"{self.user}@{self.host}" if self.user else self.host]

    def by_hand(self) -> str:
        """The command by which a person connects."""
        return "ssh " + " ".join(a for a in self.arguments() if a != "--")


@dataclass(frozen=True)
class SshHost:
    """A host of ~/.ssh/config. Nobody has connected: whether it is there is not known."""

    name: str
    address: str
    host_name: str | None
    user: str | None
    next_step: str


def parse_address(address: str) -> Destination:
    """The destination of "ssh:[user@]host[:port]". Raises UsageError."""
    match = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    port = int(match["port"]) if match and match["port"] else None
    if not match or (port is not None and not 0 < port < 65536):
        raise UsageError(
            f"{_shown(address)}: no address of a machine",
            hint="write ssh:pi@raspberrypi.local, ssh:pi@192.168.1.20:2222, ssh:pi@[fe80::1], or "
            "ssh:NAME with a Host of ~/.ssh/config",
        )
    return Destination(match["v6"] or match["host"], match["user"], port)


def options(control: Path | None = None) -> list[str]:
    """Of every ssh that edgeq starts; `control` is the socket of the connection to share."""
    chosen = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(CONNECT_LIMIT),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "EscapeChar": "none",
        "VisualHostKey": "no",
        "ControlMaster": "no",
        "ControlPersist": "no",
        "ControlPath": str(control) if control else "none",
    }
    return ["-T", "-a", "-x", *(f"-o{name}={value}" for name, value in chosen.items())]


@dataclass(frozen=True)
class _Failure:
    """ssh's words, and what they mean; {} in `hint` is the command that connects by hand."""

    words: str
    kind: type[DeviceError]
    meaning: str
    hint: str


_SWITCHED_ON = "is it switched on and on this network? ping it; a new Pi takes a minute to start"
_FAILURES = (
    _Failure(
        "could not resolve hostname",
        NoDevice,
        "there is no host of this name",
        "check the name, try NAME.local, or give its IP address ('hostname -I' on the Pi tells it)",
    ),
    _Failure(
        "connection refused",
        NoDevice,
        "nothing listens at this port",
        "switch sshd on: sudo raspi-config, Interface Options, SSH; or give its port: "
        "ssh:pi@HOST:PORT",
    ),
    _Failure("no route to host", NoDevice, "there is no route to it", _SWITCHED_ON),
    _Failure("network is unreachable", NoDevice, "there is no route to it", _SWITCHED_ON),
    _Failure("host is down", NoDevice, "there is no route to it", _SWITCHED_ON),
    _Failure("timed out", NoReply, f"no answer within {CONNECT_LIMIT} s", _SWITCHED_ON),
    _Failure(
        "too many authentication failures",
        DevicePermission,
        "the agent's keys are too many for it",
        "name the key in ~/.ssh/config: IdentityFile, with IdentitiesOnly yes",
    ),
    _Failure(
        "permission denied (",
        DevicePermission,
        "it takes none of this computer's keys for this user",
        "is the user right? Install a key once: ssh-copy-id{}\n(ssh-keygen makes one)",
    ),
    _Failure(
        "bad configuration option",
        DeviceError,
        "ssh refuses its configuration",
        "mend ~/.ssh/config; '{}' says the same",
    ),
    _Failure(
        "no matching",
        DeviceError,
        "its sshd and this computer's ssh have no method in common",
        "one of them is old: update it; 'ssh -v' tells which methods each has",
    ),
    _Failure("connection reset", DeviceLost, "it ended the connection", "try again; is it busy?"),
    _Failure("connection closed", DeviceLost, "it ended the connection", "try again; is it busy?"),
    _Failure("banner exchange", DeviceLost, "what answers is no sshd", "check the port"),
    _Failure("kex_exchange", DeviceLost, "what answers is no sshd", "check the port"),
)


def connection_error(name: str, destination: Destination, said: str) -> DeviceError:
    """The error for a connection that ssh could not make; `said` is its stderr, with -v."""
    words = spoken(said)
    lower = words.lower()
    key = _last(r"Server host key: (\S+ SHA256:\S+)", said) or "(unknown)"
    by_hand = destination.by_hand()
    if "host identification has changed" in lower:
        where = _last(r"Offending .*key in (.+):\d+", words) or "~/.ssh/known_hosts"
        return DeviceError(
            f"{name}: its host key has changed, to {printable(key.encode())}; nothing was sent",
            hint="either the machine was set up anew, or another one answers in its place. If you "
            f"know which: ssh-keygen -R '{_known_as(destination)}'  (it is in "
            f"{printable(where.encode())}),\nthen {by_hand}  and compare the fingerprint",
        )
    if "host key verification failed" in lower or "key is known for" in lower:
        return DeviceError(
            f"{name}: its host key is not known here: {printable(key.encode())}",
            hint="compare this with the machine's own: ssh-keygen -lf "
            f"/etc/ssh/ssh_host_{_kind(key)}_key.pub\nthen accept it by: {by_hand}",
        )
    accepted = _last(r"Server accepts key: (\S+)", said)
    if "permission denied (" in lower and accepted:
        return DevicePermission(
            f"{name}: it would take the key {printable(accepted.encode())}, which needs its "
            "passphrase",
            hint=f"give it to the agent: ssh-add {printable(accepted.encode())}",
        )
    last = printable(words.splitlines()[-1].encode()) if words else "ssh said nothing"
    for failure in _FAILURES:
        if failure.words in lower:
            step = by_hand.removeprefix("ssh") if "ssh-copy-id" in failure.hint else by_hand
            return failure.kind(f"{name}: {failure.meaning} ({last})", failure.hint.format(step))
    return DeviceError(f"{name}: ssh cannot connect: {last}", hint=f"try it by hand: {by_hand}")


def spoken(said: str) -> str:
    """What ssh says without -v."""
    lines = (line.strip() for line in said.splitlines())
    return "\n".join(x for x in lines if x and not re.match(r"debug\d: |OpenSSH_", x))


def _known_as(destination: Destination) -> str:
    port = destination.port
    return f"[{destination.host}]:{port}" if port and port != 22 else destination.host


def _kind(key: str) -> str:
    return next((kind for kind in ("ed25519", "ecdsa", "rsa") if kind in key), "ed25519")


def _last(pattern: str, text: str) -> str | None:
    found = re.findall(pattern, text)
    return str(found[-1]) if found else None


def _shown(address: str) -> str:
    return printable(address.encode(errors="backslashreplace"))[:200]


def configured_hosts(config: Path | None = None) -> list[SshHost]:
    """The hosts that ~/.ssh/config names, Include followed, without patterns. Nothing is reached.

    A file that cannot be read, or is none, has no hosts: ssh itself will say what is wrong.
    """
    start = config or Path(os.path.expanduser("~/.ssh/config"))
    blocks: dict[str, dict[str, str]] = {}
    _read_config(start, start.parent, blocks, [], set())
    return [
        SshHost(
            name,
            SCHEME + name,
            found.get("hostname"),
            found.get("user"),
            f"edgeq bench BUNDLE --device {SCHEME}{name}",
        )
        for name, found in blocks.items()
    ]


def _read_config(
    path: Path, folder: Path, blocks: dict[str, dict[str, str]], names: list[str], read: set[str]
) -> None:
    """Add the hosts of the file `path` to `blocks`; `names` are those of the block it is in.

    Each file is read once, `read` has them, and _MAX_FILES at most.
    """
    place = os.path.realpath(path)
    if place in read or len(read) >= _MAX_FILES:
        return
    read.add(place)
    try:
        if not path.is_file() or path.stat().st_size > _MAX_CONFIG:
            return
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in map(str.strip, text.splitlines()):
        match = re.match(r"([A-Za-z]+)(?:\s*=\s*|\s+)(.+)", line)
        if not match:
            continue
        word, values = match[1].lower(), [v.strip('"') for v in match[2].split()]
        if word == "host":
            names = [v for v in values if _ADDRESS.fullmatch(v) and "@" not in v and ":" not in v]
            for name in names:
                blocks.setdefault(name, {})
        elif word == "match":
            names = []
        elif word == "include":
            for value in values:
                pattern = os.path.join(folder, os.path.expanduser(value.replace("\0", "")))
                for found in sorted(glob.glob(pattern)):
                    _read_config(Path(found), folder, blocks, names, read)
        elif word in ("hostname", "user"):
            for name in names:
                blocks[name].setdefault(word, printable(values[0].encode()))
