"""The HTTP half: the `openai` client without its own retries, with bounds on the size and time of what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import openai

from tnllt.reasoningtrack.reasoners.base import ReasonerError
from tnllt.reasoningtrack.reasoners.resilience import retry_after

#: Statuses that may pass: time-out, conflict, too early, too many requests, and the server's own faults.
_PASSING = {408, 409, 425, 429}


def _http() -> Any:
    """The HTTP library that the installed `openai` is built on (httpx2 of late, httpx before)."""
    for name in ("httpx2", "httpx"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        if issubclass(openai.DefaultHttpxClient, module.Client):
            return module
    raise ImportError("the openai package is built on an HTTP library that is not known here")


class Transport:
    """One server's connection pool.

    Args:
        timeout: seconds to connect, between two pieces of a reply, and for a whole reply once it has begun.
        max_bytes: size of a reply beyond which reading stops.
    """

    def __init__(self, url: str, key: str, timeout: float, max_bytes: int, connections: int) -> None:
        http = _http()
        self.timeout, self.max_bytes = timeout, max_bytes
        self._bound, self._reply = _bounded_stream(http), http.Response
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key,
            max_retries=0,
            timeout=timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultHttpxClient(
                event_hooks={"response": [self._guard]},
                limits=http.Limits(max_connections=connections, max_keepalive_connections=connections),
            ),
        )

    def complete(self, body: Mapping[str, Any], seconds: float) -> tuple[bytes, str]:
        """Posts a chat completion; the reply's bytes and content type.

        Raises:
            ReasonerError: kind connection, timeout, too_large, compressed or status; its detail says `passing`
            (trying again may help), `status` and `retry_after` where there are such.
        """
        timeout = max(0.1, min(self.timeout, seconds))
        try:
            # Not `chat.completions.create`: it wants a model's name, knows some fields only, and parses.
            reply = self._client.post(
                "/chat/completions", body=dict(body), cast_to=self._reply, options={"timeout": timeout}
            )
            return reply.content, reply.headers.get("content-type", "")
        except ReasonerError:
            raise
        except openai.APIStatusError as error:
            raise _status_error(error) from error
        except Exception as error:
            raise _connection_error(error, self.timeout) from error

    def first_model(self) -> str | None:
        """The first model the server lists, or None: listing may fail, be empty or be something else entirely."""
        try:
            reply = self._client.with_options(timeout=min(10.0, self.timeout)).models.with_raw_response.list()
            listed = json.loads(reply.http_response.content)["data"]
            return next((m["id"] for m in listed if isinstance(m["id"], str) and m["id"]), None)
        except Exception:
            return None

    def close(self) -> None:
        self._client.close()

    def _guard(self, response: Any) -> None:
        # Asked for plain bytes: a compressed body could be small on the wire and huge in memory.
        if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise ReasonerError("compressed", "the server compresses its reply although asked not to")
        response.stream = self._bound(response.stream, self.max_bytes, time.monotonic() + self.timeout)


def _bounded_stream(http: Any) -> Any:
    class BoundedStream(http.SyncByteStream):  # type: ignore[misc]
        """A reply's bytes, up to so many and until so late."""

        def __init__(self, inner: Any, max_bytes: int, deadline: float) -> None:
            self.inner, self.left, self.deadline, self.limit = inner, max_bytes, deadline, max_bytes

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self.inner:
                self.left -= len(chunk)
                if self.left < 0:
                    raise ReasonerError("too_large", f"the reply exceeds {self.limit} bytes", {"passing": False})
                if time.monotonic() > self.deadline:
                    raise ReasonerError("timeout", "the reply trickles; the time for a request is over")
                yield chunk

        def close(self) -> None:
            self.inner.close()

    return BoundedStream


def _status_error(error: openai.APIStatusError) -> ReasonerError:
    status = error.status_code
    # Servers complain in many shapes; the body itself says most.
    text = " ".join(error.response.text.split())[:1000]
    detail: dict[str, Any] = {"status": status, "passing": status in _PASSING or status >= 500}
    wait = retry_after(error.response.headers)
    if wait is not None and detail["passing"]:
        detail["retry_after"] = wait
    return ReasonerError("status", f"HTTP {status}: {text}", detail)


def _connection_error(error: Exception, timeout: float) -> ReasonerError:
    # Old releases of the client wrap whatever a hook or a stream raises.
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ReasonerError):
            return cause
        last, cause = cause, cause.__cause__
    if isinstance(error, openai.APITimeoutError):
        return ReasonerError("timeout", f"no reply within {timeout:g} s")
    return ReasonerError("connection", f"no connection, or it broke: {last or error}")
