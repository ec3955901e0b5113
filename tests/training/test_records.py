"""Records: published files, folders of samples, pairs out of datasets, and the answers the annotation gives."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tnllt.datasets import ArrayFrames
from tnllt.datasets.frames import read_image
from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.reasoners import Question, Reasoning, parse_answer
from tnllt.reasoningtrack.reasoners.views import pictures
from tnllt.sequence import Annotation, Sequence
from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.finetune import trainer_rows
from tnllt.training.vlm.frozen import FrozenTracker, read_window
from tnllt.training.vlm.gather import RecordSources, gather
from tnllt.training.vlm.pairs import choose, refreshes, side, true_description, write_answer, write_pairs
from tnllt.training.vlm.records import read_published, read_samples

ANSWER = "<think>a</think><d>no</d><answer>the car</answer>"


def published(folder: Path, **changes) -> Path:
    record = {
        "instruction": " Be brief. ",
        "input": "<image><image>the car",
        "output": ANSWER,
        "images": ["/your_root_path/part/sample0001/img1.jpg", "/your_root_path/part/sample0001/img2.jpg"],
        **changes,
    }
    file = folder / "records.json"
    file.write_text(json.dumps([record]))
    return file


def test_placeholder_roots_are_rewritten(tmp_path: Path):
    (record,) = read_published(published(tmp_path), Path("/data/pairs"))
    assert record.images == (
        Path("/data/pairs/part/sample0001/img1.jpg"),
        Path("/data/pairs/part/sample0001/img2.jpg"),
    )
    assert (record.description, record.instruction, record.output) == ("the car", "Be brief.", ANSWER)
    assert read_published(published(tmp_path), Path("/x"), "Mine.")[0].instruction == "Mine."


def test_other_paths(tmp_path: Path):
    (record,) = read_published(published(tmp_path, images=["a/1.jpg", "/abs/2.jpg"]), None)
    assert record.images == (tmp_path / "a/1.jpg", Path("/abs/2.jpg"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": "<image>the car"}, "twice"),
        ({"output": None}, "output"),
        ({"images": ["a"]}, "`images`.*length 2"),
        ({"images": ["/your_root_path/../../etc/passwd", "b"]}, "must not have"),
    ],
)
def test_faulty_records_are_named(tmp_path: Path, changes, says):
    with pytest.raises(DataError, match=says) as caught:
        read_published(published(tmp_path, **changes), tmp_path)
    assert "row 1" in str(caught.value)


def test_faulty_files(tmp_path: Path):
    with pytest.raises(DataError, match="--images"):
        read_published(published(tmp_path), None)
    file = tmp_path / "x.json"
    for text in ("{", "{}", "[1]"):
        file.write_text(text)
        with pytest.raises(DataError):
            read_published(file, None)
    with pytest.raises(DataError, match="no samples"):
        read_samples(tmp_path)


def test_published_files_all_read(shared: Path):
    files = sorted((shared / "data/tnllt/sft").glob("*.json"))
    records = [record for file in files for record in read_published(file, Path("/data"))]
    assert len(records) == 997
    assert all(record.images[0].parts[:2] == ("/", "data") for record in records)
    assert sum(not record.description for record in records) == 1  # TNL2K's record 126 has no sentence


def test_published_sample_reads(shared: Path):
    (record,) = read_samples(shared / "data/tnllt/sample0001")
    assert record.description == "the wooden ship on the river"
    assert record.boxes == ((176.0, 64.7031, 243.0, 232.0), (130.0, 62.7031, 258.0, 225.0))
    assert all(path.is_file() for path in record.images) and "<think>" in record.instruction


@pytest.mark.parametrize("box", ["1,2,3", "1,2,0,4", "nan,1,1,1", "a,b,c,d"])
def test_a_sample_with_a_bad_box_is_refused(tmp_path: Path, box):
    facts = {"language_description": "x", "img1_groundtruth": "1,2,3,4", "img2_groundtruth": box}
    (tmp_path / "data.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"data\.json"):
        read_samples(tmp_path)


def test_sources_are_checked(tmp_path: Path, box_pairs: Path):
    with pytest.raises(UsageError, match="--records"):
        gather(RecordSources(), tmp_path)
    with pytest.raises(DataError, match="--skip-missing"):
        gather(RecordSources(records=(published(tmp_path),), images=tmp_path), tmp_path)
    both = RecordSources(records=(published(tmp_path),), images=tmp_path, samples=(box_pairs,), skip_missing=True)
    assert len(gather(both, tmp_path)) == 48
    with pytest.raises(DataError, match="no record"):
        gather(RecordSources(records=(published(tmp_path),), images=tmp_path, skip_missing=True), tmp_path)


# --- pairs out of datasets


def clip(frames: int = 60, language: str | None = "the box on the left", descriptions=None, present=None) -> Sequence:
    pictures = np.zeros((frames, 60, 90, 3), np.uint8)
    boxes = np.stack(
        [np.linspace(2, 68, frames), np.full(frames, 20.0), np.full(frames, 20.0), np.full(frames, 20.0)], 1
    )
    boxes[5] = np.nan
    for picture, box in zip(pictures, np.nan_to_num(boxes), strict=True):
        picture[20:40, int(box[0]) : int(box[0]) + 20] = 200
    note = Annotation(boxes, present=present, language=language, descriptions=descriptions)
    return Sequence("clip", note, ArrayFrames(pictures))


def test_pairs_are_usable_frames_in_order_and_repeatable():
    present = np.arange(60) % 7 != 3
    pairs = choose(clip(present=present), 12, (10, 30), seed=3)
    assert len(pairs) == 12 and pairs == choose(clip(present=present), 12, (10, 30), seed=3)
    for first, second, *_ in pairs:
        assert 10 <= second - first <= 30 and 5 not in (first, second)
        assert present[first] and present[second]
    assert choose(clip(), 12, (10, 30), seed=4) != pairs
    assert choose(clip(8), 4, (10, 30)) == []


def test_pairs_of_a_dataset_with_a_sentence_per_frame(tmp_path: Path):
    told = tuple("the box on the left" if n < 30 else "the box near the edge" for n in range(60))
    assert write_pairs([clip(descriptions=told)], tmp_path, 6, (10, 50)) == 6
    for record in read_samples(tmp_path):
        second = json.loads((record.images[0].parent / "data.json").read_text())["frames"][1]
        parsed = parse_answer(record.output or "")
        assert strict_reward(record.output or "") == 1
        assert parsed.answer == told[second] and parsed.update is (second >= 30)
        assert record.boxes is not None and record.boxes[0][2:] == (20.0, 20.0)


def test_pairs_of_any_dataset_put_the_side_right(tmp_path: Path):
    write_pairs([clip()], tmp_path, 8, (10, 55))
    answers = {parse_answer(record.output or "").answer for record in read_samples(tmp_path)}
    assert answers == {"the box on the left", "the box on the right"}


def test_a_teacher_writes_the_answers_and_bad_ones_are_left_out(tmp_path: Path):
    replies = [ANSWER, "no tags", ANSWER, RuntimeError("away")]

    class Teacher:
        def describe(self, first, second, description):
            reply = replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return Reasoning(raw=reply)

    assert write_pairs([clip()], tmp_path, 4, (10, 30), teacher=Teacher()) == 2
    assert [record.output for record in read_samples(tmp_path)] == [ANSWER, ANSWER]


# --- moments at which a running tracker asks


@pytest.fixture(scope="module")
def asking():
    """The tracker, for which a refresh is due at every tenth frame."""
    pytest.importorskip("torch")
    from tnllt.reasoningtrack import ReasoningTrack

    return FrozenTracker(ReasoningTrack(refresh_area=1.01), window=12)


def test_refreshes_of_a_tracker_have_a_window_and_its_state(asking, tmp_path: Path):
    present = np.ones(60, bool)
    present[21] = False  # no question where the target is not in view
    present[55] = False
    assert write_pairs([clip(present=present)], tmp_path, 9, seed=1, tracker=asking) == 4
    records = read_samples(tmp_path)
    numbers = [json.loads((r.folder / "data.json").read_text())["frames"] for r in records]
    assert numbers == [[0, 11], [0, 31], [0, 41], [0, 51]]
    moments = refreshes(clip(present=present), asking, 9, 1)
    for record, moment in zip(records, moments, strict=True):
        window, snapshot = read_window(record.folder, asking.tracker.info(), 12)
        length = min(12, 60 - moment.second)
        assert len(window.images) == length == len(window.seen)
        np.testing.assert_array_equal(window.seen, present[moment.second : moment.second + length])
        np.testing.assert_allclose(window.truth[window.seen][0], record.boxes[1], atol=1e-3)
        np.testing.assert_allclose(snapshot.box, record.tracker_box, atol=1e-3)
        assert snapshot.frame == moment.second - 1 and list(snapshot.crops) == list(moment.snapshot.crops)
        for frame, crop in snapshot.crops.items():
            np.testing.assert_array_equal(crop, moment.snapshot.crops[frame])
        np.testing.assert_array_equal(snapshot.temporal, moment.snapshot.temporal)
    assert len(refreshes(clip(), asking, 2, 0)) == 2, "drawn among those that there are"
    other = "<think>t</think><d>yes</d><answer>a dog in a field</answer>"
    kept, new = asking.gains([records[1], records[1]], [ANSWER, other])
    assert kept == 0.0 and new is not None and -1 < new < 1
    with pytest.raises(DataError, match="other weights"):
        read_window(records[0].folder, {"weights_sha256": "0"}, 12)
    (records[0].folder / "window" / "0005.jpg").unlink()
    with pytest.raises(DataError, match="does not belong"):
        read_window(records[0].folder, asking.tracker.info(), 12)
    with pytest.raises(DataError, match="no window"):
        asking.gains([replace(records[0], folder=None)], [ANSWER])


@pytest.mark.parametrize(
    ("gained", "chosen"),
    [
        ([0.0, 0.3, 0.05], 1),  # the best
        ([0.0, None, 0.05], 2),  # a tracker that failed is not chosen
        ([0.0, 0.019, -0.2], 0),  # too little: the teacher's own "no"
        ([None, 0.01, -0.2], None),  # too little, and no "no": one is written
        ([None, None, None], "left out"),
    ],
)
def test_gain_selects_among_a_teachers_answers(asking, tmp_path: Path, monkeypatch, gained, chosen):
    answers = [ANSWER, *(f"<think>t</think><d>yes</d><answer>{text}</answer>" for text in ("one", "two"))]
    shown: list[Question] = []

    class Teacher:
        def describe(self, question):
            shown.append(question)
            return Reasoning(raw=answers[(len(shown) - 1) % 3])

    monkeypatch.setattr(asking, "gains_of", lambda snapshot, window, own, given: gained)
    arguments = ([clip()], tmp_path, 1, (10, 400), 0, Teacher(), asking, 3, 0.02)
    if chosen == "left out":
        with pytest.raises(DataError, match="no pair"):
            write_pairs(*arguments)
        return
    assert write_pairs(*arguments) == 1
    (record,) = read_samples(tmp_path)
    assert len(shown) == 3 and shown[0].current.box == pytest.approx(record.tracker_box, abs=1e-3)
    parsed = parse_answer(record.output)
    assert strict_reward(record.output) == 1
    if chosen is None:
        assert (parsed.update, parsed.answer) == (False, "the box on the left")
    else:
        assert record.output == answers[chosen]


def test_records_have_the_views_that_reasoners_have(box_pairs: Path, tmp_path: Path):
    (tmp_path / "sample1").mkdir()
    for file in (box_pairs / "sample0001").iterdir():
        shutil.copy(file, tmp_path / "sample1")
    facts = json.loads((tmp_path / "sample1/data.json").read_text())
    (tmp_path / "sample1/data.json").write_text(json.dumps({**facts, "tracker_box": "1,2,30,30"}))
    (record,) = gather(RecordSources(samples=(tmp_path,), view="crops"), tmp_path / "work")
    question = record.question()
    assert question.current.box == (1, 2, 30, 30) and question.first.box == record.boxes[0]
    for path, image in zip(record.model_images, pictures(question, "crops"), strict=True):
        np.testing.assert_allclose(read_image(path).astype(float), image, atol=40)  # JPEG
    assert record.images[0].parent == tmp_path / "sample1", "the tracker still sees whole frames"
    assert record.as_published()["images"] == record.model_images == trainer_rows([record], answers=True)[0]["images"]
    bare = RecordSources(records=(published(tmp_path),), images=box_pairs.parent, view="crops", skip_missing=True)
    (box_pairs.parent / "part").exists() or shutil.copytree(box_pairs, box_pairs.parent / "part")
    with pytest.raises(DataError, match="no boxes"):
        gather(bare, tmp_path / "work")


def test_nothing_to_make_pairs_of(tmp_path: Path):
    with pytest.raises(DataError, match="no pair"):
        write_pairs([clip(language=None)], tmp_path)


def test_sides_and_sentences():
    assert [side((x, 0, 10, 10), 90) for x in (0, 40, 80)] == ["left", "middle", "right"]
    right, middle = (75.0, 0.0, 10.0, 10.0), (40.0, 0.0, 10.0, 10.0)
    assert true_description("the man on the left", right, 90) == "the man on the right"
    assert true_description("the man on the left side of it", right, 90) == "the man on the right side of it"
    assert true_description("the man on the left", middle, 90) == "the man on the left"
    assert true_description("the man left behind", right, 90) == "the man left behind"
    twice = "the man on the left of the car on the right"
    assert true_description(twice, right, 90) == twice


def test_written_answers_say_what_happened():
    boxes = ((0.0, 0.0, 10.0, 10.0), (70.0, 0.0, 20.0, 20.0))
    text = write_answer("a", "b", boxes, (90, 90))
    assert strict_reward(text) == 1 and parse_answer(text).answer == "b" and parse_answer(text).update
    assert "from the left to the right" in text and "larger" in text
    assert not parse_answer(write_answer("a", "a", boxes, (90, 90))).update
