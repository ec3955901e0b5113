"""The board in a real Chromium: silent, off the network, by keyboard, on a phone, in the dark, without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.board.conftest import run_board, run_eval
from tests.report import report_trees as trees
from tnllt.eval.protocols import PROTOCOLS
from tnllt.results.entry import Entry

pytestmark = pytest.mark.browser
HURT = '"><img src=x onerror=hurt()><script>window.hurt=1</script>'


@pytest.fixture(scope="module")
def site(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    run_board("build", made / "entries", "--dataset", "tnllt", "--root", made / "data", "--out", out)
    return out


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trackers, entries and a title that try to do harm."""
    folder = tmp_path_factory.mktemp("hostile")
    trees.write_release(folder / "data", pictures=False, sentence=trees.HOSTILE_SENTENCE)
    names = dict(zip(trees.HOSTILE_TRACKERS, (3.0, 6.0, 9.0, 20.0, 21.0), strict=True))
    trees.write_results(folder / "results", folder / "data", names, hostile=True)
    places = ["--dataset", "tnllt", "--root", folder / "data"]
    run_eval("pack", "all", *places, "--results", folder / "results", "--entry", folder / "entries", "--contact", HURT)
    for path in sorted((folder / "entries").iterdir()):
        if not path.name.isprintable():  # refused: no archive may name its files so
            assert run_board("check", path, *places).return_value == 1
            shutil.rmtree(path)
            continue
        name = f"{path.name[:40]} \u202e {HURT}"
        entry = Entry(tracker=path.name, name=name, training=HURT, command=HURT, machine=HURT)
        (path / "entry.toml").write_text(entry.to_toml(), "utf-8")
    result = run_board("build", folder / "entries", *places, "--out", folder / "site", "--title", HURT)
    assert result.return_value == 0, result.output
    return folder / "site"


def shown(page: Any) -> list[str]:
    return page.locator("#leaderboard tbody tr:visible th a").all_inner_texts()


def test_sorting_filters_and_deep_links(site: Path, watch: Callable[..., Any]) -> None:
    watched = watch((site / "index.html").as_uri())
    page = watched.page
    assert shown(page) == ["Alpha", "Beta", "Paper", "Gamma"]
    page.focus('th[data-key="success"] button')
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert shown(page) == ["Gamma", "Paper", "Beta", "Alpha"]
    assert page.get_attribute('th[data-key="success"]', "aria-sort") == "ascending"
    page.select_option("#level", "scored")
    page.fill("#find", "a")
    assert shown(page) == ["Gamma", "Beta", "Alpha"]
    page.fill("#find", "ALPH")
    assert shown(page) == ["Alpha"] and page.locator("#curves polyline").count() == 1
    again = watch(page.url).page  # a link that somebody was sent
    assert shown(again) == ["Alpha"] and again.input_value("#find") == "ALPH"
    again.click('.protocols a:text-is("strict")')
    again.wait_for_selector("html[data-ready=yes]")
    assert "protocols/strict.html" in again.url and shown(again) == ["Alpha"]
    watched.silent()


def test_attributes_curves_and_a_trackers_page(site: Path, watch: Callable[..., Any]) -> None:
    watched = watch((site / "index.html").as_uri())
    page = watched.page
    assert page.locator("#curves polyline").count() == 3 and page.locator("#attributes td").count() > 3
    page.focus("#attributes td[tabindex='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card")
    assert page.inner_text("h1") == "Beta" and page.locator("#protocols tbody tr").count() == len(PROTOCOLS)
    assert page.locator("#curves polyline").count() == 2  # its own and the best tracker's
    page.click("text=Compare with another tracker")
    page.wait_for_selector("html[data-ready=yes]")
    assert page.locator("#a option:checked").inner_text() == "Beta"
    page.select_option("#b", label="Gamma")
    assert "Beta is higher on" in page.inner_text(".verdict") and "permutation test" in page.inner_text(".verdict")
    assert page.locator("#pair circle").count() == 12 and "b=Gamma" in page.url
    watched.silent()


def test_without_javascript_the_table_is_there(site: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert shown(page) == ["Alpha", "Beta", "Paper", "Gamma"]
    assert page.locator("#leaderboard tbody td.best").count() >= 6
    page.click("#leaderboard tbody a >> nth=1")
    assert page.inner_text("h1") == "Beta" and page.locator("#protocols tbody tr").count() == len(PROTOCOLS)
    context.close()


@pytest.mark.parametrize("dark", [False, True])
def test_phone(site: Path, watch: Callable[..., Any], dark: bool) -> None:
    for name in ("index.html", "trackers/Alpha.html", "compare.html"):
        watched = watch((site / name).as_uri(), width=375, height=720, dark=dark)
        page = watched.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
        paper = "rgb(16, 19, 23)" if dark else "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        watched.silent()


def test_the_theme_is_kept_from_page_to_page(site: Path, watch: Callable[..., Any]) -> None:
    page = watch((site / "index.html").as_uri()).page
    page.click("#theme")
    page.click("#theme")
    page.click("#leaderboard tbody a >> nth=0")
    page.wait_for_selector("#card")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"


def test_no_script_of_an_entry_runs(hostile: Path, watch: Callable[..., Any]) -> None:
    pages = [hostile / "index.html", hostile / "compare.html", *sorted((hostile / "trackers").iterdir())]
    assert len(pages) == 5
    for path in pages:
        watched = watch(path.as_uri())
        page = watched.page
        page.wait_for_timeout(100)
        assert page.evaluate("typeof window.hurt") == "undefined", path
        assert page.locator("[onerror], main img, main script").count() == 0, path
        assert "\u202e" not in page.inner_text("body") and page.evaluate("document.documentElement.scrollWidth") <= 1280
        watched.silent()
    text = (hostile / "index.html").read_text("utf-8")
    assert "&lt;img src=x onerror=hurt()&gt;" in text and "<img" not in text


def test_the_browser_refuses_other_scripts(site: Path, browser: Any) -> None:
    """Were markup to get through, the page's policy would still keep it from running."""
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    markup = '<img src=x onerror="window.hurt=1"><a id=k href="javascript:window.hurt=2">k</a>'
    page.evaluate("(text) => document.body.insertAdjacentHTML('beforeend', text)", markup)
    page.click("#k")
    page.wait_for_timeout(200)
    assert page.evaluate("typeof window.hurt") == "undefined"
    page.close()


@pytest.fixture(scope="module")
def axe() -> Any:
    module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    return module.Axe()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["index.html", "trackers/Alpha.html", "compare.html"])
def test_axe_finds_no_serious_fault(site: Path, watch: Callable[..., Any], axe: Any, name: str, dark: bool) -> None:
    page = watch((site / name).as_uri(), dark=dark).page
    found = axe.run(page).response["violations"]
    serious = [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
