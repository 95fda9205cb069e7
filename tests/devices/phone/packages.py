"""Debian's packages for the phone, by an apt with folders of its own: this computer's apt and dpkg
are not touched."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pi import roots

_SOURCE = (
    "{kind} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    "http://deb.debian.org/debian bookworm main\n"
)


def folder() -> Path:
    """Where all that is made for the phone stays between runs."""
    place = roots.cache() / "phone"
    place.mkdir(parents=True, exist_ok=True)
    return place


def source(package: str, into: Path) -> None:
    """The archives of a source package."""
    apt = _apt("deb-src", "amd64")
    run(*apt, "source", "--download-only", package, cwd=into)


def archives(architecture: str, names: list[str]) -> list[Path]:
    """The packages `names` and what they need."""
    apt = _apt("deb", architecture)
    made = folder() / f"apt-deb-{architecture}/cache/archives"
    for old in made.glob("*.deb"):
        old.unlink()
    run(*apt, "install", "--download-only", *names)
    return sorted(made.glob("*.deb"))


def run(*argv: str, cwd: Path | None = None) -> None:
    """Raises RuntimeError with all that it said."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def _apt(kind: str, architecture: str) -> list[str]:
    place = folder() / f"apt-{kind}-{architecture}"
    for each in ("lists/partial", "cache/archives/partial"):
        (place / each).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    (place / "sources.list").write_text(_SOURCE.format(kind=kind))
    config = place / "apt.conf"
    config.write_text(
        f'APT::Architecture "{architecture}"; APT::Architectures {{"{architecture}";}};\n'
        f'Dir::State "{place}"; Dir::State::status "{place}/status";\n'
        f'Dir::Cache "{place}/cache"; Dir::Etc::sourcelist "{place}/sources.list";\n'
        'Dir::Etc::sourceparts "/dev/null"; Dir::Etc::parts "/dev/null";\n'
        'APT::Sandbox::User "root"; APT::Install-Recommends "false";\n'
    )
    apt = ["env", f"APT_CONFIG={config}", "apt-get", "-qq", "-y"]
    run(*apt, "update")
    return apt
