"""The harness as a program of this computer, under address and undefined-behaviour sanitizers."""

from __future__ import annotations

from collections.abc import Callable

from firmware import HERE, RUNTIME
from harness_link import Link

HARNESS = sorted((RUNTIME / "harness").glob("*.c"))
CORE = sorted((RUNTIME / "core").glob("*.c"))
MODELS = [HERE / "stub_model.c", HERE / "host_models.c"]
INCLUDES = [f"-I{RUNTIME / 'include'}", f"-I{RUNTIME / 'harness'}", f"-I{HERE}"]
STUB_RUN = 2  # readings of the clock in a timed inference: one tick step between them


Open = Callable[..., Link]
