"""The same worker in every dialect of upstream: constructors, places of the text, modes, first boxes, options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.errors import DataError, UsageError
from tnllt.tracking.baselines.bridge import BaselineTracker
from tnllt.tracking.baselines.find import folder

Make = Callable[..., BaselineTracker]
BOX = [100.0, 50.0, 30.25, 20.125]
TEXT = "a red kite"

DIALECTS: list[tuple[str, dict[str, Any], int]] = [
    ("only_params", {"text": {"key": "init_text_description"}}, len(TEXT)),
    ("with_dataset", {"tracker": {"constructor": ["params", "dataset"]}, "text": {"key": "init_nlp"}}, 0),
    (
        "with_dataset",
        {
            "tracker": {"constructor": ["params", "dataset"], "config": {"TEST.USE_NLP.TNLLT": True}},
            "text": {"key": "init_nlp"},
        },
        len(TEXT),
    ),
    (
        "with_dataset",
        {
            "tracker": {"constructor": ["params", "dataset"], "config": {"TEST.USE_NLP.TNLLT": True}},
            "text": {"key": "language"},
        },
        len(TEXT),
    ),
    (
        "with_yaml",
        {
            "tracker": {
                "constructor": ["params", "yaml", "dataset"],
                "arguments": {"model": "{weights}"},
                "dataset": "lasot",
                "params": {"vis_attn": 0},
            },
            "text": {"key": "class", "every_frame": True},
        },
        len(TEXT),
    ),
    ("positional", {"tracker": {"constructor": ["params", "dataset"]}, "text": {"positional": True}}, len(TEXT)),
]


@pytest.mark.parametrize(("tracker", "tables", "heeded"), DIALECTS)
def test_dialect(make: Make, image: Any, tracker: str, tables: dict[str, Any], heeded: int) -> None:
    built = make(tracker, tables)
    for text, shift in ((TEXT, 1.0 + heeded), (None, 1.0)):
        assert built.initialize(image, BOX, text) is None
        for frame in (1, 2, 3):
            assert built.track(image).box == [BOX[0] + frame * shift, BOX[1] + frame * 2.0, *BOX[2:]]
        built.finish()


def test_score_becomes_confidence(make: Make, image: Any) -> None:
    tables = {"tracker": {"constructor": ["params", "dataset"], "score": "best_score"}, "text": {"key": "init_nlp"}}
    built = make("with_dataset", tables)
    built.initialize(image, BOX, TEXT)
    assert [built.track(image).confidence for _ in range(3)] == [1.0, 0.5, 1.0 / 3.0]


def test_started_from_text_alone_the_first_box_is_upstreams(make: Make, image: Any) -> None:
    call = {"constructor": ["params", "dataset"], "placeholder_box": [0, 0, 1, 1]}
    built = make("from_text", {"tracker": call, "text": {"key": "init_nlp"}, "modes": ["NL"]})
    first = built.initialize(image, None, TEXT)
    assert first is not None and first.box == [10.0, 20.0, 30.0, 40.0]
    assert built.track(image).box == [11.0 + len(TEXT), 22.0, 30.0, 40.0]


def test_without_a_box_a_tracker_that_needs_one_is_refused(make: Make, image: Any) -> None:
    with pytest.raises(UsageError, match=r"mini needs the initial box \(it takes BB, NL\+BB\)"):
        make().initialize(image, None, TEXT)


def test_too_long_a_text_is_cut_and_said_so(make: Make, image: Any) -> None:
    text = {"positional": True, "max_tokens": 6, "tokenizer": "words"}
    built = make("positional", {"tracker": {"constructor": ["params", "dataset"]}, "text": text})
    events: list[Any] = []
    built.emit = events.append
    built.initialize(image, BOX, "one two three four five six")
    assert built.track(image).box == [BOX[0] + 1 + len("one two three four"), BOX[1] + 2, *BOX[2:]]
    assert events == [{"event": "text_cut", "dropped": "five six"}]
    assert built.info()["text_cut"] == "five six"
    built.initialize(image, BOX, "one two three four")
    assert len(events) == 1 and "text_cut" not in built.info()


def test_pixels_arrive_as_they_are(make: Make) -> None:
    built = make()
    rng = np.random.default_rng(0)
    big = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    built.initialize(big, BOX, "")
    assert built.track(big).box[1] == BOX[1] + float(big.mean())
    part = big[::2, 100:900, ::-1]
    assert built.track(part).box[1] == BOX[1] + float(big.mean()) + float(np.ascontiguousarray(part).mean())
    with pytest.raises(ValueError, match="must be uint8"):
        built.track(big.astype(np.float32))


def test_settings_of_the_users(make: Make, image: Any, tmp_path: Path, mini: Path) -> None:
    built = make(cfg="TEST.STEP=2.5,TEST.NOTE=a b")
    built.initialize(image, BOX, "")
    assert built.track(image).box[0] == BOX[0] + 2.5
    table = json.loads((mini / "experiments/mini/base.yaml").read_text())
    table["TEST"]["STEP"] = 7.0
    own = tmp_path / "mine.yaml"
    own.write_text(json.dumps(table))
    built = make(yaml=str(own))
    built.initialize(image, BOX, "")
    assert built.track(image).box[0] == BOX[0] + 7.0


def test_a_new_object_for_each_sequence_unless_the_record_says_otherwise(
    make: Make, image: Any, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "net.pth.tar"
    linear = {"move.weight": torch.eye(4), "move.bias": torch.zeros(4)}
    torch.save({"net": linear, "settings": None}, file)
    for reuse, second in ((False, 1.0), (True, 3.0)):
        built = make("network", {"tracker": {"constructor": ["params", "dataset"], "reuse": reuse}}, weights=file)
        answers = []
        for _ in range(2):
            built.initialize(image, BOX, None)
            answers.append(built.track(image).box[0] - BOX[0])
            built.track(image)
        assert answers == [1.0, second]


def test_what_fitted_of_the_weights_is_said(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "net.pth.tar"
    torch.save({"net": {"move.weight": torch.eye(4), "old.bias": torch.zeros(4)}}, file)
    built = make("network", {"tracker": {"constructor": ["params", "dataset"]}}, weights=file)
    said = "mini: net.pth.tar into Mini: 1 tensors fitted, 1 missing (move.bias), 1 unexpected (old.bias)"
    assert said in capsys.readouterr().err
    facts = built.info()
    assert facts["notice"] == said
    assert facts["weights"]["loads"][0]["missing"] == ["move.bias"]
    assert facts["versions"]["torch"] == torch.__version__ and facts["device"] == "cpu"


def test_the_clone_is_left_as_it_was(make: Make, image: Any, mini: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    file = tmp_path / "net.pth.tar"
    torch.save({"net": {"move.weight": torch.eye(4), "move.bias": torch.zeros(4)}}, file)

    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(mini.rglob("*"))}

    before = state()
    built = make("network", {"tracker": {"constructor": ["params", "dataset"]}}, weights=file)
    built.initialize(image, BOX, None)
    built.track(image)
    built.close()
    assert state() == before


def test_worker_is_python_3_7() -> None:
    import ast

    from tnllt.tracking.baselines.find import folder

    for script in ("worker.py", "train.py"):
        ast.parse((folder() / script).read_text(), feature_version=(3, 7))


def test_worker_needs_only_the_standard_library_until_it_starts() -> None:
    from tnllt.tracking.baselines.find import folder

    code = "import sys, worker; print([m for m in ('numpy', 'cv2', 'torch') if m in sys.modules])"
    done = subprocess.run(["python3", "-S", "-c", code], cwd=folder(), capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


OTHER = {
    "name": "masks_tracker",
    "cls": "MasksTracker",
    "keywords": {"model": "large"},
    "initialize": ["pil", "none", "box"],
    "track": ["pil"],
    "answer": "pred_mask",
    "weights_name": "of_its_own.pt",
    "experiments": "configs",
    "yaml": "large",
}


def test_code_of_another_framework(make: Make, image: Any, tmp_path: Path) -> None:
    """A class, PIL images, masks and a weights file that upstream finds by itself: all of it said by the record."""
    torch = pytest.importorskip("torch")
    weights = tmp_path / "mine.pt"
    torch.save({"step": 3}, weights)
    built = make("network", {"tracker": OTHER, "text": {}}, weights=weights)
    for _ in range(2):
        built.initialize(image, [5.0, 6.0, 7.0, 8.0])
        answers = [built.track(image) for _ in range(3)]
        assert [answer.box for answer in answers] == [[8, 6, 7, 8], [8, 6, 7, 8], [14, 6, 7, 8]]
        assert [answer.absent for answer in answers] == [False, True, False]
        built.finish()
    assert built.identity({"repo": built.place.repo, "weights": weights})["code"]
    with pytest.raises(UsageError, match="mini takes no cfg: its code has no configuration in OSTrack's form"):
        make("network", {"tracker": OTHER, "text": {}}, weights=weights, cfg="TEST.STEP=2")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"cls": ""}, "`keywords` and `weights_name` go with `cls`"),
        ({"config": {"TEST.STEP": 2}}, "`cls` excludes config, params and arguments"),
        ({"track": ["picture"]}, "track"),
    ],
)
def test_a_record_of_another_framework_that_contradicts_itself(make: Make, change: Any, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        make("network", {"tracker": {**OTHER, **change}})


SCRIPTED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import worker

worker.stay_on_cpu(torch)


def scale(values):
    return values * torch.as_tensor([2.0, 3.0]) + torch.zeros(2)


print(torch.zeros(2, device="cuda").device, torch.jit.script(scale)(torch.ones(2)).tolist())
"""


def test_code_that_upstream_compiles_runs_on_the_cpu(tmp_path: Path) -> None:
    """torchvision's transforms in DAM4SAM: torch.jit.script looks the makers of tensors up."""
    pytest.importorskip("torch")
    (tmp_path / "scripted.py").write_text(SCRIPTED)
    command = [sys.executable, tmp_path / "scripted.py", folder()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "cpu [2.0, 3.0]\n", done.stderr
