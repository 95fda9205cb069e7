"""`edgeq report`: what it says, every format of it, and names that want to be code."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_model import tiny_int8

from edgeq import history, reporting
from edgeq.checking import Check, check_to_json
from edgeq.cli import run
from edgeq.errors import UsageError
from edgeq.limits import Gate
from edgeq.measurement import (
    Check as Golden,
)
from edgeq.measurement import (
    Environment,
    LayerProfile,
    Measurement,
    Metric,
    Profile,
    Results,
    Speedup,
)
from edgeq.results import read_results, write_results
from edgeq.stats import judge, summarize
from edgeq.tflite import read_graph

HOSTILE = "=1+1\"'><script>alert(1)</script>\x1b[31m\u202e|`@user` [x](http://evil) &amp;\n# h"


def measured(median: int = 1_000_000, spread: float = 0.01, **changes) -> Measurement:
    noise = np.random.default_rng(median).normal(0, spread, 400)
    samples = tuple(int(median * (1 + abs(n))) for n in noise)
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
        "warmup_runs": 1,
        "summary": summarize(samples),
        "verdict": judge(samples),
        "checks": Golden(8, 8),
        "environment": Environment(device="a board", arch="aarch64", edgeq_version="0.1.0"),
    }
    return Measurement(**{**facts, **changes})


def counted(count: int = 5_000, **changes) -> Measurement:
    layers = tuple(
        LayerProfile(i, op, name, 10 * i, 4, 100.0 * (i + 1))
        for i, (op, name) in enumerate([("CONV_2D", "a/conv"), ("SOFTMAX", "scores")])
    )
    return measured(
        count,
        0,
        **{
            "unit": "instructions",
            "tick_hz": None,
            "target": "mps2-an386",
            "engine": "aot",
            "profile": Profile("instructions", 5, layers),
            **changes,
        },
    )


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of tiny_int8() for this computer and an emulated board."""
    folder = tmp_path_factory.mktemp("reporting")
    (folder / "tiny.tflite").write_bytes(tiny_int8())
    targets = ["-t", "host", "-t", "mps2-an386"]
    assert run(["build", str(folder / "tiny.tflite"), *targets, "-o", str(folder / "b")]) == 0
    return folder / "b"


@pytest.fixture(scope="module")
def sha256(bundles: Path) -> str:
    return json.loads((bundles / "host" / "manifest.json").read_text())["model"]["sha256"]


def on_board(sha256: str, **changes) -> Measurement:
    """As `edgeq bench --profile` has it: layers in the order of the model's four operators."""
    graph = read_graph(tiny_int8(), "tiny")
    layers = tuple(
        LayerProfile(o.index, o.name, graph.main.output_tensors(o)[0].name, 0, 4, 1000.0 - o.index)
        for o in graph.main.ops
    )
    profile = Profile("instructions", 5, layers)
    return counted(model="tiny", model_sha256=sha256, profile=profile, **changes)


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def page(*measurements: Measurement, bundles: Path | None = None, tmp_path: Path) -> Elements:
    file = tmp_path / "r.json"
    write_results(file, Results(measurements))
    sources = [file] if bundles is None else [file, bundles]
    return Elements(reporting.to_html(reporting.open_sources(sources)))


# --- The page --------------------------------------------------------------------------------


def test_the_page_says_the_verdict_first_and_draws_what_is_known(bundles, sha256, tmp_path):
    host = measured(model="tiny", model_sha256=sha256)
    found = page(host, on_board(sha256), bundles=bundles, tmp_path=tmp_path)
    keys = [attrs["id"] for tag, attrs in found.tags if tag == "figure"]
    assert {"s0-runs", "s0-drift", "s0-order", "s0-memory"} <= set(keys)
    assert {"s1-runs", "s1-cost", "s1-memory", "s1-plan", "s1-flash"} <= set(keys)
    text = " ".join(found.text.split())
    assert text.index("Verdict") < text.index("How fast")
    assert "all 4 operators" in text and "8 golden inputs" in text
    assert "peak: 512 bytes in operator 1 RESHAPE" in text  # Of activations, with LiteRT.


