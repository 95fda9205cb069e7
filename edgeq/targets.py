"""Targets: what a model is built for. Facts from targets/*.toml, checked when they are read.

targets/README.md describes the keys; `Target` has them all, None where one does not apply.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeq import resources
from edgeq.documents import decode, nearest, read_toml
from edgeq.errors import UsageError

CAPABILITIES = frozenset({"dsp", "mve", "fpu", "cycle_counter", "long_multiply"})
"""What a core may have; targets/cores.toml says what each means."""

ARCHITECTURES = frozenset({"aarch64", "armv7"})
INTERPRETERS = frozenset({"litert", "tflite-runtime"})

_CORES = "cores"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Core:
    """A CPU core: `cflags` are what arm-none-eabi-gcc needs to compile for it."""

    name: str
    arch: str
    cflags: tuple[str, ...]
    capabilities: tuple[str, ...]

    def has(self, capability: str) -> bool:
        """Whether the core has one of CAPABILITIES."""
        assert capability in CAPABILITIES, capability
        return capability in self.capabilities


@dataclass(frozen=True)
class Family:
    """What all targets of one kind share: the keys of their files, and what those may say.

    `integer_only`: a float operator can never be accepted, whatever the user asks for.
    `runs_python`: bundles bring run.py, and the float model to compare with.
    """

    name: str
    required: frozenset[str]
    optional: frozenset[str]
    engines: tuple[str, ...]
    transports: tuple[str, ...]
    integer_only: bool = False
    runs_python: bool = False

    @property
    def keys(self) -> frozenset[str]:
        return _ALWAYS | self.required | self.optional


_ALWAYS = frozenset({"name", "title", "family", "engines"})

FAMILIES = {
    family.name: family
    for family in (
        Family(
            "cortex-m",
            required=frozenset({"core"}),
            optional=frozenset(
                {
                    "clock_hz",
                    "flash",
                    "ram",
                    "transport",
                    "flasher",
                    "flasher_args",
                    "uf2_family",
                    "usb_ids",
                    "sim",
                }
            ),
            engines=("aot", "tflm"),
            transports=("serial",),
            integer_only=True,
        ),
        Family(
            "linux",
            required=frozenset({"arch", "interpreter", "python", "glibc", "transport"}),
            optional=frozenset({"clock_hz", "ram"}),
            engines=("litert", "aot"),
            transports=("ssh",),
            runs_python=True,
        ),
        Family(
            "android",
            required=frozenset({"arch", "interpreter", "transport"}),
            optional=frozenset(),
            engines=("litert", "aot"),
            transports=("adb",),
        ),
        Family(
            "host",
            required=frozenset({"interpreter", "transport"}),
            optional=frozenset(),
            engines=("litert", "aot"),
            transports=("local",),
            runs_python=True,
        ),
    )
}


def is_microcontroller(family: str) -> bool:
    """Whether the targets of `family` are cores without an operating system, run by firmware."""
    return family in FAMILIES and "core" in FAMILIES[family].required


def follows_tflm(engine: str) -> bool:
    """Whether the right bytes of `engine` are TensorFlow Lite Micro's, wherever it runs."""
    return engine in FAMILIES["cortex-m"].engines


@dataclass(frozen=True)
class Target:
    """One target. Sizes in bytes; a `flash` or `ram` of None means that no limit is known.

    `arch` is the core's where there is one, and None for this computer.
    """

    name: str
    title: str
    family: str
    core: Core | None = None
    arch: str | None = None
    clock_hz: int | None = None
    flash: int | None = None
    ram: int | None = None
    engines: tuple[str, ...] = ()
    interpreter: str | None = None
    python: tuple[str, ...] = ()
    glibc: str | None = None
    transport: str | None = None
    flasher: str | None = None
    flasher_args: tuple[str, ...] = ()
    uf2_family: str | None = None
    usb_ids: tuple[str, ...] = ()
    sim: str | None = None

    @property
    def integer_only(self) -> bool:
        """Whether float operators are refused on it, even when the user would allow them."""
        return FAMILIES[self.family].integer_only

    @property
    def runs_python(self) -> bool:
        """Whether Python and a LiteRT interpreter run on it."""
        return FAMILIES[self.family].runs_python

    @property
    def default_engine(self) -> str:
        return self.engines[0]


def target_names() -> list[str]:
    """The names of the targets that come with edgeq, in order. Reads no file."""
    return sorted(p.stem for p in resources.path("targets").glob("*.toml") if p.stem != _CORES)


def list_targets() -> list[Target]:
    """Every target that comes with edgeq, by name."""
    return [load_target(name) for name in target_names()]


