"""Target files: all that come with edgeq, and every mistake a person can make in one."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from edgeq import resources, targets
from edgeq.errors import UsageError
from edgeq.targets import (
    FAMILIES,
    check_target,
    choose_engine,
    list_targets,
    load_core,
    load_target,
    target_names,
)

ASKED_FOR = """
    cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m33 cortex-m55
    microbit pico pico2 nano-33-ble-sense nucleo-f446re nucleo-l4r5zi nucleo-h743zi b-u585i-iot02a
    mps2-an385 mps2-an386 mps2-an500 mps2-an505 mps3-an547 netduinoplus2
    rpi rpi-zero-2w rpi3 rpi4 rpi5 rpi-armv7 android android-armv7 host
"""

BOARD = """
name = "board"
title = "A board"
family = "cortex-m"
core = "cortex-m4"
clock_hz = 80_000_000
flash = 1048576
ram = 98304
engines = ["tflm"]
transport = "serial"
flasher = "openocd"
usb_ids = ["0483:374b"]
sim = "mps2-an386"
"""

PI = """
name = "pi"
title = "A Pi"
family = "linux"
arch = "aarch64"
engines = ["litert"]
interpreter = "litert"
python = ["3.11", "3.13"]
glibc = "2.36"
transport = "ssh"
"""


def write(folder: Path, text: str, name: str = "board") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(text: str, key: str, value: str | None) -> str:
    """`text` with `key` set to the TOML `value`, or without it."""
    kept = [line for line in text.splitlines() if not re.match(rf"{key}\b", line)]
    return "\n".join(kept + ([] if value is None else [f"{key} = {value}"])) + "\n"


# --- What comes with edgeq -------------------------------------------------------------------


def test_every_target_of_the_plan_is_there() -> None:
    assert sorted(ASKED_FOR.split()) == target_names()


@pytest.mark.parametrize("name", ASKED_FOR.split())
def test_shipped_target_is_valid_and_complete(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.default_engine == target.engines[0]
    assert (target.core is not None) == ("core" in FAMILIES[target.family].keys)
    if target.core:
        assert target.arch == target.core.arch
        assert any(flag.startswith("-mcpu=") for flag in target.core.cflags)
        assert target.integer_only
    else:
        assert target.interpreter
        assert not target.integer_only


def test_sizes_and_clocks_are_numbers_with_a_source() -> None:
    """Every size, clock and USB id in a file stands beside or under a comment."""
    for name in target_names():
        text = resources.path("targets", f"{name}.toml").read_text(encoding="utf-8")
        above = ""
        for line in text.splitlines():
            if re.match(r"(clock_hz|flash|ram|usb_ids) =", line) and "virtual board" not in text:
                assert "#" in line or above.startswith("#"), f"{name}: {line}"
            above = line


def test_a_sim_has_the_same_core_as_the_target_it_stands_in_for() -> None:
    every = {t.name: t for t in list_targets()}
    stands_in = [t for t in every.values() if t.sim]
    assert stands_in
    for target in stands_in:
        assert target.sim is not None
        assert every[target.sim].core == target.core


def test_capabilities_answer_questions() -> None:
    m0, m4, m55 = (load_core(n) for n in ("cortex-m0plus", "cortex-m4", "cortex-m55"))
    assert not m0.has("dsp") and not m0.has("long_multiply")
    assert m4.has("dsp") and m4.has("fpu") and not m4.has("mve")
    assert m55.has("mve")
    with pytest.raises(AssertionError):
        m4.has("neon")  # A misspelt question must not be answered with no.


def test_listing_is_quick() -> None:
    list_targets()
    best = min(_seconds(list_targets) for _ in range(5))
    assert best < 0.2  # 0.03 s on a quiet machine


def _seconds(function: object) -> float:
    start = time.perf_counter()
    assert callable(function)
    function()
    return time.perf_counter() - start


# --- Names and paths -------------------------------------------------------------------------


def test_a_path_works_like_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, BOARD)
    monkeypatch.chdir(tmp_path)
    for given in ("./board.toml", "board.toml", str(tmp_path / "board.toml")):
        target = load_target(given)
        assert (target.name, target.ram, target.usb_ids) == ("board", 98304, ("0483:374b",))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rpi-4", "did you mean rpi4?"),
        ("cortexm4", "did you mean cortex-m4?"),
        ("zzz", "'edgeq targets' lists them all"),
        ("cores", "'edgeq targets' lists them all"),
        ("", "'edgeq targets' lists them all"),
    ],
)
def test_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        load_target(name)
    assert error.value.message == f"unknown target {name!r}"
    assert hint in (error.value.hint or "")
    assert error.value.exit_code == 2


def test_a_name_that_is_a_file_here_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, BOARD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        load_target("board")
    assert "./board.toml" in (error.value.hint or "")


@pytest.mark.parametrize("given", ["./none.toml", "../edgeq/targets/", "/"])
def test_missing_file(given: str) -> None:
    with pytest.raises(UsageError, match="no such target file"):
        load_target(given)


def test_engines_are_chosen_or_refused() -> None:
    target = load_target("cortex-m4")
    assert choose_engine(target) == "aot"
    assert choose_engine(target, "tflm") == "tflm"
    with pytest.raises(UsageError, match="cortex-m4 has no engine 'litert'"):
        choose_engine(target, "litert")
    with pytest.raises(UsageError, match="unknown engine 'tfml'") as error:
        choose_engine(target, "tfml")
    assert error.value.hint == "engines of cortex-m4: aot, tflm"


# --- Mistakes --------------------------------------------------------------------------------


def test_the_sound_files_load(tmp_path: Path) -> None:
    board = check_target(write(tmp_path, BOARD))
    assert board.core is not None and board.core.has("dsp")
    pi = check_target(write(tmp_path, PI, "pi"))
    assert (pi.python, pi.glibc, pi.flash) == (("3.11", "3.13"), "2.36", None)


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("flsh", "1", "unknown key flsh", "did you mean flash?"),
        ("zzz", "1", "unknown key zzz", "keys: name, title, family"),
        ("family", None, "no key family", "family is android, cortex-m, host or linux"),
        ("family", '"cortexm"', "family: 'cortexm' is unknown here", "did you mean cortex-m?"),
        ("core", None, "no key core, which a target of family cortex-m needs", "cores.toml"),
        ("title", None, "no key title", "the name people know"),
        ("engines", None, "no key engines", "the first is the default"),
        ("name", '"boart"', "name is 'boart', the file's name says 'board'", "the two the same"),
        ("title", '"a\\nb"', "title is empty or not one line", "write a name"),
        ("title", '" "', "title is empty", "write a name"),
        ("core", '"cortex-m5"', "core: unknown core 'cortex-m5'", "did you mean cortex-m"),
        ("core", '"z80"', "core: unknown core 'z80'", "cores: cortex-m0, "),
        ("flash", "0", "flash = 0 is not a positive number of bytes", "leave flash out"),
        ("ram", "-1", "ram = -1 is not a positive number of bytes", "leave ram out"),
        ("clock_hz", "-5", "clock_hz = -5 is not a positive number of hertz", "leave clock_hz"),
        ("flash", '"1 MiB"', "flash must be a whole number, not text in quotes", None),
        ("ram", "1.5", "ram must be a whole number, not a number", None),
        ("engines", '"tflm"', "engines must be a list, not text in quotes", None),
        ("engines", "[]", "engines is an empty list", "the first is the default"),
        ("engines", '["tfml"]', "engines: 'tfml' is unknown here", "did you mean tflm?"),
        ("engines", '["litert"]', "engines: 'litert' is unknown here", "engines is aot or tflm"),
        ("engines", '["tflm", "tflm"]', "engines has 'tflm' twice", "list it once"),
        ("transport", '"ssh"', "transport: 'ssh' is unknown here", "transport is serial"),
        ("usb_ids", '["0483:374B"]', "usb_ids: '0483:374B' is wrong", "lower-case hex"),
        ("usb_ids", '["483:374b"]', "usb_ids: '483:374b' is wrong", "four lower-case"),
        ("flasher", '""', "flasher is empty", "leave the key out"),
        ("sim", '""', "sim is empty", "leave the key out"),
        ("arch", '"armv7"', "key arch means nothing in family cortex-m", "android or linux"),
        ("interpreter", '"litert"', "key interpreter means nothing", "android, host or linux"),
        ("python", '["3.11"]', "key python means nothing", "it belongs to family linux"),
    ],
)
def test_mistakes_in_a_board(
    tmp_path: Path, key: str, value: str | None, message: str, hint: str | None
) -> None:
    path = write(tmp_path, changed(BOARD, key, value))
    with pytest.raises(UsageError) as error:
        check_target(path)
    assert error.value.message.startswith(f"{path}: ")
    assert message in error.value.message
    assert error.value.exit_code == 2
    if hint is not None:
        assert hint in (error.value.hint or "")


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("arch", None, "no key arch", "aarch64 or armv7"),
        ("arch", '"arm64"', "arch: 'arm64' is unknown here", "aarch64"),
        ("interpreter", None, "no key interpreter", "litert or tflite-runtime"),
        ("interpreter", '"tflite_runtime"', "interpreter: 'tflite_runtime'", "tflite-runtime?"),
        ("python", "[]", "python is an empty list", "each release"),
        ("python", '["311"]', "python: '311' is wrong", '"3.11"'),
        ("python", "[3.11]", "python[0] must be text in quotes, not a number", None),
        ("glibc", '"2.36-9"', "glibc: '2.36-9' is wrong", '"2.36"'),
        ("transport", None, "no key transport", "ssh for linux"),
        ("flash", "1", "key flash means nothing in family linux", "family cortex-m"),
        ("core", '"cortex-m4"', "key core means nothing", "family cortex-m"),
        ("usb_ids", '["0483:374b"]', "key usb_ids means nothing", "family cortex-m"),
    ],
)
def test_mistakes_in_a_pi(
    tmp_path: Path, key: str, value: str | None, message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as error:
        check_target(write(tmp_path, changed(PI, key, value), "pi"))
    assert message in error.value.message
    if hint is not None:
        assert hint in (error.value.hint or "")


@pytest.mark.parametrize("family", ["android", "host"])
def test_phones_and_computers_have_no_clock(tmp_path: Path, family: str) -> None:
    name = {"android": "android", "host": "host"}[family]
    text = resources.path("targets", f"{name}.toml").read_text(encoding="utf-8")
    assert check_target(write(tmp_path, text, name)).family == family
    with pytest.raises(UsageError, match="key clock_hz means nothing"):
        check_target(write(tmp_path, text + "\nclock_hz = 1\n", name))


@pytest.mark.parametrize("text", ["name = ", "[name", "\x00"])
def test_not_toml(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="not valid TOML"):
        check_target(write(tmp_path, text))


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match="not UTF-8"):
        check_target(path)


def test_a_name_must_be_fit_for_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path, changed(BOARD, "name", '"my board"'), "my board")
    with pytest.raises(UsageError, match="cannot name a folder"):
        check_target(path)


def test_the_readmes_table_of_keys_is_what_is_checked() -> None:
    """targets/README.md: R, o and - by family say the same as FAMILIES."""
    text = resources.path("targets", "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| `\w+` \|", line)
    ]
    always = {"name", "title", "family", "engines"}
    for column, family in enumerate(("cortex-m", "linux", "android", "host"), start=2):
        marks = {row[0].strip("`"): row[column] for row in rows}
        facts = FAMILIES[family]
        assert {k for k, m in marks.items() if m == "**R**"} == facts.required | always, family
        assert {k for k, m in marks.items() if m == "o"} == facts.optional, family


def test_the_readmes_example_board_is_valid(tmp_path: Path) -> None:
    text = resources.path("targets", "README.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n# my_board\.toml\n(.+?)```", text, re.S)
    assert example
    target = check_target(write(tmp_path, example[1], "my_board"))
    assert target.ram == 96 * 1024


def test_a_cores_file_with_an_unknown_capability_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cores.toml").write_text(
        '[odd]\narch = "x"\ncflags = []\ncapabilities = ["dps"]\n', encoding="utf-8"
    )
    monkeypatch.setattr(resources, "path", lambda *parts: tmp_path / parts[-1])
    targets._cores.cache_clear()
    try:
        with pytest.raises(UsageError, match="'dps' is unknown here") as error:
            load_core("odd")
        assert error.value.hint == "did you mean dsp?"
    finally:
        targets._cores.cache_clear()
