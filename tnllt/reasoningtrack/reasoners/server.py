"""A reasoner behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, `transformers serve`, a hosted one)."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from tnllt.errors import MissingExtraError, UsageError
from tnllt.reasoningtrack.reasoners.base import Question, ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.cache import AnswerCache
from tnllt.reasoningtrack.reasoners.parsing import Compat, load_prompt
from tnllt.reasoningtrack.reasoners.resilience import CircuitBreaker, backoff
from tnllt.reasoningtrack.reasoners.trace import image_hash, text_hash
from tnllt.reasoningtrack.reasoners.views import MAX_PIXELS, ImageFormat, View, data_url, shown
from tnllt.sequence import Image
from tnllt.text import redact, register_secret

log = logging.getLogger(__name__)

#: Sent when no model was given, the server lists none, and it requires one.
_ANY_MODEL = "default"

#: Sampling parameters that are not part of the API's core, or that small servers lack.
_UNUSUAL = ("top_k", "repetition_penalty", "seed")


class ServerReasoner:
    """Asks a server; every failure is a ReasonerError with its kind.

    Args:
        url: the API's address, such as http://127.0.0.1:8000/v1 (`/v1` is added to a bare host).
        view: what the model is shown: frames, boxes, search or crops (see `views`).
        prompt: file of the system prompt; None for the bundled one.
        compat: "released" reads answers as the released tracker does.
        model: the model's name at the server; None asks `/v1/models` and takes the first.
        api_key_env: the environment variable with the key, which is sent to the server and never written.
        timeout: seconds for one request on the wall clock, to the end of its reply.
        total_timeout: seconds for one question on the wall clock: waiting, tries and pauses together.
        retries: tries after the first.
        pause: seconds before the second try; doubles, and `Retry-After` is honoured.
        concurrency: requests at a time.
        breaker, cooldown: after so many failed questions in a row, none for so many seconds.
        cache: "on", "off" or a folder: answers kept by content.
        image_format: "jpeg" or "png"; max_pixels: bound on the size of each image.
        max_response: bytes of a reply; a longer one is a failure.
        max_tokens: tokens of an answer.
        temperature, top_p, top_k, repetition_penalty, seed: sampling; None leaves it to the server. One that the
            server refuses is left out from then on.

    Raises:
        UsageError: not an http(s) URL. MissingExtraError: without the extra `vlm`.
    """

    name: ClassVar[str] = "reasoner openai"

    def __init__(
        self,
        url: str,
        *,
        view: View = "frames",
        prompt: str | Path | None = None,
        compat: Compat = "ours",
        model: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 60.0,
        total_timeout: float = 180.0,
        retries: int = 3,
        pause: float = 0.5,
        concurrency: int = 8,
        breaker: int = 5,
        cooldown: float = 30.0,
        cache: str | Path = "on",
        image_format: ImageFormat = "jpeg",
        max_pixels: int = MAX_PIXELS,
        max_response: int = 1_000_000,
        max_tokens: int = 2048,
        temperature: float | None = 0.0,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
    ) -> None:
        from tnllt.reasoningtrack.reasoners.transport import Transport

        self.url, self.view = _api_url(url), view
        self.prompt, self.compat, self.model = load_prompt(prompt), compat, model
        self.total_timeout, self.retries, self.pause = total_timeout, retries, pause
        self.concurrency = max(1, concurrency)
        self.image_format, self.max_pixels = image_format, max_pixels
        wanted = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
        }
        self._sampling = {name: value for name, value in wanted.items() if value is not None}
        self._wanted = dict(self._sampling)
        try:
            self._transport = Transport(self.url, _api_key(api_key_env), timeout, max_response, self.concurrency)
        except ImportError as error:
            raise MissingExtraError("a reasoner behind a server", "vlm", error) from error
        self._cache = AnswerCache(cache)
        self._breaker = CircuitBreaker(breaker, cooldown)
        self._slots = threading.BoundedSemaphore(self.concurrency)
        self._found_model: str | None = None
        self._lock = threading.Lock()

    def describe(self, first: Image, second: Image, description: str, question: Question | None = None) -> Reasoning:
        """Asks the model (see `Reasoner.describe`). Raises ReasonerError where there is no usable answer."""
        first, second = shown(first, second, question, self.view)
        detail: dict[str, Any] = {"prompt_sha256": text_hash(self.prompt), "view": self.view, "attempts": 0}
        asked = {
            "url": self.url,
            "model": self.model,
            "prompt": text_hash(self.prompt),
            "images": [image_hash(first), image_hash(second), self.image_format, self.max_pixels],
            "text": description,
            "sampling": self._wanted,
        }
        return self._cache.answer(
            asked, self.compat, detail, lambda: self.ask(self._messages(first, second, description), detail)
        )

    def chat(self, messages: list[dict[str, Any]]) -> str:
        """The model's answer to any messages, kept in the cache by them. Raises ReasonerError without a usable one."""
        question = {"url": self.url, "model": self.model, "messages": messages, "sampling": self._wanted}
        return self._cache.text(question, lambda: self.ask(messages, {}))

    def ask(self, messages: list[dict[str, Any]], detail: dict[str, Any]) -> str:
        """The answer's text to any messages. Facts go to `detail`; the circuit breaker counts whether there was one.

        Raises ReasonerError where there is no text.
        """
        detail.setdefault("attempts", 0)
        self._breaker.check()
        deadline = time.monotonic() + self.total_timeout
        answered = False
        try:
            if not self._slots.acquire(timeout=self.total_timeout):
                raise ReasonerError("timeout", f"no free request within {self.total_timeout:g} s")
            try:
                text = self._try(messages, detail, deadline)
            finally:
                self._slots.release()
            answered = True
            return text
        except ReasonerError as error:
            raise ReasonerError(error.kind, str(error), {**detail, **error.detail}) from error
        finally:
            (self._breaker.succeeded if answered else self._breaker.failed)()

    def info(self) -> Mapping[str, Any]:
        """Facts for the run's record."""
        return {
            "reasoner": "openai",
            "url": self.url,
            "model": self.model or self._found_model,
            "prompt_sha256": text_hash(self.prompt),
            "view": self.view,
            "sampling": dict(self._sampling),
            "refused": sorted(set(self._wanted) - set(self._sampling)),
            "image": {"format": self.image_format, "max_pixels": self.max_pixels},
        }

    def reach(self) -> None:
        """Raises ReasonerError where no server answers at the address."""
        self._transport.reach()

    def close(self) -> None:
        self._transport.close()

    def _messages(self, first: Image, second: Image, description: str) -> list[dict[str, Any]]:
        urls = [data_url(image, self.image_format, self.max_pixels) for image in (first, second)]
        parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        parts.append({"type": "text", "text": description})
        return [{"role": "system", "content": self.prompt}, {"role": "user", "content": parts}]

    def _try(self, messages: list[dict[str, Any]], detail: dict[str, Any], deadline: float) -> str:
        """Tries until there is text, the tries are used up, the deadline is reached, or trying again cannot help."""
        body = {"messages": messages, **self._model_field(deadline), **self._sampling}
        failures = 0
        while True:
            detail["attempts"] += 1
            detail["model"] = body.get("model")
            try:
                reply, content_type = self._transport.complete(body, deadline - time.monotonic())
                text, facts = read_reply(reply, content_type)
            except ReasonerError as error:
                detail.setdefault("failures", []).append(f"{error.kind}: {error}"[:200])
                if error.detail.get("status") in (400, 422) and self._leave_out(str(error), body):
                    continue
                failures += 1
                asked = error.detail.get("retry_after")
                wait = backoff(failures, self.pause) if asked is None else float(asked)
                late = time.monotonic() + wait >= deadline
                if failures > self.retries or late or not error.detail.get("passing", True):
                    raise
                time.sleep(wait)
                continue
            self._learn(body)
            detail.update(facts)
            return text

    def _model_field(self, deadline: float) -> dict[str, str]:
        """The model as given, else as the server lists it, else none: servers of one model need no name."""
        if self.model is None and self._found_model is None:
            self._found_model = self._transport.first_model(deadline - time.monotonic())
        name = self.model or self._found_model
        return {} if name is None else {"model": name}

    def _leave_out(self, complaint: str, body: dict[str, Any]) -> bool:
        """Changes what a server refuses: drops the sampling parameters that it names, else the unusual ones, else all,
        and adds a model's name where there was none. Returns whether trying again can end differently."""
        sent = [name for name in body if name not in ("model", "messages")]
        named = [name for name in sent if re.search(rf"\b{name}\b", complaint)]
        if not named and "model" not in body:
            body["model"] = _ANY_MODEL
            return True
        dropped = named or [name for name in sent if name in _UNUSUAL] or sent
        for name in dropped:
            del body[name]
        if "max_tokens" in dropped and "max_completion_tokens" in complaint:
            body["max_completion_tokens"] = self._wanted["max_tokens"]
        return bool(dropped)

    def _learn(self, body: Mapping[str, Any]) -> None:
        """Keeps what the server accepts, now that it has answered."""
        accepted = {name: value for name, value in body.items() if name not in ("model", "messages")}
        with self._lock:
            refused = sorted(set(self._sampling) - set(accepted))
            if refused:
                log.warning("%s refuses %s; left out from now on", self.url, ", ".join(refused))
                self._sampling = accepted
            if self.model is None and self._found_model is None:
                self._found_model = body.get("model")


