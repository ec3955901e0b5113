"""The report in a real Chromium: silent, off the network, usable by mouse, keyboard, on a phone and in the dark."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from tests.report.conftest import arguments
from tnllt.cli.eval import cli
from tnllt.eval.report import write
from tnllt.eval.style import Style, rgb

pytestmark = pytest.mark.browser


def make_report(folder: Path, out: Path, *more: str) -> str:
    result = CliRunner().invoke(cli, ["report", *arguments(folder), "--out", str(out), *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return (out / "report.html").as_uri()


@pytest.fixture(scope="module")
def report(release: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_report(release, tmp_path_factory.mktemp("report"))


def names(page: Any) -> list[str]:
    return page.locator("#leaderboard tbody th .t").all_inner_texts()


def test_it_is_silent_and_complete(report: str, watch: Any) -> None:
    watched = watch(report)
    page = watched.page
    for section in (
        "leaderboard",
        "curves",
        "attributes",
        "matrix",
        "timeline",
        "pair",
        "speed",
        "hardest",
        "lint",
        "protocol",
    ):
        assert page.locator(f"#{section} h2").is_visible(), section
    assert page.locator("#curves polyline").count() == 4
    assert page.locator("#attributes .radar polygon[stroke]").count() == 4
    assert page.locator("#hardest img").count() == 16
    assert page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.locator("#leaderboard tfoot th").all_inner_texts() == ["Ceiling", "Floor"]
    assert "OSTrack" in page.locator("#leaderboard .runs").inner_text()
    watched.silent()
    assert watched.asked == [report] or all(u.startswith(("file:", "data:", "blob:")) for u in watched.asked)


def test_deflated_scores_are_shown_as_plain_ones(
    report: str, release: Path, tmp_path: Path, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_BYTES", 100_000)
    small = make_report(release, tmp_path)
    assert '{"deflate":' in (tmp_path / "report.html").read_text("utf-8")
    one, other = watch(report), watch(small)
    shown = [watched.page.inner_text("#matrix") for watched in (one, other)]
    assert shown[0] == shown[1] and re.search(r"0\.\d\d", shown[0])
    other.silent()


def test_sorting_by_mouse_and_keyboard(report: str, watch: Any) -> None:
    watched = watch(report)
    page = watched.page
    best = names(page)
    assert best[0] == "ReasoningTrack" and best[-1] == "SiamFC"
    page.click('th[data-key="success"] button')
    assert names(page) == best[::-1]
    assert page.get_attribute('th[data-key="success"]', "aria-sort") == "ascending"
    page.focus('th[data-key="name"] button')
    page.keyboard.press("Enter")
    assert names(page) == sorted(best)
    page.keyboard.press("Enter")
    assert names(page) == sorted(best, reverse=True)
    page.click('th[data-key="fps"] button')
    assert names(page)[0] == "SiamFC"
    watched.silent()


def test_choosing_what_is_shown(report: str, watch: Any) -> None:
    watched = watch(report)
    page = watched.page
    page.select_option("#metric", "precision")
    assert "Precision" in page.inner_text("#curves h2")
    assert page.get_attribute('th[data-key="precision"]', "class") == "num on"
    page.select_option("#metric", "success")
    before = page.get_attribute("#curves polyline >> nth=0", "points")
    page.select_option("#set", "3")
    assert page.get_attribute("#curves polyline >> nth=0", "points") != before
    page.select_option("#set", "0")
    page.uncheck("#intervals")
    assert page.locator("#leaderboard td small").count() == 0
    page.locator('#leaderboard input[data-show="0"]').uncheck()
    assert page.locator("#curves polyline").count() == 3
    assert not page.locator('#curves input[data-show="0"]').is_checked()
    watched.silent()


def test_keyboard_in_the_table_of_sequences_opens_the_timeline(report: str, watch: Any) -> None:
    watched = watch(report)
    page = watched.page
    page.focus("#matrix td[tabindex='0']")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[document.activeElement.dataset.r, document.activeElement.dataset.c]") == ["1", "1"]
    wanted = page.locator("#matrix tbody tr >> nth=1").locator("th").get_attribute("title")
    page.keyboard.press("Enter")
    assert page.locator("#pick option:checked").inner_text() == wanted
    page.focus("#seek")
    page.keyboard.press("ArrowRight")
    page.locator("#timeline .where").get_by_text("frame 2", exact=True).wait_for()
    assert "It came back brighter" in page.inner_text("#timeline .changes")
    page.click("#timeline .changes button >> nth=0")
    page.locator("#timeline .where").get_by_text("frame 30", exact=True).wait_for()
    watched.silent()


def test_the_timeline_draws_what_was_measured(report: str, watch: Any) -> None:
    """The canvas holds ink in every shown tracker's colour, and shade where the target is away."""
    watched = watch(report)
    page = watched.page
    ink = """() => {
        const c = document.querySelector('#stage');
        const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return pixels.filter((v, i) => i % 4 === 3 && v > 0).length / (pixels.length / 4);
    }"""
    whole = page.evaluate(ink)
    assert whole > 0.08  # eight of sixty frames are shaded
    for t in range(4):
        page.locator(f'#timeline input[data-show="{t}"]').uncheck()
    assert page.evaluate(ink) < whole
    watched.said = [
        text for text in watched.said if "willReadFrequently" not in text
    ]  # the test reads pixels, not the page
    watched.silent()


