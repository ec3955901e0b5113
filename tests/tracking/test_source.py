"""`tnllt-run --source` and `tnllt.track`: files, folders, globs, streams and cameras; box file and video; live."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import tnllt
from tests.tracking.conftest import TRACKERS, tnllt_run
from tnllt import video as video_write
from tnllt.boxes import overlap
from tnllt.errors import DataError, UsageError
from tnllt.tracking import Mode, Prediction, Tracker, TrackerFailure
from tnllt.video import write_video

SIZE = (48, 64)
TELLING = f"{TRACKERS}:Telling"
DRIFT = f"{TRACKERS}:Drift"


def pictures(count: int) -> list[np.ndarray[Any, Any]]:
    return [np.random.default_rng(i).integers(0, 256, (*SIZE, 3), dtype=np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames as a folder of PNG files and as a lossless video of 25 frames a second."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "shots").mkdir()
    video = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 25, SIZE[::-1])
    for number, picture in enumerate(pictures(10)):
        cv2.imwrite(str(folder / "shots" / f"{number + 1}.png"), picture[..., ::-1])  # 10.png comes behind 9.png
        video.write(picture[..., ::-1])
    video.release()
    return folder


@pytest.fixture(scope="module")
def server(sources: Path) -> Iterator[str]:
    """The lossless video, and an MJPEG stream of eight frames, over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/clip.avi":
                data = (sources / "clip.avi").read_bytes()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                return
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for number in range(8):
                jpeg = cv2.imencode(".jpg", np.full((*SIZE, 3), 20 * number + 40, np.uint8))[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            if self.path == "/stalled":
                time.sleep(60)

        def log_message(self, format: str, *args: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()


def boxes_of(source: Any, tracker: Any = DRIFT, box: Any = (10, 12, 9, 8)) -> np.ndarray[Any, Any]:
    return np.array([prediction.box for _, prediction in tnllt.track(source, tracker, box)])


def test_a_source_is_the_same_whatever_holds_it(sources: Path, server: str) -> None:
    folder = boxes_of(sources / "shots")
    assert folder.shape == (10, 4) and folder[0].tolist() == [10, 12, 9, 8] and len(np.unique(folder[:, 0])) == 10
    same = [f"{sources}/shots/*.png", sources / "clip.avi", f"{server}/clip.avi", pictures(10)]
    for source in same:
        assert np.array_equal(boxes_of(source), folder), source
    one = boxes_of(f"{sources}/shots/?.png")
    assert len(one) == 9 and np.array_equal(one, folder[:9])


def test_frames_are_rgb_and_come_with_their_prediction(sources: Path, server: str) -> None:
    frames = [frame for frame, _ in tnllt.track(sources / "clip.avi", TELLING, (1, 2, 3, 4))]
    assert np.array_equal(frames, pictures(10))
    levels = [frame.mean() for frame, _ in tnllt.track(f"{server}/stream", TELLING, (1, 2, 3, 4))]
    assert levels == pytest.approx([20 * n + 40 for n in range(8)], abs=3)


def test_a_clip_joined_to_a_video_gives_the_boxes_of_its_folder(shared: Path, tmp_path: Path) -> None:
    clip, weights = shared / "data" / "otb" / "Couple" / "img", shared / "data" / "nanotrack"
    images = [cv2.imread(str(path)) for path in sorted(clip.glob("*.jpg"))[:60]]
    for name, code in (("lossless.avi", "FFV1"), ("lossy.mp4", "mp4v")):
        video = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*code), 25, images[0].shape[1::-1])
        for image in images:
            video.write(image)
        video.release()
    options = {"weights": str(weights)}

    def tracked(source: Any) -> np.ndarray[Any, Any]:
        answers = tnllt.track(source, "NanoTrack", (51, 47, 25, 62), options=options)
        return np.array([answer.box for _, answer in answers])

    folder = tracked(f"{clip}/00[0-5]?.jpg")
    assert len(folder) == 59
    assert np.array_equal(tracked(tmp_path / "lossless.avi")[:59], folder)
    assert overlap(tracked(tmp_path / "lossy.mp4")[:59], folder).mean() > 0.8


class Slow(Tracker):
    """Takes 100 ms a frame."""

    def initialize(self, image: Any, box: Any = None, language: Any = None) -> None:
        self.seen = [int(image[0, 0, 0])]

    def track(self, image: Any) -> Prediction:
        time.sleep(0.1)
        return Prediction([0, 0, int(image[0, 0, 0]) + 1, 5])


