"""From `static`, `openai:URL`, `transformers:PATH`, `replay:FILE` to a reasoner."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners.base import Reasoner, StaticReasoner
from tnllt.tracking.options import check_options

_MAKERS = {"openai": ("server", "ServerReasoner"), "transformers": ("local", "LocalReasoner")}
KINDS = ("static", "openai:URL", "transformers:PATH", "replay:FILE")


def make_reasoner(spec: str, **options: Any) -> Reasoner:
    """Builds a reasoner.

    Args:
        spec: one of `KINDS`.
        options: keyword arguments of `ServerReasoner` (openai) or `LocalReasoner` (transformers): `prompt`, `compat`,
            `model`, `timeout`, `retries`, `cache`, ... `static` and `replay` need none and ignore them.

    Raises:
        UsageError: unknown kind, missing URL or path, an option that this kind does not have, or a value of another
            type.
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
    where = "url" if kind == "openai" else "path"
    if where in options:
        raise UsageError(f"reasoner {kind} has its {where} behind the colon, not as an option")
    reasoner: Reasoner = maker(**check_options(maker, {where: place, **options}))
    return reasoner
