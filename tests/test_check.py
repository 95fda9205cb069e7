"""`edgeq check` and [limits]: what holds, what breaks, and by how much."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_model import Maker, convolution, schema, softmax

from edgeq.checking import Check, check_from_json, check_to_json
from edgeq.cli import run
from edgeq.errors import UsageError
from edgeq.firmware import compiler_version
from edgeq.interpreters import litert
from edgeq.interpreters import run as infer
from edgeq.limits import Gate, judge_limits, parse_limits
from edgeq.project import load_project
from edgeq.results import read_results

BOARD = "mps2-an386"
EXAMPLE = Path(__file__).parent.parent / "examples/ci"

needs_emulator = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)


# --- Limits ------------------------------------------------------------------------------------


def judged(limit: object, value: float | None, base: float | None = None, metric: str = "flash"):
    limits = parse_limits({"baseline": "b.json", BOARD: {metric: limit}}, "edgeq.toml")
    values = {} if value is None else {metric: value}
    baseline = {} if base is None else {BOARD: {metric: base}}
    (gate,) = judge_limits(limits, {BOARD: values}, baseline, {})
    return gate


@pytest.mark.parametrize(
    ("metric", "limit", "base", "bound"),
    [
        ("flash", 4096, None, 4096),
        ("flash", "4KB", None, 4096),
        ("flash", "4 KiB", None, 4096),
        ("flash", "1.5MB", None, 1.5 * 1024**2),
        ("flash", "+1KB", 1000, 2024),
        ("flash", "+1%", 1000, 1010),
        ("flash", "+0%", 1000, 1000),
        ("ram", "+16", 1000, 1016),
        ("instructions", "+0.5%", 200_000, 201_000),
        ("latency_us", "2ms", None, 2000),
        ("latency_us", "+10%", 500, 550),
        ("accuracy", 95, None, 95),
        ("accuracy", "95%", None, 95),
        ("accuracy", "-0.5", 96, 95.5),
        ("sqnr", "-2dB", 40, 38),
        ("sqnr", "-10%", 40, 36),
    ],
)
def test_a_limit_holds_up_to_its_bound_and_no_further(metric, limit, base, bound):
    step = 0.01 if metric in ("flash", "ram", "instructions", "latency_us") else -0.01
    good, bad = judged(limit, bound, base, metric), judged(limit, bound + step, base, metric)
    assert good.passed and good.bound == pytest.approx(bound) and good.beyond == 0
    assert not bad.passed and bad.beyond == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"flsh": 1}, "unknown key limits.flsh"),
        ({BOARD: {"flash": "big"}}, "limits.mps2-an386.flash = 'big' is no limit"),
        ({"flash": True}, "is no limit"),
        ({"flash": float("nan")}, "is no limit"),
        ({"flash": -5}, "asks for less than is there already"),
        ({"flash": "-1KB", "baseline": "b"}, "asks for less than is there already"),
        ({"accuracy": "+1", "baseline": "b"}, "asks for less than is there already"),
        ({"accuracy": "-1%", "baseline": "b"}, "does not go with it"),
        ({"flash": "1ms"}, "'ms' does not go with it"),
        ({"accuracy": 0.95}, "is not a percentage"),
        ({"accuracy": 101}, "is not a percentage"),
        ({"flash": []}, "limits.flash is empty"),
        ({"flash": "+1KB"}, "against a baseline, and none is named"),
        ({"baseline": 3}, "must be the name of a file"),
    ],
)
def test_what_is_no_limit_is_named(table, said):
    with pytest.raises(UsageError, match="edgeq.toml: ") as caught:
        parse_limits(table, "edgeq.toml")
    assert said in str(caught.value) and caught.value.hint


def test_a_limit_of_a_target_goes_before_that_of_all():
    limits = parse_limits({"flash": 100, "b": {"flash": 200}}, "f")
    gates = judge_limits(limits, {"a": {"flash": 150.0}, "b": {"flash": 150.0}}, {}, {})
    assert [(g.target, g.passed) for g in gates] == [("a", False), ("b", True)]


def test_a_limit_that_nothing_is_held_against_is_broken():
    """It would hold for ever."""
    limits = parse_limits({"instructions": 100, "b": {"flash": 200}}, "f")
    gates = judge_limits(limits, {"a": {}, "b": {}}, {}, {"b": "no compiler"})
    assert [(g.target, g.metric, g.passed) for g in gates] == [
        ("b", "flash", False),
        ("all targets", "instructions", False),
    ]
    assert "was not measured: no compiler" in gates[0].sentence
    # What one target has, others need not have.
    assert all(
        g.passed for g in judge_limits(limits, {"a": {}, "c": {"instructions": 9.0}}, {}, {})
    )


def test_what_the_baseline_lacks_is_said():
    gate = judged("+1KB", 100.0)
    assert not gate.passed and "edgeq check --update" in gate.sentence


def test_a_check_is_the_same_when_it_is_read_again():
    gate = Gate("t", "flash", "bytes", "+1KB", False, 5000.0, 4096.0, 3072.0)
    check = Check("net", (gate, judged("1KB", None)), {"t": {"flash": 5000.0}}, {"t": "gcc"})
    assert check_from_json(json.loads(check_to_json(check)), "f") == check


# --- The command -------------------------------------------------------------------------------


def network(kernel: int = 3, filters: int = 4, rotated: bool = False) -> bytes:
    """int8 8x8x1 -> conv -> dense 3 -> softmax. A larger `kernel` has zeros around it and computes
    the same; further `filters` have next to no weight; `rotated`, classes are mistaken."""
    random = np.random.default_rng(0)
    m = Maker()
    weights = random.integers(-127, 128, (4, 3, 3, 1))
    ring = (kernel - 3) // 2
    weights = np.pad(weights, ((0, 0), (ring, ring), (ring, ring), (0, 0)))
    weights = np.concatenate([weights, np.ones((filters - 4, kernel, kernel, 1), int)])
    dense = random.integers(-127, 128, (3, 8, 8, 4))
    dense = np.concatenate([dense, np.ones((3, 8, 8, filters - 4), int)], axis=3)
    dense = np.roll(dense, int(rotated), axis=0).reshape(3, -1)
    image = m.tensor("image", (1, 8, 8, 1), np.int8, 1 / 255, -128)
    taps = m.tensor("taps", weights.shape, np.int8, [0.01] * filters, data=weights)
    bias = m.tensor("bias", (filters,), np.int32, [0.01 / 255] * filters, data=np.zeros(filters))
    features = m.tensor("features", (1, 8, 8, filters), np.int8, 0.02, -128)
    flat = m.tensor("flat", (1, 64 * filters), np.int8, 0.02, -128)
    shape = m.tensor("shape", (2,), np.int32, data=np.array([1, 64 * filters]))
    rows = m.tensor("rows", dense.shape, np.int8, 0.004, data=dense)
    offsets = m.tensor("offsets", (3,), np.int32, 0.02 * 0.004, data=np.zeros(3))
    logits = m.tensor("logits", (1, 3), np.int8, 0.1, 5)
    scores = m.tensor("scores", (1, 3), np.int8, 1 / 256, -128)
    relu = schema.ActivationFunctionType.RELU
    m.op("CONV_2D", [image, taps, bias], [features],
         convolution(fusedActivationFunction=relu), version=3)  # fmt: skip
    m.op("RESHAPE", [features, shape], [flat], schema.ReshapeOptionsT())
    m.op("FULLY_CONNECTED", [flat, rows, offsets], [logits], schema.FullyConnectedOptionsT(), 4)
    m.op("SOFTMAX", [logits], [scores], softmax(), version=2)
    return m.bytes([image], [scores])


TOML = f"""
name = "net"
model = "net.tflite"
targets = ["{BOARD}"]
[evaluation]
data = "test.npz"
[limits]
baseline = "baseline.json"
instructions = "+1%"
flash = "+1KB"
arena = "+64"
accuracy = ["-0.5", 90]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with edgeq.toml, a network that is always right, its data and its baseline."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "net.tflite").write_bytes(network())
    (folder / "edgeq.toml").write_text(TOML)
    images = np.random.default_rng(5).integers(-128, 128, (60, 8, 8, 1), np.int8)
    with litert(network()) as session:
        outputs = list(infer(session, [(image[np.newaxis],) for image in images]))
    np.savez(folder / "test.npz", image=images, labels=[int(o[0].argmax()) for o in outputs])
    assert run(["check", "--project", str(folder / "edgeq.toml"), "--update"]) == 0
    return folder


