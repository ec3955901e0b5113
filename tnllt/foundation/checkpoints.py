"""Models of the hub: found on disk by folder or name, never downloaded unless the user says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tnllt.errors import DataError, MissingExtraError
from tnllt.files import user_path
from tnllt.reasoningtrack.reasoners.models import usable
from tnllt.tracking.identity import content_hash

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
#: What of a model's repository is used: weights without pickles, settings, vocabularies.
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def model_folder(name: str | Path, download: bool = False) -> Path:
    """The folder of a model.

    Args:
        name: a folder, or a name on the hub such as facebook/sam2.1-hiera-tiny.
        download: whether a name that is not on disk may be fetched.

    Raises:
        DataError: no such folder, and no such name on disk. MissingExtraError: without transformers.
    """
    place = user_path(name)
    if place.is_dir():
        return place
    if find_spec("transformers") is None:
        raise MissingExtraError(f"the model {name}", "vlm", ImportError("no module transformers"))
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), local_files_only=not download, allow_patterns=list(PATTERNS)))
    except (OSError, ValueError) as error:
        if download:
            raise DataError(f"{name} cannot be downloaded: {' '.join(str(error).split())[:300]}") from error
        raise DataError(
            f"{name} is neither a folder nor a model that is on this disk already; --set download=yes fetches it from "
            "the hub"
        ) from error


def model_hash(folder: Path) -> str:
    """SHA-256 of a model's weights and settings."""
    return content_hash(folder, PATTERNS)


def load_whole(cls: Any, folder: Path, dtype: Any) -> Any:
    """A model of transformers from a folder's safetensors, all of its tensors: none of them may be left random.

    Raises:
        DataError: the folder holds another model, or not all of its tensors.
    """
    with usable(folder, cls.__name__):
        model, found = cls.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    missing = [*sorted(found["missing_keys"]), *(key for key, *_ in found["mismatched_keys"])]
    if missing:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(f"lacks {len(missing)} tensors of {cls.__name__}: {named}; it is another model's", folder)
    return model.eval()
