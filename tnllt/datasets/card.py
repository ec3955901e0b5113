"""A dataset's card: what is in it, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.datasets.dataset import Dataset
from tnllt.datasets.frames import ImageFrames, image_size
from tnllt.errors import TnlltError
from tnllt.sequence import Sequence


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
    boxes = sequence.groundtruth
    seen = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    if sequence.present is not None:
        seen &= sequence.present
    return np.asarray(np.sqrt(boxes[seen, 2] * boxes[seen, 3]))


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
