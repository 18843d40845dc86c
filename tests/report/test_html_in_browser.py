"""report.html in a real browser: it loads nothing, fits every screen, and everybody can read it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from run_records import SENTENCES, make_record

from xmod_extend.report.html import html_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    named = os.environ.get("CHROMIUM")
    path = next(filter(None, map(shutil.which, (named,) if named else NAMES)), None)
    assert path, "there is no Chromium: run scripts/install_browser, or use -m 'not browser'"
    # Its sandbox does not work for root, as whom CI may run.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if is_root else []
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    paths = {language: folder / f"{language}.html" for language in SENTENCES}
    for language, path in paths.items():
        path.write_text(html_report(make_record(language)), encoding="utf-8")
    return paths


class Opened:
    """A page with what it said and asked for."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.page: Page = browser.new_page(**context)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(path.as_uri())
        self.path = path

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.page.close()
        assert self.said == []
        assert self.requests == [self.path.as_uri()]


def violations(page: Page) -> list[str]:
    """What axe-core finds fault with."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {node['html']}" for fault in found for node in fault["nodes"]]


def overflowing(page: Page) -> list[str]:
    """Elements that stand out of the window to the right, but for those of no size."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .filter(e => !e.closest(".unseen, .skip"))
            .map(e => e.outerHTML.slice(0, 100))"""
    )
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return found + (["the page"] if wide else [])


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_report_opens_without_a_network_and_can_be_read(
    browser: Browser, reports: dict[str, Path], scheme: str
) -> None:
    size = {"width": 768, "height": 900}
    with Opened(browser, reports["quz_PE"], viewport=size, color_scheme=scheme) as page:
        assert "Cusco Quechua" in page.title()
        unfold(page)
        assert overflowing(page) == []
        assert violations(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("language", SENTENCES)
def test_every_script_fits_every_screen(
    browser: Browser, reports: dict[str, Path], language: str, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 900}
    with Opened(browser, reports[language], viewport=size, color_scheme=scheme) as page:
        assert overflowing(page) == []
        unfold(page)
        assert overflowing(page) == []
        if width == WIDTHS[0]:
            assert violations(page) == []


@pytest.mark.slow
def test_the_themes_differ_and_print_is_light(browser: Browser, reports: dict[str, Path]) -> None:
    with Opened(browser, reports["quz_PE"], color_scheme="dark") as page:

        def colours() -> tuple[str, str]:
            style = "getComputedStyle(document.body)"
            return page.evaluate(f"[{style}.backgroundColor, {style}.color].join()")

        dark = colours()
        page.emulate_media(color_scheme="light")
        light = colours()
        assert dark != light
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert violations(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("language", SENTENCES)
def test_a_report_can_be_printed(browser: Browser, reports: dict[str, Path], language: str) -> None:
    with Opened(browser, reports[language]) as page:
        assert page.pdf(format="A4").startswith(b"%PDF")
        page.set_viewport_size({"width": 700, "height": 1000})
        page.emulate_media(media="print")
        assert overflowing(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("language", ["ar_AR", "hi_IN", "th_TH"])
def test_marks_do_not_change_how_a_line_is_shaped(
    browser: Browser, reports: dict[str, Path], language: str
) -> None:
    with Opened(browser, reports[language], viewport={"width": 1280, "height": 900}) as page:
        widths = page.evaluate(
            """() => [...document.querySelectorAll("p.marked, p.context")].map(marked => {
                const range = document.createRange();
                const width = element => {
                    range.selectNodeContents(element);
                    return range.getBoundingClientRect().width;
                };
                marked.querySelectorAll(".unseen").forEach(e => e.remove());
                const plain = marked.cloneNode();
                plain.textContent = marked.textContent;
                marked.after(plain);
                return [width(marked), width(plain)];
            })"""
        )
        assert len(widths) == 12
        for marked, plain in widths:
            assert plain > 50
            assert marked == pytest.approx(plain, abs=0.6)


@pytest.mark.slow
def test_lines_run_in_the_direction_of_their_script(
    browser: Browser, reports: dict[str, Path]
) -> None:
    for language, direction in (("ar_AR", "rtl"), ("hi_IN", "ltr")):
        with Opened(browser, reports[language]) as page:
            found = page.evaluate(
                """() => [...document.querySelectorAll("p.marked, p.context")]
                    .map(e => getComputedStyle(e).direction)"""
            )
            assert set(found) == {direction}


@pytest.mark.slow
def test_levels_are_told_apart_without_colour(browser: Browser, reports: dict[str, Path]) -> None:
    with Opened(browser, reports["quz_PE"]) as page:
        styles = page.evaluate(
            """() => [0, 1, 2, 3, 4].map(level => {
                const style = getComputedStyle(document.querySelector(`.key .level${level}`));
                return style.borderBottomStyle + style.borderBottomWidth;
            })"""
        )
        assert len(set(styles)) == 5


@pytest.mark.slow
def test_all_that_can_be_used_can_be_reached_by_keys(
    browser: Browser, reports: dict[str, Path]
) -> None:
    with Opened(browser, reports["quz_PE"]) as page:
        reached = []
        for _ in range(page.locator("a, summary").count()):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.outerHTML"))
        assert len(set(reached)) >= page.locator("a").count() + 1
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.parentElement.open")
