"""Word pieces: the golden ids are checked with the network; here the vocabulary and the cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from tnllt.errors import DataError
from tnllt.reasoningtrack.text import WORDS, WordPiece, _read


def test_bundled_vocabulary() -> None:
    words = _read(None)
    assert len(words) == WORDS
    assert (words[0], words[100], words[101], words[102]) == ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def test_empty_text_is_cls_and_sep() -> None:
    text = WordPiece().encode("")
    assert text.ids.tolist() == [101, 102] + [0] * 14
    assert (text.cut, text.read, text.pieces) == (False, "", 0)


def test_a_long_text_is_cut_and_says_where() -> None:
    sentence = "the dog " * 7
    exact = WordPiece().encode(sentence)
    assert (exact.cut, exact.pieces, exact.ids[-1]) == (False, 14, 102)
    longer = WordPiece().encode(sentence + "sits Embeddings")
    assert (longer.cut, longer.pieces, longer.read) == (True, 19, sentence.rstrip())
    assert longer.ids.tolist() == exact.ids.tolist()


def test_own_vocabulary(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nDog\ndog\n")
    assert WordPiece(5, file).encode("Dog dog cat").ids.tolist() == [2, 4, 5, 1, 3]
    file.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ndog\n")
    assert WordPiece(5, file).encode("Dog dog").ids.tolist() == [2, 4, 4, 3, 0]
    file.write_text("dog\n")
    with pytest.raises(DataError, match=r"\[PAD\]"):
        WordPiece(5, file)
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(WORDS))]))
    with pytest.raises(DataError, match="at most 30522"):
        WordPiece(5, file)
