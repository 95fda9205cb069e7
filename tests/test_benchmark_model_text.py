"""What benchmark_model prints and writes: every variant, damage, and anything at all."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.benchmark_model.op_profile import parse_profile, run_order
from edgeq.benchmark_model.result_file import ResultFile, parse_result_file
from edgeq.benchmark_model.text import (
    DelegateShare,
    Footprint,
    Stat,
    Timings,
    parse_report,
    parse_results_block,
)
from edgeq.benchmark_model.tool_json import parse_tool_json
from edgeq.errors import EdgeqError, MeasurementError

FILES = Path(__file__).parent / "benchmark_model"
GOOD = (FILES / "classic.txt").read_bytes()


def read(name: str) -> bytes:
    return (FILES / name).read_bytes()


def test_the_classic_one() -> None:
    report = parse_report(GOOD)
    assert report.warmup == Stat(56, 11147, 8146, 7055, 12036, 8779.68, 1115, 7100, 8700, 11000)
    assert report.runs == Stat(110, 8325, 10016, 7863, 10688, 8680.33, 591, 7900, 8600, 9900)
    assert report.timings == Timings(1451507, 11147, 8779.68, 8680.33)
    assert report.footprint == Footprint(63.4883, 63.4883, 70.1, 71, 60, 11)
    assert report.init_us == 1451507
    assert report.model_size_mb == 3.79893
    assert report.results is None
    assert report.delegates == () == report.notes


def test_a_build_of_old_without_prefixes_and_percentiles() -> None:
    report = parse_report(read("classic_old.txt"))
    assert report.runs == Stat(50, 79770, 79760, 79100, 80900, 79760.9, 301)
    assert report.timings == Timings(init_us=38467, warmup_avg_us=83235, avg_us=79760.9)
    assert report.footprint == Footprint(2.5, 12.25)


def test_averages_of_a_second_and_more_are_rounded_by_the_tool() -> None:
    report = parse_report(read("slow.txt"))
    assert (report.runs.avg_us, report.runs.median_us) == (1234570.0, 1234500)


def test_runs_that_all_took_the_same() -> None:
    report = parse_report(read("same.txt"))
    assert report.warmup == Stat(0)
    assert report.runs == Stat(50, 123, 123, 123, 123, 123, 0, 123, 123, 123)
    assert parse_report(read("once.txt")).runs == Stat(1, 352, 352, 352, 352, 352, 0, 352, 352, 352)


def test_windows_line_ends() -> None:
    assert parse_report(GOOD.replace(b"\n", b"\r\n")) == parse_report(GOOD)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("delegate_all.txt", [DelegateShare("GPU", "all")]),
        (
            "delegate_part.txt",
            [DelegateShare("XNNPACK", "unknown"), DelegateShare("XNNPACK", "part", 3)],
        ),
        ("delegate_none.txt", [DelegateShare("NNAPI", "none")]),
    ],
)
def test_delegates(name: str, expected: list[DelegateShare]) -> None:
    assert list(parse_report(read(name)).delegates) == expected


def test_litert() -> None:
    report = parse_report(read("litert.txt"), read("litert.err"))
    assert report.runs.median_us == 8600
    assert report.init_us == 20500
    block = report.results
    assert block is not None
    assert (block.signature, block.init_ms, block.warmup_runs) == ("serving_default", 20.5, 56)
    assert (block.avg_ms, block.runs, block.std_ms) == (8.68, 110, 0.59)
    assert (block.throughput_mb_per_s, block.peak_memory_mb) == (437.65, 15.25)
    assert (block.init_footprint_mb, block.overall_footprint_mb) == (12, 13.5)
    assert report.notes == ("No dispatch library found: no NPU",)


def test_memory_usage_on_one_line() -> None:
    text = b"== BENCHMARK RESULTS ==\nMemory Usage: / Init footprint: 1.25 MB / Peak memory: 2 MB\n"
    block = parse_results_block(text)
    assert block is not None and (block.init_footprint_mb, block.peak_memory_mb) == (1.25, 2)


def test_the_tool_in_python() -> None:
    """As the real one printed and wrote it for the tests' tiny network."""
    block = parse_results_block(read("python_tool.txt"), read("python_tool.err"))
    result = parse_tool_json(read("python_tool.json"))
    assert block is not None
    assert block.runs == result.latency.num_runs >= 30
    assert block.avg_ms == result.latency.avg_ms
    assert block.median_ms == result.latency.median_ms
    assert block.p95_ms == result.latency.p95_ms
    assert block.fully_accelerated == result.fully_accelerated is not None


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"model": "m"}', b"[" * 100_000, b"\xff"])
def test_json_that_is_none_of_the_tool(text: bytes) -> None:
    with pytest.raises(MeasurementError, match="not a result of benchmark_litert_model.py"):
        parse_tool_json(text)