def test_csv_downloads_hold_the_numbers(report: str, watch: Any, release: Path, tmp_path: Path) -> None:
    watched = watch(report)
    with watched.page.expect_download() as download:
        watched.page.click('button[data-csv="leaderboard.csv"]')
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    scores = embedded(Path(report.removeprefix("file://")).read_text("utf-8"), "scores")
    assert len(rows) == 5
    assert rows[0][1] == "sequences" and {row[1] for row in rows[1:]} == {"All sequences"}
    column = rows[0].index("success")
    for row in rows[1:]:
        assert float(row[column]) == scores["scores"][row[0]]["success"]
        assert [float(v) for v in row[column + 1 : column + 3]] == scores["intervals"]["trackers"][row[0]]["success"]
    watched.silent()


def test_benchmarks_are_tabs_of_one_file(release: Path, watch: Any, tmp_path: Path) -> None:
    place = f'dataset = "tnllt"\nroot = "{release / "data"}"\nresults = "{release / "results"}"\n'
    parts = [f'[[benchmark]]\ntitle = "{t}"\n{place}trackers = "{n}"\n' for t, n in (("A & B", "all"), ("C", "SiamFC"))]
    (tmp_path / "paper.toml").write_text("\n".join(parts))
    given = ["report", "--benchmarks", str(tmp_path / "paper.toml"), "--out", str(tmp_path)]
    result = CliRunner().invoke(cli, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    watched = watch((tmp_path / "report.html").as_uri())
    page = watched.page
    assert page.locator("[role=tab]").all_inner_texts() == ["A & B", "C"]
    shown = page.frame_locator("iframe >> nth=0")
    shown.locator("html[data-ready=yes]").wait_for()
    trackers = shown.locator("#leaderboard .board tbody th .t").all_inner_texts()
    assert len(trackers) == 4 and page.locator("iframe").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    other = page.frame_locator("iframe >> nth=1")
    other.locator("html[data-ready=yes]").wait_for()
    assert other.locator("#leaderboard .board tbody tr").count() == 1
    # The one tracker keeps the colour that it has beside the others.
    mine = other.locator("#curves polyline").evaluate("(line) => getComputedStyle(line).stroke")
    assert mine == "rgb({}, {}, {})".format(*rgb(Style().looks(trackers)["SiamFC"].colour))
    watched.silent()


@pytest.mark.parametrize("dark", [False, True])
def test_phone(report: str, watch: Any, dark: bool) -> None:
    watched = watch(report, width=375, height=720, dark=dark)
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(16, 19, 23)" if dark else "rgb(255, 255, 255)"
    )
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"
    watched.silent()


def test_text_stands_out_from_its_background(report: str, watch: Any) -> None:
    """WCAG AA, 4.5 to 1, for ink and muted text in both themes; 3 to 1 for the lines of charts."""
    for dark in (False, True):
        page = watch(report, dark=dark).page
        read = "(n) => getComputedStyle(document.documentElement).getPropertyValue(n).trim()"
        paper = page.evaluate(read, "--paper")
        for name in ("--ink", "--muted", "--accent", "--bad", "--good"):
            assert contrast(page.evaluate(read, name), paper) >= 4.5, (name, dark)
        for i in range(7):
            assert contrast(page.evaluate(read, f"--c{i}"), paper) >= 3.0, (i, dark)


