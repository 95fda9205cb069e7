"""The report in Chromium, from a file, without a network. Set EDGEQ_SCREENSHOTS to a folder to
keep the pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium
from test_reporting import bundles, hostile, measured, on_board, sha256  # noqa: F401

from edgeq import history, reporting
from edgeq.measurement import Results, Speedup
from edgeq.results import write_results
from edgeq.stats import block_ratio

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(bundles, sha256, tmp_path_factory) -> Path:  # noqa: F811
    """A page with everything: this computer beside float, a board, history."""
    folder = tmp_path_factory.mktemp("page")
    other = measured(3_000_000, scheme="float32", model_sha256="cd" * 32)
    host = measured(model="tiny", model_sha256=sha256)
    ratio, _ = block_ratio([other.samples], [host.samples])
    host = replace(host, speedup=Speedup("tiny", "float32", "cd" * 32, ratio))
    board = on_board(sha256)
    for _ in range(3):
        history.save(folder / "h", Results((board,)), commit="ab" * 20)
    write_results(folder / "r.json", Results((host, other, board)))
    sources = [folder / "r.json", bundles]
    kept = history.entries(folder / "h")
    text = reporting.to_html(reporting.open_sources(sources, history=kept))
    (folder / "report.html").write_text(text)
    return folder / "report.html"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_the_page_opens_and_everybody_can_read_it(browser, report, scheme, width):
    opened = Page(browser, report, scheme, width)
    assert opened.complaints == []
    assert opened.requests == [report.as_uri()]
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width
    sizes = opened.page.evaluate(
        "[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 10 and min(sizes) > 20
    folder = os.environ.get("EDGEQ_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        opened.page.screenshot(path=Path(folder) / f"{scheme}-{width}.png", full_page=True)
    assert opened.violations() == []


def test_axe_sees_what_is_wrong(browser, report, tmp_path):
    """So that no violation means something."""
    text = (
        report.read_text()
        .replace('lang="en"', "")
        .replace("--soft-ink: #4a5162", "--soft-ink: #ccc")
    )
    (tmp_path / "bad.html").write_text(text)
    found = Page(browser, tmp_path / "bad.html", "light", 1200).violations()
    assert any(v.startswith("html-has-lang") for v in found)


def test_the_keyboard_reaches_everything(browser, report):
    opened = Page(browser, report, "light", 1200)
    stops = opened.tab_stops(400)
    visible = "e => e.checkVisibility() && (e.matches('a[href], summary, [tabindex=\"0\"]'))"
    count = opened.page.evaluate(f"[...document.querySelectorAll('*')].filter({visible}).length")
    assert len(stops) == count
    tables = [i for i, stop in enumerate(stops) if stop.startswith("SUMMARY Table:")]
    assert len(tables) >= 10
    assert opened.page.evaluate("document.querySelector('details').open") is False
    opened.page.focus("summary")
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.querySelector('details').open") is True


def test_hostile_names_run_nothing(browser, hostile, tmp_path):  # noqa: F811
    (tmp_path / "h.html").write_text(reporting.to_html(reporting.open_sources([hostile])))
    opened = Page(browser, tmp_path / "h.html", "light", 1200)
    assert opened.complaints == []
    assert opened.page.evaluate("document.scripts.length") == 0
    assert opened.violations() == []
