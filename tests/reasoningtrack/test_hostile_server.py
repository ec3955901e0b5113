"""Servers that never end a reply, redirect elsewhere, or repeat the key."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners import Look, Question, ask, make_reasoner

pytest.importorskip("openai")

KEY = "sk-very/secret+42"
GOOD = "<think>it turned</think><d>yes</d><answer>the car from behind</answer>"
REPLY = json.dumps({"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}]}).encode()


def http(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.contextmanager
def raw_server(act: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gets each connection and the request it sent; its address, and all requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            lengths = [
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le")
            ]
            while len(body) < sum(lengths):
                body += connection.recv(65536)
            requests.append(head + b"\r\n\r\n" + body)
            act(connection, head)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        listener.close()


def slowly(connection: socket.socket, piece: bytes, before: bytes = b"") -> None:
    connection.sendall(before)
    for _ in range(400):
        connection.sendall(piece)
        time.sleep(0.05)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS: dict[str, Callable[[socket.socket], None]] = {
    "no reply": lambda c: time.sleep(20),
    "slow headers": lambda c: slowly(c, b"x-a: b\r\n", b"HTTP/1.1 200 OK\r\n"),
    "a slow status line": lambda c: slowly(c, b"H", b""),
    "endless 1xx": lambda c: slowly(c, b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a slow body": lambda c: slowly(c, b" ", b"HTTP/1.1 200 OK\r\n\r\n"),
    "a slow chunk extension": lambda c: slowly(c, b"x", CHUNKED + b"5;a="),
    "slow chunks": lambda c: slowly(c, b"1\r\n \r\n", CHUNKED),
    "slow trailers": lambda c: slowly(c, b"x-a: b\r\n", CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(REPLY), REPLY)),
}


def question() -> Question:
    frames = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8) for i in range(2)]
    first, second = (Look(frame, (1, 1, 9, 9), 10 * i) for i, frame in enumerate(frames))
    return Question.of_pair(first, second, "the car", "running text")


def client(url: str, **options: Any) -> Any:
    settings = {"timeout": 0.6, "total_timeout": 2.0, "retries": 5, "pause": 0.01, "cache": "off", "model": "m"}
    return make_reasoner(f"openai:{url}", **{**settings, **options})


def request_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reasoner-request"]


@pytest.mark.parametrize("name", ENDLESS)
def test_a_question_ends_at_its_deadline(name: str) -> None:
    with raw_server(lambda connection, _: ENDLESS[name](connection)) as (url, requests):
        started = time.monotonic()
        result = ask(client(url), question())
        assert time.monotonic() - started < 3
        assert result.event["error"]["kind"] == "timeout" and result.description == "running text"
        assert 2 <= len(requests) <= 4
        time.sleep(0.3)
        assert not request_threads(), "ended with their connections"


def test_one_request_ends_at_its_own_time() -> None:
    with raw_server(lambda connection, _: ENDLESS["endless 1xx"](connection)) as (url, requests):
        started = time.monotonic()
        ask(client(url, retries=0, total_timeout=30.0), question())
        assert time.monotonic() - started < 1.5 and len(requests) == 1


@pytest.mark.parametrize("name", ENDLESS)
def test_a_slow_list_of_models_does_not_hold_a_question_up(name: str) -> None:
    def act(connection: socket.socket, head: bytes) -> None:
        if head.startswith(b"GET"):
            ENDLESS[name](connection)
        connection.sendall(http("200 OK", body=REPLY))

    with raw_server(act) as (url, _):
        started = time.monotonic()
        result = ask(client(url, model=None), question())
        assert time.monotonic() - started < 2.5
    assert result.description == "the car from behind"


def test_waiting_for_a_free_request_counts() -> None:
    with raw_server(lambda connection, _: ENDLESS["no reply"](connection)) as (url, _):
        reasoner = client(url, concurrency=1, timeout=5.0, total_timeout=1.0)
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(ask(reasoner, question()))) for _ in range(4)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 2
    assert [r.event["error"]["kind"] for r in results] == ["timeout"] * 4


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_to_another_origin_is_followed(status: int) -> None:
    with raw_server(lambda c, _: c.sendall(http("200 OK", body=REPLY))) as (other, seen):
        redirect = http(f"{status} Moved", f"location: {other}/v1/chat/completions")
        with raw_server(lambda c, _: c.sendall(redirect)) as (url, requests):
            result = ask(client(url, model=None), question())
    assert seen == [] and result.event["error"]["kind"] == "redirect"
    assert other in result.event["error"]["message"] and "reasoner=openai:URL" in result.event["error"]["message"]
    assert [r.split(b" ")[0] for r in requests] == [b"GET", b"POST"], "the list of models, and one question"


def test_a_redirect_within_the_origin_is_followed() -> None:
    def act(connection: socket.socket, head: bytes) -> None:
        if b"/chat/completions/ " in head:
            connection.sendall(http("200 OK", body=REPLY))
        else:
            connection.sendall(http("308 Moved", "location: /v1/chat/completions/"))

    with raw_server(act) as (url, _):
        assert ask(client(url), question()).description == "the car from behind"


# --- the key ----------------------------------------------------------------------------------------------------------


def echo(kind: int) -> Callable[[socket.socket, bytes], None]:
    """A server that repeats the header with the key in every place of its reply."""

    def act(connection: socket.socket, head: bytes) -> None:
        header = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization")).decode()
        thought = f"<think>{header}</think><d>yes</d><answer>a car {header}</answer>"
        body: Any = {"choices": [{"message": {"content": thought}, "finish_reason": header}]}
        if kind == 500:
            body = {"error": {"message": "x" * 430 + header}}  # where the message is cut
        raw = header.encode() if kind == 403 else json.dumps(body).encode()
        connection.sendall(http(f"{kind} X", f"retry-after: {header}", body=raw))

    return act


@pytest.mark.parametrize("kind", [200, 500, 403])
def test_a_key_that_a_server_repeats_goes_nowhere(
    kind: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    with raw_server(echo(kind)) as (url, requests), caplog.at_level(logging.DEBUG):
        reasoner = client(url, cache=tmp_path / "cache", retries=0)
        result = ask(reasoner, question())
    assert f"Bearer {KEY}\r\n".encode() in requests[0], "the key itself was sent, without its line end"
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    said = [
        json.dumps(result.event),
        str(result.description),
        str(result.error),
        json.dumps(dict(reasoner.info())),
        kept,
    ]
    for text in [*said, *(record.getMessage() for record in caplog.records if record.name.startswith("tnllt"))]:
        assert "secret" not in text, text
    assert "[redacted]" in said[0]


def test_a_key_that_no_header_can_carry_is_refused_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-sec\nret")
    with pytest.raises(UsageError, match=r"the key in \$MY_KEY has characters") as caught:
        make_reasoner("openai:http://127.0.0.1:1", api_key_env="MY_KEY")
    assert "sk-sec" not in str(caught.value)
