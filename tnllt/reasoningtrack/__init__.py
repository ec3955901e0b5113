"""ReasoningTrack: a vision-language tracker whose description of the target is revised by a reasoning model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tnllt.reasoningtrack.config import Config
    from tnllt.reasoningtrack.tracker import ReasoningTrack

__all__ = ["Config", "ReasoningTrack"]


def __getattr__(name: str) -> Any:
    # Late, because torch is an extra and slow to import.
    if name == "Config":
        from tnllt.reasoningtrack.config import Config

        return Config
    if name == "ReasoningTrack":
        try:
            import safetensors  # noqa: F401
            import tokenizers  # noqa: F401
            import torch  # noqa: F401
        except ImportError as error:
            from tnllt.errors import MissingExtraError

            raise MissingExtraError("ReasoningTrack", "track", error) from error
        from tnllt.reasoningtrack.tracker import ReasoningTrack

        return ReasoningTrack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
