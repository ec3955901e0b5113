"""How long work in the library shows its progress: it calls a function that the caller gives."""

from __future__ import annotations

from collections.abc import Callable

#: Called with what is done and what there is in all, in frames, images or bytes.
OnProgress = Callable[[int, int], None]
