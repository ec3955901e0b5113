"""The HTTP half: the `openai` client without its own retries, bounded in size, in time and to one origin."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

import openai

from tnllt.reasoningtrack.reasoners.base import ReasonerError
from tnllt.reasoningtrack.reasoners.resilience import retry_after
from tnllt.text import redact

T = TypeVar("T")

#: Statuses that may pass: time-out, conflict, too early, too many requests, and the server's own faults.
_PASSING = {408, 409, 425, 429}
#: Seconds for the list of models, which a question can do without.
_LISTING = 10.0


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
    """Requests to one server.

    Args:
        key: of the API; sent to this origin alone.
        timeout: seconds of one request on the wall clock, from its start to the end of its reply.
        max_bytes: size of a reply beyond which reading stops.
    """

    def __init__(self, url: str, key: str, timeout: float, max_bytes: int, connections: int) -> None:
        http = _http()
        self.timeout, self.max_bytes = timeout, max_bytes
        self._bound, self._reply = _bounded_stream(http), http.Response
        self._origin = _origin(http.URL(url))
        self._thread = threading.local()
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key,
            max_retries=0,
            timeout=timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultHttpxClient(
                event_hooks={"request": [self._before], "response": [self._after]},
                # A connection belongs to one request, so that ending it ends nothing else.
                limits=http.Limits(max_connections=connections, max_keepalive_connections=0),
            ),
        )

    def complete(self, body: Mapping[str, Any], seconds: float) -> tuple[bytes, str]:
        """Posts a chat completion; the reply's bytes and content type.

        Args:
            seconds: left for the question; the request ends after these or after `timeout`, whichever is shorter.

        Raises:
            ReasonerError: kind connection, timeout, redirect, too_large, compressed or status; its detail has
            `passing` (trying again may help), `status` and `retry_after` where these are known.
        """
        seconds = min(self.timeout, seconds)
        options: Any = {"timeout": max(0.001, seconds)}
        try:
            # Not `chat.completions.create`: it needs a model's name, takes some fields only, and parses.
            reply = self._within(
                seconds,
                lambda: self._client.post("/chat/completions", body=dict(body), cast_to=self._reply, options=options),
            )
            return reply.content, reply.headers.get("content-type", "")
        except ReasonerError:
            raise
        except openai.APIStatusError as error:
            raise _status_error(error) from error
        except Exception as error:
            raise _connection_error(error, seconds) from error

    def first_model(self, seconds: float) -> str | None:
        """The first model that the server lists, or None where listing fails, takes too long or lists none."""
        try:
            reply = self._list(min(_LISTING, self.timeout, seconds))
            listed = json.loads(reply.http_response.content)["data"]
            return next((m["id"] for m in listed if isinstance(m["id"], str) and m["id"]), None)
        except Exception:
            return None

    def reach(self) -> None:
        """Raises ReasonerError where no server answers; any reply counts, and so does one that is slow."""
        seconds = min(_LISTING, self.timeout)
        try:
            self._list(seconds)
        except openai.APIStatusError:
            return
        except ReasonerError as error:
            if not error.detail.get("connected"):
                raise
        except Exception as error:
            raise _connection_error(error, seconds) from error

    def _list(self, seconds: float) -> Any:
        client = self._client.with_options(timeout=max(0.001, seconds))
        return self._within(seconds, client.models.with_raw_response.list)

    def close(self) -> None:
        self._client.close()

    def _within(self, seconds: float, request: Callable[[], T]) -> T:
        """The request's result. After so many seconds its connection is shut down and ReasonerError raised.

        The request runs in a thread of its own: the HTTP library limits the time between two pieces of a reply, and a
        server that sends headers, 1xx replies or chunks piece by piece never ends.
        """
        result: Future[T] = Future()
        connection = _Connection()

        def run() -> None:
            self._thread.connection = connection
            try:
                result.set_result(request())
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=run, name="reasoner-request", daemon=True).start()
        if not wait([result], max(0.0, seconds)).done:
            connection.shut_down()
            raise ReasonerError("timeout", f"no whole reply within {seconds:.3g} s", {"connected": connection.opened})
        return result.result()

    def _before(self, request: Any) -> None:
        """Runs before every request, also one that a redirect asks for."""
        request.extensions["trace"] = self._thread.connection.trace
        if _origin(request.url) != self._origin:
            place = "{}://{}".format(*_origin(request.url))
            remedy = "nothing was sent there. If you trust that server, give its address: reasoner=openai:URL"
            raise ReasonerError("redirect", f"the server redirects to {place}; {remedy}", {"passing": False})

    def _after(self, response: Any) -> None:
        # Asked for plain bytes: a compressed body could be small on the wire and huge in memory.
        if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise ReasonerError("compressed", "the server compresses its reply although asked not to")
        response.stream = self._bound(response.stream, self.max_bytes)


def _origin(url: Any) -> tuple[str, str]:
    """Scheme, and host with its port."""
    return url.scheme, url.netloc.decode("ascii").rpartition("@")[2].lower()


class _Connection:
    """The socket of one request, which another thread may shut down at any time."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._over = False
        self._lock = threading.Lock()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What the HTTP library calls at every step; a connection is there after two of them."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._over:
                    self._shut()

    @property
    def opened(self) -> bool:
        return self._socket is not None

    def shut_down(self) -> None:
        with self._lock:
            self._over = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # The method of plain sockets: that of TLS sockets changes what the other thread uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _bounded_stream(http: Any) -> Any:
    class BoundedStream(http.SyncByteStream):  # type: ignore[misc]
        """A reply's bytes, up to so many."""

        def __init__(self, inner: Any, max_bytes: int) -> None:
            self.inner, self.left, self.limit = inner, max_bytes, max_bytes

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self.inner:
                self.left -= len(chunk)
                if self.left < 0:
                    raise ReasonerError("too_large", f"the reply exceeds {self.limit} bytes", {"passing": False})
                yield chunk

        def close(self) -> None:
            self.inner.close()

    return BoundedStream


def _status_error(error: openai.APIStatusError) -> ReasonerError:
    status = error.status_code
    # Servers report errors in many forms; the body itself has the most detail.
    text = redact(" ".join(error.response.text.split()))[:1000]
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
        return ReasonerError("timeout", f"no reply within {timeout:.3g} s")
    return ReasonerError("connection", f"no connection, or it broke: {last or error}")
