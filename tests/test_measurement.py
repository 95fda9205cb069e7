"""The results file: what goes in comes out, nonsense is refused; and the host's own facts."""

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from edgeq.environment import busy_seconds, describe_host, read_state
from edgeq.errors import EdgeqError, MeasurementError
from edgeq.measurement import (
    Check,
    Delegated,
    Environment,
    Measurement,
    Memory,
    Metric,
    Results,
    Speedup,
    State,
    Verdict,
)
from edgeq.results import from_json, read_results, to_json, write_results
from edgeq.stats import block_ratio, judge, summarize


def measurement(samples=tuple(range(1000, 1050)), **changes):
    facts = {
        "model": "kws",
        "model_sha256": "ab" * 32,
        "target": "host",
        "engine": "litert",
        "scheme": "int8",
        "unit": "ns",
        "tick_hz": 1e9,
        "samples": samples,
        "blocks": (len(samples),),
        "warmup_runs": 3,
        "summary": summarize(samples),
        "verdict": judge(samples),
        "checks": Check(4, 4, 0.0, (1.0,), "LiteRT reference kernels"),
        "environment": Environment(cores=4, before=State(frequency_khz=1_500_000)),
    }
    return Measurement(**{**facts, **changes})


def full():
    return measurement(
        first=2000,
        init=5000,
        memory=Memory(4_000_000),
        delegated=Delegated(13, 11),
        speedup=Speedup("kws", "float32", "cd" * 32, 2.5, summarize(range(10)).median_interval),
        metrics=(Metric("accuracy", 0.91, "", "higher"),),
    )


def test_results_survive_the_file(tmp_path):
    results = Results((measurement(), full()))
    write_results(tmp_path / "r.json", results)
    assert read_results(tmp_path / "r.json") == results
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_an_emulator_s_instructions_survive_the_file(tmp_path):
    results = Results((measurement(unit="instructions", tick_hz=None),))
    write_results(tmp_path / "r.json", results)
    assert read_results(tmp_path / "r.json") == results


def test_the_file_is_stable_small_and_says_what_it_is():
    text = to_json(Results((full(),)))
    assert text == to_json(Results((full(),)))
    data = json.loads(text)
    assert (data["schema"], data["schema_version"]) == ("edgeq.measurement", 1)
    assert data["measurements"][0]["samples"] == list(range(1000, 1050))
    assert "1000, 1001, 1002" in text, "samples belong on common lines"
    assert "governor" not in data["measurements"][0]["environment"], "None is left out"


def test_text_that_looks_like_a_list_stays_as_it_is():
    name = "[\n    1,\n    2\n  ]"
    results = Results((measurement(model=name),))
    assert from_json(json.loads(to_json(results)), "x").measurements[0].model == name


def test_text_is_utf8_whatever_the_locale(tmp_path):
    write_results(tmp_path / "r.json", Results((measurement(model="Größe 模型"),)))
    assert "Größe 模型".encode() in (tmp_path / "r.json").read_bytes()


