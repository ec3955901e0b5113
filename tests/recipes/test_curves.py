"""A run's curves: what is read from its log, what the picture is."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
board = pytest.importorskip("torch.utils.tensorboard")

from click.testing import CliRunner  # noqa: E402
from curves import curves, read_scalars  # noqa: E402

from tnllt.errors import DataError  # noqa: E402


def log(folder: Path, first: int, last: int, base: float) -> None:
    writer = board.SummaryWriter(str(folder / "tensorboard"))
    for step in range(first, last):
        writer.add_scalar("train/loss", base + step, step)
        writer.add_scalar("train/iou", 0.5, step)
    writer.close()


def test_steps_logged_again_after_a_resume_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    log(tmp_path, 0, 6, 10.0)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)  # event files are ordered by the second in their names
    log(tmp_path, 4, 8, 20.0)
    loss = read_scalars(tmp_path / "tensorboard")["train/loss"]
    assert loss == [(0, 10.0), (1, 11.0), (2, 12.0), (3, 13.0), (4, 24.0), (5, 25.0), (6, 26.0), (7, 27.0)]


def test_picture(tmp_path: Path) -> None:
    log(tmp_path, 0, 6, 10.0)
    done = CliRunner().invoke(curves, [str(tmp_path), "--out", str(tmp_path / "out" / "a.svg")])
    assert done.exit_code == 0, done.output
    picture = (tmp_path / "out" / "a.svg").read_text()
    assert picture.count('id="axes_') == 2  # loss and IoU; nothing was validated


def test_folder_without_a_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no TensorBoard log"):
        read_scalars(tmp_path)
