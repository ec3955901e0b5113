"""Text to word pieces: BERT's WordPiece, through the `tokenizers` package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tnllt.errors import DataError
from tnllt.files import read_bytes

#: Lines of BERT's uncased vocabulary, and rows of the published checkpoints' word table.
WORDS = 30_522
_MOST_BYTES = 16 << 20  # of a vocabulary
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclass(frozen=True)
class Encoded:
    """A description as the network reads it.

    Attributes:
        ids: (length,) int64: [CLS], pieces, [SEP], padded with [PAD].
        pieces: number of word pieces of the whole text.
        read: the part of the text that the network reads; the text itself where nothing was cut.
    """

    ids: NDArray[np.int64]
    pieces: int
    read: str

    @property
    def cut(self) -> bool:
        return self.pieces > len(self.ids) - 2


class WordPiece:
    """BERT WordPiece of a fixed length.

    Args:
        length: ids per text, [CLS] and [SEP] included.
        vocabulary: a BERT vocabulary, one piece a line; the bundled uncased one by default. Text is lower-cased
            unless the vocabulary has pieces with capitals.

    Raises:
        DataError: not a BERT vocabulary, or has more rows than the word table.
    """

    def __init__(self, length: int = 16, vocabulary: str | Path | None = None) -> None:
        self.length = length
        words = _read(vocabulary)
        cased = any(w != w.lower() for w in words if not w.startswith("["))
        ids = {word: i for i, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
        self._tokenizer = tokenizer
        self._pad = ids["[PAD]"]

    def encode(self, text: str) -> Encoded:
        """The text's word pieces; a long text keeps [CLS], its first pieces, [SEP]."""
        found = self._tokenizer.encode(text)
        pieces, room = len(found.ids) - 2, self.length - 2
        ids = np.full(self.length, self._pad, np.int64)
        kept = found.ids if pieces <= room else [*found.ids[: room + 1], found.ids[-1]]
        ids[: len(kept)] = kept
        read = text if pieces <= room else text[: found.offsets[room][1]]
        return Encoded(ids, pieces, read)


def _read(vocabulary: str | Path | None) -> list[str]:
    if vocabulary is None:
        source = resources.files("tnllt.reasoningtrack") / "vocab.txt"
        lines = source.read_text(encoding="utf-8").splitlines()
        if len(lines) != WORDS:
            raise DataError(f"bundled vocabulary has {len(lines)} lines instead of {WORDS}; install tnllt again")
        return lines
    try:
        lines = read_bytes(vocabulary, _MOST_BYTES).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"cannot be read as a vocabulary: {error}", vocabulary) from error
    missing = [word for word in _SPECIAL if word not in lines]
    if missing:
        raise DataError(f"not a BERT vocabulary: {', '.join(missing)} missing", vocabulary)
    if len(lines) > WORDS or len(set(lines)) != len(lines):
        raise DataError(f"a vocabulary has at most {WORDS} different lines; this has {len(lines)}", vocabulary)
    return lines
