"""The client against a server that misbehaves in every way we know of."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners import Look, Question, ReasonerError, ask, consult, make_reasoner
from tnllt.reasoningtrack.reasoners.resilience import CircuitBreaker, backoff, retry_after
from tnllt.reasoningtrack.reasoners.trace import text_hash
from tnllt.reasoningtrack.reasoners.views import pictures

pytest.importorskip("openai")

GOOD = "<think>it turned</think><d>yes</d><answer>the car from behind</answer>"


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def look(n: int) -> Look:
    return Look(picture(n), (2.0, 3, 10, 8), 10 * n)


def chat(content=GOOD, **message) -> dict:
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}]}


class Faulty(BaseHTTPRequestHandler):
    """Plays the server's script: one function per request, the last one for all that follow."""

    def do_GET(self) -> None:
        self.server.play(self, None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.play(self, body)

    def send(self, body: bytes | dict, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script, models=None) -> None:
        super().__init__(("127.0.0.1", 0), Faulty)
        self.script, self.models = list(script), models
        self.posts: list[dict] = []
        self.lock = threading.Lock()

    def play(self, handler, body) -> None:
        if body is None:
            models = self.models if self.models is not None else (lambda h: h.send({"data": [{"id": "first"}]}))
            return models(handler)
        with self.lock:
            self.posts.append(body)
            act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        with contextlib.suppress(OSError):  # the client hung up, as it should
            act(handler)

    def handle_error(self, *_) -> None:
        pass


@contextlib.contextmanager
def serving(*script, models=None):
    server = Server(script or [lambda h: h.send(chat())], models)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def client(server, **options):
    port = server if isinstance(server, int) else server.server_address[1]
    settings = {"timeout": 5.0, "total_timeout": 20.0, "retries": 2, "pause": 0.01, "cache": "off", **options}
    return make_reasoner(f"openai:http://127.0.0.1:{port}", **settings)


def outcome(reasoner):
    return ask(reasoner, Question.of_pair(look(1), look(2), "the car", "running text"))


def test_request_is_one_system_message_two_pictures_and_the_sentence(tmp_path: Path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Look closely.")
    with serving() as server:
        reasoner = client(server, prompt=prompt, image_format="png", max_pixels=600, temperature=0.3, top_k=5)
        said = reasoner.describe(picture(1), picture(2), "the car")
    assert (said.think, said.update, said.description, said.raw) == ("it turned", True, "the car from behind", GOOD)
    (body,) = server.posts
    assert body["model"] == "first" and body["temperature"] == 0.3 and body["top_k"] == 5
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Look closely."}
    assert [part["type"] for part in user["content"]] == ["image_url", "image_url", "text"]
    assert user["content"][2]["text"] == "the car"
    head, _, data = user["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert 500 < sent.shape[0] * sent.shape[1] <= 600
    assert said.detail["prompt_sha256"] == text_hash("Look closely.")


def test_pictures_keep_their_colours():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    for image_format in ("jpeg", "png"):
        with serving() as server:
            client(server, image_format=image_format).describe(red, red, "x")
        data = server.posts[0]["messages"][1]["content"][0]["image_url"]["url"].partition(",")[2]
        b, _, r = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[8, 8]
        assert r > 240 and b < 10


def trickle(handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


TEN_MB = json.dumps(chat("x" * 10_000_000)).encode()

FAULTS = {
    "slow": (lambda h: time.sleep(2), {"timeout": 0.3, "retries": 1}, "timeout"),
    "trickle": (trickle, {"timeout": 0.4, "retries": 0}, "timeout"),
    "500": (lambda h: h.send({"error": {"message": "broken inside"}}, 500), {}, "status"),
    "404": (lambda h: h.send({"error": {"message": "no such model"}}, 404), {}, "status"),
    "401": (lambda h: h.send({"error": {"message": "who are you"}}, 401), {}, "status"),
    "cut-off": (lambda h: h.send(json.dumps(chat()).encode()[:60]), {}, "cut_off"),
    "html": (lambda h: h.send(b"<html>log in</html>", kind="text/html"), {}, "not_json"),
    "binary": (lambda h: h.send(bytes(range(256)), kind="image/png"), {}, "not_json"),
    "list": (lambda h: h.send(b"[1, 2]"), {}, "not_json"),
    "nested": (lambda h: h.send(b"[" * 200_000), {}, "not_json"),
    "empty body": (lambda h: h.send(b""), {}, "not_json"),
    "empty": (lambda h: h.send(chat("")), {}, "empty"),
    "null": (lambda h: h.send(chat(None)), {}, "empty"),
    "no choices": (lambda h: h.send({"choices": []}), {}, "no_choice"),
    "strange choice": (lambda h: h.send({"choices": ["x"]}), {}, "empty"),
    "error in 200": (lambda h: h.send({"error": {"message": "overloaded"}}), {}, "server_error"),
    "10 MB": (lambda h: h.send(TEN_MB), {}, "too_large"),
    "10 MB error": (lambda h: h.send(b"x" * 10_000_000, 500), {}, "too_large"),
    "zipped": (lambda h: h.send(b"\x1f\x8b", content_encoding="gzip"), {}, "compressed"),
    "hangs up": (lambda h: h.connection.close(), {}, "connection"),
    "short": (lambda h: h.send(b"{}", content_length="500"), {"timeout": 1.0}, "connection"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_keep_the_description_and_are_recorded(fault):
    act, options, kind = FAULTS[fault]
    with serving(act) as server:
        started = time.monotonic()
        result = outcome(client(server, **options))
        assert time.monotonic() - started < 5
    assert result.description == "running text" and result.reasoning is None
    assert result.event["error"]["kind"] == kind, result.event["error"]
    assert result.event["detail"]["attempts"] == len(server.posts)
    assert len(json.dumps(result.event)) < 10_000
    tries = {"404": 1, "401": 1, "10 MB": 1, "10 MB error": 1, "trickle": 1, "slow": 2}.get(fault, 3)
    assert len(server.posts) == tries


def test_refused_connection():
    with serving() as server:
        port = server.server_address[1]
    result = outcome(client(port))
    assert result.event["error"]["kind"] == "connection" and result.description == "running text"


def test_a_passing_fault_is_tried_again():
    with serving(FAULTS["500"][0], FAULTS["cut-off"][0], lambda h: h.send(chat())) as server:
        result = outcome(client(server))
    assert result.error is None and result.description == "the car from behind"
    assert [f.split(":")[0] for f in result.event["detail"]["failures"]] == ["status", "cut_off"]


@pytest.mark.parametrize("header", ["1", "date"])
def test_429_waits_as_long_as_asked(header):
    def busy(handler) -> None:
        value = formatdate(time.time() + 2, usegmt=True) if header == "date" else header
        handler.send({"error": {"message": "slow down"}}, 429, retry_after=value)

    with serving(busy, lambda h: h.send(chat())) as server:
        started = time.monotonic()
        result = outcome(client(server))
        assert 0.9 <= time.monotonic() - started < 4
    assert result.error is None


def test_429_that_asks_for_more_than_our_patience_is_given_up_at_once():
    with serving(lambda h: h.send({}, 429, retry_after="3600")) as server:
        started = time.monotonic()
        result = outcome(client(server))
        assert time.monotonic() - started < 3
    assert result.event["error"]["kind"] == "status" and "429" in result.event["error"]["message"]


def test_missing_tags_are_no_update_and_said():
    with serving(lambda h: h.send(chat("I think nothing changed."))) as server:
        result = outcome(client(server))
    assert result.error is None and result.description == "the car"
    assert result.event["detail"]["missing"] == ["think", "d", "answer"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thought_in_a_field_of_its_own(field):
    for content in ("<d>yes</d><answer>the car from behind</answer>", [{"type": "text", "text": GOOD[23:]}]):
        reply = chat(content, **{field: "it turned"})
        with serving(lambda h, reply=reply: h.send(reply)) as server:
            said = client(server).describe(picture(1), picture(2), "the car")
        assert (said.think, said.update, said.description) == ("it turned", True, "the car from behind")
        assert "missing" not in said.detail


def test_everything_in_the_reasoning_field():
    with serving(lambda h: h.send(chat(None, reasoning_content=GOOD))) as server:
        assert client(server).describe(picture(1), picture(2), "x").description == "the car from behind"


def test_a_wrong_content_type_with_a_good_body_is_read():
    with serving(lambda h: h.send(json.dumps(chat()).encode(), kind="text/plain")) as server:
        assert outcome(client(server)).error is None


@pytest.mark.parametrize("status", [400, 422])
def test_refused_sampling_parameters_are_left_out(status):
    def picky(handler) -> None:
        sent = server.posts[-1]
        for name in ("top_k", "repetition_penalty"):
            if name in sent:
                return handler.send({"detail": f"unknown field `{name}`"}, status)
        handler.send(chat())

    with serving(picky) as server:
        reasoner = client(server, top_k=5, repetition_penalty=1.1, top_p=0.9, retries=0)
        assert outcome(reasoner).error is None
        assert outcome(reasoner).error is None
    assert ["top_k" in body for body in server.posts] == [True, False, False, False]
    assert all(body["top_p"] == 0.9 for body in server.posts)
    assert reasoner.info()["refused"] == ["repetition_penalty", "top_k"]


def test_a_400_that_names_nothing_ends():
    with serving(lambda h: h.send({"error": {"message": "bad"}}, 400)) as server:
        result = outcome(client(server, top_k=5))
    assert result.event["error"]["kind"] == "status" and len(server.posts) == 3
    assert set(server.posts[-1]) == {"model", "messages"}


def test_max_completion_tokens():
    def modern(handler) -> None:
        if "max_tokens" in server.posts[-1]:
            return handler.send({"error": {"message": "use max_completion_tokens, not max_tokens"}}, 400)
        handler.send(chat())

    with serving(modern) as server:
        assert outcome(client(server, max_tokens=77)).error is None
    assert server.posts[-1]["max_completion_tokens"] == 77


@pytest.mark.parametrize(
    "models",
    [
        lambda h: h.send({"data": []}),
        lambda h: h.send(b"nope", 500),
        lambda h: h.send(b"<html>", kind="text/html"),
        lambda h: h.send({"data": [{"name": "x"}]}),
    ],
)
def test_a_list_of_models_that_is_no_help(models):
    with serving(models=models) as server:
        assert outcome(client(server)).error is None
        assert outcome(client(server, model="mine")).error is None
    assert [body.get("model") for body in server.posts] == [None, "mine"]


def test_a_server_that_wants_a_name_gets_one():
    def named(handler) -> None:
        if "model" not in server.posts[-1]:
            return handler.send({"detail": "field required: model"}, 422)
        handler.send(chat())

    with serving(named, models=lambda h: h.send({"data": []})) as server:
        reasoner = client(server)
        assert outcome(reasoner).error is None and outcome(reasoner).error is None
    assert [body.get("model") for body in server.posts] == [None, "default", "default"]
    assert all(body["temperature"] == 0.0 for body in server.posts)


def test_what_was_dropped_in_vain_is_asked_for_again():
    with serving(lambda h: h.send({"error": {"message": "too long"}}, 400)) as server:
        reasoner = client(server)
        assert [outcome(reasoner).event["error"]["kind"] for _ in range(2)] == ["status", "status"]
    assert "temperature" in server.posts[2] and reasoner.info()["refused"] == []


def test_breaker_stops_asking_and_tries_again_later():
    with serving(FAULTS["500"][0], FAULTS["500"][0], lambda h: h.send(chat())) as server:
        reasoner = client(server, retries=0, breaker=2, cooldown=0.3)
        kinds = [outcome(reasoner).event["error"]["kind"] for _ in range(4)]
        assert kinds == ["status", "status", "circuit_open", "circuit_open"]
        assert len(server.posts) == 2
        time.sleep(0.35)
        assert outcome(reasoner).error is None


def test_breaker_lets_one_through_when_half_open():
    now = [0.0]
    breaker = CircuitBreaker(1, 10.0, clock=lambda: now[0])
    breaker.check()
    breaker.failed()
    now[0] = 11.0
    breaker.check()
    with pytest.raises(ReasonerError, match="in a row"):
        breaker.check()
    breaker.failed()
    with pytest.raises(ReasonerError):
        breaker.check()
    now[0] = 22.0
    breaker.check()
    breaker.succeeded()
    breaker.check()
    breaker.check()


def test_backoff_doubles_within_bounds():
    for attempt, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (30, 20.0)):
        assert all(longest / 2 <= backoff(attempt, 1.0) <= longest for _ in range(20))


def test_retry_after_reads_seconds_dates_and_nonsense():
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=20.0) == 40.0
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=90.0) == 0.0
    assert [retry_after({"retry-after": text}) for text in ("soon", "nan", "inf", "")] == [None] * 4
    assert retry_after({}) is None


def test_cache_answers_the_same_question_once(tmp_path: Path):
    with serving() as server:
        first = outcome(client(server, cache=str(tmp_path)))
        second = outcome(client(server, cache=str(tmp_path)))
        assert len(server.posts) == 1
        assert second.event["detail"]["cached"] and second.description == first.description
        outcome(client(server, cache=str(tmp_path), temperature=0.5))
        assert len(server.posts) == 2
    (kept, *_) = tmp_path.rglob("*.json")
    kept.write_text("{torn")


def test_no_cache_is_no_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving() as server:
        for _ in range(2):
            assert outcome(client(server, cache="off")).error is None
    assert len(server.posts) == 2 and not list(tmp_path.iterdir())


def test_a_torn_or_unusable_cache_is_no_failure(tmp_path: Path):
    with serving() as server:
        outcome(client(server, cache=str(tmp_path)))
        (kept,) = tmp_path.rglob("*.json")
        kept.write_text("{torn")
        assert outcome(client(server, cache=str(tmp_path))).error is None
        (tmp_path / "file").write_text("")
        assert outcome(client(server, cache=str(tmp_path / "file"))).error is None
    assert len(server.posts) == 3


def test_faulty_answers_are_not_cached(tmp_path: Path):
    with serving(lambda h: h.send(chat("no tags"))) as server:
        for _ in range(2):
            outcome(client(server, cache=str(tmp_path)))
    assert len(server.posts) == 2


def test_requests_of_several_sequences_run_at_once_within_the_bound():
    running, most, lock = 0, 0, threading.Lock()

    def slow(handler) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.2)
        with lock:
            running -= 1
        handler.send(chat())

    with serving(slow) as server:
        questions = [Question.of_pair(look(n), look(n + 1), "x") for n in range(8)]
        outcomes = consult(client(server, concurrency=4), questions)
    assert most == 4 and all(o.error is None for o in outcomes)


def test_the_key_is_sent_and_never_recorded(monkeypatch):
    keys = []

    def look(handler) -> None:
        keys.append(handler.headers["authorization"])
        handler.send(chat())

    monkeypatch.setenv("MY_KEY", "secret-123")
    with serving(look) as server:
        reasoner = client(server, api_key_env="MY_KEY")
        result = outcome(reasoner)
    assert keys == ["Bearer secret-123"]
    assert "secret-123" not in json.dumps([result.event, reasoner.info()])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("openai:localhost:8000", "http"),
        ("openai:ftp://x/v1", "http"),
        ("openai:http://me:pw@host/v1", "environment variable"),
    ],
)
def test_addresses_that_cannot_be_meant(spec, says):
    with pytest.raises(UsageError, match=says):
        make_reasoner(spec)


@pytest.mark.parametrize(
    "options",
    [{"tiemout": 3}, {"timeout": "soon"}, {"image_format": "gif"}, {"compat": "theirs"}, {"top_k": 1.5}, {"url": "x"}],
)
def test_options_that_cannot_be_meant_are_refused_by_name(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        make_reasoner("openai:http://127.0.0.1:1", **options)
    assert make_reasoner("openai:http://127.0.0.1:1", timeout="3", top_k="2").info()["sampling"]["top_k"] == 2


def test_a_view_is_what_the_server_gets_and_stands_in_the_record(tmp_path):
    with serving() as server:
        reasoner = client(server, view="search", image_format="png", cache=str(tmp_path))
        question = Question.of_pair(look(1), look(2), "the car", "running text")
        outcome = ask(reasoner, question)
        urls = [p["image_url"]["url"] for p in server.posts[0]["messages"][1]["content"] if p["type"] == "image_url"]
        sent = [cv2.imdecode(np.frombuffer(base64.b64decode(u.split(",")[1]), np.uint8), 1)[..., ::-1] for u in urls]
        for image, expected in zip(sent, pictures(question, "search"), strict=True):
            np.testing.assert_array_equal(image, expected)
        assert outcome.event["detail"]["view"] == reasoner.info()["view"] == "search"
        assert ask(client(server, cache=str(tmp_path)), question).event["detail"]["cached"] is False
        assert reasoner_error(reasoner) == "no_boxes"
    with pytest.raises(UsageError, match="view"):
        client(server, view="everything")


def reasoner_error(reasoner) -> str:
    with pytest.raises(ReasonerError) as caught:
        reasoner.describe(picture(1), picture(2), "the car")
    return caught.value.kind
