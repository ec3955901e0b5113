"""Real requests to a real server: `transformers serve` with a tiny random Qwen2.5-VL, and the same model in process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.reasoningtrack.reasoners import Look, Question, ask, consult, make_reasoner

SENTENCE = "the wooden ship on the river"


@pytest.fixture(scope="module")
def pair(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    folder = shared / "data/tnllt/sample0001"
    first, second = (cv2.imread(str(folder / f"img{i}.jpg"), cv2.IMREAD_COLOR)[..., ::-1] for i in (1, 2))
    return first, second


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tiny_vlm: Path, tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    home = tmp_path_factory.mktemp("hub")
    (home / "hub").mkdir()
    port = _free_port()
    script = Path(__file__).parents[1] / "serve_vlm.py"
    command = [sys.executable, str(script), "serve", str(tiny_vlm), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = (home / "log.txt").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail("the server ended: " + (home / "log.txt").read_text()[-2000:])
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"openai:http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def looks(pair, frame=10):
    return (Look(image, (1, 1, 9, 9), number) for image, number in zip(pair, (0, frame), strict=True))


@pytest.mark.slow
def test_two_real_pictures_get_a_real_answer(server, pair):
    reasoner = make_reasoner(server, cache="off", max_tokens=24)
    outcome = ask(reasoner, Question.of_pair(*looks(pair), SENTENCE, "the ship"))
    assert outcome.error is None
    assert outcome.reasoning is not None and outcome.reasoning.raw
    # Random weights write no tags: no update, and the record says so.
    assert outcome.description == SENTENCE
    assert outcome.event["detail"]["missing"] == ["think", "d", "answer"]
    assert outcome.event["detail"]["finish"] == "length"
    assert outcome.event["seconds"] > 0


@pytest.mark.slow
def test_the_pictures_and_the_sentence_reach_the_model(server, pair):
    first, second = pair
    reasoner = make_reasoner(server, cache="off", max_tokens=24, image_format="png")
    asked = [(first, second, SENTENCE), (second, first, SENTENCE), (first, second, "the man in red on the left side")]
    raws = [reasoner.describe(*question).raw for question in asked]
    assert len(set(raws)) >= 2, "the model answers the same whatever it is shown"
    assert reasoner.describe(*asked[0]).raw == raws[0]


@pytest.mark.slow
def test_several_sequences_at_once(server, pair):
    reasoner = make_reasoner(server, cache="off", max_tokens=8, concurrency=3)
    outcomes = consult(reasoner, [Question.of_pair(*looks(pair, n), SENTENCE, "x") for n in range(6)])
    assert [o.error for o in outcomes] == [None] * 6
    assert [o.event["frame"] for o in outcomes] == list(range(6))


@pytest.mark.slow
def test_same_model_in_process(tiny_vlm, pair, tmp_path):
    reasoner = make_reasoner(f"transformers:{tiny_vlm}", cache=str(tmp_path), max_tokens=24, device="cpu")
    first = reasoner.describe(*pair, SENTENCE)
    assert first.raw and first.detail["missing"] == ["think", "d", "answer"]
    assert reasoner.describe(*pair, SENTENCE).raw == first.raw
    sampled = make_reasoner(f"transformers:{tiny_vlm}", cache="off", max_tokens=24, temperature=1.0, device="cpu")
    assert sampled.describe(*pair, SENTENCE).raw != first.raw


def test_a_folder_without_a_model_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(DataError, match="not usable as a vision-language model"):
        make_reasoner(f"transformers:{tmp_path}")


@pytest.mark.slow
def test_a_local_model_stops_at_its_deadline(tiny_vlm: Path):
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    reasoner = make_reasoner(f"transformers:{tiny_vlm}", cache="off", total_timeout=0.01, device="cpu")
    result = ask(reasoner, Question.of_pair(*looks(frames), "the car", "running text"))
    assert result.event["error"]["kind"] == "timeout" and result.description == "running text"