def test_every_plot_has_a_title_a_description_and_a_table(bundles, sha256, tmp_path):
    host = measured(model="tiny", model_sha256=sha256)
    found = page(host, on_board(sha256), bundles=bundles, tmp_path=tmp_path)
    figures = found.count("figure")
    assert figures >= 8
    assert found.count("svg") == found.count("desc") == figures
    assert found.count("details") == found.count("summary") == figures
    assert found.count("h1") == found.count("main") == found.count("nav") == 1
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"].split() for t, a in found.tags if t == "svg"]
    assert all(name in ids for names in named for name in names)
    assert [a["lang"] for t, a in found.tags if t == "html"] == ["en"]


def test_the_page_needs_nothing_else_and_is_the_same_every_time(bundles, sha256, tmp_path):
    write_results(tmp_path / "r.json", Results((on_board(sha256),)))
    sources = [tmp_path / "r.json", bundles]
    text = reporting.to_html(reporting.open_sources(sources))
    assert text == reporting.to_html(reporting.open_sources(sources))
    assert len(text) < 1_000_000
    found = Elements(text)
    assert not found.count("script") and not found.count("link") and not found.count("img")
    assert not any("style" in attrs or "src" in attrs for _, attrs in found.tags)
    links = [attrs["href"] for tag, attrs in found.tags if tag == "a"]
    assert links and all(link.startswith("#") for link in links)


def test_a_float_model_measured_beside_is_drawn_with_the_integer_one(tmp_path):
    other = measured(3_000_000, scheme="float32", model_sha256="cd" * 32)
    ours = measured(speedup=Speedup("kws", "float32", "cd" * 32, 3.0))
    found = page(replace(ours, speedup=None), tmp_path=tmp_path)
    assert "Beside float" not in found.text
    report = reporting.gather([ours, other])
    assert len(report.subjects) == 1
    assert "int8 is 3.00 times as fast as float32" in Elements(reporting.to_html(report)).text


def test_a_run_that_is_not_valid_is_said_first(tmp_path):
    noisy = measured(spread=2.0)
    assert not noisy.verdict.valid
    found = page(noisy, tmp_path=tmp_path)
    assert "Problem. kws int8 on host: the run is not valid" in " ".join(found.text.split())


def test_layers_are_those_of_the_model_with_the_device_s_counts(bundles, sha256):
    report = reporting.open_sources([bundles])
    board = next(s for s in report.subjects if s.target == "mps2-an386")
    layers = replace(board, measurement=on_board(sha256)).layers
    assert [(layer.index, layer.op, layer.ticks) for layer in layers] == [
        (0, "CONV_2D", 1000.0),
        (1, "RESHAPE", 999.0),
        (2, "FULLY_CONNECTED", 998.0),
        (3, "SOFTMAX", 997.0),
    ]
    assert layers[0].macs == 8 * 8 * 4 * 9
    assert layers[0].live_bytes == 64 + 256


def test_bundles_alone_make_a_report_that_says_what_is_open(bundles):
    report = reporting.open_sources([bundles])
    assert [s.target for s in report.subjects] == ["host", "mps2-an386"]
    answers = {line.question: line.answer for line in reporting.verdict(report.subjects[1])}
    assert answers["fully integer"] == "yes"
    assert answers["outputs equal"] == answers["valid run"] == "unknown"


def test_a_bundle_is_found_where_build_puts_it(bundles, sha256, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(bundles.parent)
    bundles.rename(bundles.parent / "build")
    try:
        write_results(tmp_path / "r.json", Results((on_board(sha256),)))
        assert run(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]) == 0
    finally:
        (bundles.parent / "build").rename(bundles)
    assert "s0-plan" in (tmp_path / "r.html").read_text()
    assert "Everything that was checked holds" in capfd.readouterr().out


def test_each_target_has_its_own_bundle_also_of_the_same_model(bundles, sha256, tmp_path):
    host = measured(model="tiny", model_sha256=sha256)
    write_results(tmp_path / "r.json", Results((host, on_board(sha256))))
    sources = [tmp_path / "r.json", bundles / "host"]
    report = reporting.open_sources(sources, [bundles])
    assert [s.manifest["target"] for s in report.subjects] == ["host", "mps2-an386"]


