"""Findings of every checker look alike: text, JSON, annotations of GitHub, and one exit code."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tnllt.cli.common import prints_findings
from tnllt.findings import Checker, Findings, Kind

CHECKER = Checker(
    "demo",
    [Kind("bad", "error", "a bad thing", "mend it"), Kind("odd", "warning", "an odd thing"), Kind("fyi", "note", "t")],
)


def findings(*codes: str) -> Findings:
    found = [CHECKER.finding(c, f"text {i}", subject="T\x1b[m", sequence=f"s{i}") for i, c in enumerate(codes)]
    return Findings(CHECKER, CHECKER.sorted(found), "1 tracker", {"trackers": ["T"]})


def test_groups_name_the_first_of_a_kind() -> None:
    text = findings("fyi", "odd", *["bad"] * 5).render()
    assert text.splitlines() == [
        "error bad: T\\x1b[m: a bad thing (5); mend it",
        "    s2: text 2", "    s3: text 3", "    s4: text 4", "    and 2 more (--verbose names them)",
        "warning odd: T\\x1b[m: an odd thing (1)", "    s1: text 1", "note fyi: T\\x1b[m: t (1)",
        "1 tracker: 5 errors, 1 warning, 1 note",
    ]  # fmt: skip
    whole = Findings(CHECKER, [CHECKER.finding("fyi", "1 = present")], "data")
    assert whole.render().splitlines()[:2] == ["note fyi: t (1)", "    1 = present"]
    assert "    s6: text 6" in findings(*["bad"] * 7).render(verbose=True)
    assert findings().render() == "1 tracker: nothing wrong"


def test_json_and_exit_codes() -> None:
    table = json.loads(findings("odd").render("json"))
    assert table["schema"] == "tnllt.demo/1" and table["trackers"] == ["T"]
    assert "details" not in table["findings"][0]
    assert table["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert table["findings"][0]["code"] == "odd" and table["findings"][0]["subject"] == "T\x1b[m"
    assert [findings(c).exit_code(s) for c in ("bad", "odd", "fyi") for s in (False, True)] == [1, 1, 0, 1, 0, 0]


def test_annotations_escape_what_would_end_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = {"file": str(tmp_path / "a,b:c%.txt"), "row": 3}
    found = [CHECKER.finding("bad", f"{place['file']}, row 3: two\nlines::error", **place), CHECKER.finding("fyi", "x")]
    text = Findings(CHECKER, found, "").render("github")
    assert text == "::error file=a%2Cb%3Ac%25.txt,line=3,title=bad::two%0Alines::error; mend it"


def test_a_checklist_has_a_line_for_each() -> None:
    found = [CHECKER.finding("odd", "it is there", severity="ok"), CHECKER.finding("bad", "it is not")]
    text = Findings(CHECKER, found, "baseline", checklist=True).render()
    assert text.splitlines() == [
        "ok       odd  it is there", "error    bad  it is not", "              -> mend it", "baseline: 1 error",
    ]  # fmt: skip


def test_the_command_prints_writes_and_ends_with_the_exit_code(tmp_path: Path) -> None:
    @click.command()
    @prints_findings(f"{__name__}:CHECKER")
    def check() -> Findings:
        return findings("odd")

    run = CliRunner().invoke
    assert "1 warning" in run(check, []).output
    assert run(check, ["--strict"], standalone_mode=False).return_value == 1
    assert run(check, ["-o", str(tmp_path / "x"), "--format", "json"]).output == ""
    assert json.loads((tmp_path / "x").read_text())["schema"] == "tnllt.demo/1"
    assert run(check, ["--codes"]).output.splitlines()[0] == "bad error    a bad thing: mend it"
    started = time.process_time()
    assert len(findings(*["bad"] * 20_000).render("json")) > 1000 and time.process_time() - started < 10