def test_a_number_that_is_not_finite() -> None:
    data = json.loads(read("python_tool.json"))
    data["latency"]["avg_ms"] = float("nan")
    with pytest.raises(MeasurementError, match="not finite"):
        parse_tool_json(json.dumps(data).encode())


@pytest.mark.parametrize("stream", [0, 1])
def test_flags_that_were_ignored_are_named(stream: int) -> None:
    said = b"WARN: Unconsumed cmdline flags: --input_layer=a --use_magic=\x1b[31m1\n"
    streams = [GOOD, b""]
    streams[stream] += said
    with pytest.raises(MeasurementError, match="ignores --input_layer, --use_magic$") as raised:
        parse_report(*streams)
    assert "another build" in str(raised.value.hint)


def test_failures() -> None:
    with pytest.raises(MeasurementError, match="ended with 1: Failed to allocate tensors!"):
        parse_report(b"INFO: STARTING!\n", read("failed.err"), 1)
    for line in (b"FATAL: no such file", b"ERROR: no such file"):
        with pytest.raises(MeasurementError, match="failed: no such file"):
            parse_report(GOOD, line)
    for line in (b"Disallowed CPU fallback detected.", b"Benchmarking failed."):
        with pytest.raises(MeasurementError, match=line.decode()):
            parse_report(GOOD + line)
    with pytest.raises(MeasurementError, match="ended with 139: - RssFile|ended with 139: "):
        parse_report(GOOD, b"", 139)
    with pytest.raises(MeasurementError, match="ended with 127: it printed nothing") as raised:
        parse_report(b"", b"", 127)
    assert "for its processor" in str(raised.value.hint)
    with pytest.raises(MeasurementError, match="ended with 1: No dispatch library"):
        parse_report(read("litert.txt"), read("litert.err"), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "0 lines with count="),
        (b"INFO: count=5 curr=1\n", "1 lines with count="),
        (GOOD + b"count=1 curr=1\n", "3 lines with count="),
        (b"count=0\ncount=0 p5=0\n", "measured nothing"),
        (b"count=0\ncount=-3 curr=1\n", "no count of runs"),
        (b"count=0\ncount=9999999999 curr=1\n", "no count of runs"),
        (b"count=0\ncount=1.5 curr=1\n", "no count of runs"),
        (b"count=0\ncount=5 p5=3\n", "no times"),
        (b"count=0\ncount=5 curr=nan\n", "no times"),
        (b"count=0\ncount=5 curr=\x1b[31m\n", r"not understood: count=5 curr=\\x1b\[31m"),
        (GOOD + b"Inference timings in us: Init: x, First\n", "not understood"),
    ],
)
def test_text_that_is_no_measurement(text: bytes, message: str) -> None:
    with pytest.raises(MeasurementError, match=message) as raised:
        parse_report(text)
    assert raised.value.hint


def test_profiling_within_the_text_is_not_a_measurement() -> None:
    text = GOOD + b"Timings (microseconds): count=50 first=1 curr=1\nMemory (bytes): count=0\n"
    assert parse_report(text) == parse_report(GOOD)


def test_a_std_that_overflowed_in_the_tool() -> None:
    text = b"count=0\ncount=2 first=1 curr=2 min=1 max=2 avg=1.5 std=-9223372036854775808\n"
    assert parse_report(text).runs.std_us is None


def test_profile_as_csv() -> None:
    tables = parse_profile(read("profile.csv"))
    assert [(t.phase, t.graph, t.title) for t in tables] == [
        ("initialization", None, "Run Order"),
        ("initialization", None, "Summary by node type"),
        ("runs", "Primary graph (name: main)", "Run Order"),
        ("runs", "Primary graph (name: main)", "Top by Computation Time"),
        ("runs", "Primary graph (name: main)", "Summary by node type"),
        ("runs", "Subgraph (index: 1, name: while_body)", "Run Order"),
        ("runs", "Delegate internal", "Run Order"),
    ]
    first, delegated, last = run_order(tables)
    assert (first.kind, first.name) == ("CONV_2D", "[layer/Relu6;layer/b,c]:0")
    assert (first.first_ms, first.avg_ms, first.percent) == (4.269, 4.269, 80.107)
    assert delegated.kind == "Convolution (NHWC, QS8) IGEMM"
    assert delegated.name == "Delegate/Convolution (NHWC, QS8) IGEMM:0"
    assert delegated.avg_ms == 1e-3
    assert (last.cumulative_percent, last.times_called, last.memory_kb) == (100, 2, 0)
    by_kind = tables[4].rows[0]
    assert (by_kind.count, by_kind.name, by_kind.avg_ms) == (1, None, 4.269)