def test_a_network_of_thousands_of_operators_stays_a_small_page(tmp_path):
    names = [f"block_{i}/a_layer_with_a_name_that_is_quite_long" for i in range(4000)]
    layers = tuple(LayerProfile(i, "CONV_2D", n, i, 1, float(i)) for i, n in enumerate(names))
    text = reporting.to_html(reporting.gather([counted(profile=Profile("cycles", 1, layers))]))
    assert len(text) < 1_000_000
    assert "3,600 more: edgeq report --format csv" in text


def test_errors_by_layer_are_in_the_manifest_of_build_layers_and_in_the_report(
    tmp_path, float_model, vectors
):
    command = ["build", str(float_model), "-t", "host", "--calibration-data", str(vectors)]
    assert run([*command, "--allow-float", "--layers", "-o", str(tmp_path / "b")]) == 0
    report = reporting.open_sources([tmp_path / "b" / "host"])
    found = Elements(reporting.to_html(report))
    assert "s0-error" in [attrs.get("id") for _, attrs in found.tags]
    worst = max((e for e in report.subjects[0].layers if e.has_error), key=lambda e: e.lost_db)
    assert f"most is lost in {worst.index} {worst.op}" in found.text


def test_kept_results_are_plotted_over_commits(tmp_path):
    for number, count in enumerate((5000, 5100, 4900)):
        history.save(tmp_path / "h", Results((counted(count),)), commit=f"{number}" * 40)
    report = reporting.gather([counted()], history=history.entries(tmp_path / "h"))
    found = Elements(reporting.to_html(report))
    assert "kws int8 on mps2-an386 (aot) over 3 kept results" in found.text


# --- Other formats -----------------------------------------------------------------------------


def test_csv_has_a_row_a_layer(bundles, sha256):
    report = reporting.open_sources([bundles])
    rows = list(csv.DictReader(io.StringIO(reporting.to_csv(report))))
    assert len(rows) == 8
    assert rows[0]["type"] == "CONV_2D" and rows[0]["macs"] == "2304"


def test_model_explorer_data_is_keyed_by_operator_index(bundles, sha256, tmp_path):
    write_results(tmp_path / "r.json", Results((on_board(sha256),)))
    report = reporting.open_sources([tmp_path / "r.json", bundles / "mps2-an386"])
    graph = json.loads(reporting.to_model_explorer(report))["main"]
    assert graph["results"] == {str(i): {"value": 1000.0 - i} for i in range(4)}
    assert [stop["stop"] for stop in graph["gradient"]] == [0, 1]
    with pytest.raises(UsageError, match="no layer has an index"):
        reporting.to_model_explorer(reporting.gather([measured()]))


def test_junit_fails_what_is_answered_with_no(tmp_path):
    gate = Gate("mps2-an386", "arena", "bytes", "+1KB", False, 4096.0, 2048.0, 1024.0)
    check = Check("kws", (gate, replace(gate, metric="flash", passed=True)), {}, {})
    (tmp_path / "check.json").write_text(check_to_json(check))
    write_results(tmp_path / "r.json", Results((counted(checks=Golden(0, 0)),)))
    report = reporting.open_sources([tmp_path / "check.json", tmp_path / "r.json"])
    assert report.checks == (check,)
    suites = ET.fromstring(reporting.to_junit(report)).findall("testsuite")
    found = {case.get("name"): [e.tag for e in case] for s in suites for case in s}
    assert found["arena limit"] == ["failure"] and found["flash limit"] == ["system-out"]
    assert found["outputs equal"] == ["skipped"] and found["valid run"] == ["system-out"]
    assert "2,048 bytes beyond" in reporting.to_markdown(report)


def test_json_has_the_verdict_and_the_layers(bundles):
    facts = json.loads(reporting.to_json(reporting.open_sources([bundles])))
    assert facts["schema"] == "edgeq.report"
    assert [len(s["layers"]) for s in facts["subjects"]] == [4, 4]
    assert facts["subjects"][1]["memory"]["arena"] > 0