def test_writing_follows_a_link_and_keeps_ordinary_permissions(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_results(tmp_path / "link.json", Results((measurement(),)))
    assert (tmp_path / "link.json").is_symlink()
    assert read_results(tmp_path / "real.json").measurements
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "real.json").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", ["missing/r.json", "."])
def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, name):
    with pytest.raises(EdgeqError, match="cannot be written") as caught:
        write_results(tmp_path / name, Results((measurement(),)))
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_to_and_not_replaced():
    results = Results((measurement(),))
    write_results(Path(os.devnull), results)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def broken(**changes):
    data = json.loads(to_json(Results((full(),))))
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = data
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[int(key) if key.isdigit() else key] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "not a results file"),
        ({"schema": "other"}, "not a results file"),
        (broken(schema_version=2), "schema version 2"),
        (broken(measurements__0__unit="hours"), "hours"),
        (broken(measurements__0__unit="instructions"), "not a time"),
        (broken(measurements__0__samples=[1, -5]), "negative"),
        (broken(measurements__0__samples=[]), "at least one"),
        (broken(measurements__0__samples=[1, 2]), "account for all 2 samples"),
        (broken(measurements__0__blocks=[49]), "account for all 50 samples"),
        (broken(measurements__0__tick_hz=0), "tick_hz"),
        (broken(measurements__0__colour="x"), "unknown key measurements[0].colour"),
        (broken(measurements__0__model=5), "model"),
        (broken(measurements__0__metrics=[{"name": "a"}]), "value"),
        (
            broken(
                measurements__0__metrics=[
                    {"name": "sqnr", "value": float("inf"), "unit": "dB", "better": "higher"}
                ]
            ),
            "finite",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(data, message):
    with pytest.raises(MeasurementError) as caught:
        from_json(data, "r.json")
    assert message in str(caught.value)
    assert "r.json" in str(caught.value)


SUMMARY = {"low": 1014.0, "high": 1034.0, "confidence": 0.967}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (broken(measurements__0__summary__median=10.0), "kws int8: summary.median is 10, its "),
        (broken(measurements__0__summary__median=1024.5001), "summary.median is 1024.5001"),
        (broken(measurements__0__summary__p99=1e9), "summary.p99"),
        (broken(measurements__0__summary__mean=0.0), "summary.mean"),
        (broken(measurements__0__summary__median_interval=None), "median_interval is absent"),
        (broken(measurements__0__summary__median_interval={**SUMMARY, "low": 1.0}), "1 to 1034"),
        (broken(measurements__0__summary__median_interval__confidence=0.5), "(50.00%)"),
        (broken(measurements__0__verdict={"valid": True, "reasons": ["drift"]}), "its reasons"),
        (broken(measurements__0__verdict={"valid": False}), "does not fit its reasons"),
        (broken(measurements__0__tick_hz=1e6), "tick_hz is 1000000, and its ticks are ns"),
        (broken(measurements__0__tick_hz=None), "tick_hz is absent, and its ticks are ns"),
        (broken(measurements__0__unit="cycles", measurements__0__tick_hz=1e-300), "no clock has"),
        (broken(measurements__0__blocks=[60, -10]), "blocks is negative"),
        (broken(measurements__0__blocks=[50, 0]), "a block without samples"),
        (broken(measurements__0__first=-1), "first is negative"),
        (broken(measurements__0__warmup_runs=-1), "warmup_runs is negative"),
        (broken(measurements__0__memory__peak_rss_delta=-4), "memory.peak_rss_delta is negative"),
        (broken(measurements__0__environment__cores=-4), "environment.cores is negative"),
        (broken(measurements__0__environment__before__load_average=-1), "load_average is negative"),
        (broken(measurements__0__checks__tolerance=[-1.0]), "checks.tolerance is negative"),
        (broken(measurements__0__checks__equal=5), "5 of 4 golden inputs"),
        (broken(measurements__0__delegated__delegated=14), "14 of 13 operators"),
    ],
)
def test_numbers_that_contradict_the_samples_are_refused(data, message):
    with pytest.raises(MeasurementError) as caught:
        from_json(data, "r.json")
    assert message in str(caught.value) and str(caught.value).startswith("r.json: kws int8: ")
    assert "measure again" in caught.value.hint


def test_a_speedup_that_its_own_samples_contradict_is_refused():
    samples = tuple(range(2000, 2050))
    float32 = measurement(samples, scheme="float32", model_sha256="cd" * 32)
    value, interval = block_ratio([samples], [measurement().samples])
    speedup = Speedup("kws", "float32", "cd" * 32, value, interval)
    data = json.loads(to_json(Results((measurement(speedup=speedup), float32))))
    assert from_json(data, "r.json").measurements[0].speedup.value == value
    data["measurements"][0]["speedup"]["value"] = 9.0
    with pytest.raises(MeasurementError, match=r"speedup\.value is 9, its samples give 1\.97"):
        from_json(data, "r.json")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (measurement(tuple(range(1000, 1010))), "too few runs: 10"),
        (measurement(tuple(range(1000, 2000, 20))), "drift"),
        (
            measurement(environment=Environment(threads=1, processor_share=0.5)),
            "had a processor for 50%",
        ),
    ],
)
def test_a_measurement_called_valid_is_not_when_its_samples_say_otherwise(made, reason):
    data = json.loads(to_json(Results((dataclasses.replace(made, verdict=Verdict(True)),))))
    verdict = from_json(data, "r.json").measurements[0].verdict
    assert not verdict.valid and any(reason in r for r in verdict.reasons)


def text(key, value):
    """A results file in which `key` of the measurement is the JSON text `value`."""
    return json.dumps(broken(**{f"measurements__0__{key}": "<here>"})).replace('"<here>"', value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "No such"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 400 + b"]" * 400, "not a results file"),
        (b'{"schema": "edgeq.measurement", "schema": "other"}', "key 'schema' is there twice"),
        (b'{"schema": "edgeq.measurement", "schema_version": [[1]]}', "schema version"),
        (text("model", '"\\ud800"'), "lone surrogate"),
        (text("tick_hz", "NaN"), "NaN is not a finite number"),
        (text("tick_hz", "-Infinity"), "-Infinity is not a finite number"),
        (text("tick_hz", "1e999"), "1e999 is not a finite number"),
        (text("summary__median", "NaN"), "NaN is not a finite number"),
        (text("first", "9" * 5000), r"9{57}\.\.\. is beyond 64 bits"),
        (text("samples__3", "1" + "0" * 400), "is beyond 64 bits"),
        (text("samples__3", str(2**64 - 1)), "a sample of 18446744073709551615 ticks"),
        (text("samples__3", "true"), "a whole number, not true or false"),
        (text("samples", "{}"), "samples must be a list, not a table"),
        (text("samples", "[[[[1]]]]"), "must be a whole number, not a list"),
        (text("environment", "7"), "environment must be a table"),
        (text("verdict__valid", '"yes"'), "valid must be true or false"),
        (text("verdict", '{"' + "x" * 10**6 + '": 1}'), r"unknown key .{1,100}\.\.\."),
    ],
)
def test_an_unreadable_file_is_an_error(tmp_path, content, message):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(MeasurementError, match=message) as caught:
        read_results(path)
    assert caught.value.hint and len(str(caught.value)) < 600


