"""Parts of the harness by themselves, the fuzzer's corpus, and PROTOCOL.md's worked exchange."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from corpus import unpack
from firmware import HERE, RUNTIME
from harness_link import compile_host
from harness_program import CORE, HARNESS, INCLUDES, MODELS, Open

# --- Parts ---


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], list[str]]:
    names = ["eq_real.c", "eq_reply.c", "eq_text.c"]
    output = tmp_path_factory.mktemp("real") / "real_host"
    sources = [HERE / "real_host.c", *(RUNTIME / "harness" / n for n in names), *CORE]
    program = compile_host(output, sources, "-std=c11", *INCLUDES)

    def ask(lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout.split()

    return ask


def test_a_float_is_printed_as_c_does(real: Callable[[list[str]], list[str]]) -> None:
    rng = np.random.default_rng(3)
    bits = np.concatenate(
        [
            rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32),
            (rng.standard_normal(20_000) * 2).astype(np.float32).view(np.uint32),
            # Ties: odd multiples of 1/16 end in a 5 at the fourth digit, of 2^-12 do not.
            (np.arange(-2000, 2000) / np.float32(16)).astype(np.float32).view(np.uint32),
            (np.arange(-8000, 8000) / np.float32(2000)).astype(np.float32).view(np.uint32),
            np.array([0, 0x80000000, 0x7F7FFFFF, 0xFF7FFFFF, 1, 0x80000001], np.uint32),
            np.array([0x7F800000, 0xFF800000, 0x3A03126F, 0x3A031270], np.uint32),
        ]
    )
    values = bits.view(np.float32)
    expected = [f"{float(v):.3f}" for v in values]
    assert real([f"f {b:x}" for b in bits]) == expected


def test_a_scaled_integer_is_the_float_product(real: Callable[[list[str]], list[str]]) -> None:
    rng = np.random.default_rng(4)
    steps = np.concatenate(
        [
            rng.integers(-256, 256, 10_000),
            rng.integers(-65536, 65536, 5_000),
            rng.integers(-(2**32), 2**32, 5_000),
            np.array([0, 2**24 + 1, 2**24 + 3, -(2**25) - 2, 2**32, -(2**32)]),
        ]
    )
    scales = rng.uniform(1e-5, 1, len(steps)).astype(np.float32)
    scales[::7] *= -1
    products = steps.astype(np.float32) * scales
    lines = [f"s {n} {s:x}" for n, s in zip(steps, scales.view(np.uint32), strict=True)]
    assert real(lines) == [f"{float(p):.3f}" for p in products]


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [("dwt", "dwt 32 1 1"), ("none", "systick 56 0 0"), ("systick", "systick 56 0 0")],
)
def test_ticks_are_right_wherever_a_wrap_falls(tmp_path: Path, kind: str, chosen: str) -> None:
    """On made-up registers: QEMU has no DWT, and never shows a wrap between two accesses."""
    ports = f"-I{RUNTIME / 'ports' / 'cortex-m'}"
    program = compile_host(
        tmp_path / "ticks", [HERE / "ticks_host.c"], "-std=c11", *INCLUDES, ports
    )
    for seed in range(1, 5):
        done = subprocess.run([program, kind, str(seed)], capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, chosen), done.stderr


def test_the_corpus_of_the_fuzzer(tmp_path: Path) -> None:
    sources = [HERE / "fuzz_harness.c", *MODELS, *HARNESS, *CORE]
    program = compile_host(
        tmp_path / "replay", sources, "-std=c11", "-D_GNU_SOURCE", "-DREPLAY", *INCLUDES
    )
    corpus = unpack(tmp_path / "corpus")
    assert len(corpus) > 20
    done = subprocess.run([program, *corpus], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{len(corpus)} files\n"), done.stderr


def test_the_worked_exchange_of_protocol_md(start: Open) -> None:
    """What PROTOCOL.md shows is what the harness says, to the byte but for m-lap-us."""
    text = (RUNTIME / "PROTOCOL.md").read_text().split("## A worked exchange")[1]
    block = text.split("```")[1].strip("\n").splitlines()
    link = start("stub", "line=640", "batch=64")
    answer: list[bytes] = []
    commands = 0
    for line in block:
        if line.startswith("> "):
            assert answer == []
            answer = [*link.command(line[2:].removesuffix("%")), b"m-ready"]
            commands += 1
        else:
            said, lap = answer.pop(0).decode(), "m-lap-us-"
            # How often the clock was read before is chance.
            assert said == line or (said.startswith(lap) and line.startswith(lap))
    assert answer == [] and commands >= 6
