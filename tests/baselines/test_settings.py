"""Settings of upstream's configuration, seeds and threads: what is asked for happens in the worker, or is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.files import read_toml
from tnllt.tracking.baselines import BaselineError, BaselineRecord
from tnllt.tracking.baselines.bridge import BaselineTracker

Make = Callable[..., BaselineTracker]
BOX = [100.0, 50.0, 30.25, 20.125]


def boxes(tracker: BaselineTracker, image: Any, frames: int = 3) -> list[list[float]]:
    tracker.initialize(image, BOX, "")
    return [[float(v) for v in np.asarray(tracker.track(image).box)] for _ in range(frames)]


def test_settings_that_upstream_copies_change_boxes(make: Make, image: Any) -> None:
    """`parameters()` copies TEST.SEARCH_FACTOR into its object: a setting applied after that does nothing."""
    as_it_is = boxes(make(), image)
    wider = boxes(make(cfg="TEST.SEARCH_FACTOR=4.5"), image)
    assert [b[0] - a[0] for a, b in zip(as_it_is, wider, strict=True)] == [0.5, 1.0, 1.5]
    record = {"tracker": {"config": {"TEST.SEARCH_FACTOR": 4.5}}}
    assert boxes(make(tables=record), image) == wider
    assert boxes(make(tables=record, cfg="TEST.SEARCH_FACTOR=4.0"), image) == as_it_is


def test_settings_hold_for_every_sequence(make: Make, image: Any) -> None:
    tracker = make(cfg="TEST.SEARCH_FACTOR=4.5,TEST.STEP=2")
    assert boxes(tracker, image) == boxes(tracker, image)


def test_settings_come_after_the_users_yaml(make: Make, image: Any, mini: Path, tmp_path: Path) -> None:
    table = json.loads((mini / "experiments/mini/base.yaml").read_text())
    table["TEST"].update(STEP=7.0, SEARCH_FACTOR=5.0)
    own = tmp_path / "mine.yaml"
    own.write_text(json.dumps(table))
    assert boxes(make(yaml=str(own)), image, 1)[0][0] == BOX[0] + 8.0
    assert boxes(make(yaml=str(own), cfg="TEST.STEP=2"), image, 1)[0][0] == BOX[0] + 3.0


@pytest.mark.parametrize(
    ("cfg", "reason"),
    [
        ("TEST.SERCH_FACTOR=4.5", r"has no TEST\.SERCH_FACTOR; did you mean TEST\.SEARCH_FACTOR\?"),
        ("TSET.SEARCH_FACTOR=4.5", r"has no TSET\.SEARCH_FACTOR; did you mean TEST\.SEARCH_FACTOR\?"),
        ("TEST.WINDOW=true", r"has no TEST\.WINDOW"),
        ("TEST.STEP.MORE=1", r"has no TEST\.STEP\.MORE"),
        ("TEST.QQQ=1", r"has no TEST\.QQQ; there are: TEST\.EPOCH, "),
        ("TEST.SEARCH_FACTOR=wide", r"TEST\.SEARCH_FACTOR must be a number, not 'wide'"),
        ("TEST.USE_NLP=true", r"TEST\.USE_NLP must be a table of settings, not True"),
        (
            "TEST.SEARCH_SIZE=384",
            r"TEST\.SEARCH_SIZE=384 contradicts DATA\.SEARCH\.SIZE=256, the size",
        ),
    ],
)
def test_settings_that_cannot_hold_are_refused(make: Make, cfg: str, reason: str) -> None:
    with pytest.raises(BaselineError, match=f"mini: start failed: cfg: .*{reason}"):
        make(cfg=cfg)


def test_a_misspelled_setting_of_a_record_is_refused(make: Make) -> None:
    with pytest.raises(BaselineError, match=r"did you mean TEST\.SEARCH_FACTOR"):
        make(tables={"tracker": {"config": {"TEST.SEARCH_FACTR": 4.5}}})


def test_a_size_that_is_set_whole_is_applied_whole(make: Make, image: Any) -> None:
    assert boxes(make(cfg="TEST.SEARCH_SIZE=384,DATA.SEARCH.SIZE=384"), image) == boxes(make(), image)


def test_a_clone_without_that_configuration_takes_no_settings(make: Make, mini: Path, tmp_path: Path) -> None:
    repo = shutil.copytree(mini, tmp_path / "clone")
    (repo / "lib/test/parameter/bare.py").write_text("def parameters(yaml_name):\n    return None\n")
    with pytest.raises(BaselineError, match="has no cfg and update_config_from_file: leave cfg and yaml out"):
        make(tables={"tracker": {"parameter": "bare"}}, repo=repo, cfg="TEST.STEP=2")


def test_the_seed_reaches_the_worker(make: Make, image: Any) -> None:
    tracker = make(cfg="TEST.FAULT=random")
    tracker.run_seed = 3
    first = boxes(tracker, image)
    other = boxes(tracker, image)
    tracker.run_seed = 4
    third = boxes(tracker, image)
    assert first == other, "a sequence does not depend on the one before"
    assert first[0][0] != third[0][0], "another seed, another box"


def test_a_runs_seed_reaches_the_worker(make: Make, image: Any) -> None:
    from tnllt.datasets.frames import ArrayFrames
    from tnllt.sequence import Annotation, Sequence
    from tnllt.tracking.loop import run_sequence

    sequence = Sequence("s", Annotation(np.tile(BOX, (3, 1))), ArrayFrames([image] * 3))
    tracker = make(cfg="TEST.FAULT=random")
    tracks = [run_sequence(tracker, sequence, seed=seed).boxes.tolist() for seed in (1, 1, 2)]
    assert tracks[0] == tracks[1] != tracks[2]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_reach_opencv(make: Make, image: Any, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert boxes(make(cfg="TEST.FAULT=threads"), image, 1)[0][2] == float(threads)


@pytest.mark.parametrize("strict", [True, False])
def test_weights_that_do_not_fit_are_named_once(make: Make, tmp_path: Path, strict: bool) -> None:
    """torch's own message names every tensor, and the traceback repeated it."""
    torch = pytest.importorskip("torch")
    file = tmp_path / "other.pth.tar"
    names = {f"layer{i}.weight": torch.zeros(2) for i in range(300)}
    torch.save({"net": {**names, **({"move.weight": torch.zeros(3, 3)} if strict else {})}}, file)
    with pytest.raises(BaselineError) as caught:
        make("network", {"tracker": {"constructor": ["params", "dataset"]}}, weights=file)
    text = str(caught.value)
    assert len(text) < 1500 and text.count("layer0.weight") == 1, text
    assert ("1 of another shape (size mismatch for move.weight" if strict else "no tensor of the checkpoint") in text


