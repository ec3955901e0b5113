"""What text passes on its way out: no secret, no formula, nothing that steers a terminal."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tnllt import text
from tnllt.files import read_toml, to_json, write_atomic
from tnllt.text import csv_cell, json_text, latex, markdown, one_line, printable, redact, register_secret, toml_text

KEY = "sk-a1/B2+c3=d4é"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(text, "_secrets", {})
    register_secret(KEY + "\n")
    register_secret("abc")  # too short to replace
    return KEY


@pytest.mark.parametrize(
    "written",
    [
        "Authorization: Bearer {key}",
        "Invalid header value b'Bearer {escaped}\\n'",
        "https://host/v1?key={url}&x=1",
        "Basic {basic}",
        "Basic {basic2}",
        '{{"key": "{key}"}}',
    ],
)
def test_a_secret_is_replaced_in_every_form(key: str, written: str) -> None:
    raw = key.encode()
    forms = {
        "key": key,
        "escaped": key.encode("unicode_escape").decode(),
        "url": quote(key, safe=""),
        "basic": base64.b64encode(b"user:" + raw).decode(),
        "basic2": base64.b64encode(b"me:" + raw + b"\n").decode(),
    }
    before = written.format(**forms)
    for leave in (redact, printable, one_line, csv_cell, markdown, latex, lambda t: to_json({t: [t]})):
        after = leave(before)
        assert "redacted" in after
        assert not any(form in after for form in forms.values()), after
        for piece in after.replace('"', " ").split():
            try:
                assert raw not in base64.b64decode(piece + "==", validate=True)
            except ValueError:
                continue
    assert redact("abc, nothing else") == "abc, nothing else"


def test_terminals_get_no_marks() -> None:
    bad = "a\x1b[2J\x9b1m\u202eb\rc\ud800\x00\u2028\n\td"
    assert printable(bad) == "a\\x1b[2J\\x9b1m\\u202eb\\rc\\ud800\\x00\\u2028\n\td"
    assert one_line("a\nb\tc") == "a\\nb\\tc"
    assert printable("Überall 中文 🎯") == "Überall 中文 🎯"


def test_json_stays_json_and_prints_nothing_odd() -> None:
    bad = {"a\x9b\u202e": ["\U000e0001\ud800\x00", float("nan"), float("inf"), -float("inf")]}
    whole = to_json(bad)
    assert whole.replace("\n", "").isprintable()
    assert json.loads(whole) == {"a\x9b\u202e": ["\U000e0001\ud800\x00", None, "Infinity", "-Infinity"]}
    assert json_text('"é"') == '"é"'


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r=1", "\x1b[m=HYPERLINK(1)", "\x1b[0;1m \x07=1", "\u200b=1",
             "\ufeff=1", "\uff1d1", "\x9b=1", "\x00=1"]
)  # fmt: skip
def test_no_cell_is_a_formula(cell: str) -> None:
    safe = csv_cell(cell)
    assert safe.startswith("'") and safe.isprintable()


def test_cells_that_are_no_formula_stay() -> None:
    assert [csv_cell(c) for c in ("ATOM", "a=b", "", "x-y")] == ["ATOM", "a=b", "", "x-y"]


def test_markdown_and_latex() -> None:
    assert markdown("<b>|a_b*") == r"&lt;b&gt;\|a\_b\*"
    assert latex(r"50% \a_b") == r"50\% \textbackslash{}a\_b"


def test_text_that_utf8_cannot_spell_is_written_escaped(tmp_path) -> None:
    write_atomic(tmp_path / "x", "a\ud800é")
    assert (tmp_path / "x").read_bytes() == "a\\ud800é".encode()


@pytest.mark.parametrize("said", ["é 漢", 'say "hi"\nroot = "/etc"', "a\\b", "\x00\x1b[31m\U000e0001\u202e", ""])
def test_a_string_of_toml_is_read_back(tmp_path: Path, said: str) -> None:
    write_atomic(tmp_path / "x.toml", f"x = {toml_text(said)}\n")
    assert read_toml(tmp_path / "x.toml") == {"x": said} and toml_text(said).isprintable()
    assert toml_text("a\udcff") == '"a?"'
