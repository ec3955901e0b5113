"""The examples of docs/running.md run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tracking.conftest import results, tnllt_run

DOCS = Path(__file__).resolve().parents[2] / "docs" / "running.md"


def blocks() -> list[str]:
    return re.findall(r"```python[^\n]*\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tracker_in_ten_lines(data: Path, tmp_path: Path) -> None:
    example = blocks()[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10, "the heading says ten"
    (tmp_path / "stay.py").write_text(example)
    words = (f"{tmp_path / 'stay.py'}:Stay", "-d", data, "--results", tmp_path, "--set", "drift=0.5", "-s", "c")
    done = tnllt_run(*words)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path, "Stay")["c"].splitlines()[:3] == [
        b"10.0000,12.0000,9.0000,8.0000",
        b"10.5000,12.0000,9.0000,8.0000",
        b"11.0000,12.0000,9.0000,8.0000",
    ]


def test_the_other_examples(data: Path, tmp_path: Path) -> None:
    modes, one_source, from_python = blocks()[1:]
    exec(modes, {})
    images = repr(str(data / "c" / "imgs"))
    exec(one_source.replace("track(0,", f"track({images},").replace("NanoTrack", "still"), {})
    exec(from_python.replace('"runs/demo"', repr(str(tmp_path))).replace('"demo"', repr(str(data))), {})
    assert len(results(tmp_path, "still")) == 5


COMMANDS = (("still", "--help"), ("list", "--help"), ("check", "--help"), ("retry", "--help"), ("--help",))


def test_every_flag_in_the_text_exists() -> None:
    shown = "".join(tnllt_run(*words).stdout for words in COMMANDS)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOCS.read_text(encoding="utf-8")))
    others = {"--trackers", "--metric", "--array", "--head", "--address"}  # of tnllt-eval, Slurm and Ray
    assert flags - others <= set(re.findall(r"--[a-z-]+", shown))


def test_check_says_in_words_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from tnllt.tracking import Tracker\n"
        "class Carries(Tracker):\n"
        "    count = 0\n"
        "    def initialize(self, image, box=None, language=None):\n"
        "        self.box = list(box)\n"
        "        self.count += 1\n"
        "    def track(self, image):\n"
        "        return [self.box[0] + self.count, *self.box[1:]]\n"
        "class Corners(Carries):\n"
        "    def track(self, image):\n"
        "        x, y, w, h = self.box\n"
        "        return [x, y, x + w, y + h]\n"
        "class Raises(Carries):\n"
        "    def track(self, image):\n"
        "        raise ValueError('never learnt it')\n"
        "class Flat(Carries):\n"
        "    def track(self, image):\n"
        "        return [500, 500, 0, 5]\n"
    )
    expected = {
        "Carries": ["answers differently when the sequences come in another order"],
        "Corners": ["seems to answer corners x1, y1, x2, y2"],
        "Raises": ["fails: frame 2: ValueError: never learnt it"],
        "Flat": ["boxes without area in 39 frames, the first in frame 2: 500,500,0,5", "wholly outside the 320 x 240"],
    }
    for name, sentences in expected.items():
        told = tnllt_run("check", f"{tmp_path / 'wrong.py'}:{name}")
        assert told.returncode == 1 and "error" in told.stdout, told.stdout + told.stderr
        assert all(sentence in told.stdout for sentence in sentences), told.stdout
        assert "cannot be started from a language description alone" in told.stdout
    good = tnllt_run("check", "groundtruth", "--keep", tmp_path / "kept")
    assert good.returncode == 0 and "nothing wrong" in good.stdout
    assert len(list((tmp_path / "kept").glob("*/imgs"))) == 5
