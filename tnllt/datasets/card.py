"""A dataset's card: what is in it, in numbers."""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.datasets.dataset import Dataset
from tnllt.datasets.frames import ImageFrames, image_size
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.sequence import Image, Sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass
class Card:
    """Numbers of a dataset.

    Attributes:
        frames: annotated frames, over all sequences; `shortest` to `longest` are per sequence.
        absent_fraction: fraction of frames whose target is absent, None where no sequence has flags.
        with_absence: sequences with at least one absent frame.
        resolutions: {"640x360": sequences}, from the first frames.
        attributes: {name: [sequences, frames]} in the benchmark's order.
        words: mean number of words of the descriptions, None where there are none.
        side: median of sqrt(w h) of the visible boxes in pixels, smallest and largest percentile (5, 50, 95).
    """

    dataset: str
    title: str
    sequences: int = 0
    with_frames: int = 0
    frames: int = 0
    shortest: int = 0
    median: float = 0.0
    mean: float = 0.0
    longest: int = 0
    absent_fraction: float | None = None
    with_absence: int = 0
    with_language: int = 0
    words: float | None = None
    side: tuple[float, float, float] | None = None
    resolutions: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, tuple[int, int]] = field(default_factory=dict)


def make_card(dataset: Dataset) -> Card:
    """Reads every annotation and the header of every sequence's first frame."""
    card = Card(dataset.name, dataset.layout.title or dataset.name, sequences=len(dataset))
    if not len(dataset):
        return card
    lengths, sizes, attributes, areas = [], Counter[str](), dict[str, list[int]](), []
    flagged = absent = words = 0
    for sequence in dataset:
        lengths.append(len(sequence))
        sizes.update(_resolution(sequence))
        card.with_frames += sequence.has_frames
        if sequence.present is not None:
            flagged += len(sequence)
            gone = int((~sequence.present).sum())
            absent += gone
            card.with_absence += gone > 0
        if sequence.language:
            card.with_language += 1
            words += len(sequence.language.split())
        for name, holds in (sequence.attributes or {}).items():
            count = attributes.setdefault(name, [0, 0])
            count[0] += holds
            count[1] += holds * len(sequence)
        areas.append(_sides(sequence))
    sides = np.concatenate(areas)
    card.frames, card.shortest, card.longest = sum(lengths), min(lengths), max(lengths)
    card.median, card.mean = float(np.median(lengths)), float(np.mean(lengths))
    card.absent_fraction = absent / flagged if flagged else None
    card.words = words / card.with_language if card.with_language else None
    if len(sides):
        low, middle, high = (float(v) for v in np.percentile(sides, (5, 50, 95)))
        card.side = (low, middle, high)
    card.resolutions = dict(sizes.most_common())
    card.attributes = {name: (n, frames) for name, (n, frames) in attributes.items()}
    return card


def _resolution(sequence: Sequence) -> Iterator[str]:
    if not sequence.has_frames:
        return
    try:
        frames = sequence.frames
        size = image_size(frames.path(0)) if isinstance(frames, ImageFrames) else frames[0].shape[:2]
    except (TnlltError, IndexError):
        yield "unreadable"
        return
    yield f"{size[1]}x{size[0]}"


def _sides(sequence: Sequence) -> np.ndarray[Any, Any]:
    boxes = sequence.groundtruth[_seen(sequence)]
    return np.asarray(np.sqrt(boxes[:, 2] * boxes[:, 3]))


def _seen(sequence: Sequence) -> np.ndarray[Any, Any]:
    boxes = sequence.groundtruth
    seen = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    return np.asarray(seen if sequence.present is None else seen & sequence.present)


def format_card(card: Card) -> str:
    """The card as text."""
    return "\n".join(_lines(card))


def _lines(card: Card) -> Iterator[str]:
    yield card.title
    yield f"  sequences     {card.sequences:,}" + ("" if card.with_frames else " (annotations alone: no frames here)")
    if 0 < card.with_frames < card.sequences:
        yield f"  with frames   {card.with_frames:,}"
    yield f"  frames        {card.frames:,} annotated"
    lengths = f"shortest {card.shortest:,}, median {card.median:,.0f}, mean {card.mean:,.1f}, longest {card.longest:,}"
    yield f"  lengths       {lengths}"
    if card.absent_fraction is None:
        yield "  absent        unknown: no presence files"
    else:
        yield f"  absent        {card.absent_fraction:.2%} of frames, in {card.with_absence:,} sequences"
    words = "" if card.words is None else f", {card.words:.1f} words on average"
    yield f"  language      {card.with_language:,} sequences{words}"
    if card.side is not None:
        low, middle, high = card.side
        yield f"  target size   median {middle:.0f} px (5 % below {low:.0f}, 5 % above {high:.0f}; square root of area)"
    if card.resolutions:
        shown = [f"{size} ({count})" for size, count in list(card.resolutions.items())[:6]]
        more = len(card.resolutions) - len(shown)
        yield f"  resolutions   {', '.join(shown)}{f', {more} more' if more else ''}"
    if card.attributes:
        yield ""
        yield f"  {'attribute':<32}{'sequences':>10}{'frames':>12}"
        for name, (sequences, frames) in card.attributes.items():
            title = f"{name:<5} {ATTRIBUTE_TITLES.get(name, '')}"
            yield f"  {title:<32}{sequences:>10,}{frames:>12,}"


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
    frames = np.flatnonzero(_seen(sequence))
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
