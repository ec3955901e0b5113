"""A tiny random Qwen2.5-VL on disk, made offline: `python tests/tiny_vlm.py FOLDER [SEED]`.

About 150,000 parameters with the real architecture, special tokens and chat markup; small pictures. It knows nothing,
but it can be trained, served and asked like the real one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
PADS = ("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")

# One turn is <|im_start|>role\n...<|im_end|>\n; a picture is one pad token, which the processor multiplies.
TEMPLATE = """{%- for turn in messages -%}
<|im_start|>{{ turn.role + '\n' }}
{%- if turn.content is string -%}{{ turn.content }}{%- else -%}
{%- for piece in turn.content -%}
{%- if 'image' in piece.type -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif piece.type == 'text' -%}{{ piece.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
<|im_end|>{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\n' }}{%- endif -%}"""

WORDS = (
    "user assistant system the target is a red green blue white black box ball car ship man dog river road left right "
    "turned stays same now yes no <think> </think><d>yes</d><answer> </think><d>no</d><answer> </answer> "
    "The target moved from the left to the right within the middle of the picture and keeps its size. looks larger "
    "looks smaller. The description is still true. The description is not true any more."
)


def tokenizer(texts: Iterable[str], size: int = 700):
    """Byte-level BPE that spells anything, with short spellings for `texts`."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel
    from transformers import PreTrainedTokenizerFast

    bytes_first = pre_tokenizers.ByteLevel(add_prefix_space=False)
    speller = Tokenizer(models.BPE())
    speller.pre_tokenizer, speller.decoder = bytes_first, ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=bytes_first.alphabet(), show_progress=False)
    speller.train_from_iterator(list(texts) * 3, trainer)
    speller.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS + PADS])
    return PreTrainedTokenizerFast(
        tokenizer_object=speller, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )


def make(folder: Path, seed: int = 0, texts: Iterable[str] = ()) -> Path:
    """Writes tokenizer, image processor and random weights to `folder`."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    words = tokenizer([WORDS, *texts])
    number = words.convert_tokens_to_ids
    marks = {"bos_token_id": number("<|endoftext|>"), "eos_token_id": number("<|im_end|>")}
    text = {
        "vocab_size": -(-len(words) // 8) * 8,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "initializer_range": 0.1,  # random weights that still look at what they are shown
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        **marks,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "window_size": 112,
        "initializer_range": 0.1,
        "fullatt_block_indexes": [0],
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [number("<|im_end|>"), number("<|endoftext|>")]
    model.generation_config.pad_token_id = number("<|endoftext|>")
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=84 * 84).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
