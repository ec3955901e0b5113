"""`make demo` makes, scores and draws something worth looking at."""

from __future__ import annotations

import numpy as np

from tnllt import demo
from tnllt.eval import evaluate


def test_the_example_is_deterministic_and_its_trackers_differ():
    sequences, again = demo.make_sequences(6, 200), demo.make_sequences(6, 200)
    assert all(np.array_equal(a.groundtruth, b.groundtruth) for a, b in zip(sequences, again, strict=True))
    assert any(not s.present.all() for s in sequences)
    scores = evaluate(sequences, demo.make_trajectories(sequences))
    assert scores.trackers[scores.ranking()[0]] == "careful" and scores.trackers[scores.ranking()[-1]] == "asleep"
    assert scores.has_longterm and scores.reference()["floor"] < scores.score().max() < scores.reference()["ceiling"]


def test_the_demo_leaves_what_it_says(tmp_path, capsys, monkeypatch):
    made = demo.make_sequences(3, 60)
    monkeypatch.setattr(demo, "make_sequences", lambda: made)
    written = demo.run(tmp_path)
    out = capsys.readouterr().out
    assert "careful" in out and "tnllt-eval --annos" in out
    for name in ("curves.png", "scores.json", "curves.npz", "success.csv"):
        assert tmp_path / "scores" / name in written and (tmp_path / "scores" / name).stat().st_size > 0
    assert len(list((tmp_path / "tracking_results").glob("*_tracking_result/*.txt"))) == 12
