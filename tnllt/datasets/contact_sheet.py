"""Images of a dataset: a contact sheet of its sequences, and a gallery of its attributes."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.datasets.dataset import Dataset
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.sequence import Image, Sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Seen well on any background, and by colour-blind people: the box twice, dark below light.
_BOX = "#ffe100"
_WIDTH, _CAPTION = 3.0, 0.55  # inches: a tile's width, and what its texts take


@dataclass
class _Tile:
    """One frame to draw; `image` is the reason where it cannot be read."""

    sequence: Sequence
    frame: int
    image: Image | str


def contact_sheet(dataset: Dataset, path: Path, *, most: int = 24, columns: int = 6) -> int:
    """Writes a PNG: a frame per sequence with its box, name, length and description.

    The frame is the one in the middle of those that show the target. Of more than `most` sequences with frames, `most`
    are taken at even steps.

    Returns:
        how many sequences are on it.

    Raises:
        DataError: no sequence has frames.
    """
    check_image_path(path)
    chosen = [sequence for sequence in dataset if sequence.has_frames]
    if not chosen:
        raise DataError("a contact sheet needs frames; this dataset has annotations alone")
    if len(chosen) > most:
        chosen = [chosen[i] for i in _steps(len(chosen), most)]
    columns = min(columns, len(chosen))
    tiles = [_load(sequence, _best_frame(sequence)) for sequence in chosen]
    figure, axes = _grid(tiles, columns)
    for axis, sequence in zip(axes.flat, chosen, strict=False):
        description = textwrap.shorten(sequence.language or "(no description)", 96, placeholder=" ...")
        name = sequence.name if len(sequence.name) <= 34 else f"{sequence.name[:33]}…"
        title = f"{name}  ({len(sequence):,})"
        axis.set_title(title, fontsize=7.5, loc="left", pad=3, fontweight="bold", parse_math=False)
        wrapped = textwrap.fill(description, 48)
        axis.text(0, -0.03, wrapped, transform=axis.transAxes, fontsize=7, va="top", parse_math=False)
    title = dataset.layout.title or dataset.name
    _save(figure, f"{title}: {len(chosen)} of {len(dataset)} sequences", path)
    return len(chosen)


def attribute_gallery(dataset: Dataset, path: Path, *, columns: int = 5) -> list[str]:
    """Writes a PNG: a row per attribute, frames at even steps of one sequence that has it.

    The sequence is the one with the fewest other attributes, so that the one in question is what is to be seen.

    Returns:
        the attributes on it.

    Raises:
        DataError: no sequence has both frames and an attribute.
    """
    check_image_path(path)
    examples: dict[str, Sequence] = {}
    sequences = [s for s in dataset if s.has_frames and s.attributes and len(s)]
    for sequence in sorted(sequences, key=lambda s: sum((s.attributes or {}).values())):
        for name, holds in (sequence.attributes or {}).items():
            if holds:
                examples.setdefault(name, sequence)
    if not examples:
        raise DataError("an attribute gallery needs sequences with frames and attributes; there are none here")
    order = [name for name in (sequences[0].attributes or {}) if name in examples]
    tiles = [_load(examples[name], frame) for name in order for frame in _steps(len(examples[name]), columns)]
    figure, axes = _grid(tiles, columns)
    for axis, tile in zip(axes.flat, tiles, strict=True):
        axis.set_title(f"{tile.frame + 1}", fontsize=6.5, loc="right", pad=2)
    for row, name in zip(axes, order, strict=True):
        sequence = examples[name]
        label = f"{name}  {ATTRIBUTE_TITLES.get(name, '')}"
        row[0].set_title(label, fontsize=8, loc="left", pad=3, fontweight="bold", parse_math=False)
        description = f": {sequence.language}" if sequence.language else ""
        caption = textwrap.shorten(f"{sequence.name}{description}", 60, placeholder=" ...")
        row[0].text(0, -0.03, caption, transform=row[0].transAxes, fontsize=6.5, va="top", parse_math=False)
    _save(figure, f"{dataset.layout.title or dataset.name}: attributes", path)
    return order


def _steps(length: int, count: int) -> list[int]:
    """`count` indices at even steps, the first and last among them."""
    return [int(i) for i in np.linspace(0, length - 1, count).round()]


def _best_frame(sequence: Sequence) -> int:
    boxes = sequence.groundtruth
    seen = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    if sequence.present is not None:
        seen &= sequence.present
    frames = np.flatnonzero(seen)
    return int(frames[len(frames) // 2]) if len(frames) else 0


def _load(sequence: Sequence, frame: int) -> _Tile:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Tile(sequence, frame, sequence.frames[frame])
    except (TnlltError, IndexError) as error:
        return _Tile(sequence, frame, str(error))


def _draw(axis: Axes, tile: _Tile) -> None:
    """One frame with its box, or what is wrong with it."""
    from matplotlib.patches import Rectangle

    if isinstance(tile.image, str):
        reason = textwrap.fill(tile.image, 30)
        axis.text(0.5, 0.5, reason, ha="center", va="center", fontsize=6, color="firebrick", parse_math=False)
        return
    axis.imshow(tile.image, interpolation="antialiased")
    sequence, frame = tile.sequence, tile.frame
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


def _grid(tiles: list[_Tile], columns: int) -> tuple[Any, Any]:
    """A figure with the tiles, and its axes (rows, columns) whose height suits the tallest image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shapes = [tile.image.shape for tile in tiles if not isinstance(tile.image, str)]
    image = _WIDTH * min(max((height / width for height, width, _ in shapes), default=0.75), 1.2)
    rows = -(-len(tiles) // columns)
    size = (columns * (_WIDTH + 0.1), rows * (image + _CAPTION) + 0.3)
    figure = Figure(figsize=size, dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": _CAPTION / image})
    for axis in axes.flat:
        axis.axis("off")
        axis.set_anchor("NW")
    for axis, tile in zip(axes.flat, tiles, strict=False):
        _draw(axis, tile)
    return figure, axes


def check_image_path(path: Path) -> None:
    """Raises UsageError for a file whose name does not end as an image's."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp", ".tif", ".tiff"):
        raise UsageError(f"{path}: not a kind of image; name a file that ends in .png (or .jpg, .pdf, .svg)")


def _save(figure: Any, title: str, path: Path) -> None:
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.012, right=0.988, bottom=0.36 / height, top=1 - 0.5 / height)
    figure.suptitle(title, x=0.012, y=1 - 0.12 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    try:
        figure.savefig(path)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror})", path) from error
