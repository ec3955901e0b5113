"""What `tnllt-run status` remembers of finished results: it is used where nothing changed, and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tnllt.cli.run import cli
from tnllt.config import cache_folder
from tnllt.results import done
from tnllt.results.store import ResultStore, StoredResult
from tnllt.sequence import Trajectory

ANSWER = Trajectory(np.ones((4, 4)), seconds=np.array([1, 0.1, 0.2, 0.3]), record={"costs": {"parameters": 5.0}})


class Watched:
    """A folder of two results; `look` gives the row of `status`, and which results were read for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.store, self.read = folder, ResultStore(folder), set[str]()
        for name in "ab":
            self.store.write("T", name, ANSWER)
        entry = ResultStore.entry

        def seen_entry(store: ResultStore, tracker: str, sequence: str, *more: Any) -> StoredResult:
            self.read.add(sequence)
            return entry(store, tracker, sequence, *more)

        monkeypatch.setenv("TNLLT_CACHE", str(folder / "cache"))
        monkeypatch.setattr(ResultStore, "entry", seen_entry)

    def look(self) -> tuple[dict[str, Any], str]:
        self.read.clear()
        told = CliRunner().invoke(cli, ["status", "--results", str(self.folder), "--format", "json"])
        return json.loads(told.stdout)[0], "".join(sorted(self.read))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(tmp_path, monkeypatch)


def test_only_what_changed_is_read_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(done, "SETTLED", -60.0)
    first, read = watched.look()
    assert read == "ab" and first["done"] == 2 and first["fps"] == pytest.approx(5)
    assert first["costs"]["latency_ms"] == pytest.approx([200, 300, 300], rel=0.005)
    assert first["costs"]["parameters"] == 5.0
    assert watched.look() == (first, ""), "the same row, and nothing read"
    # Other bytes of the same number, under the time that the file had.
    path = watched.store.path("T", "a")
    about, whole = path.stat(), path.read_bytes()
    path.write_bytes(whole.replace(b"1", b"2", 1))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    row, read = watched.look()
    assert row["done"] == 1 and "a" in row["damaged"] and "a" in read
    path.write_bytes(whole)
    assert watched.look()[0] == first
    # A record that says something else.
    watched.store.write("T", "b", Trajectory(ANSWER.boxes, seconds=np.array([1, 0.5, 0.5, 0.5])))
    row, read = watched.look()
    assert read == "b", "what is known of the other is enough for the card"
    assert row["fps"] == pytest.approx(6 / 2.1)
    assert row["costs"]["latency_ms"][0] == pytest.approx(200, rel=0.005)
    watched.store.forget("T", "b")
    assert watched.look()[0]["done"] == 1
    # A damaged cache counts as empty.
    (kept,) = cache_folder().glob("scores/*/*.json")
    kept.write_text(kept.read_text()[:-20])
    assert watched.look()[1] == "a"
    kept.write_text('{"head": [], "known": {"a": ["x"]}}')
    assert watched.look()[1] == "a" and watched.look()[1] == ""


def test_the_length_of_the_sequence_and_the_identity_count(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(done, "SETTLED", -60.0)
    folder = watched.store.tracker_folder("T")
    kept = done.DoneResults(folder, None)
    kept.put("a", 4, {"x": 1})
    kept.save()
    again = done.DoneResults(folder, None)
    assert again.get("a", 4) == {"x": 1} and again.get("a", 5) is None and again.get("b", 4) is None
    run = done.RunIdentity({"seed": 1}, {"a": "digest"})
    assert done.DoneResults(folder, run).get("a", 4) is None


def test_what_was_just_written_is_not_remembered(watched: Watched) -> None:
    assert watched.look()[1] == "ab" and watched.look()[1] == "ab"
