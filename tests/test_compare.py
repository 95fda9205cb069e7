"""Comparing, gating and exporting results, through the functions and the command line."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from edgeq import cli
from edgeq.comparison import Limit, compare, comparison_to_json, parse_limits
from edgeq.errors import MeasurementError, UsageError
from edgeq.measurement import (
    Check,
    Delegated,
    Environment,
    Measurement,
    Memory,
    Metric,
    Results,
    Speedup,
)
from edgeq.report import comparison_rows, format_ticks, measurement_notes, measurement_rows, to_csv
from edgeq.results import write_results
from edgeq.stats import judge, median_interval, summarize

PI = Environment(
    device="Raspberry Pi 4 Model B",
    arch="aarch64",
    cpu="Cortex-A72",
    cores=4,
    governor="performance",
    frequency_limit_khz=1_500_000,
    threads=1,
    engine_version="2.3.0",
    kernels="XNNPACK",
)


def made(median=1_000_000, spread=0.01, count=200, environment=PI, **changes):
    noise = np.random.default_rng(median + count).normal(0, spread, count)
    samples = tuple(int(median * (1 + n)) for n in noise - np.median(noise))
    facts = {
        "model": "kws",
        "model_sha256": "ab" * 32,
        "target": "rpi4",
        "engine": "litert",
        "scheme": "int8",
        "unit": "ns",
        "tick_hz": 1e9,
        "samples": samples,
        "blocks": (count,),
        "warmup_runs": 1,
        "summary": summarize(samples),
        "verdict": judge(samples),
        "checks": Check(4, 4),
        "environment": environment,
    }
    return Measurement(**{**facts, **changes})


def emulated(count, **changes):
    return made(count, spread=0, unit="instructions", tick_hz=None, **changes)


def outcome(base, new, **arguments):
    return compare(Results((base,)), Results((new,)), **arguments)


def latency(base, new, **arguments):
    return outcome(base, new, **arguments).changes[0]


@pytest.mark.parametrize(
    ("new", "word"),
    [
        (made(1_000_000), "same"),
        (made(1_005_000), "noise"),
        (made(1_040_000), "worse"),
        (made(1_080_000), "regression"),
        (made(900_000), "better"),
    ],
)
def test_latency_is_better_when_it_is_lower(new, word):
    change = latency(made(1_000_000), new)
    assert (change.metric, change.unit, change.outcome) == ("latency", "ns", word)
    assert change.change == pytest.approx(new.summary.median / 1_000_000 - 1, abs=1e-4)


def test_a_change_that_its_interval_does_not_tell_from_none_is_noise():
    base, new = made(1_000_000, 0.2, 30), made(1_080_000, 0.2, 30)
    comparison = outcome(base, new)
    assert comparison.changes[0].outcome == "noise"
    assert comparison.changes[0].interval.low < 0 < comparison.changes[0].interval.high
    assert not comparison.regressed
    assert comparison_rows(comparison)[0][-1] == "within the noise"
    assert outcome(made(1_000_000), made(1_080_000)).regressed


def test_a_small_but_sure_difference_of_two_processes_is_noise_on_a_computer_only():
    assert latency(made(1_000_000, 1e-4), made(1_015_000, 1e-4)).outcome == "noise"
    assert latency(emulated(1_000_000), emulated(1_015_000)).outcome == "worse"
    assert latency(emulated(1_000_000), emulated(1_000_001)).outcome == "worse"


def test_the_limit_is_the_users():
    assert (
        outcome(made(1_000_000), made(1_080_000), limits=parse_limits(["10%"])).regressed is False
    )
    assert outcome(made(1_000_000), made(1_040_000), limits=parse_limits(["3%"])).regressed is True
    assert outcome(emulated(1000), emulated(1002), limits=parse_limits(["0.1%"])).regressed is True


def test_a_limit_below_what_processes_differ_by_is_remarked_on():
    comparison = outcome(made(1_000_000), made(1_015_000, 1e-4), limits=parse_limits(["1%"]))
    assert not comparison.regressed
    assert any("2% for no reason" in note for note in comparison.notes)


def test_accuracy_is_better_when_it_is_higher():
    def with_accuracy(value):
        return made(metrics=(Metric("accuracy", value, "", "higher"),))

    def change(new, **arguments):
        return outcome(with_accuracy(0.90), with_accuracy(new), **arguments).changes[1]

    assert change(0.95).outcome == "better"
    assert change(0.895).outcome == "worse"
    assert change(0.88).outcome == "regression"
    assert change(0.895, limits={"accuracy": Limit(0.001, relative=False)}).outcome == "regression"
    assert change(0.88, limits=parse_limits(["accuracy=5%"])).outcome == "worse"


def test_memory_is_shown_and_fails_only_by_a_limit_of_its_own():
    base, new = made(memory=Memory(1_000_000)), made(memory=Memory(2_000_000))
    assert outcome(base, new).changes[1].outcome == "worse"
    assert outcome(base, made(memory=Memory(1_015_000))).changes[1].outcome == "noise"
    assert not outcome(base, new).regressed
    assert outcome(base, new, limits=parse_limits(["peak_rss_delta=50%"])).regressed


def test_a_base_of_zero_has_no_relative_change():
    metrics = [(Metric("errors", v, "", "lower"),) for v in (0.0, 1.0)]
    change = outcome(
        made(metrics=metrics[0]), made(metrics=metrics[1]), limits=parse_limits(["errors=5%"])
    ).changes[1]
    assert (change.change, change.outcome) == (None, "regression")


def test_a_base_next_to_zero_has_none_either():
    metrics = [(Metric("errors", v, "", "lower"),) for v in (5e-324, 1.0)]
    comparison = outcome(made(metrics=metrics[0]), made(metrics=metrics[1]))
    assert comparison.changes[1].change is None and "inf" not in comparison_to_json(comparison)


def test_a_limit_for_what_is_not_there_is_an_error():
    with pytest.raises(MeasurementError, match="limit for accurcy") as caught:
        metrics = (Metric("accuracy", 0.9, "", "higher"),)
        outcome(made(metrics=metrics), made(metrics=metrics), limits=parse_limits(["accurcy=1%"]))
    assert "did you mean accuracy?" in caught.value.hint


def on(**changes):
    return {"environment": dataclasses.replace(PI, **changes)}


DIFFERENT = {
    "device": [on(device="Raspberry Pi 5"), on(cpu="Cortex-A76"), on(cores=2), on(arch="armv7l")],
    "clock": [on(governor="ondemand"), on(frequency_limit_khz=1_800_000)],
    "threads": [on(threads=4)],
    "engine": [on(engine_version="2.4.0"), on(kernels="built-in"), {"engine": "tflm"}],
    "model": [{"model_sha256": "cd" * 32}],
    "target": [{"target": "rpi5", "model": "other"}],
    "unit": [{"unit": "cycles"}],
}


@pytest.mark.parametrize(
    ("what", "changes"), [(what, c) for what, cases in DIFFERENT.items() for c in cases]
)
def test_different_conditions_are_not_compared_unless_allowed(what, changes):
    base, new = made(), made(**changes)
    with pytest.raises(MeasurementError, match=f"not comparable:\n  {what}: ") as caught:
        outcome(base, new)
    assert f"--allow {what}" in caught.value.hint
    for allowed in (True, {what}):
        comparison = outcome(base, new, allow_different=allowed)
        assert {d.what for d in comparison.differences} == {what}
    with pytest.raises(MeasurementError):
        outcome(base, new, allow_different=set(DIFFERENT) - {what})


def test_instructions_and_time_have_nothing_in_common():
    memory = Memory(1_000_000)
    for base, new in ((emulated(100), made()), (made(), emulated(100))):
        with pytest.raises(MeasurementError, match="no metric in common"):
            outcome(base, new, allow_different=True)
        pair = [dataclasses.replace(m, memory=memory) for m in (base, new)]
        comparison = outcome(*pair, allow_different=True)
        assert [c.metric for c in comparison.changes] == ["peak_rss_delta"]
        assert any("cannot be compared" in note for note in comparison.notes)


def test_cycles_of_different_clocks_are_compared_as_time():
    """120,000 cycles at 120 MHz are 1 ms, 240,000 at 480 MHz half of it; a host's ns are time."""
    slow = made(120_000, unit="cycles", tick_hz=120e6)
    fast = made(240_000, unit="cycles", tick_hz=480e6)
    for base, new in ((slow, fast), (slow, made(500_000)), (made(1_000_000), fast)):
        (change,) = outcome(base, new, allow_different=True).changes
        assert (change.metric, change.unit, change.outcome) == ("latency", "ns", "better")
        assert change.base == pytest.approx(1e6, rel=1e-3)
        assert change.change == pytest.approx(-0.5, abs=1e-3)
        assert change.interval.low < -0.5 < change.interval.high < 0
    (change,) = outcome(slow, slow).changes
    assert (change.unit, change.base) == ("cycles", slow.summary.median)


