"""Text for generated files: nothing breaks out of it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from exports import NASTY

from edgeq.codegen.text import c_string, comment, float_literal, kotlin_string, markdown, prose


@pytest.mark.parametrize("text", NASTY)
def test_nothing_breaks_out_of_a_comment_string_or_cell(text: str) -> None:
    for made in (comment(text), c_string(text), kotlin_string(text), markdown(text), prose(text)):
        assert made.isascii() and made.isprintable()
    for sign in ("*/", "/*", "??", "\\"):
        assert sign not in comment(text)
    assert re.fullmatch(r'"(?:[^"\\?]|\\["\\?]|\\[0-7]{3})*"', c_string(text))
    assert re.fullmatch(r'"(?:[^"\\$]|\\["\\$]|\\u[0-9a-f]{4})*"', kotlin_string(text))
    assert re.fullmatch(r"`[^`|]*`", markdown(text))
    assert "<" not in prose(text) and not re.search(r"(?<!\\)[`\[|]", prose(text))


def test_endless_names_are_cut() -> None:
    assert len(c_string("\u2192" * 5000)) < 4 * 4000 + 3
    assert len(comment("x" * 10**6)) < 1100
    decoded = c_string("\u2192" * 5000).strip('"').encode().decode("unicode_escape")
    assert set(decoded.encode("latin-1").decode()) == {"\u2192"}


@pytest.mark.parametrize("value", [1.0, 0.1, 0.5847029089927673, 1e-40, 3.4e38, 1e10, 123456789.0])
def test_float_literals_read_back_as_the_same_float32(value: float) -> None:
    literal = float_literal(value)
    assert literal.endswith("f") and ("." in literal or "e" in literal)
    assert np.float32(literal[:-1]) == np.float32(value)