def test_identity_is_by_content(
    record_of: Callable[..., BaselineRecord], mini: Path, weights: Path, tmp_path: Path
) -> None:
    from tnllt.tracking.baselines import tracker_class

    cls = tracker_class(record_of())
    options = {"repo": mini, "weights": weights, "device": "cpu"}
    identity = cls.identity(options)
    moved, copied = shutil.copytree(mini, tmp_path / "elsewhere"), Path(shutil.copy(weights, tmp_path / "w.pth"))
    assert cls.identity({"repo": moved, "weights": copied, "device": "cuda:1"}) == identity, "places do not matter"
    assert cls.identity({**options, "cfg": "TEST.STEP=2"}) != identity
    assert cls.identity({**options, "dataset": "lasot"}) != identity
    copied.write_bytes(b"other weights")
    assert cls.identity({**options, "weights": copied})["weights"] != identity["weights"], "same path, other content"
    with (moved / "lib/test/tracker/only_params.py").open("a") as file:
        file.write("# edited\n")
    assert cls.identity({**options, "repo": moved})["code"] != identity["code"]
    own = tmp_path / "mine.yaml"
    own.write_text((mini / "experiments/mini/base.yaml").read_text())
    same = cls.identity({**options, "yaml": str(own)})["configuration"]
    assert same == identity["configuration"]
    assert "commit" in identity and identity["changed"] == []
    git = ["git", "-C", str(moved), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    assert cls.identity({**options, "repo": moved})["changed"] == []
    (moved / "lib/test/parameter/mini.py").write_text("# gone\n")
    assert cls.identity({**options, "repo": moved})["changed"] == ["lib/test/parameter/mini.py"]


def test_the_examples_of_the_page_change_boxes(make: Make, image: Any, tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/baselines.md").read_text().partition("<!-- generated")[0]
    for_running = re.findall(r"`cfg=([^`]*)`", page)[0]
    (tmp_path / "x.toml").write_text(re.findall(r"^config = .*$", page, re.M)[0])
    in_a_record = read_toml(tmp_path / "x.toml")
    as_it_is = boxes(make(), image)
    assert boxes(make(cfg=for_running), image) != as_it_is
    assert boxes(make(tables={"tracker": in_a_record}), image) != as_it_is


@pytest.mark.parametrize(("exported", "threads"), [("3", 3), ("2,1", 2), ("", 0), ("many", 0), ("0", 0)])
def test_exported_threads_are_respected(monkeypatch: pytest.MonkeyPatch, exported: str, threads: int) -> None:
    from tnllt.processes import processors
    from tnllt.tracking.runner import default_threads

    monkeypatch.setenv("OMP_NUM_THREADS", exported)
    assert default_threads(2) == (threads or max(1, processors() // 2))
