"""Every operator of engine aot on the architectures of computers: the reference's bytes, over the
runner's stdin and stdout."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import agreement
import pytest
from agreement import EMULATORS, RUNNERS, SAMPLES, equal_outputs_of_runner, make_reference
from every_operator import networks
from make_model import tiny_int8

from edgeq.codegen.facts import Export
from edgeq.toolchains import find_toolchain, host_arch


@functools.cache
def reference(name: str) -> Export:
    return make_reference(networks()[name], name)


def require(arch: str) -> None:
    if find_toolchain(arch) is None:
        pytest.skip(f"needs a C compiler for {arch}")
    if arch != host_arch() and shutil.which(EMULATORS[arch][0]) is None:
        pytest.skip(f"needs {EMULATORS[arch][0]}")


@pytest.mark.parametrize("arch", RUNNERS)
@pytest.mark.parametrize("name", networks())
def test_every_architecture_gives_the_bytes_of_the_reference(name: str, arch: str) -> None:
    """The emulated boards are held to the same bytes, by test_agreement.py."""
    require(arch)
    assert equal_outputs_of_runner(reference(name), arch) == [True] * SAMPLES


@pytest.mark.parametrize("arch", RUNNERS)
def test_one_wrong_byte_is_seen(arch: str) -> None:
    require(arch)
    export = make_reference(tiny_int8(), samples=3)
    wrong = export.golden.outputs[1][0].copy()
    wrong[0, 2] ^= 1
    outputs = (export.golden.outputs[0], (wrong,), export.golden.outputs[2])
    golden = dataclasses.replace(export.golden, outputs=outputs)
    export = dataclasses.replace(export, golden=golden)
    assert equal_outputs_of_runner(export, arch) == [True, False, True]


def test_the_program(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    arch = host_arch()
    if arch is None or find_toolchain(arch) is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "tiny.tflite").write_bytes(tiny_int8())
    arguments = [str(tmp_path / "tiny.tflite"), "--runner", arch, "--samples", "2"]
    assert agreement.main(arguments) == 0
    assert "2 of 2 equal TFLM (tflite-micro" in capsys.readouterr().out
