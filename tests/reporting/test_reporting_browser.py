"""The page in a real browser: it asks for nothing, complains of nothing, fits a phone, and turns dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_runs import add_package, make_run, model

from kpodx.reporting.document import build_document
from kpodx.reporting.writing import write_report
from kpodx.runs import load_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PHONE, DESK = (360, 740), (1280, 900)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a run with hostile and with long words in it."""
    long = "an-unbreakably-long-name" * 8
    folder = tmp_path_factory.mktemp("runs")
    run = make_run(folder / "run", text=f"<script>alert(1)</script> {long}", name=long)
    add_package(run, long, more="f32")
    add_package(run, f"another-{long}", model("Q4_K_M", "lost", 0, 90, 2.0, 10.0))
    write_report(build_document(load_run(run)), folder / "report.html")
    return folder / "report.html"


class Opened:
    """The page opened at a size and a colour scheme, and what it asked and complained of."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int], scheme: str) -> None:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def ask(self, script: str) -> Any:
        """Evaluate a script in the page."""
        return self.page.evaluate(script)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_and_never_scrolls_sideways(
    browser: Any, report: Path, size: tuple[int, int], scheme: str
) -> None:
    opened = Opened(browser, report, size, scheme)
    assert opened.requests == [report.as_uri()]
    assert opened.complaints == []
    opened.ask("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert opened.ask("document.documentElement.scrollWidth") == size[0]
    assert opened.ask("document.querySelectorAll('svg').length") >= 10


def test_letters_are_large_enough_on_a_phone(browser: Any, report: Path) -> None:
    opened = Opened(browser, report, PHONE, "light")
    assert opened.ask("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    # A unit of a chart is drawn a little smaller than a pixel: its words stay above 11 of them.
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg')].map(one => 12.5 * one.getBoundingClientRect().width / 360))"
    )
    assert opened.ask(smallest) >= 11
    outside = """[...document.querySelectorAll('svg text')].filter(one => {
        const box = one.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth }).map(one => one.textContent)"""
    assert opened.ask(outside) == []


def test_it_turns_dark(browser: Any, report: Path) -> None:
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(Opened(browser, report, PHONE, "light").ask(shade)) > 200
    assert max(Opened(browser, report, PHONE, "dark").ask(shade)) < 60