def contrast(one: str, two: str) -> float:
    light = sorted(luminance(c) for c in (one, two))
    return (light[1] + 0.05) / (light[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_hostile_names_do_no_harm(hostile: Path, watch: Any, tmp_path: Path) -> None:
    address = make_report(hostile, tmp_path)
    watched = watch(address)
    page = watched.page
    assert page.evaluate("typeof window.hurt") == "undefined"
    assert page.locator("img[onerror], [onerror]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert "\u202e" not in page.inner_text("body")
    assert "<img src=x onerror=hurt()>" in names(page)
    for button in page.locator("button[data-csv]").all():
        with page.expect_download() as download:
            button.click()
        text = Path(download.value.path()).read_text("utf-8-sig")
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        # Some readers drop blanks, control characters and invisible marks before they look for a formula.
        bare = [
            re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]|[\s\x00-\x1f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", "", c)
            for c in cells
        ]
        assert not [c for c in bare if re.match(r"[=+@\uff1d\uff0b\uff20]", c)], "a spreadsheet would run this"
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e]", text.replace("\r\n", "\n"))
    watched.silent()


def test_long_names_do_not_widen_the_page(report: str, watch: Any, tmp_path: Path) -> None:
    text = Path(unquote(urlsplit(report).path)).read_text("utf-8")
    data = text.index('id="data"')
    page = tmp_path / "long.html"
    page.write_text(text[:data] + re.sub(r'("name":"[^"]+)"', rf'\1{"_a_long_name" * 5}"', text[data:]), "utf-8")
    opened = watch(page.as_uri()).page
    assert "_a_long_name" in opened.inner_text("#pair h3")
    for width in (1200, 1000, 375):
        opened.set_viewport_size({"width": width, "height": 900})
        assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_the_browser_refuses_other_scripts(report: str, browser: Any, tmp_path: Path) -> None:
    """Were markup to get through, the page's policy would still keep it from running."""
    page = browser.new_page()
    page.goto(report)
    markup = '<img src=x onerror="window.hurt=1"><a id=k href="javascript:window.hurt=2">k</a>'
    page.evaluate("(text) => document.body.insertAdjacentHTML('beforeend', text)", markup)
    page.click("#k")
    page.wait_for_timeout(200)
    assert page.evaluate("typeof window.hurt") == "undefined"
    page.close()


def embedded(page: str, key: str) -> Any:
    match = re.search(rf'<script type="application/json" id="{key}">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def test_real_trackers_on_lasot(shared: Path, watch: Any, tmp_path: Path) -> None:
    lasot = shared / "data" / "lasot"
    places = ["--dataset", "lasot", "--annos", str(lasot / "annos"), "--results", str(lasot / "results")]
    result = CliRunner().invoke(cli, ["report", *places, "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    file = tmp_path / "report.html"
    assert file.stat().st_size < 8_000_000
    expected = json.loads((lasot / "expected_scores.json").read_text())
    scores = embedded(file.read_text("utf-8"), "scores")["scores"]
    for tracker, own in expected.items():
        assert scores[tracker]["success"] == pytest.approx(own["success_auc"], abs=1e-12)
    watched = watch(file.as_uri())
    page = watched.page
    assert names(page) == ["DiMP50", "ATOM", "SiamFC"]
    assert page.locator("#matrix tbody tr").count() == 280
    assert "DiMP50 wins 164 and loses 116 of 280" in page.inner_text("#pair .verdict")
    watched.silent()


def test_a_frame_stands_beside_the_slider(report: str, watch: Any) -> None:
    watched = watch(report)
    page = watched.page
    image = page.locator("#timeline figure img")
    assert (image.get_attribute("src") or "").startswith("data:image/jpeg")
    seen = set()
    for at in (0, 20, 40, 59):
        page.locator("#seek").fill(str(at))
        page.wait_for_function(
            "at => document.querySelector('#timeline .where').textContent === `frame ${at + 1}`", arg=at
        )
        frame = int(re.match(r"Frame (\d+), the nearest", page.inner_text("#timeline figcaption"))[1])  # type: ignore[index]
        assert abs(frame - 1 - at) <= 3, "24 frames of 60 are kept"
        seen.add(image.get_attribute("src"))
    assert len(seen) == 4 and image.evaluate("(i) => i.naturalWidth") > 100
    watched.silent()
