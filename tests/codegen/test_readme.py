"""The README of a bundle."""

from __future__ import annotations

import re

import pytest
from exports import MANY_INPUTS, MANY_OUTPUTS, NASTY, make_export, nasty_export

from edgeq.codegen import Export, readme
from edgeq.targets import load_target


@pytest.fixture(scope="module")
def nasty() -> Export:
    return nasty_export()


def test_readme_has_the_commands_and_the_facts() -> None:
    export = make_export(labels=tuple(f"c{i}" for i in range(30)))
    pi = readme("linux", export, target="A Pi", proof=["SQNR 40 dB"])
    assert "venv/bin/python run.py\n" in pi and "- SQNR 40 dB\n" in pi
    assert "| input 0 | `image` | int8 [1, 4], scale 0.0078125, zero point 3 |" in pi
    assert "`c19`, and 10 more." in pi
    assert "--system-site-packages" in readme(
        "linux", export, target="Old", interpreter="tflite-runtime"
    )
    flags = load_target("cortex-m4").core.cflags  # type: ignore[union-attr]
    board = readme("cortex-m", export, target="A board", cflags=flags)
    assert "TARGET_ARCH=cortex-m4+fp " in board and "Tensor arena: 2048 bytes" in board
    assert "Nothing was verified" in board and "firmware.elf" not in board
    served = readme("cortex-m", export, target="x", serving=["edgeq flash x", "edgeq bench x"])
    assert "`firmware/firmware.elf`" in served and "    edgeq flash x\n" in served
    assert "TinyModel.kt" in readme("android", export, target="A phone")


def test_readme_tables_survive_nasty_names(nasty: Export) -> None:
    text = readme("cortex-m", nasty, target="x", proof=NASTY)
    rows = [s for s in text.splitlines() if re.match(r"\| (in|out)put \d", s)]
    assert len(rows) == len(MANY_INPUTS) + len(MANY_OUTPUTS)
    assert all(row.count("|") == 4 for row in rows)
    assert len([s for s in text.splitlines() if s.startswith("- ")]) == len(NASTY)
    assert "<img" not in re.sub(r"`[^`]*`", "", text)