def test_every_difference_is_named():
    with pytest.raises(MeasurementError) as caught:
        outcome(made(), made(**on(threads=4, device="Raspberry Pi 5")))
    assert "\n  threads: 1 and 4 (kws int8)" in str(caught.value)
    assert "\n  device: Raspberry Pi 4 Model B and Raspberry Pi 5 (kws int8)" in str(caught.value)


def test_a_difference_of_all_models_is_said_once():
    base = Results((made(), made(scheme="float32")))
    new = Results((made(**on(threads=4)), made(scheme="float32", **on(threads=4))))
    with pytest.raises(MeasurementError, match=r"threads: 1 and 4 \(kws int8, kws float32\)$"):
        compare(base, new)


def test_what_one_side_does_not_know_is_no_difference():
    assert outcome(made(), made(**on(governor=None, device=None))).differences == ()


def test_models_are_matched_by_name_and_scheme():
    base = Results((made(1_000_000), made(4_000_000, scheme="float32")))
    new = Results((made(4_000_000, scheme="float32"), made(2_000_000)))
    changes = compare(base, new).changes
    assert [(c.scheme, c.outcome) for c in changes] == [("int8", "regression"), ("float32", "same")]


def test_one_model_on_two_targets_and_engines_is_matched_by_them():
    makings = {
        (target, engine): made(1_000_000, target=target, engine=engine)
        for target in ("rpi4", "rpi5")
        for engine in ("litert", "tflm")
    }
    comparison = compare(
        Results(tuple(makings.values())), Results(tuple(reversed(makings.values())))
    )
    assert [(c.target, c.engine) for c in comparison.changes] == list(makings)
    assert {c.outcome for c in comparison.changes} == {"same"}
    assert [row[2:4] for row in comparison_rows(comparison)] == [list(key) for key in makings]


