"""The files for an Android app."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from exports import make_export, nasty_export, run, write

from edgeq.codegen import Export, generate_family
from edgeq.codegen.kotlin import object_name


@pytest.fixture(scope="module")
def nasty() -> Export:
    return nasty_export()


def test_kotlin_golden_files_hold_the_samples_in_a_row(nasty: Export) -> None:
    files = generate_family("android", nasty)
    for prefix, samples in (("in", nasty.golden.inputs), ("out", nasty.golden.outputs)):
        for i in range(len(samples[0])):
            data = files[f"golden/{prefix}_{i}.bin"]
            assert data == b"".join(sample[i].tobytes() for sample in samples)
    text = str(files["TinyModel.kt"])
    assert 'val GOLDEN_INPUTS = listOf("golden/in_0.bin", "golden/in_1.bin"' in text
    assert f'const val SHA256 = "{nasty.sha256}"' in text
    assert "const val SCALE = 0.584702909f" in text and "const val ZERO_POINT = -128" in text


def test_kotlin_many_labels_are_split_into_lists() -> None:
    labels = tuple(f"class {i}" for i in range(1200))
    text = str(generate_family("android", make_export(labels=labels))["TinyModel.kt"])
    assert "val LABELS: List<String> = labels0() + labels1() + labels2()" in text
    assert re.findall(r'^        "(class \d+)",?$', text, re.M) == list(labels)
    assert not re.search(r",\s*\)", text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kws", "KwsModel"),
        ("kws_ref", "KwsRefModel"),
        ("_", "NetworkModel"),
        ("_1a", "Network1aModel"),
    ],
)
def test_kotlin_object_names(name: str, expected: str) -> None:
    assert object_name(name) == expected


@pytest.mark.skipif(not shutil.which("kotlinc"), reason="no kotlinc")
def test_kotlin_compiles(tmp_path: Path, nasty: Export) -> None:
    write(tmp_path, generate_family("android", nasty))
    done = run(["kotlinc", "-Werror", "TinyModel.kt", "Quantize.kt", "-d", "out.jar"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
