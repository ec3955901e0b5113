"""The viewer: on this machine alone, nothing but its own addresses, one frame decoded a seek; recordings and videos."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tests.report.conftest import arguments
from tnllt.cli.eval import cli
from tnllt.cli.eval_view import frame_range
from tnllt.config import Locations
from tnllt.datasets import ArrayFrames, ImageFrames, VideoFrames
from tnllt.errors import DataError, UsageError
from tnllt.eval.report.thumbnails import spread_frames, worst_frames
from tnllt.eval.view.pictures import failure_sheet, render
from tnllt.eval.view.scene import Scene, Scenes, answers_of, failure_spans, open_scene, spans
from tnllt.eval.view.server import ViewServer
from tnllt.sequence import Annotation, Sequence, Trajectory


def served(scene: Scene) -> Iterator[ViewServer]:
    yield from running(ViewServer([scene.sequence.name], lambda name: scene, scene.sequence.name))


def running(server: ViewServer) -> Iterator[ViewServer]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(release: Path) -> Iterator[ViewServer]:
    yield from served(open_scene(Locations("tnllt", release / "data", None, release / "results"), "beta"))


def get(server: ViewServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host if host is not None else f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_answers(server: ViewServer) -> None:
    assert get(server, "/")[0] == 200
    scene = json.loads(get(server, "/0/scene.json")[1])
    assert scene["frames"] == 60 and scene["absent"] == [[19, 27]] and len(scene["trackers"]) == 4
    status, data = get(server, "/0/frame/0.jpg")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert status == 200 and image.shape == (144, 256, 3)


ELSEWHERE = (
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/0/frame/../../../etc/passwd", "/0/frame/..%2f1.jpg",
    "/0/frame/1.jpg/..", "//etc/passwd", "/page/view.js", "/server.py", "/0/frame/60.jpg", "/0/frame/-1.jpg",
    "/0/frame/1e1.jpg", "/0/frame/%D9%A3.jpg", "/0/frame/999999999999.jpg", "/0/frame/.jpg",
    "/favicon.ico", "/view.js/", "/1/scene.json", "/1/frame/0.jpg", "/scene.json", "/-1/scene.json",
    "/?../../etc/passwd/..%00/x",
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_other_addresses_are_not_there(server: ViewServer, path: str) -> None:
    status, data = get(server, path)
    if path.startswith("/?"):
        assert data == get(server, "/")[1]
    else:
        assert status == 404, path
    assert b"root:" not in data


def test_raw_requests_that_no_browser_sends(server: ViewServer) -> None:
    for line in (
        b"GET /../../../../etc/passwd HTTP/1.0",
        b"GET file:///etc/passwd HTTP/1.0",
        b"GET ../etc/passwd HTTP/1.0",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(line + b"\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.server_port)
            assert b" 404 " in connection.recv(4096)


def test_other_sites_cannot_ask(server: ViewServer) -> None:
    for host in ("evil.example", f"evil.example:{server.server_port}", "", "127.0.0.1.evil.example"):
        assert get(server, "/0/scene.json", host)[0] == 403
    assert get(server, "/0/scene.json", f"localhost:{server.server_port}")[0] == 200
    assert get(server, "/", method="POST")[0] == 501
    assert get(server, "/", method="HEAD") == (200, b"")


def test_it_listens_on_loopback_only(server: ViewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.socket.getsockname()[0] == "127.0.0.1"
    outside = [i[4][0] for i in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for address in {a for a in outside if not a.startswith("127.")}:
        with pytest.raises(OSError):
            socket.create_connection((address, server.server_port), timeout=2).close()


def test_no_name_server_is_asked(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda *_: pytest.fail("asked for the name of an address"))
    with ViewServer(["s"], lambda _: pytest.fail("opened"), "s") as made:
        assert made.url.startswith("http://127.0.0.1:") and made.server_port > 0


def test_a_taken_port_is_said(server: ViewServer, release: Path) -> None:
    scene = Scene(Sequence("s", Annotation(np.ones((3, 4)))), {})
    with pytest.raises(UsageError, match="--port"):
        ViewServer(["s"], lambda name: scene, "s", (), server.server_port)


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 frames of 1280 x 720 as JPEG files (links to fifty different ones: the disk must not be the test)."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    for i in range(50):
        noise = cv2.resize(rng.integers(0, 255, (90, 160, 3)).astype(np.uint8), (1280, 720))
        (folder / f"{i:05d}.jpg").write_bytes(cv2.imencode(".jpg", noise)[1].tobytes())
    for i in range(50, 10_000):
        (folder / f"{i:05d}.jpg").hardlink_to(folder / f"{i % 50:05d}.jpg")
    return folder


def long_scene(frames: Any) -> Scene:
    rng = np.random.default_rng(1)
    truth = np.c_[600 + np.cumsum(rng.normal(0, 2, (10_000, 2)), 0), np.full((10_000, 2), 80.0)]
    present = np.ones(10_000, bool)
    present[4000:4400] = False
    results = {f"t{k}": Trajectory(truth + rng.normal(0, 4 + k, truth.shape)) for k in range(5)}
    return Scene(Sequence("long", Annotation(truth, present, "a sentence"), frames, "made"), results)


class Counted:
    """Frames that count how often one is decoded; their files, if they have some, are not shown."""

    def __init__(self, frames: Any) -> None:
        self.frames, self.decoded = frames, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Any:
        self.decoded += 1
        return self.frames[index]


def test_a_seek_in_ten_thousand_jpeg_files_sends_the_file(long_folder: Path) -> None:
    for live in served(long_scene(ImageFrames(long_folder))):
        for index in np.random.default_rng(2).permutation(10_000)[:40]:
            status, data = get(live, f"/0/frame/{index}.jpg")
            assert status == 200 and data == (long_folder / f"{index:05d}.jpg").read_bytes()
        assert get(live, "/0/scene.json")[0] == 200


def test_a_seek_decodes_one_frame_and_a_second_look_none() -> None:
    picture = np.random.default_rng(3).integers(0, 255, (72, 128, 3)).astype(np.uint8)
    frames = Counted(ArrayFrames([picture] * 10_000))
    for live in served(long_scene(frames)):
        assert get(live, "/0/scene.json")[0] == 200
        before = frames.decoded
        assert before <= 1  # for the pictures' size
        for index, decoded in ((7777, 1), (7777, 1), (3, 2), (9999, 3), (3, 3)):
            assert get(live, f"/0/frame/{index}.jpg")[0] == 200
            assert frames.decoded - before == decoded


def test_a_video_file_is_sought_exactly(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (64, 48))
    for i in range(120):
        writer.write(np.full((48, 64, 3), i * 2, np.uint8))
    writer.release()
    scene = Scene(Sequence("v", Annotation(np.full((120, 4), 5.0)), VideoFrames(path)), {})
    for live in served(scene):
        for index in (100, 3, 117, 60, 61, 0):
            image = cv2.imdecode(np.frombuffer(get(live, f"/0/frame/{index}.jpg")[1], np.uint8), cv2.IMREAD_COLOR)
            assert abs(image.mean() - VideoFrames(path)[index].mean()) < 0.9, index  # neighbours are 2 apart


@pytest.mark.browser
def test_the_page_scrubs_and_jumps(long_folder: Path, watch: Any) -> None:
    for live in served(long_scene(ImageFrames(long_folder))):
        watched = watch(live.url)
        page = watched.page
        seek = """(at) => new Promise((done) => {
            const begin = performance.now();
            const seek = document.getElementById('seek');
            seek.value = at; seek.dispatchEvent(new Event('input'));
            const wait = () => document.documentElement.dataset.frame == at ? done(performance.now() - begin) : requestAnimationFrame(wait);
            wait();
        })"""  # noqa: E501
        times = [page.evaluate(seek, at) for at in (9_000, 120, 5_555, 7_001, 42, 9_999, 3_333, 8_080, 17)]
        assert np.quantile(times, 0.25) < 150  # the quarter that other work on the machine disturbs least
        page.keyboard.press("a")
        page.wait_for_selector("html[data-frame='4000']")
        assert page.inner_text('[data-v="truth"]') == "out of view"
        page.click("#worst")
        worst = worst_frames(np.stack(list(long_scene(ImageFrames(long_folder)).overlaps.values())), 1)[0]
        page.wait_for_selector(f"html[data-frame='{worst}']")
        assert page.is_disabled("#refresh")
        watched.silent()


@pytest.mark.browser
def test_the_page_plays_and_shows_thoughts(server: ViewServer, watch: Any) -> None:
    watched = watch(server.url)
    page = watched.page
    page.keyboard.press("r")
    page.wait_for_selector("html[data-frame='29']")
    assert "It came back brighter than it went." in page.inner_text("#thoughts")
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    deadline = time.monotonic() + 20
    while int(page.get_attribute("html", "data-frame")) <= 5:
        assert time.monotonic() < deadline, "it does not play"
        page.wait_for_timeout(50)
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Play"
    page.locator("#trackers input >> nth=0").uncheck()
    page.set_viewport_size({"width": 375, "height": 720})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    watched.silent()


@pytest.mark.browser
def test_hostile_names_do_no_harm_in_the_page(hostile: Path, watch: Any) -> None:
    scene = open_scene(Locations("tnllt", hostile / "data", None, hostile / "results"), "alpha")
    for live in served(scene):
        watched = watch(live.url)
        watched.page.keyboard.press("r")
        watched.page.wait_for_timeout(100)
        assert watched.page.evaluate("typeof window.hurt") == "undefined"
        assert watched.page.locator("img").count() == 0
        assert "\u202e" not in watched.page.inner_text("body")
        watched.silent()


@pytest.fixture(scope="module")
def whole(release: Path) -> Iterator[ViewServer]:
    scenes = Scenes(Locations("tnllt", release / "data", None, release / "results"))
    yield from running(ViewServer(scenes.names, scenes.open, "beta", ["SiamFC"]))


@pytest.mark.browser
def test_the_page_moves_between_sequences_and_trackers(whole: ViewServer, watch: Any) -> None:
    watched = watch(whole.url)
    page = watched.page
    names = page.locator("#sequence option").all_inner_texts()
    assert names == list(whole.names) and page.locator("#sequence").input_value() == str(names.index("beta"))
    ticked = page.locator("#trackers li", has_text="SiamFC").locator("input")
    assert not ticked.is_checked()
    ticked.check()
    for key, step in (("n", 1), ("p", 0), ("p", -1)):
        page.locator("body").press(key)
        page.wait_for_selector(f"html[data-sequence='{names.index('beta') + step}']")
        assert page.inner_text("#about").startswith("tnllt")
        assert ticked.is_checked(), "what was chosen stays chosen"
    page.locator("#sequence").select_option("beta")
    page.wait_for_selector(f"html[data-sequence='{names.index('beta')}']")
    listed = page.locator("#failures button")
    if listed.count():
        first = listed.first.inner_text().split("–")[0]
        listed.first.click()
        page.wait_for_selector(f"html[data-frame='{int(first) - 1}']")
    watched.silent()


@pytest.mark.browser
def test_the_page_lists_failures(watch: Any) -> None:
    truth = np.tile([40.0, 40, 20, 20], (60, 1))
    lost, found = truth.copy(), truth.copy()
    lost[12:30] += [50, 0, 0, 0]
    sequence = Sequence("s", Annotation(truth), ArrayFrames(np.zeros((60, 120, 160, 3), np.uint8)))
    for live in served(Scene(sequence, {"loser": Trajectory(lost), "keeper": Trajectory(found)})):
        watched = watch(live.url)
        page = watched.page
        assert page.locator("#failures").inner_text().split("\n") == ["loser: overlap below 0.1 in frames", "13–30"]
        page.locator("body").press("f")
        page.wait_for_selector("html[data-frame='12']")
        page.locator("#trackers li", has_text="loser").locator("input").uncheck()
        assert page.is_disabled("#failure") and page.locator("#failures").inner_text() == ""
        watched.silent()


def test_recording_for_rerun(release: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    out = tmp_path / "beta.rrd"
    given = ["view", "beta", *arguments(release), "--rerun", str(out), "--frames", "25:40"]
    result = CliRunner().invoke(cli, given, catch_exceptions=False)
    assert result.exit_code == 0 and "16 frames" in result.output
    assert out.read_bytes()[:3] == b"RRF" and out.stat().st_size > 16 * 1000


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_render(release: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"beta{suffix}"
    given = ["render", "beta", *arguments(release), "--out", str(out), "--frames", "1:40:2", "--width", "320"]
    result = CliRunner().invoke(cli, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    if suffix == ".gif":
        from PIL import Image

        with Image.open(out) as picture:
            assert picture.n_frames == 20 and picture.size == (320, 180)
    else:
        capture = cv2.VideoCapture(str(out))
        frames = []
        while (read := capture.read())[0]:
            frames.append(read[1])
        assert len(frames) == 20 and frames[0].shape == (180, 320, 3)
        assert frames[0].std() > 10


def test_render_says_what_it_cannot(release: Path, tmp_path: Path) -> None:
    scene = open_scene(Locations("tnllt", release / "data", None, release / "results"), "beta", "SiamFC")
    with pytest.raises(UsageError, match="suffix"):
        render(scene, tmp_path / "x.mov", range(9))
    with pytest.raises(UsageError, match="no frame"):
        frame_range("100:", len(scene))
    bare = Scene(Sequence("s", Annotation(np.ones((3, 4)))), {})
    with pytest.raises(DataError, match="--root"):
        render(bare, tmp_path / "x.gif", range(3))
    assert not list(tmp_path.iterdir())


def test_frame_ranges() -> None:
    assert frame_range(None, 60) == range(60)
    assert frame_range("10:20", 60) == range(9, 20)
    assert frame_range("10:20:5", 60) == range(9, 20, 5)
    assert frame_range(":20", 60) == range(20)
    assert frame_range("50:90", 60) == range(49, 60)
    for text in ("x", "5", "0:9", "1:2:3:4", "-1:4"):
        with pytest.raises(UsageError):
            frame_range(text, 60)


def test_scenes_know_their_events() -> None:
    record = {"description_changes": [{"frame": 5, "description": "new"}, {"frame": "x", "description": 3}, 7]}
    trajectory = Trajectory(np.ones((9, 4)), record=record)
    assert [(a.frame, a.description) for a in answers_of(trajectory)] == [(6, "new")]
    trace = [
        {"frame": 3, "before": "a", "after": "b", "think": "so", "update": True},
        {"frame": 4, "before": "b", "after": "b", "decision": "keep"},
        {"frame": 5, "before": "b", "after": "b", "error": {"kind": "timeout", "message": "late"}},
        {"event": "x"},
    ]
    found = [(a.frame, a.description, a.think, a.decision, a.changed) for a in answers_of(trajectory, trace)]
    assert found == [(4, "b", "so", "yes", True), (5, "b", "", "keep", False)]
    assert spans(np.array([1, 1, 0, 1, 0], bool)) == [(0, 2), (3, 4)]


def test_unknown_sequence_and_tracker(release: Path) -> None:
    where = Locations("tnllt", release / "data", None, release / "results")
    for name, tracker in (("nosuch", "all"), ("beta", "nosuch")):
        with pytest.raises((UsageError, DataError, KeyError)):
            open_scene(where, name, tracker)


def test_failures_last_ten_measured_frames() -> None:
    values = np.full(60, 0.8)
    values[5:15] = 0.05  # ten frames
    values[20:29] = 0.0  # nine
    values[40:55] = 0.0
    values[44:50] = np.nan  # out of view: neither counts nor ends it
    assert failure_spans(values) == [(5, 15)]
    values[55:57] = 0.0
    assert failure_spans(values) == [(5, 15), (40, 57)]
    assert failure_spans(np.full(30, np.nan)) == [] and failure_spans(np.zeros(30)) == [(0, 30)]


def test_frames_are_spread_over_a_sequence() -> None:
    overlaps = np.ones((2, 100))
    overlaps[:, 47] = 0
    found = spread_frames(overlaps, 12)
    assert found == sorted(found) and 6 <= len(found) <= 12 and {0, 47, 99} <= set(found)
    assert spread_frames(overlaps, 0) == [] and spread_frames(overlaps[:, :1], 5) == [0]


def test_failures_on_a_sheet(tmp_path: Path) -> None:
    truth = np.tile([40.0, 40, 20, 20], (60, 1))
    frames = ArrayFrames(np.stack([np.full((120, 160, 3), 4 * i, np.uint8) for i in range(60)]))

    def scene(name: str, start: int, end: int, with_frames: bool = True) -> Scene:
        lost = truth.copy()
        lost[start:end] += [60, 0, 0, 0]
        sequence = Sequence(name, Annotation(truth), frames if with_frames else None)
        return Scene(sequence, {"loser": Trajectory(lost), "keeper": Trajectory(truth)})

    scenes = [scene("a", 5, 20), scene("b", 30, 60), scene("c", 7, 16), scene("d", 0, 40, False)]
    assert failure_sheet(scenes, tmp_path / "x.png") == 3, "nine frames are not a failure"
    sheet = cv2.imread(str(tmp_path / "x.png"))
    tiles = sheet[-340:, 210], sheet[-340:, 630]  # the longest first: frame 30, then 5
    assert sheet.shape[1] == 840
    assert [int(np.median(tile[:300])) for tile in tiles] == [120, 20]
    with pytest.raises(DataError, match="no tracker fails"):
        failure_sheet([scene("c", 7, 16)], tmp_path / "y.png")
    with pytest.raises(DataError, match="--root"):
        failure_sheet([scene("d", 0, 40, False)], tmp_path / "y.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_compare_writes_the_sheet(release: Path, tmp_path: Path) -> None:
    given = ["compare", "ReasoningTrack", "SiamFC", *arguments(release), "--failures"]
    result = CliRunner().invoke(cli, [*given, str(tmp_path / "x.svg")])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(cli, [*given, str(tmp_path / "x.png")], catch_exceptions=False)
    assert result.exit_code == 0 and "the longest of" in result.output, result.output
    assert cv2.imread(str(tmp_path / "x.png")).std() > 10
