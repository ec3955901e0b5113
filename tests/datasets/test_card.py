"""The card and the contact sheet, and the commands that write them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from trees import rows, tnllt_sequence, write

from tnllt import TNLLTDataset, open_dataset
from tnllt.cli.data import cli
from tnllt.datasets.card import contact_sheet, make_card
from tnllt.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tnllt_sequence(tmp_path / "tree" / "a", 6, absent=(3, 4), language="a $5 price_tag, or ^two")
    tnllt_sequence(tmp_path / "tree" / "b", 4, language="the red car on the road")
    return tmp_path / "tree"


def test_card(tree: Path):
    card = make_card(TNLLTDataset(tree, split=None))
    assert (card.sequences, card.with_frames, card.frames) == (2, 2, 10)
    assert (card.shortest, card.median, card.longest) == (4, 5.0, 6)
    assert card.absent_fraction == pytest.approx(0.2) and card.with_absence == 1
    assert card.with_language == 2 and card.words == 5.5
    assert card.resolutions == {"32x24": 2}
    assert card.attributes["ROT"] == (2, 10) and card.attributes["CM"] == (0, 0)
    assert card.side == pytest.approx((30**0.5,) * 3)


def test_card_of_annotations_alone(tmp_path: Path):
    write(tmp_path / "x.txt", *rows(3))
    card = make_card(open_dataset("tnllt", annos=tmp_path))
    assert card.absent_fraction is None and card.words is None and not card.resolutions and not card.attributes


def test_contact_sheet_shows_the_frames_and_their_boxes(tree: Path, tmp_path: Path):
    assert contact_sheet(TNLLTDataset(tree, split=None), tmp_path / "sheet.png") == 2
    image = cv2.imread(str(tmp_path / "sheet.png"))
    blue = (np.abs(image.astype(int) - (200, 0, 40)).max(axis=2) < 30).mean()
    yellow = (np.abs(image.astype(int) - (0, 225, 255)).max(axis=2) < 40).sum()
    assert blue > 0.3 and yellow > 200, "pictures and boxes are not to be seen"


def test_a_broken_frame_is_shown_as_such(tree: Path, tmp_path: Path):
    for path in (tree / "b" / "imgs").iterdir():
        path.write_bytes(b"x")
    assert contact_sheet(TNLLTDataset(tree, split=None), tmp_path / "sheet.png") == 2


def test_pictures_need_frames(tmp_path: Path):
    write(tmp_path / "x.txt", *rows(3))
    with pytest.raises(DataError, match="needs frames"):
        contact_sheet(open_dataset("tnllt", annos=tmp_path), tmp_path / "s.png")


def test_commands(tree: Path, tmp_path: Path):
    run = CliRunner().invoke
    text = run(cli, ["info", str(tree), "--sheet", str(tmp_path / "s.png")], standalone_mode=False)
    assert text.exit_code == 0 and "20.00% of frames, in 1 sequences" in text.output
    assert (tmp_path / "s.png").is_file()
    data = json.loads(run(cli, ["info", str(tree), "--format", "json"], standalone_mode=False).stdout)
    assert data["frames"] == 10 and data["attributes"]["ROT"] == [2, 10]
    out = run(cli, ["convert", str(tree), str(tmp_path / "o"), "--images", "jpeg"], standalone_mode=False)
    assert out.exit_code == 0 and "2 sequences, 10 frames written" in out.output and "loss: PSNR" in out.output
    assert TNLLTDataset(tmp_path / "o").names == ["a", "b"]


def test_help_needs_no_heavy_import():
    import subprocess
    import sys

    code = (
        "import sys; from tnllt.cli.data import cli; cli(['--help'], standalone_mode=False); "
        "assert not {'cv2', 'numpy', 'torch', 'matplotlib', 'pandas'} & set(sys.modules), sorted(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
