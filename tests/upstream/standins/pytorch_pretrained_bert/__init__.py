"""Stands in for pytorch_pretrained_bert: whole words of the vocabulary, else [UNK]."""


class BertTokenizer:
    def __init__(self, words):
        self.ids = {word: index for index, word in enumerate(words)}

    @classmethod
    def from_pretrained(cls, path, do_lower_case=True):
        return cls(open(path, encoding="utf-8").read().split("\n"))

    def tokenize(self, text):
        return [word if word in self.ids else "[UNK]" for word in text.lower().split()]

    def convert_tokens_to_ids(self, tokens):
        return [self.ids[token] for token in tokens]
