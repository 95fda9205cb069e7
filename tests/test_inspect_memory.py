"""edgeq inspect --memory: engine aot's arena plan as text, SVG and JSON."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from make_model import Maker, tiny_float

from edgeq.cli import run
from edgeq.codegen.aot import footprint
from edgeq.models import open_model
from edgeq.targets import load_core


def test_the_plan_is_drawn_as_text(tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "-t", "cortex-m4", "--memory"]) == 0
    out = capfd.readouterr().out
    plan = footprint(open_model(tiny_model).graph, load_core("cortex-m4")).plan
    summary = next(line for line in out.splitlines() if line.startswith("arena "))
    assert summary.startswith(f"arena {plan.size} bytes, lower bound {plan.lower_bound}, peak ")
    drawn = [line for line in out.splitlines() if line.startswith(("inputs ", "0 CONV_2D "))]
    assert len(drawn) == 2
    at_peak = re.findall(r"^(\d [A-Z_0-9]+) .*\*", out, re.MULTILINE)
    assert at_peak and f"in {at_peak[0]}; placed by " in summary
    assert "features" in out and "scratch of CONV_2D" in out


def test_the_plan_is_in_the_json(tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "--memory", "--json", "-"]) == 0
    memory = json.loads(capfd.readouterr().out)["memory"]
    assert memory["arena"] >= memory["lower_bound"] >= memory["buffers"][0]["bytes"] > 0
    assert memory["peak_operator"] == 0 and memory["peak_layer"] == "features"
    assert memory["peak_bytes"] <= memory["arena"] and memory["strategy"].startswith("by ")
    assert max(b["offset"] + b["bytes"] for b in memory["buffers"]) <= memory["arena"]
    assert all(b["offset"] % memory["alignment"] == 0 for b in memory["buffers"])
    assert any(b.get("scratch_of") == 0 for b in memory["buffers"])


def test_without_the_option_no_plan_is_shown(tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "--json", "-"]) == 0
    assert "memory" not in json.loads(capfd.readouterr().out)
    assert run(["inspect", str(tiny_model)]) == 0
    assert "arena" not in capfd.readouterr().out


def test_the_plan_is_drawn_as_svg(tiny_model, tmp_path, capfd):
    file = tmp_path / "plan.svg"
    assert run(["inspect", str(tiny_model), "--memory-svg", str(file)]) == 0
    out = capfd.readouterr().out
    assert "fully integer" in out and "arena" not in out
    root = ElementTree.parse(file).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    titles = [t.text or "" for t in root.iter(f"{space}title")]
    assert any("features" in t for t in titles) and any("scratch of CONV_2D" in t for t in titles)
    first = file.read_bytes()
    assert run(["inspect", str(tiny_model), "--memory-svg", str(file)]) == 0
    assert file.read_bytes() == first


def test_a_float_model_names_the_operators_in_the_way(tmp_path, capfd):
    (tmp_path / "f.tflite").write_bytes(tiny_float())
    command = ["inspect", str(tmp_path / "f.tflite"), "--memory-svg", str(tmp_path / "f.svg")]
    assert run([*command, "--json", str(tmp_path / "f.json")]) == 3
    out, err = capfd.readouterr()
    assert not out and "operator 0 FULLY_CONNECTED" in err and "operator 1 ELU" in err
    assert [p.name for p in tmp_path.iterdir()] == ["f.tflite"]
    assert run(["inspect", str(tmp_path / "f.tflite")]) == 0


def test_an_operator_in_a_form_that_no_kernel_has_is_named(tmp_path, capfd):
    m = Maker()
    x, y = m.tensor("x", (1, 4), np.int8, 0.1), m.tensor("y", (1, 4), np.int8, 0.1)
    m.op("FLOOR", [x], [y])
    (tmp_path / "m.tflite").write_bytes(m.bytes([x], [y]))
    assert run(["inspect", str(tmp_path / "m.tflite"), "--memory"]) == 3
    assert "operator 0 FLOOR" in capfd.readouterr().err


def test_two_drawings_do_not_share_stdout(tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "--memory-svg", "-", "--json", "-"]) == 2
    out, err = capfd.readouterr()
    assert not out and "stdout" in err


@pytest.mark.parametrize("target", ["microbit", "cortex-m4"])
def test_a_microcontroller_needs_the_arena_and_the_constants(target, tiny_model, capfd):
    assert run(["inspect", str(tiny_model), "-t", target, "--json", "-"]) == 0
    (facts,) = json.loads(capfd.readouterr().out)["targets"]
    needs = footprint(open_model(tiny_model).graph)
    assert facts["needs_ram_at_least"] == needs.plan.size
    # Weights, biases, scales, and at most 256 exponentials of the softmax.
    parameters = 4 * 9 + 3 * 256 + 4 * (4 + 3) + 5 * (4 + 1)
    assert facts["needs_flash"] == needs.weights_size
    assert parameters < needs.weights_size <= parameters + 4 * 256
