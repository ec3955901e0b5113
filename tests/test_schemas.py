"""Files of every schema number that was ever written are still read; the files in `data/schemas` stay as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import TnlltError
from tnllt.eval.evaluate import evaluate
from tnllt.eval.gates import Gates, read_baseline
from tnllt.eval.scores import Scores
from tnllt.results.entry import read_entry
from tnllt.results.pack import open_pack
from tnllt.results.records import read_record
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Sequence

KEPT = Path(__file__).parent / "data" / "schemas"


def scores(shift: float = 1.0) -> Scores:
    truth = np.tile(np.array([[1.0, 2, 30, 40]]), (5, 1))
    return evaluate([Sequence("s", Annotation(truth))], {"T": {"s": truth + shift}})


def test_run_records() -> None:
    record = read_record(KEPT / "run-1.json")
    assert (record.tracker, record.sequence, record.status, record.frames) == ("T", "s", "done", 5)
    assert record.confidence == [1.0, 0.9, 0.8, None, 0.6] and record.absent == [False, False, False, True, False]
    assert record.fps() == 4.0 and record.options == {"a": 1}
    assert record.description_changes == [{"frame": 3, "description": "the red car"}]


def test_newer_traces() -> None:
    pytest.importorskip("torch")
    from tnllt.reasoningtrack.reasoners.trace import read_refreshes

    ((_, event),) = read_refreshes(KEPT / "trace-2.jsonl")
    assert event.decision == "keep" and event.own == "the car" and event.update is False


def test_traces(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tnllt.reasoningtrack.reasoners.trace import read_refreshes

    (_, first), (row, second) = read_refreshes(KEPT / "trace-1.jsonl")
    assert first.answer == "the red car" and first.seconds == 1.25
    assert row == 2 and second.error == {"kind": "timeout", "message": "no reply within 60 s"}
    store = ResultStore(tmp_path)
    store.tracker_folder("T").mkdir()
    store.path("T", "s", ".trace.jsonl").write_bytes((KEPT / "trace-1.jsonl").read_bytes())
    assert [event["event"] for event in store.trace("T", "s")] == ["refresh", "refresh", "description_cut"]


@pytest.mark.parametrize("name", ["baseline-1.json", "scores-1.json"])
def test_scores(name: str) -> None:
    before = read_baseline(KEPT / name)
    Gates({}, before).check(scores())
    with pytest.raises(TnlltError, match="T: success fell by"):
        Gates({}, before, 0.01).check(scores(shift=9.0))


def test_packs() -> None:
    manifest, members = open_pack(KEPT / "pack-1.zip")
    assert manifest.tracker == "T" and manifest.dataset["frames"] == 5
    assert members["T_tracking_result/s.txt"].startswith(b"2.0000,3.0000,31.0000,41.0000\n")


def _refreshes(path: Path) -> object:
    pytest.importorskip("torch")
    from tnllt.reasoningtrack.reasoners.trace import read_refreshes

    return list(read_refreshes(path))


def test_entries(tmp_path: Path) -> None:
    shutil.copy(KEPT / "entry-1.toml", tmp_path / "entry.toml")
    entry = read_entry(tmp_path)
    assert (entry.tracker, entry.name, entry.mode) == ("OSTrack", 'OSTrack, "384"', "NL+BB")
    assert entry.claims == {"tnllt": {"success": 0.523}} and entry.reproduced_by == "https://example.org/again"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run-1.json", read_record),
        ("trace-2.jsonl", _refreshes),
        ("baseline-1.json", read_baseline),
        ("scores-1.json", read_baseline),
    ],
)
@pytest.mark.parametrize(("number", "words"), [("9", "reads up to .*; update tnllt"), ("x", "none of tnllt's files")])
def test_numbers_that_are_not_known_yet(
    tmp_path: Path, name: str, read: Callable[[Path], object], number: str, words: str
) -> None:
    path = tmp_path / name
    text = (KEPT / name).read_text("utf-8")
    schema = json.loads(text.splitlines()[0])["schema"] if name.endswith("l") else json.loads(text)["schema"]
    path.write_text(text.replace(schema, schema[:-1] + number), "utf-8")
    with pytest.raises(TnlltError, match=rf"{name}.*{words}"):
        read(path)
