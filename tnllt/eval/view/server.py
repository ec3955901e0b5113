"""The local page of `tnllt-eval view`: loopback only, addresses of numbers, none of which names a file."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socketserver import TCPServer
from typing import Any

import numpy as np

from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.eval.view.scene import Scene
from tnllt.files import to_json
from tnllt.sequence import Frames, Image

HOST = "127.0.0.1"
_SCENE = re.compile(r"/([0-9]{1,9})/(?:scene\.json|frame/([0-9]{1,9})\.jpg)")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = {
    "/": ("view.html", "text/html; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
}


class JpegFrames:
    """Frames as JPEG bytes: files that are JPEG already are sent as they are, others encoded, the latest ones kept."""

    def __init__(self, frames: Frames) -> None:
        from tnllt.datasets.frames import VideoFrames

        self._frames = SeekingVideo(frames) if isinstance(frames, VideoFrames) else frames
        self._encoded = lru_cache(64)(lambda index: encode_jpeg(self._frames[index]))

    def __len__(self) -> int:
        return len(self._frames)

    def jpeg(self, index: int) -> bytes:
        """Frame `index` (from 0). Raises DataError where it cannot be read."""
        path = getattr(self._frames, "path", None)
        if not callable(path) or path(index).suffix.lower() not in (".jpg", ".jpeg"):
            return self._encoded(index)
        try:
            return bytes(path(index).read_bytes())
        except OSError as error:
            raise DataError(f"frame cannot be read ({error.strerror})", path(index)) from error


def encode_jpeg(image: Image, quality: int = 88) -> bytes:
    """RGB uint8 (H, W, 3) as JPEG."""
    import cv2

    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError("a frame could not be encoded as JPEG")
    return bytes(np.asarray(data).tobytes())


class SeekingVideo:
    """Frames of a video file for looking at: seeks by key frame, where reading for tracking decodes from the start."""

    def __init__(self, frames: Any) -> None:
        self._exact = frames
        self._capture: Any = None
        self._next = -1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._exact)

    def __getitem__(self, index: int) -> Image:
        import cv2

        with self._lock:
            if self._capture is None:
                self._capture = cv2.VideoCapture(str(self._exact.file))
            if index != self._next:
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            done, image = self._capture.read()
            self._next = index + 1
        if not done:
            return np.asarray(self._exact[index], np.uint8)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    # Headers and body leave in two writes; without this, Nagle's algorithm holds the second back for 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if not self._local():
            self._send(HTTPStatus.FORBIDDEN, b"this page answers to its own address only", "text/plain; charset=utf-8")
            return
        path = self.path.split("?", 1)[0]
        found = _SCENE.fullmatch(path)
        if path in self.server.assets:
            data, kind = self.server.assets[path]
            self._send(HTTPStatus.OK, data, kind)
        elif found is None or int(found[1]) >= len(self.server.names):
            self._send(HTTPStatus.NOT_FOUND, b"there is nothing here", "text/plain; charset=utf-8")
        else:
            self._of_scene(int(found[1]), None if found[2] is None else int(found[2]))

    do_HEAD = do_GET

    def _of_scene(self, place: int, frame: int | None) -> None:
        try:
            page, frames = self.server.opened(place)
            if frame is None:
                self._send(HTTPStatus.OK, page, "application/json")
            elif frames is None or frame >= len(frames):
                self._send(HTTPStatus.NOT_FOUND, b"there is no such frame", "text/plain; charset=utf-8")
            else:
                self._send(HTTPStatus.OK, frames.jpeg(frame), "image/jpeg", "private, max-age=3600")
        except TnlltError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(), "text/plain; charset=utf-8")

    def _local(self) -> bool:
        # Another site's page can point a name of its own at 127.0.0.1; its requests then carry that name.
        return self.headers.get("Host", "") in self.server.hosts

    def _send(self, status: HTTPStatus, data: bytes, kind: str, cache: str = "no-store") -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", cache)
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page scrubbed on before this frame arrived

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing: a line per frame would hide the address."""


class ViewServer(ThreadingHTTPServer):
    """Serves scenes on 127.0.0.1; the latest few are kept open.

    Args:
        names: of the sequences.
        open_scene: gives the scene of a name.
        start: the sequence that is shown first.
        unticked: trackers that are not shown until they are chosen.
        port: 0 takes a free one.

    Raises:
        UsageError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        names: Sequence[str],
        open_scene: Callable[[str], Scene],
        start: str,
        unticked: Iterable[str] = (),
        port: int = 0,
    ) -> None:
        def opened(place: int) -> tuple[bytes, JpegFrames | None]:
            scene = open_scene(self.names[place])
            frames = JpegFrames(scene.sequence.frames) if scene.sequence.has_frames else None
            return to_json(scene.to_page(), None).encode(), frames

        self.names, self.opened = names, lru_cache(4)(opened)
        page = files("tnllt.eval.view") / "page"
        self.assets = {path: ((page / name).read_bytes(), kind) for path, (name, kind) in _ASSETS.items()}
        index = {"sequences": list(names), "start": list(names).index(start), "unticked": list(unticked)}
        self.assets["/index.json"] = (to_json(index, None).encode(), "application/json")
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"cannot listen on {HOST}, port {port}: {error}; choose another --port") from error
        hosts = (HOST, "localhost")
        self.hosts = {f"{name}:{self.server_port}" for name in hosts}

    def server_bind(self) -> None:
        """Without HTTPServer's question to name servers, which nothing here needs and which may take half a minute."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes its connection is not an error."""
