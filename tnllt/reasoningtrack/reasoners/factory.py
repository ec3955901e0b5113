"""From `static`, `bundled`, `annotation`, `openai:URL`, `transformers:PATH`, `replay:FILE` to a reasoner."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners.base import Reasoner
from tnllt.tracking.options import check_options

#: Kind -> (module, class, its parameter that stands behind the colon).
_MAKERS = {
    "static": ("base", "StaticReasoner", None),
    "annotation": ("base", "AnnotationReasoner", None),
    "bundled": ("bundled", "BundledReasoner", None),
    "openai": ("server", "ServerReasoner", "url"),
    "transformers": ("models", "LocalReasoner", "path"),
    "replay": ("trace", "ReplayReasoner", "path"),
}
#: Weights of the bundled reasoner.
BUNDLED = Path(__file__).parents[1] / "weights" / "reasoner.safetensors"
KINDS = ("static", "bundled", "annotation", "openai:URL", "transformers:PATH", "replay:FILE")


def make_reasoner(spec: str, **options: Any) -> Reasoner:
    """Builds a reasoner.

    Args:
        spec: one of `KINDS`.
        options: keyword arguments of `BundledReasoner` (`weights`, `confidence`), `ServerReasoner` (openai) or
            `LocalReasoner` (transformers): `prompt`, `compat`, `model`, `timeout`, `retries`, `cache`, ...

    Raises:
        UsageError: unknown kind, missing URL or path, an option that this kind does not have, or a value of another
            type.
    """
    kind, _, place = spec.partition(":")
    module, name, where = _MAKERS.get(kind, ("", "", None))
    if not module or bool(place) != bool(where):
        raise UsageError(f"reasoner {spec!r}: must be one of {', '.join(KINDS)}")
    if where in options:
        raise UsageError(f"reasoner {kind} has its {where} behind the colon, not as an option")
    maker = getattr(import_module(f"tnllt.reasoningtrack.reasoners.{module}"), name)
    reasoner: Reasoner = maker(**check_options(maker, {where: place, **options} if where else options))
    return reasoner
