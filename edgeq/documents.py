"""TOML and JSON documents into frozen dataclasses, with errors a person can act on."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgeq.errors import EdgeqError

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def read_toml(path: Path, error: type[EdgeqError]) -> dict[str, Any]:
    """The tables of the TOML file at `path`. Raises `error` when it is missing or malformed."""
    try:
        return tomllib.loads(read_text(path, error))
    except (ValueError, RecursionError) as e:
        raise error(f"{path}: not valid TOML: {e}") from e


def read_json(path: Path, error: type[EdgeqError], hint: str | None = None) -> Any:
    """The value in the JSON file at `path`. Raises `error` when it is missing or malformed.

    JSON as RFC 8259 has it, so without NaN and infinity, and none that readers understand in
    different ways: no key twice, no integer beyond 64 bits.
    """
    text = read_text(path, error, hint)
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
            object_pairs_hook=_object,
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as e:
        raise error(f"{path}: not valid JSON: half a character (a lone surrogate)", hint) from e
    except RecursionError as e:
        raise error(f"{path}: not valid JSON of edgeq's: nested too deeply", hint) from e
    except ValueError as e:
        raise error(f"{path}: not valid JSON: {e}", hint) from e


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"{_clipped(text)} is beyond 64 bits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_clipped(text)} is not a finite number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {_clipped(twice)!r} is there twice")
    return value


def _clipped(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_text(path: Path, error: type[EdgeqError], hint: str | None = None) -> str:
    """The UTF-8 text of `path`, at most MAX_DOCUMENT_BYTES long."""
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: no regular file", hint)
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise error(
                f"{path}: over {MAX_DOCUMENT_BYTES} bytes, this is no document of edgeq's", hint
            )
        return path.read_text(encoding="utf-8")
    except OSError as e:
        raise error(f"{path}: {e.strerror or e}", hint) from e
    except UnicodeDecodeError as e:
        raise error(f"{path}: not UTF-8 text (byte {e.start})", hint) from e


def decode(
    data: Any, kind: type[T], where: str, error: type[EdgeqError], hint: str | None = None
) -> T:
    """`data` (tables, lists, scalars) as a `kind`, a frozen dataclass.

    An unknown key is an error that names `where`, the key and the nearest valid one; `hint` goes
    with any other.
    """
    _refuse_unknown_keys(data, kind, where, "", error)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise error(f"{where}: {_in_words(str(e))}", hint) from e


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def _in_words(message: str) -> str:
    """msgspec's "Expected `int | null`, got `str` - at `$.ram`" for a person."""
    found = re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `\$\.?([^`]*)`)?", message)
    if not found:
        return message
    wanted = " or ".join(_WORDS.get(w, w) for w in found[1].split(" | ") if w != "null")
    key = found[3] or "the file"
    return f"{key} must be {wanted}, not {_WORDS.get(found[2], found[2])}"


def encode(value: Any) -> Any:
    """A frozen dataclass as plain tables and lists; keys that are None are left out."""
    return _without_none(msgspec.to_builtins(value))


def to_json(value: Any) -> str:
    """Stable, readable JSON of plain tables: the same bytes for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A byte of a file name that is no UTF-8 is a lone surrogate: "\\udcff" in JSON.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(path: str | Path) -> str:
    """A file name as text, bytes of it that are no UTF-8 as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def plain(value: object) -> str:
    """`value` as text that cannot move a cursor, colour a terminal or turn the direction of text.

    A byte of a file name that is no UTF-8, which Python holds as a lone surrogate, is shown, too.
    """
    return _CONTROL.sub(lambda m: f"\\x{_code(m.group()):02x}", str(value))


def _code(character: str) -> int:
    code = ord(character)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` in one step; a device or pipe is written to directly."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return
        final = path.resolve()  # A link keeps being a link.
        temporary = final.with_name(f".{final.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise EdgeqError(
            f"{path}: cannot be written: {e.strerror or e}",
            hint="name a file in a folder that exists and that you may write to",
        ) from e


def nearest(word: str, choices: typing.Iterable[str]) -> str | None:
    """The choice that `word` was probably meant to be, or None."""
    found = difflib.get_close_matches(word, sorted(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value]
    return value


def _refuse_unknown_keys(
    data: Any, kind: Any, where: str, at: str, error: type[EdgeqError]
) -> None:
    kind = _without_optional(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(data, dict):
        hints = typing.get_type_hints(kind)
        for key, value in data.items():
            if key not in hints:
                guess = nearest(_clipped(str(key)), hints)
                raise error(
                    f"{where}: unknown key {at}{_clipped(str(key))}",
                    hint=f"did you mean {at}{guess}?" if guess else f"keys: {', '.join(hints)}",
                )
            _refuse_unknown_keys(value, hints[key], where, f"{at}{key}.", error)
    elif origin is dict and isinstance(data, dict):
        for key, value in data.items():
            _refuse_unknown_keys(value, arguments[1], where, f"{at}{key}.", error)
    elif origin in (tuple, list) and isinstance(data, list):
        for i, value in enumerate(data):
            _refuse_unknown_keys(value, arguments[0], where, f"{at.rstrip('.')}[{i}].", error)


def _without_optional(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [k for k in typing.get_args(kind) if k is not type(None)]
        if len(members) == 1:
            return members[0]
    return kind
