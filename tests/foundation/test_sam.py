"""The SAM family: masks and boxes equal those of transformers' own session, in memory that does not grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import tnllt
from tnllt.errors import DataError, UsageError
from tnllt.masks import mask_box
from tnllt.results.store import ResultStore
from tnllt.tracking import Mode

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
import tiny_models  # noqa: E402

from tnllt.foundation.sam import EdgeTam, Sam2, Sam3, SamTracker  # noqa: E402

FAMILY = {"sam2": (tiny_models.sam2, Sam2), "edgetam": (tiny_models.edgetam, EdgeTam)}
FAMILY |= {"sam3": (tiny_models.sam3_tracker, Sam3), "sam3 by text": (tiny_models.sam3_video, Sam3)}
BOX = [60.0, 40.0, 50.0, 70.0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    return {name: make(place / name.replace(" ", "_")) for name, (make, _) in FAMILY.items()}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder with one sequence of five frames."""
    folder = tmp_path / "clips"
    (folder / "square" / "img").mkdir(parents=True)
    for i, image in enumerate(video(5), 1):
        cv2.imwrite(str(folder / "square" / "img" / f"{i:04}.png"), image[..., ::-1])
    rows = "60,40,50,70\n" * 5
    (folder / "square" / "groundtruth_rect.txt").write_text(rows)
    return folder


def video(count: int, height: int = 120, width: int = 160) -> Iterator[np.ndarray]:
    """Noise with a square that moves."""
    random = np.random.default_rng(3)
    for i in range(count):
        image = random.integers(0, 80, (height, width, 3), dtype=np.uint8)
        x = 20 + int(50 * (1 + np.sin(i / 9)))
        image[40:80, x : x + 30] = (250, 160, 20)
        yield image


def pixels(image: np.ndarray, side: int, mean: Any, deviation: Any) -> Any:
    """What transformers' processors do to an image, written out."""
    whole = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(whole, (side, side), mode="bilinear", antialias=True).round()
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, deviation))
    return (resized.clamp(0, 255) / 255 - mean) / deviation


def plain_session(
    name: str,
    folder: Path,
    frames: Iterable[np.ndarray],
    box: Sequence[float] = BOX,
    size: tuple[int, int] = (120, 160),
) -> Iterator[tuple[np.ndarray, Any]]:
    """transformers as its documentation shows it: nothing is ever forgotten. Yields mask and session.

    `size` is the height and width of the frames; by text it starts from "the person".
    """
    import transformers
    from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as sam3
    from transformers.models.sam3_video import modeling_sam3_video as text

    half = [0.5] * 3
    imagenet = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    model_class, session_class, side, normal = {
        "sam2": (transformers.Sam2VideoModel, transformers.Sam2VideoInferenceSession, 128, imagenet),
        "edgetam": (transformers.EdgeTamVideoModel, transformers.EdgeTamVideoInferenceSession, 128, imagenet),
        "sam3": (transformers.Sam3TrackerVideoModel, sam3.Sam3TrackerVideoInferenceSession, 112, (half, half)),
        "sam3 by text": (transformers.Sam3VideoModel, text.Sam3VideoInferenceSession, 112, (half, half)),
    }[name]
    model = model_class.from_pretrained(folder).eval()
    session = session_class(video_height=size[0], video_width=size[1], dtype=torch.float32)
    target = None
    if name == "sam3 by text":
        prompt = session.add_prompt("the person")
        session.prompt_input_ids[prompt] = torch.tensor([[2, 3] + 30 * [0]])
        session.prompt_attention_masks[prompt] = torch.tensor([[1, 1] + 30 * [0]])
    else:
        x, y, w, h = box
        points = torch.tensor([[[[x, y], [x + w, y + h]]]]) * torch.tensor([side / size[1], side / size[0]])
        index = session.obj_id_to_idx(0)
        session.add_point_inputs(index, 0, {"point_coords": points, "point_labels": torch.tensor([[[2, 3]]])})
        session.obj_with_new_inputs = [0]
    with torch.inference_mode():
        for image in frames:
            output = model(inference_session=session, frame=pixels(image, side, *normal))
            if name == "sam3 by text":
                scores = output.obj_id_to_score
                target = max(scores, key=lambda k: (scores[k], -k)) if target is None else target
                hidden = target not in output.obj_id_to_mask or target in output.suppressed_obj_ids
                logits = torch.full((1, 8, 8), -1.0) if hidden else output.obj_id_to_mask[target]
                logits = logits[None]
            else:
                logits = output.pred_masks
            whole = torch.nn.functional.interpolate(logits.float(), size, mode="bilinear")
            yield (whole[0, 0] > 0).numpy(), session


