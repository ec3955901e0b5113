"""The contact sheet of a dataset: an image with a frame of each sequence."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tnllt.datasets.dataset import Dataset
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.sequence import Image, Sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Seen well on any background, and by colour-blind people: the box twice, dark below light.
_BOX = "#ffe100"
_WIDTH, _CAPTION = 3.0, 0.55  # inches: a tile's width, and what its texts take


def contact_sheet(dataset: Dataset, path: Path, *, most: int = 24, columns: int = 6) -> int:
    """Writes a PNG: a frame per sequence with its box, name, length and description.

    The frame is the one in the middle of those that show the target. Of more than `most` sequences with frames, `most`
    are taken at even steps.

    Returns:
        how many sequences are on it.

    Raises:
        DataError: no sequence has frames.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_image_path(path)
    chosen = [sequence for sequence in dataset if sequence.has_frames]
    if not chosen:
        raise DataError("a contact sheet needs frames; this dataset has annotations alone")
    if len(chosen) > most:
        chosen = [chosen[int(i)] for i in np.linspace(0, len(chosen) - 1, most).round()]
    numbers = [_best_frame(sequence) for sequence in chosen]
    images = [_read(sequence, number) for sequence, number in zip(chosen, numbers, strict=True)]
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    ratios = [image.shape[0] / image.shape[1] for image in images if not isinstance(image, str)]
    tall = _WIDTH * min(max(ratios, default=0.75), 1.2)
    height = rows * (tall + _CAPTION) + 0.3
    figure = Figure(figsize=(columns * (_WIDTH + 0.1), height), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": _CAPTION / tall})
    for axis in axes.flat:
        axis.axis("off")
        axis.set_anchor("NW")
    for axis, sequence, number, image in zip(axes.flat, chosen, numbers, images, strict=False):
        _draw(axis, sequence, number, image)
    figure.subplots_adjust(left=0.012, right=0.988, bottom=0.36 / height, top=1 - 0.5 / height)
    title = f"{dataset.layout.title or dataset.name}: {len(chosen)} of {len(dataset)} sequences"
    figure.suptitle(title, x=0.012, y=1 - 0.12 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    try:
        figure.savefig(path)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror})", path) from error
    return len(chosen)


def _best_frame(sequence: Sequence) -> int:
    boxes = sequence.groundtruth
    seen = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    if sequence.present is not None:
        seen &= sequence.present
    frames = np.flatnonzero(seen)
    return int(frames[len(frames) // 2]) if len(frames) else 0


def _read(sequence: Sequence, frame: int) -> Image | str:
    """The frame, or the reason where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sequence.frames[frame]
    except (TnlltError, IndexError) as error:
        return str(error)


def _draw(axis: Axes, sequence: Sequence, frame: int, image: Image | str) -> None:
    """One frame with its box, or what is wrong with it, and texts above and below."""
    from matplotlib.patches import Rectangle

    name = sequence.name if len(sequence.name) <= 34 else f"{sequence.name[:33]}…"
    title = f"{name}  ({len(sequence):,})"
    axis.set_title(title, fontsize=7.5, loc="left", pad=3, fontweight="bold", parse_math=False)
    description = textwrap.shorten(sequence.language or "(no description)", 96, placeholder=" ...")
    caption = textwrap.fill(description, 48)
    axis.text(0, -0.03, caption, transform=axis.transAxes, fontsize=7, va="top", parse_math=False)
    if isinstance(image, str):
        reason = textwrap.fill(image, 30)
        axis.text(0.5, 0.5, reason, ha="center", va="center", fontsize=6, color="firebrick", parse_math=False)
        return
    axis.imshow(image, interpolation="antialiased")
    x, y, w, h = sequence.groundtruth[frame]
    absent = sequence.present is not None and not sequence.present[frame]
    if absent or not (w > 0 and h > 0):
        word = "absent" if absent else "no box"
        style = {"boxstyle": "round,pad=0.25", "facecolor": "black", "alpha": 0.7, "edgecolor": "none"}
        axis.text(0.03, 0.95, word, transform=axis.transAxes, va="top", fontsize=7, color="white", bbox=style)
        return
    # OTB's boxes and the others' count the first pixel as 0 or 1: half a pixel is not to be seen here.
    for width, color in ((3.2, "black"), (1.6, _BOX)):
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, linewidth=width, edgecolor=color))


def check_image_path(path: Path) -> None:
    """Raises UsageError for a file whose name does not end as an image's."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp", ".tif", ".tiff"):
        raise UsageError(f"{path}: not a kind of image; name a file that ends in .png (or .jpg, .pdf, .svg)")