def load_target(name_or_path: str) -> Target:
    """The target of that name, or of a file: a path has a slash in it or ends in .toml.

    Raises UsageError when there is none, or its file is wrong.
    """
    if is_path(name_or_path):
        return check_target(Path(name_or_path))
    names = target_names()
    if name_or_path not in names:
        guess = nearest(name_or_path, names)
        own = f"{name_or_path}.toml"
        if Path(own).is_file():
            hint = f"a file of your own is given by its path: ./{own}"
        else:
            hint = f"did you mean {guess}? " if guess else ""
            hint += "'edgeq targets' lists them all"
        raise UsageError(f"unknown target {name_or_path!r}", hint=hint)
    return check_target(resources.path("targets", f"{name_or_path}.toml"))


def is_path(name_or_path: str) -> bool:
    """Whether --target's value names a file and not one of edgeq's own targets."""
    return "/" in name_or_path or name_or_path.endswith(".toml")


def check_target(path: Path) -> Target:
    """The target described by the file `path`. Raises UsageError for the first thing wrong."""
    if not path.is_file():
        raise UsageError(
            f"{path}: no such target file", hint="check the path; 'edgeq targets' lists the names"
        )
    document = decode(read_toml(path, UsageError), _Document, str(path), UsageError)
    _check_keys(document, path)
    _check_values(document, path)
    core = _core(document.core, path) if document.core else None
    return Target(
        name=document.name or "",
        title=document.title or "",
        family=document.family or "",
        core=core,
        arch=core.arch if core else document.arch,
        clock_hz=document.clock_hz,
        flash=document.flash,
        ram=document.ram,
        engines=document.engines or (),
        interpreter=document.interpreter,
        python=document.python or (),
        glibc=document.glibc,
        transport=document.transport,
        flasher=document.flasher,
        flasher_args=document.flasher_args or (),
        uf2_family=document.uf2_family,
        usb_ids=document.usb_ids or (),
        sim=document.sim,
    )


def choose_engine(target: Target, engine: str | None = None) -> str:
    """`engine` if the target has it, or the target's default. Raises UsageError."""
    if engine is None:
        return target.default_engine
    if engine not in target.engines:
        others = sorted({e for family in FAMILIES.values() for e in family.engines})
        known = engine in others
        raise UsageError(
            f"{target.name} has no engine {engine!r}" if known else f"unknown engine {engine!r}",
            hint=f"engines of {target.name}: {', '.join(target.engines)}",
        )
    return engine


def load_core(name: str) -> Core:
    """The core of that name in targets/cores.toml. Raises UsageError for an unknown one."""
    cores = _cores()
    if name not in cores:
        guess = nearest(name, cores)
        raise UsageError(
            f"unknown core {name!r}",
            hint=f"did you mean {guess}?" if guess else f"cores: {', '.join(cores)}",
        )
    return cores[name]


@dataclass(frozen=True)
class _CoreTable:
    arch: str
    cflags: tuple[str, ...]
    capabilities: tuple[str, ...]


@functools.cache
def _cores() -> dict[str, Core]:
    path = resources.path("targets", f"{_CORES}.toml")
    cores = {}
    for name, table in read_toml(path, UsageError).items():
        core = decode(table, _CoreTable, f"{path}: {name}", UsageError)
        for capability in core.capabilities:
            _choice(path, f"{name}.capabilities", capability, CAPABILITIES)
        cores[name] = Core(name, core.arch, core.cflags, core.capabilities)
    return cores


def _core(name: str, path: Path) -> Core:
    try:
        return load_core(name)
    except UsageError as e:
        raise UsageError(f"{path}: core: {e.message}", e.hint) from e


@dataclass(frozen=True)
class _Document:
    """A target's file as it stands: the keys of targets/README.md."""

    name: str | None = None
    title: str | None = None
    family: str | None = None
    core: str | None = None
    arch: str | None = None
    clock_hz: int | None = None
    flash: int | None = None
    ram: int | None = None
    engines: tuple[str, ...] | None = None
    interpreter: str | None = None
    python: tuple[str, ...] | None = None
    glibc: str | None = None
    transport: str | None = None
    flasher: str | None = None
    flasher_args: tuple[str, ...] | None = None
    uf2_family: str | None = None
    usb_ids: tuple[str, ...] | None = None
    sim: str | None = None