def check(folder: Path, *arguments: str) -> tuple[int, dict[str, Gate]]:
    """The exit code, and the gates that are broken by their metric."""
    file = folder / "check.json"
    code = run(["check", "--project", str(folder / "edgeq.toml"), "--json", str(file), *arguments])
    found = check_from_json(json.loads(file.read_text()), "check.json")
    return code, {g.metric: g for g in found.gates if not g.passed}


@needs_emulator
def test_check_holds_for_what_the_baseline_was_made_of(project, capfd):
    before = (project / "baseline.json").read_bytes()
    results = project / "results.json"
    assert check(project, "--results", str(results)) == (0, {})
    assert "all 5 limits hold" in capfd.readouterr().out
    assert (project / "baseline.json").read_bytes() == before
    (m,) = read_results(results).measurements
    assert m.unit == "instructions" and m.profile is not None
    assert {"accuracy", "arena"} <= {metric.name for metric in m.metrics}


@needs_emulator
@pytest.mark.parametrize(
    ("changed", "metric"),
    [
        (network(kernel=5), "instructions"),
        (network(filters=12), "arena"),
        (network(rotated=True), "accuracy"),
    ],
    ids=["slower layer", "larger arena", "lower accuracy"],
)
def test_check_fails_on_what_got_worse(project, tmp_path, changed, metric, capfd):
    for name in ("edgeq.toml", "baseline.json", "test.npz"):
        shutil.copy(project / name, tmp_path)
    (tmp_path / "net.tflite").write_bytes(changed)
    code, broken = check(tmp_path)
    assert code == 1 and metric in broken
    assert broken[metric].beyond > 0
    if metric != "arena":  # More filters take more time, too.
        assert set(broken) == {metric}
    out = capfd.readouterr().out
    assert "FAIL" in out and f"{metric} on {BOARD}" in out and "beyond" in out


