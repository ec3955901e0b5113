"""Boxes of multimodal language models: conventions, a fake server that speaks each, and the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from box_server import box_server
from hypothesis import given
from hypothesis import strategies as st

import tnllt
from tnllt.errors import DataError, UsageError
from tnllt.foundation.box_model import load_convention
from tnllt.foundation.vlm import VlmTracker
from tnllt.results.store import ResultStore

pytest.importorskip("openai")

CONVENTIONS = ("qwen2.5-vl", "qwen3-vl", "internvl", "glm-v", "moondream")
#: Written by hand from each family's documentation, for a box with corners (.1, .2) and (.6, .7) of the side.
BY_HAND = {
    "qwen2.5-vl": lambda h, w: (
        f'```json\n[\n\t{{"bbox_2d": [{w // 10}, {h // 5}, {w * 6 // 10}, {h * 7 // 10}], "label": "car"}}\n]\n```'
    ),
    "qwen3-vl": lambda h, w: '```json\n[{"bbox_2d": [100, 200, 600, 700], "label": "car"}]\n```',
    "internvl": lambda h, w: "<ref>car</ref><box>[[100, 200, 600, 700]]</box>",
    "glm-v": lambda h, w: "The car is at <|begin_of_box|>[100, 200, 600, 700]<|end_of_box|>.",
    "moondream": lambda h, w: '{"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.6, "y_max": 0.7}]}',
}
ODD_SIZES = [(177, 311), (479, 641), (1080, 1920), (91, 1203), (33, 29), (720, 1279)]


@pytest.mark.parametrize("name", CONVENTIONS)
@given(
    size=st.tuples(st.integers(20, 1100), st.integers(20, 1950)),
    place=st.tuples(*[st.floats(0, 0.85)] * 2, *[st.floats(0.1, 1)] * 2),
)
def test_a_box_that_is_written_is_read_back_within_a_pixel(
    name: str, size: tuple[int, int], place: tuple[float, ...]
) -> None:
    convention = load_convention(name)
    height, width = size
    x, y = place[0] * width, place[1] * height
    box = [x, y, place[2] * (width - x), place[3] * (height - y)]
    (found,) = convention.read(convention.write(box, size), size)
    corners = np.array([found[0], found[1], found[0] + found[2], found[1] + found[3]])
    assert np.abs(corners - [box[0], box[1], box[0] + box[2], box[1] + box[3]]).max() < 1


@pytest.mark.parametrize("size", ODD_SIZES)
@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_server_that_speaks_the_convention_is_understood(name: str, size: tuple[int, int]) -> None:
    height, width = size

    def answer(images: list[np.ndarray], text: str) -> str:
        assert len(images) == 2 and "red car" in text
        return BY_HAND[name](*images[-1].shape[:2])

    with box_server(answer) as (url, bodies):
        tracker = VlmTracker(f"openai:{url}", name, every=1, model_options="image_format=png")
        image = np.zeros((height, width, 3), np.uint8)
        tracker.initialize(image, [0.1 * width, 0.2 * height, 5, 5], "red car")
        box = np.asarray(tracker.track(image).box)
    expected = np.array([0.1 * width, 0.2 * height, 0.5 * width, 0.5 * height])
    tolerance = 1.0 if name != "qwen2.5-vl" else 1.0 + width / 400  # the hand-written numbers are whole pixels
    assert np.abs(box - expected).max() <= tolerance
    assert len(bodies) == 1


def test_qwen25_is_sent_an_image_that_its_own_processor_leaves_as_it_is() -> None:
    convention = load_convention("qwen2.5-vl")
    for height, width in ODD_SIZES:
        sent = convention.sent_size(height, width)
        assert all(side % 28 == 0 for side in sent) and sent[0] * sent[1] <= convention.max_pixels


MALFORMED = [
    "",
    " ",
    "I cannot see it.",
    "[[10, 20, 30]]",
    '{"bbox_2d": [1, 2, 3]}',
    '[{"bbox_2d": [600, 700, 100, 200]}]',
    '[{"bbox_2d": [5, 5, 5, 5]}]',
    '[{"bbox_2d": ["a", "b", "c", "d"]}]',
    '[{"bbox_2d": [NaN, 1, 2, 3]}]',
    '[{"bbox_2d": [1.2.3, 4, 5, 6]}]',
    '[{"bbox_2d": [....., 4, 5, 6]}]',
    '[{"bbox": [100, 200, 600, 700]}]',
    "(100, 200), (600, 700)",
    "<box>100 200 600 700</box>",
    '[{"bbox_2d": [2000, 2000, 3000, 3000]}]',
    '[{"bbox_2d": [-500, -500, -10, -10]}]',
    '[{"bbox_2d": [100, 200, 600',
    "```json\n{}\n```",
    "\x1b[31m" + "x" * 10000,
    '[{"bbox_2d": [1e999, 2, 3, 4]}]',
    "null",
]


def test_malformed_answers_keep_the_last_box_and_are_counted() -> None:
    answers = iter(MALFORMED)
    with box_server(lambda images, text: next(answers)) as (url, _):
        tracker = VlmTracker(f"openai:{url}", "qwen3-vl", every=1, model_options="retries=0,breaker=1000")
        events: list[Any] = []
        tracker.emit = events.append
        image = np.zeros((100, 120, 3), np.uint8)
        tracker.initialize(image, [10, 20, 30, 40], "it")
        boxes = [tracker.track(image).box for _ in MALFORMED]
    assert len(MALFORMED) > 20
    assert all(list(box) == [10, 20, 30, 40] for box in boxes)
    info = tracker.info()
    assert info["reasoner_failures"] == len(MALFORMED) == len(info["refreshes"])
    assert all(event["error"] for event in events)


def test_an_answer_that_says_absent_is_not_a_failure() -> None:
    with box_server(lambda images, text: "```json\n[]\n```") as (url, _):
        tracker = VlmTracker(f"openai:{url}", "qwen3-vl", every=1)
        image = np.zeros((100, 120, 3), np.uint8)
        tracker.initialize(image, [10, 20, 30, 40], "it")
        answer = tracker.track(image)
    assert answer.absent and list(answer.box) == [10, 20, 30, 40]
    assert tracker.info()["reasoner_failures"] == 0


def test_a_crop_is_shown_and_its_boxes_are_moved_back() -> None:
    sizes = []

    def answer(images: list[np.ndarray], text: str) -> str:
        sizes.append(images[-1].shape[:2])
        return "[[250, 250, 750, 750]]"

    with box_server(answer) as (url, _):
        tracker = VlmTracker(f"openai:{url}", "glm-v", every=1, crop=2.0)
        image = np.zeros((300, 400, 3), np.uint8)
        tracker.initialize(image, [180, 130, 40, 40], "it")
        box = np.asarray(tracker.track(image).box)
    assert sizes == [(80, 80)]
    assert np.abs(box - [180, 130, 40, 40]).max() <= 1


def frames(folder: Path, count: int = 12) -> Path:
    """A dataset of one sequence with a textured square that moves."""
    target = np.random.default_rng(1).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    (folder / "moves" / "imgs").mkdir(parents=True)
    rows = []
    for i in range(count):
        image = np.full((120, 160, 3), 60, np.uint8)
        image[40 + i : 64 + i, 20 + 3 * i : 50 + 3 * i] = target
        cv2.imwrite(str(folder / "moves" / "imgs" / f"{i + 1:04}.png"), image)
        rows.append(f"{20 + 3 * i},{40 + i},30,24\n")
    (folder / "moves" / "groundtruth.txt").write_text("".join(rows))
    (folder / "moves" / "language.txt").write_text("the textured square\n")
    (folder / "dataset.toml").write_text('base = "tnl2k"\n')
    return folder


def test_the_tracker_in_between_is_itself_where_the_model_is_never_asked(tmp_path: Path) -> None:
    data = frames(tmp_path / "data")
    with box_server(lambda images, text: "") as (url, bodies):
        options = {"model": f"openai:{url}", "convention": "qwen3-vl", "every": 1000, "between": "MIL"}
        tnllt.run("vlm", dataset=data, results=tmp_path / "runs", options=options, mode="BB", threads=1)
        assert not bodies
    tnllt.run("MIL", dataset=data, results=tmp_path / "runs", threads=1)
    store = ResultStore(tmp_path / "runs")
    together, alone = store.read("vlm", "moves"), store.read("MIL", "moves")
    assert np.array_equal(together.boxes, alone.boxes)
    assert len(np.unique(alone.boxes, axis=0)) > 5


def test_a_run_asks_every_k_frames_and_its_trace_replays_it(tmp_path: Path) -> None:
    data = frames(tmp_path / "data")

    def answer(images: list[np.ndarray], text: str) -> str:
        ys, xs = np.nonzero((images[-1] != images[-1][0, 0]).any(axis=2))
        height, width = images[-1].shape[:2]
        corners = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
        return f'[{{"bbox_2d": {[round(1000 * v) for v in corners]}}}]'

    with box_server(answer) as (url, bodies):
        options = {"model": f"openai:{url}", "convention": "qwen3-vl", "every": 4, "model_options": "image_format=png"}
        run = tnllt.run("vlm", dataset=data, results=tmp_path / "runs", options=options, threads=1)
        assert run.done == ["moves"] and len(bodies) == 2
    store = ResultStore(tmp_path / "runs")
    first = store.read("vlm", "moves")
    truth = tnllt.open_dataset(data)[0].groundtruth
    for frame in (4, 8):
        assert np.abs(first.boxes[frame] - truth[frame]).max() < 2  # a pixel is blurred over the target's edge
    assert np.array_equal(first.boxes[5], first.boxes[4])  # the last box, where no tracker is in between
    trace = store.path("vlm", "moves", ".trace.jsonl")
    options = {"model": f"replay:{trace}", "convention": "qwen3-vl", "every": 4}
    tnllt.run("vlm", dataset=data, results=tmp_path / "runs", options=options, name="again", threads=1)
    assert np.array_equal(store.read("again", "moves").boxes, first.boxes)


def test_a_server_that_is_not_there_is_an_error_before_the_first_frame() -> None:
    with pytest.raises(UsageError, match="does not answer"):
        VlmTracker("openai:http://127.0.0.1:9/v1", "qwen3-vl")


def test_a_start_from_the_description_alone_asks_the_model() -> None:
    replies = iter(["[[100, 200, 600, 700]]", "none"])
    with box_server(lambda images, text: next(replies)) as (url, _):
        tracker = VlmTracker(f"openai:{url}", "glm-v")
        image = np.zeros((100, 200, 3), np.uint8)
        start = tracker.initialize(image, None, "the red car")
        assert start is not None and np.allclose(start.box, [20, 20, 100, 50])
        with pytest.raises(DataError, match="no box for 'the red car'"):
            tracker.initialize(image, None, "the red car")


def test_a_convention_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = """title = "mine"
frame = "relative"
scale = 100
digits = 1
order = "yxyx"
ground = "Where is {text}?"
track = "It was at {box}: {text}. Where now?"
answer = 'loc (\\S+) (\\S+) (\\S+) (\\S+)'
absent = 'gone'
written = "loc {a} {b} {c} {d}"
"""
    file.write_text(text)
    assert load_convention(file).write([20, 10, 20, 20], (100, 200)) == "loc 10.0 10.0 30.0 20.0"
    assert load_convention(file).read("loc 10 10 30 20", (100, 200)) == [[20, 10, 20, 20]]
    for broken, message in (
        (text.replace("{box}", "{place}"), "may hold"),
        (text.replace(r"(\S+) (\S+) (\S+) (\S+)", r"(\S+)"), "1 groups"),
        (text.replace("relative", "absolute"), "frame"),
        (text + "colour = 1\n", "unknown field `colour`"),
    ):
        file.write_text(broken)
        with pytest.raises(DataError, match=message):
            load_convention(file)
    with pytest.raises(UsageError, match="did you mean 'qwen3-vl'"):
        load_convention("qwen3vl")
    with pytest.raises(UsageError, match="must be one of openai:URL"):
        VlmTracker("gpt", "qwen3-vl")


def test_a_model_in_this_process(tiny_vlm: Path) -> None:
    """Random weights write no box: the failure is recorded and the box kept."""
    tracker = VlmTracker(f"transformers:{tiny_vlm}", "qwen2.5-vl", every=1, model_options="max_tokens=4,device=cpu")
    events: list[Any] = []
    tracker.emit = events.append
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    tracker.initialize(image, [10, 20, 30, 40], "it")
    assert list(tracker.track(image).box) == [10, 20, 30, 40]
    assert events[0]["error"]["kind"] in ("no_box", "empty")