class Camera:
    """Thirty frames a second; frame i is of level i. `newest` is the number of frames that have been taken."""

    fps = 30.0

    def __init__(self, count: int) -> None:
        self.count, self.newest = count, 0

    def __iter__(self) -> Iterator[Any]:
        start = time.perf_counter()
        for number in range(self.count):
            time.sleep(max(0.0, start + number / 30 - time.perf_counter()))
            self.newest = number
            yield np.full((*SIZE, 3), number, np.uint8)


def test_live_drops_what_came_meanwhile_and_stays_within_two_frames() -> None:
    camera = Camera(45)
    behind, numbers, waited = [], [], []
    with tnllt.track(camera, Slow, (1, 1, 5, 5), live=True) as tracking:
        for frame, prediction in tracking:
            numbers.append(tracking.index)
            behind.append(camera.newest - tracking.index)
            waited.append(tracking.waited)
            assert frame[0, 0, 0] == tracking.index and (len(numbers) == 1 or prediction.box[2] == tracking.index + 1)
    assert numbers == sorted(set(numbers)) and numbers[-1] == 44, "the last frame is tracked, none twice"
    assert tracking.dropped == 45 - len(numbers) and 10 <= len(numbers) <= 17
    # When a frame's answer comes, 100 ms have passed: three frames. It was new when the tracker took it.
    # (A quantile: other work on the machine delays single frames.)
    assert np.median(behind) <= 4 and np.quantile(waited, 0.8) < 2 / 30


