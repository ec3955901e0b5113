"""Text to word pieces: BERT's WordPiece, through the `tokenizers` package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


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
    """BERT's uncased WordPiece, `length` ids per text, [CLS] and [SEP] included."""

    def __init__(self, length: int = 16) -> None:
        self.length = length
        words = (resources.files("tnllt.reasoningtrack") / "vocab.txt").read_text(encoding="utf-8").splitlines()
        ids = {word: i for i, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
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
