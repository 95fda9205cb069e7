"""start("stub", "bits=24"): the harness, built once for all of its tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from firmware import HERE
from harness_link import Link, compile_host, process
from harness_program import CORE, HARNESS, INCLUDES, MODELS, Open


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("host") / "harness_host"
    sources = [HERE / "harness_host.c", *MODELS, *HARNESS, *CORE]
    return compile_host(output, sources, "-std=c11", *INCLUDES)


@pytest.fixture
def start(program: Path) -> Iterator[Open]:
    """start("stub", "bits=24") is a harness behind its boot banner."""
    with ExitStack() as stack:

        def begin(model: str = "stub", *options: str, banner: int = 3) -> Link:
            link = stack.enter_context(process([str(program), model, *options]))
            assert len(link.lines()) == banner
            return link

        yield begin
