"""Writes the files that some baselines read besides their checkpoint, with random content of a fixed seed.

python make.py FOLDER VOCABULARY
"""

import json
import os
import shutil
import sys

import torch

folder, vocabulary = sys.argv[1:]
torch.manual_seed(3)


def place(*parts):
    path = os.path.join(folder, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def bert():
    """Tokenizer folders by path and in the hub's cache; a BERT of six small layers with UVLTrack's own names."""
    for target in (
        ("bert", "vocab.txt"),
        ("hub", "models--bert-base-uncased", "snapshots", "0", "vocab.txt"),
    ):
        shutil.copy(vocabulary, place(*target))
    for tokenizer in ("bert", os.path.join("hub", "models--bert-base-uncased", "snapshots", "0")):
        with open(place(tokenizer, "tokenizer_config.json"), "w") as file:
            json.dump({"do_lower_case": True, "model_max_length": 512}, file)
    with open(place("hub", "models--bert-base-uncased", "refs", "main"), "w") as file:
        file.write("0")
    config = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=6, num_attention_heads=12)
    config.update(intermediate_size=1024, hidden_act="gelu", hidden_dropout_prob=0.1, type_vocab_size=2)
    config.update(attention_probs_dropout_prob=0.1, max_position_embeddings=512, initializer_range=0.02)
    with open(place("bert", "bert_config.json"), "w") as file:
        json.dump(config, file)
    torch.save({}, place("bert", "pytorch_model.bin"))


def blip():
    """A captioner of the real architecture, tiny."""
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    text = dict(vocab_size=30524, hidden_size=32, encoder_hidden_size=32, intermediate_size=32, projection_dim=32)
    text.update(num_hidden_layers=2, num_attention_heads=2, bos_token_id=30522, sep_token_id=102, pad_token_id=0)
    vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=384)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, projection_dim=32))
    model.save_pretrained(place("blip", ""))
    processor = BlipProcessor(BlipImageProcessor(), BertTokenizer(vocabulary))
    processor.save_pretrained(place("blip", ""))


def encoders():
    import torchvision

    torch.save({"model": {}}, place("mae_pretrain_vit_base.pth"))
    torch.save(
        torchvision.models.resnet50().state_dict(), place("torch", "hub", "checkpoints", "resnet50-19c8e357.pth")
    )
    weights = {"pos_embed": torch.randn(1, 196, 512) * 0.02, "patch_embed.proj.weight": torch.randn(128, 3, 4, 4)}
    torch.save({"model": weights}, place("fast_itpn_base.pt"))
    torch.save({"net": {}}, place("first_stage.pth.tar"))


bert()
blip()
encoders()