def test_instructions_are_never_a_time():
    with pytest.raises(ValueError, match="not a time"):
        measurement(unit="instructions")
    assert measurement(unit="instructions", tick_hz=None).tick_hz is None


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def host(root):
    return describe_host(
        State(), State(), threads=1, engine_version="2.3.0", kernels="XNNPACK", root=root
    )


def test_a_raspberry_pi_describes_itself(tmp_path):
    core = "processor\t: {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\n"
    cpu = "sys/devices/system/cpu/cpu{}/cpufreq/"
    put(
        tmp_path,
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/cpuinfo": "".join(core.format(i) for i in range(4)) + "Model\t\t: Pi\n",
            "proc/loadavg": "0.52 0.58 0.59 1/257 1234\n",
            cpu.format(0) + "scaling_governor": "ondemand\n",
            cpu.format(0) + "scaling_cur_freq": "600000\n",
            cpu.format(1) + "scaling_cur_freq": "1500000\n",
            cpu.format(0) + "scaling_max_freq": "1500000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone1/type": "battery\n",
            "sys/class/thermal/thermal_zone1/temp": "60000\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        },
    )
    state = read_state(tmp_path)
    assert state == State(1_500_000, 48.312, 0.52, None, 0x50005)
    found = host(tmp_path)
    assert found.device == "Raspberry Pi 4 Model B Rev 1.4"
    assert found.cpu == "Cortex-A72"
    assert (found.governor, found.frequency_limit_khz) == ("ondemand", 1_500_000)
    assert found.os.startswith("Debian GNU/Linux 12 (bookworm), ")


def test_a_phone_with_big_and_little_cores_names_both(tmp_path):
    parts = ["0xd05"] * 4 + ["0xd41"] * 4
    text = "".join(f"CPU implementer : 0x41\nCPU part : {p}\n" for p in parts)
    put(tmp_path, {"proc/cpuinfo": text})
    assert host(tmp_path).cpu == "Cortex-A55 + Cortex-A78"


def test_a_pc_counts_thermal_events_and_takes_the_package_sensor(tmp_path):
    throttle = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    put(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: Intel(R) Core(TM) i5\n" * 2,
            "sys/class/dmi/id/sys_vendor": "LENOVO\n",
            "sys/class/dmi/id/product_name": "20XW\n",
            throttle.format(0): "3\n",
            throttle.format(1): "4\n",
            "sys/class/thermal/thermal_zone0/type": "acpitz\n",
            "sys/class/thermal/thermal_zone0/temp": "-274000\n",
            "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone1/temp": "52000\n",
        },
    )
    assert (host(tmp_path).device, host(tmp_path).cpu) == ("LENOVO 20XW", "Intel(R) Core(TM) i5")
    assert read_state(tmp_path) == State(None, 52.0, None, 7, None)


def test_a_machine_that_says_nothing_is_no_error(tmp_path):
    put(tmp_path, {"proc/loadavg": "garbage", "proc/stat": "cpu", "proc/cpuinfo": ""})
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").mkdir(parents=True)
    assert read_state(tmp_path) == State()
    assert busy_seconds(tmp_path) is None
    found = host(tmp_path)
    assert (found.device, found.cpu, found.governor) == (None, None, None)
    assert found.threads == 1


def test_busy_seconds_leave_out_idle_and_waiting_for_disks(tmp_path):
    # user nice system idle iowait irq softirq steal guest guest_nice
    put(tmp_path, {"proc/stat": "cpu  100 10 50 9999 8888 5 5 30 7 7\ncpu0 1 1 1 1\n"})
    assert busy_seconds(tmp_path) == pytest.approx(200 / os.sysconf("SC_CLK_TCK"))


def test_this_machine_can_be_read():
    assert dataclasses.asdict(read_state()).keys() == dataclasses.asdict(State()).keys()
    assert describe_host(
        State(), State(), threads=2, engine_version=None, kernels=None
    ).cores == len(os.sched_getaffinity(0))