def held_bytes(value: Any, seen: set[int] | None = None) -> int:
    """Bytes of all tensors that a session leads to."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        if storage.data_ptr() in seen:
            return 0
        seen.add(storage.data_ptr())
        return int(storage.nbytes())
    if isinstance(value, dict):
        return sum(held_bytes(v, seen) for v in value.values())
    if isinstance(value, list | tuple | set):
        return sum(held_bytes(v, seen) for v in value)
    return held_bytes(vars(value), seen) if type(value).__module__.startswith("transformers") else 0


def compare(name: str, folder: Path, count: int) -> dict[str, list[int]]:
    """Tracks both ways; bytes that each session holds, frame by frame."""
    tracker = FAMILY[name][1](folder, device="cpu")
    held: dict[str, list[int]] = {"ours": [], "plain": []}
    distinct = set()
    for i, (image, (mask, session)) in enumerate(
        zip(video(count), plain_session(name, folder, video(count)), strict=True)
    ):
        if i:
            answer = tracker.track(image)
        elif name == "sam3 by text":
            answer = tracker.initialize(image, None, "the person")
        else:
            answer = tracker.initialize(image, BOX)
        assert answer.mask is not None
        assert np.array_equal(answer.mask, mask), i
        assert answer.absent == (not mask.any())
        if not answer.absent:
            assert answer.box == mask_box(mask)
        distinct.add(mask.tobytes())
        held["plain"].append(held_bytes(session))
        assert tracker._state is not None
        held["ours"].append(held_bytes(tracker._state.session))
    assert len(distinct) > 0.7 * count  # else equality would show little
    return held


@pytest.mark.parametrize("name", FAMILY)
def test_masks_equal_those_of_a_session_that_forgets_nothing(name: str, folders: dict[str, Path]) -> None:
    held = compare(name, folders[name], 24)
    assert held["plain"][-1] > 1.5 * held["plain"][12]
    assert held["ours"][-1] < 0.5 * held["plain"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_many_frames_are_equal_and_memory_is_flat(name: str, folders: dict[str, Path]) -> None:
    """300 frames by TNLLT_STREAMED_FRAMES=300, which takes minutes."""
    frames = int(os.environ.get("TNLLT_STREAMED_FRAMES", "60"))
    held = compare(name, folders[name], frames)
    print(f"\n{name}: ours {held['ours'][20]} -> {held['ours'][-1]}, plain {held['plain'][20]} -> {held['plain'][-1]}")
    assert held["ours"][-1] / held["ours"][20] < 1.01
    assert held["plain"][-1] > 0.7 * frames / 21 * held["plain"][20]


def test_the_bound_follows_from_the_models_configuration(tmp_path: Path) -> None:
    folder = tiny_models.sam2(tmp_path / "m", num_maskmem=3, max_object_pointers_in_encoder=5)
    compare("sam2", folder, 12)
    tracker = Sam2(folder, device="cpu")
    assert tracker.info()["kept_frames"] == 4
    frames = list(video(9))
    tracker.initialize(frames[0], BOX)
    for image in frames[1:]:
        tracker.track(image)
    assert tracker._state is not None
    kept = tracker._state.session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    assert sorted(kept) == [5, 6, 7, 8]
    assert [frame for frame in kept if "maskmem_features" in kept[frame]] == [6, 7, 8]
    assert len(tracker._state.session.processed_frames) == 9  # deleting a key would renumber the frames
    assert not any(frame is not None for frame in tracker._state.session.processed_frames.values())


@pytest.mark.parametrize("name", ["sam2", "edgetam", "sam3"])
def test_sequences_tracked_together_are_tracked_as_if_alone(name: str, folders: dict[str, Path]) -> None:
    tracker = FAMILY[name][1](folders[name], device="cpu")
    first, second = list(video(5)), [image[::-1].copy() for image in video(5, 90, 200)]
    alone = []
    for images in (first, second):
        answers = [tracker.initialize(images[0], BOX), *(tracker.track(image) for image in images[1:])]
        alone.append([answer.mask for answer in answers])
    states = [tracker.start(images[0], BOX, None) for images in (first, second)]
    together = [[state.prediction.mask for state in states]]
    together += [[p.mask for p in tracker.step(states, pair)] for pair in zip(first[1:], second[1:], strict=True)]
    for i in range(2):
        for frame in range(5):
            a, b = alone[i][frame], together[frame][i]
            assert a is not None and b is not None
            assert (a != b).mean() < 0.01  # floating-point sums may be ordered differently in a batch


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["sam2", "edgetam", "sam3"])
def test_reduced_precision(name: str, dtype: Any, folders: dict[str, Path]) -> None:
    tracker = FAMILY[name][1](folders[name], device="cpu", dtype=dtype)
    images = list(video(3))
    answers = [tracker.initialize(images[0], BOX), *(tracker.track(image) for image in images[1:])]
    assert all(answer.mask is not None and np.isfinite(answer.box).all() for answer in answers)
    assert tracker.info()["dtype"] == dtype


def test_an_object_score_below_zero_is_an_absent_target(tmp_path: Path) -> None:
    tracker = Sam2(tiny_models.sam2(tmp_path / "absent", score=-400.0), device="cpu")
    images = list(video(3))
    tracker.initialize(images[0], BOX)
    answers = [tracker.track(image) for image in images[1:]]
    assert [answer.absent for answer in answers] == [True, True]
    assert all(answer.confidence is not None and answer.confidence < 0.5 for answer in answers)


def test_a_mask_of_the_first_frame_starts_it(folders: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    sequence = tnllt.open_dataset(clip)[0]
    height, width = sequence.frames[0].shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    cv2.imwrite(str(tmp_path / f"{sequence.name}.png"), mask)
    tracker = Sam2(folders["sam2"], device="cpu", initial_masks=tmp_path)
    tracker.receive(sequence)
    answer = tracker.initialize(sequence.frames[0], [1.0, 1.0, 5.0, 5.0])
    assert answer.mask is not None
    overlap = (answer.mask & (mask > 0)).sum() / (answer.mask | (mask > 0)).sum()
    assert overlap > 0.9
    assert tracker.info()["start"] == "mask"
    (tmp_path / f"{sequence.name}.png").unlink()
    large = cv2.imencode(".png", mask)[1].tobytes()
    large = large[:16] + (20_000).to_bytes(4, "big") * 2 + large[24:]
    for make, refused in (
        (lambda path: None, r"square\.png: cannot be read \(No such file"),
        (lambda path: path.write_bytes(b"nothing"), r"square\.png: frame cannot be decoded"),
        (lambda path: path.write_bytes(large), "20000 x 20000"),
        (os.mkfifo, "is a pipe"),
    ):
        make(path := tmp_path / f"{sequence.name}.png")
        with pytest.raises(DataError, match=refused):
            tracker.initialize(sequence.frames[0], [1.0, 1.0, 5.0, 5.0])
        path.unlink(missing_ok=True)
    with pytest.raises(DataError, match="the initial mask has"):
        Sam2(folders["sam2"], device="cpu").initialize(sequence.frames[0], mask=np.ones((3, 3), bool))


def test_sam3_follows_the_instance_with_the_highest_score(folders: dict[str, Path]) -> None:
    tracker = Sam3(folders["sam3 by text"], device="cpu")
    events: list[Any] = []
    tracker.emit = events.append
    images = list(video(3))
    tracker.initialize(images[0], None, "the person")
    scores = events[0]["scores"]
    assert len(scores) > 1
    assert scores[str(events[0]["object"])] == max(scores.values())
    assert tracker.modes == (Mode.NL, Mode.BB)
    assert "highest score in the first frame" in tracker.info()["start"]


def test_sam3_that_finds_nothing_says_so_or_waits(tmp_path: Path) -> None:
    folder = tiny_models.sam3_video(tmp_path / "m", threshold=0.99)
    with pytest.raises(DataError, match=r"finds nothing in the first frame that fits 'the person'.*wait=yes"):
        Sam3(folder, device="cpu").initialize(next(video(1)), None, "the person")
    waiting = Sam3(folder, device="cpu", wait=True)
    assert waiting.initialize(next(video(1)), None, "the person").absent


def test_a_run_keeps_masks_and_says_how(folders: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    options = {"weights": folders["sam2"], "box_rule": "largest"}
    first = tnllt.open_dataset("demo")[0]
    run = tnllt.run(
        "sam2",
        dataset="demo",
        sequences=first.name,
        results=tmp_path,
        options=options,
        device="cpu",
        masks=True,
        threads=1,
    )
    assert run.done == [first.name] and not run.failed
    store = ResultStore(tmp_path)
    masks, result = store.masks("sam2", first.name), store.read("sam2", first.name)
    record = store.record("sam2", first.name)
    assert record is not None and record.info["box_rule"] == "largest"
    assert record.info["start"].startswith("box, as two points")
    assert len(masks) == len(result)
    row = json.loads(store.path("sam2", first.name, ".masks.jsonl").read_text().splitlines()[1])
    assert row["size"] == list(first.frames[0].shape[:2])
    for i in range(1, len(masks)):
        mask = masks[i]
        assert mask is not None
        if not record.absent or not record.absent[i]:
            assert np.allclose(result.boxes[i], mask_box(mask, "largest"))


def test_masks_of_a_tracker_without_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gives boxes alone; leave --masks out"):
        tnllt.run("still", dataset="demo", results=tmp_path, masks=True)


def test_weights_that_are_not_here_or_not_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"facebook/nothing.*download=yes"):
        Sam2("facebook/nothing", device="cpu")
    with pytest.raises(DataError, match=r"lacks \d+ tensors of EdgeTamVideoModel|not usable as EdgeTamVideoModel"):
        EdgeTam(folders["sam2"], device="cpu")
    with pytest.raises(UsageError, match="starts from a box or a mask"):
        Sam2(folders["sam2"], device="cpu").initialize(next(video(1)))
    assert issubclass(Sam2, SamTracker)
