"""A whole run against servers that fail: it always ends, and the record says what happened."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openai")
torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from tnllt.reasoningtrack import ReasoningTrack  # noqa: E402
from tnllt.reasoningtrack.config import PRESETS  # noqa: E402
from tnllt.reasoningtrack.network import Network  # noqa: E402


def _neighbour(name: str):
    """A test module beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


servers = _neighbour("test_server_reasoner")

#: Fault -> what the record calls it; None: an answer all the same.
EXPECTED = {
    "slow": "timeout",
    "500": "status",
    "429": "status",
    "cut-off": "cut_off",
    "empty": "empty",
    "10 MB": "too_large",
    "html": "not_json",
    "no tags": None,
    "thought apart": None,
    "good": None,
}


def _act(fault: str):
    own = {
        "429": lambda h: h.send({"error": {"message": "wait"}}, 429, retry_after="60"),
        "no tags": lambda h: h.send(servers.chat("It moved.")),
        "thought apart": lambda h: h.send(
            servers.chat("<d>yes</d><answer>the car turned</answer>", reasoning_content="it turned")
        ),
        "good": lambda h: h.send(servers.chat("<think>t</think><d>yes</d><answer>the car away</answer>")),
    }
    return own.get(fault) or servers.FAULTS[fault][0]


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return Network(PRESETS["tiny"]).state_dict()


def track(weights, url: str, frames: int, **options):
    settings = {"timeout": 1.5, "retries": 0, "cache": "off", "breaker": 100, **options}
    tracker = ReasoningTrack(
        config="tiny",
        weights=weights,
        reasoner=f"openai:{url}",
        reasoner_options=settings,
        reasoner_required=False,
        refresh_interval=1,
        refresh_move=1e9,
        device="cpu",
    )
    events: list[dict] = []
    tracker.emit = events.append
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    tracker.initialize(picture, [40, 40, 30, 30], "the car")
    boxes = []
    for n in range(frames):
        tracker.box = [40 + n, 40, 30 + n % 3, 30]  # keeps moving, so that every frame asks
        boxes.append(tracker.track(np.roll(picture, n, 1)).box)
    described = tracker.description
    tracker.close()
    return boxes, [e for e in events if e["event"] == "refresh"], described


def test_every_fault_in_one_run(weights):
    script = [_act(fault) for fault in EXPECTED]
    with servers.serving(*script) as server:
        boxes, events, _ = track(weights, f"http://127.0.0.1:{server.server_address[1]}/v1", len(EXPECTED) + 2)
    assert len(boxes) == len(EXPECTED) + 2 and np.isfinite(np.asarray(boxes, float)).all()
    told = dict(zip(EXPECTED, events, strict=False))
    assert {name: e["error"] and e["error"]["kind"] for name, e in told.items()} == EXPECTED
    for name, event in told.items():
        if EXPECTED[name]:
            assert event["after"] == event["before"], name
    assert told["no tags"]["after"] == "the car" and told["no tags"]["detail"]["missing"] == ["think", "d", "answer"]
    assert (told["thought apart"]["after"], told["thought apart"]["think"]) == ("the car turned", "it turned")
    assert told["good"]["after"] == "the car away"
    assert len(json.dumps(events)) < 100_000


def test_nobody_listens(weights):
    with servers.serving() as server:
        port = server.server_address[1]
    boxes, events, description = track(weights, f"http://127.0.0.1:{port}/v1", 8, breaker=2, cooldown=60)
    assert len(boxes) == 8 and description == "the car"
    kinds = [event["error"]["kind"] for event in events]
    assert kinds[:2] == ["connection"] * 2 and set(kinds[2:]) == {"circuit_open"}


def test_a_failure_keeps_a_description_that_was_changed_before(weights):
    good, bad = _act("good"), _act("500")
    with servers.serving(good, bad) as server:
        _, events, description = track(weights, f"http://127.0.0.1:{server.server_address[1]}/v1", 5)
    assert [event["after"] for event in events][:3] == ["the car away"] * 3 and description == "the car away"


def test_a_run_is_the_same_again_from_its_trace(weights, tmp_path):
    script = [_act(name) for name in ("good", "500", "thought apart", "no tags", "good")]
    with servers.serving(*script) as server:
        boxes, events, _ = track(weights, f"http://127.0.0.1:{server.server_address[1]}/v1", 6)
    trace = tmp_path / "clip.trace.jsonl"
    trace.write_text("".join(json.dumps(event) + "\n" for event in events))
    again, events_again, _ = _replayed(weights, trace)
    assert np.array_equal(np.asarray(boxes, float), np.asarray(again, float))
    plain = [{**event, "detail": None} for event in events]
    assert [{**event, "detail": None} for event in events_again] == plain


def _replayed(weights, trace: Path):
    tracker = ReasoningTrack(
        config="tiny", weights=weights, reasoner=f"replay:{trace}", refresh_interval=1, refresh_move=1e9, device="cpu"
    )
    events: list[dict] = []
    tracker.emit = events.append
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    tracker.initialize(picture, [40, 40, 30, 30], "the car")
    boxes = []
    for n in range(6):
        tracker.box = [40 + n, 40, 30 + n % 3, 30]
        boxes.append(tracker.track(np.roll(picture, n, 1)).box)
    tracker.close()
    return boxes, [e for e in events if e["event"] == "refresh"], None
