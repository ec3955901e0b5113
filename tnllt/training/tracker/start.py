"""Weights to start training from: a tracker's own, or a Fast-iTPN backbone's."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tnllt.errors import DataError
from tnllt.reasoningtrack.checkpoint import read_checkpoint
from tnllt.reasoningtrack.network import Network

#: The backbone's parts that a Fast-iTPN checkpoint has.
_SHARED = ("patch_embed.", "blocks.", "norm.")


def start_from(network: Network, path: Path) -> str:
    """Puts the weights of a file into the network, as far as they belong there; returns a line that says what did.

    A tracker's checkpoint must fit completely. A Fast-iTPN checkpoint (names without `backbone.`, or below `model`)
    gives patch embedding, blocks and final norm; text, positions and head keep their first values.

    Raises:
        DataError: the file fits neither way; the tensors that do not are named.
    """
    tensors, _ = read_checkpoint(path)
    own = network.state_dict()
    if any(name.startswith("box_head.") for name in tensors):
        from tnllt.reasoningtrack.checkpoint import load_strictly

        load_strictly(network, tensors, path)
        return f"starting from the tracker's weights in {path} ({len(tensors)} tensors)"
    renamed = {f"backbone.{name.removeprefix('backbone.')}": value for name, value in tensors.items()}
    wanted = [
        name for name in own if name.removeprefix("backbone.").startswith(_SHARED) and name.startswith("backbone.")
    ]
    missing = [name for name in wanted if name not in renamed]
    wrong = [name for name in wanted if name in renamed and renamed[name].shape != own[name].shape]
    if missing or wrong:
        raise DataError(
            f"not a Fast-iTPN of this size: {_some('missing', missing)}{_some('of another shape', wrong)}", path
        )
    taken: dict[str, Tensor] = {name: renamed[name] for name in wanted}
    network.load_state_dict({**own, **taken})
    return (
        f"starting from the Fast-iTPN in {path}: {len(taken)} tensors; {len(own) - len(taken)} keep their first values"
    )


def _some(what: str, names: list[str]) -> str:
    return f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}); " if names else ""
