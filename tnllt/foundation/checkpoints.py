"""Models of transformers in folders: what identifies one, and all of its tensors or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

from tnllt.errors import DataError
from tnllt.reasoningtrack.reasoners.models import LOCAL, PATTERNS, usable
from tnllt.tracking.identity import content_hash

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]


def model_hash(folder: Path) -> str:
    """SHA-256 of a model's weights and settings."""
    return content_hash(folder, PATTERNS)


def load_whole(cls: Any, folder: Path, dtype: Any) -> Any:
    """A model of transformers from a folder's safetensors, all of its tensors: none of them may be left random.

    Raises:
        DataError: the folder holds another model, or not all of its tensors.
    """
    with usable(folder, cls.__name__):
        model, found = cls.from_pretrained(folder, **LOCAL, use_safetensors=True, dtype=dtype, output_loading_info=True)
    missing = [*sorted(found["missing_keys"]), *(key for key, *_ in found["mismatched_keys"])]
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(f"lacks {len(missing)} tensors of {cls.__name__}: {named}; it is another model's", folder)
    return model.eval()
