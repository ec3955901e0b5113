"""Baselines told other texts, in the miniature repository: each dialect gets them, and only code that reads differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnllt
from tests.baselines.conftest import Make
from tests.tracking.conftest import LENGTHS, results, write_dataset
from tnllt.errors import UsageError
from tnllt.results.store import ResultStore
from tnllt.tracking.tracker import Tracker

BOX = [100.0, 50.0, 30.25, 20.125]
CALL = {"constructor": ["params", "dataset"]}
READS = {"constructor": ["params", "dataset"], "config": {"TEST.USE_NLP.TNLLT": True}}
YAML = {
    "constructor": ["params", "yaml", "dataset"], "arguments": {"model": "{weights}"}, "dataset": "lasot",
    "params": {"vis_attn": 0},
}  # fmt: skip
#: Tracker of the miniature repository, its record's tables, and whether it reads what it is told.
DIALECTS: list[tuple[str, dict[str, Any], bool]] = [
    ("only_params", {"text": {"key": "init_text_description"}}, True),
    ("with_dataset", {"tracker": CALL, "text": {"key": "init_nlp"}}, False),
    ("with_dataset", {"tracker": READS, "text": {"key": "init_nlp"}}, True),
    ("with_dataset", {"tracker": READS, "text": {"key": "language"}}, True),
    ("with_yaml", {"tracker": YAML, "text": {"key": "class", "every_frame": True}}, True),
    ("positional", {"tracker": CALL, "text": {"positional": True}}, True),
]


def record_file(folder: Path, mini: Path, weights: Path, tracker: str, tables: dict[str, Any]) -> Path:
    """A user's TOML file for one of the miniature repository's trackers."""
    call = {"name": tracker, "yaml": "base", "parameter": "mini", "experiments": "mini", "constructor": ["params"]}
    table = {
        "name": "mini", "title": "Mini", "modes": ["BB", "NL+BB"], "licence": "MIT", "citation": "",
        "repository": "https://example.org/mini",
    }  # fmt: skip
    without_torch = str(Path(__file__).parent / "without_torch")
    environment = {"upstream": "", "python": "3", "packages": [], "modules": ["numpy", "cv2"]}
    more = {
        "tracker": {**call, **tables.get("tracker", {})},
        "text": tables["text"],
        "checkpoint": {"path": "x.pth.tar", "source": "from these tests"},
        "environment": {**environment, "variables": {"PYTHONPATH": without_torch}},
        "options": {"repo": str(mini), "python": sys.executable, "weights": str(weights), "device": "cpu"},
    }
    path = folder / "mini.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    for name, values in more.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences with descriptions of different lengths: the miniature trackers read no more of a text."""
    folder = write_dataset(tmp_path_factory.mktemp("tiny"), dict.fromkeys(list(LENGTHS)[:3], 4))
    for number, name in enumerate(list(LENGTHS)[:3]):
        (folder / name / "language.txt").write_text("red" + "dish" * number + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("tracker", "tables", "reads"), DIALECTS)
def test_variants_differ_where_the_code_reads(
    mini: Path, weights: Path, tiny: Path, tmp_path: Path, tracker: str, tables: dict[str, Any], reads: bool
) -> None:
    record = record_file(tmp_path, mini, weights, tracker, tables)
    run = tnllt.run(str(record), tiny, results=tmp_path / "r", text="own,none,shuffled")
    assert not run.failed, run.failed
    own, none, shuffled = (results(tmp_path / "r", f"mini@text={text}") for text in ("own", "none", "shuffled"))
    assert len(own) == 3
    if reads:
        assert all(own[name] != none[name] and own[name] != shuffled[name] for name in own)
    else:
        assert own == none == shuffled
    store = ResultStore(tmp_path / "r")
    given = store.record("mini@text=shuffled", "a")
    assert given is not None and given.text["texts"][0][1] in ("reddish", "reddishdish")
    shift = len(given.text["texts"][0][1]) if reads else 0
    start = store.read("mini@text=shuffled", "a").boxes
    assert start[3, 0] == start[0, 0] + 3 * (1 + shift)


@pytest.mark.parametrize("dialect", [DIALECTS[4], DIALECTS[5]])
def test_another_text_on_the_way(make: Make, image: np.ndarray, dialect: tuple[str, dict[str, Any], bool]) -> None:
    built = make(*dialect[:2])
    built.initialize(image, BOX, "ab")
    built.track(image)
    built.describe("abcd")
    assert built.track(image).box[0] == BOX[0] + 1 + 2 + 1 + 4
    built.finish()


def test_where_the_text_goes_in_at_the_start_alone_it_cannot_change(make: Make) -> None:
    assert type(make("only_params")).describe is Tracker.describe
    with pytest.raises(NotImplementedError):
        make("only_params").describe("b")


def test_texts_over_time_are_refused_there(mini: Path, weights: Path, tiny: Path, tmp_path: Path) -> None:
    record = record_file(tmp_path, mini, weights, *DIALECTS[0][:2])
    (tmp_path / "t.toml").write_text("".join(f'{name} = {{0 = "x", 2 = "y"}}\n' for name in "abc"))
    with pytest.raises(UsageError, match="cannot be told another text"):
        tnllt.run(str(record), tiny, results=tmp_path / "r", text=str(tmp_path / "t.toml"))