def test_without_live_no_frame_is_dropped() -> None:
    tracking = tnllt.track(Camera(6), Slow, (1, 1, 5, 5))
    assert [frame[0, 0, 0] for frame, _ in tracking] == [0, 1, 2, 3, 4, 5] and tracking.dropped == 0


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_command_writes_video_boxes_and_descriptions(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    words = (TELLING, "--source", sources / "clip.avi", "--box", "10,12,9,8", "--text", "the box", "--out", out)
    done = tnllt_run(*words)
    assert done.returncode == 0 and "10 frames tracked" in done.stdout, done.stderr
    film = cv2.VideoCapture(str(out))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 10 and film.get(cv2.CAP_PROP_FPS) == 25
    table = rows(tmp_path / "out.csv")
    assert [row["frame"] for row in table] == [str(n) for n in range(1, 11)]
    assert table[0]["confidence"] == "" and table[1]["confidence"] == "0.25" and table[4]["absent"] == "1"
    assert [float(table[9][name]) for name in "xywh"] == [10, 12, 9, 8]
    assert [row["description"] for row in table[2:4]] == ["the box", 'the box, now "red"']


def test_the_video_is_h264_at_the_sources_rate_where_there_is_an_encoder(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    write_video(tmp_path / "x.mp4", pictures(5), 23.976)
    film = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert b"avc1" in (tmp_path / "x.mp4").read_bytes()
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(23.976, abs=1e-3)


def test_without_an_encoder_opencv_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_write, "_h264", lambda: None)
    write_video(tmp_path / "x.mp4", pictures(5), 25)
    assert len(list(tnllt.track(tmp_path / "x.mp4", TELLING, (1, 2, 3, 4)))) == 5


def test_a_description_alone_starts_a_tracker_that_takes_it(sources: Path, tmp_path: Path) -> None:
    words = (TELLING, "--source", sources / "shots", "--text", "the box", "--out", tmp_path / "x.csv")
    assert tnllt_run(*words).returncode == 0
    assert [float(rows(tmp_path / "x.csv")[0][name]) for name in "xywh"] == [1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_box_from_a_file(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "box.txt").write_text("10 12 9 8\n")
    words = (TELLING, "--source", f"{sources}/shots/*.png", "--box", tmp_path / "box.txt", "--out", tmp_path / "x.csv")
    assert tnllt_run(*words).returncode == 0
    assert float(rows(tmp_path / "x.csv")[3]["x"]) == 10


@pytest.mark.parametrize(("habit", "code", "kept"), [("raise", 3, 5), ("interrupt", 0, 6)])
def test_what_was_tracked_is_kept(sources: Path, tmp_path: Path, habit: str, code: int, kept: int) -> None:
    words = (TELLING, "--set", f"what={habit}", "--source", sources / "clip.avi", "--box", "10,12,9,8")
    done = tnllt_run(*words, "--out", tmp_path / "x.mp4")
    assert done.returncode == code and f"{kept} frames tracked" in done.stdout
    assert ("lost my way" in done.stderr) == (habit == "raise")
    assert len(rows(tmp_path / "x.csv")) == kept
    assert cv2.VideoCapture(str(tmp_path / "x.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == kept


MASKS = """
import sys
import numpy as np
from tnllt.tracking import Prediction, Tracker

class Masks(Tracker):
    gives_masks = True

    def initialize(self, image, box=None, language=None):
        self.frames = 0
        print("frames", self.frames, file=sys.stderr, flush=True)  # of a live source this may be the last frame

    def track(self, image):
        self.frames += 1
        print("frames", self.frames, file=sys.stderr, flush=True)
        mask = np.zeros(image.shape[:2], bool)
        mask[200:220, 300:360] = True
        return Prediction([300, 200, 60, 20], mask=mask)
"""


def test_a_mask_is_painted_into_the_video(tmp_path: Path) -> None:
    (tmp_path / "masks.py").write_text(MASKS)
    black = [np.zeros((240, 400, 3), np.uint8)] * 3
    write_video(tmp_path / "black.mp4", black, 25)
    words = (f"{tmp_path / 'masks.py'}:Masks", "--source", tmp_path / "black.mp4", "--box", "300,200,60,20")
    assert tnllt_run(*words, "--out", tmp_path / "x.mp4").returncode == 0
    film = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    first, second = (film.read()[1].astype(int) for _ in range(2))
    assert first[205:215, 310:350].max() < 8 and second[205:215, 310:350].max() > 40  # the first frame has none
    assert second[150:190, 200:290].max() < 8 and second[205:215, 310:350].std((0, 1)).max() < 8


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="Ctrl-C is ignored in the background")
def test_a_second_interrupt_ends_a_live_source_that_has_stalled(server: str, tmp_path: Path) -> None:
    (tmp_path / "masks.py").write_text(MASKS)
    words = [f"{tmp_path / 'masks.py'}:Masks", "--source", f"{server}/stalled", "--live", "--box", "1,2,3,4"]
    command = [sys.executable, "-m", "tnllt.cli.run", *words, "--out", str(tmp_path / "x.csv")]
    for _ in range(5):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                assert any("frames" in line for line in process.stderr)
                time.sleep(2)  # it waits for a frame that does not come
                process.send_signal(signal.SIGINT)
                assert any("Ending after this frame" in line for line in process.stderr)
                time.sleep(1)
                process.send_signal(signal.SIGINT)
                if process.wait(20) == 0:  # on a busy machine a frame may have come this late
                    (tmp_path / "x.csv").unlink()
                    continue
                assert process.returncode == 130 and "Interrupted" in process.stderr.read()
                break
            finally:
                process.kill()
    assert process.returncode == 130
    assert not (tmp_path / "x.csv").exists()


def test_a_reasoner_that_fails_does_not_look_like_success(sources: Path, tmp_path: Path) -> None:
    words = (TELLING, "--set", "what=silent", "--source", sources / "clip.avi", "--box", "10,12,9,8")
    done = tnllt_run(*words, "--out", tmp_path / "x.csv")
    assert done.returncode == 3 and "2 of 3 refreshes of the description failed" in done.stderr


REFUSED = (
    (("--source", "nowhere.mp4", "--box", "1,2,3,4", "--out", "x.mp4"), "neither a file, a folder, a glob"),
    (("--source", "{clip}", "--box", "1,2,3,4", "--out", "x.mov"), "suffix must be"),
    (("--source", "{clip}", "--box", "1,2,3,4"), "--out FILE.mp4"),
    (("--source", "{clip}", "--box", "1,2,3", "--out", "x.csv"), "four numbers"),
    (("--source", "{clip}", "--box", "a,b,c,d", "--out", "x.csv"), "expected x,y,w,h"),
    (("--source", "{clip}", "--box", "64,2,3,4", "--out", "x.csv"), "outside of the frame of 64 x 48"),
    (("--source", "{clip}", "--box", "1,2,0,4", "--out", "x.csv"), "no initial box"),
    (("--source", "{clip}", "--text", "a box", "--out", "x.csv"), "give --box x,y,w,h with a --source, or --starter"),
    (("--source", "{clip}", "--box", "1,2,3,4", "--out", "x.csv", "--workers", "2"), "--workers is for runs"),
    (("--source", "{clip}", "--box", "1,2,3,4", "--out", "nowhere/file.txt/x.csv", "--mode", "NL"), "cannot start"),
    (("--source", "http://127.0.0.1:9/x", "--box", "1,2,3,4", "--out", "x.csv"), "cannot be opened"),
    (("--box", "1,2,3,4", "--text", "the box"), "Error: --box, --out, --show, --live and --fps go with --source; name"),
)


@pytest.mark.parametrize(("words", "said"), REFUSED)
def test_what_cannot_be_tracked_is_said(
    sources: Path, tmp_path: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tnllt_run(DRIFT, *(word.format(clip=sources / "clip.avi") for word in words))
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_window_is_opened_where_there_can_be_one(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (TELLING, "--source", sources / "clip.avi", "--show")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    refused = tnllt_run(*words)
    assert refused.returncode == 2 and "headless" in refused.stderr
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "no display" in tnllt_run(*words).stderr
    shown: list[Any] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "selectROI", lambda title, image, **how: (10, 12, 9, 8))
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: ord("q") if len(shown) == 4 else -1)
    done = tnllt_run(*words, "--out", tmp_path / "x.csv")
    assert done.returncode == 0 and len(shown) == 4, done.stderr
    assert [float(rows(tmp_path / "x.csv")[3][name]) for name in "xywh"] == [10, 12, 9, 8]
    # OpenCV's windows take BGR: the painted box is of the same colour in window and video.
    assert shown[0].shape == (*SIZE, 3)


def test_any_tracker_starts_from_a_description_by_a_starter(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "finds.py").write_text(
        "class Finds:\n    def locate(self, image, text):\n        return [((5.0, 6.0, 7.0, 8.0), float(len(text)))]\n"
    )
    words = (DRIFT, "--source", sources / "clip.avi", "--text", "the box", "--out", tmp_path / "x.csv")
    done = tnllt_run(*words, "--starter", f"{tmp_path / 'finds.py'}:Finds")
    assert done.returncode == 0, done.stderr
    first = rows(tmp_path / "x.csv")[0]
    assert [float(first[name]) for name in "xywh"] == [5, 6, 7, 8]
    assert tnllt_run(*words, "--starter-set", "threshold=1").returncode == 2


def test_the_description_can_be_changed_on_the_way(sources: Path) -> None:
    class Listens(Tracker):
        modes = (Mode.NL_BB,)

        def initialize(self, image: Any, box: Any = None, language: Any = None) -> None:
            self.said = language

        def track(self, image: Any) -> Prediction:
            return Prediction([len(self.said), 0, 5, 5])

        def describe(self, text: str) -> None:
            self.said = text

    globals()["Listens"] = Listens
    Listens.__qualname__ = "Listens"
    tracking = tnllt.track(sources / "clip.avi", Listens, (1, 1, 5, 5), "four")
    assert [next(tracking)[1].box[0], next(tracking)[1].box[0]] == [1, 4]
    tracking.describe("longer")
    assert next(tracking)[1].box[0] == 6 and tracking.description == "longer"
    tracking.close()


def test_python_errors(sources: Path) -> None:
    with pytest.raises(DataError, match="gives no frame"):
        tnllt.track([], TELLING, (1, 2, 3, 4))
    with pytest.raises(DataError, match="holds no image"):
        tnllt.track(sources, TELLING, (1, 2, 3, 4))
    with pytest.raises(UsageError, match="no tracker"):
        tnllt.track(sources / "clip.avi", "nosuchtracker", (1, 2, 3, 4))
    with pytest.raises(TrackerFailure, match="lost my way"):
        list(tnllt.track(sources / "clip.avi", TELLING, (1, 2, 3, 4), options={"what": "raise"}))


def test_a_password_in_an_address_is_not_told() -> None:
    with pytest.raises(DataError) as error:
        tnllt.track("rtsp://me:s3cr3tword@127.0.0.1:9/cam", TELLING, (1, 2, 3, 4))
    assert "s3cr3tword" not in tnllt_run(TELLING, "--source", str(error.value), "--out", "x.csv").stderr


def test_a_video_that_ends_too_soon_is_said(sources: Path, tmp_path: Path) -> None:
    data = (sources / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"only \d of its 10 frames"):
        assert 0 < len(boxes_of(tmp_path / "cut.avi")) < 10


def test_one_box_beside_a_video_is_its_initial_box(sources: Path, tmp_path: Path) -> None:
    shutil.copy(sources / "clip.avi", tmp_path / "clip.avi")
    (tmp_path / "clip.txt").write_text("10,12,9,8\n")
    done = tnllt_run(TELLING, "--dataset", tmp_path / "clip.avi", "--results", tmp_path / "r", "--video")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "r" / "Telling_tracking_result"
    assert len((folder / "clip.txt").read_text().splitlines()) == 10
    film = cv2.VideoCapture(str(folder / "clip.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 10 and film.get(cv2.CAP_PROP_FPS) == 25