def test_what_is_in_one_file_only_is_said():
    base = Results((made(), made(scheme="float32")))
    assert "only in base: kws float32 on rpi4 (litert)" in compare(base, Results((made(),))).notes
    with pytest.raises(MeasurementError, match="no model and scheme in common"):
        compare(Results((made(),)), Results((made(scheme="float32"),)))


def test_an_invalid_measurement_is_remarked_on():
    comparison = outcome(made(), made(count=10))
    assert any("new, kws int8, is not valid: too few runs" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("5%", {"latency": Limit(0.05), "instructions": Limit(0.05)}),
        ("latency=0.5 %", {"latency": Limit(0.005)}),
        ("sqnr=2", {"sqnr": Limit(2, relative=False)}),
    ],
)
def test_limits_are_read(text, limits):
    assert parse_limits([text]) == {
        name: Limit(pytest.approx(limit.amount), limit.relative) for name, limit in limits.items()
    }


@pytest.mark.parametrize("text", ["", "5", "latency=5", "-5%", "five%", "=5%", "accuracy=", "nan%"])
def test_limits_that_mean_nothing_are_usage_errors(text):
    with pytest.raises(UsageError, match="not a limit"):
        parse_limits([text])


def test_instructions_are_never_shown_as_time():
    m = emulated(7_700_402)
    assert format_ticks(m, 7_700_402) == "7,700,402 instructions"
    assert not any("ms" in cell or "µs" in cell for cell in measurement_rows([m])[0])
    assert "instructions" in comparison_rows(outcome(m, m))[0][5]


@pytest.mark.parametrize(
    ("ticks", "text"),
    [(87, "87 ns"), (9_273, "9.273 µs"), (1_234_567, "1.235 ms"), (2_500_000_000, "2.5 s")],
)
def test_times_have_a_unit_that_fits(ticks, text):
    assert format_ticks(made(), ticks) == text


def test_cycles_are_cycles_and_time():
    m = made(8_100_000, unit="cycles", tick_hz=120e6)
    assert format_ticks(m, 8_100_000) == "8,100,000 cycles (67.5 ms)"


def test_notes_say_what_int8_brought():
    def note(value, spread=0.0, **changes):
        ratios = np.linspace(value - spread, value + spread, 11)
        speedup = Speedup("kws", "float32", "cd" * 32, value, median_interval(ratios))
        return measurement_notes([made(speedup=speedup, **changes)])[-1]

    assert note(2.5, 0.1).startswith("kws int8 is 2.50 times as fast as float32 (2.42 to 2.58")
    assert "noise" in note(1.01)
    assert "noise" in note(1.1, 0.5)
    assert "11 of 13 operators run accelerated" in note(0.8, delegated=Delegated(13, 11))


def rows(*measurements):
    return list(csv.DictReader(io.StringIO(to_csv(Results(measurements)))))