def _api_key(variable: str) -> str:
    """The key in an environment variable, without the line end that mounted secrets have. Raises UsageError."""
    key = os.environ.get(variable, "").strip()
    if not key:
        return "none"  # servers without keys ignore it, and the client needs one
    register_secret(key)
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the key in ${variable} has characters that HTTP does not allow; copy it there again")
    return key


def _api_url(url: str) -> str:
    """The address with `/v1` added to a bare host, without a name and password. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"reasoner openai:{url}: not an http(s) address such as openai:http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise UsageError("reasoner openai: put the key into an environment variable (api_key_env), not into the URL")
    path = parts.path.rstrip("/") or "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


#: Fields to which servers move the thought out of `content`.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def read_reply(body: bytes, content_type: str) -> tuple[str, dict[str, Any]]:
    """The text of the reply's choice, and facts for the trace.

    Raises:
        ReasonerError: kind not_json, cut_off, server_error, no_choice or empty.
    """
    reply = _load(body, content_type)
    if reply.get("error") and not reply.get("choices"):
        raise ReasonerError("server_error", f"the server reports an error: {_short(reply['error'])}")
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ReasonerError("no_choice", "the reply has no choices")
    text, finish = _text(choices[0])
    if not text.strip():
        raise ReasonerError("empty", f"the model wrote nothing (finish reason {_short(finish)})")
    return redact(text), {"finish": finish and redact(finish)[:100]}


def _load(body: bytes, content_type: str) -> Mapping[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        if body.lstrip()[:1] == b"{":
            raise ReasonerError(
                "cut_off", f"the reply's JSON breaks off or is broken after {len(body)} bytes"
            ) from error
        what = content_type.partition(";")[0] or "no content type"
        raise ReasonerError("not_json", f"the reply is not JSON ({what}); is this an OpenAI-compatible URL?") from error
    if not isinstance(reply, dict):
        raise ReasonerError("not_json", f"the reply is a JSON {type(reply).__name__}, not an object")
    return reply


def _text(choice: Any) -> tuple[str, str | None]:
    """A choice's text with its thought put back in front, and why it ended."""
    choice = choice if isinstance(choice, dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = _flat(message.get("content"))
    thought = next((text for name in _THOUGHTS if (text := _flat(message.get(name))).strip()), "")
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    if not thought or "</think>" in content:
        return content, finish
    if "</think>" in thought or not content.strip():
        return thought + content, finish
    return f"<think>{thought.strip().removeprefix('<think>')}</think>{content}", finish


def _flat(content: Any) -> str:
    """Text of a string or of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _short(value: Any) -> str:
    text = value.get("message") if isinstance(value, dict) else value
    return redact(" ".join(str(text).split()))[:300]
