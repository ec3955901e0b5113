"""Downloads from a server of our own: cuts, wrong sums, redirects, 404, a full disk; no half file passes as whole."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tnllt import download as module
from tnllt.cli.data import cli as data_cli
from tnllt.cli.run import cli as run_cli
from tnllt.download import Offer, RemoteFile, download, fetch, find_offer, offers
from tnllt.errors import DataError, UsageError

DATA = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; `cuts` are numbers of bytes after which the next answers end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/x.bin": DATA}
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.etag, self.takes_ranges, self.minds_etag, self.shift, self.most = '"one"', True, True, 0, 1 << 30

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, server = self.path.partition("?")[0], self.server
        if path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", path.removeprefix("/moved"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path not in server.files:
            self.send_error(503 if path == "/busy" else 404)
            return
        data, wanted = server.files[path], self.headers.get("Range")
        server.ranges.append(wanted)
        start = 0
        same = self.headers.get("If-Range", server.etag) == server.etag or not server.minds_etag
        if wanted and server.takes_ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) + server.shift
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            whole, data = len(data), data[: start + server.most]
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{whole}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "GET":
            cut = server.cuts.pop(0) if server.cuts else len(data)
            self.wfile.write(data[start : start + cut])
            self.close_connection = cut < len(data) - start

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def url(server: Server, path: str = "/x.bin") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_file_comes_whole_and_only_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert download(url(server), tmp_path / "x.bin", len(DATA), SUM, lambda *done: seen.append(done)) == SUM
    assert (tmp_path / "x.bin").read_bytes() == DATA and seen[-1] == (len(DATA), len(DATA))
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]
    assert download(url(server), tmp_path / "x.bin", len(DATA), SUM) == SUM
    assert len(server.ranges) == 1, "what is there is not asked for again"


def test_it_goes_on_after_cuts(server: Server, tmp_path: Path) -> None:
    server.cuts = [2 << 16, 1 << 16, 1]
    download(url(server), tmp_path / "x.bin", len(DATA), SUM)
    assert (tmp_path / "x.bin").read_bytes() == DATA
    assert server.ranges == [None, "bytes=131072-", "bytes=196608-", "bytes=196608-"]


def test_a_later_command_goes_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [140_000, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="131,072 bytes are kept; run the command again"):
        download(url(server), tmp_path / "x.bin", sha256=SUM)
    assert not (tmp_path / "x.bin").exists() and (tmp_path / "x.bin.part").stat().st_size == 131_072
    download(url(server), tmp_path / "x.bin", sha256=SUM)
    assert server.ranges[-1] == "bytes=131072-" and (tmp_path / "x.bin").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("how", ["changed", "no ranges", "longer part"])
def test_a_part_that_cannot_be_continued_is_begun_anew(server: Server, tmp_path: Path, how: str) -> None:
    (tmp_path / "x.bin.part").write_bytes(b"old" * (200_000 if how == "longer part" else 5))
    (tmp_path / "x.bin.part.etag").write_text('"one"')
    if how == "changed":
        server.etag = '"two"'
    server.takes_ranges = how != "no ranges"
    download(url(server), tmp_path / "x.bin", len(DATA), SUM)
    assert (tmp_path / "x.bin").read_bytes() == DATA


@pytest.mark.parametrize("how", ["no validator", "a weak one", "If-Range ignored", "another part", "parts of parts"])
def test_two_versions_are_not_joined(server: Server, tmp_path: Path, how: str) -> None:
    """Nor is a part taken for the whole, where nobody published a sum."""
    server.etag = {"no validator": "", "a weak one": 'W/"one"'}.get(how, server.etag)
    server.cuts = [140_000, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="run the command again") as refused:
        download(url(server), tmp_path / "x.bin")
    kept = how not in ("no validator", "a weak one")
    assert ("131,072 bytes are kept" in str(refused.value)) == kept
    if how == "parts of parts":
        server.most = 100_000
    elif how == "another part":
        server.shift = 1
    else:
        server.files["/x.bin"] = DATA[::-1]
        server.etag, server.minds_etag = server.etag.replace("one", "two"), False
    new = server.files["/x.bin"]
    download(url(server), tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == new
    assert (tmp_path / "x.bin.sha256").read_text().startswith(hashlib.sha256(new).hexdigest())


def test_a_part_without_a_validator_goes_on_where_its_sum_is_known(server: Server, tmp_path: Path) -> None:
    server.etag = ""
    server.cuts = [140_000]
    download(url(server), tmp_path / "x.bin", sha256=SUM)
    assert server.ranges == [None, "bytes=131072-"] and (tmp_path / "x.bin").read_bytes() == DATA


def test_a_part_that_is_all_of_it_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(DATA)
    assert download(url(server), tmp_path / "x.bin", None, SUM) == SUM
    assert server.ranges == [f"bytes={len(DATA)}-"]


def test_another_content_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA[:-1] + b"!"
    with pytest.raises(DataError, match=f"not {SUM}; it was removed"):
        download(url(server), tmp_path / "x.bin", len(DATA), SUM)
    with pytest.raises(DataError, match="300,000 bytes, where 299,999 are known"):
        download(url(server), tmp_path / "x.bin", len(DATA) - 1, SUM)
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.bin").write_bytes(DATA[:1000])
    with pytest.raises(DataError, match="move it away"):
        download(url(server), tmp_path / "x.bin", len(DATA), SUM)


def test_an_unpublished_sum_is_recorded_and_held_to(server: Server, tmp_path: Path) -> None:
    offer = Offer("page", "none", (RemoteFile(url(server)),))
    (note,) = fetch(offer, tmp_path)
    assert "no SHA-256 is published" in note and SUM in note
    assert (tmp_path / "x.bin.sha256").read_text() == f"{SUM}  x.bin\n"
    (tmp_path / "x.bin").unlink()
    server.files["/x.bin"] = DATA[:-1] + b"!"
    with pytest.raises(DataError, match=f"not {SUM}"):
        fetch(offer, tmp_path)


def test_redirects_are_followed_and_absence_is_said(server: Server, tmp_path: Path) -> None:
    download(url(server, "/moved/moved/x.bin"), tmp_path / "x.bin", sha256=SUM)
    for path, said in (("/gone.bin", "404"), ("/moved/gone.bin", "404"), ("/busy", "503")):
        with pytest.raises(DataError, match=said):
            download(url(server, path), tmp_path / "y.bin")
    with pytest.raises(DataError, match="run the command again"):
        download("http://127.0.0.1:9/x", tmp_path / "y.bin")
    with pytest.raises(UsageError, match="only http"):
        download("file:///etc/passwd", tmp_path / "y.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_a_full_disk_keeps_what_came(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = module._copy

    def fills(answer: Any, file: Any, done: int, total: int | None, progress: Any) -> int:
        class Full(io.RawIOBase):
            def write(self, chunk: Any) -> int:
                file.write(chunk[:60_000])
                raise OSError(28, "No space left on device")

        return taken(answer, Full(), done, total, progress)

    monkeypatch.setattr(module, "_copy", fills)
    with pytest.raises(DataError, match="disk is full"):
        download(url(server), tmp_path / "x.bin", len(DATA), SUM)
    assert not (tmp_path / "x.bin").exists() and (tmp_path / "x.bin.part").stat().st_size == 60_000
    monkeypatch.setattr(module, "_copy", taken)
    download(url(server), tmp_path / "x.bin", len(DATA), SUM)
    assert server.ranges[-1] == "bytes=60000-" and (tmp_path / "x.bin").read_bytes() == DATA
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: os.terminal_size((1, 1)) and _Usage())
    with pytest.raises(DataError, match="more than are free"):
        download(url(server), tmp_path / "y.bin", len(DATA))


class _Usage:
    free = 1000


def test_what_is_offered_is_sound() -> None:
    for kind in ("weights", "datasets"):
        for name, offer in offers(kind).items():  # type: ignore[arg-type]
            assert offer.page.startswith("http") and offer.licence, name
            assert sum(map(bool, (offer.files, offer.url, offer.hub, offer.steps))) == 1, name
            assert bool(offer.url) == bool(offer.names)
            for file in offer.files:
                assert file.url.startswith("https://") and file.size and len(file.sha256 or "") == 64
    with pytest.raises(UsageError, match="did you mean 'NanoTrack'"):
        find_offer("weights", "nanotrack")


def test_the_known_sums_are_those_of_the_files(shared: Path) -> None:
    for file in offers("weights")["NanoTrack"].files:
        own = (shared / "data" / "nanotrack" / file.name).read_bytes()
        assert len(own) == file.size and hashlib.sha256(own).hexdigest() == file.sha256


def test_what_no_program_can_fetch_prints_the_steps(tmp_path: Path) -> None:
    done = CliRunner().invoke(data_cli, ["get", "tnllt", str(tmp_path / "x")])
    assert isinstance(done.exception, UsageError)
    assert "pan.baidu.com/s/1Bsr3PENWaa9k_yCNpkUh_Q (code 1d6b)" in str(done.exception)
    assert "tnllt-data prepare downloads TNLLT" in str(done.exception) and not list(tmp_path.iterdir())


def test_get_weights_then_the_tracker_runs(
    server: Server, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path))
    monkeypatch.delenv("TNLLT_NANOTRACK", raising=False)
    known = offers("weights")["NanoTrack"]
    files = []
    for file in known.files:
        server.files[f"/{file.name}"] = (shared / "data" / "nanotrack" / file.name).read_bytes()
        files.append(RemoteFile(url(server, f"/{file.name}"), file.size, file.sha256))
    monkeypatch.setattr(module, "offers", lambda kind: {"NanoTrack": Offer(known.page, known.licence, tuple(files))})
    from tnllt.tracking.opencv import NanoTrack

    assert "tnllt-run get NanoTrack" in NanoTrack.missing()
    done = CliRunner().invoke(run_cli, ["get", "NanoTrack"], catch_exceptions=False)
    assert done.exit_code == 0 and "is there and loads" in done.output
    assert NanoTrack.missing() == ""


def otb_archive(name: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(1, 4):
            picture = cv2.imencode(".jpg", np.full((40, 60, 3), 50 * number, np.uint8))[1].tobytes()
            file.writestr(f"{name}/img/{number:04}.jpg", picture)
        file.writestr(f"{name}/groundtruth_rect.txt", "1,2,9,8\n" * 3)
    return archive.getvalue()


def test_get_a_dataset_unpacks_and_checks_it(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files |= {"/seq/Couple.zip": otb_archive("Couple"), "/seq/Man.zip": otb_archive("Man")}
    offer = Offer("page", "none", url=url(server, "/seq/{name}.zip"), names=("Couple", "Crossing", "Man"))
    monkeypatch.setattr(module, "offers", lambda kind: {"otb100": offer})
    words = ["get", "otb100", str(tmp_path), "--only", "Couple*", "--only", "M*"]
    server.cuts = [200, 0, 0, 0, 0, 0]
    done = CliRunner().invoke(data_cli, words)
    assert isinstance(done.exception, DataError) and not (tmp_path / "Couple").exists()
    done = CliRunner().invoke(data_cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "is whole" in done.output and done.output.count("no SHA-256 is published") == 2
    from tnllt.datasets import open_dataset

    dataset = open_dataset("otb100", tmp_path, split=None)
    assert dataset.names == ["Couple", "Man"] and len(dataset["Man"].frames) == 3


def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], None]:
    """The server as a hub with one dataset repository, own/seq; the function adds a file to it."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url(server, ""))
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url(server, "".join(template[1:])))
    commit, siblings = "0" * 40, []

    def add(name: str, data: bytes, digest: str | None = None) -> None:
        digest = digest or hashlib.sha256(data).hexdigest()
        lfs = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 130}
        siblings.append({"rfilename": name, "size": len(data), "blobId": digest[:40], "lfs": lfs})
        info = json.dumps({"id": "own/seq", "sha": commit, "siblings": siblings}).encode()
        for path in ("/api/datasets/own/seq", "/api/datasets/own/seq/revision/main"):
            server.files[path] = info
        server.files[f"/api/datasets/own/seq/revision/{commit}"] = info
        server.files[f"/datasets/own/seq/resolve/{commit}/{name}"] = data

    plain = Handler.end_headers

    def end_headers(self: Handler) -> None:
        if "/resolve/" in self.path:
            self.send_header("X-Repo-Commit", commit)
        plain(self)

    monkeypatch.setattr(Handler, "end_headers", end_headers)
    return add


def test_a_repository_of_the_hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = hub(server, monkeypatch)
    archive = otb_archive("airplane-1")
    add("airplane.zip", archive)
    add("bear.zip", otb_archive("bear-1"))
    offer = Offer("page", "none", hub="own/seq")
    fetch(offer, tmp_path, ("air*",))
    assert (tmp_path / "airplane.zip").read_bytes() == archive
    assert not (tmp_path / "bear.zip").exists()
    with pytest.raises(UsageError, match="nothing matches zebra"):
        fetch(offer, tmp_path, ("zebra*",))
    add("cat.zip", b"not what the hub says", SUM)
    with pytest.raises(DataError, match="differs from the hub's SHA-256"):
        fetch(offer, tmp_path, ("cat*",))
    assert not (tmp_path / "cat.zip").exists()
    server.files.clear()
    with pytest.raises(DataError, match="run the command again"):
        fetch(offer, tmp_path, ("bear*",))
