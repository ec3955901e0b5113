"""Weights to start training from: a tracker's own, or a Fast-iTPN backbone's."""

from __future__ import annotations

from pathlib import Path

from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.network import Network

#: The backbone's parts that a Fast-iTPN checkpoint has.
_SHARED = ("backbone.patch_embed.", "backbone.blocks.", "backbone.norm.")


def initialise_from(network: Network, path: Path) -> str:
    """Puts the weights of a file into the network, as far as they belong there; returns a line about what was taken.

    A tracker's checkpoint must fit completely. A Fast-iTPN checkpoint (names without `backbone.`, or below `model`)
    gives patch embedding, blocks and final norm; text, positions and head keep their initial values.

    Raises:
        DataError: the file fits neither way; the tensors that do not are named.
    """
    tensors, _ = read_checkpoint(path)
    own = network.state_dict()
    if any(name.startswith("box_head.") for name in tensors):
        load_strictly(network, tensors, path)
        return f"starting from the tracker's weights in {path} ({len(tensors)} tensors)"
    renamed = {f"backbone.{name.removeprefix('backbone.')}": value for name, value in tensors.items()}
    taken = {name: value for name, value in renamed.items() if name.startswith(_SHARED) and name in own}
    rest = {name: value for name, value in own.items() if not name.startswith(_SHARED)}
    load_strictly(network, {**rest, **taken}, path)
    return f"starting from the Fast-iTPN in {path}: {len(taken)} tensors; {len(rest)} keep their initial values"
