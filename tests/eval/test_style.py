"""The style record: looks follow from names, files override them, faults are named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tnllt.config import LocationConfig
from tnllt.errors import DataError, UsageError
from tnllt.eval.style import COLOURS, DASHES, Style, load_style

NAMES = [f"Tracker{k:02d}" for k in range(21)]


def test_a_look_does_not_depend_on_rank_or_on_which_trackers_are_drawn():
    whole = Style().looks(NAMES)
    assert Style().looks(reversed(NAMES)) == whole
    assert Style().looks(["Tracker17"], among=NAMES) == {"Tracker17": whole["Tracker17"]}


def test_twenty_one_looks_differ_and_the_first_seven_are_solid():
    looks = list(Style().looks(NAMES).values())
    assert len({(look.colour, look.dash) for look in looks}) == 21
    assert [look.dash for look in looks[:7]] == [()] * 7 and looks[7].dash
    many = Style().looks(f"t{k:03d}" for k in range(len(COLOURS) * len(DASHES)))
    assert len({(look.colour, look.dash) for look in many.values()}) == len(many)


def test_an_order_takes_the_first_colours():
    style = Style(order=("Tracker20", "Tracker03"))
    looks = style.looks(NAMES)
    assert looks["Tracker20"].colour == COLOURS[0] and looks["Tracker03"].colour == COLOURS[1]
    assert style.ordered(["Tracker01", "Tracker03", "Tracker20"]) == ["Tracker20", "Tracker03", "Tracker01"]


# Machado, Oliveira and Fernandes 2009, severity 1.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colours, matrix):
    """CIELAB of "#rrggbb" as somebody with this vision sees them."""
    srgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(matrix).T, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize("vision", VISION)
def test_colours_of_one_dash_are_far_apart_for_every_vision(vision):
    seen = lab(COLOURS, VISION[vision])
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 25


def test_a_file_overrides_names_colours_and_sizes(tmp_path, monkeypatch):
    text = 'size = [4, 3]\nfont = "serif"\n[style.trackers."A B"]\nname = "Ours"\ncolour = "#102030"\ndash = "dotted"\n'
    (tmp_path / "paper.toml").write_text("[style]\n" + text)
    style = load_style(tmp_path / "paper.toml")
    look = style.looks(["A B"])["A B"]
    assert (look.label, look.colour, look.dash, style.size) == ("Ours", "#102030", DASHES[2], (4, 3))
    monkeypatch.chdir(tmp_path)
    assert load_style() == Style()
    (tmp_path / "paper.toml").rename("tnllt.toml")
    assert load_style() == style


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[style]\nsizes = "column"', r"unknown field `sizes`; did you mean 'size'\?"),
        ('[style]\nsize = "colunm"', "size"),
        ("[style]\nsize = [0, 3]", "from 1 to 40 inches"),
        ('[style.trackers.A]\ncolour = "red;"', "#rrggbb"),
        ("[style.trackers.A]\ndash = [1, 2, 3]", "pairs of lengths"),
        ('[style.trackers.A]\nlabel = "B"', "unknown field `trackers.A.label`"),
        ('dataset = "lasot"', r"no table \[style\]"),
    ],
)
def test_faults_name_the_file_and_the_field(tmp_path, text, message):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_style(tmp_path / "s.toml")
    assert "s.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_style(tmp_path / "none.toml")


@pytest.mark.parametrize("text", ['reslts = "x"', '[datasets.lasot]\nanotations = "x"'])
def test_a_misspelt_key_of_the_configuration_file_is_named(tmp_path, text):
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(UsageError, match=r"t\.toml: unknown key `.*`; did you mean|known are root"):
        LocationConfig("lasot", config=tmp_path / "t.toml").locate()