def _check_keys(document: _Document, path: Path) -> None:
    """The keys are those of the family: none missing, none that means nothing there."""
    if document.family is None:
        raise UsageError(f"{path}: no key family", hint=f"family is {_one_of(FAMILIES)}")
    _choice(path, "family", document.family, FAMILIES)
    family = FAMILIES[document.family]
    given = {key for key, value in vars(document).items() if value is not None}
    for key in sorted(_ALWAYS | family.required):
        if key not in given:
            raise UsageError(
                f"{path}: no key {key}, which a target of family {family.name} needs",
                hint=f"{key}: {_MEANING[key]}",
            )
    for key in sorted(given - family.keys):
        homes = [f.name for f in FAMILIES.values() if key in f.keys]
        raise UsageError(
            f"{path}: key {key} means nothing in family {family.name}",
            hint=f"leave it out; it belongs to family {_one_of(homes)}",
        )


_MEANING = {
    "name": "the file's name without .toml",
    "title": "the name people know, with the chip",
    "engines": 'a list; the first is the default: ["tflm"] for cortex-m, else ["litert"]',
    "core": "a table of targets/cores.toml, as cortex-m4",
    "arch": "aarch64 or armv7",
    "interpreter": "litert or tflite-runtime",
    "python": 'a list, the Python of each release of its OS, as ["3.11"]',
    "glibc": 'the lowest glibc of those releases, as "2.36"',
    "transport": "ssh for linux, adb for android, local for host",
}
"""Of the keys that some family requires."""


def _check_values(document: _Document, path: Path) -> None:
    family = FAMILIES[document.family or ""]
    if document.name != path.stem:
        raise UsageError(
            f"{path}: name is {document.name!r}, the file's name says {path.stem!r}",
            hint="make the two the same",
        )
    if not _NAME.fullmatch(document.name):
        raise UsageError(
            f"{path}: name {document.name!r} cannot name a folder",
            hint="use letters, digits, '-', '_' and '.', and begin with a letter or digit",
        )
    for key in ("title", "flasher", "sim"):
        text = getattr(document, key)
        if text is not None and not (text.strip() and text.isprintable()):
            raise UsageError(
                f"{path}: {key} is empty or not one line of text",
                hint="write a name, or leave the key out" if key != "title" else "write a name",
            )
    for key in ("clock_hz", "flash", "ram"):
        size = getattr(document, key)
        if size is not None and size <= 0:
            raise UsageError(
                f"{path}: {key} = {size} is not a positive number of "
                + ("hertz" if key == "clock_hz" else "bytes"),
                hint=f"leave {key} out when it is not known",
            )
    _list(path, "engines", document.engines, at_least_one=True)
    for engine in document.engines or ():
        _choice(path, "engines", engine, family.engines)
    for key, value, choices in (
        ("arch", document.arch, ARCHITECTURES),
        ("interpreter", document.interpreter, INTERPRETERS),
        ("transport", document.transport, family.transports),
    ):
        if value is not None:
            _choice(path, key, value, choices)
    _list(path, "python", document.python, r"3\.\d{1,2}", 'a version as "3.11"', at_least_one=True)
    if document.glibc is not None:
        _form(path, "glibc", document.glibc, r"2\.\d{1,2}", 'a version as "2.36"')
    if document.uf2_family is not None:
        _form(path, "uf2_family", document.uf2_family, r"[0-9a-f]{8}", "eight hex digits")
    hexadecimal = '"vid:pid", four lower-case hex digits each, as "0483:374b"'
    _list(path, "usb_ids", document.usb_ids, r"[0-9a-f]{4}:[0-9a-f]{4}", hexadecimal)


def _list(
    path: Path,
    key: str,
    values: tuple[str, ...] | None,
    pattern: str = ".*",
    wanted: str = "",
    *,
    at_least_one: bool = False,
) -> None:
    if values is None:
        return
    if at_least_one and not values:
        raise UsageError(f"{path}: {key} is an empty list", hint=f"{key}: {_MEANING[key]}")
    for value in values:
        _form(path, key, value, pattern, wanted)
        if values.count(value) > 1:
            raise UsageError(f"{path}: {key} has {value!r} twice", hint="list it once")


def _form(path: Path, key: str, value: str, pattern: str, wanted: str) -> None:
    if not re.fullmatch(pattern, value):
        raise UsageError(f"{path}: {key}: {value!r} is wrong", hint=f"write {wanted}")


def _choice(path: Path, key: str, value: str, choices: Iterable[str]) -> None:
    choices = sorted(choices)
    if value not in choices:
        guess = nearest(value, choices)
        raise UsageError(
            f"{path}: {key}: {value!r} is unknown here",
            hint=f"did you mean {guess}?" if guess else f"{key} is {_one_of(choices)}",
        )


def _one_of(choices: Iterable[str]) -> str:
    *rest, last = sorted(choices)
    return f"{', '.join(rest)} or {last}" if rest else last
