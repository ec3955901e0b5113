"""Word pieces: the golden ids are checked with the network; here the vocabulary and the cut."""

from __future__ import annotations

from importlib import resources

from tnllt.reasoningtrack.text import WordPiece


def test_bundled_vocabulary() -> None:
    words = (resources.files("tnllt.reasoningtrack") / "vocab.txt").read_text("utf-8").splitlines()
    assert len(words) == 30_522, "rows of the published checkpoints' word table"
    assert not any(word != word.lower() for word in words if not word.startswith("["))
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
