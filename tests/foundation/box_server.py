"""A server that knows where the target is, and writes it as one model family does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

Answer = Callable[[list[np.ndarray], str], str]


@contextmanager
def box_server(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The server's address, and the bodies of the requests so far. `answer` gets the images that came, and the text."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({"data": [{"id": "boxes"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bodies.append(body)
            parts = body["messages"][-1]["content"]
            images = [decoded(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
            text = "".join(part["text"] for part in parts if part["type"] == "text")
            self.reply({"choices": [{"message": {"content": answer(images, text)}, "finish_reason": "stop"}]})

        def reply(self, table: dict[str, Any]) -> None:
            data = json.dumps(table).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", bodies
    finally:
        server.shutdown()
        server.server_close()


def decoded(url: str) -> np.ndarray:
    """RGB (H, W, 3) of a data URL."""
    raw = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.imdecode(raw, cv2.IMREAD_COLOR)[..., ::-1]
