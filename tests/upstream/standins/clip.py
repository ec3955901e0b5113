"""Stands in for OpenAI's CLIP: a text encoder of one embedding table."""

import torch


class Clip(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(256, 768)
        self.text_projection = torch.nn.Parameter(torch.eye(768))

    def encode_text(self, tokens):
        return self.words(tokens).mean(1) @ self.text_projection


def load(name, device="cpu", **kwargs):
    return Clip(), None


def tokenize(text, **kwargs):
    codes = [ord(letter) % 256 for letter in text][:77]
    return torch.tensor([codes + [0] * (77 - len(codes))])
