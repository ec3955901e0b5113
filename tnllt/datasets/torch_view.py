"""A dataset as torch sees it, for training samplers. torch is imported when the view is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceABC
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import MissingExtraError
from tnllt.sequence import Sequence

Item = dict[str, Any]


class TorchView:
    """Frames of a dataset as a map-style torch dataset; `DataLoader` and its samplers take it as it is.

    `view[i]` is frame i counted over all sequences; `view[sequence, [frames]]` is what a sampler that draws several
    frames of one video asks for. An item is a dictionary:

    * `images`: uint8 (3, H, W) RGB; with several frames a list of them, since a video's sizes may differ
    * `boxes`: float32 (4,) or (n, 4), x, y, w, h in pixels, NaN where not annotated
    * `present`: bool () or (n,); a frame without a flag counts as present where it has a box of positive area
    * `language`: str, "" where the sequence has none; `sequence`: its name; `frames`: int64 () or (n,)

    Args:
        dataset: the sequences; they need frames.
        transform: called on each item before it is given.
    """

    def __init__(self, dataset: SequenceABC[Sequence], transform: Callable[[Item], Item] | None = None) -> None:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the torch view of a dataset", "track", error) from error
        self.dataset = dataset
        self.transform = transform

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Number of frames up to and with each sequence; reads every box file once."""
        return np.cumsum([len(sequence) for sequence in self.dataset])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.dataset) else 0

    def __getitem__(self, index: int | tuple[int, Iterable[int]]) -> Item:
        if isinstance(index, tuple):
            return self._item(index[0], list(index[1]), single=False)
        total = len(self)
        position = index + total if index < 0 else index
        if not 0 <= position < total:
            raise IndexError(f"frame {index} of {total}")
        number = int(np.searchsorted(self.ends, position, side="right"))
        return self._item(number, [position - (int(self.ends[number - 1]) if number else 0)], single=True)

    def visible(self, sequence: int) -> NDArray[np.bool_]:
        """(T,) whether the target is to be seen in each frame: what samplers draw from."""
        item = self.dataset[sequence]
        boxed = (item.groundtruth[:, 2] > 0) & (item.groundtruth[:, 3] > 0)
        return boxed if item.present is None else np.asarray(boxed & item.present)

    def _item(self, number: int, frames: list[int], *, single: bool) -> Item:
        import torch

        sequence = self.dataset[number]
        images = [torch.from_numpy(sequence.frames[i]).permute(2, 0, 1).contiguous() for i in frames]
        boxes = torch.from_numpy(sequence.groundtruth[frames].astype(np.float32))
        present = torch.from_numpy(self.visible(number)[frames])
        positions = torch.tensor(frames)
        item: Item = {
            "images": images[0] if single else images,
            "boxes": boxes[0] if single else boxes,
            "present": present[0] if single else present,
            "language": sequence.language or "",
            "sequence": sequence.name,
            "frames": positions[0] if single else positions,
        }
        return item if self.transform is None else self.transform(item)
