"""From `static`, `openai:URL`, `transformers:PATH`, `replay:FILE` to a reasoner."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners.base import Reasoner, StaticReasoner

_MAKERS = {"openai": ("server", "ServerReasoner"), "transformers": ("local", "LocalReasoner")}
KINDS = ("static", "openai:URL", "transformers:PATH", "replay:FILE")


def make_reasoner(spec: str, **options: Any) -> Reasoner:
    """Builds a reasoner.

    Args:
        spec: one of `KINDS`.
        options: keyword arguments of `ServerReasoner` (openai) or `LocalReasoner` (transformers): `prompt`, `compat`,
            `model`, `timeout`, `retries`, `cache`, ... `static` and `replay` need none and ignore them.

    Raises:
        UsageError: unknown kind, missing URL or path, or an option that this kind does not have.
    """
    kind, _, place = spec.partition(":")
    if kind == "static" and not place:
        return StaticReasoner()
    if kind not in ("openai", "transformers", "replay") or not place:
        raise UsageError(f"reasoner {spec!r}: must be one of {', '.join(KINDS)}")
    if kind == "replay":
        from tnllt.reasoningtrack.reasoners.replay import ReplayReasoner

        return ReplayReasoner(place)
    module, name = _MAKERS[kind]
    maker = getattr(import_module(f"tnllt.reasoningtrack.reasoners.{module}"), name)
    known = [name for name in inspect.signature(maker).parameters if name not in ("self", "url", "path")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"reasoner {kind} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    reasoner: Reasoner = maker(place, **options)
    return reasoner
