"""Template and search crops of a dataset for torch's `DataLoader`. torch is imported when the dataset is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tnllt.datasets.sampling import ATTEMPTS, CropRecipe, SequenceSource, cut_crops, limit_opencv_threads
from tnllt.errors import DataError, MissingExtraError
from tnllt.sequence import Sequence as Video


class PairDataset:
    """Pairs of template and search crops: a map-style dataset, which `torch.utils.data.DataLoader` takes as it is.

    Item i is a pure function of (seed, epoch, i), whatever the number of loader processes. It is a dictionary, which
    torch's default collate makes batches of:

    * `template`: uint8 (T, 3, z, z) RGB, `search`: uint8 (S, 3, x, x); black outside of the image
    * `template_box`: float32 (T, 4), `search_box`: float32 (S, 4): x, y, w, h as fractions of the crop
    * `present`: bool (S,), whether the target's centre is in the search crop
    * `text`: S descriptions, each the one that is true in that frame, "" where there is none
    * `sequence`: its name; `frames`: int64 (T + S,), from 0

    Frames are drawn among those in which the target is present and has a box of more than a pixel.

    Args:
        dataset: sequences with frames.
        recipe: gap, sizes, jitter and negatives.
        length: items of an epoch.
        seed: of every random number.
        transform: called on each item before it is given, for augmentation.

    Attributes:
        epoch: set it before each epoch, else every epoch has the same items.

    Raises:
        MissingExtraError: torch is not installed. DataError: there is no sequence.
    """

    def __init__(
        self,
        dataset: Sequence[Video],
        recipe: CropRecipe | None = None,
        *,
        length: int = 10_000,
        seed: int = 0,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("PairDataset", "track", error) from error
        self.recipe = recipe or CropRecipe()
        self.length, self.seed, self.transform, self.epoch = length, seed, transform, 0
        self._source = SequenceSource("the dataset", dataset)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Raises IndexError beyond the epoch; DataError where no sequence gives a sample."""
        import torch

        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        if torch.utils.data.get_worker_info() is not None:
            limit_opencv_threads()
        rng = np.random.default_rng((self.seed, self.epoch, index))
        for _ in range(ATTEMPTS):
            clip = self._source.clip(rng, index)
            crops = cut_crops(clip, self.recipe, rng)
            if crops is not None:
                break
        else:
            raise DataError(f"no usable pair in {ATTEMPTS} draws: too few frames with the target in view")
        item = {
            "template": torch.from_numpy(crops.templates).permute(0, 3, 1, 2).contiguous(),
            "search": torch.from_numpy(crops.searches).permute(0, 3, 1, 2).contiguous(),
            "template_box": torch.from_numpy(crops.marks),
            "search_box": torch.from_numpy(crops.boxes),
            "present": torch.from_numpy(crops.present),
            "text": [clip.text(int(frame)) or "" for frame in crops.frames[self.recipe.templates :]],
            "sequence": clip.name,
            "frames": torch.from_numpy(crops.frames),
        }
        return item if self.transform is None else self.transform(item)
