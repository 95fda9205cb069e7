"""benchmarks/sizes.py and benchmarks/instructions.py, with the real compiler and emulator."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq.codegen.aot import footprint
from edgeq.models import open_model
from edgeq.targets import load_core

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm: make test installs them",
)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_sizes_tells_weights_scales_code_and_the_rest_apart(tiny_model, tmp_path):
    done = run("sizes.py", tiny_model, "--json", tmp_path / "sizes.json")
    assert done.returncode == 0, done.stderr
    (sizes,) = json.loads((tmp_path / "sizes.json").read_text())
    # 4 filters of 3x3, with zeros up to 12 as a Cortex-M4 wants them, and 3 rows of 256, which go
    # in twos there, a 32-bit bias for each; a multiplier for each channel of the convolution.
    assert sizes["weights"] == 4 * 12 + 4 * 256 + 4 * (4 + 4)
    assert sizes["scales"] == 4 * 4
    assert sizes["flash"] == sum(sizes[k] for k in ("weights", "scales", "tables", "code"))
    assert sizes["beside"] == sizes["flash"] - sizes["weights"]
    assert 1000 < sizes["code"] < 16000 and 0 < sizes["tables"] < 4000
    assert (
        sizes["arena"] == footprint(open_model(tiny_model).graph, load_core("cortex-m4")).plan.size
    )
    assert 100 < sizes["stack"] < 1000
    assert f"{sizes['flash']}" in done.stdout and "tiny_int8" in done.stdout


def test_instructions_are_counted_and_set_beside_others(tiny_model, tmp_path):
    ours = tmp_path / "ours.json"
    command = ["instructions.py", tiny_model, "--target", "mps2-an386"]
    done = run(*command, "--json", ours)
    assert done.returncode == 0, done.stderr
    (count,) = json.loads(ours.read_text())
    assert count["target"] == "mps2-an386" and count["macs"] == 3072 and count["golden"] == 8
    assert 10_000 < count["instructions"] < 300_000
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps([count | {"engine": "other", "instructions": 1e6}]))
    done = run(*command, "--beside", slower)
    assert done.returncode == 0 and "other" in done.stdout
    assert f"{count['instructions']:,.0f}" in done.stdout, "the same in every run"
    done = run(*command, "--beside", ours)
    assert done.returncode == 1 and "1.000" in done.stdout, "not fewer"


def test_firmware_for_another_model_is_not_counted(tiny_model, tmp_path):
    done = run(
        "instructions.py", tiny_model, "--target", "mps2-an386",
        "--firmware", tmp_path, "--engine", "tflm",
    )  # fmt: skip
    assert done.returncode == 1 and "tiny_int8.elf" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_kernel_is_measured_on_every_core(tmp_path):
    done = run("kernel_sizes.py", "--csv", tmp_path / "k.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "k.csv").read_text().splitlines()))
    kernels = sorted(p.stem for p in (ROOT / "runtime" / "kernels").glob("*.c"))
    assert [r["kernel"] for r in rows[::5]] == kernels
    assert {r["core"] for r in rows} >= {"cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"}
    assert all(0 < int(r["code"]) < 8192 and 0 <= int(r["frame"]) < 1024 for r in rows)


def test_a_model_that_is_not_there_is_one_error():
    for script in ("sizes.py", "instructions.py"):
        done = run(script, "nowhere.tflite")
        assert done.returncode == 1
        assert "nowhere.tflite" in done.stderr and "Traceback" not in done.stderr


def test_a_core_s_table_has_every_cell_and_growth_fails(tiny_model, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(tiny_model, models / "tiny.tflite")
    ours = tmp_path / "ours.json"
    command = ["cortex_m.py", "--models", models, "--core", "cortex-m4", "--core", "cortex-m0"]
    pictures = ("--markdown", tmp_path / "t.md", "--svg", tmp_path / "t.svg")
    done = run(*command, "--json", ours, *pictures)
    assert done.returncode == 0, done.stderr
    m4, m0 = json.loads(ours.read_text())
    assert (m4["core"], m0["core"]) == ("cortex-m4", "cortex-m0") and m4["golden"] == 8
    assert 0 < m4["instructions"] < m0["instructions"]  # An M0 has neither SMLAD nor SMULL.
    assert m4["instructions"] < m4["estimated_m4_cycles"] < 3 * m4["instructions"]
    assert m4["flash"] == m4["code"] + m4["constants"] + m4["weights"]
    assert m4["ram"] == m4["arena"] + m4["static"] + m4["stack"]
    layers = sum(layer["instructions"] for layer in m4["layers"])
    assert abs(layers - m4["instructions"]) < 0.2 * m4["instructions"]
    assert f"| tiny | cortex-m4 | {m4['instructions']:,} |" in (tmp_path / "t.md").read_text()
    assert (tmp_path / "t.svg").read_text().startswith("<svg")
    earlier = [row | {"instructions": int(row["instructions"] / 1.02)} for row in (m4, m0)]
    ours.write_text(json.dumps(earlier))
    done = run(*command[:5], "--check", ours)
    assert done.returncode == 1 and "more than 1 %" in done.stdout
