"""The report in a real browser: Chromium, headless, without a network, and axe-core in it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = [
    Path(os.environ.get("EDGEQ_AXE", "/nowhere")),
    Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js",
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def axe_source() -> str:
    """The text of axe-core; skips where it is not installed."""
    for path in AXE:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    pytest.skip("axe-core is not installed: make .venv/.stamps/browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """A Playwright browser; skips where Chromium or Playwright is missing."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: make .venv/.stamps/browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright: .venv/.stamps/browser")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Page:
    """One file opened from disk, with what it said and what it asked the network for."""

    def __init__(self, browser: Any, file: Path, scheme: str, width: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True
        )
        self.page = context.new_page()
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(file.absolute().as_uri())

    def violations(self) -> list[str]:
        """axe-core's, each with the first place. Its script runs by the debugger's right, which
        the page's own policy does not forbid."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        self.page.evaluate(axe_source())
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html']}" for v in found]

    def tab_stops(self, limit: int) -> list[str]:
        """What the Tab key reaches, from the top of the page on, until it comes round."""
        self.page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        found: list[str] = []
        for _ in range(limit):
            self.page.keyboard.press("Tab")
            stop = self.page.evaluate(
                "() => { const e = document.activeElement; if (e === document.body) return '';"
                " return e.tagName + ' ' + (e.getAttribute('aria-label') || e.textContent.trim()) }"
            )
            if not stop or (found and stop == found[0]):
                break
            found.append(stop)
        return found
