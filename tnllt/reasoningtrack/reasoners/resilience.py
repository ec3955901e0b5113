"""Back-off between tries, and a circuit breaker that stops asking a server that does not answer."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping

from tnllt.reasoningtrack.reasoners.base import ReasonerError


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for (a number, or an HTTP date), or None."""
    text = (headers.get("retry-after") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


def backoff(attempt: int, base: float, longest: float = 20.0) -> float:
    """Seconds before try `attempt + 1` (attempts count from 1): doubling, with jitter so that clients spread out."""
    return min(longest, base * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


class CircuitBreaker:
    """After `failures` questions in a row without an answer, lets none through for `cooldown` seconds, then one.

    Thread-safe. `check` raises ReasonerError("circuit_open") while open; each question that passed it must end in
    `succeeded` or `failed`.
    """

    def __init__(self, failures: int = 5, cooldown: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.cooldown, self._clock = failures, cooldown, clock
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False
        self._lock = threading.Lock()

    def check(self) -> None:
        with self._lock:
            if self._open_until is None:
                return
            wait = self._open_until - self._clock()
            if wait > 0 or self._trying:
                text = f"{self._failures} questions in a row failed; next try in {max(wait, 0):.0f} s"
                raise ReasonerError("circuit_open", text)
            self._trying = True

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._open_until, self._trying = 0, None, False

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._trying = False
            if self._failures >= self.limit:
                self._open_until = self._clock() + self.cooldown