def test_the_ending_says_the_format(tmp_path, capfd):
    write_results(tmp_path / "r.json", Results((counted(),)))
    for name, start in (
        ("a.md", "### edgeq"),
        ("a.xml", "<?xml"),
        ("a.csv", "model,"),
        ("a", "<!"),
    ):
        assert run(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text().lstrip().startswith(start)


# --- Names that want to be code ----------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    layer = LayerProfile(0, HOSTILE, HOSTILE, 1, 1, 5.0)
    m = counted(
        model=HOSTILE,
        target=HOSTILE,
        scheme=HOSTILE,
        engine=HOSTILE,
        environment=Environment(device=HOSTILE, cpu=HOSTILE, os=HOSTILE, engine_version=HOSTILE),
        checks=Golden(2, 2, reference=HOSTILE),
        metrics=(Metric(HOSTILE, 1.0, HOSTILE, "lower"),),
        profile=Profile("instructions", 1, (layer,)),
    )
    file = tmp_path / "hostile.json"
    write_results(file, Results((m, replace(m, target="other"))))
    return file


def test_hostile_names_are_text_on_the_page(hostile):
    text = reporting.to_html(reporting.open_sources([hostile]))
    found = Elements(text)
    known = "html head meta title style body a header p h1 h2 h3 span nav ul li main section div "
    known += "strong br figure figcaption svg desc rect text line path details summary table thead "
    known += "tbody tr th td dl dt dd pre code footer circle"
    assert {tag for tag, _ in found.tags} <= set(known.split())
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert "<script>alert(1)</script>" in found.text
    assert "\x1b" not in text and "\u202e" not in text


def test_hostile_names_are_text_in_markdown(hostile):
    text = reporting.to_markdown(reporting.open_sources([hostile]))
    tags = set(re.findall(r"</?(\w+)", text))
    assert tags == {"code", "details", "summary"}
    assert not re.search(r"\x1b|\u202e|\[x\]|http:/|`|^# ", text, re.MULTILINE)
    # A mention does nothing only inside of <code>; in a summary @ would be one.
    outside = re.sub(r"<code>.*?</code>", "", text)
    assert "@user" not in outside
    rows = [line for line in text.splitlines() if line.startswith("| <code>")]
    assert {line.count("|") for line in rows} == {9}


def test_hostile_names_are_no_formulas_in_csv(hostile):
    rows = list(csv.reader(io.StringIO(reporting.to_csv(reporting.open_sources([hostile])))))
    cells = [cell for row in rows for cell in row if cell]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert rows[1][0].startswith("'=1+1")
    assert not any("\x1b" in cell for cell in cells)


def test_hostile_names_are_text_in_junit_and_json(hostile):
    report = reporting.open_sources([hostile])
    root = ET.fromstring(reporting.to_junit(report))
    assert {e.tag for e in root.iter()} <= {
        *("testsuites", "testsuite", "testcase", "skipped", "failure", "system-out")
    }
    assert json.loads(reporting.to_json(report))["subjects"][0]["model"] == HOSTILE


def test_hostile_names_are_text_on_the_terminal(hostile, tmp_path, capfd):
    kept = ["--history", str(tmp_path / "h")]
    assert run(["report", str(hostile), "-o", str(tmp_path / "r.html")]) == 0
    assert run(["history", "add", str(hostile), *kept]) == 0
    assert run(["history", *kept]) == 0
    out, err = capfd.readouterr()
    assert "=1+1" in out
    assert "\x1b" not in out + err and "\u202e" not in out + err


# --- What a person can get wrong -----------------------------------------------------------------


def test_what_cannot_be_reported_is_one_error(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "n.json").write_text("[]")
    for source, code, said in (
        (tmp_path / "none.json", 1, "No such file"),
        (tmp_path / "empty", 2, "no bundle, and none in it"),
        (tmp_path / "n.json", 1, "not a results file"),
    ):
        assert run(["report", str(source), "-o", str(tmp_path / "o.html")]) == code
        assert said in capfd.readouterr().err
    assert not (tmp_path / "o.html").exists()


def test_the_report_does_not_overwrite_what_it_reads(tmp_path, capfd):
    write_results(tmp_path / "r.json", Results((counted(),)))
    assert run(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.json")]) == 2
    assert "would overwrite what is read" in capfd.readouterr().err
    assert read_results(tmp_path / "r.json").measurements