def test_csv_has_a_row_for_each_measurement():
    first, second = rows(
        made(1_000_000, memory=Memory(42)),
        made(2_000_000, scheme="float32", metrics=(Metric("accuracy", 0.91, "", "higher"),)),
    )
    assert float(first["median"]) == pytest.approx(1_000_000, rel=1e-4)
    assert (first["unit"], first["peak_rss_delta"], first["accuracy"]) == ("ns", "42", "")
    assert (second["scheme"], second["accuracy"], second["device"]) == (
        "float32",
        "0.91",
        "Raspberry Pi 4 Model B",
    )
    assert float(first["median_low"]) < float(first["median"]) < float(first["median_high"])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_text_is_never_a_formula(start):
    name = f'{start}HYPERLINK("http://x","y")'
    (row,) = rows(made(model=name))
    assert row["model"] == "'" + name


def test_csv_numbers_stay_numbers():
    (row,) = rows(made(metrics=(Metric("sqnr", -3.5, "dB", "higher"),)))
    assert row["sqnr"] == "-3.5"


@pytest.fixture
def files(tmp_path):
    def write(**results):
        for name, measurement in results.items():
            write_results(tmp_path / f"{name}.json", Results((measurement,)))
        return tmp_path

    return write


def test_the_command_exits_1_on_a_regression_and_writes_it_down(files, capsys):
    folder = files(base=made(1_000_000), new=made(1_200_000))
    json_file = folder / "c.json"
    names = [str(folder / n) for n in ("base.json", "new.json")]
    assert cli.run(["compare", *names, "--json", str(json_file)]) == 1
    text = capsys.readouterr().out
    assert "+20.0%" in text
    assert "regression" in text
    data = json.loads(json_file.read_text())
    assert (data["schema"], data["regressed"]) == ("edgeq.comparison", True)
    assert data["changes"][0]["outcome"] == "regression"
    assert cli.run(["compare", *names, "--fail-above", "30%"]) == 0
    assert "worse, within the limit" in capsys.readouterr().out
    assert cli.run(["compare", *reversed(names)]) == 0
    text = capsys.readouterr().out
    assert "better" in text and "no regression" in text
    assert f"base  {names[1]}  rpi4: Raspberry Pi 4 Model B, Cortex-A72, aarch64" in text
    assert f"new   {names[0]}  rpi4: " in text


def test_the_command_warns_of_what_is_not_valid(files, capsys):
    folder = files(base=made(), new=made(count=10))
    for new, valid in (("base", True), ("new", False)):
        command = ["compare", str(folder / "base.json"), str(folder / f"{new}.json")]
        assert cli.run([*command, "--json", str(folder / "c.json")]) == 0
        assert ("not all of it is valid" in capsys.readouterr().err) is not valid
        assert json.loads((folder / "c.json").read_text())["valid"] is valid


def test_the_command_refuses_what_is_not_comparable(files, capsys):
    folder = files(base=made(), new=made(**on(threads=4)))
    names = [str(folder / n) for n in ("base.json", "new.json")]
    assert cli.run(["compare", *names]) == 1
    captured = capsys.readouterr()
    assert "threads: 1 and 4" in captured.err
    assert captured.out == ""
    for allow in (["--allow-different"], ["--allow", "threads"]):
        assert cli.run(["compare", *names, *allow]) == 0
        assert "different threads: 1 and 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["base.json"], 2, "Missing argument"),
        (["base.json", "none.json"], 1, "No such file"),
        (["base.json", "bad.json"], 1, "not valid JSON"),
        (["base.json", "other.json"], 1, "not a results file"),
        (["base.json", "base.json", "--fail-above", "x"], 2, "not a limit"),
        (["base.json", "base.json", "--allow", "weather"], 2, "weather"),
        (["base.json", "base.json", "--json", "no/such/c.json"], 1, "cannot be written"),
    ],
)
def test_bad_input_has_an_exit_code_and_a_message(
    files, capsys, monkeypatch, arguments, code, message
):
    folder = files(base=made())
    (folder / "bad.json").write_text("{")
    (folder / "other.json").write_text("{}")
    monkeypatch.chdir(folder)
    assert cli.run(["compare", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_the_json_leaves_out_what_is_not_known():
    metrics = [(Metric("errors", v, "", "lower"),) for v in (0.0, 1.0)]
    comparison = outcome(made(metrics=metrics[0]), made(metrics=metrics[1]))
    assert "change" not in json.loads(comparison_to_json(comparison))["changes"][1]