@pytest.mark.parametrize("name", ["profile_table.txt", "profile_start.txt"])
def test_profile_as_a_table_of_any_age(name: str) -> None:
    tables = parse_profile(read(name))
    first, delegated = run_order(tables)
    assert (first.kind, first.name, first.avg_ms) == ("CONV_2D", "[layer/Relu6]:0", 4.27)
    assert (first.first_ms, first.percent, first.times_called) == (4.269, 80.107, 1)
    assert delegated.name == "Delegate/Softmax (NC, F32):0"
    assert tables[1].rows[0].count == 1


def test_profiles_that_are_damaged() -> None:
    with pytest.raises(MeasurementError, match="no table of operators"):
        parse_profile(b"")
    head = b"==== Run Order ====\nnode type, first, avg_ms, name\n"
    with pytest.raises(MeasurementError, match="line 3: not a row of 4 columns: CONV, 1"):
        parse_profile(head + b"CONV, 1\n")
    with pytest.raises(MeasurementError, match="line 3: not a row with a time"):
        parse_profile(head + b"CONV, 1, 1e999, a\n")
    with pytest.raises(MeasurementError, match="line 2: not the heads of a table"):
        parse_profile(b"==== Run Order ====\nfirst, second\n")


def message(number: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    return bytes([number << 3 | 2, len(body)]) + body


def real(number: int, value: float) -> bytes:
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


RESULT = (
    message(1, b"tiny")
    + message(2, *(real(i, i / 4) for i in range(1, 11)))
    + message(3, b"\x08\xac\x02\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", real(3, 70.5))
    + message(4, real(1, 3.5), b"\x10\x6e\x18\x38", real(4, 437.5))
    + b"\x78\x05"  # Field 15, of a later version.
)


def test_the_result_file() -> None:
    assert parse_result_file(RESULT) == ResultFile(
        "tiny",
        *(i / 4 for i in range(1, 11)),
        init_footprint_kb=300,
        overall_footprint_kb=-1,
        peak_memory_mb=70.5,
        model_size_mb=3.5,
        runs=110,
        warmup_runs=56,
        throughput_mb_per_s=437.5,
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing in it"),
        (RESULT[:20], "ends within field 2"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "ends within field 2"),
        (b"\xff" * 30, "no number"),
        (b"\x13", "wire type 3"),
        (b"\x08", "ends within a number"),
        (message(2, b"\x08\x01"), "avg_ms is no float"),
        (message(2, real(1, float("inf"))), "avg_ms is inf"),
        (message(4, real(2, 1)), "runs is no integer"),
    ],
)
def test_result_files_that_are_damaged(data: bytes, why: str) -> None:
    with pytest.raises(MeasurementError, match=why):
        parse_result_file(data)


WORDS = st.sampled_from(
    GOOD.split(b" ")
    + read("litert.err").split(b" ")
    + read("profile.csv").split(b",")
    + [
        b"\n",
        b"count=",
        b"\t",
        b"=",
        b"1e999",
        b"\x1b[2J",
        b"\xff",
        b"ERROR: ",
        b"==== Run Order ====",
    ]
)
NOISE = st.one_of(st.binary(max_size=300), st.lists(WORDS, max_size=60).map(b" ".join))


@given(NOISE, NOISE, st.sampled_from([0, 0, 1, 137]))
def test_anything_gives_a_value_or_one_error(output: bytes, errors: bytes, code: int) -> None:
    attempts: list[Any] = [
        lambda: parse_report(output, errors, code),
        lambda: parse_report(GOOD + output, errors),
        lambda: parse_results_block(output, errors),
        lambda: parse_profile(output),
        lambda: parse_profile(b"==== Run Order ====\nnode type, avg_ms, name\n" + output),
        lambda: parse_result_file(output),
        lambda: parse_tool_json(output),
    ]
    for attempt in attempts:
        try:
            value = attempt()
        except EdgeqError as e:
            assert e.hint and e.message.isprintable() and len(e.message) < 4000
        else:
            assert "\x1b" not in repr(value).replace("\\x1b", "")


@given(st.integers(0, len(RESULT)), st.integers(0, 255))
def test_a_result_file_with_one_wrong_byte(at: int, byte: int) -> None:
    try:
        parse_result_file(RESULT[:at] + bytes([byte]) + RESULT[at + 1 :])
    except MeasurementError:
        pass


def test_endless_lines_are_read_in_no_time() -> None:
    for filler in (b"count=" * 2_000_000, b"=" * 20_000_000, b"\n" * 2_000_000, b"a: " * 5_000_000):
        with pytest.raises(MeasurementError):
            parse_report(filler)
        with pytest.raises(MeasurementError):
            parse_profile(filler)
        parse_results_block(b"BENCHMARK RESULTS\n" + filler)
