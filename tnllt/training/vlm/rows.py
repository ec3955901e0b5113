"""Records as rows of TRL's datasets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from tnllt.errors import DataError
from tnllt.training.vlm.records import PairRecord

log = logging.getLogger(__name__)


def need_answers(records: Sequence[PairRecord]) -> None:
    """Raises DataError for the first record without an answer."""
    for record in records:
        if not record.output:
            raise DataError(
                "the record has no answer to learn; add `output`, or make answers with --teacher", record.source
            )


def trainer_rows(records: Sequence[PairRecord], answers: bool) -> list[dict[str, Any]]:
    """Question and images; with `answers` the answer apart, so that the loss is computed on it alone, else the
    record's number, by which rewards find its boxes. The trainer puts the images in front of the question's text.

    Raises:
        DataError: a record without the answer that is wanted.
    """
    if answers:
        need_answers(records)
    rows = []
    for number, record in enumerate(records):
        prompt = [{"role": "system", "content": record.instruction}, {"role": "user", "content": record.description}]
        own = {"completion": [{"role": "assistant", "content": record.output}]} if answers else {"record": number}
        rows.append({"prompt": prompt, "images": record.model_images, **own})
    return rows


def to_dataset(rows: list[dict[str, Any]]) -> Any:
    """A `datasets.Dataset` whose `images` are opened when a row is used."""
    from datasets import Dataset, Image

    dataset = Dataset.from_list(rows)
    features = dataset.features.copy()
    features["images"] = [Image()]
    return dataset.cast(features)


def within(
    records: Sequence[PairRecord], processor: Any, max_pixels: int, max_length: int, answers: bool
) -> list[PairRecord]:
    """The records whose prompt, and with `answers` their answer too, fits into `max_length` tokens.

    An image takes one token per merged patch; what chat markup adds is rounded up. Raises DataError where none fits.
    """
    image = processor.image_processor
    side = int(image.patch_size) * int(image.merge_size)
    images = 2 * (max_pixels // side**2 + 2)
    kept = []
    for record in records:
        texts = (record.instruction, record.description, (record.output or "") if answers else "")
        length = sum(len(processor.tokenizer(text)["input_ids"]) for text in texts) + images + 32
        if length <= max_length:
            kept.append(record)
    if not kept:
        raise DataError(f"every record is longer than {max_length} tokens; allow longer ones or lower --max-pixels")
    if left_out := len(records) - len(kept):
        log.warning("%d of %d records left out: longer than %d tokens", left_out, len(records), max_length)
    return kept