@needs_emulator
def test_check_refuses_the_baseline_of_another_compiler(project, tmp_path, capfd):
    for name in ("edgeq.toml", "net.tflite", "test.npz"):
        shutil.copy(project / name, tmp_path)
    text = (project / "baseline.json").read_text()
    (tmp_path / "baseline.json").write_text(re.sub(r"arm-none-eabi-gcc[^\"]*", "gcc 4", text))
    assert run(["check", "--project", str(tmp_path / "edgeq.toml")]) == 2
    assert "was made with gcc 4" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("limits", "arguments", "said"),
    [
        ("", [], "there are no limits to check"),
        ('[limits]\nbaseline = "b.json"\nflash = "+1%"', [], "b.json: no such file"),
        ("[limits]\nflash = 1", ["--update"], "none is named"),
        ("[limits.rpi]\narena = 1", [], "there are limits for rpi only"),
        ("[limits]\nflash = 1", ["--json", "-", "--results", "-"], "goes there too"),
    ],
)
def test_what_cannot_be_checked_is_one_error(tmp_path, limits, arguments, said, capfd):
    (tmp_path / "net.tflite").write_bytes(network())
    head = TOML.split("[evaluation]")[0]
    (tmp_path / "edgeq.toml").write_text(head + limits)
    assert run(["check", "--project", str(tmp_path / "edgeq.toml"), *arguments]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "build").exists()


# --- The example -------------------------------------------------------------------------------

PLANTED = """
import sys, keras, numpy as np
folder, change = sys.argv[1:]
model = keras.models.load_model(folder + "/net.keras")
weights = model.get_weights()
kernel = 3
filters = 8
if change == "slower":
    kernel = 5
    weights[2] = np.pad(weights[2], ((1, 1), (1, 1), (0, 0), (0, 0)))
elif change == "arena":
    filters = 16  # Each twice, and each of the two has half the weight.
    weights[0] = np.concatenate([weights[0]] * 2, 3)
    weights[1] = np.concatenate([weights[1]] * 2)
    weights[2] = np.concatenate([weights[2] / 2] * 2, 2)
else:
    weights[4] = np.roll(weights[4], 1, 1)
new = keras.Sequential([
    keras.Input((8, 8, 1), name="image"),
    keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
    keras.layers.MaxPooling2D(),
    keras.layers.Conv2D(16, kernel, padding="same", activation="relu"),
    keras.layers.Flatten(),
    keras.layers.Dense(10, activation="softmax", name="scores"),
])
new.set_weights(weights)
new.save(folder + "/net.keras")
"""


@needs_emulator
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "metric"),
    [("", ""), ("slower", "instructions"), ("arena", "arena"), ("worse", "accuracy")],
)
def test_the_example_fails_as_it_should(tmp_path, change, metric):
    folder = tmp_path / "ci"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build"))
    committed = (folder / "baseline.json").read_text()
    if change or compiler_version() not in committed:
        # What is planted is held against what this compiler and these kernels make of the original.
        assert run(["check", "--project", str(folder / "edgeq.toml"), "--update"]) == 0
    if change:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", PLANTED, str(folder), change]
        subprocess.run(command, check=True, timeout=240, env=environment, capture_output=True)
    code, broken = check(folder)
    assert (code, metric in broken) == ((1, True) if metric else (0, False))


def test_the_example_s_limits_and_baseline_are_read():
    project = load_project(EXAMPLE / "edgeq.toml")
    assert project.limits.baseline == "baseline.json"
    values = json.loads((EXAMPLE / "baseline.json").read_text())["values"]
    assert set(values) == set(project.targets)
